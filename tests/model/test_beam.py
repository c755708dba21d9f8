"""Beam search: it finds what an exhaustive search finds, and its scores are the model's."""

import pytest
import questions
import torch
from helpers import SOURCES, ending, lively_model

from transformer_lib.beam import beam_hypotheses, beam_is_over, beam_search, beam_step, gnmt_penalty, rank_hypotheses
from transformer_lib.data.batches import pad_sequences
from transformer_lib.decoding import greedy_decode

SRC_IDS = pad_sequences(SOURCES)


def written(row: torch.Tensor) -> list[int]:
    return [token for token in row.tolist() if token != 0]


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy(seed, norm_first):
    model = lively_model(seed, norm_first)
    greedy = greedy_decode(model, SRC_IDS, max_new_tokens=16)
    for alpha in (0.0, 0.6, 2.0):
        answers = beam_search(model, SRC_IDS, beam_size=1, length_penalty=alpha, max_new_tokens=16)
        assert torch.equal(answers, greedy)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_beam_that_drops_nothing_is_an_exhaustive_search(alpha):
    questions.a_full_beam_is_an_exhaustive_search(alpha)


@pytest.mark.parametrize("beam_size", [2, 3, 7])
def test_scores_are_the_models_own(beam_size):
    model = lively_model(1).eval()
    found = beam_hypotheses(model, SRC_IDS, beam_size=beam_size, length_penalty=0.7, max_new_tokens=9)
    assert found.ids.shape[:2] == found.log_probs.shape == found.scores.shape == (5, beam_size)
    for row, source in enumerate(SOURCES):
        answers = [written(ids) for ids in found.ids[row]]
        assert len(set(map(tuple, answers))) == beam_size  # no answer twice
        totals = questions.log_probs_of(model, source, answers)
        assert found.log_probs[row].tolist() == pytest.approx(totals, rel=0, abs=1e-12)
        scores = [total / ((5 + len(y)) / 6) ** 0.7 for total, y in zip(totals, answers, strict=True)]
        assert found.scores[row].tolist() == pytest.approx(scores, rel=0, abs=1e-12)


def begin_with(monkeypatch: pytest.MonkeyPatch, end: float, token: float) -> None:
    """Let every model give EOS and token 3 these probabilities at first, and EOS all of it from then on."""

    def scripted(model, ids, *_):
        probs = torch.zeros(len(ids), model.config.tgt_vocab_size)
        probs[:, 2], probs[:, 3] = (end, token) if ids.size(1) == 1 else (1.0, 0.0)
        return probs.log()

    monkeypatch.setattr("transformer_lib.beam.next_log_probs", scripted)


def test_a_beginning_that_can_still_win_is_followed(monkeypatch):
    """Nothing at all has 0.4 and is found first; one token and the end have 0.6, and a penalty of two tokens."""
    begin_with(monkeypatch, 0.4, 0.6)
    assert beam_search(lively_model(0), SRC_IDS[:1], beam_size=2, max_new_tokens=13).tolist() == [[3, 2]]


def test_an_answer_is_no_wider_than_itself(monkeypatch):
    """The best answer is EOS alone; a longer one is looked at, since it can still win, and loses."""
    begin_with(monkeypatch, 0.6, 0.4)
    options = dict(beam_size=2, max_new_tokens=13)
    assert beam_hypotheses(lively_model(0), SRC_IDS[:1], **options).ids.tolist() == [[[2, 0], [3, 2]]]
    assert beam_search(lively_model(0), SRC_IDS[:1], **options).tolist() == [[2]]


