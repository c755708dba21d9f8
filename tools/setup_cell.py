"""The first code cell of every chapter: in a clone, installed, or in Colab, it finds the library.

`make execute` writes it into the chapters.
"""

import re
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "site" / "ext"))

from repository import ROOT, declared_url

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FLOOR = re.search(r"torch>=([\d.]+)", " ".join(PYPROJECT["project"]["dependencies"]))[1]
NEEDS_MORE = {"15_more_than_one_machine": "2.11"}  # what it shows of torch.distributed is younger
TAGS = ["setup", "hide-input"]


def setup_cell(chapter: str) -> str:
    """Return the source of the cell for a chapter, named as its file is, without `.ipynb`."""
    torch = NEEDS_MORE.get(chapter, FLOOR)
    packages = " ".join(PYPROJECT["dependency-groups"]["colab-lacks"])
    return f"""\
# Finds transformer_lib: beside this notebook in a clone, else installed,
# else from the repository (Colab). Torch it leaves alone.
import importlib.util
import pathlib
import sys

import torch

if torch.__version__ < "{torch}":
    needs = "This chapter needs PyTorch {torch} or later"
    raise ImportError(f"{{needs}}; here is {{torch.__version__}}.")

here = pathlib.Path.cwd().resolve()
folders = (here, *here.parents)
home = next((f for f in folders if (f / "transformer_lib").is_dir()), None)
if home and str(home) not in sys.path:
    sys.path.insert(0, str(home))
if importlib.util.find_spec("transformer_lib") is None:
    %pip install -q --no-deps "git+{declared_url()}" {packages}
from transformer_lib import notebook

notebook.setup()"""
