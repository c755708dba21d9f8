"""The benchmark compares like with like, and runs. (How fast anything is, no test says.)"""

import json
import sys

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import memory
from benchmarks.systems import EOS, PAD, TINY, Fast, Sizes, available, make_batches, train_step
from transformer_lib.data import numbers

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
        apart = 0.0
        for src, tgt in zip(*batch, strict=True):
            alone = bench.as_batch([(src[src != PAD].tolist(), tgt[tgt != PAD].tolist())])
            apart += float(system.loss(alone))
    assert together == pytest.approx(apart, rel=1e-4)


def test_it_runs_and_writes_what_the_chapter_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "measure", lambda *args: [2.0, 1.0])
    few = numbers.split_numbers(200, 20, seed=0)  # to spell thousands takes seconds
    monkeypatch.setattr(numbers, "split_numbers", lambda *sizes, seed: few)
    threads, out = str(torch.get_num_threads()), tmp_path / "speed.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--threads", threads, "--out", str(out)])
    bench.main()
    written = json.loads(out.read_text())
    assert written["setting"].keys() == json.loads(bench.RESULTS.read_text())["setting"].keys()
    assert len(written["tables"]) == 6
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
def test_memory_sees_a_tensor():
    assert memory.peak(lambda: torch.ones(25_000_000), "cpu") == pytest.approx(100, rel=0.1)
    memory.train(Fast, TINY, "cpu")
    memory.decode(Fast, TINY, "cpu")
