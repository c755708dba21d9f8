"""Write torch.inv, a Sphinx inventory (format 2), from the list in torch.txt: the book is built without the web."""

import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = """# Sphinx inventory version 2
# Project: PyTorch
# Version: stable
# The remainder of this file is compressed using zlib.
"""


def inventory(text: str) -> bytes:
    """The inventory of the names listed in `text`."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    entries = "".join(f"{name} py:{role} 1 {page} -\n" for name, role, page in rows)
    return HEADER.encode() + zlib.compress(entries.encode(), 9)


if __name__ == "__main__":
    (HERE / "torch.inv").write_bytes(inventory((HERE / "torch.txt").read_text(encoding="utf-8")))
