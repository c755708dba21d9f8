"""Every public part computes what its counterpart in torch computes: float64, 1e-12, redrawn weights."""

import conformance
import pytest
import torch
from helpers import (
    D_FF,
    D_MODEL,
    HEADS,
    SRC_LEN,
    TGT_LEN,
    close,
    in_float64,
    ragged,
    redraw,
    torch_stacks,
    torch_transformer,
    vectors,
)
from torch import nn

from transformer_lib import Decoder, DecoderLayer, Encoder, EncoderLayer, LayerNorm, MultiHeadAttention, causal_mask
from transformer_lib.interop import from_torch

both_norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
activations = pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])


def test_formula_equals_the_fused_kernel() -> None:
    conformance.check_formula()


def test_simple_self_attention() -> None:
    conformance.check_simple_self_attention()


def test_multi_head_attention() -> None:
    conformance.check_multi_head()


def test_layer_norm() -> None:
    conformance.check_layer_norm()


def test_residual_connection() -> None:
    conformance.check_residual()


def test_feed_forward() -> None:
    conformance.check_feed_forward()


def test_embedding() -> None:
    conformance.check_embedding()


def test_sinusoids() -> None:
    conformance.check_sinusoids()


def test_masks() -> None:
    conformance.check_masks()


@both_norms
@activations
def test_encoder_layer(norm_first: bool, activation: str) -> None:
    conformance.check_encoder_layer(norm_first=norm_first, activation=activation)


@both_norms
@activations
def test_decoder_layer(norm_first: bool, activation: str) -> None:
    conformance.check_decoder_layer(norm_first=norm_first, activation=activation)


@both_norms
@activations
def test_stacks(norm_first: bool, activation: str) -> None:
    conformance.check_stacks(norm_first, activation)


