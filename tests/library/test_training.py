"""Loss, schedules, the trainer and its checkpoints."""

import copy
import io
import math
import sys

import pytest
import torch
import torch.nn.functional as F
from helpers import OTHER, in_another_process
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from transformer_lib import progress
from transformer_lib.batching import TokenBatches
from transformer_lib.config import TransformerConfig
from transformer_lib.data import numbers
from transformer_lib.evaluation import evaluate, evaluating
from transformer_lib.loss import smoothed_targets, token_loss
from transformer_lib.schedules import cosine_rate, inverse_sqrt_rate, noam_rate
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer

PAIRS = numbers.encode_pairs(numbers.number_pairs(120, seed=1))


def tiny(dropout: float = 0.0, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(
        TransformerConfig(
            src_vocab_size=33,
            tgt_vocab_size=35,
            d_model=12,
            n_heads=3,
            n_encoder_layers=1,
            n_decoder_layers=1,
            d_ff=20,
            max_len=24,
            dropout=dropout,
        )
    )


def trainer(dropout: float = 0.0, batch_tokens: int = 60, **options) -> Trainer:
    options.setdefault("rate", lambda step: noam_rate(step, 12, 5))
    return Trainer(tiny(dropout), TokenBatches(PAIRS, batch_tokens=batch_tokens, seed=2), **options)


def weights(model: Transformer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# ---------------------------------------------------------------- loss


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 50), st.floats(0, 0.9), st.integers(0, 2))
def test_target_distribution(vocab, smoothing, pad_id):
    targets = torch.arange(vocab).repeat(2, 1)
    rows = smoothed_targets(targets, vocab, smoothing, pad_id)
    real = targets != pad_id
    assert torch.allclose(rows.sum(-1), real.float(), atol=1e-5)
    assert (rows[..., pad_id] == 0).all()
    assert (rows >= 0).all()
    right = rows.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(right[real], torch.tensor(1 - smoothing), atol=1e-6)
    others = rows[0, 1 if pad_id != 1 else 2]
    assert others[others > 0].unique().numel() <= 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_token_loss_by_hand(smoothing):
    torch.manual_seed(0)
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
    assert total.item() == pytest.approx(by_hand, abs=1e-6)


def test_without_smoothing_it_is_torchs_cross_entropy():
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 3, 7), torch.randint(1, 7, (5, 3))
    total, number = token_loss(logits, targets, pad_id=0)
    assert torch.allclose(total / number, F.cross_entropy(logits.flatten(0, 1), targets.flatten()))


def test_padding_has_no_gradient():
    logits = torch.randn(1, 3, 5, requires_grad=True)
    for smoothing in (0.0, 0.1):
        (gradient,) = torch.autograd.grad(
            token_loss(logits, torch.tensor([[3, 2, 0]]), pad_id=0, smoothing=smoothing)[0], logits
        )
        assert (gradient[0, 2] == 0).all()
        assert (gradient[0, 1] != 0).all()


def test_initial_loss_is_ln_vocab():
    loss, _ = evaluate(tiny(), TokenBatches(PAIRS))
    assert abs(loss - math.log(35)) < 0.05 * math.log(35)


# ---------------------------------------------------------------- schedules


def test_noam_is_equation_3():
    for step in (1, 7, 4000, 4001, 100_000):
        assert noam_rate(step, 512) == pytest.approx(512**-0.5 * min(step**-0.5, step * 4000**-1.5))
    assert max(range(1, 9000), key=lambda step: noam_rate(step, 512)) == 4000


def test_shapes_of_the_schedules():
    assert [cosine_rate(step, 1.0, 10, 110) for step in (5, 10, 60, 110, 200)] == pytest.approx([0.5, 1, 0.5, 0, 0])
    assert [inverse_sqrt_rate(step, 1.0, 10) for step in (5, 10, 40)] == pytest.approx([0.5, 1, 0.5])


# ---------------------------------------------------------------- the trainer


def test_accumulation_equals_the_big_batch():
    """Float64: windows of three small batches against the same pairs as one batch; the flush at the end included."""
    small, big = trainer(accumulate=3), trainer()
    assert len(small.batches.epoch(0)) % 3 != 0  # so that the last window is a short one
    small.model.double(), big.model.double()
    order = small.batches.epoch(0)
    big._order = [torch.cat(order[i : i + 3]) for i in range(0, len(order), 3)]
    for _ in range(len(big._order)):
        assert small.train_step().item() == pytest.approx(big.train_step().item(), abs=1e-12)
    assert small.epoch == 0
    assert small.position == len(order)
    assert torch.allclose(weights(small.model), weights(big.model), rtol=0, atol=1e-9)


