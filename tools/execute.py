"""Run chapters in fresh kernels and store them executed, in one normal form.

    python tools/execute.py                           every chapter whose stored outputs are stale
    python tools/execute.py --force                   every chapter
    python tools/execute.py chapters/02_masks.ipynb   this one, stale or not

A chapter is written only when all of it ran; otherwise the error is shown and the file left alone.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from setup_cell import SOURCE, TAGS
from source_hash import source_hash

ROOT = Path(__file__).resolve().parents[1]
CELL_SECONDS = 600  # a cell that takes longer hangs
KEPT = ("mystnb", "tags")  # of a cell's metadata


def is_current(notebook) -> bool:
    """Say whether the stored outputs come from the present code cells and library."""
    return notebook.metadata.get("book", {}).get("source_hash") == source_hash(notebook)


def has_setup_cell(notebook) -> bool:
    """Say whether the first code cell is the one that all chapters share."""
    return next((cell.source for cell in notebook.cells if cell.cell_type == "code"), None) == SOURCE


def use_setup_cell(notebook) -> None:
    """Make the first code cell the one that all chapters share."""
    first = next((cell for cell in notebook.cells if cell.cell_type == "code"), None)
    if first is None or "setup" not in first.metadata.get("tags", []):
        raise ValueError("the first code cell must be the setup cell, tagged `setup`")
    first.source = SOURCE
    first.metadata["tags"] = TAGS


def run(notebook, folder: Path) -> None:
    """Execute all cells in a fresh kernel of this very interpreter, whose working directory is `folder`."""
    # The folder that holds no kernels makes jupyter fall back to the interpreter that runs this file.
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook, km=manager, timeout=CELL_SECONDS, record_timing=False, coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as profile:  # nobody's own IPython settings
        client.execute(env={**os.environ, "BOOK_THREADS": "1", "IPYTHONDIR": profile}, stderr=subprocess.DEVNULL)


def normalise(notebook) -> None:
    """Bring an executed notebook into the one form in which chapters are stored."""
    ids: dict[str, int] = {}
    count = 0
    for cell in notebook.cells:
        cell.source = cell.source.rstrip()
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEPT if key in cell.metadata})
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        ids[name] = ids.get(name, 0) + 1
        cell.id = name if ids[name] == 1 else f"{name}-{ids[name]}"
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
                if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                    cell.metadata.setdefault("mystnb", {}).setdefault("image", {})["alt"] = alt
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict({
        "book": {"source_hash": source_hash(notebook)},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    })  # fmt: skip


def write(notebook, path: Path) -> None:
    """Write the notebook, keys sorted; the old file is replaced only by a whole new one."""
    nbformat.validate(notebook)
    new = path.with_suffix(".ipynb.new")
    new.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")
    new.replace(path)


def explain(notebook, error: Exception) -> str:
    """Say which cell failed and how, without the colour codes of a terminal."""
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ran = [cell for cell in code_cells if cell.get("execution_count") or cell.outputs]
    where = f"code cell {len(ran)} of {len(code_cells)}" if ran else "before the first cell"
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return f"FAILED in {where}: {type(error).__name__}\n{text}"


def main() -> int:
    """Execute what was asked for; the exit status is the number of chapters that failed."""
    parser = argparse.ArgumentParser(description="Run chapters and store them executed.")
    parser.add_argument("files", nargs="*", type=Path, help="chapters to run; without any, all that are stale")
    parser.add_argument("--force", action="store_true", help="run all chapters, stale or not")
    options = parser.parse_args()
    failed = 0
    for path in options.files or sorted((ROOT / "chapters").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if not (options.files or options.force) and is_current(notebook) and has_setup_cell(notebook):
            print(f"{path.name}: current")
            continue
        print(f"{path.name}: ", end="", flush=True)
        start = time.perf_counter()
        try:
            use_setup_cell(notebook)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            run(notebook, path.resolve().parent)
            normalise(notebook)
            write(notebook, path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, ValueError) as error:
            print(explain(notebook, error))
            failed += 1
        else:
            print(f"{time.perf_counter() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB")
    return failed


if __name__ == "__main__":
    sys.exit(main())
