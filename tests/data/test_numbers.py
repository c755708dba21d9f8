"""The number words: spelled, read back, split without sharing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_lib.data import numbers


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


def test_ein_and_eins():
    """*eins* stands at the very end of a number and nowhere else; num2words writes *einhunderteinstausend*."""
    assert numbers.join_german(numbers.number_pair(101_000).german) == "einhunderteintausend"
    assert numbers.join_german(numbers.number_pair(301_001).german) == "dreihunderteintausendeins"
    for pair in numbers.spell(numbers.draw_numbers(500, seed=3)):
        assert "eins" not in pair.german[:-1]
        assert pair.german[-1] != "ein"


def test_every_morpheme_and_word_is_needed():
    pairs = [*numbers.spell(numbers.draw_numbers(600, seed=0)), numbers.number_pair(0)]
    assert {token for pair in pairs for token in pair.english} == set(numbers.ENGLISH)
    assert {token for pair in pairs for token in pair.german} == set(numbers.GERMAN)
    assert (len(numbers.english_vocabulary()), len(numbers.german_vocabulary())) == (33, 35)


@pytest.mark.parametrize("text", [
    "twenty hundred", "one one", "hundred", "twenty eleven", "one thousand thousand", "zero one",
    "thousand thousand thousand", "one hundred hundred hundred thousand",
])  # fmt: skip
def test_words_that_are_no_number(text):
    with pytest.raises(ValueError, match=f"'{text}' is not how English says a number"):
        numbers.read_tokens(text)


def test_no_test_number_was_seen():
    for seed in range(3):
        train, test = numbers.split_numbers(100, 50, seed)
        seen, unseen = [pair.number for pair in train], [pair.number for pair in test]
        assert (len(set(seen)), len(set(unseen))) == (100, 50)
        assert not set(seen) & set(unseen)
        assert unseen[0] == 321
        assert set(numbers.SINGLE_WORDS) <= set(seen)
    assert numbers.split_numbers(100, 50, 2) == (train, test) != numbers.split_numbers(100, 50, 3)


def test_three_in_a_hundred_are_small():
    drawn = numbers.draw_numbers(11_000, seed=0)
    assert len(set(drawn)) == 11_000
    assert sum(number < 1000 for number in drawn) == 330


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: numbers.split_numbers(27, 5, 0), "n_train must be at least 28.*got 27"),
        (lambda: numbers.split_numbers(30, 0, 0), "n_test must be a whole number of at least 1, got 0"),
        (lambda: numbers.split_german("dreimillionen"), "'dreimillionen' is not made of German number morphemes"),
        *((lambda n=n: numbers.number_pair(n), "whole number from 0 to 999,999") for n in (-1, 1_000_000)),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
