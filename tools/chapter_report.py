"""Pytest plugin for the run of all notebooks: a table of what each chapter costs, and a limit on it.

Used as `pytest -p chapter_report --nbval chapters`. The limits are on what the kernel computed, not on the time that
passed, which a busy machine stretches.
"""

import re
from collections import defaultdict
from pathlib import Path

import psutil
import pytest

CHAPTER_SECONDS = 300  # of computing, on all cores together
BOOK_SECONDS = 1800
MEMORY_MB = 2000
NOT_COMPARED = {"nbval-ignore-output", "nbval-skip"}

COLUMNS = ("seconds", "CPU", "MB", "cells", "not compared")
chapters: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COLUMNS, 0))


def peak_memory(pid: int) -> int:
    """Return the most memory, in MB, that a process has held so far (0 where Linux cannot be asked)."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def seconds_computed(pid: int) -> float:
    """Return the seconds that a process and those that it started and awaited have computed so far."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:4])  # user, system, and the children's
    except psutil.NoSuchProcess:  # the kernel has died; the cell's own report says so
        return 0.0


def seconds_on_the_card(path: Path) -> int:
    """Return the seconds that a chapter says it takes, or 0 where it says nothing."""
    said = re.search(r"about (\d+) seconds to run", path.read_text(encoding="utf-8"))
    return int(said[1]) if said else 0


def pytest_collection_modifyitems(items):
    """Begin with the chapters that take longest, so that no worker ends with one of them."""
    seconds = {path: seconds_on_the_card(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: -seconds[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Note with each cell what the table needs; the notes travel from the worker that ran it."""
    report = yield
    if report.when == "call" and hasattr(item, "cell"):
        kernel = item.parent.kernel
        pid = kernel.km.provisioner.pid if kernel else 0
        exempt = bool(NOT_COMPARED & set(item.cell.metadata.get("tags", [])))
        report.user_properties += [("chapter", item.path.name), ("exempt", exempt)]
        report.user_properties += [("MB", peak_memory(pid)), ("CPU", seconds_computed(pid))]
    return report


def pytest_runtest_logreport(report):
    """Add a cell to its chapter."""
    name = Path(report.nodeid.split("::")[0]).name
    chapters[name]["seconds"] += report.duration
    notes = dict(report.user_properties)
    if "chapter" in notes and report.when == "call":
        for column in ("MB", "CPU"):
            chapters[name][column] = max(chapters[name][column], notes[column])
        chapters[name]["cells"] += 1
        chapters[name]["not compared"] += notes["exempt"]


def over_the_limits() -> list[str]:
    """Say which limits were passed."""
    complaints = []
    for name, chapter in chapters.items():
        if chapter["CPU"] > CHAPTER_SECONDS:
            complaints.append(f"{name} computes for more than {CHAPTER_SECONDS} s")
        if chapter["MB"] > MEMORY_MB:
            complaints.append(f"{name} needs more than {MEMORY_MB} MB")
    if sum(chapter["CPU"] for chapter in chapters.values()) > BOOK_SECONDS:
        complaints.append(f"the book computes for more than {BOOK_SECONDS} s")
    return complaints


def pytest_sessionfinish(session, exitstatus):
    """Fail a run that passed but was too slow or too large."""
    if exitstatus == pytest.ExitCode.OK and not hasattr(session.config, "workerinput") and over_the_limits():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Print the table."""
    terminalreporter.section("what the chapters cost")
    row = "{:<42} {:>7} {:>7} {:>6} {:>6} {:>13}".format
    terminalreporter.write_line(row("chapter", *COLUMNS))
    sums = {column: sum(chapter[column] for chapter in chapters.values()) for column in COLUMNS}
    sums["MB"] = max((chapter["MB"] for chapter in chapters.values()), default=0)
    for name, cost in [*sorted(chapters.items()), ("all", sums)]:
        times = [f"{cost[column]:.1f}" for column in ("seconds", "CPU")]
        terminalreporter.write_line(row(name, *times, cost["MB"] or "-", cost["cells"], cost["not compared"]))
    for complaint in over_the_limits():
        terminalreporter.write_line(f"TOO MUCH: {complaint}", red=True)
