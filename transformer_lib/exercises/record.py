"""The learner's record: which exercises were solved on this machine. One line each, added at the end of a small file.

A line that a crash cut short is no name of an exercise, and does not count. Whoever deletes the file begins anew.
"""

import os
from pathlib import Path

from transformer_lib.exercises.exercise import CHAPTERS, exercises


def path() -> Path:
    """Where the record is kept: what `TRANSFORMER_LIB_RECORD` names, else a file in the home folder."""
    return Path(os.environ.get("TRANSFORMER_LIB_RECORD") or Path.home() / ".transformer_lib_solved.txt")


def solved() -> set[str]:
    """The names that the record holds."""
    try:
        return set(path().read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return set()


def keep(name: str) -> str:
    """Add a name; return what to tell when that cannot be done, else nothing."""
    if name in solved():
        return ""
    try:
        with path().open("a", encoding="utf-8") as file:
            file.write(f"\n{name}\n")  # the first newline ends a line that a crash cut short
    except OSError as error:
        return f" (It could not be recorded: {error}.)"
    return ""


def progress() -> None:
    """Print which exercises were solved on this machine, chapter by chapter, and where that is written."""
    done, count = solved(), 0
    for chapter, notebook in CHAPTERS.items():
        names = [exercise.name for exercise in exercises(chapter)]
        right = [name for name in names if name in done]
        count += len(right)
        number = notebook.partition("_")[0]
        title = f"{int(number):>2} {chapter}" if number.isdigit() else f"   {chapter}"
        told = " ".join(name.partition(".")[2] for name in right)
        print(f"{title:<18} {len(right)} of {len(names)}  {told}".rstrip())
    print(f"{count} solved. The record is {path()}; delete it to begin anew.")
