"""Checkpoints: written whole or not at all, and read without running code from the file.

A file is what `torch.save` writes, and behind it the SHA-256 of that. `torch.load` does not look for damage: it would
hand out weights with flipped bits. So a file that does not fit its last 32 bytes is not even opened.
"""

import hashlib
import io
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from transformer_lib._checks import check_path

DIGEST = hashlib.sha256().digest_size


def check_target(path: str | Path) -> None:
    """Require that a file can stand at `path`: its folder is there, and it is not a folder itself."""
    check_path(path)
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")


def save_atomically(content: dict, path: str | Path) -> None:
    """Write `content` with `torch.save` to a temporary file beside `path`, then rename it."""
    check_target(path)
    buffer = io.BytesIO()  # torch's writer, stopped by a full disk, hides why
    torch.save(content, buffer)
    write_atomically(buffer.getvalue() + hashlib.sha256(buffer.getbuffer()).digest(), path)


def write_atomically(data: bytes, path: str | Path) -> None:
    """Write a file to a temporary one beside `path`, then rename it: an old file stays until the new one is whole."""
    check_target(path)
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name[:100], suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_safely(path: str | Path, keys: set[str]) -> dict:
    """Read a dictionary that `save_atomically` wrote, with `weights_only=True`, and require its keys."""
    check_path(path)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; write one with model.save(path)")
    data = path.read_bytes()
    if hashlib.sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
        raise ValueError(f"{path} is damaged or not a checkpoint of this library (its check sum does not fit)")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what it will not read; all mean the same to the reader
        raise ValueError(f"{path} is damaged or not a checkpoint of this library ({type(error).__name__})") from None
    if not isinstance(content, dict) or not keys <= content.keys():
        raise ValueError(f"{path} is not a checkpoint of this library: expected the entries {sorted(keys)}")
    return content


def check_weights(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Require the names and shapes of `expected`, and numbers: then nothing can be loaded by halves."""
    if not isinstance(weights, dict):
        raise ValueError(f"the weights must be a dictionary, got {type(weights).__name__}")
    for name in [*expected, *(name for name in weights if name not in expected)]:
        have, want = (_describe(tensors.get(name)) for tensors in (weights, expected))
        if have != want:
            raise ValueError(f"the weights have {have} as {name}, the model has {want}")


def _describe(tensor: object) -> str:
    plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.is_floating_point()
    return f"numbers of shape {tuple(tensor.shape)}" if plain and not tensor.is_meta else "nothing"
