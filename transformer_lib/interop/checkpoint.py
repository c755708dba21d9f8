"""Published weights: a folder with `config.json` and safetensors, turned into a model of ours without other libraries.

What stands in a folder is data: nothing from its files is run. A model comes out whole or not at all.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file
from torch import Tensor, nn

from transformer_lib._checks import shown
from transformer_lib.interop._decoders import build_gpt2, build_llama
from transformer_lib.interop.bert import build_bert
from transformer_lib.interop.marian import build_marian

BUILDERS: dict[str, Callable[[dict[str, Any], dict[str, Tensor]], nn.Module]] = {
    "bert": build_bert,
    "gpt2": build_gpt2,
    **dict.fromkeys(["llama", "mistral", "mixtral", "qwen3"], build_llama),
    "marian": build_marian,
}


def load(folder: str | Path) -> Any:  # the type depends on what stands in the folder
    """Load the model in a folder that `save_pretrained` wrote, or that was downloaded from the Hugging Face hub.

    The `model_type` of its `config.json` says what is made: a `DecoderModel` of `gpt2`, `llama`, `mistral`, `mixtral`
    and `qwen3`, a `Bert` of `bert`, a `Transformer` of `marian`. Weights keep their type, such as bfloat16. A decoder
    without a padding token pads with its end of text. It comes in evaluation mode, on the CPU.

    Example:
        model = interop.load(huggingface_hub.snapshot_download("openai-community/gpt2"))

    Raises:
        FileNotFoundError: if the config, the weights or one of several files of weights is not there.
        ValueError: if a setting has no counterpart here, or a tensor is missing, left over, doubled or of another
            shape; the message names it.
    """
    config, tensors = read_checkpoint(folder)
    kind = config.get("model_type")
    if kind not in BUILDERS:
        raise ValueError(f"model_type must be one of {', '.join(sorted(BUILDERS))}, got {shown(kind)} in {folder}")
    try:
        return BUILDERS[kind](config, tensors)
    except KeyError as error:
        raise ValueError(f"config.json in {folder} lacks {error}") from None
    except (ValueError, RuntimeError) as error:  # torch names all weights that do not fit, a line for each
        why = re.sub(r"Error.* state_dict for \w+: ", "", " ".join(str(error).split()))
        raise ValueError(f"{folder} does not hold a {kind} that we can build: {why}") from None


def read_checkpoint(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings in `config.json`, and the tensors in `model.safetensors` or in the files that an index names.

    Raises:
        FileNotFoundError: if one of these files is not there; the message names it.
        ValueError: if a file is damaged, two hold the same tensor, or the index names other tensors than they hold.
    """
    folder = Path(folder)
    config = _read_json(folder / "config.json")
    files, index = ["model.safetensors"], None
    if not (folder / files[0]).is_file():
        if not (folder / "model.safetensors.index.json").is_file():
            raise FileNotFoundError(f"there is neither model.safetensors nor model.safetensors.index.json in {folder}")
        index = _read_json(folder / "model.safetensors.index.json").get("weight_map", {})
        files = sorted({*index.values()})
    tensors: dict[str, Tensor] = {}
    for file in files:
        if not (folder / file).is_file():
            raise FileNotFoundError(f"the index in {folder} names {file}, which is not there")
        try:
            part = load_file(folder / file)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{folder / file} is damaged: {error}") from None
        if twice := tensors.keys() & part.keys():
            raise ValueError(f"{min(twice)} stands in {file} and in another file of {folder}")
        tensors |= part
    if index is not None and (strange := tensors.keys() ^ index.keys()):
        raise ValueError(f"the index in {folder} and its files differ in {min(strange)}")
    return config, tensors


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file of JSON."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path.name} in {path.parent}; give a folder that save_pretrained wrote")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return found
