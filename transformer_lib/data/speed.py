"""What `make bench` measured last, with the machine, the versions and the date; chapter 14 reads it."""

import json
from pathlib import Path

FILE = Path(__file__).with_name("speed.json")


def measured() -> dict:
    """Return the settings, the sizes and the tables: for every system tokens per second, or megabytes."""
    return json.loads(FILE.read_text(encoding="utf-8"))
