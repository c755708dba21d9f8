"""The museum shows the very functions that the tests put into the library."""

import ast
import inspect
from pathlib import Path

import nbformat
import pytest
from registry import EXHIBITS
from skeleton import find, skeleton

ROOT = Path(__file__).parents[2]
CODE = [
    cell.source
    for cell in nbformat.read(ROOT / "chapters" / "bug_museum.ipynb", as_version=4).cells
    if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
]


@pytest.mark.parametrize("bug", EXHIBITS, ids=lambda bug: bug.__name__)
def test_an_exhibit_is_the_registrys(bug):
    (shown,) = (definition for source in CODE if (definition := find(source, bug.__name__)))
    assert skeleton(shown) == skeleton(find(inspect.getsource(bug), bug.__name__))
    assert len(ast.unparse(shown).splitlines()) <= 10


def test_all_twelve_are_put_in():
    used = [node.id for source in CODE for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    assert {bug.__name__ for bug in EXHIBITS} <= set(used)
