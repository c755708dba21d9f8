"""Our modules turned into those of `torch.nn`."""

import copy
from typing import Any

import torch
from torch import nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.interop._names import TORCH_DECODER, TORCH_ENCODER, adopt, load, rename
from transformer_lib.layers import LayerNorm


def to_torch(module: nn.Module) -> Any:  # the type of theirs depends on that of ours
    """Turn a module of ours into the one of `torch.nn` that computes the same function: the way back of `from_torch`.

    Converts `LayerNorm`, `MultiHeadAttention`, `EncoderLayer`, `DecoderLayer`, `Encoder` and `Decoder`, compiled or
    not. Weights are copied; type, device, mode, norms, activation and dropout stay what they were.
    The result is batch first. At the call, a boolean mask of ours becomes `~mask`.
    A whole `Transformer` is not converted: `nn.Transformer` has no embeddings, positions or output layer.

    Raises:
        ValueError: if there is no such module in `torch.nn`, as for a layer that is partly pre-norm.
        RuntimeError: if it has weights that theirs has not, such as an adapter's (merge it first); torch names them.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    theirs = _like(module)
    names = TORCH_DECODER if isinstance(module, Decoder | DecoderLayer) else TORCH_ENCODER
    names = {ours: name for name, ours in names.items()}
    adopt(theirs, module, names)
    tensors = rename(module.state_dict(), names)
    for name in [name for name in tensors if name.endswith(("q_proj.weight", "q_proj.bias"))]:
        thirds = [name.replace("q_proj.", f"{letter}_proj.") for letter in "qkv"]
        if tensors.keys() >= {*thirds}:  # if not, `load` names what is there instead
            tensors[name.replace("q_proj.", "in_proj_")] = torch.cat([tensors.pop(third) for third in thirds])
    return load(theirs, tensors)


def _like(module: Any) -> Any:
    """Make theirs with the sizes, norms and activation of `module`; its weights are still random."""
    match module:
        case LayerNorm():
            return nn.LayerNorm(module.weight.numel())
        case MultiHeadAttention():
            # An adapter in the place of a linear map may not tell its width; `load` then names it.
            width = getattr(module.q_proj, "in_features", module.n_heads)
            return nn.MultiheadAttention(width, module.n_heads, batch_first=True)
        case EncoderLayer() | DecoderLayer():
            kind: Any = nn.TransformerEncoderLayer if isinstance(module, EncoderLayer) else nn.TransformerDecoderLayer
            for name in ("norm_first", "n_heads"):  # theirs have one of each, ours can be mixed by hand
                if len({getattr(part, name) for part in module.modules() if hasattr(part, name)}) > 1:
                    raise ValueError(f"the parts of a layer of torch.nn have one {name}, got several")
            residual, activation = module.self_attn_residual, copy.deepcopy(module.feed_forward.activation)
            d_model, d_ff = residual.norm.weight.numel(), getattr(module.feed_forward.fc1, "out_features", 1)
            options = dict(norm_first=residual.norm_first, activation=activation, batch_first=True)
            theirs = kind(d_model, module.self_attn.n_heads, d_ff, **options)
            if isinstance(activation, nn.GELU) and activation.approximate != "none":
                theirs.activation_relu_or_gelu = 0  # torch's fast path would take it for the exact GELU
            return theirs
        case Encoder() | Decoder():
            layer: Any = nn.Identity()  # of which there are none
            norm = None if isinstance(module.norm, nn.Identity) else _like(module.norm)
            if isinstance(module, Decoder):
                theirs = nn.TransformerDecoder(layer, 0, norm)
            else:  # nested tensors would give zeros at padding, where ours has ordinary values
                theirs = nn.TransformerEncoder(layer, 0, norm, enable_nested_tensor=False)
            theirs.layers = nn.ModuleList(_like(layer) for layer in module.layers)
            theirs.num_layers = len(theirs.layers)
            return theirs
    raise ValueError(f"cannot convert {type(module).__name__} of {type(module).__module__}; see help(to_torch)")
