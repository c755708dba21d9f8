"""A chapter works far from the clone, with the installed package alone, and with nothing installed (Colab)."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import declared_url
from setup_cell import FLOOR, NEEDS_MORE, PYPROJECT, setup_cell

ROOT = Path(__file__).parents[2]
CHAPTER = "01_self_attention"

# Runs the setup cell as IPython would, the clone (installed in editable mode) out of sight and with a pip of ours:
# once in each folder that it is given, with the path that it is given for it. Torch is loaded once for all.
RUN = """
import contextlib, io, json, os, sys
import torch
from IPython.core.inputtransformer2 import TransformerManager

source, lib, clone, cases = sys.argv[1:]
code = TransformerManager().transform_cell(source)
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
def dist(tmp_path_factory):
    """The folder in which `make dist` leaves the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """A folder that holds the package as pip installs it from the wheel."""
    folder = tmp_path_factory.mktemp("lib")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, *map(str, dist.glob("*.whl"))], check=True)
    return folder


def test_wheel_is_whole_alone_and_small(dist, installed):
    def files(folder):
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder) for path in found}

    assert files(installed / "transformer_lib") == files(ROOT / "transformer_lib")
    folders = {path.name.split("-")[0] for path in installed.iterdir()}
    assert folders == {"transformer_lib", "transformer_piece_by_piece"}
    assert len(sizes := [path.stat().st_size for path in dist.iterdir()]) == 2
    assert max(sizes) < 21e6


def test_archives_can_be_published(dist):
    check = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    run = subprocess.run(check, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


ASK = """
from transformer_lib import __file__ as place, __main__
print(place)
for question in "numbers three hundred twenty one", "pronounce transformer", "sentences Turn on the light":
    __main__.main(["ask", *question.split()])
"""
ANSWERS = ["dreihunderteinundzwanzig", "T R AE N S F AO R M ER", "Leuchte einschalten"]


def test_the_command_answers_from_the_wheel_alone(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONIOENCODING": "utf-8"}
    told = subprocess.check_output([sys.executable, "-c", ASK], env=environment, cwd=tmp_path, encoding="utf-8")
    assert told.splitlines() == [str(installed / "transformer_lib" / "__init__.py"), *ANSWERS]


def test_the_setup_cell_finds_the_library_or_installs_it_but_never_torch(installed, tmp_path):
    """With the package installed, in a clone, and with nothing installed."""
    cases = [(str(tmp_path), str(installed)), (str(ROOT / "chapters"), ""), (str(tmp_path), "")]
    command = [sys.executable, "-c", RUN, setup_cell(CHAPTER), str(installed), str(ROOT), json.dumps(cases)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    package, clone, (pip, after) = json.loads(run.stdout)
    assert package == [after] == [str(installed / "transformer_lib" / "__init__.py")]
    assert clone == [str(ROOT / "transformer_lib" / "__init__.py")]
    assert pip.startswith("pip install -q --no-deps") and f'"git+{declared_url()}"' in pip
    assert "torch" not in pip.replace(declared_url(), "")


def below(version):
    """A version that is a little older."""
    major, minor = map(int, version.split("."))
    return f"{major}.{minor - 1}.9+cu130"


@pytest.mark.parametrize(("chapter", "floor"), [(CHAPTER, FLOOR), *NEEDS_MORE.items()])
def test_an_older_torch_is_named_before_anything_is_installed(monkeypatch, chapter, floor):
    import torch
    from torch.torch_version import TorchVersion

    check = setup_cell(chapter).split("\n\nhere =")[0]
    for version in (f"{floor}.0", f"{floor}.0+cpu", "2.100.0"):
        monkeypatch.setattr(torch, "__version__", TorchVersion(version))
        exec(check, {})
    monkeypatch.setattr(torch, "__version__", TorchVersion(below(floor)))
    with pytest.raises(ImportError, match=re.escape(f"PyTorch {floor} or later; here is {below(floor)}.")):
        exec(check, {})


def needed(names):
    """Return the packages of these names with all that they need in turn, as it is installed here."""
    found, todo = set(), list(names)
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in found and not name.startswith(("nvidia-", "cuda-")) and name != "triton":
            found.add(name)
            told = map(Requirement, requires(name) or [])
            todo += [need.name for need in told if not need.marker or need.marker.evaluate({"extra": ""})]
    return found


def names(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_colab_has_or_installs_what_the_library_needs():
    groups = PYPROJECT["dependency-groups"]
    there, lacks = needed(names(groups["colab"])), names(groups["colab-lacks"])
    assert needed(names(PYPROJECT["project"]["dependencies"])) <= there | lacks
    assert not lacks & there, "what Colab has is not installed again"
