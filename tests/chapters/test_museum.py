"""The museum shows the very functions that the tests put into the library."""

import ast
from pathlib import Path

import nbformat
import pytest
from skeleton import find, skeleton

ROOT = Path(__file__).parents[2]
REGISTRY = (ROOT / "tests" / "library" / "mistakes.py").read_text(encoding="utf-8")
CODE = [
    cell.source
    for cell in nbformat.read(ROOT / "chapters" / "bug_museum.ipynb", as_version=4).cells
    if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
]


def exhibits() -> list[str]:
    """The names in the registry's list EXHIBITS, which is read here without being run."""
    for statement in ast.parse(REGISTRY).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "EXHIBITS":
            return [name.id for name in statement.value.elts]
    raise AssertionError("the registry has no list EXHIBITS")


def defined(name: str) -> list[ast.stmt]:
    """The functions of this name in the museum."""
    return [definition for source in CODE if (definition := find(source, name))]


@pytest.mark.parametrize("name", exhibits())
def test_an_exhibit_is_the_registrys(name):
    (shown,) = defined(name)
    assert skeleton(shown) == skeleton(find(REGISTRY, name))
    assert len(ast.unparse(shown).splitlines()) <= 10


def test_all_twelve_are_put_in():
    assert len(exhibits()) == 12
    used = [node.id for source in CODE for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    assert set(exhibits()) <= set(used)
