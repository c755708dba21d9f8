"""Resolve requirements/*.in afresh and write every pin to requirements/*.lock (`make lock`)."""

import re
import subprocess
import tempfile
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
# Not pinned: pip itself, the library, and what only the GPU build of torch brings along.
LEFT_OUT = re.compile(r"^(pip|triton|nvidia-[\w-]+|cuda-[\w-]+|transformer-piece-by-piece)\b|^-e ")


def lock(name: str, *arguments: str) -> None:
    """Install `name`.in into an empty environment and write down what came."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        wanted = ["-r", str(REQUIREMENTS / f"{name}.in"), *arguments]
        subprocess.run([*pip, "install", "--quiet", "--upgrade", *wanted], check=True)
        freeze = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    pins = [re.sub(r"\+cpu$", "", line) for line in freeze.splitlines() if not LEFT_OUT.match(line)]
    if not any(line.startswith("setuptools") for line in (REQUIREMENTS / f"{name}.in").read_text().splitlines()):
        pins = [pin for pin in pins if not pin.startswith("setuptools==")]
    text = "\n".join([f"# Written by `make lock` from {name}.in.", *pins])
    (REQUIREMENTS / f"{name}.lock").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    lock("book")
    lock("test", "-c", str(REQUIREMENTS / "book.lock"))
