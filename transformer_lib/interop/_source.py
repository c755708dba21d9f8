"""Where weights come from: a model of Hugging Face in memory, or the folder in which one was saved.

Files are read as data: JSON, safetensors, or `torch.load` with `weights_only=True`. No code from them is run.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib._checks import check_positive, shown

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
CONVERTERS = ("marian", "gpt2", "bert", "bart")
ACTIVATION_NAMES = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}


class SourceConfig:
    """The settings of a source model, asked for by name; an unfit one is refused by name."""

    def __init__(self, values: dict[str, Any], model_type: str) -> None:
        found = values.get("model_type")
        if found != model_type:
            hint = f"; use from_{found}" if found in CONVERTERS else ""
            raise ValueError(f"config has model_type {shown(found)}, from_{model_type} needs {model_type!r}{hint}")
        self.values = values
        self.model_type = model_type

    def get(self, name: str, default: Any = None) -> Any:
        """A setting; `default`, that of the reference library, where the file does not mention it."""
        return self.values.get(name, default)

    def size(self, name: str) -> int:
        """A setting that is a whole number of at least 1."""
        if name not in self.values:
            raise ValueError(f"config of model_type {self.model_type!r} has no {name}")
        check_positive(**{name: self.values[name]})
        return self.values[name]

    def number(self, name: str, default: float) -> float:
        """A setting that is a number."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, got {shown(value)}")
        return float(value)

    def require(self, name: str, wanted: bool, default: bool) -> None:
        """Refuse a setting that our modules have no counterpart for."""
        value = self.get(name, default)
        if value is not wanted:
            raise ValueError(
                f"{name}={value!r} has no counterpart in this library, only {name}={wanted} can be converted"
            )

    def same_size(self, name: str, other: str) -> int:
        """A size that ours has once and theirs twice."""
        if self.size(name) != self.size(other):
            raise ValueError(
                f"{name} ({self.size(name)}) and {other} ({self.size(other)}) must be equal: ours has one for both"
            )
        return self.size(name)

    def activation(self, name: str, default: str) -> str:
        """The name that `TransformerConfig` has for the activation."""
        value = self.get(name, default)
        if not isinstance(value, str) or value not in ACTIVATION_NAMES:
            raise ValueError(f"{name} must be one of {', '.join(ACTIVATION_NAMES)}, got {shown(value)}")
        return ACTIVATION_NAMES[value]


def read_source(source: Any, model_type: str) -> tuple[SourceConfig, dict[str, Tensor]]:
    """Return config and tensors of a model, or of the folder at a path."""
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        return SourceConfig(_read_config(folder), model_type), _read_folder(folder)
    to_dict = getattr(getattr(source, "config", None), "to_dict", None)
    if not isinstance(source, nn.Module) or to_dict is None:
        raise ValueError(
            f"from_{model_type} takes a model of Hugging Face or the path of a folder, got {type(source).__name__}"
        )
    return SourceConfig(to_dict(), model_type), dict(source.state_dict())


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; give the one that holds config.json and the weights")
    return _read_json(folder / "config.json")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}; give a folder written by save_pretrained")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}; copy the file again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def _read_folder(folder: Path) -> dict[str, Tensor]:
    """Read the first of the weight files that is there."""
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"no weights in {folder}; looked for {', '.join(WEIGHT_FILES)}")
    return _read_shards(path) if path.suffix == ".json" else _read_tensors(path)


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Read the files that an index names; each must hold just the tensors that the index says."""
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise ValueError(f"{index} has no weight_map from names of tensors to names of files")
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file:
            raise ValueError(f"{index} names the file {file!r}, which is not in its own folder")
        shard = _read_tensors(index.parent / file)
        unlike = shard.keys() ^ {name for name, place in weight_map.items() if place == file}
        if unlike:
            raise ValueError(f"{file} and {index.name} disagree about {len(unlike)} tensors, such as {min(unlike)}")
        tensors.update(shard)
    return tensors


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}, though its index names it; copy all files")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError  # here, so that the chapters run where it is not installed
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or no safetensors file: {error}; copy the file again") from None
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or unsafe files
        raise ValueError(f"{path} is damaged or holds more than tensors ({type(error).__name__})") from None
    named = isinstance(tensors, dict) and all(
        isinstance(name, str) and isinstance(x, Tensor) for name, x in tensors.items()
    )
    if not named:
        raise ValueError(f"{path} must hold a dictionary from names to tensors")
    return tensors