def test_gradient_is_clipped():
    run = trainer(clip=1e-3)
    run.train_step()
    norm = torch.stack([p.grad.norm() for p in run.model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_rate_is_applied_at_its_own_step():
    seen = []
    run = trainer(rate=lambda step: seen.append(step) or 1e-3 * step)
    run.train_step(), run.train_step()
    assert seen == [1, 1, 2]
    assert run.optimizer.param_groups[0]["lr"] == 2e-3


def test_it_learns_and_keeps_a_history():
    run = trainer(rate=lambda step: 1e-2)
    history = run.fit(50, every=20, callback=lambda run: {"seen": run.epoch})
    assert [line["step"] for line in history] == [20, 40, 50]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert set(history[0]) == {"step", "rate", "loss", "seen"}
    assert run.fit(50) == history  # nothing left to do


def test_evaluation_counts_tokens_and_puts_the_mode_back():
    model = tiny(dropout=0.5)
    model.train()
    model.encoder.eval()
    a, b = (
        evaluate(model, TokenBatches(PAIRS, batch_tokens=50)),
        evaluate(model, TokenBatches(PAIRS, batch_tokens=4000)),
    )
    assert a.loss == pytest.approx(b.loss, rel=1e-5)
    assert a.accuracy == pytest.approx(b.accuracy, abs=1e-9)
    assert model.training
    assert model.decoder.training
    assert not model.encoder.training
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert model.training


@pytest.mark.no_cover
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resume_is_bit_exact(tmp_path, dropout):
    straight = trainer(dropout, accumulate=2, smoothing=0.1)
    straight.fit(23, every=10)

    for stop in (1, 10, 17):
        first = trainer(dropout, accumulate=2, smoothing=0.1)
        first.fit(stop, every=10, checkpoint=tmp_path / "run.pt")
        torch.manual_seed(99)
        torch.rand(7)  # another program's random numbers
        second = Trainer(
            tiny(dropout, seed=5),
            TokenBatches(PAIRS, batch_tokens=60, seed=2),
            rate=lambda step: noam_rate(step, 12, 5),
            accumulate=2,
            smoothing=0.1,
        )
        second.resume(tmp_path / "run.pt")
        assert second.step == stop
        second.fit(23, every=10)
        assert torch.equal(weights(straight.model), weights(second.model))
        assert second.history[-1] == straight.history[-1] or stop == 1
        for a, b in zip(straight.optimizer.state.values(), second.optimizer.state.values(), strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)


def train_without_end(path, told):
    torch.set_num_threads(1)
    trainer(0.3).fit(100_000, every=3, callback=lambda run: told.send(run.step), checkpoint=path)


@pytest.mark.no_cover
def test_resume_after_a_kill(tmp_path):
    path = tmp_path / "run.pt"
    told, tell = OTHER.Pipe(duplex=False)
    process = in_another_process(train_without_end, path, tell)
    tell.close()  # the other's end is the last one: should it die, nobody waits for it
    assert [told.recv() for _ in range(3)] == [3, 6, 9]
    process.kill()
    process.join()
    second = trainer(0.3)
    second.resume(path)
    assert second.step >= 6
    assert second.step % 3 == 0
    steps = second.step + 7
    second.fit(steps)
    straight = trainer(0.3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    straight.fit(steps)
    torch.set_num_threads(threads)
    assert torch.equal(weights(straight.model), weights(second.model))


def test_a_precision_of_the_caller_is_kept():
    """A trainer without one of its own computes in whatever context it is called in."""
    kinds, run = [], trainer()
    run.model.decoder.layers[0].feed_forward.register_forward_hook(lambda part, x, y: kinds.append(y.dtype))
    run.train_step()
    with torch.autocast("cpu", torch.bfloat16):
        run.train_step()
    assert kinds == [torch.float32, torch.bfloat16]


def test_a_copy_of_a_trainer_trains_its_own_model_in_its_precision():
    first = trainer(precision=torch.bfloat16)
    first.fit(2)
    second, before = copy.deepcopy(first), weights(first.model)
    second.fit(5)
    assert torch.equal(weights(first.model), before)
    first.fit(5)
    assert torch.equal(weights(first.model), weights(second.model))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noam_rate(0, 64), "step must be a whole number of at least 1, got 0"),
        (lambda: cosine_rate(1, 0.0, 5, 10), "peak must be above 0, got 0.0"),
        (lambda: cosine_rate(1, 1e-3, 10, 10), r"total \(10\) must be above warmup \(10\)"),
        (lambda: inverse_sqrt_rate(1, math.nan, 5), "peak must be a finite number, got nan"),
        (lambda: smoothed_targets(torch.tensor([1]), 5, 1.0, 0), "smoothing must be at least 0 and below 1, got 1.0"),
        (lambda: smoothed_targets(torch.tensor([1]), 2, 0.1, 0), r"vocab_size must be at least 3 .* got 2"),
        (lambda: trainer(smoothing=1.0), "smoothing must be at least 0 and below 1, got 1.0"),
        (lambda: trainer(clip=0.0), "clip must be a positive number, got 0.0"),
        (lambda: trainer(clip="1"), "clip must be a positive number, got '1'"),
        (lambda: trainer(smoothing="0.1"), "smoothing must be at least 0 and below 1, got '0.1'"),
        (lambda: trainer(rate=1e-3), "rate must be a function of the step, got 0.001; try lambda step: 0.001"),
        (lambda: trainer(rate=lambda step: -1), r"rate\(1\) must be at least 0, got -1"),
        (lambda: trainer(rate=lambda step: math.inf), r"rate\(1\) must be a finite number, got inf"),
        (lambda: trainer(rate=lambda step: None if step > 2 else 0.1).fit(5), r"rate\(3\) must be a finite number"),
        (lambda: trainer(betas=0.9), "betas must be a tuple of two numbers, got 0.9"),
        (lambda: trainer(betas=(0.9, 1.0)), "betas must be at least 0 and below 1, got 1.0"),
        (lambda: trainer(weight_decay=-0.1), "weight_decay must be at least 0, got -0.1"),
        (
            lambda: trainer(precision=torch.float16),
            r"precision must be torch.bfloat16, or None for the weights' own, got torch.float16",
        ),
        (lambda: trainer(precision="bfloat16"), "precision must be torch.bfloat16, .* got 'bfloat16'"),
        (lambda: trainer().fit(1, callback=3), "callback must be a function, got 3"),
        (
            lambda: trainer().fit(1, callback=lambda run: 3),
            "callback must return a dictionary of numbers or None, got 3",
        ),
        (lambda: trainer().fit(1, callback=lambda run: {"x": "y"}), "callback must return a dictionary of numbers"),
        (lambda: Trainer(nn.Linear(2, 2), None, rate=len), "model must be a Transformer, got Linear"),
        (lambda: Trainer(tiny(), PAIRS[:1], rate=len), "batches must be a TokenBatches, got "),
        (lambda: evaluate(tiny(), TokenBatches(PAIRS, pad_id=7)), "batches pad with 7, but the model's pad_id is 0"),
        (lambda: trainer(accumulate=0), "accumulate must be a whole number of at least 1, got 0"),
        (lambda: trainer().fit(0), "steps must be a whole number of at least 1, got 0"),
        (lambda: trainer(rate=lambda step: 1e30).fit(3), "the loss is nan at step 3; lower the learning rate"),
        (
            lambda: Trainer(tiny(), TokenBatches(PAIRS, pad_id=7), rate=lambda step: 1.0),
            "batches pad with 7, but the model's pad_id is 0",
        ),
    ],
)
def test_errors(call, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- the progress line


def test_progress_is_silent_when_nobody_watches(capsys):
    trainer().fit(2)
    assert capsys.readouterr() == ("", "")


def test_progress_line_when_watched(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    assert progress.watched()
    trainer().fit(4, every=2)
    lines = stream.getvalue().split("\r")
    assert len(lines) == 3
    assert lines[1].startswith("step 2, rate ")
    assert lines[2].endswith("\n")


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_progress_in_a_notebook(monkeypatch, allow_stdin):
    """A front-end that a person uses can answer input(); nbval and nbclient say that they cannot."""

    class Shell:
        class kernel:
            @staticmethod
            def get_parent():
                return {"content": {"allow_stdin": allow_stdin}}

    import IPython

    monkeypatch.setattr(IPython, "get_ipython", Shell)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress.watched() is allow_stdin
