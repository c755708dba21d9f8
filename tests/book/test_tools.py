"""The tools that run and store chapters do what the stored chapters rely on."""

import os
import subprocess
import sys

import chapter_report
import nbformat
import pytest
from execute import LANGUAGE, ROOT, explain, is_current, main, normalise, write
from nbformat.v4 import new_code_cell, new_notebook, new_output
from setup_cell import setup_cell


def test_normal_form():
    figure = new_output("display_data", {"image/png": "AAAA"}, metadata={"image/png": {"alt": "what it shows"}})
    shown = new_code_cell("f()", outputs=[figure], metadata={"execution": {"x": "now"}, "tags": ["a"]})
    old = {"jupytext": {}, "language_info": {"name": "python", "version": "3.0"}}
    notebook = new_notebook(cells=[shown, new_code_cell("f()")], metadata=old)
    normalise(notebook)
    first, second = notebook.cells
    assert first.metadata == {"tags": ["a"], "mystnb": {"image": {"alt": "what it shows"}}}
    assert (first.execution_count, second.execution_count) == (1, 2)
    assert second.id == f"{first.id}-2"
    assert is_current(notebook)
    assert "jupytext" not in notebook.metadata
    assert notebook.metadata.language_info == LANGUAGE
    assert LANGUAGE.keys() >= {"codemirror_mode", "file_extension", "mimetype", "name", "pygments_lexer"}
    assert "version" not in LANGUAGE


@pytest.mark.parametrize(
    ("source", "tag", "hidden", "title"),
    [
        ("f()", "hide-input", ["source"], None),
        ("f()", "hide-output", ["outputs"], None),
        ("# Check: equal\nf()", "hide-cell", ["source", "outputs"], "Check: equal"),
        ("# Check: equal,\n# too. So\n\n# x\nf()", "hide-cell", ["source", "outputs"], "Check: equal, too"),
        ("# Check: `d` is 4\nf()", "hide-cell", ["source", "outputs"], "Check: d is 4"),
        ("f()", "build", [], None),
    ],
)
def test_what_the_page_folds_jupyterlab_folds(source, tag, hidden, title):
    cell = new_code_cell(source, metadata={"tags": [tag], "mystnb": {"code_prompt_show": "what it was called before"}})
    normalise(new_notebook(cells=[cell]))
    assert cell.metadata.get("jupyter", {}) == {f"{part}_hidden": True for part in hidden}
    assert cell.metadata["mystnb"].get("code_prompt_show") == title


def test_only_a_whole_run_is_written(tmp_path):
    broken, whole, before = tmp_path / "01_x.ipynb", tmp_path / "02_x.ipynb", {}
    for path, source in ((broken, "1 / 0"), (whole, "print(1)")):
        cells = [new_code_cell("pass", metadata={"tags": ["setup"]}), new_code_cell(source)]
        nbformat.write(new_notebook(cells=cells), path)
        before[path] = path.read_text()
    command = [sys.executable, str(ROOT / "tools" / "execute.py"), str(broken), str(whole)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert run.returncode == 1  # one failed
    assert broken.read_text() == before[broken] and whole.read_text() != before[whole]
    assert sorted(tmp_path.iterdir()) == [broken, whole]
    assert "01_x.ipynb: FAILED in code cell 2 of 2" in run.stdout and "02_x.ipynb: FAILED" not in run.stdout
    assert run.stderr == ""  # a bar is for who watches


def test_a_current_chapter_gets_the_setup_cell_and_is_not_run(tmp_path, monkeypatch, capsys):
    path = tmp_path / "01_x.ipynb"
    shown = new_output("stream", text="what ran before\n")
    cells = [new_code_cell("old", metadata={"tags": ["setup"]}), new_code_cell("1 / 0", outputs=[shown])]
    notebook = new_notebook(cells=cells)
    normalise(notebook)
    write(notebook, path)
    monkeypatch.setattr(sys, "argv", ["execute.py", str(path)])
    assert main() == 0
    assert "01_x.ipynb: current" in capsys.readouterr().out
    stored = nbformat.read(path, as_version=4)
    assert stored.cells[0].source == setup_cell("01_x")
    assert stored.cells[1] == notebook.cells[1]


def test_explain_knows_a_kernel_that_never_ran():
    assert "before the first cell" in explain(new_notebook(cells=[new_code_cell("pass")]), RuntimeError("no kernel"))


@pytest.mark.parametrize(("cpu", "mb", "number"), [(299, 1999, 0), (301, 100, 1), (10, 2001, 1), (1801, 2001, 3)])
def test_limits(monkeypatch, cpu, mb, number):
    monkeypatch.setattr(chapter_report, "chapters", {"x": {"seconds": 9999, "CPU": cpu, "MB": mb}})
    assert len(chapter_report.over_the_limits()) == number


def test_what_a_child_computed_counts():
    before = chapter_report.seconds_computed(os.getpid())
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert chapter_report.seconds_computed(os.getpid()) > before + 0.05
