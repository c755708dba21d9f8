"""Recipes: what is in them, and what is said about one that is wrong."""

import pytest
from helpers import RECIPE

from transformer_lib.recipes import PACKAGED, TASKS, read_recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 9", "steps = 2", r"mine.toml: warmup \(2\) must be below steps \(2\)$"),
        ("steps = 9", "steps = 0", "steps must be a whole number of at least 1, got 0$"),
        ("steps = 9", "", "mine.toml: training: missing (1|a) required (positional )?argument: 'steps'$"),
        ("steps = 9", "steps = 9\nquick = true", "training: got an unexpected keyword argument 'quick'$"),
        ("steps = 9", "steps = 9\nprecision = 'half'", "precision must be one of float32, bfloat16, auto, got 'half'$"),
        ("smoothing = 0.1", "smoothing = 1.0", "smoothing must be at least 0 and below 1, got 1.0$"),
        ("peak_rate = 1e-2", "peak_rate = -1", "peak_rate must be a finite number above 0, got -1$"),
        ("measure = 4", "measure = 5", r"measure \(5\) must be a multiple of every \(2\)$"),
        ("[watching]", "[watch]", r"watching: .*argument after \*\* must be a mapping, not NoneType$"),
        ("[model]", "[models]", r"model: .*argument after \*\* must be a mapping, not NoneType$"),
        ("seed = 3", "seed = -3", "seed must be a whole number of at least 0, got -3$"),
        ("seed = 3", "seed = 3\nhours = 0", "hours must be a finite number above 0, got 0$"),
        ("threads = 1", "threads = 0", "threads must be a whole number of at least 1, got 0$"),
        ("threads = 1", "threads 1", "mine.toml: Expected '=' after a key"),
        ("d_model = 16", "d_model = 15", r"d_model \(15\) must be"),
        ("d_model = 16", "size = 16", "model: got an unexpected keyword argument 'size'$"),
    ],
)
def test_recipes_that_are_refused(tmp_path, old, new, message, without_shape_checks):
    path = tmp_path / "mine.toml"
    assert old in RECIPE
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_recipe(path).config(33, 35)


def test_an_editor_on_windows_writes_a_mark_before_the_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE, encoding="utf-8-sig", newline="\r\n")
    assert read_recipe(path).training.steps == 9


@pytest.mark.parametrize("path", sorted(PACKAGED.glob("*/recipe.toml")), ids=lambda path: path.parent.name)
def test_the_packaged_recipes_can_be_read(path):
    recipe = read_recipe(path)
    assert recipe.task == path.parent.name
    assert recipe.task in TASKS
    assert recipe.hours is not None and recipe.hours <= 3
    recipe.config(50, 50)
