"""A recipe that is quickly trained by."""

import pytest
from helpers import RECIPE, Numbers

from transformer_lib.recipes import TASKS


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """The path of a recipe of nine steps."""
    monkeypatch.setitem(TASKS, "pronounce", Numbers)
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    return path
