"""Our modules turned into those of `torch.nn`."""

from functools import singledispatch
from typing import Any

import torch
from torch import nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.interop._copying import adopt
from transformer_lib.layers import LayerNorm, SublayerConnection


@singledispatch
def to_torch(module: nn.Module) -> Any:  # the type of theirs depends on that of ours
    """Turn a module of ours into the one of `torch.nn` that computes the same function: the way back of `from_torch`.

    Converts `LayerNorm`, `MultiHeadAttention`, `EncoderLayer`, `DecoderLayer`, `Encoder` and `Decoder`.
    Weights are copied; type, device, mode, norms, activation and dropout stay what they were.
    The result is batch first. At the call, a boolean mask of ours becomes `~mask`.
    A whole `Transformer` is not converted: `nn.Transformer` has no embeddings, positions or output layer.

    Args:
        module: one of ours.

    Returns:
        The module of `torch.nn`.

    Raises:
        ValueError: if there is no such module in `torch.nn`; the message says why.
    """
    raise ValueError(f"cannot convert {type(module).__name__}; to_torch knows {', '.join(_known())}")


def _known() -> list[str]:
    return [kind.__name__ for kind in to_torch.registry if kind not in (object, nn.Module)]


@to_torch.register
def _layer_norm(module: LayerNorm) -> nn.LayerNorm:
    return adopt(nn.LayerNorm(module.weight.numel(), module.eps), module, {"weight": "weight", "bias": "bias"})


@to_torch.register
def _attention(module: MultiHeadAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(module.q_proj.in_features, module.n_heads, module.dropout, batch_first=True)
    adopt(theirs, module, {"out_proj.weight": "out_proj.weight", "out_proj.bias": "out_proj.bias"})
    parts = (module.q_proj, module.k_proj, module.v_proj)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    return theirs


def _options(layer: EncoderLayer | DecoderLayer, *residuals: SublayerConnection) -> dict[str, Any]:
    """Arguments of torch's layer."""
    norm_first = residuals[0].norm_first
    if any(residual.norm_first != norm_first for residual in residuals):
        raise ValueError(f"{type(layer).__name__} with both pre-norm and post-norm has no counterpart in torch.nn")
    feed_forward = layer.feed_forward
    if isinstance(feed_forward.activation, nn.Module) and any(True for _ in feed_forward.activation.parameters()):
        raise ValueError(f"{type(layer).__name__} with an activation that has weights cannot be converted")
    return dict(
        d_model=feed_forward.fc1.in_features,
        nhead=layer.self_attn.n_heads,
        dim_feedforward=feed_forward.fc1.out_features,
        dropout=feed_forward.dropout.p,
        activation=feed_forward.activation,
        norm_first=norm_first,
        batch_first=True,
    )


def _finish(theirs: Any, ours: EncoderLayer | DecoderLayer, *residuals: SublayerConnection) -> Any:
    """Fill in what both kinds of layers have; `residuals` in the order of torch's norm1, norm2, ..."""
    names = {"linear1": "fc1", "linear2": "fc2"}
    feed_forward = {f"{a}.{end}": f"feed_forward.{b}.{end}" for a, b in names.items() for end in ("weight", "bias")}
    adopt(theirs, ours, feed_forward)
    theirs.self_attn = to_torch(ours.self_attn)
    for number, residual in enumerate(residuals, start=1):
        setattr(theirs, f"norm{number}", to_torch(residual.norm))
        getattr(theirs, f"dropout{number}").p = residual.dropout.p
    return theirs


@to_torch.register
def _encoder_layer(module: EncoderLayer) -> nn.TransformerEncoderLayer:
    residuals = (module.self_attn_residual, module.feed_forward_residual)
    theirs = nn.TransformerEncoderLayer(**_options(module, *residuals))
    if isinstance(module.feed_forward.activation, nn.GELU) and module.feed_forward.activation.approximate != "none":
        theirs.activation_relu_or_gelu = 0  # torch's fast path would take it for the exact GELU
    return _finish(theirs, module, *residuals)


@to_torch.register
def _decoder_layer(module: DecoderLayer) -> nn.TransformerDecoderLayer:
    residuals = (module.self_attn_residual, module.cross_attn_residual, module.feed_forward_residual)
    theirs = _finish(nn.TransformerDecoderLayer(**_options(module, *residuals)), module, *residuals)
    theirs.multihead_attn = to_torch(module.cross_attn)
    return theirs


def _stack(theirs: Any, ours: Encoder | Decoder) -> Any:
    """Give `theirs`, made with one layer, all layers and the norm."""
    theirs.layers = nn.ModuleList(to_torch(layer) for layer in ours.layers)
    theirs.num_layers = len(ours.layers)
    theirs.norm = None if isinstance(ours.norm, nn.Identity) else to_torch(ours.norm)
    theirs.training = theirs.layers.training = ours.training
    return theirs


@to_torch.register
def _encoder(module: Encoder) -> nn.TransformerEncoder:
    # Nested tensors would give zeros at padded positions; ours gives them ordinary values.
    return _stack(nn.TransformerEncoder(to_torch(module.layers[0]), 1, enable_nested_tensor=False), module)


@to_torch.register
def _decoder(module: Decoder) -> nn.TransformerDecoder:
    return _stack(nn.TransformerDecoder(to_torch(module.layers[0]), 1), module)
