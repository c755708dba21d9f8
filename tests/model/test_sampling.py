"""Sampling: the right share of each token, the cuts exact, and neither the cache nor other settings in the way."""

import math

import pytest
import questions
import torch
from helpers import SOURCES, lively_model
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_lib.data.batches import pad_sequences
from transformer_lib.decoding import greedy_decode, next_log_probs
from transformer_lib.sampling import draw_tokens, keep_top_k, keep_top_p, sample_decode

SRC_IDS = pad_sequences(SOURCES)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_nucleus_by_hand():
    questions.the_nucleus_reaches_its_share()


def test_the_likeliest_by_hand():
    logits = torch.tensor([[1.0, 5.0, 3.0, 4.0], [0.0, -9.0, -3.0, -1.0]])
    inf = math.inf
    assert keep_top_k(logits, 2).tolist() == [[-inf, 5.0, -inf, 4.0], [0.0, -inf, -inf, -1.0]]
    assert torch.equal(keep_top_k(logits, 4), logits)
    assert torch.equal(keep_top_k(logits, 99), logits)
    assert keep_top_k(torch.zeros(5), 2).isfinite().sum() == 2  # of equals, just so many


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=12), st.floats(0, 1, exclude_min=True), st.integers(1, 14))
@settings(max_examples=300, deadline=None)
def test_cuts_are_the_smallest_sets(logits, p, k):
    x = torch.tensor(logits, dtype=torch.float64)
    probs = x.softmax(-1)
    kept = keep_top_p(x, p).isfinite()
    mass = probs[kept].sum().item()
    assert mass >= p - 1e-12
    assert mass - probs[kept].min().item() < p + 1e-12  # without its least it would not reach p
    assert probs[kept].min() >= probs[~kept].max() if (~kept).any() else True
    assert torch.equal(keep_top_p(x, p)[kept], x[kept])
    best = keep_top_k(x, k).isfinite()
    assert best.sum() == min(k, len(x))
    assert x[best].min() >= x[~best].max() if (~best).any() else True


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({}, lambda x: x),
        ({"temperature": 0.5}, lambda x: x / 0.5),
        ({"temperature": 3.0}, lambda x: x / 3.0),
        ({"top_k": 2}, lambda x: keep_top_k(x, 2)),
        ({"top_p": 0.7}, lambda x: keep_top_p(x, 0.7)),
        ({"temperature": 2.0, "top_k": 3, "top_p": 0.6}, lambda x: keep_top_p(keep_top_k(x / 2.0, 3), 0.6)),
    ],
)
def test_tokens_come_in_their_share(options, change):
    model, n = lively_model(3).eval(), 4000
    source = torch.tensor([SOURCES[0]])
    memory, mask = model.encode(source)
    expected = change(next_log_probs(model, torch.tensor([[1]]), memory, mask)).softmax(-1)[0]
    drawn = sample_decode(model, source.expand(n, -1), max_new_tokens=1, generator=chance(), **options)[:, 0]
    shares = torch.bincount(drawn, minlength=7) / n
    assert (shares[expected == 0] == 0).all()
    assert (shares - expected).abs().max() < 4 * math.sqrt(0.25 / n)  # four standard deviations


def test_a_draw_is_the_same_from_log_probabilities_and_never_what_is_ruled_out():
    logits = torch.randn(500, 7, generator=chance(1))
    logits[:, [0, 1]] = -math.inf
    options = dict(temperature=1.5, top_k=4, top_p=0.9)
    drawn = draw_tokens(logits, generator=chance(2), **options)
    assert drawn.shape == (500,) and set(drawn.tolist()) == {2, 3, 4, 5, 6}
    assert torch.equal(drawn, draw_tokens(logits.log_softmax(-1), generator=chance(2), **options))
    for wrong in ({"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            draw_tokens(logits, **wrong)


def test_next_tokens_depend_on_those_before():
    model, n = lively_model(2).eval(), 3000
    source = torch.tensor([SOURCES[2]])
    memory, mask = model.encode(source)
    drawn = sample_decode(model, source.expand(n, -1), max_new_tokens=2, generator=chance(1))
    first = int(drawn[drawn[:, 0] != 2, 0].mode().values)
    after = drawn[drawn[:, 0] == first, 1]
    expected = next_log_probs(model, torch.tensor([[1, first]]), memory, mask).exp()[0]
    shares = torch.bincount(after, minlength=7) / len(after)
    assert len(after) > 300
    assert (shares - expected).abs().max() < 4 * math.sqrt(0.25 / len(after))


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-3}])
def test_the_limits_are_greedy(options):
    for seed in range(4):
        model = lively_model(seed)
        greedy = greedy_decode(model, SRC_IDS, max_new_tokens=9)
        assert torch.equal(sample_decode(model, SRC_IDS, max_new_tokens=9, generator=chance(), **options), greedy)


def test_the_cache_and_the_seed():
    for seed in range(4):
        model = lively_model(seed)
        options = dict(max_new_tokens=12, temperature=1.5)
        a = sample_decode(model, SRC_IDS, generator=chance(7), **options)
        assert torch.equal(a, sample_decode(model, SRC_IDS, generator=chance(7), use_cache=False, **options))
        torch.manual_seed(7)
        assert torch.equal(a, sample_decode(model, SRC_IDS, **options))
        assert not torch.equal(a, sample_decode(model, SRC_IDS, generator=chance(8), **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(temperature=0), "temperature must be a finite number above 0, got 0"),
        (dict(temperature=-1.0), "temperature must be a finite number above 0, got -1.0"),
        (dict(temperature=math.inf), "temperature must be a finite number above 0, got inf"),
        (dict(top_k=0), "k must be a whole number of at least 1, got 0"),
        (dict(top_p=0.0), "top_p must be above 0 and at most 1, got 0.0"),
        (dict(top_p=1.5), "top_p must be above 0 and at most 1, got 1.5"),
        (dict(max_new_tokens=18), r"max_new_tokens \(18\) must be at most the model's max_len \(17\)"),
    ],
)
def test_errors(options, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        sample_decode(lively_model(), SRC_IDS, **{"max_new_tokens": 5, **options})
