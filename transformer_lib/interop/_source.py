"""Where weights of Hugging Face come from: a model in memory, or the folder in which one was saved."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from transformer_lib.config import ACTIVATIONS

SAME_ACTIVATION = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}
# Weights in one file, or in several; as older versions wrote them, likewise.
WEIGHT_FILES = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin")


def require(config: dict[str, Any], **wanted: Any) -> None:
    """Require options of a config to have these values, or not to be mentioned."""
    for name, value in wanted.items():
        if config.get(name, value) != value:
            raise ValueError(f"{name}={config[name]!r} has no counterpart in this library, only {name}={value!r}")


def activation(config: dict[str, Any], name: str, default: str) -> str:
    """Our name of an activation."""
    theirs = config.get(name, default)
    ours = SAME_ACTIVATION.get(theirs, theirs)
    if ours not in ACTIVATIONS:
        raise ValueError(f"{name} must be one of {', '.join([*ACTIVATIONS, *SAME_ACTIVATION])}, got {theirs!r}")
    return ours


def read_source(source: Any, model_type: str, unused: str = "") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return config and tensors of a model, or of the folder at a path; `unused` is a pattern of names to leave out."""
    if isinstance(source, nn.Module):
        source = getattr(source, "_orig_mod", source)  # what torch.compile wraps
        config, tensors = source.config.to_dict(), source.state_dict()
    else:
        config, tensors = _read_folder(Path(source))
    if config.get("model_type") != model_type:
        raise ValueError(f"from_{model_type} needs a model of type {model_type!r}, got {config.get('model_type')!r}")
    return config, {name: x for name, x in tensors.items() if not re.fullmatch(unused, name)}


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and tensors in a folder; no code from its files is run."""
    files = next((found for names in WEIGHT_FILES if (found := sorted(folder.glob(names)))), [])
    if not files:
        wanted = ", ".join(WEIGHT_FILES)
        raise FileNotFoundError(f"no weights in {folder}; give a folder that save_pretrained wrote, with {wanted}")
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == ".bin":
            tensors |= torch.load(file, map_location="cpu", weights_only=True)
        else:
            tensors |= load_file(file)
    return json.loads((folder / "config.json").read_text(encoding="utf-8")), tensors
