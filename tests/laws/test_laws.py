"""The laws hold for the library, in many sizes and types, and fail for parts with a mistake, saying what is wrong.

hypothesis draws sizes, weights and types, always the same ones.
"""

import math

import helpers
import pytest
import torch
import torch.nn.functional as F
from helpers import D_FF, D_MODEL, HEADS, SRC_LEN, TGT_LEN, close, in_float64, ragged, redraw, tiny_model, vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import transformer_lib as lib
from transformer_lib import causal_mask, laws, scaled_dot_product_attention, sinusoidal_encoding, token_loss

examples = settings(derandomize=True, deadline=None, max_examples=10, database=None)
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
dtypes = st.sampled_from(DTYPES)


@st.composite
def models(draw, **changes) -> lib.Transformer:
    """A small model of any shape and number type, with redrawn weights."""
    heads = draw(st.integers(1, 3))
    sizes = dict(d_model=heads * draw(st.sampled_from([2, 4, 6])), n_heads=heads, d_ff=draw(st.integers(1, 9)))
    sizes |= dict(n_encoder_layers=draw(st.integers(1, 2)), n_decoder_layers=draw(st.integers(1, 2)))
    options = dict(norm_first=draw(st.booleans()), activation=draw(st.sampled_from(["relu", "gelu", "silu"])))
    tie = dict(tie_embeddings=draw(st.booleans()), dropout=0.0, max_len=9)
    config = lib.TransformerConfig(src_vocab_size=11, tgt_vocab_size=7, **{**sizes, **options, **tie, **changes})
    return redraw(lib.Transformer(config)).to(draw(dtypes))


def slack(model: lib.Transformer) -> float | None:
    """bfloat16 has three digits, and other shapes are added up in another order; the other types need nothing."""
    return 0.1 if model.output.weight.dtype == torch.bfloat16 else None


@st.composite
def id_pairs(draw) -> tuple[Tensor, Tensor]:
    """Source (ragged, padded with 0) and target ids for `models()`; every source has a real token."""
    batch, src_len, tgt_len = draw(st.integers(2, 3)), draw(st.integers(1, 7)), draw(st.integers(2, 7))
    src = torch.randint(3, 11, (batch, src_len))
    lengths = torch.tensor([draw(st.integers(1, src_len)) for _ in range(batch)])
    return src.masked_fill(torch.arange(src_len) >= lengths[:, None], 0), torch.randint(3, 7, (batch, tgt_len))


def caught(verdict: laws.Verdict, *words: str) -> None:
    """Require a violation whose sentence holds the words."""
    assert not verdict.holds
    assert [word for word in words if word not in str(verdict)] == [], verdict


def layer_with(mask: Tensor | None):
    layer = redraw(lib.EncoderLayer(D_MODEL, HEADS, D_FF, 0.0))
    return lambda x: layer(x, mask)


# The laws hold


@pytest.mark.no_cover
@given(model=models(), ids=id_pairs(), training=st.booleans())
@examples
def test_the_model_sees_neither_future_nor_padding_in_either_mode(model, ids: tuple, training: bool) -> None:
    src, tgt = ids
    model.train(training)
    laws.causality(lambda tgt: model(src, tgt), tgt, (tgt + 1) % 7, tolerance=0.0).require()  # to the last bit
    laws.train_equals_eval(model, src, tgt, tolerance=0.0).require()
    src[0] = torch.cat([src[0, :1], torch.zeros_like(src[0, 1:])])
    src = torch.cat([src, torch.zeros_like(src[:, :1])], dim=1)  # at least one column of padding
    real, mask = src != 0, (src != 0)[:, None, None, :]
    x, other = torch.randn(2, *src.shape, model.config.d_model, dtype=model.output.weight.dtype)
    laws.padding_invariance(lambda x: model.encoder(x, mask), x, other, real).require()
    laws.permutation_equivariance(model.encoder, x, tolerance=slack(model)).require()  # a bag, without positions
    caught(laws.permutation_equivariance(lambda x: model.encoder(model.positions(x)), x), "positions are added")
    across = lambda memory: model.decode(tgt, memory, mask)  # noqa: E731
    laws.padding_invariance(across, x, other, real, real_outputs=torch.ones_like(tgt, dtype=torch.bool)).require()


