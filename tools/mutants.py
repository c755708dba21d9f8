"""Change the library a little, one place at a time, and see whether the tests notice (`make mutants`).

cosmic-ray makes the changes: another operator, another number, a condition turned round, a loop or a decorator
left out. Each is tried in a process of its own, which reads the changed text in place of the file, so nothing on
disk is touched. What was found in a file goes to `tests/mutants/<file>.md`. A change that no test notices is a
survivor: either a test is missing, or the change makes no difference, and then `tests/survivors.toml` says why.

    python tools/mutants.py [room ...]     a room is a file of the library without its ending; all by default
"""

import importlib
import os
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ["masks", "attention", "positions", "layers", "decoding", "sampling", "beam"]
# In the order in which they are likely to notice: the first failure ends the run.
TESTS = "equals_torch attention errors laws_of_parts decoding sampling beam transformer laws cache".split()
GOAL, WORKERS, PATIENCE = 0.9, 2, 300  # the share to be noticed; processes; seconds, for a loop that never ends
REPORTS, REASONS = ROOT / "tests" / "mutants", ROOT / "tests" / "survivors.toml"


class Change(NamedTuple):
    """One change to one file of the library."""

    room: str
    operator: str
    row: int
    old: str
    new: str
    code: str  # the whole file, changed


def changes(room: str) -> Iterator[Change]:
    """Every change that cosmic-ray knows for a file of the library."""
    from cosmic_ray.commands import init
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_db import WorkDB, use_db

    path = ROOT / "transformer_lib" / f"{room}.py"
    code = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, use_db(f"{folder}/changes.sqlite", WorkDB.Mode.create) as found:
        init([path], found, {})
        items = list(found.work_items)
    for (change,) in (item.mutations for item in items):
        operator = get_operator(change.operator_name)(**change.operator_args)
        changed = mutate_code(code, operator, change.occurrence)
        pairs = zip(code.splitlines(), changed.splitlines(), strict=False)
        row, old, new = next((i, a.strip(), b.strip()) for i, (a, b) in enumerate(pairs, 1) if a != b)
        yield Change(room, change.operator_name.split("/")[-1], row, old, new, changed)


def run_tests(change: Change | None) -> int:
    """Start the tests on the changed library in a process of its own; return the number of the process."""
    process = os.fork()
    if process:
        return process
    signal.alarm(PATIENCE)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if change is not None:
        read, path = SourceFileLoader.get_code, ROOT / "transformer_lib" / f"{change.room}.py"

        def get_code(loader: SourceFileLoader, name: str):
            return compile(change.code, path, "exec") if Path(loader.path) == path else read(loader, name)

        SourceFileLoader.get_code = get_code
    import pytest

    own = [change.room] if change is not None and change.room in TESTS else []
    files = [f"tests/library/test_{name}.py" for name in dict.fromkeys([*own, *TESTS])]
    options = "-x -q -p no:cacheprovider -o addopts= -W ignore::pytest.PytestAssertRewriteWarning".split()
    os._exit(pytest.main([*options, "-k", "not compile", *files]))


def survivors(todo: list[Change]) -> list[Change]:
    """Try all changes, a few at a time; return those that no test noticed."""
    running: dict[int, Change] = {}
    survived = []
    for done, change in enumerate([*todo, *[None] * WORKERS]):
        if change is not None:
            running[run_tests(change)] = change
        if running and (change is None or len(running) == WORKERS):
            process, status = os.wait()
            tried = running.pop(process)
            if status == 0:
                survived.append(tried)
                print(f"not noticed: {tried.room}.py:{tried.row} {tried.operator}: {tried.new}", flush=True)
        if done % 50 == 0:
            print(f"{done} of {len(todo)} tried", flush=True)
    return survived


def report(room: str, tried: int, survived: list[Change], reasons: list[dict]) -> str:
    """What was found in one file, as Markdown."""
    noticed = tried - len(survived)
    lines = [
        f"# Changes to `{room}.py`",
        "",
        "Written by `make mutants`: cosmic-ray changes the file, one place at a time; the tests have to notice.",
        "",
        f"{tried} changes, {noticed} noticed: {noticed / tried:.1%}",
    ]
    if survived:
        lines += ["", "## What no test notices, and why", ""]
    for change in survived:
        known = [r["reason"] for r in reasons if (r["room"], r["line"]) == (room, change.new)]
        why = known[0] if known else "**no reason is known: a test is missing**"
        lines.append(f"- `{change.old}` became `{change.new}`. {why}")
    return "\n".join(lines) + "\n"


def main(rooms: list[str]) -> int:
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(ROOT))
    for package in ("torch", "matplotlib.figure", "nbformat", "hypothesis", "jaxtyping"):
        importlib.import_module(package)  # once, here, and not in every process

    process = run_tests(None)
    if os.waitpid(process, 0)[1] != 0:
        print("the tests fail on the library as it is; mend that first", file=sys.stderr)
        return 2
    REPORTS.mkdir(exist_ok=True)
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))["survivor"]
    poor = []
    for room in rooms:
        todo = list(changes(room))
        survived = survivors(todo)
        text = report(room, len(todo), survived, reasons)
        (REPORTS / f"{room}.md").write_text(text, encoding="utf-8")
        print(text)
        if 1 - len(survived) / len(todo) < GOAL:
            poor.append(room)
    if poor:
        print(f"fewer than {GOAL:.0%} of the changes were noticed in {', '.join(poor)}", file=sys.stderr)
    return len(poor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ROOMS))
