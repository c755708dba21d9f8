"""The chapters show the exercises as the library has them, and so does a course."""

import copy
from pathlib import Path

import course
import exercises as tool
import nbformat
import pytest
import torch

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


def test_a_stub_that_would_answer_the_exercise_before_is_folded():
    closed = {exercise.name for name in CHAPTERS for exercise in exercises(name) if exercise.closed}
    assert closed == {"museum.line"}
    cells = [cell for cell in chapter("museum").cells if "exercise" in cell.metadata.get("tags", [])]
    folded = [cell for cell in cells if "hide-input" in cell.metadata["tags"]]
    assert [cell.cell_type for cell in folded] == ["code"] and "museum.line" in folded[0].metadata["tags"]
    assert folded[0].metadata["jupyter"] == {"source_hidden": True}, "JupyterLab folds it too"
    assert not [cell for cell in cells if "jupyter" in cell.metadata and cell is not folded[0]]
    told = " ".join("\n".join(cell.source for cell in cells).split())
    assert "The next exercise has its code, folded." in told and "in the folded cell below is what `sealed`" in told


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


def test_a_course_that_is_made_again_keeps_what_students_handed_in(tmp_path, monkeypatch, capsys):
    ran = []

    def nbgrader(folder, *words):
        ran.append(words)
        if words[0] == "generate_assignment":
            course.write(folder / "release" / words[1] / f"{words[1]}.ipynb", course.notebook(words[1], {}))
        elif words[0] == "export":
            (folder / "grades.csv").write_text("ada,1", encoding="utf-8")

    monkeypatch.setattr(course, "nbgrader", nbgrader)
    monkeypatch.setattr(course, "CHAPTERS", {"masks": CHAPTERS["masks"]})
    folder = tmp_path / "course"
    monkeypatch.setattr("sys.argv", ["course.py", str(folder)])
    course.main()
    assert "kept" not in capsys.readouterr().out
    own = ["submitted/eve/masks/masks.ipynb", "autograded/eve/masks.ipynb", "gradebook.db", "source/mine/mine.ipynb"]
    for name in own:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("theirs", encoding="utf-8")
    old = folder / "source" / "masks" / "masks.ipynb"
    old.write_text("old", encoding="utf-8")
    (folder / "release" / "masks" / "old.ipynb").write_text("old", encoding="utf-8")
    course.main()
    assert [(folder / name).read_text(encoding="utf-8") for name in own] == ["theirs"] * 4
    assert nbformat.read(old, as_version=4).cells and not (folder / "release" / "masks" / "old.ipynb").exists()
    told = capsys.readouterr().out
    assert told.endswith("are new; kept: autograded, gradebook.db, source/mine, submitted\n")

    (folder / "nbgrader_config.py").write_text("mine", encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("sys.argv", ["course.py", str(folder), "--try"])
    course.main()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, "a trial is elsewhere"
    assert (tmp_path / "course-trial" / "submitted" / "bob").is_dir() and ran[-2][0] == "autograde"
    monkeypatch.setattr("sys.argv", ["course.py", str(folder)])
    course.main()
    assert (folder / "nbgrader_config.py").read_text(encoding="utf-8") == "mine"
    assert "nbgrader_config.py" in capsys.readouterr().out.splitlines()[-1]


def test_a_course_has_what_the_last_exhibit_asks_for():
    cell = next(c for c in course.notebook("museum", {}).cells if c.id == "museum-sealed")
    names: dict = {"torch": torch}  # which the first cell of the chapter imports
    exec(cell.source, names)
    laws, sealed, some, changed = (names[name] for name in ("laws", "sealed", "some", "changed"))
    held = {
        name: getattr(laws, name)(sealed, some).holds for name in ("permutation_equivariance", "batch_equals_single")
    }
    assert held == {"permutation_equivariance": True, "batch_equals_single": False}
    assert laws.token_by_token(sealed, some, changed).holds
    names["say"](laws.token_by_token(sealed, some, changed))


def test_exercises_are_written_without_running_the_chapter(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "CHAPTERS", {"masks": CHAPTERS["masks"]})
    monkeypatch.setattr(tool, "PARTS", {})
    monkeypatch.setattr("sys.argv", ["exercises.py"])
    path = tmp_path / "chapters" / "02_masks.ipynb"
    path.parent.mkdir()
    good = (FOLDER / path.name).read_text(encoding="utf-8")
    old = chapter("masks")
    stub = next(c for c in old.cells if c.cell_type == "code" and "masks.causal" in c.metadata.get("tags", []))
    stub.source, stub.outputs = "older = 1", []
    tool.normalise(old)
    tool.write(old, path)
    assert tool.main() == 0
    assert path.read_text(encoding="utf-8") == good, "outputs and fingerprint are those of a run"
    old.metadata["book"]["source_hash"] = "of other code"
    tool.write(old, path)
    assert tool.main() == 0
    assert not tool.is_current(nbformat.read(path, as_version=4)), "what was stale stays stale"


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
