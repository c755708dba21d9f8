"""A fingerprint of what a chapter's outputs were computed from: its code cells and the library.

Kept in the notebook (`metadata.book.source_hash`), it tells whether stored outputs are stale. A test
run compares text outputs but never the pixels of a figure; the fingerprint covers those.
"""

import ast
import hashlib
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "transformer_lib"


def source_hash(notebook, library: Path = LIBRARY) -> str:
    """Return the fingerprint of a notebook (the setup cell, the same in all, does not count)."""
    cells = [c.source for c in notebook.cells if c.cell_type == "code" and "setup" not in c.metadata.get("tags", [])]
    return hashlib.sha256(repr((cells, library_syntax(library))).encode()).hexdigest()[:16]


def library_syntax(library: Path = LIBRARY) -> list:
    """Return what the library does, file by file: syntax trees without comments and docstrings; data files as bytes."""
    files = sorted(p for p in library.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return [
        (p.relative_to(library).as_posix(), _plain(ast.parse(p.read_bytes())) if p.suffix == ".py" else p.read_bytes())
        for p in files
    ]


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
