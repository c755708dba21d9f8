"""Packing: a trained model as one small file to publish, in half precision and without code (chapter 12).

A file is in the safetensors format, which other libraries read too; the configuration and a SHA-256 of the weights
are in its metadata.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from transformer_lib._checks import check_model, check_path
from transformer_lib.checkpoint import check_weights, write_atomically
from transformer_lib.config import TransformerConfig
from transformer_lib.transformer import Transformer


def pack(model: Transformer, path: str | Path) -> None:
    """Write the configuration, and the weights rounded to float16, to one file.

    Raises:
        ValueError: if a weight is too large for float16, or no number.
    """
    check_model(model)
    weights = {name: weight.detach().cpu().half().contiguous() for name, weight in model.state_dict().items()}
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"{name} holds numbers that float16 does not have; save the model with model.save(path)")
    about = {"config": dataclasses.asdict(model.config), "sha256": _digest(weights)}
    # One entry: safetensors writes several in an order that chance decides.
    write_atomically(safetensors.torch.save(weights, {"model": json.dumps(about)}), path)


def unpack(path: str | Path) -> Transformer:
    """Read a model written by `pack`: onto the CPU, in torch's default type, in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or was not written by `pack`.
    """
    check_path(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no packed model at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["model"])
            weights = {name: file.get_tensor(name) for name in file.keys()}
        if about["sha256"] != _digest(weights):
            raise ValueError("its check sum does not fit")
        model = Transformer(TransformerConfig(**about["config"]))
        check_weights(weights, model.state_dict())
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no packed model: {error}") from None
    model.load_state_dict(weights)
    return model.eval()


def _digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 of names and bytes of all weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
