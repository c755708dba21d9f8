"""The benchmarks compare like with like, and run. (How fast anything is, no test says.)"""

import dataclasses
import itertools
import json
import sys

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import (
    ablation,
    adapters,
    combination,
    distributed,
    families,
    memory,
    modern,
    reading,
    runs,
    systems,
    translation,
)
from benchmarks.systems import TINY, Sizes, make_batches, one_batch
from transformer_lib.config import TransformerConfig
from transformer_lib.data import numbers
from transformer_lib.data.vocabulary import EOS_ID, PAD_ID
from transformer_lib.loss import batch_loss
from transformer_lib.modern import DecoderModel
from transformer_lib.notebook import results
from transformer_lib.transformer import Transformer

SYSTEMS = systems.available()
named = pytest.mark.parametrize("kind", SYSTEMS, ids=lambda kind: kind.name)
pytestmark = [pytest.mark.hf, pytest.mark.filterwarnings("ignore")]  # the warnings are the peers'


def test_models_are_of_one_size():
    counts = {kind.name: sum(p.numel() for p in kind(Sizes().config()).parameters()) for kind in SYSTEMS}
    assert max(counts.values()) <= 1.02 * min(counts.values()), counts
    assert counts["this library"] == counts["this library, fast"]


def test_batches_are_ragged_and_the_same_each_time():
    (batch,), (again,) = (make_batches(Sizes(), systems.uniform_lengths(64, 16, 32)) for _ in range(2))
    for side, same in zip(batch, again, strict=True):
        assert torch.equal(side, same)
        lengths = (side != PAD_ID).sum(dim=1)
        assert 16 <= lengths.min() < 20
        assert 28 < lengths.max() <= 33  # BOS counts too
        assert side.shape == (64, lengths.max())
    assert (batch.tgt_ids == EOS_ID).sum() == 64
    by_length = bench.sort_by_length([batch])[0]
    assert sorted(map(tuple, batch.tgt_ids.tolist())) == sorted(map(tuple, by_length.tgt_ids.tolist()))


def test_lengths_are_those_of_real_sentences():
    lengths = systems.sentence_lengths(128, 40)
    assert 30 < max(map(max, lengths)) <= 40
    assert min(map(min, lengths)) >= 1
    assert len(set(lengths)) > 40
    made = []
    for batch in make_batches(Sizes(), lengths):
        sides = batch.src_ids, batch.tgt_ids[:, 1:]
        made += zip(*((side != PAD_ID).sum(dim=1).tolist() for side in sides), strict=True)
    assert made == lengths


