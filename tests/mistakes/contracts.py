"""Contracts: each demands that a part of the library computes what torch, or the paper's formula, computes.

`tests/model` asks them of the library, `test_mistakes.py` of the library with a mistake put in.
"""

import math

import helpers
import torch
import torch.nn.functional as F
from helpers import BATCH, D_FF, D_HEAD, D_MODEL, HEADS, SRC_LEN, TGT_LEN, close, in_float64, ragged, redraw, vectors
from torch import nn

import transformer_lib as lib
from transformer_lib.interop import from_torch


@in_float64()
def check_formula() -> None:
    """Output and gradients are those of `F.scaled_dot_product_attention`, also where nothing may be attended to."""
    sizes = (TGT_LEN, D_HEAD), (SRC_LEN, D_HEAD), (SRC_LEN, 13)
    q, k, v = (torch.randn(BATCH, HEADS, *size, requires_grad=True) for size in sizes)
    dead = torch.rand(BATCH, HEADS, TGT_LEN, SRC_LEN) > 0.4
    dead[1, 0, 2], dead[2] = False, False
    outer = torch.randn(BATCH, HEADS, TGT_LEN, 13)
    for mask in (None, ragged()[:, None, None, :], torch.ones(TGT_LEN, SRC_LEN, dtype=torch.bool).tril(2), dead):
        output, weights = lib.scaled_dot_product_attention(q, k, v, mask)
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        close(output, expected)
        close(weights @ v, output)
        allowed = torch.ones_like(weights, dtype=torch.bool) if mask is None else mask.expand_as(weights)
        assert (weights[~allowed] == 0).all()
        close(weights.sum(-1), allowed.any(-1).to(weights.dtype))
        ours, theirs = (torch.autograd.grad(found, (q, k, v), outer) for found in (output, expected))
        for i in range(3):
            close(ours[i], theirs[i])