@pytest.mark.no_cover
@both_norms
@pytest.mark.parametrize("tie", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("share", [False, True], ids=["two vocabularies", "one vocabulary"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_whole_transformer(norm_first: bool, tie: bool, share: bool, activation: str) -> None:
    sizes = {"src_vocab_size": 31, "tgt_vocab_size": 31} if share else {}
    conformance.check_transformer(
        norm_first=norm_first, tie_embeddings=tie, share_vocab=share, activation=activation, **sizes
    )


@in_float64()
def test_whole_pre_norm_nn_transformer() -> None:
    theirs = torch_transformer(norm_first=True)
    encoder, decoder = from_torch(theirs)
    tgt, src = vectors(TGT_LEN, SRC_LEN)
    pad, late = ragged()[:, None, None, :], ~ragged()
    expected = theirs(
        src,
        tgt,
        tgt_mask=~causal_mask(TGT_LEN),
        src_key_padding_mask=late,
        memory_key_padding_mask=late,
    )
    close(decoder(tgt, encoder(src, pad), causal_mask(TGT_LEN), pad), expected)


@in_float64()
def test_whole_post_norm_nn_transformer_up_to_its_extra_norms() -> None:
    theirs = torch_transformer(norm_first=False)
    tgt, src = vectors(TGT_LEN, SRC_LEN)
    expected = theirs(src, tgt, tgt_mask=~causal_mask(TGT_LEN))
    with pytest.raises(ValueError, match="final norm"):
        from_torch(theirs)
    norms = from_torch(theirs.encoder.norm), from_torch(theirs.decoder.norm)
    theirs.encoder.norm = theirs.decoder.norm = None
    encoder, decoder = from_torch(theirs)
    close(norms[1](decoder(tgt, norms[0](encoder(src)), causal_mask(TGT_LEN))), expected)


# from_torch: what it keeps, and what it refuses


@in_float64()
@pytest.mark.parametrize("training", [True, False])
def test_from_torch_keeps_type_mode_and_dropout(training: bool) -> None:
    options = dict(d_model=D_MODEL, nhead=HEADS, dim_feedforward=D_FF, dropout=0.3, dtype=torch.float32)
    layer = nn.TransformerDecoderLayer(**options, layer_norm_eps=0.25, batch_first=True).train(training)
    ours = from_torch(layer)
    assert isinstance(ours, DecoderLayer)
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    assert {part.training for part in ours.modules()} == {training}
    assert {part.p for part in ours.modules() if isinstance(part, nn.Dropout)} == {0.3}
    assert {part.dropout for part in ours.modules() if isinstance(part, MultiHeadAttention)} == {0.3}
    assert {part.eps for part in ours.modules() if isinstance(part, LayerNorm)} == {0.25}
    if not training:
        x, memory = torch.randn(3, 5, D_MODEL).float(), torch.randn(3, 7, D_MODEL).float()
        torch.testing.assert_close(ours(x, memory), layer(x, memory), rtol=0, atol=1e-5)


@in_float64()
def test_from_torch_copies_and_does_not_share() -> None:
    theirs = redraw(nn.MultiheadAttention(D_MODEL, HEADS, batch_first=True))
    ours = from_torch(theirs)
    (x,) = vectors(SRC_LEN)
    before = ours(x, x, x)
    redraw(theirs)
    assert torch.equal(ours(x, x, x), before)


@in_float64()
def test_from_torch_reads_sequence_first_modules() -> None:
    theirs = redraw(nn.TransformerEncoderLayer(D_MODEL, HEADS, D_FF, 0.0))
    (x,) = vectors(SRC_LEN)
    close(from_torch(theirs)(x), theirs(x.transpose(0, 1)).transpose(0, 1))


@in_float64()
def test_from_torch_keeps_unequal_layers_of_a_stack_apart() -> None:
    theirs, _ = torch_stacks(norm_first=False)
    theirs.layers[1].dropout.p, theirs.layers[1].norm2.eps = 0.25, 0.5
    ours = from_torch(theirs)
    assert isinstance(ours, Encoder)
    assert [layer.feed_forward.dropout.p for layer in ours.layers] == [0.0, 0.25]
    assert [layer.feed_forward_residual.norm.eps for layer in ours.layers] == [1e-5, 0.5]


def _encoder(norm_first: bool, norm: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(8) if norm else None, enable_nested_tensor=False)


def _decoder(norm_first: bool, norm: bool) -> nn.Module:
    layer = nn.TransformerDecoderLayer(8, 2, 16, norm_first=norm_first)
    return nn.TransformerDecoder(layer, 2, nn.LayerNorm(8) if norm else None)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: nn.Linear(2, 3), "cannot convert Linear.*nn.LayerNorm.*nn.Transformer$"),
        (lambda: nn.LayerNorm((2, 3)), "nn.LayerNorm over 2 axes"),
        (lambda: nn.LayerNorm(3, elementwise_affine=False), "elementwise_affine=False"),
        (lambda: nn.LayerNorm(3, bias=False), "nn.LayerNorm with bias=False"),
        (lambda: nn.LayerNorm(3, eps=0.0), "eps must be above 0, got 0.0"),
        (lambda: nn.MultiheadAttention(8, 2, bias=False), "nn.MultiheadAttention with bias=False"),
        (lambda: nn.MultiheadAttention(8, 2, kdim=6), "kdim or vdim"),
        (lambda: nn.MultiheadAttention(8, 2, vdim=6), "kdim or vdim"),
        (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), "add_bias_kv=True"),
        (lambda: nn.MultiheadAttention(8, 2, add_zero_attn=True), "add_zero_attn=True"),
        (lambda: nn.TransformerEncoderLayer(8, 2, bias=False), "nn.TransformerEncoderLayer with bias=False"),
        (lambda: nn.TransformerDecoderLayer(8, 2, bias=False), "nn.TransformerDecoderLayer with bias=False"),
        (lambda: nn.TransformerEncoderLayer(8, 2, activation=nn.PReLU()), "an activation that has weights"),
        (lambda: _encoder(norm_first=False, norm=True), "nn.TransformerEncoder with post-norm layers and a final norm"),
        (lambda: _encoder(norm_first=True, norm=False), "nn.TransformerEncoder with pre-norm layers and no final norm"),
        (lambda: _decoder(norm_first=False, norm=True), "nn.TransformerDecoder with post-norm layers and a final norm"),
        (lambda: _decoder(norm_first=True, norm=False), "nn.TransformerDecoder with pre-norm layers and no final norm"),
    ],
)
def test_from_torch_refuses_what_has_no_counterpart(make, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        from_torch(make())


def test_from_torch_knows_the_stacks_by_type() -> None:
    assert isinstance(from_torch(_encoder(norm_first=True, norm=True)), Encoder)
    assert isinstance(from_torch(_decoder(norm_first=False, norm=False)), Decoder)
    assert isinstance(from_torch(_encoder(True, True).layers[0]), EncoderLayer)
