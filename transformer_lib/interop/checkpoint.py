"""Published weights: a folder with `config.json` and safetensors, turned into a model of ours without other libraries.

What stands in a folder is data: nothing from its files is run. A model comes out whole or not at all.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from transformer_lib._checks import shown
from transformer_lib.interop._decoders import build_gpt2, build_llama
from transformer_lib.interop._source import read_folder
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
    config, tensors = read_folder(folder, ["model.safetensors"])
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
