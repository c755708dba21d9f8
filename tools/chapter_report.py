"""Pytest plugin for the run of all notebooks: a table of what each chapter costs, and a limit on it.

Used as `pytest -p chapter_report --nbval chapters`. The limits on time are on the seconds that passed or that the
kernel computed, whichever is less: a busy machine stretches the first, a second thread the second. On a slow machine,
BOOK_PATIENCE=3 triples them.
"""

import os
from collections import defaultdict
from pathlib import Path

import psutil
import pytest

CHAPTER_SECONDS = 150
BOOK_SECONDS = 1200
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
    """Return the seconds that a process has computed so far, on all cores together."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:  # the kernel has died; the cell's own report says so
        return 0.0
    return times.user + times.system


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


def spent(chapter: dict[str, float]) -> float:
    """Return the seconds that count against the limits."""
    return min(chapter["seconds"], chapter["CPU"])


def over_the_limits() -> list[str]:
    """Say which limits were passed."""
    patience = float(os.environ.get("BOOK_PATIENCE", "1"))
    complaints = []
    for name, chapter in chapters.items():
        if spent(chapter) > CHAPTER_SECONDS * patience:
            complaints.append(f"{name} takes longer than {CHAPTER_SECONDS} s")
        if chapter["MB"] > MEMORY_MB:
            complaints.append(f"{name} needs more than {MEMORY_MB} MB")
    if sum(spent(chapter) for chapter in chapters.values()) > BOOK_SECONDS * patience:
        complaints.append(f"the book takes longer than {BOOK_SECONDS} s")
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
