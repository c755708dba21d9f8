"""Write the exercises of `transformer_lib/exercises` into the chapters, where their cells stand, and the quizzes.

    python tools/exercises.py           every chapter
    python tools/exercises.py --check   write nothing; say which chapters are out of step, and fail

An exercise is three cells, tagged with its name: statement, stub with its check, hints and solution. A new one is
placed by a cell of text that says `exercise: masks.causal` and nothing else. The cost card tells the minutes of all.
What a stub prints is known, and nothing else in a chapter depends on it, so that no chapter has to run again.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from execute import fold, is_current, name_of, normalise, write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from transformer_lib.exercises.exercise import CHAPTERS, Exercise, exercises, folded
from transformer_lib.exercises.quiz import PARTS, page

ROOT = Path(__file__).resolve().parents[1]
MARK = "exercise: "


def cells(exercise: Exercise) -> list:
    """The three cells of an exercise; the stub runs alone, after the setup cell."""
    statement = f"### Exercise: {exercise.title}\n\n{exercise.announced}"
    gap = "\n\n\n" if "def " in exercise.stub else "\n"
    imports = "from transformer_lib.exercises import check\n\n"
    stub = f'{imports}{exercise.stub}{gap}check("{exercise.name}", {exercise.asked})'
    hints = [folded("Hint" if i == 1 else f"Hint {i}", hint) for i, hint in enumerate(exercise.hints, start=1)]
    solution = f"```python\n{exercise.solution}\n```" + (f"\n\n{exercise.why}" if exercise.why else "")
    printed = new_output("stream", name="stdout", text=f"{exercise.name}: not attempted yet.\n")
    made = [
        new_markdown_cell(statement), new_code_cell(stub, outputs=[printed]),
        new_markdown_cell("\n\n".join([*hints, folded("Solution", solution)])),
    ]  # fmt: skip
    for cell in made:
        cell.metadata["tags"] = ["exercise", exercise.name]
        cell.id = name_of(cell)
    if exercise.closed:
        made[1].metadata["tags"].append("hide-input")
        fold(made[1])
    return made


def placed(cell) -> str | None:
    """The name of the exercise that a cell belongs to, or shall be replaced by."""
    tags = cell.metadata.get("tags", [])
    if "exercise" in tags:
        return next(tag for tag in tags if tag != "exercise")
    return cell.source.removeprefix(MARK).strip() if cell.source.startswith(MARK) else None


def update(notebook, chapter: str) -> None:
    """Bring the cells of all exercises of a chapter up to date.

    Raises:
        ValueError: an exercise has no place in the notebook, or a place no exercise.
    """
    known = {exercise.name: exercise for exercise in exercises(chapter)}
    order = list(dict.fromkeys(name for cell in notebook.cells if (name := placed(cell))))
    if order != list(known):
        raise ValueError(f"the chapter has the exercises {order}, and {chapter} defines {list(known)}, in this order")
    new = []
    for cell in notebook.cells:
        name = placed(cell)
        if name is None:
            new.append(cell)
        elif name in order:
            new += cells(known[name])
            order.remove(name)
    notebook.cells = new
    card = next(cell for cell in new if "> **Before you start.**" in cell.source)
    minutes = sum(exercise.minutes for exercise in known.values())
    to_read = r"(minutes to read)(?:, \d+ for the exercises)?;"
    card.source = re.sub(to_read, rf"\1, {minutes} for the exercises;", card.source)


def told(notebook) -> list[tuple]:
    """What of a notebook is compared: kind, source and tags of each cell."""
    return [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in notebook.cells]


def main() -> int:
    """Update what was asked for; with `--check` the exit status says whether anything is out of step."""
    parser = argparse.ArgumentParser(description="Write the exercises into the chapters.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if something is out of step")
    options = parser.parse_args()
    stale = 0
    for chapter, name in CHAPTERS.items():
        path = ROOT / "chapters" / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        before, current = told(notebook), is_current(notebook)
        update(notebook, chapter)
        if told(notebook) == before:
            continue
        stale += 1
        print(f"{path.name}: {'out of step, run make exercises' if options.check else 'written'}")
        if not options.check:
            if current:  # and still is: only exercises have changed
                normalise(notebook)
            write(notebook, path)
    for part in PARTS:
        path, text = ROOT / "chapters" / f"quiz_{part}.md", page(part)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            print(f"{path.name}: {'out of step, run make exercises' if options.check else 'written'}")
            if not options.check:
                path.write_text(text, encoding="utf-8")
    return stale if options.check else 0


if __name__ == "__main__":
    sys.exit(main())
