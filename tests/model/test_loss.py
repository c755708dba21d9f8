"""The loss: torch's cross-entropy, by hand, over real tokens only, and never summed in 16 bits."""

import math

import pytest
import torch
from helpers import PAIRS, tiny_config
from torch import nn

from transformer_lib import TokenBatches, Trainer, Transformer, evaluate, evaluating, smoothed_targets, token_loss
from transformer_lib.loss import batch_loss


def tiny(**changes) -> Transformer:
    return Transformer(tiny_config(**{"src_vocab_size": 33, "tgt_vocab_size": 35, "max_len": 24, **changes}))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sum_by_hand(smoothing: float) -> None:
    logits = torch.randn(2, 3, 7, dtype=torch.float64)
    targets = torch.tensor([[3, 5, 2], [4, 0, 0]])
    total, number = token_loss(logits, targets, pad_id=0, smoothing=smoothing)
    by_hand = 0.0
    for i, j in [(0, 0), (0, 1), (0, 2), (1, 0)]:
        log_p = logits[i, j].log_softmax(-1)
        for token in range(1, 7):
            share = 1 - smoothing if token == targets[i, j] else smoothing / 5
            by_hand -= share * log_p[token].item()
    assert number == 4
    assert total.item() == pytest.approx(by_hand, rel=0, abs=1e-12)  # float64 throughout, whatever torch's own type is


def test_evaluation_counts_tokens_and_puts_the_mode_back() -> None:
    model = tiny(dropout=0.5)
    model.encoder.eval()
    a, b = (evaluate(model, TokenBatches(PAIRS, batch_tokens=n)) for n in (50, 4000))
    assert a.loss == pytest.approx(b.loss, rel=1e-5) and a.accuracy == pytest.approx(b.accuracy, abs=1e-9)
    assert model.training and model.decoder.training and not model.encoder.training
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert model.training


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("smoothing", [0.0, 1e-6])
def test_a_long_sum_of_16_bit_logits_is_right(dtype: torch.dtype, smoothing: float) -> None:
    logits = torch.zeros(1, 30_000, 13, dtype=dtype, requires_grad=True)
    total, number = token_loss(logits, torch.full((1, 30_000), 5), pad_id=0, smoothing=smoothing)
    assert total.dtype == torch.float32
    assert total.item() / number.item() == pytest.approx(math.log(13), rel=1e-5)
    total.backward()
    assert logits.grad.dtype == dtype and logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_model_is_judged_and_trained_by_sums_in_32(dtype: torch.dtype) -> None:
    """A model that knows nothing has ln(35) everywhere, whatever the batch."""
    model = tiny(d_model=4, d_ff=3, n_encoder_layers=1, n_decoder_layers=1).to(dtype)
    nn.init.zeros_(model.output.weight)
    for size in (200, 40_000):
        batches = TokenBatches(PAIRS * 4, batch_tokens=size)
        assert evaluate(model, batches).loss == pytest.approx(math.log(35), rel=1e-6)
    total, number = batch_loss(model, *batches.take(batches.epoch(0)[0]), smoothing=0.1)
    assert number > 3_000 and total.item() / number.item() == pytest.approx(math.log(35), rel=1e-5)
    run = Trainer(model, batches, rate=lambda step: 0.0, smoothing=0.1)
    assert run.fit(2, every=1)[1]["loss"] == pytest.approx(math.log(35), rel=1e-5)


def test_errors(without_shape_checks: None) -> None:
    with pytest.raises(ValueError, match=r"smoothing must be at least 0 and below 1, got 1\.0"):
        smoothed_targets(torch.tensor([1]), 5, 1.0, 0)
    with pytest.raises(ValueError, match="batches pad with 7, but the model's pad_id is 0"):
        evaluate(tiny(), TokenBatches(PAIRS, pad_id=7))
