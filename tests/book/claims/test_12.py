"""Chapter 12: numbers that its sentences take from the stored results and that no cell prints."""

from itertools import combinations
from statistics import mean

import pytest

from transformer_lib.notebook import results
from transformer_lib.recipes.recipe import PACKAGED, read_recipe

DEV, TEST = 6302, 12604  # words, as the chapter's first cells print


def test_the_development_words_have_one_of_six_pairs_right():
    errors = [(row["dev_word_error"], row["test_word_error"]) for row in results.read("trainings")]
    agree = [(a[0] < b[0]) == (a[1] < b[1]) for a, b in combinations(errors, 2)]
    assert (sum(agree), len(agree)) == (1, 6)


def test_the_packaged_model_is_first_on_both_parts_by_little():
    rows = results.read("trainings")
    both = [(DEV * row["dev_word_error"] + TEST * row["test_word_error"]) / (DEV + TEST) for row in rows]
    assert rows[-1]["changes"] == {}
    assert 100 * (min(both[:-1]) - both[-1]) == pytest.approx(0.07, abs=0.005)


def test_the_ablation_is_told_as_it_was_measured():
    errors, weights = {}, {}
    for row in results.read("ablation")["rows"]:
        errors.setdefault(row["change"], []).append(100 * row["word_error"])
        weights[row["change"]] = row["parameters"]
    base = errors["as it is"]
    for change, points in ("no smoothing", 1.7), ("tied embeddings", 1.6):
        assert mean(errors[change]) - mean(base) == pytest.approx(points, abs=0.05)
        assert min(errors[change]) > max(base)
    assert min(base) < mean(errors["post-norm"]) < max(base)
    assert weights["half the width"] / weights["half the layers"] == pytest.approx(0.5, abs=0.02)


def test_the_long_recipe_sees_forty_times_as_many_tokens():
    training = read_recipe(PACKAGED / "pronounce" / "recipe.toml").training
    assert training.steps * training.batch_tokens == 40 * results.read("ablation")["tokens"]
