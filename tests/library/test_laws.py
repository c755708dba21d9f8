"""The laws hold for the library whatever the sizes and weights, and fail for modules with a mistake."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import (
    BATCH,
    D_FF,
    D_MODEL,
    HEADS,
    SRC_LEN,
    SRC_VOCAB,
    TGT_LEN,
    TGT_VOCAB,
    close,
    in_float64,
    ragged,
    redraw,
    source_ids,
    target_ids,
    tiny_config,
    tiny_model,
    vectors,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from transformer_lib import (
    DecoderLayer,
    EncoderLayer,
    LayerNorm,
    PositionalEncoding,
    SimpleSelfAttention,
    Transformer,
    TransformerConfig,
    causal_mask,
    laws,
    scaled_dot_product_attention,
    sinusoidal_encoding,
)

examples = settings(derandomize=True, deadline=None, max_examples=10, database=None)


@st.composite
def models(draw, **changes) -> Transformer:
    """A small model of any shape and number type, with redrawn weights."""
    heads = draw(st.integers(1, 3))
    sizes = dict(d_model=heads * draw(st.sampled_from([2, 4, 6])), n_heads=heads, d_ff=draw(st.integers(1, 9)))
    sizes |= dict(n_encoder_layers=draw(st.integers(1, 2)), n_decoder_layers=draw(st.integers(1, 2)))
    options = dict(norm_first=draw(st.booleans()), activation=draw(st.sampled_from(["relu", "gelu", "silu"])))
    tie = dict(tie_embeddings=draw(st.booleans()), dropout=0.0, max_len=9)
    config = TransformerConfig(src_vocab_size=11, tgt_vocab_size=7, **{**sizes, **options, **tie, **changes})
    return redraw(Transformer(config)).to(draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16])))


def dtype_of(model: Transformer) -> torch.dtype:
    return model.output.weight.dtype


def slack(model: Transformer) -> float | None:
    """bfloat16 has three digits, and other shapes are added up in another order; the other types need nothing."""
    return 0.1 if dtype_of(model) == torch.bfloat16 else None


@st.composite
def id_pairs(draw, low: int = 1, high: int = 7) -> tuple[Tensor, Tensor]:
    """Source (ragged, padded with 0) and target ids for `models()`; every source has a real token."""
    batch, src_len, tgt_len = draw(st.integers(2, 3)), draw(st.integers(1, 7)), draw(st.integers(2, high))
    src = torch.randint(3, 11, (batch, src_len))
    lengths = torch.tensor([draw(st.integers(1, src_len)) for _ in range(batch)])
    return src.masked_fill(torch.arange(src_len) >= lengths[:, None], 0), torch.randint(3, 7, (batch, tgt_len))


# The laws hold for the library


@pytest.mark.no_cover
@given(model=models(), ids=id_pairs(), training=st.booleans())
@examples
def test_the_model_cannot_see_the_future(model: Transformer, ids: tuple, training: bool) -> None:
    src, tgt = ids
    model.train(training)
    laws.causality(lambda tgt: model(src, tgt), tgt, (tgt + 1) % 7).require()


@pytest.mark.no_cover
@given(model=models(dropout=0.3), ids=id_pairs())
@examples
def test_not_even_in_training_with_dropout(model: Transformer, ids: tuple) -> None:
    src, tgt = ids
    verdict = laws.causality(lambda tgt: model.train()(src, tgt), tgt, (tgt + 1) % 7, tolerance=0.0)
    assert verdict.holds, verdict


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_past_keeps_its_very_bits(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = redraw(Transformer(tiny_config())).to(dtype)
    src, tgt = source_ids(), target_ids()
    laws.causality(lambda tgt: model(src, tgt), tgt, (tgt + 1) % TGT_VOCAB, tolerance=0.0).require()


@in_float64()
def test_the_jacobian_is_zero_above_the_diagonal() -> None:
    layer, mask = redraw(EncoderLayer(D_MODEL, HEADS, D_FF, 0.0)), causal_mask(TGT_LEN)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None], mask)[0], torch.randn(TGT_LEN, D_MODEL))
    size = jacobian.abs().amax(dim=(1, 3))  # (output position, input position)
    assert torch.equal(size > 0, causal_mask(TGT_LEN))


@given(model=models(), ids=id_pairs(), training=st.booleans())
@examples
def test_padding_is_never_read(model: Transformer, ids: tuple, training: bool) -> None:
    src, tgt = ids
    src[0] = torch.cat([src[0, :1], torch.zeros_like(src[0, 1:])])
    src = torch.cat([src, torch.zeros_like(src[:, :1])], dim=1)  # at least one column of padding
    real, mask = src != 0, (src != 0)[:, None, None, :]
    model.train(training)
    x, other = torch.randn(2, *src.shape, model.config.d_model, dtype=dtype_of(model))
    laws.padding_invariance(lambda x: model.encoder(x, mask), x, other, real).require()
    counted = torch.ones_like(tgt, dtype=torch.bool)
    laws.padding_invariance(
        lambda memory: model.decode(tgt, memory, mask), x, other, real, real_outputs=counted
    ).require()


@in_float64()
def test_more_padding_changes_nothing() -> None:
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    logits = model(src, tgt)
    close(model(F.pad(src, (0, 4)), tgt), logits)
    close(model(src, F.pad(tgt, (0, 3)))[:, :TGT_LEN], logits)


@pytest.mark.no_cover
@given(model=models(), seq=st.integers(2, 7))
@examples
def test_the_encoder_sees_a_bag_until_it_is_given_positions(model: Transformer, seq: int) -> None:
    x = torch.randn(2, seq, model.config.d_model, dtype=dtype_of(model))
    laws.permutation_equivariance(model.encoder, x, tolerance=slack(model)).require()
    verdict = laws.permutation_equivariance(lambda x: model.encoder(model.positions(x)), x)
    assert not verdict and "positions are added" in str(verdict)


@in_float64()
def test_one_head_sees_a_bag_and_the_order_of_the_memory_is_not_seen() -> None:
    x, memory = vectors(TGT_LEN, SRC_LEN)
    laws.permutation_equivariance(redraw(SimpleSelfAttention(D_MODEL)), x).require()
    layer, order = redraw(DecoderLayer(D_MODEL, HEADS, D_FF)).eval(), torch.randperm(SRC_LEN)
    mask = ragged()[:, None, None, :]
    close(layer(x, memory[:, order], None, mask[..., order]), layer(x, memory, None, mask))


@pytest.mark.no_cover
@given(model=models(dropout=0.2), ids=id_pairs())
@examples
def test_a_sequence_alone_gives_what_it_gives_in_a_batch(model: Transformer, ids: tuple) -> None:
    laws.batch_equals_single(model, *ids, tolerance=slack(model)).require()
    assert model.training


@pytest.mark.no_cover
@given(model=models(dropout=0.2), ids=id_pairs())
@examples
def test_the_cache_gives_what_the_full_pass_gives(model: Transformer, ids: tuple) -> None:
    laws.cache_equals_full(model, *ids, tolerance=slack(model)).require()


@given(model=models(), ids=id_pairs())
@examples
def test_without_dropout_training_is_evaluation(model: Transformer, ids: tuple) -> None:
    laws.train_equals_eval(model, *ids, tolerance=0.0).require()


@given(batch=st.integers(1, 3), q_len=st.integers(1, 6), kv_len=st.integers(1, 6), d=st.integers(1, 5))
@examples
def test_weights_are_shares(batch: int, q_len: int, kv_len: int, d: int) -> None:
    q, k, v = torch.randn(batch, q_len, d), torch.randn(batch, kv_len, d), torch.randn(batch, kv_len, 2)
    mask = torch.rand(batch, q_len, kv_len) > 0.5
    _, weights = scaled_dot_product_attention(q, k, v, mask)
    assert (weights >= 0).all() and (weights[~mask] == 0).all()
    torch.testing.assert_close(weights.sum(-1), mask.any(-1).float())
    _, same = scaled_dot_product_attention(q, k[:, :1].expand_as(k).contiguous(), v)
    torch.testing.assert_close(same, torch.full_like(same, 1 / kv_len))
    shifted = torch.cat([k, torch.ones_like(k[..., :1])], -1)  # one more feature adds the same to all scores
    wider = torch.cat([q, torch.full_like(q[..., :1], 3.0)], -1) * math.sqrt((d + 1) / d)
    _, weights = scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(scaled_dot_product_attention(wider, shifted, v)[1], weights)


def test_a_dominant_score_picks_its_value() -> None:
    value = torch.randn(4, 3)
    order = torch.tensor([2, 0, 3, 1])
    output, _ = scaled_dot_product_attention(1e4 * torch.eye(4)[order], torch.eye(4), value)
    torch.testing.assert_close(output, value[order])


@given(d_model=st.integers(2, 9), shift=st.floats(-5, 5), scale=st.floats(0.5, 8))
@examples
def test_layer_norm_forgets_shift_and_scale(d_model: int, shift: float, scale: float) -> None:
    norm, x = LayerNorm(d_model).double(), torch.randn(2, 3, d_model).double()
    y = norm(x)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 3).double(), rtol=0, atol=1e-12)
    var = x.var(-1, correction=0)
    torch.testing.assert_close(y.var(-1, correction=0), var / (var + 1e-5), rtol=0, atol=1e-12)
    close(norm(x + shift), y)
    exact = LayerNorm(d_model, eps=1e-300).double()
    torch.testing.assert_close(exact(scale * x), exact(x), rtol=0, atol=1e-9)


@given(k=st.integers(0, 40), d_model=st.sampled_from([2, 6, 64]))
@examples
@in_float64()
def test_the_distance_alone_decides_how_alike_two_positions_are(k: int, d_model: int) -> None:
    encoding = sinusoidal_encoding(97, d_model)
    products = (encoding[k:] * encoding[: 97 - k]).sum(-1)
    close(products, products[:1].expand_as(products))


# The laws fail for modules with a mistake


class MaskInTrainingOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = redraw(EncoderLayer(D_MODEL, HEADS, D_FF, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, causal_mask(x.size(1)) if self.training else None)


def _layer_with(mask: Tensor):
    layer = redraw(EncoderLayer(D_MODEL, HEADS, D_FF, 0.0))
    return lambda x: layer(x, mask)


@in_float64()
@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(SRC_LEN, SRC_LEN, dtype=torch.bool),
        causal_mask(SRC_LEN).T,
        ~causal_mask(SRC_LEN),
        torch.ones(SRC_LEN, SRC_LEN, dtype=torch.bool).tril(1),
    ],
    ids=["none", "transposed", "inverted", "shifted"],
)
def test_causality_catches_wrong_masks(mask: Tensor) -> None:
    x, other = vectors(SRC_LEN, SRC_LEN)
    verdict = laws.causality(_layer_with(mask), x, other)
    assert not verdict.holds
    assert "with the inputs from position 1 on replaced, the output at position 0 of sequence 0 differs by" in str(
        verdict
    )


@in_float64()
def test_causality_says_where_a_late_leak_begins() -> None:
    mask = causal_mask(SRC_LEN)
    mask[3, 5] = True
    x, other = vectors(SRC_LEN, SRC_LEN)
    text = str(laws.causality(_layer_with(mask), x, other))
    assert "from position 4 on replaced, the output at position 3 of sequence 0" in text


@in_float64()
def test_causality_is_asked_in_the_mode_the_module_is_in() -> None:
    module, (x, other) = MaskInTrainingOnly(), vectors(SRC_LEN, SRC_LEN)
    assert laws.causality(module.train(), x, other).holds
    assert not laws.causality(module.eval(), x, other).holds
    verdict = laws.train_equals_eval(module, x)
    assert not verdict and "one mode only" in verdict.message


@in_float64()
def test_padding_invariance_catches_wrong_masks() -> None:
    real = ragged()
    x, other = vectors(SRC_LEN, SRC_LEN)
    on_queries = real[:, None, :, None]
    for mask in (None, ~real[:, None, None, :], on_queries, real.roll(1, 0)[:, None, None, :]):
        verdict = laws.padding_invariance(_layer_with(mask), x, other, real)
        assert not verdict.holds and "padding mask that is missing" in verdict.message
    laws.padding_invariance(_layer_with(real[:, None, None, :]), x, other, real).require()


@in_float64()
def test_padding_invariance_catches_cross_attention_under_the_targets_mask() -> None:
    layer, real = redraw(DecoderLayer(D_MODEL, HEADS, D_FF, 0.0)), ragged()
    tgt, memory, other = vectors(SRC_LEN, SRC_LEN, SRC_LEN)
    counted = torch.ones(BATCH, SRC_LEN, dtype=torch.bool)
    wrong = causal_mask(SRC_LEN)
    right = real[:, None, None, :]
    check = lambda mask: laws.padding_invariance(  # noqa: E731
        lambda memory: layer(tgt, memory, causal_mask(SRC_LEN), mask), memory, other, real, real_outputs=counted
    )
    assert check(right).holds and not check(wrong).holds


@in_float64()
def test_permutation_equivariance_catches_order() -> None:
    (x,) = vectors(SRC_LEN)
    positions = PositionalEncoding(D_MODEL, SRC_LEN)
    for f in (_layer_with(causal_mask(SRC_LEN)), positions, lambda x: x.cumsum(1), lambda x: x[:, :1] + 0 * x):
        assert not laws.permutation_equivariance(f, x).holds
    verdict = laws.permutation_equivariance(positions, x)
    assert f"in the order [{SRC_LEN - 1}, 0, 1, 2, 3, 4, 5]" in str(verdict)


@in_float64()
def test_batch_equals_single_catches_mixing_of_sequences() -> None:
    (x,) = vectors(SRC_LEN)
    heads = lambda x: x.reshape(-1, HEADS, SRC_LEN, D_MODEL // HEADS)  # noqa: E731
    attend = lambda x: F.scaled_dot_product_attention(heads(x), heads(x), heads(x)).mean((1, 2))  # noqa: E731
    assert laws.batch_equals_single(attend, x).holds  # wrong, but each sequence stays its own
    for f in (lambda x: x - x.mean(0), lambda x: x.softmax(0), lambda x: x.transpose(0, 1).reshape(x.shape)):
        assert not laws.batch_equals_single(f, x).holds
    norm = nn.BatchNorm1d(SRC_LEN)
    assert laws.batch_equals_single(norm, x).holds and norm.training


@in_float64()
@pytest.mark.parametrize("mistake", ["offset", "mask"])
def test_cache_equals_full_catches(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    if mistake == "offset":
        forward = PositionalEncoding.forward
        monkeypatch.setattr(PositionalEncoding, "forward", lambda self, x, offset=0: forward(self, x, 0))
    else:
        top_left = lambda q, kv, **_: torch.ones(q, kv, dtype=torch.bool).tril()  # noqa: E731
        monkeypatch.setattr("transformer_lib.transformer.causal_mask", top_left)
    verdict = laws.cache_equals_full(model, source_ids(), target_ids())
    assert not verdict.holds
    assert "decoding 1 token at a time, the output at position 1 of sequence 0 differs" in verdict.message


@in_float64()
def test_cache_equals_full_catches_a_mistake_in_chunks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    sees_all = lambda q, kv, **_: torch.ones(q, kv, dtype=torch.bool) if kv > q else causal_mask(q)  # noqa: E731
    monkeypatch.setattr("transformer_lib.transformer.causal_mask", sees_all)
    verdict = laws.cache_equals_full(model, source_ids(), target_ids())
    assert not verdict.holds and "decoding 2 tokens at a time" in verdict.message


@in_float64()
def test_train_equals_eval_catches_a_dropout_that_stayed() -> None:
    config = tiny_config(dropout=0.0)
    model = Transformer(config)
    model.decoder.layers[1].cross_attn.dropout = 0.2
    verdict = laws.train_equals_eval(model, source_ids(), target_ids())
    assert not verdict.holds and "dropout that the argument does not reach" in verdict.message


# The frame


def test_a_verdict_is_a_sentence_and_a_truth_value() -> None:
    x, other = torch.zeros(1, 3, 2), torch.ones(1, 3, 2)
    good, bad = laws.causality(lambda x: x, x, other), laws.causality(lambda x: x.flip(1) + 1, x, other)
    promise = "the outputs before position t ignore the inputs from t on, for t = 1 to 2"
    assert str(good) == good.message == f"Causality holds: {promise}."
    assert good and good.holds and good.law == "causality"
    assert good.require() is None
    assert not bad and not bad.holds and str(bad).startswith("Causality is violated: ")
    assert "differs by 1 (allowed: 1e-05). Usual cause: no causal mask in this mode" in str(bad)
    with pytest.raises(laws.LawViolation, match="Causality is violated: with the inputs from position 1 on"):
        bad.require()
    assert issubclass(laws.LawViolation, AssertionError)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bad.holds = True


def test_nothing_is_left_behind() -> None:
    module = nn.Sequential(nn.Dropout(0.5), EncoderLayer(D_MODEL, HEADS, D_FF).eval())
    state = torch.get_rng_state()
    x, other = torch.randn(2, 3, D_MODEL), torch.randn(2, 3, D_MODEL)
    torch.set_rng_state(state)
    model, src, tgt = Transformer(tiny_config(dropout=0.2)), source_ids(), target_ids()
    state = torch.get_rng_state()
    grads = []

    def f(x: Tensor) -> Tensor:
        grads.append(module(x).requires_grad)
        return module(x)

    laws.causality(f, x, other)
    laws.padding_invariance(f, x, other, ragged(3)[:2])
    for verdict in (laws.permutation_equivariance(module, x), laws.batch_equals_single(module, x)):
        assert verdict.holds  # asked in evaluation mode
    laws.train_equals_eval(module, x)
    laws.cache_equals_full(model, src, tgt).require()
    assert grads and not any(grads) and torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in module] == [True, False] and model.training


def test_the_mode_is_restored_when_the_function_raises() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("broken")

    module = Broken(2, 2)
    for law in (laws.permutation_equivariance, laws.batch_equals_single, laws.train_equals_eval):
        with pytest.raises(RuntimeError, match="broken"):
            law(module, torch.randn(2, 3, 2))
        assert module.training and torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("dtype", "small", "large"),
    [(torch.float64, 1e-10, 1e-7), (torch.float32, 1e-6, 1e-4), (torch.bfloat16, 0.02, 0.5)],
)
def test_tolerance_follows_the_type_and_the_size_of_the_output(dtype, small: float, large: float) -> None:
    x, other = torch.zeros(1, 2, 1, dtype=dtype), torch.ones(1, 2, 1, dtype=dtype)
    for scale in (1e-3, 1.0, 1e4):
        leak = lambda amount: lambda x: scale * (1 + amount * x.flip(1).double())  # noqa: B023, E731
        cast = lambda amount: lambda x: leak(amount)(x).to(dtype)  # noqa: B023, E731
        assert laws.causality(cast(small), x, other).holds
        assert not laws.causality(cast(large), x, other).holds


def test_nan_is_a_violation_and_equal_infinities_are_not() -> None:
    x, other = torch.zeros(1, 3, 2), torch.ones(1, 3, 2)
    verdict = laws.causality(lambda x: x / x, x, other)
    assert not verdict and "position 0 of sequence 0 is NaN" in str(verdict)
    assert laws.causality(lambda x: x - math.inf, x, other).holds


def test_complex_numbers_are_compared_in_both_parts() -> None:
    x, other = torch.zeros(1, 3, 2), torch.ones(1, 3, 2)
    assert not laws.causality(lambda x: torch.complex(0 * x, x.flip(1)), x, other)
    assert laws.every_token_counts(lambda x: torch.complex(0 * x, x), x, other)


def test_a_fill_or_what_stands_in_the_padding_does_not_set_the_scale() -> None:
    x, other = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    for fill in (-1e9, torch.finfo(torch.float32).min, -math.inf):
        leak = lambda x: torch.cat([x.flip(1), torch.full_like(x[..., :1], fill)], -1)  # noqa: B023, E731
        assert not laws.causality(leak, x, other)
    huge = torch.where(REAL[..., None], x, 1e6)
    assert not laws.padding_invariance(lambda x: x + x.mean(1, keepdim=True).tanh(), huge, other, REAL)
    laws.padding_invariance(lambda x: x.exp(), huge, other, REAL).require()


def test_inputs_and_kept_outputs_are_copied() -> None:
    x, other = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    before, kept = x.clone(), torch.zeros(2, 3, 4)
    for ask in (laws.causality, laws.token_by_token):
        ask(lambda x: x.mul_(2), x, other).require()
        assert not ask(lambda x: kept.copy_(x.flip(1)), x, other)  # always the same tensor
    laws.permutation_equivariance(lambda x: x.mul_(2), x).require()
    laws.batch_equals_single(lambda x: x.mul_(2), x).require()
    laws.evaluation_is_deterministic(nn.ReLU(inplace=True), x).require()
    laws.train_equals_eval(nn.ReLU(inplace=True), x).require()
    assert torch.equal(x, before)

    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.add_(torch.randn_like(x))

    assert not laws.evaluation_is_deterministic(Noise(), x)


def test_running_means_are_put_back() -> None:
    norm, x = nn.BatchNorm1d(3), torch.randn(2, 3, 4)
    assert not laws.train_equals_eval(norm, x)
    laws.causality(norm, x, x + 1)
    assert norm.num_batches_tracked == 0 and torch.equal(norm.running_mean, torch.zeros(3))


def test_dropout_behind_a_function_is_refused_and_not_called_a_violation() -> None:
    dropout, x = nn.Dropout(0.5), torch.randn(2, 3, 4)
    for ask in (laws.permutation_equivariance, laws.batch_equals_single):
        assert ask(dropout, x)  # a module is asked in evaluation mode
        with pytest.raises(ValueError, match="its dropout is on: call eval"):
            ask(lambda x: dropout(x), x)


def test_lengths_that_depend_on_the_company_are_a_violation() -> None:
    trim = lambda x, real: x[:, : int(real.sum(1).max())]  # noqa: E731
    verdict = laws.batch_equals_single(trim, torch.randn(2, 3, 4), REAL)
    assert not verdict and "they have the shapes [(1, 1, 4), (1, 2, 4)]" in str(verdict)
    additive = torch.full((2, 3, 3), -math.inf).triu(1)
    attend = lambda x, mask: F.scaled_dot_product_attention(x, x, x, mask)  # noqa: E731
    laws.batch_equals_single(attend, torch.randn(2, 3, 4), additive).require()


def test_of_several_outputs_of_a_module_the_first_counts() -> None:
    x = torch.randn(2, 3, 4)
    attention = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)
    laws.evaluation_is_deterministic(attention, x, x, x).require()
    assert not laws.train_equals_eval(attention, x, x, x)
    laws.train_equals_eval(nn.GRU(4, 4), x).require()


def test_whole_numbers_must_agree_exactly() -> None:
    x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert laws.causality(lambda x: x.cumsum(1), x, x + 1).holds
    assert not laws.causality(lambda x: x.flip(1), x, x + 1).holds


def test_a_changed_shape_is_a_violation() -> None:
    verdict = laws.batch_equals_single(lambda x: x[:, : len(x)], torch.randn(2, 3, 4))
    assert not verdict and "changed its shape from (2, 2, 4) to (2, 1, 4)" in str(verdict)


class Silent(nn.Module):
    def forward(self, x: Tensor) -> None:
        pass


X = torch.zeros(2, 3, 4)
REAL = torch.tensor([[True, True, False], [True, False, False]])


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda: laws.causality(lambda x: x, X, X), "x and other agree wherever x would be replaced"),
        (lambda: laws.causality(lambda x: x, X[:, :1], X[:, :1] + 1), "such a test cannot fail"),
        (lambda: laws.causality(lambda x: x, X, X[:1]), r"\(2, 3, 4\) torch.float32 and \(1, 3, 4\) torch.float32"),
        (lambda: laws.causality(lambda x: x, X, X.long()), "got .* torch.float32 and .* torch.int64"),
        (lambda: laws.causality(lambda x: (x, x), X, X + 1), "must return one tensor, got tuple; pick one"),
        (lambda: laws.causality(lambda x: x[:, 0], X, X + 1), r"\(batch, seq\) = \(2, 3\), got shape \(2, 4\)"),
        (lambda: laws.causality(lambda x: x[..., :0], X, X + 1), r"nothing to compare: .* shape \(2, 3, 0\)"),
        (lambda: laws.padding_invariance(lambda x: x, X, X + 1, REAL | True), "such a test cannot fail"),
        (lambda: laws.padding_invariance(lambda x: x, X, X + 1, REAL.int()), "real must be boolean .* got torch.int32"),
        (lambda: laws.padding_invariance(lambda x: x, X, X + 1, REAL[:1]), r"\(2, 3\), got torch.bool \(1, 3\)"),
        (lambda: laws.permutation_equivariance(lambda x: x, X), "such a test cannot fail"),
        (lambda: laws.permutation_equivariance(lambda x: x[:, :2], torch.randn(2, 3, 4)), r"got shape \(2, 2, 4\)"),
        (lambda: laws.batch_equals_single(lambda x: x, X[:1]), r"batch axis of at least 2, got the sizes \[1\]"),
        (lambda: laws.batch_equals_single(lambda x, y: x, X, X[:1]), r"got the sizes \[1, 2\]"),
        (lambda: laws.batch_equals_single(lambda: X), r"got the sizes \[\]"),
        (lambda: laws.cache_equals_full(nn.Linear(1, 1), X, X[:, :1]), "at least 2 tokens .* got 1"),
        (lambda: laws.causality(lambda x: x, X[0, 0], X[0, 0]), r"x must be a tensor .* got torch.float32 \(4,\)"),
        (lambda: laws.causality(lambda x: x, X.tolist(), X), "x must be a tensor .* got list"),
        (lambda: laws.causality(lambda x: x, X, None), "other must be a tensor .* got NoneType"),
        (lambda: laws.causality(lambda x: x, X, X + math.nan), "other must hold finite numbers, got NaN"),
        (lambda: laws.causality(lambda x: x, X - math.inf, X), "x must hold finite numbers"),
        (lambda: laws.causality(None, X, X + 1), "f must be a function or a module, got NoneType"),
        (lambda: laws.causality(lambda x: x, X, X + 1, tolerance=-1.0), "tolerance must be .* at least 0, got -1.0"),
        (lambda: laws.causality(lambda x: x, X, X + 1, tolerance=math.nan), "tolerance must be .* got nan"),
        (lambda: laws.causality(lambda x: x, X, X + 1, tolerance="1"), "tolerance must be .* got '1'"),
        (lambda: laws.padding_invariance(lambda x: x, X, X + 1, None), "real must be boolean .* got NoneType"),
        (lambda: laws.padding_invariance(lambda x: x, X, X + 1, REAL & False), "such a test cannot fail"),
        (
            lambda: laws.padding_invariance(lambda x: x, X, X + 1, torch.tensor([[True] * 3, [False] * 3])),
            "padding in a sequence with an output that counts",
        ),
        (
            lambda: laws.padding_invariance(lambda x: x, X, X + 1, REAL, real_outputs=REAL.int()),
            "real_outputs must be boolean .* got torch.int32",
        ),
        (lambda: laws.permutation_equivariance(lambda x: x, X[0, 0]), "x must be a tensor of shape"),
        (lambda: laws.permutation_equivariance(nn.Dropout(), None), "x must be a tensor of shape .* got NoneType"),
        (lambda: laws.batch_equals_single(lambda x: x, None), "input 0 must be a tensor .* got NoneType"),
        (lambda: laws.batch_equals_single(lambda x, n: x, X, 2), "input 1 must be a tensor .* got int"),
        (lambda: laws.batch_equals_single(lambda x: x, X * math.nan), "input 0 must hold numbers, got NaN"),
        (lambda: laws.batch_equals_single(lambda x: x.mean(), X), r"one entry per sequence, .* got shape \(\)"),
        (
            lambda: laws.cache_equals_full(nn.Linear(1, 1), X, X),
            "model must have encode, .* got Linear, without encode",
        ),
        (lambda: laws.cache_equals_full(tiny_model(), source_ids()[:1], target_ids()), "batch axis, got 1 and 3"),
        (lambda: laws.cache_equals_full(tiny_model(), source_ids(), target_ids()[0]), "tgt_ids must be a tensor"),
        (lambda: laws.train_equals_eval(lambda x: x, X), "module must be an nn.Module, got function"),
        (lambda: laws.evaluation_is_deterministic(lambda x: x, X), "module must be an nn.Module, got function"),
        (lambda: laws.evaluation_is_deterministic(Silent(), X), "a tensor, alone or first of several, got NoneType"),
    ],
)
def test_a_question_that_cannot_fail_is_refused(ask, match: str, without_shape_checks: None) -> None:
    with pytest.raises(ValueError, match=match):
        ask()


def test_the_laws_take_torchs_own_modules() -> None:
    layer = nn.TransformerEncoderLayer(D_MODEL, HEADS, D_FF, batch_first=True)
    x, other = torch.randn(2, 5, D_MODEL), torch.randn(2, 5, D_MODEL)
    laws.permutation_equivariance(layer, x).require()
    laws.causality(lambda x: layer(x, nn.Transformer.generate_square_subsequent_mask(5)), x, other).require()
    assert not laws.causality(lambda x: layer(x, ~causal_mask(5).T), x, other)


def test_the_test_data_are_what_they_say() -> None:
    src, tgt = source_ids(), target_ids()
    assert [(row != 0).sum().item() for row in src] == [SRC_LEN, SRC_LEN - 2, 1]
    assert src.max() < SRC_VOCAB and tgt.max() < TGT_VOCAB and (tgt[:, 0] == 1).all()
