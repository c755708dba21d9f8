"""What the scripts in `benchmarks/` measured last, with the machine, the versions and the date; chapters show it."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("results")


def read(name: str) -> Any:
    """Return the results of one script, such as `speed`, `ablation`, `trainings` or `modern`."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
