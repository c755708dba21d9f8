"""A chapter works far from the clone, with the installed package alone, and with nothing installed (Colab)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import declared_url
from setup_cell import SOURCE

ROOT = Path(__file__).parents[2]

# Runs the setup cell as IPython would, the clone (installed in editable mode) out of sight and with a pip of ours.
RUN = """
import sys
sys.path[:] = [path for path in sys.path if path != sys.argv[3]]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
from IPython.core.inputtransformer2 import TransformerManager

class Shell:
    def run_line_magic(self, name, line, *_):
        print(name, line)
        sys.path.insert(0, sys.argv[2])

code = TransformerManager().transform_cell(sys.argv[1])
exec(code, {"get_ipython": Shell})
import transformer_lib
print(transformer_lib.__file__)
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


def run_setup_cell(folder, lib, python_path):
    """Run the setup cell in `folder`; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": python_path}
    command = [sys.executable, "-c", RUN, SOURCE, str(lib), str(ROOT)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_installed_package_is_whole_and_alone(installed):
    def files(folder):
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder) for path in found}

    assert files(installed / "transformer_lib") == files(ROOT / "transformer_lib")
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {
        "transformer_lib",
        "transformer_piece_by_piece",
    }


def test_installed(installed, tmp_path):
    assert run_setup_cell(tmp_path, installed, str(installed)) == [str(installed / "transformer_lib" / "__init__.py")]


def test_in_a_clone(installed):
    assert run_setup_cell(ROOT / "chapters", installed, "") == [str(ROOT / "transformer_lib" / "__init__.py")]


def test_nothing_installed(installed, tmp_path):
    pip, found = run_setup_cell(tmp_path, installed, "")
    assert pip.startswith("pip install -q --no-deps")
    assert f'"git+{declared_url()}"' in pip
    assert "torch" not in pip.replace(declared_url(), "")
    assert found == str(installed / "transformer_lib" / "__init__.py")
