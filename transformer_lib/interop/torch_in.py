"""Modules of `torch.nn` turned into ours."""

import copy
from typing import Any

from torch import nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.interop import _names
from transformer_lib.layers import LayerNorm


def from_torch(module: nn.Module) -> Any:  # the type of ours depends on that of theirs
    """Turn a module of `torch.nn` into ours, computing the same function.

    Converts `LayerNorm`, `MultiheadAttention`, `TransformerEncoderLayer`, `TransformerDecoderLayer`,
    `TransformerEncoder`, `TransformerDecoder`, and `Transformer` (into an encoder and a decoder), compiled or not.
    Weights are copied; type, device, mode, norms, activation and dropout stay what they were.
    A layer that a stack runs several times stays one layer.
    Two things differ at the call: inputs are always batch first, and masks are boolean with
    `True` = may attend, so that a boolean mask of torch's becomes `~mask`.

    Args:
        module: from `torch.nn`.

    Returns:
        The module of ours; the pair `(encoder, decoder)` for `nn.Transformer`.

    Raises:
        ValueError: if the module has something that ours have not, such as an adapter (merge it first); it is named.
    """
    module = _names.unwrapped(module)
    if isinstance(module, nn.Transformer):
        return from_torch(module.encoder), from_torch(module.decoder)
    if any(getattr(part, "add_zero_attn", False) for part in module.modules()):
        raise ValueError("nn.MultiheadAttention with add_zero_attn=True has no counterpart in this library")
    ours = _like(module)
    names = _names.TORCH_DECODER if isinstance(ours, Decoder | DecoderLayer) else _names.TORCH_ENCODER
    _names.adopt(ours, module, names)
    return _names.load(ours, _names.rename(_names.split_in_proj(module.state_dict()), names))


def _like(module: Any) -> Any:
    """Make ours with the sizes, norms and activation of `module`; its weights are still random."""
    match module := _names.unwrapped(module):
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
            name = f"nn.{type(module).__name__}"
            if first.norm_first and module.norm is None:
                raise ValueError(f"{name} with pre-norm layers and no final norm has no counterpart")
            if not first.norm_first and module.norm is not None:
                raise ValueError(
                    f"{name} with post-norm layers and a final norm has no counterpart: "
                    "its last layer has already normalised the output; build it with norm=None"
                )
            kind = Encoder if isinstance(module, nn.TransformerEncoder) else Decoder
            ours = kind(1, first.self_attn.embed_dim, first.self_attn.num_heads, 1, norm_first=first.norm_first)
            ours.layers = _names.like_layers(module, _like)
            return ours
    raise ValueError(
        f"cannot convert {type(module).__name__} of {type(module).__module__}; from_torch says what it converts"
    )
