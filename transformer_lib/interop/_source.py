"""Where weights of Hugging Face come from: a model in memory, or the folder in which one was saved."""

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from transformer_lib.config import ACTIVATIONS
from transformer_lib.interop._names import rename

CONVERTERS = ("marian", "gpt2", "bert", "bart")
SAME_ACTIVATION = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}
# Weights in one file, or in several; as older versions wrote them, likewise.
WEIGHT_FILES = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin")


class Settings(dict[str, Any]):
    """The config of a model; what it lacks, or ours has no counterpart for, is refused by name."""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"config of model_type {self['model_type']!r} has no {name}")

    def require(self, **wanted: Any) -> None:
        """Require options to have these values, or not to be mentioned."""
        for name, value in wanted.items():
            if self.get(name, value) != value:
                raise ValueError(f"{name}={self[name]!r} has no counterpart in this library, only {name}={value!r}")

    def activation(self, name: str, default: str) -> str:
        """Our name of an activation."""
        theirs = self.get(name, default)
        ours = SAME_ACTIVATION.get(theirs, theirs)
        if ours not in ACTIVATIONS:
            raise ValueError(f"{name} must be one of {', '.join([*ACTIVATIONS, *SAME_ACTIVATION])}, got {theirs!r}")
        return ours


def read_source(source: Any, model_type: str, unused: str = "") -> tuple[Settings, dict[str, Tensor]]:
    """Return config and tensors of a model, or of the folder at a path; `unused` is a pattern of names to leave out."""
    if isinstance(source, str | os.PathLike):
        config, tensors = _read_folder(Path(source))
    elif isinstance(source, nn.Module) and hasattr(source, "config"):
        config, tensors = source.config.to_dict(), source.state_dict()
    else:
        raise ValueError(
            f"from_{model_type} takes a model of Hugging Face or the path of a folder, got {type(source).__name__}"
        )
    found = config.get("model_type")
    if found != model_type:
        hint = f"; use from_{found}" if found in CONVERTERS else ""
        raise ValueError(f"config has model_type {found!r}, from_{model_type} needs {model_type!r}{hint}")
    tensors = {name: x for name, x in rename(tensors, {}).items() if not re.fullmatch(unused, name)}
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or x.is_meta or not x.is_floating_point():
            got = f"{x.dtype} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"{name} must hold floating-point numbers, got {got}")
    return Settings(config), tensors


def widened(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give all tensors the widest type that occurs: a linear map takes no bias of another type than its weight's."""
    widest = functools.reduce(torch.promote_types, (x.dtype for x in tensors.values()), torch.bool)
    return {name: x.to(widest) for name, x in tensors.items()}


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no config.json in {folder}; give a folder that save_pretrained wrote")
    files = next((found for names in WEIGHT_FILES if (found := sorted(folder.glob(names)))), [])
    if not files:
        raise FileNotFoundError(f"no weights in {folder}; looked for {', '.join(WEIGHT_FILES)}")
    return _parsed(folder / "config.json"), {name: x for file in files for name, x in _parsed(file).items()}


def _parsed(path: Path) -> dict[str, Any]:
    """The content of a file of JSON or of tensors; no code from it is run."""
    try:
        if path.suffix == ".json":
            return dict(json.loads(path.read_text(encoding="utf-8")))
        if path.suffix == ".bin":
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        return load_file(path)
    except Exception as error:  # each parser has its own kinds
        raise ValueError(f"{path} is damaged or holds more than it should ({type(error).__name__})") from None