@named
def test_system_learns_and_decodes(kind):
    torch.manual_seed(0)
    system, batch = kind(TINY.config()), one_batch(TINY)
    optimizer = torch.optim.AdamW(system.parameters(), lr=1e-2)
    losses = [float(systems.train_step(system, batch, optimizer)) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    system.never_end()
    answer = system.answer(batch.src_ids, 8)
    assert answer.shape == (4, 8)
    if kind.name != "x-transformers":  # it has no way to rule tokens out
        assert not torch.isin(answer, torch.tensor([PAD_ID, EOS_ID])).any()


@named
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_padding_and_company_change_no_loss(kind, smoothing):
    """The loss of a batch is the sum of the losses of its sentences: masks and the count of tokens are right.

    x-transformers does not smooth, and is not among the systems of chapter 13.
    """
    torch.manual_seed(0)
    system, batch = kind(TINY.config()).eval(), one_batch(TINY)
    with torch.no_grad():
        together, number = batch_loss(system, *batch, smoothing)
        apart = sum(
            float(batch_loss(system, *systems.as_batch([pair]), smoothing)[0]) for pair in systems.pairs_of(batch)
        )
    assert float(together) == pytest.approx(apart, rel=1e-4)
    assert number == (batch.tgt_ids[:, 1:] != PAD_ID).sum()


def test_on_sentences_torch_begins_where_ours_does():
    """The comparison of chapter 13 is of systems, not of random numbers, whose words both share."""
    config = dataclasses.replace(TINY.config(), tie_embeddings=True, share_vocab=True, n_encoder_layers=2)
    batch, losses, answers = one_batch(TINY), {}, {}
    for name, kind in {**translation.SYSTEMS, **translation.START}.items():
        torch.manual_seed(5)
        model = kind(config).eval()
        with torch.no_grad():
            losses[name] = float(batch_loss(model, *batch, 0.1)[0])
        answers[name] = model.answer(batch.src_ids, 6)
        assert len(answers[name]) == 4
        assert not torch.isin(answers[name], torch.tensor([config.bos_id])).any()
    assert losses["Ours"] == pytest.approx(losses["Torch"], rel=1e-6)
    assert torch.equal(answers["Ours"], answers["Torch"])
    assert losses["Ours"] != pytest.approx(losses["TorchAsItStarts"], rel=1e-4)


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
    written, stored = json.loads(out.read_text()), results.read("speed")
    assert written["setting"].keys() == stored["setting"].keys()
    names = {kind.name for kind in SYSTEMS}
    assert len(written["tables"]) == len(stored["tables"]) == 7
    for row, like in zip(written["tables"].values(), stored["tables"].values(), strict=True):
        assert names <= row.keys()
        assert row.keys() <= like.keys()
        assert min(row.values()) > 0
    for title, row in written["spread"].items():
        assert row.keys() == written["tables"][title].keys()
        for name, (slowest, quickest) in row.items():
            assert slowest <= written["tables"][title][name] <= quickest
    assert list(written["spread"]) == list(written["tables"])[:5]  # three of training, two of decoding
    in_training = [row for title, row in written["tables"].items() if title.startswith("training")]
    assert all((f"{name}, bfloat16" in row) == (gain > 1) for row in in_training for name in names)
    halves = {"ours, bfloat16"} if gain > 1 else set()
    assert written["equal loss"]["loss"].keys() == written["equal loss"]["seconds"].keys() == {"torch", "ours"} | halves
    assert 0 < written["equal loss"]["padding"] < 0.5
    assert written["linear map"] > 0
    told = capsys.readouterr().out
    assert "a quarter of an hour" in told.splitlines()[0]
    assert "this library, fast" in told


def test_rates_are_of_the_median_the_slowest_and_the_quickest_round():
    times = {"ours": [2.0, 8.0, 4.0], "theirs": [8.0]}
    assert bench.rates(16, times) == {"ours": [4.0, 2.0, 8.0], "theirs": [2.0, 2.0, 2.0]}
    assert bench.gain(times, "theirs", "ours") == 2.0


def test_every_system_has_the_same_optimizer():
    settings = [systems.adamw(kind(TINY.config())).defaults for kind in SYSTEMS]
    assert all(found == settings[0] for found in settings)
    assert settings[0]["fused"] is True


def test_memory_is_the_median_of_its_rounds(monkeypatch):
    found = iter([[1.0, 30.0], [9.0, 10.0], [2.0, 20.0]] * len(SYSTEMS))
    monkeypatch.setattr(memory, "measure", lambda *args: next(found))
    for name in ("training", "decoding", "equal_loss"):
        monkeypatch.setattr(bench, name, lambda *args, **options: {})
    for name in ("gain_of_bfloat16", "gain_in_decoding"):
        monkeypatch.setattr(bench, name, lambda *args: 0.0)
    tables = bench.measure(TINY, repeats=3, steps=1, device="cpu", say=lambda what: None)["tables"]
    rows = [tables[title] for title in tables if title.startswith("memory")]
    assert [set(row.values()) for row in rows] == [{2.0}, {20.0}]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's own measure")
def test_memory_sees_a_tensor(monkeypatch, capsys):
    assert memory.peak(lambda: torch.ones(25_000_000), "cpu") == pytest.approx(100, rel=0.1)
    settings = json.dumps([dataclasses.asdict(TINY), "cpu"])
    monkeypatch.setattr(sys, "argv", ["memory", systems.Fast.name, settings])
    memory.main()  # what the process does that measures a system
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_rows_are_kept_and_gone_on_with(tmp_path, capsys):
    path = tmp_path / "rows.json"
    for seed in runs.in_order([0, 1], 90):
        runs.Rows(path, {"steps": 5}, "systems").add({"seed": seed})
    runs.Rows(path, {"steps": 6}, "splits").add({"seed": 0})
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "2 runs, about 3 minutes where it was done last"
    assert told[2] == "1 of 2 runs made, about 0 minutes left"
    kept = runs.Rows(path, {"steps": 5}, "systems")
    assert kept.has(seed=1) and not kept.has(seed=2)
    assert json.loads(path.read_text())["systems"] == {"steps": 5, "rows": [{"seed": 0}, {"seed": 1}]}
    with pytest.raises(SystemExit, match="was written with other settings or versions"):
        runs.Rows(path, {"steps": 6}, "systems")


SMALL = {"d_model": 16, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1, "d_ff": 16, "max_len": 24}


class Few:
    """A task in the place of those of chapters 12 and 13, with scores of their shape."""

    vocab_sizes = 35, 35
    split = type("Split", (), {"dev": [], "test": []})
    pairs = numbers.encode_pairs(numbers.spell(numbers.draw_numbers(30, seed=1)))

    def train_pairs(self):
        return self.pairs

    def score(self, model, part, decode):
        sources = torch.tensor([[3, 4], [5, 0]])
        return {"bleu": float(len(decode(model, sources, max_new_tokens=3))), "chrf": 0.0}

    def measure(self, model):
        return {"word_error": 0.5}

    def examine(self, model):
        return {f"{way}_{name}": 0.0 for way in ("greedy", "beam_4") for name in ("bleu", "chrf")}


def test_the_comparisons_write_what_the_chapters_read(tmp_path, monkeypatch, capsys, without_shape_checks):
    """The same names as in the stored files; with tiny models. (A peer is no `Transformer`, as annotations ask for.)"""
    monkeypatch.setattr(translation, "SIZES", SMALL)
    monkeypatch.setattr(translation, "Sentences", Few)
    monkeypatch.setattr(translation, "TASKS", dict.fromkeys(translation.TASKS, Few))
    for part, stored in results.read("comparison").items():
        out = tmp_path / "comparison.json"
        monkeypatch.setattr(sys, "argv", ["translation", part, "--steps", "10", "--seeds", "1", "--out", str(out)])
        translation.main()
        translation.main()  # all is there already
        written = json.loads(out.read_text())[part]
        assert written.keys() == stored.keys()
        assert [row.keys() for row in written["rows"]] == [stored["rows"][0].keys()] * len(written["rows"])
        name = "task" if part == "splits" else "system"
        assert [row[name] for row in written["rows"]] == list(dict.fromkeys(row[name] for row in stored["rows"]))
    assert "3 runs" not in capsys.readouterr().out


def test_the_ablation_writes_what_the_chapter_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ablation.BASE, "model", SMALL)
    monkeypatch.setattr(ablation, "Pronounce", Few)
    monkeypatch.setattr(ablation.pronunciation, "encode_pairs", lambda part: Few.pairs)
    monkeypatch.setattr(ablation, "CHANGES", {"as it is": {}, "post-norm": {"norm_first": False}})
    out = tmp_path / "ablation.json"
    monkeypatch.setattr(sys, "argv", ["ablation", "--tokens", "7680", "--seeds", "1", "--out", str(out)])
    ablation.main()
    written, stored = json.loads(out.read_text()), results.read("ablation")
    assert written.keys() == stored.keys()
    assert written["base"].keys() == stored["base"].keys()
    assert [set(row) | {"phoneme_error"} for row in written["rows"]] == [set(stored["rows"][0])] * 2
    assert "2 runs" in capsys.readouterr().out


