"""A chapter works far from the clone, with the installed package alone, and with nothing installed (Colab)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import declared_url
from setup_cell import SOURCE

ROOT = Path(__file__).parents[2]

# Runs the setup cell as IPython would, the clone (installed in editable mode) out of sight and with a pip of ours:
# once in each folder that it is given, with the path that it is given for it. Torch is loaded once for all.
RUN = """
import contextlib, io, json, os, sys
import torch
from IPython.core.inputtransformer2 import TransformerManager

source, lib, clone, cases = sys.argv[1:]
code = TransformerManager().transform_cell(source)
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
clear = [path for path in sys.path if path not in ("", clone)]

class Shell:
    def run_line_magic(self, name, line, *_):
        print(name, line)
        sys.path.insert(0, lib)

told = []
for folder, path in json.loads(cases):
    os.chdir(folder)
    sys.path[:] = ["", *filter(None, [path]), *clear]
    for name in [name for name in sys.modules if name.split(".")[0] == "transformer_lib"]:
        del sys.modules[name]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {"get_ipython": Shell})
        import transformer_lib
        print(transformer_lib.__file__)
    told.append(out.getvalue().splitlines())
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the package as pip installs it."""
    folder = tmp_path_factory.mktemp("alone")
    source = folder / "source"
    shutil.copytree(ROOT / "transformer_lib", source / "transformer_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(folder / "lib"), str(source)], check=True)
    return folder / "lib"


@pytest.fixture(scope="module")
def told(installed, tmp_path_factory):
    """What the setup cell prints with the package installed, in a clone, and with nothing installed."""
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    cases = {
        "installed": (elsewhere, str(installed)),
        "in a clone": (str(ROOT / "chapters"), ""),
        "nothing installed": (elsewhere, ""),
    }
    command = [sys.executable, "-c", RUN, SOURCE, str(installed), str(ROOT), json.dumps(list(cases.values()))]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return dict(zip(cases, json.loads(run.stdout), strict=True))


def test_installed_package_is_whole_and_alone(installed):
    def files(folder):
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder) for path in found}

    assert files(installed / "transformer_lib") == files(ROOT / "transformer_lib")
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {
        "transformer_lib",
        "transformer_piece_by_piece",
    }


def test_installed(installed, told):
    assert told["installed"] == [str(installed / "transformer_lib" / "__init__.py")]


def test_in_a_clone(told):
    assert told["in a clone"] == [str(ROOT / "transformer_lib" / "__init__.py")]


def test_nothing_installed(installed, told):
    pip, found = told["nothing installed"]
    assert pip.startswith("pip install -q --no-deps")
    assert f'"git+{declared_url()}"' in pip
    assert "torch" not in pip.replace(declared_url(), "")
    assert found == str(installed / "transformer_lib" / "__init__.py")
