"""Greedy decoding: it stops, it pads, and neither the cache nor the batch changes an answer."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import SOURCES, ending, lively_model, redraw_lively

from transformer_lib.beam import beam_hypotheses, beam_search
from transformer_lib.data.batches import pad_sequences
from transformer_lib.decoding import exact_match, greedy_decode, translate_ids
from transformer_lib.fast import FastTransformer
from transformer_lib.sampling import sample_decode
from transformer_lib.transformer import Transformer


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_cache_and_batch_change_nothing(seed, norm_first):
    model = lively_model(seed, norm_first)
    src_ids = pad_sequences(SOURCES)
    answers = greedy_decode(model, src_ids, max_new_tokens=16)
    assert torch.equal(answers, greedy_decode(model, src_ids, max_new_tokens=16, use_cache=False))
    for source, row in zip(SOURCES, answers, strict=True):
        (single,) = greedy_decode(model, torch.tensor([source]), max_new_tokens=16)
        assert single.tolist() == row[: len(single)].tolist()
        assert (row[len(single) :] == 0).all()


@pytest.mark.parametrize("decode", [greedy_decode, sample_decode])
def test_sentences_end_at_their_own_eos(decode):
    lengths = set()
    for seed in range(12):
        answers = decode(lively_model(seed), pad_sequences(SOURCES * 2), max_new_tokens=17)
        own = [*map(ending, answers.tolist())]
        assert max(own) == answers.size(1)  # no wider than the longest
        assert all(2 in row or len(row) == 17 for row in answers.tolist())
        lengths |= {*own}
    assert len(lengths) > 4


def test_translate_ids_and_exact_match():
    model = lively_model(4)
    answers = translate_ids(model, SOURCES, max_new_tokens=16, batch_size=2)
    assert answers == translate_ids(model, SOURCES, max_new_tokens=16)
    ended = [answer[-1] == 2 for answer in answers]
    assert 0 < sum(ended) < 5  # an answer cut off at max_new_tokens cannot match a target, which ends with EOS
    wanted = [[1, *answer, *([] if end else [2])] for answer, end in zip(answers, ended, strict=True)]
    pairs = [*zip(SOURCES, wanted, strict=True)]
    assert exact_match(model, pairs) == exact_match(model, pairs, use_cache=False, batch_size=2) == sum(ended) / 5
    beams = translate_ids(model, SOURCES, max_new_tokens=16, decode=beam_search, beam_size=3)
    pairs = [(source, [1, *answer]) for source, answer in zip(SOURCES, beams, strict=True) if answer[-1] == 2]
    assert pairs and exact_match(model, pairs, decode=beam_search, beam_size=3) == 1.0


@pytest.mark.parametrize("kind", [Transformer, FastTransformer])
@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)], ids=str)
def test_nothing_to_read(kind: type[Transformer], shape: tuple[int, int]) -> None:
    """No sentence, or sentences of no token: each way of decoding gives what the plain model gives."""
    plain, src_ids = lively_model().eval(), torch.empty(shape, dtype=torch.int64)
    model = kind(plain.config).double().eval()
    model.load_state_dict(plain.state_dict())
    for decode, options in ((greedy_decode, {}), (sample_decode, {"top_k": 1}), (beam_search, {"beam_size": 3})):
        answers = decode(model, src_ids, max_new_tokens=3, **options)
        assert len(answers) == shape[0] and answers.dtype == torch.int64
        assert torch.equal(answers, decode(plain, src_ids, max_new_tokens=3, **options))
        assert torch.equal(answers, decode(plain, src_ids, max_new_tokens=3, use_cache=False, **options))
    assert answers.size(1) == 1 or shape[0]
    hypotheses = beam_hypotheses(model, src_ids, beam_size=3, max_new_tokens=3)
    assert hypotheses.scores.shape == (shape[0], 3)
    tgt_ids = torch.empty(shape[0], 4, dtype=torch.int64).fill_(3)
    assert model(src_ids, tgt_ids).shape == (shape[0], 4, 7)
    assert model(src_ids, tgt_ids[:, :0]).shape == (shape[0], 0, 7)
    assert translate_ids(model, [], max_new_tokens=3) == []


def test_any_number_may_stand_for_padding() -> None:
    pad_id, ragged = 999, False  # large, and behind all others
    for seed in range(6):
        sizes = dict(src_vocab_size=1000, tgt_vocab_size=1000, pad_id=pad_id, bos_id=0, eos_id=1)
        torch.manual_seed(seed)
        model = redraw_lively(Transformer(dataclasses.replace(lively_model().config, **sizes)))
        model.output.bias.data[1] = 3.0  # or none would come to its end
        rows = greedy_decode(model, pad_sequences(SOURCES, pad_id), max_new_tokens=9).tolist()
        answers = translate_ids(model, SOURCES, max_new_tokens=9)
        ragged = ragged or len(set(map(len, answers))) > 1
        assert answers == [row[: row.index(pad_id)] if pad_id in row else row for row in rows]
    assert ragged


def test_a_token_more_or_less_is_no_match() -> None:
    model = lively_model(4)
    answers = translate_ids(model, SOURCES, max_new_tokens=16)
    source, answer = next((s, a) for s, a in zip(SOURCES, answers, strict=True) if a[-1] == 2 and 3 <= a[0] < 6)
    for wrong in (answer[0] - 1, answer[0] + 1):  # below and above the right one
        assert exact_match(model, [(source, [1, wrong, *answer[1:]])]) == 0
    assert exact_match(model, [(source, [1, *answer])]) == 1


@pytest.mark.parametrize("decode", [greedy_decode, sample_decode, beam_search])
def test_the_cache_is_used_unless_it_is_declined_and_gradients_never(decode, monkeypatch) -> None:
    model, seen = lively_model(), []
    model.encoder.eval()
    inner = model.decode

    def watched(tgt_ids, memory, memory_mask, cache=None):
        seen.append((tgt_ids.size(1), cache is not None, torch.is_grad_enabled()))
        return inner(tgt_ids, memory, memory_mask, cache)

    monkeypatch.setattr(model, "decode", watched)
    options = {"beam_size": 2} if decode is beam_search else {}
    decode(model, pad_sequences(SOURCES), max_new_tokens=4, **options)
    assert set(seen) == {(1, True, False)}
    seen.clear()
    decode(model, pad_sequences(SOURCES), max_new_tokens=4, use_cache=False, **options)
    assert [(length, cached) for length, cached, _ in seen] == [(n + 1, False) for n in range(len(seen))]
    seen.clear()
    translate_ids(model, SOURCES, max_new_tokens=4, decode=decode, **options)
    assert set(seen) == {(1, True, False)}
    assert model.training and not model.encoder.training  # the modes are put back


def test_threads_decode_side_by_side() -> None:
    model, src_ids = lively_model(3).eval(), pad_sequences(SOURCES)
    expected = greedy_decode(model, src_ids, max_new_tokens=9)
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: greedy_decode(model, src_ids, max_new_tokens=9), range(12))]
    assert all(torch.equal(answer, expected) for answer in answers)
    assert not any(part.training for part in model.modules())
