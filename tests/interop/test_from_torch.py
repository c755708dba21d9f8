"""From torch's modules: what is kept, and what is refused. (That they compute the same: see tests/model.)"""

import pytest
import torch
from helpers import D_FF, D_MODEL, HEADS, SRC_LEN, close, in_float64, redraw, torch_stacks, vectors
from torch import nn

from transformer_lib import Decoder, DecoderLayer, Encoder, EncoderLayer, LayerNorm, MultiHeadAttention
from transformer_lib.interop import from_torch


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
        (lambda: nn.Linear(2, 3), "cannot convert Linear of torch.nn"),
        (lambda: nn.LayerNorm((2, 3)), "size mismatch for weight"),
        (lambda: nn.LayerNorm(3, elementwise_affine=False), 'Missing key.*"weight", "bias"'),
        (lambda: nn.LayerNorm(3, bias=False), 'Missing key.*"bias"'),
        (lambda: nn.MultiheadAttention(8, 2, bias=False), 'Missing key.*"q_proj.bias"'),
        (lambda: nn.MultiheadAttention(8, 2, kdim=6), 'Unexpected key.*"q_proj_weight"'),
        (lambda: nn.MultiheadAttention(8, 2, vdim=6), 'Unexpected key.*"q_proj_weight"'),
        (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), 'Unexpected key.*"bias_k", "bias_v"'),
        (lambda: nn.MultiheadAttention(8, 2, add_zero_attn=True), "add_zero_attn=True"),
        (lambda: nn.TransformerEncoderLayer(8, 2, bias=False), 'EncoderLayer .*Missing key.*"feed_forward.fc1.bias"'),
        (lambda: nn.TransformerDecoderLayer(8, 2, bias=False), 'DecoderLayer .*Missing key.*"feed_forward.fc1.bias"'),
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
