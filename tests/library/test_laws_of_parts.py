"""The laws about one part: each holds for the library, in many sizes and types, and fails for the usual mistakes."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import BATCH, D_FF, D_MODEL, HEADS, SRC_LEN, TGT_LEN, ragged, redraw, source_ids, tiny_config, vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from transformer_lib import (
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    LayerNorm,
    MultiHeadAttention,
    PositionalEncoding,
    TokenEmbedding,
    Transformer,
    TransformerConfig,
    causal_mask,
    greedy_decode,
    laws,
    padding_mask,
    record_attention,
    scaled_dot_product_attention,
    sinusoidal_encoding,
    smoothed_targets,
    token_loss,
)

examples = settings(derandomize=True, deadline=None, max_examples=10, database=None)
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
dtypes = st.sampled_from(DTYPES)


@st.composite
def masks(draw, batch: int, q_len: int, kv_len: int) -> Tensor | None:
    """No mask, a causal one, padding, both, or any; rows without a key included."""
    kind = draw(st.sampled_from(["none", "causal", "padding", "both", "any"]))
    lengths = torch.tensor([draw(st.integers(1, kv_len)) for _ in range(batch)])
    padding = (torch.arange(kv_len) < lengths[:, None])[:, None, None]
    causal = causal_mask(q_len, max(q_len, kv_len))[:, -kv_len:]
    anything = torch.rand(batch, 1, q_len, kv_len, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    return {
        "none": None,
        "causal": causal,
        "padding": padding,
        "both": causal & padding,
        "any": anything > 0.5,
    }[kind]


# Weights


@given(data=st.data(), dtype=dtypes, heads=st.integers(1, 3), q_len=st.integers(1, 6), kv_len=st.integers(1, 6))
@examples
def test_recorded_weights_are_shares(data, dtype: torch.dtype, heads: int, q_len: int, kv_len: int) -> None:
    mask = data.draw(masks(2, q_len, kv_len))
    module = redraw(MultiHeadAttention(4 * heads, heads)).to(dtype)
    query, memory = torch.randn(2, q_len, 4 * heads, dtype=dtype), torch.randn(2, kv_len, 4 * heads, dtype=dtype)
    with record_attention(module) as recorded:
        module(query, memory, memory, mask)
    laws.weights_are_shares(recorded[""], mask).require()


def test_shares_catch_swapped_axes_a_forgotten_mask_and_numbers_that_are_none() -> None:
    q, k = torch.randn(2, TGT_LEN, 8), torch.randn(2, SRC_LEN, 8)
    mask = torch.ones(TGT_LEN, SRC_LEN, dtype=torch.bool).tril(2)
    weights = scaled_dot_product_attention(q, k, k, mask)[1]
    ask = lambda weights: str(laws.weights_are_shares(weights, mask))  # noqa: E731
    assert "holds" in ask(weights)
    assert "of shape (2, 7, 5) do not fit the mask of shape (5, 7)" in ask(weights.mT)
    assert "but the mask says that this key may not be seen" in ask(scaled_dot_product_attention(q, k, k)[1])
    assert "the weight at (0, 0, 0) is nan" in ask(weights * math.nan)
    assert "the weight at (0, 0, 0) is -" in ask(-weights)
    assert "the weights of row (0, 0) sum to 0.5, not to 1" in ask(weights / 2)
    square = scaled_dot_product_attention(q, q, q)[1]
    assert "sum to" in str(laws.weights_are_shares(square.mT))  # swapped axes, even when they are equally long
    dead = causal_mask(TGT_LEN) & (torch.arange(TGT_LEN) > 0)  # the first query may attend to nothing
    uniform = dead / dead.sum(-1, keepdim=True).clamp(min=1)
    assert laws.weights_are_shares(uniform, dead).holds
    assert "the weights of row (1,) sum to 0, not to 1" in str(laws.weights_are_shares(uniform * 0, dead))


# Scale


@pytest.mark.parametrize("d_head", [2, 3, 16, 64])
def test_scores_are_divided_by_the_root_of_the_width_of_a_head(d_head: int) -> None:
    for attend in (scaled_dot_product_attention, F.scaled_dot_product_attention):
        laws.scores_are_scaled(attend, d_head).require()
    module = MultiHeadAttention(2 * d_head, 2)
    laws.scores_are_scaled(lambda q, k, v: module.attend(q, k, v, None), d_head).require()


@pytest.mark.parametrize(
    ("attend", "fault"),
    [
        (lambda q, k, v: (q @ k.mT).softmax(-1) @ v, "scores are multiplied by 1, not by 1 / sqrt(16) = 0.25"),
        (lambda q, k, v: (q @ k.mT / 8).softmax(-1) @ v, "scores are multiplied by 0.125"),
        (lambda q, k, v: F.normalize((q @ k.mT).exp() + 1, p=1, dim=-1) @ v, "scores are multiplied by"),
        (
            lambda q, k, v: F.normalize((q @ k.mT / 4 + 0.1).exp(), p=2, dim=-1).square() @ v,
            "scores are multiplied by 0.5",
        ),
        (lambda q, k, v: (q @ k.mT / 4 + torch.tensor([1.0, 0.0])).softmax(-1) @ v, "scores are multiplied by"),
    ],
)
def test_another_scale_is_named(attend, fault: str) -> None:
    verdict = laws.scores_are_scaled(attend, 16)
    assert not verdict and fault in str(verdict)


def test_weights_that_are_no_softmax_are_seen_when_the_scale_is_right() -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT / 4
        apart = scores[..., :1] - scores[..., 1:]
        bent = apart + torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0]).double()[:, None] * apart.roll(1, 2).sign() * 1e-2
        bent = bent - apart * ((bent - apart) * apart).sum() / (apart * apart).sum()  # the fitted factor stays
        return torch.cat([bent.sigmoid(), 1 - bent.sigmoid()], -1) @ v

    assert "are not a softmax of the scores" in str(laws.scores_are_scaled(attend, 16))


def test_a_softmax_in_float32_is_no_violation() -> None:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # as in Hugging Face's models
        return torch.softmax(q @ k.mT / q.size(-1) ** 0.5, -1, dtype=torch.float32).to(q.dtype) @ v

    for d_head in (2, 64, 512):
        laws.scores_are_scaled(attend, d_head).require()


def test_the_array_of_a_heat_map_can_be_asked() -> None:
    mask = causal_mask(3)
    weights = scaled_dot_product_attention(torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 4), mask)[1]
    laws.weights_are_shares(weights.numpy(), mask.numpy()).require()
    assert not laws.weights_are_shares(weights.numpy().T, mask.numpy())


# Rows without a key


@pytest.mark.parametrize("dtype", DTYPES)
def test_dead_rows_are_zero(dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(2, 3, n, d, dtype=dtype) for n, d in ((TGT_LEN, 8), (SRC_LEN, 8), (SRC_LEN, 8)))
    for attend in (
        scaled_dot_product_attention,
        F.scaled_dot_product_attention,
        lambda *parts: MultiHeadAttention(24, 3).attend(*parts),
    ):
        laws.dead_rows_are_zero(attend, q, k, v).require()


def _formula(fill: float):
    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return (q @ k.mT).masked_fill(~mask, fill).softmax(-1) @ v

    return attend


def _added_mask(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.mT + torch.where(mask, 0.0, -math.inf)).softmax(-1).nan_to_num() @ v  # hides the NaN, forward only


@pytest.mark.parametrize(
    ("attend", "fault"),
    [
        (_formula(-math.inf), "a query that may attend to nothing got nan"),
        (_formula(-1e9), "a query that may attend to nothing got "),
        (_added_mask, "the gradient of q, k is not finite"),
        (lambda q, k, v, mask: q.mean(-2, keepdim=True) * math.nan + F.pad(v[:, 1:], (0, 0, 1, 0)), "got nan"),
        (
            lambda q, k, v, mask: torch.cat([0 * q[:, :1], q[:, 1:] / 0], dim=1),
            "made the output of another one NaN",
        ),
    ],
)
def test_dead_rows_catch_the_usual_fills(attend, fault: str) -> None:
    q, k, v = torch.rand(2, TGT_LEN, 8) + 1, torch.rand(2, SRC_LEN, 8), torch.rand(2, SRC_LEN, 8)
    verdict = laws.dead_rows_are_zero(attend, q, k, v)
    assert not verdict and fault in str(verdict)


# Modes


@given(p=st.floats(0.1, 0.9), norm_first=st.booleans())
@examples
def test_evaluation_is_deterministic(p: float, norm_first: bool) -> None:
    layer = DecoderLayer(8, 2, 16, p, norm_first).train()
    laws.evaluation_is_deterministic(layer, torch.randn(2, 5, 8), torch.randn(2, 3, 8)).require()
    assert layer.training


def test_a_dropout_that_stays_on_is_caught() -> None:
    class Forgetful(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x, x, dropout_p=0.3)

    verdict = laws.evaluation_is_deterministic(Forgetful(), torch.randn(2, 5, 8))
    assert not verdict and "functional dropout that is not told the mode" in str(verdict)


# Positions


@given(d_model=st.integers(1, 40), max_len=st.integers(3, 80))
@examples
def test_the_distance_decides(d_model: int, max_len: int) -> None:
    laws.distance_decides(sinusoidal_encoding(max_len, 2 * d_model)).require()
    double = PositionalEncoding(2 * d_model, max_len).double().encoding
    laws.distance_decides(double, tolerance=1e-6).require()


@pytest.mark.no_cover
def test_a_long_table_may_round_its_angles() -> None:
    d_model = 16
    p, i = torch.arange(5000.0)[:, None], torch.arange(0, d_model, 2)
    angle = p * torch.exp(i * (-math.log(10000.0) / d_model))  # in float32, as many write it
    laws.distance_decides(torch.stack([angle.sin(), angle.cos()], -1).flatten(1)).require()


def test_the_distance_does_not_decide_for_other_tables() -> None:
    learned = nn.Embedding(9, 8).weight
    assert "though they are as far apart" in str(laws.distance_decides(learned))
    p, i = torch.arange(30.0)[:, None], torch.arange(8)
    angle = p / 10000 ** (2 * i / 8)  # the exponent counts features, so sine and cosine are no pair
    table = torch.where(i % 2 == 0, angle.sin(), angle.cos())
    assert not laws.distance_decides(table)
    assert "two positions at distance 1 have the same encoding" in str(laws.distance_decides(torch.ones(5, 4)))
    circle = torch.arange(9) * math.pi  # once around in two steps
    assert "distance 2 have the same" in str(
        laws.distance_decides(torch.stack([circle.sin(), circle.cos()], 1).round())
    )
    assert not laws.distance_decides(torch.full((4, 4), math.nan))


def test_sizes_balance() -> None:
    ids = torch.arange(500)[None]
    for d_model in (4, 64, 512):
        place = sinusoidal_encoding(500, d_model)
        laws.sizes_balance(TokenEmbedding(500, d_model)(ids), place).require()
    drowned = laws.sizes_balance(nn.Embedding(500, 512)(ids) * 512**0.5, place)
    assert not drowned and "those of positions 0.707. Usual cause: a start with standard deviation 1" in str(drowned)
    assert not laws.sizes_balance(nn.Embedding(500, 512)(ids) * 0.02, place)
    assert not laws.sizes_balance(place * math.nan, place)
    assert not laws.sizes_balance(place * 0, place * 0)


# The norm


@given(d_model=st.integers(2, 65), eps=st.sampled_from([1e-5, 1e-6, 1e-3]), dtype=st.sampled_from(DTYPES[:2]))
@examples
def test_a_fresh_norm_normalises(d_model: int, eps: float, dtype: torch.dtype) -> None:
    laws.normalises(LayerNorm(d_model, eps).to(dtype), d_model).require()
    laws.normalises(nn.LayerNorm(d_model, eps).to(dtype), d_model).require()


def test_an_eps_of_0_is_taken_as_it_is() -> None:
    laws.normalises(nn.LayerNorm(8, eps=0.0), 8).require()


@pytest.mark.parametrize(
    ("norm", "fault"),
    [
        (lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6), "a variance that is off by 0.33"),
        (lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, correction=0, keepdim=True) + 1e-5), "variance"),
        (lambda x: x / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt(), "come out with mean"),
        (lambda x: F.layer_norm(x, (3,)) * (1 + 1e-3 * x.mean(-1, keepdim=True)), "off by"),
        (lambda x: F.layer_norm(x + x.mean(-1, keepdim=True) * torch.tensor([1.0, 0.0, 0.0]), (3,)), "output moves by"),
    ],
)
def test_another_norm_is_caught(norm, fault: str) -> None:
    verdict = laws.normalises(norm, 3)
    assert not verdict
    assert fault in str(verdict) or "off by" in str(verdict)


# Token by token


@given(d_model=st.integers(2, 9), d_ff=st.integers(1, 9), seq=st.integers(2, 6), dtype=dtypes)
@examples
def test_feed_forward_and_norm_go_token_by_token(d_model: int, d_ff: int, seq: int, dtype: torch.dtype) -> None:
    x, other = (torch.randn(2, seq, d_model, dtype=dtype) for _ in range(2))
    for part in (FeedForward(d_model, d_ff), LayerNorm(d_model)):
        laws.token_by_token(part.to(dtype), x, other).require()


def test_what_looks_around_is_caught() -> None:
    x, other = vectors(SRC_LEN, SRC_LEN)
    for f in (
        lambda x: x - x.mean(1, keepdim=True),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: x.roll(1, 1),
        EncoderLayer(D_MODEL, HEADS, D_FF, 0.0),
    ):
        verdict = laws.token_by_token(f, x, other)
        assert not verdict and "with the input at position 0 replaced" in str(verdict)
    past = laws.token_by_token(lambda x: x.cumsum(1).flip(1).cumsum(1).flip(1), x, other)
    assert not past
    last = laws.token_by_token(lambda x: x + F.pad(x[:, -1:], (0, 0, 0, SRC_LEN - 1)), x, other)
    assert not last and "with the input at position 6 replaced, the output at position 0" in str(last)


# Every token counts


@given(data=st.data(), norm_first=st.booleans(), training=st.booleans())
@examples
def test_every_real_token_is_seen(data, norm_first: bool, training: bool) -> None:
    layer = redraw(DecoderLayer(8, 2, 16, 0.0, norm_first)).train(training)
    tgt = torch.randn(2, data.draw(st.integers(1, 4)), 8)
    lengths = torch.tensor([data.draw(st.integers(1, 5)) for _ in range(2)])
    real = torch.arange(5) < lengths[:, None]
    memory, other = torch.randn(2, 2, 5, 8)
    mask = real[:, None, None, :]
    laws.every_token_counts(lambda m: layer(tgt, m, None, mask), memory, other, real).require()
    laws.every_token_counts(lambda x: layer(x, memory, causal_mask(5), mask), other, memory).require()


def test_a_mask_that_hides_too_much_is_caught() -> None:
    layer, (tgt, memory, other) = redraw(DecoderLayer(D_MODEL, HEADS, D_FF, 0.0)), vectors(TGT_LEN, SRC_LEN, SRC_LEN)
    target_mask = torch.ones(TGT_LEN, SRC_LEN, dtype=torch.bool).tril()  # the target's causal mask, laid on the source
    verdict = laws.every_token_counts(lambda m: layer(tgt, m, None, target_mask), memory, other)
    assert not verdict and "position 5 of sequence 0 can be replaced, and no output notices" in str(verdict)
    inverted = ~ragged()[:, None, None, :]
    assert not laws.every_token_counts(lambda m: layer(tgt, m, None, inverted), memory, other, ragged())
    first_only = torch.arange(TGT_LEN).expand(BATCH, TGT_LEN) == 0
    seen = laws.every_token_counts(lambda x: layer(x, memory, causal_mask(TGT_LEN)), *vectors(TGT_LEN, TGT_LEN))
    unseen = laws.every_token_counts(
        lambda x: layer(x, memory, causal_mask(TGT_LEN)), *vectors(TGT_LEN, TGT_LEN), real_outputs=first_only
    )
    assert seen.holds and not unseen.holds


def test_an_output_without_a_number_notices_nothing() -> None:
    x, other = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert not laws.every_token_counts(lambda x: x * math.nan, x, other)
    dead = torch.tensor([1.0, 1.0, math.nan])[:, None]  # an output that is NaN does not hide the others
    laws.every_token_counts(lambda x: x.sum(1, keepdim=True) + 0 * x + dead, x, other).require()


def test_few_digits_do_not_hide_a_token() -> None:
    x, other = torch.randn(2, 2, 16, 8)
    mean = lambda x: x.mean(1, keepdim=True) + 0 * x  # noqa: E731
    laws.every_token_counts(lambda x: mean(x).bfloat16(), x, other).require()


# Layers


@given(n_layers=st.integers(2, 4), norm_first=st.booleans())
@examples
def test_layers_are_distinct(n_layers: int, norm_first: bool) -> None:
    laws.layers_are_distinct(Encoder(n_layers, 8, 2, 16, norm_first=norm_first).layers).require()


def test_copies_and_shared_layers_are_caught() -> None:
    layer = EncoderLayer(8, 2, 16)
    torchs = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3)
    verdict = laws.layers_are_distinct(torchs.layers)  # torch makes its layers by deepcopy
    assert not verdict and "layers 0 and 1 begin with the same" in str(verdict)
    assert "layers 0 and 2 share" in str(laws.layers_are_distinct([layer, EncoderLayer(8, 2, 16), layer]))
    half = copy.deepcopy(layer)
    nn.init.normal_(half.feed_forward.fc1.weight)
    assert not laws.layers_are_distinct([layer, half])
    assert laws.layers_are_distinct([nn.Sequential(LayerNorm(4), nn.Linear(4, 4)) for _ in range(2)])


# How a model begins


@given(tied=st.booleans(), norm_first=st.booleans(), vocab=st.integers(50, 300), heads=st.integers(1, 4))
@examples
def test_an_untrained_model_is_unsure(tied: bool, norm_first: bool, vocab: int, heads: int) -> None:
    sizes = dict(d_model=16 * heads, n_heads=heads, d_ff=32, tie_embeddings=tied, norm_first=norm_first, dropout=0.0)
    torch.manual_seed(heads)
    model = Transformer(TransformerConfig(src_vocab_size=vocab, tgt_vocab_size=vocab, **sizes))
    src, tgt = torch.randint(3, vocab, (2, 8, 12))
    logits = model(src, tgt)
    laws.untrained_loss(logits).require()
    laws.untrained_loss(logits[:, :-1], tgt[:, 1:]).require()


def test_a_start_that_is_too_sure_is_caught() -> None:
    config = tiny_config(tie_embeddings=True, d_model=256, n_heads=4, tgt_vocab_size=500)
    model = Transformer(config)
    nn.init.normal_(model.tgt_embedding.weight)
    logits = model(source_ids(), torch.randint(3, 500, (BATCH, 9)))
    verdict = laws.untrained_loss(logits)
    assert not verdict and "ln(500) is 6.21" in str(verdict)
    assert not laws.untrained_loss(logits * math.nan)


# Targets and losses


@given(vocab=st.integers(3, 9), smoothing=st.floats(0, 0.5), pad=st.integers(0, 2))
@examples
def test_smoothed_targets_are_distributions(vocab: int, smoothing: float, pad: int) -> None:
    targets = torch.randint(0, vocab, (2, 5))
    rows = smoothed_targets(targets, vocab, smoothing if vocab > 3 else 0.0, pad)
    laws.targets_are_distributions(rows, targets, pad).require()


def test_other_smoothings_are_caught() -> None:
    targets = torch.tensor([[3, 1, 0], [2, 0, 0]])
    rows = smoothed_targets(targets, 5, 0.1, 0)
    spread = torch.full((2, 3, 5), 0.1 / 4).scatter(-1, targets[..., None], 0.9)  # the share includes padding
    assert "gives padding 0.025" in str(laws.targets_are_distributions(spread * (targets != 0)[..., None], targets, 0))
    assert "the row at (0, 2) sums to 1" in str(laws.targets_are_distributions(spread, targets, 0))
    assert "the row at (0, 0) sums to 0.9333" in str(
        laws.targets_are_distributions(rows - F.pad(rows[..., 1:2] * 2, (1, 3)), targets, 0)
    )
    moved = rows.roll(1, -1) * (torch.arange(5) != 0)
    assert not laws.targets_are_distributions(moved, targets, 0)
    wrong = torch.where(targets[..., None] != 0, torch.tensor([0, 0.2, 0.2, 0.2, 0.4]), 0.0)
    assert "less than another, whose share is 0.4" in str(laws.targets_are_distributions(wrong, targets, 0))
    negative = torch.where(targets[..., None] != 0, torch.tensor([0, 0.5, 0.5, 0.5, -0.5]), 0.0)
    assert "has a negative share, -0.5" in str(laws.targets_are_distributions(negative, targets, 0))


@given(smoothing=st.sampled_from([0.0, 0.1]), dtype=dtypes, pad=st.integers(0, 4))
@examples
def test_the_loss_adds_up(smoothing: float, dtype: torch.dtype, pad: int) -> None:
    targets = torch.randint(5, 11, (BATCH, SRC_LEN)).masked_fill(~ragged(), pad)
    logits = torch.randn(BATCH, SRC_LEN, 11, dtype=dtype)
    loss = lambda logits, targets: token_loss(logits, targets, pad_id=pad, smoothing=smoothing)  # noqa: E731
    laws.loss_adds_up(loss, logits, targets, pad, tolerance=0.02 if dtype == torch.bfloat16 else None).require()


def test_means_of_means_and_counted_padding_are_caught() -> None:
    targets = torch.randint(1, 11, (BATCH, SRC_LEN)).masked_fill(~ragged(), 0)
    logits = torch.randn(BATCH, SRC_LEN, 11)
    one = torch.tensor(1)
    mean = lambda logits, targets: (F.cross_entropy(logits.mT, targets, ignore_index=0), one)  # noqa: E731
    assert "its sentences one by one" in str(laws.loss_adds_up(mean, logits, targets, 0))
    all_of_it = lambda a, b: (F.cross_entropy(a.mT, b, reduction="sum"), torch.tensor(b.numel()))  # noqa: E731
    assert not laws.loss_adds_up(all_of_it, logits, targets, 0)

    def columns(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        total, number = token_loss(logits, targets, pad_id=0)
        return total, number + (targets.size(1) > SRC_LEN)

    assert "with one more column of padding the mean goes from" in str(laws.loss_adds_up(columns, logits, targets, 0))


def test_a_loss_by_sentence_a_loss_in_place_and_padding_on_the_left() -> None:
    targets = torch.randint(1, 11, (BATCH, SRC_LEN)).masked_fill(~ragged(), 0)
    logits = torch.randn(BATCH, SRC_LEN, 11)
    by_sentence = lambda a, b: (token_loss(a, b, pad_id=0)[0], torch.tensor(len(b)))  # noqa: E731
    verdict = laws.loss_adds_up(by_sentence, logits, targets, 0)
    assert not verdict and f"the number is {BATCH}, but {int(ragged().sum())} tokens are real" in str(verdict)
    own, before = lambda a, b: token_loss(a, b, pad_id=0), logits.clone()
    laws.loss_adds_up(own, logits, targets.flip(1), 0).require()
    laws.loss_adds_up(own, logits, targets * (torch.arange(BATCH) > 0)[:, None], 0).require()  # a sentence of padding
    laws.loss_adds_up(lambda a, b: own(a.mul_(2), b), logits, targets, 0).require()
    assert torch.equal(logits, before)


# Greedy answers


class Impatient(Transformer):
    """The later it gets, the likelier it ends: its answers have different lengths."""

    def decode(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, cache=None) -> Tensor:
        logits = super().decode(tgt_ids, memory, memory_mask, cache)
        start = 0 if cache is None else cache.length - tgt_ids.size(1)
        logits[..., self.config.eos_id] += 0.7 * torch.arange(start, start + tgt_ids.size(1)) - 1
        return logits


def _impatient() -> Transformer:
    return redraw(Impatient(tiny_config(max_len=20))).eval()


@given(use_cache=st.booleans(), seed=st.integers(0, 50), longest=st.integers(1, 12))
@examples
def test_greedy_answers_are_what_the_logits_say(use_cache: bool, seed: int, longest: int) -> None:
    torch.manual_seed(seed)
    model, src = _impatient(), source_ids()
    answer = greedy_decode(model, src, max_new_tokens=longest, use_cache=use_cache)
    laws.answer_is_greedy(model, src, answer, max_new_tokens=longest).require()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_decides_ties(dtype: torch.dtype) -> None:
    for seed in range(4):
        torch.manual_seed(seed)
        model, src = redraw(Transformer(tiny_config(max_len=20))).to(dtype), source_ids()
        answer = greedy_decode(model, src, max_new_tokens=12)
        laws.answer_is_greedy(model, src, answer, max_new_tokens=12).require()


def test_answers_that_are_not_greedy_are_caught() -> None:
    torch.manual_seed(5)
    model, src = _impatient(), source_ids()
    answer = greedy_decode(model, src, max_new_tokens=12)
    ask = lambda answer, **options: str(laws.answer_is_greedy(model, src, answer, **options))  # noqa: E731
    assert "holds" in ask(answer)
    assert "token 0 of answer 0 is" in ask(torch.where(answer == answer[0, 0], 5 + (answer == 5).long(), answer))
    ends = (answer == 2).int().argmax(1)
    row, at = int(ends.argmin()), int(ends.min())
    assert at < ends.max()  # or this test would show nothing
    longer = torch.cat([answer, torch.zeros_like(answer[:, :1])], dim=1)
    longer[row, at + 1] = 7
    assert f"answer {row} goes on after its EOS, with 7 at position {at + 1}" in ask(longer)
    assert "but the decoder was told to stop after" in ask(answer, max_new_tokens=answer.size(1) - 1)
    early = answer[:, : at + 1]  # all stop when the first one does
    assert f"but ends after {at + 1} of 12 tokens" in ask(early, max_new_tokens=12)


X = torch.zeros(2, 3, 4)
IDS = torch.ones(2, 3, dtype=torch.int64)
RAGGED = torch.tensor([[3, 1, 2], [3, 0, 0]])


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda: laws.weights_are_shares(IDS), r"weights must be numbers .* got torch.int64 \(2, 3\)"),
        (lambda: laws.weights_are_shares(torch.zeros(3)), r"got torch.float32 \(3,\)"),
        (lambda: laws.weights_are_shares(X[:0]), r"got torch.float32 \(0, 3, 4\)"),
        (lambda: laws.weights_are_shares(X, X), "mask must be boolean .* got torch.float32"),
        (lambda: laws.scores_are_scaled(scaled_dot_product_attention, 1), "d_head must be at least 2, got 1"),
        (
            lambda: laws.dead_rows_are_zero(scaled_dot_product_attention, X[:, :1], X, X),
            "query needs at least 2 positions, .* got 1",
        ),
        (lambda: laws.distance_decides(X), r"max_len at least 3, got \(2, 3, 4\)"),
        (lambda: laws.distance_decides(torch.zeros(2, 4)), r"got \(2, 4\)"),
        (lambda: laws.sizes_balance(X, X[..., :3]), "one width, got 4 and 3"),
        (lambda: laws.normalises(LayerNorm(1), 1), "d_model must be at least 2, got 1"),
        (lambda: laws.token_by_token(lambda x: x, X, X), "such a test cannot fail"),
        (lambda: laws.token_by_token(lambda x: x, X[:, :1], X[:, :1] + 1), "at least 2 positions"),
        (lambda: laws.every_token_counts(lambda x: x, X, X), "such a test cannot fail"),
        (lambda: laws.layers_are_distinct([nn.Linear(2, 2)]), "at least two layers with weights, got 1"),
        (lambda: laws.layers_are_distinct([nn.ReLU(), nn.ReLU()]), "at least two layers with weights, got 2"),
        (lambda: laws.untrained_loss(X[..., :1]), r"got \(2, 3, 1\) and None"),
        (lambda: laws.untrained_loss(X, IDS[0]), r"got \(2, 3, 4\) and \(3,\)"),
        (
            lambda: laws.targets_are_distributions(X, IDS[0], 0),
            r"rows must have shape \(3,\) \+ \(vocab,\), got \(2, 3, 4\)",
        ),
        (lambda: laws.loss_adds_up(token_loss, X, IDS, 0), "sentences of different lengths"),
        (lambda: laws.answer_is_greedy(None, IDS, IDS[0]), r"answer must have shape \(2, tgt_len\), got \(3,\)"),
        (lambda: laws.answer_is_greedy(None, IDS, IDS[:1]), r"got \(1, 3\)"),
        (lambda: laws.answer_is_greedy(None, IDS, IDS[:, :0]), r"got \(2, 0\)"),
        (
            lambda: laws.weights_are_shares((X, X)),
            "weights must be one tensor or array, got tuple; of several pick one",
        ),
        (lambda: laws.weights_are_shares(X, "causal"), "mask must be boolean .* got str"),
        (lambda: laws.scores_are_scaled(scaled_dot_product_attention, 8.0), "d_head a whole number, got .* 8.0"),
        (lambda: laws.scores_are_scaled(lambda q, k, v: None, 8), "attend must return a tensor, .* got NoneType"),
        (
            lambda: laws.scores_are_scaled(lambda q, k, v: q[0], 8),
            r"attend must give one vector per query, \(1, 1, 5, 8\), got \(1, 5, 8\)",
        ),
        (lambda: laws.dead_rows_are_zero(F.scaled_dot_product_attention, X, X, X), "value numbers other than 0"),
        (lambda: laws.dead_rows_are_zero(F.scaled_dot_product_attention, IDS, X, X), "query must be a tensor of float"),
        (lambda: laws.dead_rows_are_zero(F.scaled_dot_product_attention, X, X, None), "value must be .* got NoneType"),
        (lambda: laws.dead_rows_are_zero(F.scaled_dot_product_attention, X[..., :2], X, X + 1), "must have one width"),
        (lambda: laws.dead_rows_are_zero(lambda q, k, v, m: None, X, X, X + 1), "must return a tensor, .* NoneType"),
        (lambda: laws.dead_rows_are_zero(lambda q, k, v, m: q.detach(), X, X, X + 1), "attend must be differentiable"),
        (lambda: laws.dead_rows_are_zero(lambda q, k, v, m: q.mean(1), X, X, X + 1), "one vector per query"),
        (lambda: laws.distance_decides(None), "encoding must be a tensor .* got NoneType"),
        (lambda: laws.distance_decides(IDS), "encoding must be a tensor of floating-point numbers"),
        (lambda: laws.sizes_balance(IDS, X), "tokens must be a tensor of floating-point numbers"),
        (lambda: laws.normalises(lambda x: nn.LayerNorm(4)(x), 4), "norm must take torch.float64 vectors of width 4"),
        (lambda: laws.normalises(nn.LayerNorm(8), 4), "norm must take torch.float32 vectors of width 4"),
        (lambda: laws.normalises(lambda x: x.mean(-1), 4), r"norm must keep the shape \(2, 3, 4\), got \(2, 3\)"),
        (lambda: laws.every_token_counts(lambda x: x, X, X + F.pad(X[:, 1:] + 1, (0, 0, 1, 0))), r"agree at \(0, 0\)"),
        (lambda: laws.every_token_counts(lambda x: x, IDS, torch.tensor([[2, 2, 2], [2, 1, 2]])), r"agree at \(1, 1\)"),
        (
            lambda: laws.every_token_counts(lambda x: x, X, X + 1, IDS == 0),
            "such a test cannot fail .* no token is real",
        ),
        (lambda: laws.every_token_counts(lambda x: x, X, X + 1, IDS), "real must be boolean .* got torch.int64"),
        (lambda: laws.every_token_counts(lambda x: x.mean(), X, X + 1), r"the output must have shape .* got \(\)"),
        (
            lambda: laws.every_token_counts(lambda x: x, X, X + 1, real_outputs=IDS == 0),
            "real_outputs must hold an output of every sequence",
        ),
        (lambda: laws.layers_are_distinct(nn.Linear(2, 2)), r"at least two layers with weights, got 1 \(Linear\)"),
        (
            lambda: laws.layers_are_distinct(nn.ModuleDict({"a": nn.Linear(2, 2)})),
            r"got 1 \(ModuleDict\); hand in a list",
        ),
        (lambda: laws.layers_are_distinct([nn.Linear(2, 3), nn.Linear(4, 5)]), "two layers of one kind"),
        (lambda: laws.untrained_loss(X, IDS - 101), "targets must be ids from 0 to 3"),
        (lambda: laws.untrained_loss(X, IDS + 3), "targets must be ids from 0 to 3"),
        (lambda: laws.untrained_loss(torch.randn(2, 3, 4).softmax(-1)), "logits must come before any softmax"),
        (lambda: laws.untrained_loss(X[:0]), r"logits must hold numbers, got shape \(0, 3, 4\)"),
        (lambda: laws.targets_are_distributions(X, IDS, -100), "ids from 0 to 3, got .* and -100"),
        (lambda: laws.targets_are_distributions(X, IDS + 3, 0), "targets and padding must be ids from 0 to 3"),
        (lambda: laws.loss_adds_up(lambda a, b: a.sum(), X, RAGGED, 0), "total and a number .* of a mean hand in"),
        (lambda: laws.loss_adds_up(lambda a, b: (a.sum(), 0), X, RAGGED, 0), "a number of tokens above 0"),
        (lambda: laws.loss_adds_up(None, X, RAGGED, 0), "loss must be a function, got NoneType"),
        (lambda: laws.loss_adds_up(token_loss, X[:, :2], RAGGED, 0), r"logits must have shape \(2, 3\) \+ \(vocab,\)"),
        (lambda: laws.answer_is_greedy(None, IDS, IDS), "model must have encode, decode, config, got NoneType"),
        (
            lambda: laws.answer_is_greedy(_impatient(), IDS, torch.tensor([[5, -100], [5, 6]])),
            "answer and padding must be ids",
        ),
        (lambda: laws.HuggingFace(nn.Linear(2, 2)), "model must be an encoder-decoder with one id each in its config"),
    ],
)
def test_a_question_that_cannot_fail_is_refused(ask, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ask()


def test_every_law_says_in_its_docstring_where_it_is_stated_first() -> None:
    chapters = [int(law.__doc__.split("irst stated in chapter ")[1].split(".")[0]) for law in laws.LAWS]
    assert chapters == sorted(chapters) and len(laws.LAWS) >= 12
    assert {law.__name__ for law in laws.LAWS} == set(laws.__all__) - {"LAWS", "HuggingFace", "LawViolation", "Verdict"}


def test_padding_of_the_model_is_what_the_laws_are_asked_about() -> None:
    assert torch.equal(padding_mask(source_ids(), 0)[:, 0, 0], ragged())


def test_a_norm_that_is_none_is_refused_and_one_that_shifts_is_caught() -> None:
    with pytest.raises(ValueError, match="norm must be a function and d_model a whole number, got 3 and 4"):
        laws.normalises(3, 4)

    def level(x: Tensor) -> Tensor:  # right while the level of a token is small
        return F.layer_norm(x, (4,)) * torch.where(x.mean(-1, keepdim=True) > 0.4, -1.0, 1.0)

    assert "with 0.5 added to all features, the output moves by" in str(laws.normalises(level, 4))


def test_an_output_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing to compare: the output has shape \(2, 3, 0\)"):
        laws.train_equals_eval(nn.Identity(), torch.zeros(2, 3, 0))
