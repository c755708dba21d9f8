"""The trainer: one step is that of one big batch, and a training that was cut off goes on as if it had not been."""

import copy
import io
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import questions
import torch
from helpers import PAIRS, tiny_config, weights
from torch import Tensor, nn

from transformer_lib import TokenBatches, Trainer, Transformer, noam_rate


def tiny(dropout: float = 0.0, seed: int = 0, **changes) -> Transformer:
    torch.manual_seed(seed)
    sizes = dict(src_vocab_size=33, tgt_vocab_size=35, d_model=12, n_heads=3, d_ff=20, max_len=24)
    layers = dict(n_encoder_layers=1, n_decoder_layers=1)
    return Transformer(tiny_config(**{**sizes, **layers, **changes}, dropout=dropout))


def trainer(model: nn.Module | float = 0.0, pairs: int = 120, batch_tokens: int = 60, seed: int = 2, **options):
    """A trainer of a model, or of a new one with so much dropout."""
    model = tiny(model) if isinstance(model, float) else model
    options.setdefault("rate", lambda step: noam_rate(step, 12, 5))
    return Trainer(model, TokenBatches(PAIRS[:pairs], batch_tokens=batch_tokens, seed=seed), **options)  # type: ignore[arg-type]


def state(run: Trainer) -> list:
    """Everything that the next step depends on."""
    memories = [run.optimizer.state[p][name] for p in run.model.parameters() for name in sorted(run.optimizer.state[p])]
    place = torch.tensor([run.step, run.epoch, run.position])
    return [place, weights(run.model), *memories, torch.get_rng_state()]


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def test_accumulation_equals_the_big_batch() -> None:
    questions.accumulated_batches_equal_the_big_batch()