@pytest.mark.no_cover
@given(model=models(dropout=0.3), ids=id_pairs())
@examples
def test_with_dropout_it_sees_no_future_no_company_no_cache_and_no_chance(model, ids: tuple) -> None:
    src, tgt = ids
    laws.causality(lambda tgt: model.train()(src, tgt), tgt, (tgt + 1) % 7, tolerance=0.0).require()
    laws.batch_equals_single(model, src, tgt, tolerance=slack(model)).require()
    laws.cache_equals_full(model, src, tgt, tolerance=slack(model)).require()
    laws.evaluation_is_deterministic(model, src, tgt).require()
    assert model.training


@in_float64()
def test_more_padding_changes_nothing() -> None:
    model, src, tgt = helpers.tiny_case(pad_id=2, eos_id=0)
    assert torch.equal(lib.padding_mask(src, 2)[:, 0, 0], ragged())  # what these tests ask about is there
    logits = model(src, tgt)
    close(model(F.pad(src, (0, 4), value=2), tgt), logits)
    close(model(src, F.pad(tgt, (0, 3), value=2))[:, :TGT_LEN], logits)


@in_float64()
def test_one_head_sees_a_bag_and_the_order_of_the_memory_is_not_seen() -> None:
    x, memory = vectors(TGT_LEN, SRC_LEN)
    laws.permutation_equivariance(redraw(lib.SimpleSelfAttention(D_MODEL)), x).require()
    layer, order = redraw(lib.DecoderLayer(D_MODEL, HEADS, D_FF)).eval(), torch.randperm(SRC_LEN)
    mask = ragged()[:, None, None, :]
    close(layer(x, memory[:, order], None, mask[..., order]), layer(x, memory, None, mask))


@given(data=st.data(), norm_first=st.booleans(), training=st.booleans())
@examples
def test_every_real_token_is_seen(data, norm_first: bool, training: bool) -> None:
    layer = redraw(lib.DecoderLayer(8, 2, 16, 0.0, norm_first)).train(training)
    tgt, (memory, other) = torch.randn(2, data.draw(st.integers(1, 4)), 8), torch.randn(2, 2, 5, 8)
    real = torch.arange(5) < torch.tensor([data.draw(st.integers(1, 5)) for _ in range(2)])[:, None]
    mask = real[:, None, None, :]
    laws.every_token_counts(lambda m: layer(tgt, m, None, mask), memory, other, real).require()
    laws.every_token_counts(lambda x: layer(x, memory, causal_mask(5), mask), other, memory).require()


@given(tied=st.booleans(), norm_first=st.booleans(), vocab=st.integers(50, 300), heads=st.integers(1, 4))
@examples
def test_a_fresh_model_is_unsure_and_no_layer_is_a_copy(tied: bool, norm_first: bool, vocab: int, heads: int) -> None:
    sizes = dict(d_model=16 * heads, n_heads=heads, d_ff=32, tie_embeddings=tied, norm_first=norm_first, dropout=0.0)
    torch.manual_seed(heads)
    model = lib.Transformer(lib.TransformerConfig(src_vocab_size=vocab, tgt_vocab_size=vocab, **sizes))
    src, tgt = torch.randint(3, vocab, (2, 8, 12))
    logits = model(src, tgt)
    laws.layers_are_distinct(model.decoder.layers).require()
    laws.untrained_loss(logits).require()
    laws.untrained_loss(logits[:, :-1], tgt[:, 1:]).require()


