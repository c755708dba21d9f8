"""Checkpoints: written whole or not at all, and read without running code from the file."""

import os
import tempfile
from pathlib import Path

import torch


def save_atomically(content: dict, path: str | Path) -> None:
    """Write `content` with `torch.save` to a temporary file beside `path`, then rename it."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_safely(path: str | Path, keys: set[str]) -> dict:
    """Read a dictionary that `save_atomically` wrote, with `weights_only=True`, and require its keys."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; write one with model.save(path)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files; all mean the same to the reader
        raise ValueError(f"{path} is damaged or not a checkpoint of this library ({type(error).__name__})") from None
    if not isinstance(content, dict) or not keys <= content.keys():
        raise ValueError(f"{path} is not a checkpoint of this library: expected the entries {sorted(keys)}")
    return content
