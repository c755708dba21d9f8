"""A chapter is stale when its code or what it uses of the library has changed, and not when anything else has."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from source_hash import LIBRARY, code_cells, source_hash, used

DOUBLE = '"""Module."""\n\ndef f(x):\n    """Double it."""\n    return 2 * x  # why\n'
FILES = {
    "f.py": DOUBLE,
    "__init__.py": "from library.f import f\nfrom library.parts.g import g as h\nIN_WINGS = {'fly': 'wing'}\n",
    "__main__.py": "from library.recipes import bake\n",
    "README.md": "Read f.py first.",
    "parts/__init__.py": "",
    "parts/g.py": "from library.f import f\n\n\ndef g(x):\n    return f(x)\n",
    "wing/__init__.py": "from library.wing.air import fly\nfrom library.wing.ground import walk\n\nLEGS = 2\n",
    "wing/air.py": "def fly():\n    pass\n",
    "wing/ground.py": "def walk():\n    from library.f import f\n",
    "data/__init__.py": "",
    "data/table.py": "PATH = 'numbers.csv'  # NOTICE\n",
    "data/numbers.csv": "1",
    "data/NOTICE": "Somebody counted.",
    "recipes/__init__.py": "from library.recipes.oven import bake\n",
    "recipes/oven.py": "def bake(what):\n    pass\n",
    "recipes/bread/recipe.toml": "flour = 1",
    "recipes/bread/README.md": "Bread.",
    "recipes/cake/recipe.toml": "flour = 2",
    "notebook/__init__.py": "x = 1\n",
    "notebook/results.py": "def read(name):\n    pass\n",
    "notebook/results/speed.json": "1",
    "notebook/results/taste.json": "2",
}
OVEN = ["recipes/oven.py", "recipes/bread/recipe.toml"]
SPEED = ["notebook/results.py", "notebook/results/speed.json"]


@pytest.fixture
def library(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "library"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# why", "# for a reason", True),
        ("Double it.", "Return twice x.", True),
        ("Module.", "File.", True),
        ("2 * x", "3 * x", False),
        ("def f", "def g", False),
        ("x):", "x, y):", False),
    ],
)
def test_hash_sees_code_and_not_words(library, old, new, same):
    notebook = new_notebook(cells=[new_code_cell("from library import f")])
    before = source_hash(notebook, library)
    (library / "f.py").write_text(DOUBLE.replace(old, new))
    assert (source_hash(notebook, library) == before) == same


def test_hash_sees_cells(library):
    notebook = new_notebook(cells=[new_code_cell("pass", metadata={"tags": ["setup"]}), new_code_cell("f(1)")])
    before = source_hash(notebook, library)
    notebook.cells[0].source = "another setup"
    notebook.cells.append(new_markdown_cell("Words."))
    assert source_hash(notebook, library) == before
    notebook.cells[1].source = "f(2)"
    assert source_hash(notebook, library) != before


@pytest.mark.parametrize(
    ("cell", "files"),
    [
        ("pass", []),
        ("import other.f", []),
        ("from library import f", ["f.py"]),
        ("from library import h", ["f.py", "parts/g.py"]),
        ("%matplotlib inline\nfrom library.parts.g import g", ["f.py", "parts/g.py"]),
        ("import library", ["__init__.py", "f.py", "parts/g.py"]),
        ("import library\nlibrary.wing.fly()", ["__init__.py", "f.py", "parts/g.py", "wing/air.py"]),
        # a wing: by a short name, by its own, by a name it defines, and as a whole
        ("from library import fly", ["wing/air.py"]),
        ("from library.wing import walk", ["f.py", "wing/ground.py"]),
        ("from library.wing import LEGS", ["f.py", "wing/__init__.py", "wing/air.py", "wing/ground.py"]),
        ("from library import wing", ["f.py", "wing/__init__.py", "wing/air.py", "wing/ground.py"]),
        # data that code names
        ("from library.data import table", ["data/numbers.csv", "data/table.py"]),
        # what the chapter itself asks for, and only with what reads it
        ("from library.recipes import bake\nbake('bread')", OVEN),
        ("from library.recipes import bake\nbake('a loaf of bread')", ["recipes/oven.py"]),
        ("words = ['bread', 'speed']", []),
        ("!python -m library ask bread please", ["__main__.py", *OVEN]),
        ("run(['-m', 'library', 'train', 'bread'])", ["__main__.py", *OVEN]),
        ("from library.notebook import results\nresults.read('speed')", SPEED),
    ],
)
def test_hash_sees_the_files_that_a_chapter_leads_to_and_no_others(library, cell, files):
    assert used([cell], library) == sorted(library / name for name in [*files, "notebook/__init__.py"])
    notebook = new_notebook(cells=[new_code_cell(cell)])
    for path in [p for p in library.rglob("*") if p.is_file()]:
        before, text = source_hash(notebook, library), path.read_text()
        path.write_text(text + "\ny = 2\n")
        assert (source_hash(notebook, library) != before) == (path in used([cell], library)), path
        path.write_text(text)


def of_chapter(name):
    notebook = nbformat.read(LIBRARY.parent / "chapters" / f"{name}.ipynb", as_version=4)
    return {path.relative_to(LIBRARY).as_posix() for path in used(code_cells(notebook))}


def test_the_first_chapter_depends_on_little():
    paths = of_chapter("01_self_attention")
    assert {"attention.py", "notebook/example.py"} <= paths
    assert {path.split("/")[0] for path in paths if "/" in path} == {"laws", "notebook"}
    assert not paths & {"__init__.py", "encoder.py", "training.py", "decoding.py"}


@pytest.mark.parametrize(
    ("chapter", "read", "not_read"),
    [
        ("11_decoding", "recipes/numbers/model.safetensors", "recipes/pronounce/model.safetensors"),
        ("12_pronunciation", "recipes/run.py", "recipes/pronounce/README.md"),
        ("13_translation", "recipes/sentences/subwords.json", "recipes/pronounce/log.jsonl"),
        ("14_speed", "notebook/results/speed.json", "notebook/results/ablation.json"),
        ("14_speed", "fast/model.py", "laws/models.py"),
        ("15_more_than_one_machine", "distributed/trainer.py", "fast/model.py"),
    ],
)
def test_a_chapter_depends_on_the_models_and_results_that_it_shows(chapter, read, not_read):
    paths = of_chapter(chapter)
    assert read in paths
    assert not_read not in paths
