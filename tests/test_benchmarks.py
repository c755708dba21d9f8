"""The benchmark compares like with like, and runs. (How fast anything is, no test says.)"""

import dataclasses
import json
import sys

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import memory, translation
from benchmarks.systems import (
    EOS,
    PAD,
    TINY,
    Fast,
    Sizes,
    as_batch,
    available,
    make_batches,
    pairs_of,
    sentence_lengths,
    train_step,
)
from transformer_lib.config import TransformerConfig
from transformer_lib.data import numbers
from transformer_lib.loss import batch_loss

SYSTEMS = available()
named = pytest.mark.parametrize("kind", SYSTEMS, ids=lambda kind: kind.name)
pytestmark = [pytest.mark.hf, pytest.mark.filterwarnings("ignore")]  # the warnings are the peers'


def test_models_are_of_one_size():
    numbers = {kind.name: sum(p.numel() for p in kind(Sizes()).model.parameters()) for kind in SYSTEMS}
    smallest = min(numbers.values())
    assert max(numbers.values()) <= 1.02 * smallest, numbers
    assert numbers["this library"] == numbers["this library, fast"]


def test_batches_are_ragged_and_the_same_each_time():
    (batch,), (again,) = make_batches(Sizes(), 1, (16, 32)), make_batches(Sizes(), 1, (16, 32))
    for side, same in zip(batch, again, strict=True):
        assert torch.equal(side, same)
        lengths = (side != PAD).sum(dim=1)
        assert 16 <= lengths.min() < 20
        assert 28 < lengths.max() <= 33  # BOS counts too
        assert side.shape == (64, lengths.max())
    assert (batch.tgt_ids == EOS).sum() == 64
    by_length = bench.sort_by_length([batch])[0]
    assert sorted(map(tuple, batch.tgt_ids.tolist())) == sorted(map(tuple, by_length.tgt_ids.tolist()))


def test_lengths_are_those_of_real_sentences():
    lengths = sentence_lengths(40)
    assert max(map(max, lengths)) == 40
    assert min(map(min, lengths)) >= 1
    for batch in make_batches(Sizes(), 2, lengths):
        sides = batch.src_ids, batch.tgt_ids[:, 1:]
        pairs = set(zip(*((side != PAD).sum(dim=1).tolist() for side in sides), strict=True))
        assert pairs <= set(lengths)
        assert len(pairs) > 20


@named
def test_system_learns_and_decodes(kind):
    torch.manual_seed(0)
    system = kind(TINY)
    (batch,) = make_batches(TINY, 1, TINY.lengths)
    optimizer = torch.optim.AdamW(system.model.parameters(), lr=1e-2)
    losses = [float(train_step(system, batch, optimizer)) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    system.never_end()
    answer = system.greedy(batch.src_ids, 8)
    assert answer.shape == (4, 8)
    if kind.name != "x-transformers":  # it has no way to rule tokens out
        assert not torch.isin(answer, torch.tensor([PAD, EOS])).any()


@named
def test_padding_and_company_change_no_loss(kind):
    """The loss of a batch is the sum of the losses of its sentences: masks and the count of tokens are right."""
    torch.manual_seed(0)
    system = kind(TINY)
    (batch,) = make_batches(TINY, 1, TINY.lengths)
    system.model.eval()
    with torch.no_grad():
        together = float(system.loss(batch))
        apart = sum(float(system.loss(as_batch([pair]))) for pair in pairs_of(batch))
    assert together == pytest.approx(apart, rel=1e-4)


def test_on_sentences_torch_begins_where_ours_does():
    """The comparison of chapter 13 is of systems, not of random numbers; and padding changes nothing."""
    options = {"src_vocab_size": 90, "tgt_vocab_size": 90, "tie_embeddings": True, "share_vocab": True}
    config = TransformerConfig(
        **options, **{**translation.SIZES, "d_model": 32, "d_ff": 64, "max_len": 10}, norm_first=False
    )
    (batch,) = make_batches(Sizes(vocab=90, batch=6), 1, (2, 9))
    losses = {}
    for kind in (translation.Ours, translation.Torch, translation.TorchAsItStarts, translation.Marian):
        torch.manual_seed(5)
        model = kind(config).eval()
        with torch.no_grad():
            losses[kind] = float(batch_loss(model, batch.src_ids, batch.tgt_ids, 0.1)[0])
            apart = sum(float(batch_loss(model, *as_batch([pair]), 0.1)[0]) for pair in pairs_of(batch))
        assert losses[kind] == pytest.approx(apart, rel=1e-5)
        answer = model.answer(batch.src_ids)
        assert len(answer) == 6
        assert not torch.isin(answer, torch.tensor([config.bos_id])).any()
    assert losses[translation.Ours] == pytest.approx(losses[translation.Torch], rel=1e-6)
    assert losses[translation.Ours] != pytest.approx(losses[translation.TorchAsItStarts], rel=1e-4)


def test_it_runs_and_writes_what_the_chapter_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "measure", lambda *args: [2.0, 1.0])
    few = numbers.split_numbers(200, 20, seed=0)  # to spell thousands takes seconds
    monkeypatch.setattr(numbers, "split_numbers", lambda *sizes, seed: few)
    monkeypatch.setattr(bench, "sentence_lengths", lambda longest: [(2, 3)] * 7 + [(longest, longest)])
    threads, out = str(torch.get_num_threads()), tmp_path / "speed.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--threads", threads, "--out", str(out)])
    bench.main()
    written = json.loads(out.read_text())
    assert written["setting"].keys() == json.loads(bench.RESULTS.read_text())["setting"].keys()
    assert len(written["tables"]) == 7
    names = {kind.name for kind in SYSTEMS}
    for row in written["tables"].values():
        assert names <= row.keys()
        assert min(row.values()) > 0
    assert "this library, fast" in capsys.readouterr().out


def test_what_takes_long_is_measured_once(monkeypatch):
    monkeypatch.setattr(bench, "ONCE", -1.0)
    calls = []
    bench.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 5, "cpu")
    assert calls == ["a", "b"]
    monkeypatch.undo()
    bench.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, "cpu")
    assert calls[2:] == ["a", "b"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's own measure")
def test_memory_sees_a_tensor(monkeypatch, capsys):
    assert memory.peak(lambda: torch.ones(25_000_000), "cpu") == pytest.approx(100, rel=0.1)
    settings = json.dumps([dataclasses.asdict(TINY), "cpu"])
    monkeypatch.setattr(sys, "argv", ["memory", Fast.name, settings])
    memory.main()  # what the process does that measures a system
    assert len(json.loads(capsys.readouterr().out)) == 2
