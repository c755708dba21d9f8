"""Batches: every pair once in an epoch, little padding, and a long pair costs no more than its tokens."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_lib.data import numbers
from transformer_lib.data.batches import TokenBatches, pad_sequences

PAIRS = numbers.encode_pairs(numbers.spell(numbers.draw_numbers(300, seed=1)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pad_sequences([]), "at least one sequence"),
        (lambda: pad_sequences([[3], []]), "sequence 1 is empty; drop it or keep at least one token"),
        (lambda: TokenBatches([]), "pairs must hold at least one sentence pair, got none"),
        (lambda: TokenBatches([([3], [1, 4, 5])], batch_tokens=1), r"batch_tokens \(1\) must hold the .*has 2 tokens"),
    ],
)
def test_errors(call, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_long_pair_costs_no_more_than_its_tokens():
    """20,000 short pairs and a source of 5,000 tokens were once kept as one padded matrix of 763 MB."""
    pairs = [([5] * 10, [1] + [6] * 10 + [2])] * 2000
    pairs[7] = ([5] * 5000, [1, 6, 2])
    batches = TokenBatches(pairs, batch_tokens=4096)
    kept = sum(x.numel() for part in (batches.sources, batches.targets) for x in vars(part).values())
    assert kept <= sum(len(src) + len(tgt) for src, tgt in pairs) + 4 * len(pairs)
    widths = [batches.take(rows).src_ids.size(1) for rows in batches.epoch(0)]
    assert sorted(set(widths)) == [10, 5000] and widths.count(5000) == 1


def test_pad_sequences(without_shape_checks):
    assert pad_sequences([[3], [4, 5]], pad_id=9).tolist() == [[3, 9], [4, 5]]
    want = [[3, 4], [5, 0]]
    assert pad_sequences([np.array([3, 4]), torch.tensor([5])]).tolist() == want
    assert pad_sequences(torch.tensor(want)).tolist() == want


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 500), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_holds_every_pair_once_and_batches_fit(batch_tokens, seed, epoch):
    batches = TokenBatches(PAIRS[:100], batch_tokens=batch_tokens, seed=seed)
    order = batches.epoch(epoch)
    assert sorted(torch.cat(order).tolist()) == list(range(100))
    for rows in order:
        src_ids, tgt_ids = batches.take(rows)
        assert tgt_ids[:, 1:].numel() <= batch_tokens
        assert (tgt_ids[:, -1] != 0).any()
        assert (src_ids[:, -1] != 0).any()
        for row, src, tgt in zip(rows.tolist(), src_ids.tolist(), tgt_ids.tolist(), strict=True):
            assert [i for i in src if i] == PAIRS[row][0]
            assert [i for i in tgt if i] == PAIRS[row][1]


def test_order_depends_on_seed_and_epoch_only():
    batches = TokenBatches(PAIRS, batch_tokens=100, seed=3)
    first = [rows.tolist() for rows in batches.epoch(4)]
    random.random(), torch.rand(3)
    assert [rows.tolist() for rows in batches.epoch(4)] == first
    assert [rows.tolist() for rows in batches.epoch(5)] != first
    assert [rows.tolist() for rows in TokenBatches(PAIRS, batch_tokens=100, seed=4).epoch(4)] != first


def test_bucketing_saves_padding():
    batches = TokenBatches(PAIRS, batch_tokens=200)

    def padding(order):
        targets = torch.cat([batches.take(rows).tgt_ids.flatten() for rows in order])
        return (targets == 0).double().mean().item()

    assert padding(batches.epoch(0)) < 0.06 < 0.1 < padding(batches.in_order())