@in_float64()
def check_simple_self_attention() -> None:
    """One head of `nn.MultiheadAttention` without its output projection."""
    ours = redraw(lib.SimpleSelfAttention(D_MODEL))
    theirs = nn.MultiheadAttention(D_MODEL, 1, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        theirs.out_proj.weight.copy_(torch.eye(D_MODEL))
        theirs.out_proj.bias.zero_()
    (x,) = vectors(SRC_LEN)
    close(ours(x), theirs(x, x, x)[0])


@in_float64()
def check_multi_head() -> None:
    """Output and weights of every head are those of `nn.MultiheadAttention`, whose masks mean the opposite."""
    theirs = redraw(nn.MultiheadAttention(D_MODEL, HEADS, batch_first=True))
    ours = lib.MultiHeadAttention(D_MODEL, HEADS)
    ours.load_state_dict(from_torch(theirs).state_dict())
    query, key, value = vectors(TGT_LEN, SRC_LEN, SRC_LEN)
    any_mask = torch.rand(BATCH, HEADS, TGT_LEN, SRC_LEN) > 0.5
    any_mask[..., 0] = True  # torch gives NaN for a row that may attend to nothing
    every = torch.ones(TGT_LEN, SRC_LEN, dtype=torch.bool)
    for mask in (every, every.tril(2), ragged()[:, None, None, :], any_mask):
        full = mask.expand(BATCH, HEADS, TGT_LEN, SRC_LEN)
        expected, weights = theirs(query, key, value, attn_mask=~full.flatten(0, 1), average_attn_weights=False)
        close(ours(query, key, value, mask), expected)
        with lib.record_attention(ours) as recorded:
            close(ours(query, key, value, mask), expected)
        close(recorded[""], weights)
    close(ours(query, key, value), theirs(query, key, value)[0])


@in_float64()
def check_layer_norm() -> None:
    """`nn.LayerNorm`, at small width, at tiny variance (where eps shows) and far from 0."""
    for d_model in (2, 3, 64):
        theirs = redraw(nn.LayerNorm(d_model))
        ours = lib.LayerNorm(d_model)
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(BATCH, SRC_LEN, d_model)
        for tokens in (x, 1e-3 * x, 5 + x, torch.ones(BATCH, d_model)):
            close(ours(tokens), theirs(tokens))
            close(lib.layer_norm(tokens, theirs.weight, theirs.bias), theirs(tokens))
    theirs, ours = nn.LayerNorm(3, eps=0.1), lib.LayerNorm(3, eps=0.1)
    close(ours(x := torch.randn(2, 3)), theirs(x))
    close(lib.layer_norm(x, theirs.weight, theirs.bias, 0.1), theirs(x))


@in_float64()
def check_residual() -> None:
    """`norm(x + sublayer(x))` after, `x + sublayer(norm(x))` before."""
    (x,) = vectors(SRC_LEN)
    linear, norm = nn.Linear(D_MODEL, D_MODEL), redraw(nn.LayerNorm(D_MODEL))
    for norm_first in (False, True):
        ours = lib.SublayerConnection(D_MODEL, 0.0, norm_first)
        ours.norm.load_state_dict(norm.state_dict())
        close(ours(x, linear), x + linear(norm(x)) if norm_first else norm(x + linear(x)))


@in_float64()
def check_feed_forward() -> None:
    """Linear, bend, linear."""
    (x,) = vectors(SRC_LEN)
    for options, bend in (((), nn.ReLU()), ((0.0, F.gelu), nn.GELU()), ((0.0, nn.SiLU()), nn.SiLU())):
        ours = redraw(lib.FeedForward(D_MODEL, D_FF, *options))
        theirs = nn.Sequential(nn.Linear(D_MODEL, D_FF), bend, nn.Linear(D_FF, D_MODEL))
        theirs[0].load_state_dict(ours.fc1.state_dict())
        theirs[2].load_state_dict(ours.fc2.state_dict())
        close(ours(x), theirs(x))


@in_float64()
def check_embedding() -> None:
    """`nn.Embedding` times the square root of the width."""
    ours = redraw(lib.TokenEmbedding(helpers.TGT_VOCAB, D_MODEL))
    theirs = nn.Embedding(helpers.TGT_VOCAB, D_MODEL)
    theirs.load_state_dict(ours.state_dict())
    ids = helpers.target_ids()
    for tokens in (ids, ids.int()):
        close(ours(tokens), theirs(tokens) * math.sqrt(D_MODEL))


@in_float64()
def check_sinusoids() -> None:
    """The paper's formula, entry by entry; advancing k positions is one rotation, wherever one stands."""
    encoding = lib.sinusoidal_encoding(SRC_LEN, D_MODEL)
    for p in range(SRC_LEN):
        for i in range(D_MODEL // 2):
            angle = p / 10000 ** (2 * i / D_MODEL)
            close(encoding[p, 2 * i], torch.tensor(math.sin(angle)))
            close(encoding[p, 2 * i + 1], torch.tensor(math.cos(angle)))
    long, k = lib.sinusoidal_encoding(101, D_MODEL), 17
    angle = k * 10000 ** (-torch.arange(0, D_MODEL, 2) / D_MODEL)
    sine, cosine = long[:, 0::2], long[:, 1::2]
    close(long[k:, 0::2], (sine * angle.cos() + cosine * angle.sin())[:-k])
    close(long[k:, 1::2], (cosine * angle.cos() - sine * angle.sin())[:-k])
    module = lib.PositionalEncoding(D_MODEL, 101)
    (x,) = vectors(SRC_LEN)
    close(module(x), x + long[:SRC_LEN])
    close(module(x, offset=23), x + long[23 : 23 + SRC_LEN])


def check_masks() -> None:
    """Every entry of both masks, by their definitions."""
    for q_len, kv_len in ((5, 5), (1, 1), (1, 7), (3, 7), (0, 0), (0, 3)):
        rows = [[key <= query + kv_len - q_len for key in range(kv_len)] for query in range(q_len)]
        assert torch.equal(lib.causal_mask(q_len, kv_len), torch.tensor(rows, dtype=torch.bool).reshape(q_len, kv_len))
    assert torch.equal(lib.causal_mask(5), lib.causal_mask(5, 5))
    mask = lib.padding_mask(torch.tensor([[4, 9, 9], [4, 5, 6]]), 9)
    assert torch.equal(mask, torch.tensor([[True, False, False], [True, True, True]]).reshape(2, 1, 1, 3))


@in_float64()
def check_encoder_layer(norm_first: bool = False, activation: str = "relu") -> None:
    """`nn.TransformerEncoderLayer`, with padding, with a causal mask, with both, with none."""
    theirs = redraw(nn.TransformerEncoderLayer(**helpers.torch_layer_options(norm_first, activation)))
    ours = lib.EncoderLayer(D_MODEL, HEADS, D_FF, 0.0, norm_first, getattr(F, activation))
    ours.load_state_dict(from_torch(theirs).state_dict())
    (x,) = vectors(SRC_LEN)
    pad, causal = ragged()[:, None, None, :], lib.causal_mask(SRC_LEN)
    late, early = ~ragged(), ~torch.ones(SRC_LEN, SRC_LEN, dtype=torch.bool).tril()
    close(ours(x), theirs(x))
    close(ours(x, pad), theirs(x, src_key_padding_mask=late))
    close(ours(x, causal), theirs(x, src_mask=early))
    close(ours(x, causal & pad), theirs(x, src_mask=early, src_key_padding_mask=late))


@in_float64()
def check_decoder_layer(norm_first: bool = False, activation: str = "relu") -> None:
    """`nn.TransformerDecoderLayer`, source and target of different lengths, the source with padding."""
    theirs = redraw(nn.TransformerDecoderLayer(**helpers.torch_layer_options(norm_first, activation)))
    ours = lib.DecoderLayer(D_MODEL, HEADS, D_FF, 0.0, norm_first, getattr(F, activation))
    ours.load_state_dict(from_torch(theirs).state_dict())
    x, memory = vectors(TGT_LEN, SRC_LEN)
    early = ~torch.ones(TGT_LEN, TGT_LEN, dtype=torch.bool).tril()
    expected = theirs(x, memory, tgt_mask=early, memory_key_padding_mask=~ragged())
    close(ours(x, memory, lib.causal_mask(TGT_LEN), ragged()[:, None, None, :]), expected)
    close(ours(x, memory), theirs(x, memory))


@in_float64()
def check_stacks(norm_first: bool = False, activation: str = "relu") -> None:
    """`nn.TransformerEncoder` and `nn.TransformerDecoder`, with a final norm only if they are pre-norm."""
    their_encoder, their_decoder = helpers.torch_stacks(norm_first, activation)
    options = (D_MODEL, HEADS, D_FF, 0.0, norm_first, getattr(F, activation))
    our_encoder, our_decoder = lib.Encoder(2, *options), lib.Decoder(3, *options)
    our_encoder.load_state_dict(from_torch(their_encoder).state_dict())
    our_decoder.load_state_dict(from_torch(their_decoder).state_dict())
    tgt, src = vectors(TGT_LEN, SRC_LEN)
    pad, late = ragged()[:, None, None, :], ~ragged()
    early = ~torch.ones(TGT_LEN, TGT_LEN, dtype=torch.bool).tril()
    memory = their_encoder(src, src_key_padding_mask=late)
    close(our_encoder(src, pad), memory)
    expected = their_decoder(tgt, memory, tgt_mask=early, memory_key_padding_mask=late)
    close(our_decoder(tgt, memory, lib.causal_mask(TGT_LEN), pad), expected)


@in_float64()
def check_transformer(**changes) -> None:
    """The whole model equals one put together from parts of `torch.nn`, padding and unequal lengths included."""
    config = helpers.tiny_config(**changes)
    activation = config.activation
    their_encoder, their_decoder = helpers.torch_stacks(config.norm_first, activation)
    src_embedding = redraw(nn.Embedding(config.src_vocab_size, D_MODEL))
    tgt_embedding = src_embedding if config.share_vocab else redraw(nn.Embedding(config.tgt_vocab_size, D_MODEL))
    output = redraw(nn.Linear(D_MODEL, config.tgt_vocab_size))
    if config.tie_embeddings:
        output.weight = tgt_embedding.weight
    ours = lib.Transformer(config)
    parts = dict(src_embedding=src_embedding, tgt_embedding=tgt_embedding, output=output)
    parts |= dict(encoder=from_torch(their_encoder), decoder=from_torch(their_decoder))
    ours.load_state_dict({f"{name}.{key}": w for name, part in parts.items() for key, w in part.state_dict().items()})

    src_ids, tgt_ids = helpers.source_ids(config), helpers.target_ids(config)
    angle = torch.arange(SRC_LEN)[:, None] / 10000 ** (torch.arange(0, D_MODEL, 2) / D_MODEL)
    place = torch.zeros(SRC_LEN, D_MODEL)
    place[:, 0::2], place[:, 1::2] = angle.sin(), angle.cos()
    late = src_ids == config.pad_id
    src = src_embedding(src_ids) * D_MODEL**0.5 + place
    tgt = tgt_embedding(tgt_ids) * D_MODEL**0.5 + place[:TGT_LEN]
    memory = their_encoder(src, src_key_padding_mask=late)
    early = nn.Transformer.generate_square_subsequent_mask(TGT_LEN)
    x = their_decoder(tgt, memory, tgt_mask=early < 0, memory_key_padding_mask=late)
    close(ours(src_ids, tgt_ids), output(x))
