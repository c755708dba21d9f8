"""A fingerprint of what a chapter's outputs were computed from: its code cells and the part of the library they use.

Kept in the notebook (`metadata.book.source_hash`), it tells whether stored outputs are stale. A test
run compares text outputs but never the pixels of a figure; the fingerprint covers those.

python tools/source_hash.py    list the files that each chapter depends on
"""

import ast
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "transformer_lib"


def source_hash(notebook, library: Path = LIBRARY) -> str:
    """Return the fingerprint of a notebook (the setup cell, the same in all, does not count)."""
    cells = code_cells(notebook)
    files = [(p.relative_to(library).as_posix(), _content(p.suffix, p.read_bytes())) for p in used(cells, library)]
    return hashlib.sha256(repr((cells, files)).encode()).hexdigest()[:16]


def code_cells(notebook) -> list[str]:
    """Return the code of a notebook, cell by cell, without the setup cell."""
    return [c.source for c in notebook.cells if c.cell_type == "code" and "setup" not in c.metadata.get("tags", [])]


def used(cells: list[str], library: Path = LIBRARY) -> list[Path]:
    """Return the files of the library that the cells lead to: what they import or name, and what that imports.

    `from library import name` leads to the file where the name is defined, a bare `import library` to all that its
    `__init__` imports. To these come the files of data that are read. The exercises do not count: they draw no figure,
    and what they print is text, which a test run compares.
    """
    found: set[Path] = set()
    todo = [library / "notebook" / "__init__.py"]  # of the setup cell
    todo += [path for cell in cells for path in _mentioned(cell, True, library)]
    while todo:
        path = todo.pop()
        if path.exists() and path not in found and library / "exercises" not in path.parents:
            found.add(path)
            todo += _mentioned(path.read_text(encoding="utf-8"), False, library)
    return sorted(found | _data(cells, found, library))


def _data(cells: list[str], code: set[Path], library: Path) -> set[Path]:
    """Return the data that a chapter reads: what the code of the library names, and what the chapter itself asks for.

    A file beside code belongs to the code that names it. Trained models and measured results lie in folders without
    code. Of those a chapter reads what a string of its own names, `load("pronounce")` or `read("speed")`, if it leads
    to the code that opens them: anything in `recipes/` for `recipes/pronounce/`, `results.py` beside `results/`. What
    people look at does not count.
    """
    named = {word for path in code for word in re.findall(r"[\w.-]+", path.read_text(encoding="utf-8"))}
    asked = {word for cell in cells for word in _asked(cell, library.name)}
    found = set()
    for path in library.rglob("*"):
        if not path.is_file() or path.suffix in {".py", ".pyc", ".md", ".png", ".js", ".css"} or "NOTICE" in path.name:
            continue
        folder, reader = path.parent, path.parent.with_suffix(".py")
        if (folder / "__init__.py").exists():
            read = path.name in named
        elif reader.exists():
            read = reader in code and path.stem in asked
        else:
            read = folder.name in asked and any(p.parent == folder.parent for p in code)
        if read:
            found.add(path)
    return found


@functools.cache
def _mentioned(code: str, cell: bool, library: Path) -> list[Path]:
    """Return the files of the library that code imports; of a cell also what it names, and the command it runs."""
    names = re.findall(rf"(?<!from )(?<!import )\b{library.name}\.[\w.]+", code) if cell else []
    if cell and re.search(rf"-m\W+{library.name}\b(?!\.)", code):
        names.append(f"{library.name}.__main__")
    for node in ast.walk(_tree(code)):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [path for name in names for path in _files(name, library)]


def _files(name: str, library: Path) -> Iterator[Path]:
    """Go to the file that a dotted name leads to: a module, a package, or where a name that a package hands on is."""
    first, *parts = name.split(".")
    if first != library.name:
        return
    folder = library
    while parts and (folder / parts[0] / "__init__.py").exists():
        folder = folder / parts.pop(0)
    init = folder / "__init__.py"
    handed_on = _handed_on(init.read_text(encoding="utf-8"), library.name) if parts else {}
    if parts and (folder / f"{parts[0]}.py").exists():
        yield folder / f"{parts[0]}.py"
    elif parts and parts[0] in handed_on:
        yield from _files(handed_on[parts[0]], library)
    else:
        yield init


@functools.cache
def _handed_on(init: str, library: str) -> dict[str, str]:
    """Return the full names of what a package's `__init__` imports, at once or when asked for (`IN_WINGS`)."""
    names = {}
    for node in ast.walk(_tree(init)):
        if isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "IN_WINGS":
            wings = ast.literal_eval(node.value)
            names.update({name: f"{library}.{wing}.{name}" for name, wing in wings.items()})
    return names


@functools.cache
def _asked(cell: str, library: str) -> set[str]:
    """Return the strings of a cell, and the task that a command in it is about."""
    strings = {n.value for n in ast.walk(_tree(cell)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return strings | set(re.findall(rf"-m\W+{library}\W+(?:ask|train)\W+(\w+)", cell))


@functools.cache
def _tree(code: str) -> ast.AST:
    """Parse a cell (without its magics) or a file, without what is there for type checkers alone."""
    tree = ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.splitlines()))
    tree.body = [s for s in tree.body if not (isinstance(s, ast.If) and ast.unparse(s.test) == "TYPE_CHECKING")]
    return tree


@functools.cache
def _content(suffix: str, data: bytes) -> str:
    """Return a digest of what a file does: of code, without comments and docstrings."""
    return hashlib.sha256(repr(_plain(ast.parse(data))).encode() if suffix == ".py" else data).hexdigest()


def _plain(node) -> object:
    """Turn a syntax tree into nested tuples; empty fields are left out, so all Python versions agree."""
    if isinstance(node, list):
        return tuple(_plain(child) for child in node)
    if not isinstance(node, ast.AST):
        return node
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    return (type(node).__name__, *((name, _plain(value)) for name, value in fields.items() if value not in (None, [])))


if __name__ == "__main__":
    import nbformat

    for chapter in sorted(LIBRARY.parent.glob("chapters/*.ipynb")):
        paths = used(code_cells(nbformat.read(chapter, as_version=4)))
        print(f"{chapter.stem}: {' '.join(path.relative_to(LIBRARY).as_posix() for path in paths)}")
