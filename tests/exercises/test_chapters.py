"""The chapters show the exercises as the library has them, and so does a course."""

import copy
from pathlib import Path

import course
import exercises as tool
import nbformat
import pytest

from transformer_lib.exercises.exercise import CHAPTERS, exercises

FOLDER = Path(__file__).parents[2] / "chapters"


def chapter(name):
    return nbformat.read(FOLDER / f"{CHAPTERS[name]}.ipynb", as_version=4)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_is_in_step(name):
    notebook = chapter(name)
    before = tool.told(copy.deepcopy(notebook))
    tool.update(notebook, name)
    assert tool.told(notebook) == before, "run make exercises"
    stubs = [c for c in notebook.cells if "exercise" in c.metadata.get("tags", []) and c.cell_type == "code"]
    printed = [cell.outputs[-1].text for cell in stubs]
    assert printed == [f"{exercise.name}: not attempted yet.\n" for exercise in exercises(name)]


def test_a_new_exercise_takes_the_place_of_its_mark_and_a_lost_one_is_told():
    notebook = chapter("masks")
    whole = tool.told(notebook)
    first = next(i for i, cell in enumerate(notebook.cells) if "masks.causal" in cell.metadata.get("tags", []))
    notebook.cells[first : first + 3] = [nbformat.v4.new_markdown_cell("exercise: masks.causal")]
    tool.update(notebook, "masks")
    assert tool.told(notebook) == whole
    del notebook.cells[first : first + 3]
    with pytest.raises(ValueError, match="and masks defines"):
        tool.update(notebook, "masks")


def test_the_tool_says_what_is_out_of_step(tmp_path, monkeypatch, capsys):
    (tmp_path / "chapters").mkdir()
    for path in [*FOLDER.glob("*.ipynb"), *FOLDER.glob("quiz_*.md")]:
        (tmp_path / "chapters" / path.name).write_bytes(path.read_bytes())
    page, masks = tmp_path / "chapters" / "quiz_build.md", tmp_path / "chapters" / "02_masks.ipynb"
    good = page.read_text(encoding="utf-8"), masks.read_text(encoding="utf-8")
    page.write_text("old", encoding="utf-8")
    masks.write_text(good[1].replace("Count the permissions", "Count"), encoding="utf-8")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["exercises.py", "--check"])
    assert tool.main() == 2
    assert page.read_text(encoding="utf-8") == "old", "with --check nothing is written"
    monkeypatch.setattr("sys.argv", ["exercises.py"])
    assert tool.main() == 0
    assert (page.read_text(encoding="utf-8"), masks.read_text(encoding="utf-8")) == good
    told = capsys.readouterr().out
    assert told.count("out of step") == 2 == told.count("written")


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_course_holds_statement_stub_solution_and_a_check_that_grades_itself(name):
    notebook = course.notebook(name, {})
    nbformat.validate(notebook)
    marks = [cell.metadata["nbgrader"] for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert len({mark["grade_id"] for mark in marks}) == len(marks) == 3 * len(exercises(name))
    cells = iter(notebook.cells[1:])
    names: dict = {}
    for exercise in exercises(name):
        text, answer, check = next(cells).source, next(cells).source, next(cells).source
        assert exercise.statement in text and exercise.solution not in text
        for code in (answer, check):
            exec(code, names)  # the solution, and its grade
        stub = answer.partition("### BEGIN SOLUTION")[0]
        exec(stub, names)
        with pytest.raises(AssertionError, match="not attempted yet"):
            exec(check, names)
