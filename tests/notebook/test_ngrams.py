"""N-gram models: probabilities that sum to one, a case done by hand, and better with more context."""

import math
import random
from collections import Counter

import pytest

from transformer_lib.notebook.ngrams import NGrams, discounts

VOCAB = 9


def rows(n: int, seed: int = 0) -> list[list[int]]:
    """Texts in which two tokens tell the next."""
    chance, made = random.Random(seed), []
    for _ in range(n):
        row = [1, chance.randint(3, 8)]
        while len(row) < 8 and (row[-1] != 4 or chance.random() < 0.7):
            row.append(3 + (row[-1] + row[-2] + (chance.random() < 0.2)) % 6)
        made.append([*row, 2])
    return made


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_probabilities_sum_to_one(n):
    model = NGrams(rows(60), n, VOCAB)
    for context in ((1, 1, 1, 1), (1, 5, 4, 7), (8, 8, 8, 8), (2, 2, 2, 2)):
        seen = context[len(context) - n + 1 :]
        shares = [model.probability((*seen, token)) for token in range(VOCAB)]
        assert min(shares) > 0
        assert math.isclose(sum(shares), 1)


def test_a_bigram_by_hand():
    model = NGrams([[1, 3, 2], [1, 3, 2], [1, 4, 2]], 2, 5)
    assert model.grams([1, 3, 2]) == [(1, 3), (3, 2)]
    assert model.off == [[0.5, 0.5, 0.5]] * 2  # too few counts to tell
    # below: 2 follows two kinds, 3 and 4 one kind each, so 4 in all; half of each of the three kinds is given away
    below = (1 - 0.5 + 1.5 / 5) / 4
    assert math.isclose(model.probability((3,)), below)
    # after 1: 3 twice, 4 once; half of both is given away
    assert math.isclose(model.probability((1, 3)), (2 - 0.5 + 1.0 * below) / 3)
    assert math.isclose(model.probability((0, 3)), below)  # after what was never seen
    assert math.isclose(model.bits([[1, 3, 2]]), -math.log2(model.probability((1, 3)) * model.probability((3, 2))))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_every_token_behind_bos_is_asked_for_once(n):
    grams = NGrams(rows(20), n, VOCAB).grams([1, 5, 4, 2])
    assert [gram[-1] for gram in grams] == [5, 4, 2] and {len(gram) for gram in grams} == {n}


def test_discounts_are_those_of_chen_and_goodman():
    how_many = {1: 40, 2: 15, 3: 8, 4: 5, 9: 2}
    counts = Counter({(n, i): n for n, many in how_many.items() for i in range(many)})
    share = 40 / 70
    assert discounts(counts) == pytest.approx([1 - 2 * share * 15 / 40, 2 - 3 * share * 8 / 15, 3 - 4 * share * 5 / 8])
    assert discounts(Counter(range(9))) == [0.5, 0.5, 0.5]
    often = {i: 4 for i in range(9, 40)}
    assert discounts(Counter({1: 1, 2: 2, 3: 3, **often}))[2] == 0.0  # nothing is ever added


def test_more_context_helps_where_there_is_something_to_know():
    train, test = rows(400), rows(100, seed=1)
    bits = [NGrams(train, n, VOCAB).bits(test) for n in (1, 2, 3)]
    assert bits[0] > bits[1] > bits[2]
    assert NGrams(train, 5, VOCAB).bits(test) < 1.05 * bits[2]
