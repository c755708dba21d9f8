"""Run chapters in fresh kernels and store them executed, in one normal form.

    python tools/execute.py                           every chapter whose stored outputs are stale
    python tools/execute.py chapters/02_masks.ipynb   this one, if it is stale
    python tools/execute.py --force ...               stale or not

A chapter is written only when all of it ran; otherwise the error is shown and the file left alone. One whose outputs
are current is not run: it only gets the present setup cell and form.
"""

import argparse
import hashlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from setup_cell import TAGS, setup_cell
from source_hash import source_hash
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("mystnb", "tags")  # of a cell's metadata
# What Jupyter, VS Code and Colab ask of a notebook's language; but no version, which would change with the machine.
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}


def is_current(notebook) -> bool:
    """Say whether the stored outputs come from the present code cells and library."""
    return notebook.metadata.get("book", {}).get("source_hash") == source_hash(notebook)


def use_setup_cell(notebook, chapter: str) -> None:
    """Make the first code cell the one that all chapters share."""
    first = next((cell for cell in notebook.cells if cell.cell_type == "code"), None)
    if first is None or "setup" not in first.metadata.get("tags", []):
        raise ValueError("the first code cell must be the setup cell, tagged `setup`")
    first.source = setup_cell(chapter)
    first.metadata["tags"] = TAGS


def run(notebook, path: Path) -> None:
    """Execute all cells in a fresh kernel, in the notebook's folder; who watches sees how far it is."""
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code_cells:
        cell.outputs, cell.execution_count = [], None
    with (
        tqdm(total=len(code_cells), desc=path.name, unit="cell", leave=False, disable=None) as bar,
        tempfile.TemporaryDirectory() as profile,  # nobody's own IPython settings
    ):
        client = NotebookClient(
            notebook, timeout=None, kernel_name="python3", record_timing=False, coalesce_streams=True,
            resources={"metadata": {"path": str(path.resolve().parent)}}, on_cell_executed=lambda **_: bar.update(),
        )  # fmt: skip
        settings = {"BOOK_THREADS": "1", "BOOK_PAGE": "1", "IPYTHONDIR": profile}
        client.execute(env={**os.environ, **settings}, stderr=subprocess.DEVNULL)


def fold(cell) -> None:
    """Fold in JupyterLab what the page folds; one folded whole is called by the first sentence of its comment."""
    tags = set(cell.metadata.get("tags", []))
    hidden = {
        "source_hidden": tags & {"hide-input", "hide-cell"},
        "outputs_hidden": tags & {"hide-output", "hide-cell"},
    }
    if folded := {name: True for name, why in hidden.items() if why}:
        cell.metadata["jupyter"] = folded
    cell.metadata.get("mystnb", {}).pop("code_prompt_show", None)
    if "hide-cell" in tags and cell.source.startswith("# "):
        lines = itertools.takewhile(lambda line: line.startswith("# "), cell.source.splitlines())
        comment = " ".join(line.removeprefix("# ") for line in lines)
        cell.metadata.setdefault("mystnb", {})["code_prompt_show"] = comment.partition(". ")[0].replace("`", "")


def name_of(cell) -> str:
    """What a cell is called in a stored notebook; it follows from what it says."""
    return hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]


def normalise(notebook) -> None:
    """Bring an executed notebook into the one form in which chapters are stored."""
    ids: dict[str, int] = {}
    count = 0
    for cell in notebook.cells:
        cell.source = cell.source.rstrip()
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEPT if key in cell.metadata})
        name = name_of(cell)
        ids[name] = ids.get(name, 0) + 1
        cell.id = name if ids[name] == 1 else f"{name}-{ids[name]}"
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            count += 1
            fold(cell)
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
        "language_info": LANGUAGE,
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
    parser.add_argument("files", nargs="*", type=Path, help="the chapters; without any, all")
    parser.add_argument("--force", action="store_true", help="run them, stale or not")
    options = parser.parse_args()
    failed = 0
    for path in options.files or sorted((ROOT / "chapters").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        current = is_current(notebook) and not options.force
        start = time.perf_counter()
        try:
            use_setup_cell(notebook, path.stem)
            if not current:
                run(notebook, path)
            normalise(notebook)
            write(notebook, path)
        except (CellExecutionError, DeadKernelError, ValueError) as error:
            print(f"{path.name}: {explain(notebook, error)}")
            failed += 1
        else:
            took = "current" if current else f"{time.perf_counter() - start:.0f} s"
            print(f"{path.name}: {took}, {path.stat().st_size / 1000:.0f} kB", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