def test_a_compiled_step_is_compiled(without_shape_checks):
    """What a compiler returns is what runs, in every step, and the loss is the same."""
    few, calls = numbers.split_numbers(300, 10, seed=0), []

    def backend(graph, inputs):
        return lambda *arguments: calls.append("run") or graph.forward(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "split_numbers", lambda *sizes, seed: few)
        plain, quick = (distributed.trainer(n_layers=1) for _ in range(2))
    distributed.compiled(quick, backend)
    losses = [plain.train_step().item() for _ in range(2)]
    assert not calls
    assert [quick.train_step().item() for _ in range(2)] == pytest.approx(losses, rel=1e-4)
    assert len(calls) >= 2


def test_a_model_without_a_part_is_that_of_chapter_9_and_as_large_again_when_widened():
    config = TransformerConfig(src_vocab_size=33, tgt_vocab_size=35, **combination.Numbers.model)
    whole = combination.parameters(Transformer(config))
    for part in combination.PARTS:
        smaller = combination.parameters(combination.model_without(config, part))
        wider = combination.widened(config, part)
        assert (smaller < whole) == (part not in combination.KEPT_SIZE)
        assert combination.parameters(combination.model_without(wider, part)) == pytest.approx(whole, rel=0.05)
        assert (wider == config) == (part in (*combination.KEPT_SIZE, "norms"))  # of which there are few