@given(batch=st.integers(1, 3), q_len=st.integers(1, 6), kv_len=st.integers(1, 6), d=st.integers(1, 5))
@examples
def test_weights_are_a_softmax(batch: int, q_len: int, kv_len: int, d: int) -> None:
    """Masked keys get nothing, equal keys equal shares, and what all scores share does not matter."""
    q, k, v = torch.randn(batch, q_len, d), torch.randn(batch, kv_len, d), torch.randn(batch, kv_len, 2)
    mask = torch.rand(batch, q_len, kv_len) > 0.5
    laws.weights_are_shares(scaled_dot_product_attention(q, k, v, mask)[1], mask).require()
    _, same = scaled_dot_product_attention(q, k[:, :1].expand_as(k).contiguous(), v)
    torch.testing.assert_close(same, torch.full_like(same, 1 / kv_len))
    shifted = torch.cat([k, torch.ones_like(k[..., :1])], -1)  # one more feature adds the same to all scores
    wider = torch.cat([q, torch.full_like(q[..., :1], 3.0)], -1) * math.sqrt((d + 1) / d)
    _, weights = scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(scaled_dot_product_attention(wider, shifted, v)[1], weights)
    order, one = torch.randperm(kv_len), torch.eye(kv_len)  # a dominant score picks its value
    torch.testing.assert_close(scaled_dot_product_attention(1e4 * one[order], one, v[0])[0], v[0, order])


