"""Make a course of the exercises, for nbgrader: one notebook a chapter, whose cells grade themselves.

    python tools/course.py FOLDER            the notebooks of the teacher, and what the students get of them
    python tools/course.py FOLDER --try      the same in FOLDER-trial, made anew, and two made-up submissions, graded

FOLDER then is a course as nbgrader wants it: `source/CHAPTER/CHAPTER.ipynb` with solutions, `release/` without. Another
call replaces these, and leaves all else as it is: what was handed in, the grades, and what the teacher has added.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from transformer_lib.exercises.exercise import CHAPTERS, LEVELS, Exercise, exercises, folded

POINTS = dict(zip(LEVELS, (1, 2, 2, 3), strict=True))
# A solution stands below the stub. Students get the stub, and nothing in its place.
SETTINGS = """\
c = get_config()
c.CourseDirectory.course_id = "transformer"
c.ClearSolutions.code_stub = {"python": ""}
"""
IMPORTS = "import math\n\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n"
CHECK = """\
from transformer_lib.exercises.exercise import find
from transformer_lib.exercises.judge import judge

judgement = judge(find("{name}"), {asked})
assert judgement.state == "right", judgement.says"""


def graded(cell, name: str, **facts):
    """Give a cell the metadata by which nbgrader knows it."""
    cell.id = name.replace(".", "-")
    cell.metadata["nbgrader"] = {
        "schema_version": 3, "grade_id": cell.id,
        "grade": False, "solution": False, "locked": False, "task": False, **facts,
    }  # fmt: skip
    return cell


def cells(exercise: Exercise, answer: str) -> list:
    """Statement, answer and check of an exercise."""
    hints = [folded("Hint", hint) for hint in exercise.hints]
    text = "\n\n".join([f"## {exercise.title}", exercise.announced, *hints])
    check = CHECK.format(name=exercise.name, asked=exercise.asked)
    return [
        graded(new_markdown_cell(text), f"{exercise.name}.text", locked=True),
        graded(new_code_cell(answer), exercise.name, solution=True),
        graded(new_code_cell(check), f"{exercise.name}.check", grade=True, locked=True, points=POINTS[exercise.level]),
    ]


def notebook(chapter: str, answers: dict[str, str]):
    """The notebook of a chapter, with these answers, else the stub and the solution."""
    head = f"# Exercises: {CHAPTERS[chapter]}\n\nRun the cells from the top. A check says what is wrong."
    made = [new_markdown_cell(head, id="head")]
    for number, exercise in enumerate(exercises(chapter)):
        given = f"{exercise.given}\n\n" if exercise.given else ""
        imports = IMPORTS if number == 0 else ""
        solution = f"\n### BEGIN SOLUTION\n{exercise.solution}\n### END SOLUTION"
        answer = f"\n\n{answers[exercise.name]}" if exercise.name in answers else solution
        made += cells(exercise, f"{imports}{given}{exercise.stub}{answer}")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=made, metadata={"kernelspec": kernel})


def write(path: Path, made) -> None:
    """Write a notebook, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)


def nbgrader(folder: Path, *words: str) -> None:
    """Run a command of nbgrader in a course."""
    subprocess.run([sys.executable, "-m", "nbgrader", *words], cwd=folder, check=True)


def try_out(folder: Path) -> None:
    """Hand in two made-up submissions of the first chapter, one right, one with known mistakes, and grade them."""
    chapter = next(iter(CHAPTERS))
    right = {exercise.name: exercise.solution for exercise in exercises(chapter)}
    wrong = {exercise.name: next(iter(exercise.wrongs)).code for exercise in exercises(chapter)}
    for student, answers in {"ada": right, "bob": wrong}.items():
        write(folder / "submitted" / student / chapter / f"{chapter}.ipynb", notebook(chapter, answers))
    nbgrader(folder, "autograde", chapter, "--create")
    nbgrader(folder, "export")
    print((folder / "grades.csv").read_text(encoding="utf-8"))


def make(folder: Path) -> None:
    """Write the notebooks of all chapters, in place of those of an earlier call; say what else is kept as it is."""
    ours = {folder / kind / chapter for kind in ("source", "release") for chapter in CHAPTERS}
    settings = folder / "nbgrader_config.py"
    others = {path for path in folder.glob("*") if path.name not in ("source", "release")}
    others |= {path for path in folder.glob("*/*") if path.parent.name in ("source", "release")} - ours
    if not settings.exists() or settings.read_text(encoding="utf-8") == SETTINGS:
        others.discard(settings)
        folder.mkdir(parents=True, exist_ok=True)
        settings.write_text(SETTINGS, encoding="utf-8")
    for chapter in CHAPTERS:
        for kind in ("source", "release"):
            shutil.rmtree(folder / kind / chapter, ignore_errors=True)
        write(folder / "source" / chapter / f"{chapter}.ipynb", notebook(chapter, {}))
        nbgrader(folder, "generate_assignment", chapter, "--create")
    kept = ", ".join(sorted(path.relative_to(folder).as_posix() for path in others))
    print(
        f"{folder}: the {len(CHAPTERS)} chapters in source/ and release/ are new" + (f"; kept: {kept}" if kept else "")
    )


def main() -> None:
    """Make the course, or try it out in a folder of its own."""
    parser = argparse.ArgumentParser(description="Make a course of the exercises, for nbgrader.")
    parser.add_argument("folder", type=Path, help="where to write; of what is there, only the chapters are replaced")
    parser.add_argument("--try", dest="trial", action="store_true", help="grade two made-up submissions, elsewhere")
    options = parser.parse_args()
    if options.trial:
        trial = options.folder.with_name(f"{options.folder.name}-trial")
        shutil.rmtree(trial, ignore_errors=True)
        make(trial)
        try_out(trial)
    else:
        make(options.folder)


if __name__ == "__main__":
    main()
