"""Runs that take long: told about before they begin, made one after the other, and kept as soon as each has ended."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from transformer_lib import _files

Run = TypeVar("Run")


def write(path: Path, results: Any) -> None:
    """Write results as JSON."""
    _files.replace(path, (json.dumps(results, indent=1) + "\n").encode())


def in_order(runs: Sequence[Run], seconds: float) -> Iterator[Run]:
    """Hand out one run after the other; tell how long all will take, before the first and after each.

    Args:
        runs: what is to be done.
        seconds: that each took where it was done last; from the first on it is this machine's own time.
    """
    print(f"{len(runs)} runs, about {len(runs) * seconds / 60:.0f} minutes where it was done last", flush=True)
    begin = time.monotonic()
    for done, run in enumerate(runs, 1):
        yield run
        left = (len(runs) - done) * (time.monotonic() - begin) / done
        print(f"{done} of {len(runs)} runs made, about {left / 60:.0f} minutes left", flush=True)


class Rows:
    """Rows of a file of results. The same command goes on after the last one there.

    Args:
        path: the file.
        about: what was chosen, and the versions; rows of other choices do not stand beside these.
        part: the part of the file that the rows belong to; by default the whole.
    """

    def __init__(self, path: Path, about: dict[str, Any], part: str | None = None) -> None:
        self.path = path
        self.results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        mine = self.results if part is None else self.results.setdefault(part, {})
        if any(mine.setdefault(name, value) != value for name, value in about.items()):
            raise SystemExit(f"{path} was written with other settings or versions; move it away")
        self.rows: list[dict] = mine.setdefault("rows", [])

    def has(self, **values: Any) -> bool:
        """Tell whether there is a row with these values."""
        return any(values.items() <= row.items() for row in self.rows)

    def add(self, *rows: dict) -> None:
        """Add rows, and write the file."""
        self.rows += rows
        write(self.path, self.results)
        print(*rows, sep="\n", flush=True)


def make_missing(
    jobs: Sequence[tuple[str | None, Callable[[dict], dict], dict]], path: Path, about: dict[str, Any], seconds: float
) -> None:
    """Make the rows that a file does not hold yet, and write it after each.

    Args:
        jobs: the part of the file, or None for the whole; what makes a row of a job; and the job, which the row holds.
        path: the file, as of `Rows`.
        about: what was chosen, as of `Rows`.
        seconds: that a row took where it was made last, as of `in_order`.
    """
    missing = [(part, run, job) for part, run, job in jobs if not Rows(path, about, part).has(**job)]
    for part, run, job in in_order(missing, seconds):
        Rows(path, about, part).add(run(job))  # read anew: the file may have other parts


def parameters(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


def cpu_name() -> str:
    """The name of the processor, if the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else f"{os.cpu_count()} cores"