def test_a_training_without_a_part_is_measured_both_ways(monkeypatch):
    monkeypatch.setattr(combination.Numbers, "training", combination.Numbers.training | {"steps": 10})
    job = {"task": "numbers", "part": "encoder", "layers": 2, "norm_first": False, "given_back": True, "seed": 0}
    row = combination.run(job)
    assert job.items() <= row.items()
    assert (row["d_model"], row["steps"], row["right"]) == (40, 10, 0.0)
    assert 0.0 < row["forced_accuracy"] < 0.9
    measured = results.read("combination")["rows"]
    jobs = [job for seed in range(5) for job in (*combination.main_jobs(seed), *combination.depth_jobs(seed))]
    assert all(any(job.items() <= row.items() for row in measured) for job in jobs)


def test_models_of_todays_parts_are_of_one_size():
    whole = modern.parameters(DecoderModel(modern.OLD))
    for part, changes in modern.PARTS.items():
        found = modern.parameters(DecoderModel(modern.same_size(**changes)))
        assert (found == pytest.approx(whole, rel=0.02)) == (part != "4 whole experts, top 1"), part
        stored = [row for row in results.read("modern")["parts"]["rows"] if row["part"] == part]
        assert [row["parameters"] for row in stored] == [found] * 3


def test_todays_parts_are_measured_as_they_are_stored(monkeypatch, tmp_path, without_shape_checks):
    """Only answers are asked for, all of them; a short run writes what was written by the long ones."""
    ids = torch.tensor([[5, 6, 1, 40, 41, 2, 7, 1, 42, 2], [5, 1, 40, 2, 0, 0, 0, 0, 0, 0]])
    assert modern.answers_only(ids).tolist() == [[0, 0, 40, 41, 2, 0, 0, 42, 2], [0, 40, 2, 0, 0, 0, 0, 0, 0]]
    words = ("".join(letters) for letters in itertools.product("abcde", repeat=5))
    few = modern.pronunciation.parse("\n".join(f"{word} B AA CH D" for word in words))
    monkeypatch.setattr(modern.pronunciation, "read_dictionary", lambda: few)
    for name, value in {"STEPS": 10, "TOKENS": 96, "WORDS": 8, "WINDOWS": 2, "WARM_UP": 2, "ROUNDS": 8}.items():
        monkeypatch.setattr(modern, name, value)
    monkeypatch.setattr(modern, "PARTS", {part: modern.PARTS[part] for part in ("2017", "4 experts, top 2")})
    monkeypatch.setattr(modern, "LENGTHS", ("alibi",))
    modern.data.cache_clear()
    out = tmp_path / "modern.json"
    monkeypatch.setattr(sys, "argv", ["modern", "--seeds", "1", "--out", str(out)])
    modern.main()
    modern.data.cache_clear()
    written, stored = json.loads(out.read_text()), results.read("modern")
    for kind, key in (("parts", "part"), ("lengths", "positions")):
        rows = stored[kind]["rows"]
        for row in written[kind]["rows"]:
            same = [other for other in rows if other[key] == row[key]]
            assert [other["seed"] for other in same] == [0, 1, 2] and all(row.keys() == other.keys() for other in same)
            assert all(row["parameters"] == other["parameters"] for other in same)
    timed = stored["times"]["rows"]
    assert [row["seed"] for row in timed] == [0, 1, 2] and timed[0].keys() == written["times"]["rows"][0].keys()
    took = written["times"]["rows"][0]["step_beside_2017"]
    assert took.keys() == modern.PARTS.keys() and took["2017"] == 1.0 and min(took.values()) > 0


def test_links_are_right_and_their_error_rate_is_och_and_neys():
    """One sure link for each German word but `und`; equal words keep their order."""
    pair = numbers.number_pair(323_321)
    said = [sorted(pair.english[i] for i in places) for places in reading.links(pair.english, pair.german)]
    assert said[:6] == [["three"], ["hundred"], ["three"], ["three", "twenty"], ["twenty"], ["thousand"]]
    places = reading.links(pair.english, pair.german)
    assert places[0] == {0} and places[2] == {3} and places[6] == {5} and places[9] == {7, 8}
    two = reading.links("twenty one".split(), "ein und zwanzig".split())
    assert two == [{1}, {0, 1}, {0}]
    assert reading.error_rate([[1, 0, 0], [1, 1, 0]], [two, two]) == 0
    assert reading.error_rate([[1, 0, 1]], [two]) == 1 - (1 + 2) / (3 + 2)
    assert reading.error_rate([[0, 0, 1]], [two]) == 1 - (0 + 1) / (3 + 2)
    assert reading.error_rate([[0, 2, 1]], [two]) == 1


