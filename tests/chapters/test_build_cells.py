"""The library's classes are those that the chapters build, plus documentation, annotations and guards."""

import ast
import functools
from pathlib import Path

import nbformat
import pytest
from chapter_map import BUILT_IN, LEFT_OUT, NEVER_BUILT
from guards import short_name
from skeleton import find, skeleton

import transformer_lib

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


@functools.cache
def build_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if "build" in cell.metadata.get("tags", [])]


def library_definition(name):
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "transformer_lib").glob("*.py")]
    found = [definition for source in sources if (definition := find(source, name))]
    assert len(found) == 1, f"{name} is defined {len(found)} times in transformer_lib"
    return found[0]


def test_map_covers_the_library():
    assert BUILT_IN.keys() | NEVER_BUILT.keys() == set(transformer_lib.__all__)
    assert not BUILT_IN.keys() & NEVER_BUILT.keys()


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_once_and_equal(name):
    built = [(path, definition) for path in CHAPTERS for cell in build_cells(path) if (definition := find(cell, name))]
    assert [short_name(path) for path, _ in built] == [f"{BUILT_IN[name]:02}"]
    left_out = LEFT_OUT.get(name, set())
    assert skeleton(built[0][1], left_out) == skeleton(library_definition(name), left_out)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_build_cells_hold_nothing_else(path):
    for source in build_cells(path):
        definitions = [s for s in ast.parse(source).body if isinstance(s, ast.ClassDef | ast.FunctionDef)]
        assert definitions, "a build cell builds something"
        here = {name for name, number in BUILT_IN.items() if f"{number:02}" == short_name(path)}
        assert {d.name for d in definitions} <= here


SOURCE = """
class A(nn.Module):
    x: Tensor
    y: int = 1

    def forward(self, x):
        return relu(x)
"""
DRESSED = '''
class A(nn.Module):
    """Does it."""

    y = 1

    def forward(self, x: Tensor) -> Tensor:
        """Return it."""
        check_last_dim("x", x, 3)
        if x is None:
            raise ValueError("x")
        assert x is not None
        return relu(x)  # why
'''


def test_documentation_and_guards_do_not_count():
    assert skeleton(find(SOURCE, "A")) == skeleton(find(DRESSED, "A"))


@pytest.mark.parametrize(
    ("old", "new"), [("relu(x)", "gelu(x)"), ("forward", "call"), ("int = 1", "int = 2"), ("nn.Module", "B")]
)
def test_statements_do_count(old, new):
    assert skeleton(find(SOURCE.replace(old, new), "A")) != skeleton(find(DRESSED, "A"))


def test_an_if_that_does_more_than_raise_counts():
    guard, branch = "if x:\n        raise E", "if x:\n        raise E\n    else:\n        x = 1"
    functions = [f"def f(x):\n    {body}\n    return x" for body in (guard, branch)]
    assert skeleton(find(functions[0], "f")) != skeleton(find(functions[1], "f"))
