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
    one_batch,
    pairs_of,
    sentence_lengths,
    train_step,
    uniform_lengths,
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
    (batch,), (again,) = (make_batches(Sizes(), uniform_lengths(64, 16, 32)) for _ in range(2))
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
    lengths = sentence_lengths(128, 40)
    assert 30 < max(map(max, lengths)) <= 40
    assert min(map(min, lengths)) >= 1
    assert len(set(lengths)) > 40
    made = []
    for batch in make_batches(Sizes(), lengths):
        sides = batch.src_ids, batch.tgt_ids[:, 1:]
        made += zip(*((side != PAD).sum(dim=1).tolist() for side in sides), strict=True)
    assert made == lengths


@named
def test_system_learns_and_decodes(kind):
    torch.manual_seed(0)
    system = kind(TINY)
    batch = one_batch(TINY)
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
    batch = one_batch(TINY)
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
    (batch,) = make_batches(Sizes(vocab=90, batch=6), uniform_lengths(6, 2, 9))
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


@pytest.mark.parametrize("gain", [0.5, 1.5], ids=["without bfloat16", "with bfloat16"])
def test_it_runs_and_writes_what_the_chapter_reads(gain, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "measure", lambda *args: [2.0, 1.0])
    few = numbers.split_numbers(200, 20, seed=0)  # to spell thousands takes seconds
    monkeypatch.setattr(numbers, "split_numbers", lambda *sizes, seed: few)
    monkeypatch.setattr(bench, "sentence_lengths", lambda number, longest: [(2, 3)] * 7 + [(longest, longest)])
    assert bench.gain_of_bfloat16(TINY, 1, "cpu") > 0
    monkeypatch.setattr(bench, "gain_of_bfloat16", lambda *args: gain)
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
    in_training = [row for title, row in written["tables"].items() if title.startswith("training")]
    assert all((f"{name}, bfloat16" in row) == (gain > 1) for row in in_training for name in names)
    assert (
        written["equal loss"]["loss"].keys()
        == written["equal loss"]["seconds"].keys()
        == {"torch", "ours"} | ({"ours, bfloat16"} if gain > 1 else set())
    )
    assert 0 < written["equal loss"]["padding"] < 0.5
    assert written["linear map"] > 0
    assert "this library, fast" in capsys.readouterr().out


def test_memory_is_the_median_of_its_rounds(monkeypatch):
    found = iter([[1.0, 30.0], [9.0, 10.0], [2.0, 20.0]] * len(SYSTEMS))
    monkeypatch.setattr(memory, "measure", lambda *args: next(found))
    for name in ("training", "decoding", "equal_loss", "gain_of_bfloat16", "gain_in_decoding"):
        monkeypatch.setattr(bench, name, lambda *args, **options: 0.0)
    tables = bench.measure(TINY, repeats=3, steps=1, device="cpu", say=lambda what: None)["tables"]
    rows = [tables[title] for title in tables if title.startswith("memory")]
    assert [set(row.values()) for row in rows] == [{2.0}, {20.0}]


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
