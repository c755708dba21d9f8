"""The docstrings: their examples run, their arguments are those of the function, their chapters are named."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import transformer_lib

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(transformer_lib.__path__, "transformer_lib.")
    if "__main__" not in info.name
)
PUBLIC = {name: getattr(transformer_lib, name) for name in transformer_lib.__all__}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert sum(bool(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name))) > 0


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_a_docstring_of_their_own(name: str) -> None:
    thing = PUBLIC[name]
    assert thing.__doc__ and thing.__doc__.strip().splitlines()[0].endswith((".", "!", "?"))
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            if inspect.isfunction(member) and not key.startswith("_") and not _made_by_dataclass(member):
                assert member.__doc__, f"{name}.{key} has no docstring"


def _made_by_dataclass(member) -> bool:
    return member.__module__ != getattr(inspect.getmodule(member), "__name__", None)


def _arguments(doc: str) -> set[str]:
    """Names documented under `Args:`, such as `x` in `x: the tokens.`"""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", inspect.cleandoc(doc), re.MULTILINE)
    return set(re.findall(r"^    \*?(\w+):", section[1], re.MULTILINE)) if section else set()


@pytest.mark.parametrize("name", PUBLIC)
def test_documented_arguments_exist(name: str) -> None:
    thing = PUBLIC[name]
    things = [thing]
    if inspect.isclass(thing):
        things += [member for key, member in vars(thing).items() if inspect.isfunction(member) and key[0] != "_"]
    for function in things:
        documented = _arguments(function.__doc__ or "")
        assert documented <= set(inspect.signature(function).parameters), f"{name}: {documented}"


@pytest.mark.parametrize("name", [n for n, f in PUBLIC.items() if inspect.isfunction(f)])
def test_functions_document_all_arguments_or_none(name: str) -> None:
    documented, real = _arguments(PUBLIC[name].__doc__), set(inspect.signature(PUBLIC[name]).parameters)
    assert documented in (set(), real)