def test_a_hook_of_the_readings_changes_one_run():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    x = torch.randn(2, 3)
    before = model(x)
    with reading.hooked(model[1], torch.zeros_like, before=True):
        assert torch.equal(model(x), model[1].bias.expand(2, 2))
    with reading.hooked(model[0], torch.zeros_like):
        assert torch.equal(model(x), model[1].bias.expand(2, 2))
    with pytest.raises(KeyError), reading.hooked(model[0], torch.zeros_like):
        raise KeyError
    assert torch.equal(model(x), before)


def test_without_its_attention_an_encoder_tells_each_word_alone():
    sizes = TransformerConfig(src_vocab_size=9, tgt_vocab_size=9, d_model=8, n_heads=2, n_encoder_layers=2, d_ff=8)
    model = Transformer(sizes).eval()
    texts = torch.tensor([[4, 5, 6], [4, 7, 6]])
    whole = model.encode(texts)[0]
    with reading.no_encoder_attention(model):
        alone = model.encode(texts)[0]
    for layer in model.encoder.layers:  # one attention is enough to tell the other words of it
        with reading.hooked(layer.self_attn, torch.zeros_like):
            assert (model.encode(texts)[0].diff(dim=0)[0, ::2].abs() > 1e-6).any()
    assert torch.equal(alone[0, ::2], alone[1, ::2]) and not torch.equal(alone[0, 1], alone[1, 1])
    assert not torch.equal(whole[0, ::2], whole[1, ::2])


def test_models_are_read_as_it_is_stored(monkeypatch, tmp_path, without_shape_checks):
    """A short run writes what was written by the long ones; the packaged model is read the same."""
    out = tmp_path / "reading.json"
    monkeypatch.setattr(reading.TASKS["numbers"], "train_pairs", lambda self: numbers.encode_pairs(self.split[1]))
    monkeypatch.setattr(sys, "argv", ["reading", "--seeds=2", "--steps=2", "--size=12", "--words=2", f"--out={out}"])
    reading.main()
    written, stored = json.loads(out.read_text()), results.read("reading")
    assert [row["seed"] for row in stored["numbers"]["rows"]] == [0, 1, 2, 3, 4]
    assert stored["numbers"]["size"] == reading.SIZE and len(stored["pronounce"]["rows"]) == 1

    def names(value):
        return {key: names(part) for key, part in value.items()} if isinstance(value, dict) else type(value)

    for row, other in zip(written["numbers"]["rows"], stored["numbers"]["rows"], strict=False):
        assert names(row) == names(other)
    assert written["pronounce"]["rows"][0].keys() == stored["pronounce"]["rows"][0].keys()
    whole = reading.Reading(reading.load("numbers"), reading.SIZE)
    first = stored["numbers"]["rows"][0]
    assert whole.whole() == first["whole"]
    torch.testing.assert_close(whole.alignment(), first["alignment"], atol=0.01, rtol=0)
    torch.testing.assert_close(whole.lens(whole.model.output), first["lens"]["trained"], atol=0.01, rtol=0)
    torch.testing.assert_close(whole.maps_changed(), first["maps"], atol=0.03, rtol=0)
    torch.testing.assert_close(whole.patching(), first["patching"], atol=0.02, rtol=0)
    torch.testing.assert_close(whole.slices(), first["slices"], atol=0.05, rtol=0)
    monkeypatch.setattr(whole, "whole", lambda: None)  # to say 200 numbers without each of the heads takes a while
    for head, other in zip(whole.heads(), first["heads"], strict=True):
        for key in ("sharpness", "zero_loss", "mean_loss"):
            assert head[key] == pytest.approx(other[key], rel=0.02, abs=1e-6), (head["name"], head["head"], key)


