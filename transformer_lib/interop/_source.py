"""Where weights of Hugging Face come from: a model in memory, or the folder in which one was saved."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from transformer_lib.config import ACTIVATIONS

SAME_ACTIVATION = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"}
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the second as older versions wrote them


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
        config, tensors = read_folder(source)
    if config.get("model_type") != model_type:
        raise ValueError(f"from_{model_type} needs a model of type {model_type!r}, got {config.get('model_type')!r}")
    return config, {name: x for name, x in tensors.items() if not re.fullmatch(unused, name)}


def read_folder(folder: str | Path, names: Sequence[str] = WEIGHTS) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings in `config.json` and the tensors in a folder; no code from its files is run.

    The weights stand in a file of the first of `names` that is there, in those that an index beside it names, or in
    numbered ones. What `interop.load` says of missing files, damage, doubles and an index that lies is raised here.
    """
    folder = Path(folder)
    config = _read(folder / "config.json")
    files, index = _find(folder, names)
    tensors: dict[str, Tensor] = {}
    for file in files:
        if not (folder / file).is_file():
            raise FileNotFoundError(f"the index in {folder} names {file}, which is not there")
        part = _read(folder / file)
        if twice := tensors.keys() & part.keys():
            raise ValueError(f"{min(twice)} stands in {file} and in another file of {folder}")
        tensors |= part
    if index is not None and (strange := tensors.keys() ^ index.keys()):
        raise ValueError(f"the index in {folder} and its files differ in {min(strange)}")
    return config, tensors


def _find(folder: Path, names: Sequence[str]) -> tuple[list[str], dict[str, str] | None]:
    """The names of the files of weights, and where an index says that each tensor stands, if there is one."""
    for name in names:
        if (folder / name).is_file():
            return [name], None
        if (folder / f"{name}.index.json").is_file():
            index = _read(folder / f"{name}.index.json").get("weight_map", {})
            return sorted({*index.values()}), index
        if found := sorted(path.name for path in folder.glob("-*-of-*.".join(name.rsplit(".", 1)))):
            return found, None
    wanted = " nor ".join(f"{name} nor {name}.index.json" for name in names)
    raise FileNotFoundError(f"there is neither {wanted} in {folder}; give a folder that save_pretrained wrote")


def _read(path: Path) -> dict[str, Any]:
    """What a file holds by name: settings, or tensors."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path.name} in {path.parent}; give a folder that save_pretrained wrote")
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
        else:
            found = torch.load(path, "cpu", weights_only=True) if path.suffix == ".bin" else load_file(path)
    except Exception as error:  # torch raises many kinds for what it will not read; all mean the same here
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is damaged, or not what its name says: {why}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds nothing by name")
    return found
