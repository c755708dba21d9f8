"""The tools that run and store chapters do what the stored chapters rely on."""

import os
import subprocess
import sys

import chapter_report
import nbformat
import pytest
from execute import ROOT, explain, is_current, normalise
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from setup_cell import SOURCE
from source_hash import source_hash, used

LIBRARY = '"""Module."""\n\ndef f(x):\n    """Double it."""\n    return 2 * x  # why\n'


@pytest.fixture
def library(tmp_path):
    files = {
        "f.py": LIBRARY,
        "__init__.py": "from library.f import f\nfrom library.parts.g import g as h\n",
        "parts/__init__.py": "",
        "parts/g.py": "from library.f import f\n\n\ndef g(x):\n    return f(x)\n",
        "data/table.py": "PATH = 'numbers.csv'\n",
        "data/numbers.csv": "1",
        "recipes/bread/recipe.toml": "flour = 1",
        "bake.py": "FOLDER = 'bread'\n",
        "alone.py": "x = 1\n",
        "notebook.py": "x = 1\n",
    }
    for name, text in files.items():
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
    (library / "f.py").write_text(LIBRARY.replace(old, new))
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
        ("from library import f", ["f.py"]),
        ("from library import h", ["f.py", "parts/__init__.py", "parts/g.py"]),
        ("%matplotlib inline\nfrom library.parts.g import g", ["f.py", "parts/__init__.py", "parts/g.py"]),
        ("import library.parts", ["parts/__init__.py"]),
        ("import library", ["__init__.py", "f.py", "parts/__init__.py", "parts/g.py"]),
        ("from library.data import table", ["data/numbers.csv", "data/table.py"]),
        ("run('python -m library.bake')", ["bake.py", "recipes/bread/recipe.toml"]),
        ("import other.f", []),
    ],
)
def test_hash_sees_the_files_that_a_chapter_leads_to_and_no_others(library, cell, files):
    assert used([cell], library) == sorted(library / name for name in [*files, "notebook.py"])
    notebook = new_notebook(cells=[new_code_cell(cell)])
    for path in [p for p in library.rglob("*") if p.is_file()]:
        before, text = source_hash(notebook, library), path.read_text()
        path.write_text(text + "\ny = 2\n")
        assert (source_hash(notebook, library) != before) == (path in used([cell], library))
        path.write_text(text)


def test_normal_form():
    figure = new_output("display_data", {"image/png": "AAAA"}, metadata={"image/png": {"alt": "what it shows"}})
    cells = [
        new_code_cell("f()", outputs=[figure], metadata={"execution": {"x": "now"}, "tags": ["a"]}),
        new_code_cell("f()"),
    ]
    notebook = new_notebook(
        cells=cells, metadata={"jupytext": {}, "language_info": {"name": "python", "version": "3.0"}}
    )
    normalise(notebook)
    first, second = notebook.cells
    assert first.metadata == {"tags": ["a"], "mystnb": {"image": {"alt": "what it shows"}}}
    assert (first.execution_count, second.execution_count) == (1, 2)
    assert second.id == f"{first.id}-2"
    assert is_current(notebook)
    assert "jupytext" not in notebook.metadata
    assert "version" not in notebook.metadata.language_info


@pytest.mark.parametrize(("source", "written"), [("print(1)", True), ("1 / 0", False)])
def test_only_a_whole_run_is_written(tmp_path, source, written):
    path = tmp_path / "01_x.ipynb"
    cells = [new_code_cell("pass", metadata={"tags": ["setup"]}), new_code_cell(source)]
    nbformat.write(new_notebook(cells=cells), path)
    before = path.read_text()
    command = [sys.executable, str(ROOT / "tools" / "execute.py"), str(path)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (run.returncode, path.read_text() != before) == (0 if written else 1, written)
    assert list(tmp_path.iterdir()) == [path]
    assert ("code cell 2 of 2" in run.stdout) == (not written)


def test_explain_knows_a_kernel_that_never_ran():
    assert "before the first cell" in explain(new_notebook(cells=[new_code_cell(SOURCE)]), RuntimeError("no kernel"))


@pytest.mark.parametrize(
    ("cost", "complaints"), [((149, 1999), 0), ((151, 100), 1), ((10, 2001), 1), ((1201, 2001), 3)]
)
def test_limits(monkeypatch, cost, complaints):
    monkeypatch.delenv("BOOK_PATIENCE", raising=False)
    monkeypatch.setattr(chapter_report, "chapters", {"x": {"seconds": cost[0], "CPU": 2 * cost[0], "MB": cost[1]}})
    assert len(chapter_report.over_the_limits()) == complaints


def test_waiting_is_no_fault_of_the_chapter(monkeypatch):
    monkeypatch.setattr(chapter_report, "chapters", {"x": {"seconds": 500, "CPU": 100, "MB": 0}})
    assert chapter_report.over_the_limits() == []
