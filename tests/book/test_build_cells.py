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
from transformer_lib import modern

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


@functools.cache
def build_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if "build" in cell.metadata.get("tags", [])]


def library_definition(name):
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "transformer_lib").rglob("*.py")]
    found = [definition for source in sources if (definition := find(source, name))]
    assert len(found) == 1, f"{name} is defined {len(found)} times in transformer_lib"
    return found[0]


def test_map_covers_the_library():
    assert BUILT_IN.keys() | NEVER_BUILT.keys() == {*transformer_lib.__all__, *modern.__all__}
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
        try:
            return relu(x)  # why
        except IndexError:
            n = len(x)
            raise ValueError(f"{n} is too much") from None
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("", "", True),  # documentation, annotations and guards do not count
        ("relu(x)", "gelu(x)", False),
        ("forward", "call", False),
        ("y = 1", "y = 2", False),
        ("nn.Module", "B", False),
        # what does more than raise is no guard
        ('raise ValueError("x")', 'raise ValueError("x")\n        else:\n            x = 1', False),
        ('raise ValueError(f"{n} is too much") from None', "return 0", False),
        ("from None", "from None\n        else:\n            n = 2", False),
        ("from None", "from None\n        finally:\n            n = 2", False),
    ],
)
def test_statements_count_and_nothing_else(old, new, same):
    assert old in DRESSED
    assert (skeleton(find(SOURCE, "A")) == skeleton(find(DRESSED.replace(old, new), "A"))) == same