@pytest.mark.parametrize("d_head", [2, 3, 16, 64, 512])
def test_scores_are_divided_by_the_root_of_the_width_of_a_head(d_head: int) -> None:
    module = lib.MultiHeadAttention(2 * d_head, 2)

    def in_float32(q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # a softmax as in Hugging Face's models
        return torch.softmax(q @ k.mT / q.size(-1) ** 0.5, -1, dtype=torch.float32).to(q.dtype) @ v

    own = lambda q, k, v: module.attend(q, k, v, None)  # noqa: E731
    for attend in (scaled_dot_product_attention, F.scaled_dot_product_attention, own, in_float32):
        laws.scores_are_scaled(attend, d_head).require()


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_dead_rows_are_zero(dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(2, 3, n, d, dtype=dtype) for n, d in ((TGT_LEN, 8), (SRC_LEN, 8), (SRC_LEN, 8)))
    own = lib.MultiHeadAttention(24, 3).attend
    for attend in (scaled_dot_product_attention, F.scaled_dot_product_attention, own):
        laws.dead_rows_are_zero(attend, q, k, v).require()


@given(d_model=st.integers(1, 40), max_len=st.integers(3, 80))
@examples
def test_the_distance_decides(d_model: int, max_len: int) -> None:
    laws.distance_decides(sinusoidal_encoding(max_len, 2 * d_model)).require()
    with in_float64():
        laws.distance_decides(sinusoidal_encoding(max_len, 2 * d_model), tolerance=1e-13).require()


@pytest.mark.no_cover
def test_a_long_table_may_round_its_angles() -> None:
    p, i = torch.arange(2000.0)[:, None], torch.arange(0, 16, 2)
    angle = p * torch.exp(i * (-math.log(10000.0) / 16))  # in float32, as many write it
    laws.distance_decides(torch.stack([angle.sin(), angle.cos()], -1).flatten(1)).require()


@given(d_model=st.integers(2, 65), eps=st.sampled_from([1e-5, 1e-6, 1e-3]), dtype=st.sampled_from(DTYPES[:2]))
@examples
def test_a_fresh_norm_normalises_and_forgets_shift_and_scale(d_model: int, eps: float, dtype: torch.dtype) -> None:
    laws.normalises(lib.LayerNorm(d_model, eps).to(dtype), d_model).require()
    laws.normalises(nn.LayerNorm(d_model, eps).to(dtype), d_model).require()
    laws.normalises(nn.LayerNorm(d_model, eps=0.0), d_model).require()  # an eps of 0 is taken as it is
    exact, x = lib.LayerNorm(d_model, eps=1e-300).double(), torch.randn(2, 3, d_model).double()
    for shift, scale in ((5.0, 1.0), (-2.5, 8.0), (0.0, 0.5)):
        torch.testing.assert_close(exact(scale * x + shift), exact(x), rtol=0, atol=1e-9)


@given(d_model=st.integers(2, 9), d_ff=st.integers(1, 9), seq=st.integers(2, 6), dtype=dtypes)
@examples
def test_feed_forward_and_norm_go_token_by_token(d_model: int, d_ff: int, seq: int, dtype: torch.dtype) -> None:
    x, other = (torch.randn(2, seq, d_model, dtype=dtype) for _ in range(2))
    for part in (lib.FeedForward(d_model, d_ff), lib.LayerNorm(d_model)):
        laws.token_by_token(part.to(dtype), x, other).require()


@given(vocab=st.integers(3, 9), smoothing=st.floats(0, 0.5), pad=st.integers(0, 2))
@examples
def test_smoothed_targets_are_distributions(vocab: int, smoothing: float, pad: int) -> None:
    targets = torch.randint(0, vocab, (2, 5))
    smoothing = smoothing if vocab > 3 else 0.0
    rows = lib.smoothed_targets(targets, vocab, smoothing, pad)
    laws.targets_are_distributions(rows, targets, pad).require()
    right = rows.gather(-1, targets.unsqueeze(-1)).squeeze(-1)[targets != pad]
    torch.testing.assert_close(right, torch.full_like(right, 1 - smoothing))


@given(smoothing=st.sampled_from([0.0, 0.1]), dtype=dtypes, pad=st.integers(0, 4))
@examples
def test_the_loss_adds_up(smoothing: float, dtype: torch.dtype, pad: int) -> None:
    targets = torch.randint(5, 11, (helpers.BATCH, SRC_LEN)).masked_fill(~ragged(), pad)
    logits = torch.randn(helpers.BATCH, SRC_LEN, 11, dtype=dtype)
    loss = lambda logits, targets: token_loss(logits, targets, pad_id=pad, smoothing=smoothing)  # noqa: E731
    laws.loss_adds_up(loss, logits, targets, pad, tolerance=0.02 if dtype == torch.bfloat16 else None).require()
    laws.loss_adds_up(loss, logits.double(), targets.flip(1), pad).require()  # padding on the left
    nothing_else = targets.index_fill(0, torch.tensor(0), pad)  # a sentence of padding
    laws.loss_adds_up(loss, logits.double(), nothing_else, pad).require()


@given(use_cache=st.booleans(), seed=st.integers(0, 50), longest=st.integers(1, 12))
@examples
def test_greedy_answers_are_what_the_logits_say(use_cache: bool, seed: int, longest: int) -> None:
    model, src = helpers.lively_model(seed), lib.pad_sequences(helpers.SOURCES)
    answer = lib.greedy_decode(model, src, max_new_tokens=longest, use_cache=use_cache)
    laws.answer_is_greedy(model, src, answer, max_new_tokens=longest).require()


def test_rounding_decides_ties() -> None:
    for dtype in [torch.bfloat16, torch.float16] * 4:
        model, src = redraw(lib.Transformer(helpers.tiny_config(max_len=20))).to(dtype), helpers.source_ids()
        answer = lib.greedy_decode(model, src, max_new_tokens=12)
        laws.answer_is_greedy(model, src, answer, max_new_tokens=12).require()


# The laws catch


@in_float64()
def test_causality_catches_wrong_masks_and_says_where_a_leak_begins() -> None:
    x, other = vectors(SRC_LEN, SRC_LEN)
    every, right = torch.ones(SRC_LEN, SRC_LEN, dtype=torch.bool), causal_mask(SRC_LEN)
    where = "with the inputs from position 1 on replaced, the output at position 0 of sequence 0 differs by"
    for wrong in (every, right.T, ~right, every.tril(1)):
        caught(laws.causality(layer_with(wrong), x, other), where, "a mask that is transposed, inverted or shifted")
    right[3, 5] = True
    late = laws.causality(layer_with(right), x, other)
    caught(late, "from position 4 on replaced, the output at position 3 of sequence 0")


@in_float64()
def test_padding_invariance_catches_wrong_masks() -> None:
    real, (x, other) = ragged(), vectors(SRC_LEN, SRC_LEN)
    keys = real[:, None, None, :]
    for mask in (None, ~keys, keys.mT, keys.roll(1, 0)):
        caught(laws.padding_invariance(layer_with(mask), x, other, real), "padding mask that is missing")
    laws.padding_invariance(layer_with(keys), x, other, real).require()


@in_float64()
def test_masks_laid_on_the_memory_do_not_hide_too_much() -> None:
    layer, real = redraw(lib.DecoderLayer(D_MODEL, HEADS, D_FF, 0.0)), ragged()
    tgt, memory, other = vectors(TGT_LEN, SRC_LEN, SRC_LEN)
    keys, of_the_target = real[:, None, None, :], torch.ones(TGT_LEN, SRC_LEN, dtype=torch.bool).tril()
    across = lambda mask: lambda memory: layer(tgt, memory, causal_mask(TGT_LEN), mask)  # noqa: E731
    unseen = laws.every_token_counts(across(of_the_target), memory, other)
    caught(unseen, "position 5 of sequence 0 can be replaced, and no output notices")
    caught(laws.every_token_counts(across(~keys), memory, other, real))
    x, other, first_only = *vectors(TGT_LEN, TGT_LEN), torch.arange(TGT_LEN).expand(helpers.BATCH, TGT_LEN) == 0
    along = lambda x: layer(x, memory, causal_mask(TGT_LEN))  # noqa: E731
    laws.every_token_counts(along, x, other).require()
    caught(laws.every_token_counts(along, x, other, real_outputs=first_only))


def test_neither_nan_nor_few_digits_hide_a_token() -> None:
    x, other = torch.randn(2, 2, 16, 8)
    caught(laws.every_token_counts(lambda x: x * math.nan, x, other))
    dead = torch.tensor([1.0] * 15 + [math.nan])[:, None]  # an output that is NaN does not hide the others
    laws.every_token_counts(lambda x: x.sum(1, keepdim=True) + 0 * x + dead, x, other).require()
    laws.every_token_counts(lambda x: (x.mean(1, keepdim=True) + 0 * x).bfloat16(), x, other).require()


@in_float64()
def test_permutation_equivariance_catches_order() -> None:
    (x,), positions = vectors(SRC_LEN), lib.PositionalEncoding(D_MODEL, SRC_LEN)
    caught(laws.permutation_equivariance(positions, x), f"in the order [{SRC_LEN - 1}, 0, 1, 2, 3, 4, 5]")
    for f in (layer_with(causal_mask(SRC_LEN)), lambda x: x.cumsum(1), lambda x: x[:, :1] + 0 * x):
        caught(laws.permutation_equivariance(f, x), "positions are added, or there is a causal mask")


@in_float64()
def test_batch_equals_single_catches_mixing_of_sequences() -> None:
    (x,), ask = vectors(SRC_LEN), laws.batch_equals_single
    for f in (lambda x: x - x.mean(0), lambda x: x.softmax(0), lambda x: x.transpose(0, 1).reshape(x.shape)):
        caught(ask(f, x), "between the batch and each sequence alone, the output at")
    norm = nn.BatchNorm1d(SRC_LEN)
    assert ask(norm, x).holds and norm.training
    trim = lambda x, real: x[:, : int(real.sum(1).max())]  # noqa: E731
    caught(ask(trim, x, ragged()), "they have the shapes [(1, 1, 22), (1, 5, 22), (1, 7, 22)]")
    caught(ask(lambda x: x[:, : len(x)], x), "changed its shape from (3, 3, 22) to (3, 1, 22)")


@in_float64()
def test_what_looks_around_is_caught() -> None:
    x, other = vectors(SRC_LEN, SRC_LEN)
    whole = lambda x: F.layer_norm(x, x.shape[1:])  # noqa: E731
    for f in (lambda x: x - x.mean(1, keepdim=True), whole, lambda x: x.roll(1, 1), layer_with(None)):
        caught(laws.token_by_token(f, x, other), "with the input at position 0 replaced")
    caught(laws.token_by_token(lambda x: x.cumsum(1).flip(1).cumsum(1).flip(1), x, other))
    last = laws.token_by_token(lambda x: x + F.pad(x[:, -1:], (0, 0, 0, SRC_LEN - 1)), x, other)
    caught(last, "with the input at position 6 replaced, the output at position 0")


def test_shares_catch_swapped_axes_a_forgotten_mask_and_numbers_that_are_none() -> None:
    q, k = torch.randn(2, TGT_LEN, 8), torch.randn(2, SRC_LEN, 8)
    mask = torch.ones(TGT_LEN, SRC_LEN, dtype=torch.bool).tril(2)
    weights, ask = scaled_dot_product_attention(q, k, k, mask)[1], laws.weights_are_shares
    ask(weights, mask).require()
    ask(weights.numpy(), mask.numpy()).require()  # the array of a heat map
    caught(ask(weights.mT.numpy(), mask), "of shape (2, 7, 5) do not fit the mask of shape (5, 7)")
    unmasked = scaled_dot_product_attention(q, k, k)[1]
    caught(ask(unmasked, mask), "but the mask says that this key may not be seen")
    caught(ask(weights * math.nan, mask), "the weight at (0, 0, 0) is nan")
    caught(ask(-weights, mask), "the weight at (0, 0, 0) is -")
    caught(ask(weights / 2, mask), "the weights of row (0, 0) sum to 0.5, not to 1")
    caught(ask(scaled_dot_product_attention(q, q, q)[1].mT), "sum to")  # swapped, even when they are equally long
    dead = causal_mask(TGT_LEN) & (torch.arange(TGT_LEN) > 0)  # the first query may attend to nothing
    uniform = dead / dead.sum(-1, keepdim=True).clamp(min=1)
    assert ask(uniform, dead).holds
    caught(ask(uniform * 0, dead), "the weights of row (1,) sum to 0, not to 1")


def bent(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Weights that are no softmax of the scores, though the factor fitted to them is right."""
    apart = q @ (k[..., :1, :] - k[..., 1:, :]).mT / 4
    bend = (apart**3 - apart * (apart**4).sum() / (apart**2).sum()) / 10
    return torch.cat([(apart + bend).sigmoid(), (-apart - bend).sigmoid()], -1) @ v


def test_another_scale_is_named() -> None:
    for attend, fault in (
        (lambda q, k, v: (q @ k.mT).softmax(-1) @ v, "scores are multiplied by 1, not by 1 / sqrt(16) = 0.25"),
        (lambda q, k, v: (q @ k.mT / 8).softmax(-1) @ v, "scores are multiplied by 0.125"),
        (lambda q, k, v: F.normalize((q @ k.mT).exp() + 1, p=1, dim=-1) @ v, "scores are multiplied by"),
        (lambda q, k, v: F.normalize((q @ k.mT / 4 + 0.1).exp(), dim=-1).square() @ v, "are multiplied by 0.5"),
        (lambda q, k, v: (q @ k.mT / 4 + torch.tensor([1.0, 0.0])).softmax(-1) @ v, "scores are multiplied by"),
        (bent, "the weights are not a softmax of the scores"),
    ):
        caught(laws.scores_are_scaled(attend, 16), fault)


def test_dead_rows_catch_the_usual_fills() -> None:
    q, k, v = torch.rand(2, TGT_LEN, 8) + 1, torch.rand(2, SRC_LEN, 8), torch.rand(2, SRC_LEN, 8)
    for attend, fault in (
        (lambda q, k, v, m: (q @ k.mT).masked_fill(~m, -1e9).softmax(-1) @ v, "attend to nothing got "),
        (lambda q, k, v, m: (q @ k.mT - 1 / m).softmax(-1).nan_to_num() @ v, "the gradient of q, k is not finite"),
        (lambda q, k, v, m: q.mean(-2, keepdim=True) * math.nan + F.pad(v[:, 1:], (0, 0, 1, 0)), "got nan"),
        (lambda q, k, v, m: torch.cat([0 * q[:, :1], q[:, 1:] / 0], dim=1), "made the output of another one NaN"),
    ):
        caught(laws.dead_rows_are_zero(attend, q, k, v), fault)


@in_float64()
def test_cache_equals_full_catches_a_mask_that_is_wrong_in_chunks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sees_all = lambda q, kv, **_: torch.ones(q, kv, dtype=torch.bool) if kv > q else causal_mask(q)  # noqa: E731
    monkeypatch.setattr("transformer_lib.transformer.causal_mask", sees_all)
    verdict = laws.cache_equals_full(tiny_model(), helpers.source_ids(), helpers.target_ids())
    caught(verdict, "decoding 2 tokens at a time, the output at position", "positions that start from 0 at every step")


def test_copies_and_shared_layers_are_caught() -> None:
    layer, half, ask = lib.EncoderLayer(8, 2, 16), lib.EncoderLayer(8, 2, 16), laws.layers_are_distinct
    torchs = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3)
    caught(ask(torchs.layers), "layers 0 and 1 begin with the same")  # torch makes its layers by deepcopy
    caught(ask([layer, half, layer]), "layers 0 and 2 share")
    half.self_attn.load_state_dict(layer.self_attn.state_dict())
    caught(ask([layer, half]), "layers 0 and 1 begin with the same self_attn.q_proj.weight")
    ask([nn.Sequential(lib.LayerNorm(4), nn.Linear(4, 4)) for _ in range(2)]).require()  # fresh norms are alike


def test_the_distance_does_not_decide_for_other_tables() -> None:
    caught(laws.distance_decides(nn.Embedding(9, 8).weight), "though they are as far apart")  # learned
    p, i = torch.arange(30.0)[:, None], torch.arange(8)
    angle = p / 10000 ** (2 * i / 8)  # the exponent counts features, so sine and cosine are no pair
    caught(laws.distance_decides(torch.where(i % 2 == 0, angle.sin(), angle.cos())))
    caught(laws.distance_decides(torch.ones(5, 4)), "two positions at distance 1 have the same encoding")
    circle = torch.arange(9) * math.pi  # once around in two steps
    caught(laws.distance_decides(torch.stack([circle.sin(), circle.cos()], 1).round()), "distance 2 have the same")
    caught(laws.distance_decides(torch.full((4, 4), math.nan)))


def test_sizes_that_do_not_balance_are_caught() -> None:
    for d_model in (4, 64, 512):
        tokens = lib.TokenEmbedding(500, d_model)(torch.arange(500)[None])
        laws.sizes_balance(tokens, sinusoidal_encoding(500, d_model)).require()
    embedded, place = nn.Embedding(500, 512)(torch.arange(500)[None]), sinusoidal_encoding(500, 512)
    words = "those of positions 0.707. Usual cause: a start with standard deviation 1"
    caught(laws.sizes_balance(embedded * 512**0.5, place), words)
    for tokens, positions in ((embedded * 0.02, place), (place * math.nan, place), (place * 0, place * 0)):
        caught(laws.sizes_balance(tokens, positions))


def level(x: Tensor) -> Tensor:
    """Right while the level of a token is small."""
    return F.layer_norm(x, (3,)) * torch.where(x.mean(-1, keepdim=True) > 0.4, -1.0, 1.0)


def test_another_norm_is_caught() -> None:
    for norm, fault in (
        (lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6), "a variance that is off by 0.33"),
        (lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, correction=0, keepdim=True) + 1e-5), "variance"),
        (lambda x: x / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt(), "come out with mean"),
        (lambda x: F.layer_norm(x, (3,)) * (1 + 1e-3 * x.mean(-1, keepdim=True)), "off by"),
        (level, "with 0.5 added to all features, the output moves by"),
    ):
        caught(laws.normalises(norm, 3), fault)


def test_other_smoothings_are_caught() -> None:
    targets = torch.tensor([[3, 1, 0], [2, 0, 0]])
    real, rows = (targets != 0)[..., None], lib.smoothed_targets(targets, 5, 0.1, 0)
    spread = torch.full((2, 3, 5), 0.1 / 4).scatter(-1, targets[..., None], 0.9)  # the share includes padding
    for wrong, words in (
        (spread * real, "gives padding 0.025"),
        (spread, "the row at (0, 2) sums to 1"),
        (rows - F.pad(rows[..., 1:2] * 2, (1, 3)), "the row at (0, 0) sums to 0.9333"),
        (rows.roll(1, -1) * (torch.arange(5) != 0), "the row at"),
        (torch.where(real, torch.tensor([0, 0.2, 0.2, 0.2, 0.4]), 0.0), "less than another, whose share is 0.4"),
        (torch.where(real, torch.tensor([0, 0.5, 0.5, 0.5, -0.5]), 0.0), "has a negative share, -0.5"),
    ):
        caught(laws.targets_are_distributions(wrong, targets, 0), words)


def test_counted_padding_is_caught() -> None:
    targets = torch.randint(1, 11, (helpers.BATCH, SRC_LEN)).masked_fill(~ragged(), 0)
    logits, own = torch.randn(helpers.BATCH, SRC_LEN, 11), lambda a, b: token_loss(a, b, pad_id=0)
    columns = lambda a, b: (own(a, b)[0], own(a, b)[1] + (b.size(1) > SRC_LEN))  # noqa: E731
    caught(laws.loss_adds_up(columns, logits, targets, 0), "with one more column of padding the mean goes from")
    rows = lambda a, b: (own(a, b)[0], torch.tensor(len(b)))  # noqa: E731
    words = f"the number is {helpers.BATCH}, but {int(ragged().sum())} tokens"
    caught(laws.loss_adds_up(rows, logits, targets, 0), words)


def test_answers_that_are_not_greedy_are_caught() -> None:
    model, src = helpers.lively_model(6), lib.pad_sequences(helpers.SOURCES)
    answer = lib.greedy_decode(model, src, max_new_tokens=12)
    ask = lambda answer, **options: laws.answer_is_greedy(model, src, answer, **options)  # noqa: E731
    ask(answer).require()
    another = torch.where(answer == answer[0, 0], 5 + (answer == 5).long(), answer)
    caught(ask(another), f"token 0 of answer 0 is {int(another[0, 0])}, but the likeliest is {int(answer[0, 0])}")
    ends = (F.pad(answer, (0, 1), value=2) == 2).int().argmax(1)
    row, at = int(ends.argmin()), int(ends.min())
    early, longer = answer[:, : at + 1], answer.clone()  # all stop when the first one does; one goes on
    longer[row, at + 1] = 6
    caught(ask(longer), f"answer {row} goes on after its EOS, with 6 at position {at + 1}")
    caught(ask(early, max_new_tokens=12), f"but ends after {at + 1} of 12 tokens")


def test_every_law_says_in_its_docstring_where_it_is_stated_first() -> None:
    chapters = [int(law.__doc__.split("irst stated in chapter ")[1].split(".")[0]) for law in laws.LAWS]
    assert chapters == sorted(chapters) and len(laws.LAWS) == 20
    assert {law.__name__ for law in laws.LAWS} == set(laws.__all__) - {"LAWS", "HuggingFace", "LawViolation", "Verdict"}
