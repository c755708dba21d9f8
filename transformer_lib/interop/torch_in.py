"""Modules of `torch.nn` turned into ours."""

from functools import singledispatch
from typing import Any

import torch
from torch import nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.interop._copying import adopt
from transformer_lib.layers import FeedForward, LayerNorm, SublayerConnection


@singledispatch
def from_torch(module: nn.Module) -> Any:  # the type of ours depends on that of theirs
    """Turn a module of `torch.nn` into ours, computing the same function.

    Converts `LayerNorm`, `MultiheadAttention`, `TransformerEncoderLayer`, `TransformerDecoderLayer`,
    `TransformerEncoder`, `TransformerDecoder`, and `Transformer` (into an encoder and a decoder).
    Weights are copied; type, device, mode, norms, activation and dropout stay what they were.
    Two things differ at the call: inputs are always batch first, and masks are boolean with
    `True` = may attend, so that a boolean mask of torch's becomes `~mask`.

    Args:
        module: from `torch.nn`.

    Returns:
        The module of ours; the pair `(encoder, decoder)` for `nn.Transformer`.

    Raises:
        ValueError: if the module has something that ours have not; the message names it.
    """
    raise ValueError(f"cannot convert {type(module).__name__}; from_torch knows {', '.join(_known())}")


def _known() -> list[str]:
    return [f"nn.{kind.__name__}" for kind in from_torch.registry if kind not in (object, nn.Module)]


def _refuse(module: nn.Module, **faults: bool) -> None:
    """Raise for the first of `faults` that the module has."""
    for name, present in faults.items():
        if present:
            raise ValueError(f"nn.{type(module).__name__} with {name} has no counterpart in this library")


@from_torch.register
def _layer_norm(module: nn.LayerNorm) -> LayerNorm:
    if len(module.normalized_shape) != 1:
        raise ValueError(f"nn.LayerNorm over {len(module.normalized_shape)} axes has no counterpart in this library")
    _refuse(module, **{"elementwise_affine=False": module.weight is None, "bias=False": module.bias is None})
    return adopt(LayerNorm(module.normalized_shape[0], module.eps), module, {"weight": "weight", "bias": "bias"})


@from_torch.register
def _attention(module: nn.MultiheadAttention) -> MultiHeadAttention:
    faults = {
        "kdim or vdim": not module._qkv_same_embed_dim,
        "bias=False": module.in_proj_bias is None,
        "add_bias_kv=True": module.bias_k is not None,
        "add_zero_attn=True": module.add_zero_attn,
    }
    _refuse(module, **faults)
    ours = MultiHeadAttention(module.embed_dim, module.num_heads, module.dropout)
    adopt(ours, module, {"out_proj.weight": "out_proj.weight", "out_proj.bias": "out_proj.bias"})
    with torch.no_grad():
        for i, part in enumerate((ours.q_proj, ours.k_proj, ours.v_proj)):
            part.weight.copy_(module.in_proj_weight.chunk(3)[i])
            part.bias.copy_(module.in_proj_bias.chunk(3)[i])
    return ours


def _feed_forward(layer: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) -> FeedForward:
    activation = layer.activation
    learned = isinstance(activation, nn.Module) and any(True for _ in activation.parameters())
    _refuse(layer, **{"bias=False": layer.linear1.bias is None, "an activation that has weights": learned})
    ours = FeedForward(layer.linear1.in_features, layer.linear1.out_features, layer.dropout.p, activation)
    names = {"fc1": "linear1", "fc2": "linear2"}
    return adopt(ours, layer, {f"{a}.{end}": f"{b}.{end}" for a, b in names.items() for end in ("weight", "bias")})


def _residual(norm: nn.LayerNorm, dropout: nn.Dropout, norm_first: bool) -> SublayerConnection:
    ours = SublayerConnection(norm.normalized_shape[0], dropout.p, norm_first)
    ours.norm = from_torch(norm)
    return ours.train(norm.training)


@from_torch.register
def _encoder_layer(module: nn.TransformerEncoderLayer) -> EncoderLayer:
    feed_forward = _feed_forward(module)
    ours = EncoderLayer(module.self_attn.embed_dim, module.self_attn.num_heads, module.linear1.out_features)
    ours.self_attn = from_torch(module.self_attn)
    ours.self_attn_residual = _residual(module.norm1, module.dropout1, module.norm_first)
    ours.feed_forward = feed_forward
    ours.feed_forward_residual = _residual(module.norm2, module.dropout2, module.norm_first)
    ours.training = module.training
    return ours


@from_torch.register
def _decoder_layer(module: nn.TransformerDecoderLayer) -> DecoderLayer:
    feed_forward = _feed_forward(module)
    ours = DecoderLayer(module.self_attn.embed_dim, module.self_attn.num_heads, module.linear1.out_features)
    ours.self_attn = from_torch(module.self_attn)
    ours.self_attn_residual = _residual(module.norm1, module.dropout1, module.norm_first)
    ours.cross_attn = from_torch(module.multihead_attn)
    ours.cross_attn_residual = _residual(module.norm2, module.dropout2, module.norm_first)
    ours.feed_forward = feed_forward
    ours.feed_forward_residual = _residual(module.norm3, module.dropout3, module.norm_first)
    ours.training = module.training
    return ours


def _stack(module: nn.TransformerEncoder | nn.TransformerDecoder, kind: type[Encoder] | type[Decoder]) -> Any:
    layers = [from_torch(layer) for layer in module.layers]
    first: Any = module.layers[0]
    if first.norm_first and module.norm is None:
        raise ValueError(f"nn.{type(module).__name__} with pre-norm layers and no final norm has no counterpart")
    if not first.norm_first and module.norm is not None:
        raise ValueError(
            f"nn.{type(module).__name__} with post-norm layers and a final norm has no counterpart: "
            "its last layer has already normalised the output; build it with norm=None"
        )
    ours = kind(len(layers), first.self_attn.embed_dim, first.self_attn.num_heads, first.linear1.out_features)
    ours.layers = nn.ModuleList(layers)
    ours.norm = nn.Identity() if module.norm is None else from_torch(module.norm)
    ours.training = ours.layers.training = ours.norm.training = module.training
    return ours


@from_torch.register
def _encoder(module: nn.TransformerEncoder) -> Encoder:
    return _stack(module, Encoder)


@from_torch.register
def _decoder(module: nn.TransformerDecoder) -> Decoder:
    return _stack(module, Decoder)


@from_torch.register
def _transformer(module: nn.Transformer) -> tuple[Encoder, Decoder]:
    return from_torch(module.encoder), from_torch(module.decoder)
