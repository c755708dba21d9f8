"""The number words, the vocabulary and the batches."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_lib.batching import TokenBatches, pad_sequences
from transformer_lib.data import numbers
from transformer_lib.data.vocabulary import Vocabulary

PAIRS = numbers.encode_pairs(numbers.number_pairs(300, seed=1))


def test_the_running_example():
    pair = numbers.number_pair(321)
    assert pair.english == "three hundred twenty one".split()
    assert pair.german == "drei hundert ein und zwanzig".split()
    assert numbers.join_german(pair.german) == "dreihunderteinundzwanzig"


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 999_999))
def test_spelling_can_be_read_back(number):
    pair = numbers.number_pair(number)
    assert numbers.read_english(pair.english) == number
    assert numbers.split_german(numbers.join_german(pair.german)) == pair.german
    numbers.english_vocabulary().encode(pair.english)
    numbers.german_vocabulary().encode(pair.german)


@pytest.mark.no_cover
def test_ein_and_eins():
    """*eins* stands at the very end of a number and nowhere else; num2words writes *einhunderteinstausend*."""
    assert numbers.join_german(numbers.number_pair(101_000).german) == "einhunderteintausend"
    assert numbers.join_german(numbers.number_pair(301_001).german) == "dreihunderteintausendeins"
    for pair in numbers.number_pairs(2000, seed=3):
        assert "eins" not in pair.german[:-1]
        assert pair.german[-1] != "ein"


@pytest.mark.no_cover
def test_every_morpheme_and_word_is_needed():
    pairs = [*numbers.number_pairs(3000, seed=0), numbers.number_pair(0)]
    assert {token for pair in pairs for token in pair.english} == set(numbers.ENGLISH)
    assert {token for pair in pairs for token in pair.german} == set(numbers.GERMAN)
    assert (len(numbers.english_vocabulary()), len(numbers.german_vocabulary())) == (33, 35)


def test_longest_morpheme_first():
    assert numbers.split_german("einhunderteins") == ["ein", "hundert", "eins"]
    assert numbers.split_german("dreizehn") == ["dreizehn"]
    with pytest.raises(ValueError, match="'dreimillionen' is not made of German number morphemes"):
        numbers.split_german("dreimillionen")


def test_split_english_takes_what_people_write():
    assert numbers.split_english(" Three Hundred AND twenty-one, ") == "three hundred twenty one".split()


@pytest.mark.parametrize(
    "text",
    [
        "twenty hundred",
        "one one",
        "hundred",
        "twenty eleven",
        "one thousand thousand",
        "zero one",
        "thousand thousand thousand",
    ],
)
def test_words_that_are_no_number(text):
    with pytest.raises(ValueError, match=f"'{text}' is not how English says a number"):
        numbers.read_english(text.split())


@pytest.mark.parametrize("number", [-1, 1_000_000, True])
def test_number_out_of_range(number):
    with pytest.raises(ValueError, match="whole number from 0 to 999,999"):
        numbers.number_pair(number)


@pytest.mark.no_cover
def test_no_test_number_was_seen():
    for seed in range(3):
        train, test = numbers.split_numbers(500, 100, seed)
        seen, unseen = [pair.number for pair in train], [pair.number for pair in test]
        assert (len(set(seen)), len(set(unseen))) == (500, 100)
        assert not set(seen) & set(unseen)
        assert unseen[0] == 321
        assert set(numbers.SINGLE_WORDS) <= set(seen)
    assert numbers.split_numbers(500, 100, 2) == (train, test)
    assert numbers.split_numbers(500, 100, 3) != (train, test)


def test_three_in_a_hundred_are_small():
    drawn = numbers.draw_numbers(11_000, seed=0)
    assert len(set(drawn)) == 11_000
    assert sum(number < 1000 for number in drawn) == 330


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: numbers.split_numbers(27, 5, 0), "n_train must be at least 28.*got 27"),
        (lambda: numbers.split_numbers(30, 0, 0), "n_test must be a whole number of at least 1, got 0"),
        (lambda: numbers.draw_numbers(30_001, 0), "n must be at most 30000, got 30001"),
        (lambda: Vocabulary(["a", "b", "a"]), "more than once: a"),
        (lambda: Vocabulary(["a", "<pad>"]), "more than once: <pad>"),
        (
            lambda: Vocabulary(["one", "two"]).encode(["one", "three"]),
            "unknown token 'three'; the vocabulary knows one, two",
        ),
        (lambda: Vocabulary(["one"]).decode([4]), r"token id 4 is outside the vocabulary of 4 tokens \(0 to 3\)"),
        (lambda: pad_sequences([]), "at least one sequence"),
        (lambda: pad_sequences([[3], []]), "sequence 1 holds no token but padding"),
        (lambda: pad_sequences([[0, 0]]), "sequence 0 holds no token but padding"),
        (lambda: TokenBatches([]), "at least one sentence pair"),
        (lambda: TokenBatches(PAIRS, batch_tokens=0), "batch_tokens must be a whole number of at least 1, got 0"),
        (
            lambda: TokenBatches([([3], [1, 4, 5, 2])], batch_tokens=2),
            r"batch_tokens \(2\) must hold the longest target, which has 3 tokens",
        ),
        (lambda: Vocabulary("abc"), "tokens must be a list of texts, got 'abc'; cut a text into tokens first"),
        (lambda: Vocabulary(["one", 2]), "each token must be a text of at least one letter, got 2"),
        (lambda: Vocabulary(["one", ""]), "each token must be a text of at least one letter, got ''"),
        (lambda: Vocabulary(["one"]).encode("one"), "tokens must be a list of texts, got 'one'"),
        (lambda: Vocabulary(["one"]).decode([2.5]), "ids must be a list of token ids, whole numbers; 'float' object"),
        (lambda: pad_sequences([[3, 2.5]]), "sequences must be a list of lists of token ids, whole numbers; 'float'"),
        (lambda: pad_sequences(None), "sequences must be a list of lists of token ids, whole numbers; 'NoneType'"),
        (lambda: pad_sequences([[3], [4, -1]]), "sequence 1 holds -1 to 4; token ids are whole numbers from 0"),
        (lambda: pad_sequences([[3]], pad_id=0.5), "pad_id must be a whole number of at least 0, got 0.5"),
        (lambda: TokenBatches(x for x in PAIRS), "at least one sentence pair, got generator; make a list of it"),
        (lambda: TokenBatches([([3], [1, 2]), 5]), r"pair 1 must be \(source ids, target ids\), got 5"),
        (lambda: TokenBatches([([3], [1])]), r"target of pair 0 must hold BOS and at least one token more, got \[1\]"),
        (lambda: TokenBatches([([3], [1, 0])]), "sequence 0 holds no token but padding"),
        (lambda: TokenBatches(PAIRS, seed=None), "seed must be a whole number of at least 0, got None"),
        (lambda: TokenBatches(PAIRS).epoch(-1), "epoch must be a whole number of at least 0, got -1"),
        (
            lambda: TokenBatches(PAIRS).take([0]),
            r"rows must be a tensor of integer token ids \(torch.int64\), got list",
        ),
        (lambda: TokenBatches(PAIRS).take(torch.tensor([10**6])), "token id 1000000 in rows is outside"),
        (lambda: TokenBatches(PAIRS).take(torch.tensor([], dtype=torch.int64)), "rows must be .* at least 1, got 0"),
        (lambda: TokenBatches(PAIRS).cut(torch.tensor([[0]])), r"order must be one row on the CPU, got shape \(1, 1\)"),
        (lambda: numbers.read_english(["<pad>"]), "unknown token '<pad>'; English number words are zero, one, two"),
        (lambda: numbers.read_english("one hundred hundred hundred thousand".split()), "is not how English says"),
        (lambda: numbers.split_english(5), "text must be a str, got 5"),
        (lambda: numbers.split_german(None), "word must be a str, got None"),
        (lambda: numbers.draw_numbers(5, seed=None), "seed must be a whole number of at least 0, got None"),
        (lambda: numbers.encode_pairs([5]), "pair must be a NumberPair, got 5"),
    ],
)
def test_errors(call, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        call()


def test_vocabulary():
    vocabulary = Vocabulary(["one", "two"])
    assert vocabulary.tokens == ["<pad>", "<bos>", "<eos>", "one", "two"]
    assert vocabulary.encode(["two", "one"]) == [4, 3]
    assert vocabulary.decode([1, 4, 3, 2, 4, 0]) == ["two", "one"]
    assert len(vocabulary) == 5


def test_pad_sequences():
    assert pad_sequences([[3], [4, 5]], pad_id=9).tolist() == [[3, 9], [4, 5]]


@pytest.mark.no_cover
@settings(max_examples=25, deadline=None)
@given(st.integers(20, 500), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_holds_every_pair_once_and_batches_fit(batch_tokens, seed, epoch):
    batches = TokenBatches(PAIRS, batch_tokens=batch_tokens, seed=seed)
    order = batches.epoch(epoch)
    assert sorted(torch.cat(order).tolist()) == list(range(len(PAIRS)))
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


def test_a_generator_of_tokens_is_read_once(without_shape_checks):
    vocabulary = Vocabulary(token for token in ["one", "two"])
    assert vocabulary.encode(token for token in ["two", "one"]) == [4, 3]
    assert vocabulary.decode(token_id for token_id in [4, 3]) == ["two", "one"]


def test_arrays_and_tensors_are_sequences_too(without_shape_checks):
    want = [[3, 4], [5, 0]]
    assert pad_sequences([np.array([3, 4]), torch.tensor([5])]).tolist() == want
    assert pad_sequences(torch.tensor(want)).tolist() == want