def test_adapters_learn_years_of_which_none_is_tested_twice(tmp_path, monkeypatch):
    pairs = adapters.data()
    assert [len(pairs[name]) for name in ("train", "choose", "test", "known", "old")] == [200, 100, 519, 10_000, 1_000]
    years = [tuple(source) for name in ("train", "choose", "test") for source, _ in pairs[name]]
    assert len({*years}) == 819 and not {*years} & {tuple(source) for source, _ in pairs["known"] + pairs["old"]}
    english, german = numbers.english_vocabulary(), numbers.german_vocabulary()
    source, target = adapters.year_pair(1984)
    assert english.decode(source) == ["nineteen", "eighty", "four"]
    assert "".join(german.decode(target[1:-1])) == "neunzehnhundertvierundachtzig"
    counts = {}
    for way in adapters.RATES:
        counts[way] = sum(p.numel() for p in adapters.prepare(way).parameters() if p.requires_grad)
        rows = [row for row in results.read("adapters")["rows"] if row["way"] == way]
        assert {row["trained"] for row in rows} == {counts[way]}
        assert {row["rate"] for row in rows if row["seed"] == 0} == {*adapters.RATES[way]}
        assert {(row["rate"], row["seed"]) for row in rows if row["seed"]} == {
            (adapters.chosen(rows, way), seed) for seed in (1, 2)
        }
    maps = 2 * (2 + 2 + 2)  # queries and values, in all attentions
    assert [counts[f"rank {rank}"] for rank in (1, 4, 16)] == [maps * 2 * 64 * rank for rank in (1, 4, 16)]
    few = {"train": pairs["train"], "known": pairs["known"], **{n: pairs[n][:5] for n in ("choose", "test", "old")}}
    for name, value in {"STEPS": 2, "WARMUP": 1, "data": lambda: few}.items():
        monkeypatch.setattr(adapters, name, value)
    monkeypatch.setattr(adapters, "RATES", {way: (1e-3,) for way in ("all weights, old numbers too", "rank 1")})
    out = tmp_path / "adapters.json"
    for _ in range(2):  # the second time there is nothing left to do
        monkeypatch.setattr(sys, "argv", ["adapters", "--seeds", "2", "--out", str(out)])
        adapters.main()
    assert len(json.loads(out.read_text())["rows"]) == 4


def test_families_are_of_one_size_and_asked_the_same():
    counts = {family: families.parameters(families.new_model(family)) for family in families.FAMILIES}
    assert max(counts.values()) <= 1.02 * min(counts.values()), counts
    pairs = families.data(200)[0][:3]
    asked = sum(len(target) - 1 for _, target in pairs)
    for family in families.FAMILIES:
        torch.manual_seed(0)
        model = families.new_model(family).eval()
        total, number = families.loss_of(family, model, pairs)
        assert number == asked, family
        assert abs(total.item() / number.item() - 4.2) < 0.5  # ln(66) is 4.19
    torch.manual_seed(0)
    model = families.new_model("decoder-only").eval()
    by_hand = 0.0
    for source, target in pairs:
        stream = torch.tensor([[*source, *target]])
        log_probs = model(stream).log_softmax(-1)[0]
        places = range(len(source), stream.size(1) - 1)
        by_hand -= sum(log_probs[i, stream[0, i + 1]].item() for i in places)
    assert families.loss_of("decoder-only", model, pairs)[0].item() == pytest.approx(by_hand, rel=1e-4)


def test_families_are_measured_as_they_are_stored(monkeypatch, tmp_path, without_shape_checks):
    few = families.data(200)
    monkeypatch.setattr(families, "data", lambda: (few[0], few[1][:9]))
    for name, value in {"STEPS": 2, "TOKENS": 64, "LOOKED_AT": (1, 2)}.items():
        monkeypatch.setattr(families, name, value)
    out = tmp_path / "families.json"
    monkeypatch.setattr(sys, "argv", ["families", "--seeds", "1", "--out", str(out)])
    families.main()
    written, stored = json.loads(out.read_text())["rows"], results.read("families")
    assert [row["family"] for row in written] == list(families.FAMILIES)
    assert (stored["steps"], stored["looked_at"], stored["rate"]) == (400, [200, 300, 400], 3e-3)
    for row in written:
        same = [other for other in stored["rows"] if other["family"] == row["family"]]
        assert all(row.keys() == other.keys() and row["parameters"] == other["parameters"] for other in same)
        assert len(row["right"]) == 2 and all(len(other["right"]) == 3 for other in same)
    for family in families.FAMILIES:
        assert sorted(row["seed"] for row in stored["rows"] if row["family"] == family) == [0, 1, 2]


def test_an_encoder_fills_all_places_and_an_answer_ends_at_its_end():
    pairs = families.data(200)[1][:4]

    def says(ids):
        logits = torch.zeros(4, 40, families.VOCAB)
        logits[:, torch.arange(40), 5] = 1.0
        logits[1, 1, EOS_ID] = 9.0
        return logits

    said = families.answers("encoder-only", says, pairs)
    assert said[1] == [5, EOS_ID] and said[0] == [5] * families.slots()
    filled = families.filled_in(pairs)
    assert (filled[:, : families.slots()] == families.MASK_ID).all()
    assert filled[0, families.slots() :][: len(pairs[0][0])].tolist() == pairs[0][0]
