"""Modules of `torch.nn` turned into ours."""

import copy
from typing import Any

from torch import nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.interop._names import TORCH_DECODER, TORCH_ENCODER, adopt, load, rename, split_in_proj
from transformer_lib.layers import LayerNorm


def from_torch(module: nn.Module) -> Any:  # the type of ours depends on that of theirs
    """Turn a module of `torch.nn` into ours, computing the same function.

    Converts `LayerNorm`, `MultiheadAttention`, `TransformerEncoderLayer`, `TransformerDecoderLayer`,
    `TransformerEncoder`, `TransformerDecoder`, and `Transformer` (into a pair, encoder and decoder), compiled or not.
    Weights are copied; type, device, mode, norms, activation and dropout stay what they were.
    Two things differ at the call: inputs are always batch first, and masks are boolean with
    `True` = may attend, so that a boolean mask of torch's becomes `~mask`.

    Raises:
        ValueError: if there is no such module of ours.
        RuntimeError: if it has weights that ours has not, such as an adapter's (merge it first); torch names them.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    if isinstance(module, nn.Transformer):
        return from_torch(module.encoder), from_torch(module.decoder)
    if any(getattr(part, "add_zero_attn", False) for part in module.modules()):
        raise ValueError("nn.MultiheadAttention with add_zero_attn=True has no counterpart in this library")
    ours = _like(module)
    names = TORCH_DECODER if isinstance(ours, Decoder | DecoderLayer) else TORCH_ENCODER
    adopt(ours, module, names)
    return load(ours, rename(split_in_proj(module.state_dict()), names))


def _like(module: Any) -> Any:
    """Make ours with the sizes, norms and activation of `module`; its weights are still random."""
    match module:
        case nn.LayerNorm():
            return LayerNorm(module.normalized_shape[0])
        case nn.MultiheadAttention():
            return MultiHeadAttention(module.embed_dim, module.num_heads)
        case nn.TransformerEncoderLayer() | nn.TransformerDecoderLayer():
            kind = EncoderLayer if isinstance(module, nn.TransformerEncoderLayer) else DecoderLayer
            # An adapter in the place of a linear map may not tell its width; `load` then names it.
            sizes = module.self_attn.embed_dim, module.self_attn.num_heads, getattr(module.linear1, "out_features", 1)
            return kind(*sizes, norm_first=module.norm_first, activation=copy.deepcopy(module.activation))
        case nn.TransformerEncoder() | nn.TransformerDecoder():
            first: Any = module.layers[0]
            if not first.norm_first and module.norm is not None:
                raise ValueError(
                    f"nn.{type(module).__name__} with post-norm layers and a final norm has no counterpart: "
                    "its last layer has already normalised the output; build it with norm=None"
                )
            kind = Encoder if isinstance(module, nn.TransformerEncoder) else Decoder
            ours = kind(1, first.self_attn.embed_dim, first.self_attn.num_heads, 1, norm_first=first.norm_first)
            ours.layers = nn.ModuleList(_like(layer) for layer in module.layers)
            return ours
    raise ValueError(f"cannot convert {type(module).__name__} of {type(module).__module__}; see help(from_torch)")
