"""The docstrings: their examples run, their arguments are those of the function, their chapters are named."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import transformer_lib

MODULES = {info.name for info in pkgutil.walk_packages(transformer_lib.__path__, "transformer_lib.")}
PUBLIC = {name: getattr(transformer_lib, name) for name in transformer_lib.__all__}


@pytest.mark.parametrize("name", sorted(MODULES - {"transformer_lib.__main__"}))
def test_examples_in_docstrings_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def _arguments(doc: str) -> set[str]:
    """Names documented under `Args:`, such as `x` in `x: the tokens.`"""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", inspect.cleandoc(doc), re.MULTILINE)
    return set(re.findall(r"^    \*?(\w+):", section[1], re.MULTILINE)) if section else set()


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented_and_no_argument_that_is_not_there(name: str) -> None:
    thing = PUBLIC[name]
    assert thing.__doc__ and thing.__doc__.strip().splitlines()[0].endswith((".", "!", "?"))
    methods = [member for key, member in vars(thing).items() if inspect.isfunction(member) and key[0] != "_"]
    for function in (thing, *(methods if inspect.isclass(thing) else [])):
        assert function.__doc__, f"{name}: {function.__name__} has no docstring"
        documented, real = _arguments(function.__doc__), set(inspect.signature(function).parameters)
        assert documented <= real, f"{name}: {documented}"
        assert documented in (set(), real) or function is not thing or inspect.isclass(thing)