@pytest.mark.parametrize("beam_size", [2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_cache_and_company_change_nothing(seed, beam_size):
    model = lively_model(seed)
    options = dict(beam_size=beam_size, max_new_tokens=12)
    together = beam_hypotheses(model, SRC_IDS, **options)
    assert torch.equal(together.ids, beam_hypotheses(model, SRC_IDS, use_cache=False, **options).ids)
    best = beam_search(model, SRC_IDS, **options)
    assert torch.equal(best, beam_search(model, SRC_IDS, use_cache=False, **options))
    for row, source in enumerate(SOURCES):
        alone = beam_search(model, torch.tensor([source]), **options)
        assert written(alone[0]) == written(best[row]) == written(together.ids[row, 0])


def test_answers_that_ended_come_first_and_each_group_from_best_to_worst():
    """And nothing stands behind an end."""
    mixed = 0
    for seed in range(8):
        found = beam_hypotheses(lively_model(seed), SRC_IDS, beam_size=6, max_new_tokens=5)
        for ids, scores in zip(found.ids, found.scores, strict=True):
            ends = [2 in row for row in ids.tolist()]
            assert ends == sorted(ends, reverse=True)
            for group in (True, False):
                own = [s for s, end in zip(scores.tolist(), ends, strict=True) if end is group]
                assert own == sorted(own, reverse=True)
            mixed += len(set(ends)) == 2
            for row in ids.tolist():
                ending(row)
    assert mixed > 3


def test_fewer_answers_than_places():
    found = beam_hypotheses(lively_model(), SRC_IDS, beam_size=40, max_new_tokens=1)  # EOS, or one of four tokens
    real = found.log_probs > -torch.inf
    assert real.sum(dim=1).tolist() == [5] * 5
    assert (found.ids[~real] == 0).all()
    assert (found.scores[~real] == -torch.inf).all()


def test_one_step_by_hand():
    """The step of chapter 11, and beside it a sentence of which one answer has ended, unlikelier than all else."""
    steps = torch.tensor([[0, 0.25, 0, 0.4, 0.35], [0, 0.1, 0, 0, 0.9]]).log()  # padding, end, three words
    log_probs = torch.tensor([[0.5, 0.4], [0.001, 0.4]]).log()
    ended = torch.tensor([[False, False], [True, False]])
    kept, parents, tokens = beam_step(log_probs, ended, torch.stack([steps, steps]), pad_id=0)
    assert kept.exp().flatten().tolist() == pytest.approx([0.36, 0.2, 0.001, 0.36])
    assert parents.tolist() == [[1, 0], [0, 1]] and tokens.tolist() == [[4, 3], [0, 4]]


def test_the_end_and_the_order_by_hand():
    scores, hopes = torch.tensor([[-1.0, -9.0], [-2.0, -3.0]]), torch.tensor([[-0.5, -2.0], [-1.0, -2.5]])
    assert beam_is_over(scores, hopes, torch.tensor([[True, False], [True, False]]))
    assert not beam_is_over(scores, hopes, torch.tensor([[True, False], [False, True]]))  # the second may hope for -1
    ids = torch.arange(8).view(2, 2, 2)
    found = rank_hypotheses(ids, 2 * scores, scores, torch.tensor([[False, True], [True, True]]), pad_id=0)
    assert found.ids.tolist() == [[[2, 3], [0, 1]], [[4, 5], [6, 7]]]
    assert found.log_probs.tolist() == [[-18.0, -2.0], [-4.0, -6.0]] and found.scores.tolist() == [[-9, -1], [-2, -3]]


def test_penalty():
    assert gnmt_penalty(1, 0.6) == 1.0  # one token: (5 + 1) / 6
    assert gnmt_penalty(7, 1.0) == 2.0
    assert gnmt_penalty(19, 0.5) == 2.0
    assert gnmt_penalty(1000, 0.0) == 1.0
    assert gnmt_penalty(torch.tensor([1.0, 7.0]), 1.0).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"alpha must be a finite number of at least 0, got -1"):
        gnmt_penalty(3, -1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(beam_size=0), "beam_size must be a whole number of at least 1, got 0"),
        (dict(length_penalty=-0.1), "length_penalty must be a finite number of at least 0, got -0.1"),
        (dict(length_penalty=float("nan")), "length_penalty must be a finite number of at least 0, got nan"),
        (dict(max_new_tokens=18), r"max_new_tokens \(18\) must be at most the model's max_len \(17\)"),
    ],
)
def test_errors(options, message, without_shape_checks):
    for search in (beam_search, beam_hypotheses):
        with pytest.raises(ValueError, match=message):
            search(lively_model(), SRC_IDS, **{"beam_size": 2, "max_new_tokens": 5, **options})
