"""Attention: the formula and torch's kernel agree, maps are what the model did, dropout and gradients behave."""

import contracts
import pytest
import torch
from helpers import BATCH, D_MODEL, HEADS, SRC_LEN, TGT_LEN, close, differ, in_float64, redraw, tiny_case
from torch import nn

import transformer_lib as lib
from transformer_lib import MultiHeadAttention, causal_mask, record_attention, scaled_dot_product_attention


@pytest.mark.parametrize("part", ["formula", "simple_self_attention", "multi_head"])
def test_it_equals_torchs_and_so_do_weights_and_gradients(part: str) -> None:
    getattr(contracts, f"check_{part}")()


@in_float64()
def test_the_recorded_pass_is_the_fused_pass() -> None:
    model, src, tgt = tiny_case()
    fused = model(src, tgt)
    with record_attention(model) as weights:
        close(model(src, tgt), fused)
    assert list(weights) == [
        *(f"encoder.layers.{i}.self_attn" for i in range(2)),
        *(f"decoder.layers.{i}.{kind}" for i in range(3) for kind in ("self_attn", "cross_attn")),
    ]
    sizes = {"encoder": (SRC_LEN, SRC_LEN), "self": (TGT_LEN, TGT_LEN), "cross": (TGT_LEN, SRC_LEN)}
    for name, w in weights.items():
        kind = "encoder" if name.startswith("encoder") else name.rsplit(".", 1)[1].split("_")[0]
        assert w.shape == (BATCH, HEADS, *sizes[kind]) and not w.requires_grad


def test_maps_belong_to_the_latest_call_and_are_not_shared_between_layers() -> None:
    model, src, tgt = tiny_case()
    with record_attention(model) as weights:
        model(src, tgt)
        first = dict(weights)
        model(src.flip(0), tgt)
    assert differ(first["decoder.layers.0.cross_attn"][0], weights["decoder.layers.0.cross_attn"][0])
    assert differ(weights["decoder.layers.0.self_attn"], weights["decoder.layers.1.self_attn"])


def attributes(model: nn.Module) -> list[list[str]]:
    return [sorted(part.__dict__) for part in model.modules()]


def test_recordings_nest_and_leave_nothing_behind() -> None:
    model, src, tgt = tiny_case()
    before = attributes(model)
    with record_attention(model) as outer:
        assert attributes(model) != before
        with record_attention(model.decoder) as inner:
            model(src, tgt)
        assert len(inner) == 6 and sorted(outer) == [f"encoder.layers.{i}.self_attn" for i in range(2)]
        model(src, tgt)
        assert len(outer) == 8
    assert attributes(model) == before
    with pytest.raises(RuntimeError, match="interrupted"), record_attention(model):
        raise RuntimeError("interrupted")
    assert attributes(model) == before


def test_recording_while_training_shows_the_weights_that_dropout_left() -> None:
    attention = MultiHeadAttention(D_MODEL, HEADS, dropout=0.5)
    x = torch.randn(BATCH, 31, D_MODEL)
    with record_attention(attention) as weights:
        attention(x, x, x)
        share = (weights[""] == 0).float().mean().item()
        assert 0.4 < share < 0.6
        attention.eval()(x, x, x)
        assert (weights[""] > 0).all()


def test_the_formula_keeps_the_expectation_under_dropout() -> None:
    q, k, v = torch.randn(1, 5, 8), torch.randn(1, 7, 8), torch.randn(1, 7, 3)
    expected, _ = scaled_dot_product_attention(q, k, v)
    many = [t.expand(20_000, -1, -1) for t in (q, k, v)]
    output, weights = scaled_dot_product_attention(*many, dropout_p=0.3)
    torch.testing.assert_close(output, weights @ many[2])
    assert abs((weights == 0).float().mean().item() - 0.3) < 0.01
    torch.testing.assert_close(output.mean(0), expected[0], rtol=0, atol=0.05)


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_anomaly_detection_stays_quiet_over_dead_rows() -> None:
    q, k, v = (torch.randn(2, 3, 4, requires_grad=True) for _ in range(3))
    with torch.autograd.detect_anomaly():
        output, _ = scaled_dot_product_attention(q, k, v, torch.tensor([[[False]], [[True]]]))
        output.sum().backward()
    assert (q.grad[0] == 0).all() and q.grad[1].abs().sum() > 0


@in_float64()
def test_gradients_are_those_of_the_function() -> None:
    q, k, v = (torch.randn(2, n, 3, requires_grad=True) for n in (2, 3, 3))
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert torch.autograd.gradcheck(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask), (q, k, v))
    attention, x = redraw(MultiHeadAttention(4, 2)), torch.randn(1, 3, 4, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attention(x, x, x, causal_mask(3)), (x,))
    with record_attention(attention):  # the kernel has no second derivative, the formula has
        assert torch.autograd.gradgradcheck(lambda x: attention(x, x, x, causal_mask(3)), (x,))


@pytest.mark.parametrize("shape", [(0, 5, 8), (2, 0, 8), (2, 1, 8)], ids=["no sequence", "no token", "one token"])
def test_empty_and_short_inputs(shape: tuple) -> None:
    x, attention = torch.randn(*shape), MultiHeadAttention(8, 2)
    for mask in (None, causal_mask(shape[1]), torch.ones(shape[0], 1, 1, shape[1], dtype=torch.bool)):
        assert attention(x, x, x, mask).shape == shape
    assert lib.SimpleSelfAttention(8)(x).shape == shape
    if shape == (2, 1, 8):  # a lonely token attends to itself; one without any source gets zeros
        torch.testing.assert_close(attention(x, x, x), attention.out_proj(attention.v_proj(x)))
        output, weights = scaled_dot_product_attention(x, x[:, 1:], x[:, 1:])
        assert (output == 0).all() and weights.shape == (2, 1, 0)
        torch.testing.assert_close(attention(x, x[:, 1:], x[:, 1:]), attention.out_proj.bias.expand(2, 1, 8))


@pytest.mark.usefixtures("without_shape_checks")
def test_leading_axes_over_which_torch_would_broadcast_are_refused() -> None:
    x = torch.randn(2, 5, 8)
    for query, key, value in ((x[:1], x, x), (x, x[:1], x), (x, x, x[:1]), (x[0, 0], x, x), (x[..., :0],) * 3):
        with pytest.raises(ValueError, match="the same leading axes"):
            scaled_dot_product_attention(query, key, value)


@pytest.mark.usefixtures("without_shape_checks")
def test_keys_and_values_of_different_length_are_refused() -> None:
    """The fused kernel reads beyond the end of the shorter one, and answers something else each time."""
    x, longer = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    for key, value in ((x, longer), (longer, x)):
        with pytest.raises(ValueError, match=r"equally long; got [35] and [35]"):
            MultiHeadAttention(4, 2)(x, key, value)


def test_a_model_without_attention_cannot_be_recorded() -> None:
    with pytest.raises(ValueError, match="Linear holds no MultiHeadAttention to record; for a single head call scaled"):
        record_attention(nn.Linear(2, 2)).__enter__()
