"""Numbers in the prose of chapter 11 that no cell prints."""

from transformer_lib.beam import gnmt_penalty
from transformer_lib.data import numbers


def test_how_much_the_length_penalty_divides():
    assert round(gnmt_penalty(7, 0.6), 2) == 1.52
    assert round(gnmt_penalty(13, 0.6), 2) == 1.93


def test_how_many_answers_there_are():
    assert len(numbers.GERMAN) == 32
    assert len(numbers.number_pair(777_777).german) == 11
    assert 10**16 < 32**11 < 10**17
