"""The frame of the laws: an answer is a sentence, nothing is left behind, a question that cannot fail is refused."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny_config, tiny_model
from torch import Tensor, nn

import transformer_lib as lib
from transformer_lib import causal_mask, greedy_decode, laws, scaled_dot_product_attention, token_loss
from transformer_lib.modern.positions import rotate

X = torch.zeros(2, 3, 4)
IDS = torch.ones(2, 3, dtype=torch.int64)
RAGGED = torch.tensor([[3, 1, 2], [3, 0, 0]])
REAL = torch.tensor([[True, True, False], [True, False, False]])
DOT = F.scaled_dot_product_attention


def test_a_verdict_is_a_sentence_and_a_truth_value() -> None:
    good, bad = laws.causality(abs, X, X + 1), laws.causality(lambda x: x.flip(1) + 1, X, X + 1)
    promise = "the outputs before position t ignore the inputs from t on, for t = 1 to 2"
    assert str(good) == good.message == f"Causality holds: {promise}."
    assert good and good.holds and good.law == "causality" and good.require() is None
    assert not bad and not bad.holds and str(bad).startswith("Causality is violated: ")
    assert "differs by 1 (allowed: 1e-05). Usual cause: no causal mask in this mode" in str(bad)
    with pytest.raises(laws.LawViolation, match="Causality is violated: with the inputs from position 1 on"):
        bad.require()
    assert issubclass(laws.LawViolation, AssertionError)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bad.holds = True


def test_gradients_random_state_modes_and_buffers_are_as_before() -> None:
    module, norm = nn.Sequential(nn.Dropout(0.5), lib.EncoderLayer(8, 2, 16).eval()), nn.BatchNorm1d(3)
    (x, other), model, src = torch.randn(2, 2, 3, 8), lib.Transformer(tiny_config(dropout=0.2)), torch.ones_like(IDS)
    broken, grads, state = nn.Linear(2, 2), [], torch.get_rng_state()

    def f(x: Tensor) -> Tensor:
        grads.append(module(x).requires_grad)
        return module(x)

    laws.causality(f, x, other)
    laws.padding_invariance(f, x, other, REAL)
    for verdict in (laws.permutation_equivariance(module, x), laws.batch_equals_single(module, x)):
        assert verdict.holds  # asked in evaluation mode
    laws.train_equals_eval(module, x)
    laws.cache_equals_full(model, src, IDS).require()
    assert not laws.train_equals_eval(norm, x)
    laws.causality(norm, x, x + 1)
    assert norm.num_batches_tracked == 0 and torch.equal(norm.running_mean, torch.zeros(3))
    assert grads and not any(grads) and torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in module] == [True, False] and model.training
    for law in (laws.permutation_equivariance, laws.batch_equals_single, laws.train_equals_eval):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            law(broken, x)
        assert broken.training and torch.is_grad_enabled()


def test_inputs_and_kept_outputs_are_copied() -> None:
    x, other = torch.randn(2, 2, 3, 4)
    before, kept = x.clone(), torch.zeros(2, 3, 4)
    for ask in (laws.causality, laws.token_by_token):
        ask(lambda x: x.mul_(2), x, other).require()
        assert not ask(lambda x: kept.copy_(x.flip(1)), x, other)  # always the same tensor
    for ask in (laws.permutation_equivariance, laws.batch_equals_single):
        ask(lambda x: x.mul_(2), x).require()
    for ask in (laws.evaluation_is_deterministic, laws.train_equals_eval):
        ask(nn.ReLU(inplace=True), x).require()
    loss = lambda a, b: token_loss(a.mul_(2), b, pad_id=0)  # noqa: E731
    laws.loss_adds_up(loss, x, RAGGED, 0).require()
    assert torch.equal(x, before)

    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.add_(torch.randn_like(x))

    assert not laws.evaluation_is_deterministic(Noise(), x)


BOUNDS = [(torch.float64, 1e-10, 1e-7), (torch.float32, 1e-6, 1e-4), (torch.bfloat16, 0.02, 0.5)]


@pytest.mark.parametrize(("dtype", "small", "large"), BOUNDS)
def test_tolerance_follows_the_type_and_the_size_of_the_output(dtype, small: float, large: float) -> None:
    x, other = torch.zeros(1, 2, 1, dtype=dtype), torch.ones(1, 2, 1, dtype=dtype)
    for scale in (1e-3, 1.0, 1e4):
        leak = lambda amount: lambda x: (scale * (1 + amount * x.flip(1).double())).to(dtype)  # noqa: B023, E731
        assert laws.causality(leak(small), x, other).holds
        assert not laws.causality(leak(large), x, other).holds


def test_nan_infinities_and_whole_numbers_are_compared() -> None:
    verdict = laws.causality(lambda x: x / x, X, X + 1)
    assert not verdict and "position 0 of sequence 0 is NaN" in str(verdict)
    assert laws.causality(lambda x: x - math.inf, X, X + 1).holds
    assert laws.causality(lambda x: x.cumsum(1), IDS, IDS + 1).holds  # whole numbers must agree exactly
    assert not laws.causality(lambda x: x.flip(1), RAGGED, RAGGED + 1).holds


def test_a_fill_or_what_stands_in_the_padding_does_not_set_the_scale() -> None:
    x, other = torch.randn(2, 2, 3, 4)
    for fill in (-1e9, torch.finfo(torch.float32).min, -math.inf):
        leak = lambda x: torch.cat([x.flip(1), torch.full_like(x[..., :1], fill)], -1)  # noqa: B023, E731
        assert not laws.causality(leak, x, other)
    huge = torch.where(REAL[..., None], x, 1e6)
    assert not laws.padding_invariance(lambda x: x + x.mean(1, keepdim=True).tanh(), huge, other, REAL)
    laws.padding_invariance(lambda x: x.exp(), huge, other, REAL).require()


def test_the_laws_take_torchs_own_modules_and_the_first_of_several_outputs() -> None:
    x, other = torch.randn(2, 2, 5, 4)
    attention = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)
    laws.evaluation_is_deterministic(attention, x, x, x).require()
    assert not laws.train_equals_eval(attention, x, x, x)
    laws.train_equals_eval(nn.GRU(4, 4), x).require()
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    laws.permutation_equivariance(layer, x).require()
    laws.causality(lambda x: layer(x, nn.Transformer.generate_square_subsequent_mask(5)), x, other).require()
    assert not laws.causality(lambda x: layer(x, ~causal_mask(5).T), x, other)


class Apple(Tensor):
    """Stands in for a tensor on Apple's device, which knows no float64."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        found = super().__torch_function__(func, types, args, kwargs or {})
        if func is Tensor.cpu:
            return found.as_subclass(Tensor)
        if isinstance(found, Tensor) and found.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return found