def test_the_gradient_is_clipped() -> None:
    run = trainer(clip=1e-3)
    run.train_step()
    norm = torch.stack([p.grad.norm() for p in run.model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_a_rate_is_applied_at_its_own_step() -> None:
    seen: list[int] = []
    run = trainer(rate=lambda step: seen.append(step) or 1e-3 * step)
    run.train_step(), run.train_step()
    assert seen == [1, 1, 2]
    assert run.optimizer.param_groups[0]["lr"] == 2e-3


def test_it_learns_and_keeps_a_history(tmp_path: Path) -> None:
    run, log = trainer(rate=lambda step: 1e-2), tmp_path / "log.jsonl"
    history = run.fit(50, every=20, callback=lambda run: {"seen": run.epoch}, log=log)
    assert [line["step"] for line in history] == [20, 40, 50]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert set(history[0]) == {"step", "rate", "loss", "seen"}
    assert [json.loads(line) for line in log.read_text().splitlines()] == history
    assert run.fit(50) == history  # nothing left to do


def test_a_precision_of_the_caller_is_kept() -> None:
    """A trainer without one of its own computes in whatever context it is called in."""
    kinds: list[torch.dtype] = []
    run = trainer()
    run.model.decoder.layers[0].feed_forward.register_forward_hook(lambda part, x, y: kinds.append(y.dtype))
    run.train_step()
    with torch.autocast("cpu", torch.bfloat16):
        run.train_step()
    assert kinds == [torch.float32, torch.bfloat16]


def test_a_copy_of_a_trainer_trains_its_own_model_in_its_precision() -> None:
    first = trainer(precision=torch.bfloat16)
    first.fit(2)
    second, before = copy.deepcopy(first), weights(first.model)
    second.fit(5)
    assert torch.equal(weights(first.model), before)
    first.fit(5)
    assert torch.equal(weights(first.model), weights(second.model))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resume_is_bit_exact(tmp_path: Path, dropout: float) -> None:
    options = {"accumulate": 2, "smoothing": 0.1}
    straight = trainer(dropout, **options)
    straight.fit(23, every=10)
    end = state(straight)
    for stop in (1, 10, 17):
        trainer(dropout, **options).fit(stop, every=10, checkpoint=tmp_path / "run")
        torch.manual_seed(99)
        torch.rand(7)  # another program's random numbers
        second = trainer(tiny(dropout, seed=5), **options)
        second.resume(tmp_path / "run")
        assert second.step == stop
        second.fit(23, every=10)
        assert same(state(second), end)
        assert second.history[-1] == straight.history[-1] or stop == 1


def compiled_by_layers(model: Transformer) -> Transformer:
    for stack in (model.encoder, model.decoder):
        for i, layer in enumerate(stack.layers):
            stack.layers[i] = torch.compile(layer, backend="eager")
    return model


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's, of its own doing
@pytest.mark.usefixtures("without_shape_checks")  # they are not compiled
def test_a_plain_training_goes_on_compiled_and_the_other_way(tmp_path: Path) -> None:
    straight, torchs = trainer(tiny()), torch.compile(tiny(seed=5), backend="eager")
    straight.fit(8)
    torch._dynamo.reset()
    for steps, model in ((2, tiny()), (4, torchs), (6, compiled_by_layers(tiny(seed=6))), (8, tiny(seed=7))):
        run = trainer(model)
        if steps > 2:
            run.resume(tmp_path / "run")
        run.fit(steps, checkpoint=tmp_path / "run")
        run.model.save(tmp_path / "model")
        assert torch.equal(weights(Transformer.load(tmp_path / "model")), weights(run.model))
    torch.testing.assert_close(weights(run.model), weights(straight.model))


class LoRA(nn.Module):
    """An adapter, as readers write one: in the place of a linear map, and without its attributes."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.a = nn.Parameter(0.1 * torch.randn(inner.in_features, 2))
        self.b = nn.Parameter(torch.zeros(2, inner.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + x @ self.a @ self.b


def adapted(seed: int = 0) -> Transformer:
    model = tiny(seed=seed).requires_grad_(False)
    attention = model.decoder.layers[0].cross_attn
    attention.q_proj, attention.out_proj, model.output = map(LoRA, (attention.q_proj, attention.out_proj, model.output))
    return model


def test_adapters_are_trained_alone_and_kept(tmp_path: Path) -> None:
    straight, first, second = (trainer(adapted(), rate=lambda step: 1e-2) for _ in range(3))
    straight.fit(40, every=20)
    assert straight.history[1]["loss"] < straight.history[0]["loss"]
    for name, weight in straight.model.state_dict().items():
        assert torch.equal(weight, adapted().state_dict()[name]) == (not name.endswith((".a", ".b")))
    first.fit(3, checkpoint=tmp_path / "run")
    second.resume(tmp_path / "run")
    second.fit(40)
    assert torch.equal(weights(straight.model), weights(second.model))
    plain = trainer(tiny(seed=3))
    plain.fit(2)
    before = state(plain)
    with pytest.raises(ValueError, match=r"not those of the model, they differ in decoder\..* \.\.\.; was an adapter"):
        plain.resume(tmp_path / "run")
    assert same(state(plain), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"d_ff": 9}, "seed": 3}, "with {'seed': 2, 'd_ff': 20}, but .* has {'seed': 3, 'd_ff': 9}$"),
        ({"model": {"norm_first": True}}, "with {'norm_first': False}, but the trainer has {'norm_first': True}$"),
        ({"pairs": 119}, "with {'pairs': 120}, but the trainer has {'pairs': 119}$"),
        ({"batch_tokens": 72}, "with {'batch_tokens': 60}, but the trainer has {'batch_tokens': 72}$"),
        ({"precision": torch.bfloat16}, "'None'}, but the trainer has {'precision': 'torch.bfloat16'}$"),
        ({"smoothing": 0.1}, "with {'smoothing': 0.0}, but the trainer has {'smoothing': 0.1}$"),
        ({"clip": math.inf}, "with {'clip': 1.0}, but the trainer has {'clip': inf}$"),
        ({"accumulate": 3}, "with {'accumulate': 1}, but the trainer has {'accumulate': 3}$"),
        ({"betas": (0.9, 0.999)}, r"with {'betas': '\(0.9, 0.98\)'}, but the trainer has {'betas': '\(0.9, 0.999\)'}$"),
        ({"weight_decay": 0.1}, "with {'weight_decay': 0.01}, but the trainer has {'weight_decay': 0.1}$"),
        ({"dtype": torch.float64}, "with {'dtype': 'torch.float32'}, but the trainer has {'dtype': 'torch.float64'}$"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_checkpoint_of_another_training_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    first = trainer()
    first.fit(3, checkpoint=tmp_path / "run")
    changes = dict(changes)
    second = trainer(tiny(**changes.pop("model", {})).to(changes.pop("dtype", torch.float32)), **changes)
    before = state(second)
    with pytest.raises(ValueError, match=message):
        second.resume(tmp_path / "run")
    assert same(state(second), before)


def test_numbers_of_numpy_and_torch_are_kept_as_pythons(tmp_path: Path) -> None:
    run, second = trainer(), trainer()
    answers = {"a": np.float64(0.5), "b": torch.tensor(2), "c": 3, "d": True, "e": np.int64(4)}
    run.fit(1, callback=lambda run: answers, checkpoint=tmp_path / "run", log=tmp_path / "log")
    second.resume(tmp_path / "run")
    assert second.history == run.history
    assert {**second.history[0], **answers} == second.history[0]


def test_random_numbers_of_gpus_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [torch.arange(n, dtype=torch.uint8) for n in range(1, 13)]  # more than nine: by number, not by name
    put: list[Tensor] = []
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: held)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", put.extend)
    run = trainer()
    run.save(tmp_path / "run")
    for gpus in (12, 2, 0):
        put.clear()
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        run.resume(tmp_path / "run")
        assert same(put, held[:gpus])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trainer(smoothing=1.0), "smoothing must be at least 0 and below 1, got 1.0"),
        (lambda: trainer(clip=0.0), "clip must be a positive number, got 0.0; use math.inf for no clipping"),
        (lambda: trainer(clip=math.nan), "clip must be a positive number, got nan"),
        (lambda: trainer(rate=lambda step: -1), "Invalid learning rate: -1"),  # torch's own
        (lambda: trainer(rate=lambda step: 3 - step).fit(5), "rate must be a finite number of at least 0, got -1.0"),
        (lambda: trainer(rate=lambda step: 1e30).fit(5), "the loss is nan at step 5; lower"),
        (lambda: trainer(precision=torch.float16), "precision must be torch.bfloat16, or None for the weights' own"),
        (lambda: trainer(accumulate=0), "accumulate must be a whole number of at least 1, got 0"),
        (lambda: trainer().fit(0), "steps must be a whole number of at least 1, got 0"),
        (lambda: Trainer(tiny(), TokenBatches(PAIRS, pad_id=7), rate=max), "batches pad with 7, but the model's pad"),
    ],
    ids=range(10),
)
def test_errors(call, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_a_person_sees_a_bar_from_the_first_step_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    trainer().fit(2, every=1)
    assert stream.getvalue() == ""
    trainer().fit(4, every=2, show=True)
    assert "training: " in stream.getvalue() and "/4 " in stream.getvalue() and "loss=" in stream.getvalue()
