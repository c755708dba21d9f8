"""A fingerprint of what a chapter's outputs were computed from: its code cells and the part of the library they use.

Kept in the notebook (`metadata.book.source_hash`), it tells whether stored outputs are stale. A test
run compares text outputs but never the pixels of a figure; the fingerprint covers those.
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
    cells = [c.source for c in notebook.cells if c.cell_type == "code" and "setup" not in c.metadata.get("tags", [])]
    files = [(p.relative_to(library).as_posix(), _content(p.suffix, p.read_bytes())) for p in used(cells, library)]
    return hashlib.sha256(repr((cells, files)).encode()).hexdigest()[:16]


def used(cells: list[str], library: Path = LIBRARY) -> list[Path]:
    """Return the files of the library that the cells lead to: what they import or name, and what that imports.

    `from library import name` leads to the file where the name is defined, a bare `import library` to all that its
    `__init__` imports. A file of data belongs to every file of code that names it or its folder (but "data" and
    "model.safetensors" name nothing: every library's files are called so).
    """
    files = {p for p in library.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    found: set[Path] = set()
    todo = [library / "notebook.py"]  # of the setup cell
    todo += [path for cell in cells for path in _mentioned(cell, True, library)]
    while todo:
        path = todo.pop()
        if path in found or path not in files:
            continue
        found.add(path)
        if path.suffix == ".py":
            text = path.read_text(encoding="utf-8")
            todo += _mentioned(text, False, library)
            words = set(re.findall(r"[\w.-]+", text))
            data = (p for p in files if p.suffix != ".py")
            todo += [
                p
                for p in data
                if words & {p.name, *p.relative_to(library).parent.parts} - {"data", "model.safetensors"}
            ]
    return sorted(found)


@functools.cache
def _mentioned(code: str, named: bool, library: Path) -> list[Path]:
    """Return the files of the library that code imports, and, if asked, those that it names as `library.module`."""
    names = re.findall(rf"\b{library.name}\.[\w.]+", code) if named else []
    for node in ast.walk(_tree(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library.name:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [path for name in names for path in _files(name, library)]


def _files(name: str, library: Path) -> Iterator[Path]:
    """Go through the files that a dotted name may mean: a module, a package, or a name that `__init__` imports."""
    first, *parts = name.split(".")
    if first != library.name:
        return
    init = library / "__init__.py"
    if not parts:
        yield init
    for n in range(len(parts)):
        folder = library.joinpath(*parts[: n + 1])
        yield from (folder.with_suffix(".py"), folder / "__init__.py")
    if len(parts) == 1 and init.exists():
        for node in ast.walk(_tree(init.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and parts[0] in [alias.asname or alias.name for alias in node.names]:
                yield from _files(f"{node.module}.{parts[0]}", library)


@functools.cache
def _tree(code: str) -> ast.AST:
    """Parse a cell (without its magics) or a file."""
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.splitlines()))


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