def test_rotary_positions_turn_on_apples_device() -> None:
    x = torch.randn(2, 5, 8)
    turned = rotate(x.as_subclass(Apple), offset=3)
    assert type(turned) is Apple and torch.equal(turned.as_subclass(Tensor), rotate(x, offset=3))


def test_every_law_can_be_asked_on_apples_device() -> None:
    parts = *torch.randn(2, 2, 3, 22), RAGGED, RAGGED != 0, torch.randn(2, 3, 37)
    x, other, ids, real, logits = (part.as_subclass(Apple) for part in parts)
    with pytest.raises(TypeError, match="float64"):
        x.double()
    assert type(x.cpu().double()) is Tensor
    model, keys = tiny_model(), real[:, None, None, :]
    answer = greedy_decode(model, ids, max_new_tokens=3)
    attend = lambda q, k, v, mask=None: scaled_dot_product_attention(q, k, v, mask)[0]  # noqa: E731
    asked = [
        laws.permutation_equivariance(model.encoder, x),
        laws.weights_are_shares((keys / keys.sum(-1, keepdim=True)).expand(2, 1, 3, 3), keys),
        laws.scores_are_scaled(lambda *qkv: attend(*(part.float().as_subclass(Apple) for part in qkv)), 8),
        laws.causality(lambda tgt: model(ids, tgt), ids, ids + 1),
        laws.padding_invariance(lambda x: model.encoder(x, keys), x, other, real),
        laws.dead_rows_are_zero(attend, x, other, x),
        laws.batch_equals_single(model, ids, ids),
        laws.train_equals_eval(model, ids, ids),
        laws.evaluation_is_deterministic(model, ids, ids),
        laws.distance_decides(model.positions.encoding.as_subclass(Apple)),
        laws.normalises(lambda x: F.layer_norm(x.float().as_subclass(Apple), (8,)), 8, tolerance=1e-5),
        laws.token_by_token(model.encoder.layers[0].feed_forward, x, other),
        laws.sizes_balance(x, other),
        laws.untrained_loss(logits * 0, ids),
        laws.layers_are_distinct(model.encoder.layers),
        laws.every_token_counts(lambda x: model.encoder(x, keys), x, other, real),
        laws.cache_equals_full(model, ids, ids),
        laws.targets_are_distributions(F.one_hot(ids, 37).float() * real[..., None], ids, 0),
        laws.loss_adds_up(lambda a, b: token_loss(a, b, pad_id=0), logits, ids, 0),
        laws.answer_is_greedy(model, ids, answer, max_new_tokens=3),
    ]
    for verdict in asked:
        verdict.require()
    assert len({verdict.law for verdict in asked}) == len(laws.LAWS)
    assert not laws.causality(lambda x: x.flip(1), x, other)


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda: laws.causality(abs, X, X), "x and other agree wherever x would be replaced"),
        (lambda: laws.causality(abs, X, X[:1]), r"\(2, 3, 4\) torch.float32 and \(1, 3, 4\) torch.float32"),
        (lambda: laws.causality(abs, X, X.long()), "got .* torch.float32 and .* torch.int64"),
        (lambda: laws.causality(abs, X, X + math.nan), "x and other must hold finite numbers"),
        (lambda: laws.causality(lambda x: x[..., :0], X, X + 1), r"nothing to compare: .* shape \(2, 3, 0\)"),
        (lambda: laws.padding_invariance(abs, X, X + 1, REAL | True), "such a test cannot fail"),
        (lambda: laws.permutation_equivariance(abs, X), "such a test cannot fail"),
        (lambda: laws.permutation_equivariance(lambda x: nn.Dropout()(x), X + IDS[..., None].cumsum(1)), "call eval"),
        (lambda: laws.batch_equals_single(lambda x: nn.Dropout()(x), X + 1), "its dropout is on: call eval"),
        (lambda: laws.batch_equals_single(abs, X[:1]), r"batch axis of at least 2, got the sizes \[1\]"),
        (lambda: laws.batch_equals_single(lambda x, y: x, X, X[:1]), r"got the sizes \[1, 2\]"),
        (lambda: laws.token_by_token(abs, X[:, :1], X[:, :1] + 1), "such a test cannot fail"),
        (lambda: laws.every_token_counts(abs, X, X), "such a test cannot fail"),
        (lambda: laws.every_token_counts(abs, IDS, IDS + RAGGED), "must differ at every real token"),
        (lambda: laws.every_token_counts(abs, X, X + 1, IDS == 0), "such a test cannot fail"),
        (lambda: laws.weights_are_shares(X, X), "mask must be boolean .* got torch.float32"),
        (lambda: laws.dead_rows_are_zero(DOT, X, X, X), "value must hold numbers other than 0"),
        (lambda: laws.train_equals_eval(abs, X), "module must be an nn.Module, got builtin_function"),
        (lambda: laws.evaluation_is_deterministic(abs, X), "module must be an nn.Module, got builtin_function"),
        (lambda: laws.layers_are_distinct([nn.ReLU(), nn.ReLU()]), "two layers of one kind, with weights, got 2"),
        (lambda: laws.untrained_loss(torch.randn(2, 3, 4).softmax(-1)), "logits must come before any softmax"),
        (lambda: laws.distance_decides(X), r"max_len of at least 3, got \(2, 3, 4\)"),
        (lambda: laws.distance_decides(torch.zeros(2, 4)), r"got \(2, 4\)"),
        (lambda: laws.loss_adds_up(token_loss, X, IDS, 0), "sentences of different lengths"),
    ],
)
def test_a_question_that_cannot_fail_is_refused(ask, match: str, without_shape_checks: None) -> None:
    with pytest.raises(ValueError, match=match):
        ask()
