"""The Transformer of the pages, in JavaScript, is that of the library: same weights, same numbers."""

import contextlib
import copy
import functools
import gzip
import hashlib
import json
import subprocess

import pytest
import torch
from helpers import lively_model, redraw, tiny_config
from repository import ROOT

from transformer_lib import Transformer, greedy_decode, record_attention, translate_ids
from transformer_lib.data import numbers, pronunciation
from transformer_lib.layers import SublayerConnection
from transformer_lib.notebook.live.export import CHARACTERS, rounded, to_page
from transformer_lib.recipes.recipe import PACKAGED
from transformer_lib.recipes.tasks import Pronounce, load

LIVE = ROOT / "transformer_lib" / "notebook" / "live"
MODELS = ROOT / "site" / "live" / "models"
BY_MATRIX = json.loads((MODELS / "pronounce.levels.json").read_text(encoding="utf-8"))
LEVELS = {"numbers": None, "pronounce": BY_MATRIX}  # how the committed files were made
VOCABULARIES = {
    "numbers": (numbers.english_vocabulary(), numbers.german_vocabulary()),
    "pronounce": (pronunciation.letter_vocabulary(), pronunciation.phoneme_vocabulary()),
}
NUMBERS = [0, 7, 12, 21, 30, 99, 100, 101, 321, 999, 1000, 1001, 1100, 2021, 12_345, 20_000, 99_999, 100_000, 999_999]
NUMBERS += [654_321, 507_016]
WORDS = "physics transformer a i attention is all you need head query key value mask o'clock co-op dr. zzz queue rhythm"


def ask(node, path, *jobs):
    """Let node answer questions about the model in a file."""
    question = json.dumps({"live": str(LIVE), "model": str(path), "jobs": jobs})
    script = str(ROOT / "tests" / "notebook" / "engine_answers.js")
    run = subprocess.run([node, script], input=question, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@functools.cache
def model_of(name):
    """The packaged model with the weights that its page has."""
    model = load(name)
    for key, parameter in model.named_parameters():
        parameter.data = rounded(parameter.data, (LEVELS[name] or {}).get(key))
    return model


def sources(name):
    """Source ids of twenty inputs and more."""
    english, letters = VOCABULARIES["numbers"][0], VOCABULARIES["pronounce"][0]
    if name == "numbers":
        return [english.encode(numbers.number_pair(number).english) for number in NUMBERS]
    return [letters.encode(list(word)) for word in WORDS.split()]


@torch.no_grad()
def torch_greedy(model, src, **options):
    """What the PyTorch model writes, with BOS."""
    row = greedy_decode(model, torch.tensor([src]), max_new_tokens=model.config.max_len, **options)
    return [model.config.bos_id, *row[0].tolist()]


@torch.no_grad()
def torch_pass(model, src, tgt):
    """Logits of every step, and all attention maps."""
    with record_attention(model) as maps:
        logits = model(torch.tensor([src]), torch.tensor([tgt]))[0]
    return logits, {name: weights[0] for name, weights in maps.items()}


def same_logits(found, expected):
    """Require logits within 1e-4 (times their size, where that is above 1)."""
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float32), expected, rtol=0, atol=1e-4 * scale)


def same_maps(found, expected):
    """Require maps within 1e-5; rows of a causal map are as long as what their query may see, the rest is zero."""
    assert set(found) == set(expected)
    for name, weights in expected.items():
        padded = [[row + [0.0] * (weights.size(-1) - len(row)) for row in head] for head in found[name]]
        torch.testing.assert_close(torch.tensor(padded, dtype=torch.float32), weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LEVELS)
def test_the_page_computes_what_pytorch_computes(node, name):
    model, srcs = model_of(name), sources(name)
    assert len(srcs) >= 20
    written = ask(node, MODELS / f"{name}.js", *({"kind": "greedy", "src": src, "off": []} for src in srcs))
    passes = [
        {"kind": "pass", "src": src, "tgt": found["ids"][:-1], "off": []}
        for src, found in zip(srcs, written, strict=True)
    ]
    for src, found, whole in zip(srcs, written, ask(node, MODELS / f"{name}.js", *passes), strict=True):
        assert found["ids"] == torch_greedy(model, src)
        logits, maps = torch_pass(model, src, found["ids"][:-1])
        for way in (found, whole):  # token by token with a cache, and all at once
            same_logits(way["logits"], logits)
            same_maps(way["maps"], maps)
        assert all(abs(total - 1) < 1e-5 for total in found["sums"])


def cut(model, part, monkeypatch):
    """A copy of a model without a part, made by surgery; what is no part of it is taken out of the library."""
    model = copy.deepcopy(model)
    words = part.split(".")
    if part == "positions":
        model.positions.encoding.zero_()
    elif part == "causal":
        see_all = lambda q, kv, device: torch.ones(q, kv, dtype=torch.bool)  # noqa: E731
        monkeypatch.setattr("transformer_lib.transformer.causal_mask", see_all)
    elif part == "residuals":

        def alone(self, x, sublayer):
            return sublayer(self.norm(x)) if self.norm_first else self.norm(sublayer(x))

        monkeypatch.setattr(SublayerConnection, "forward", alone)
    elif "head" in words:
        attention, d_head = model.get_submodule(".".join(words[:4])), model.config.d_model // model.config.n_heads
        head = int(words[-1])
        attention.out_proj.weight.data[:, head * d_head : (head + 1) * d_head] = 0
    else:
        del getattr(model, words[0]).layers[int(words[2])]
    return model


@pytest.mark.parametrize("name", LEVELS)
def test_every_switch_is_the_same_surgery(node, name, monkeypatch):
    path, model, config = MODELS / f"{name}.js", model_of(name), model_of(name).config
    src = sources(name)[8 if name == "numbers" else 1]
    tgt = torch_greedy(model, src)[:-1]
    (parts,) = ask(node, path, {"kind": "switches"})
    n_layers = config.n_encoder_layers + config.n_decoder_layers
    n_heads = (config.n_encoder_layers + 2 * config.n_decoder_layers) * config.n_heads
    assert len(parts) == len(set(parts)) == 3 + n_layers + n_heads
    if name == "pronounce":  # one head in six is enough, each attention another
        heads = [part for part in parts if "head" in part]
        parts = [part for part in parts if "head" not in part] + heads[::7]
    answers = ask(node, path, *({"kind": "pass", "src": src, "tgt": tgt, "off": [part]} for part in parts))
    whole, _ = torch_pass(model, src, tgt)
    written = [part for part in parts if name == "numbers" or "head" not in part]
    greedy = ask(node, path, *({"kind": "greedy", "src": src, "off": [part]} for part in written))
    alone = dict(zip(written, greedy, strict=True))
    for part, found in zip(parts, answers, strict=True):
        with monkeypatch.context() as patch:
            changed = cut(model, part, patch)
            logits, _ = torch_pass(changed, src, tgt)
            assert (logits - whole).abs().max() > 1e-3, f"{part} changes nothing, so nothing is compared"
            same_logits(found["logits"], logits)
            if part in alone:
                with_cache = part != "causal" and part.count(".") != 2  # a cache counts on all layers, and on the mask
                assert alone[part]["ids"] == torch_greedy(changed, src, use_cache=with_cache)
                last, _ = torch_pass(changed, src, alone[part]["ids"][:-1])  # without a cache
                same_logits(alone[part]["logits"][-1], last[-1])


@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"tie_embeddings": True}, {"share_vocab": True}])
def test_every_kind_of_model_can_be_written(node, tmp_path, options):
    sizes = {"tgt_vocab_size": 41} if "share_vocab" in options else {}
    model = redraw(Transformer(tiny_config(**options, **sizes))).eval()
    vocabularies = [str(i) for i in range(41)], [str(i) for i in range(model.config.tgt_vocab_size)]
    some = {name: 15 for name, parameter in model.named_parameters() if parameter.dim() == 2 and "fc1" in name}
    for levels in (None, 91, some):
        to_page(model, vocabularies, tmp_path / "tiny.js", levels=levels)
        same = copy.deepcopy(model)
        for name, parameter in same.named_parameters():
            parameter.data = rounded(parameter.data, levels.get(name) if levels is some else levels)
        weights, found = ask(
            node,
            tmp_path / "tiny.js",
            {"kind": "weights"},
            {"kind": "pass", "src": [3, 4, 5], "tgt": [1, 7, 9], "off": []},
        )
        for name, parameter in same.named_parameters():
            assert weights[name] == parameter.flatten().tolist(), "to the last bit"
        logits, maps = torch_pass(same, [3, 4, 5], [1, 7, 9])
        same_logits(found["logits"], logits)
        same_maps(found["maps"], maps)


@pytest.mark.parametrize("name", LEVELS)
def test_the_committed_files_are_of_the_packaged_models(name, tmp_path):
    checkpoint = PACKAGED / name / "model.safetensors"
    written = (MODELS / f"{name}.js").read_text(encoding="utf-8")
    content = json.loads(written.split(" = ", 1)[1].rstrip().removesuffix(";"))
    assert content["manifest"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest(), "write it again"
    vocabularies = tuple(vocabulary.tokens for vocabulary in VOCABULARIES[name])
    to_page(load(name), vocabularies, tmp_path / f"{name}.js", levels=LEVELS[name], checkpoint=checkpoint)
    assert (tmp_path / f"{name}.js").read_text(encoding="utf-8") == written, "write it again"


def test_nothing_is_lost_of_the_small_model():
    for (name, weight), same in zip(load("numbers").named_parameters(), model_of("numbers").parameters(), strict=True):
        assert torch.equal(weight, same), name


def test_a_figure_sends_three_megabytes_at_most():
    for name in LEVELS:
        code = [LIVE / "live.js", LIVE / "live.css", LIVE / "engine.js", LIVE / "figures" / "model.js"]
        sizes = [len(gzip.compress(path.read_bytes())) for path in (MODELS / f"{name}.js", *code)]
        assert sum(sizes) <= 3_000_000, (name, sizes)


def test_rounding_changes_no_answer():
    task = Pronounce()
    entries = task.split.dev[:6000:15]
    ids = [task.letters.encode(list(entry.word)) for entry in entries]
    models = load("pronounce"), model_of("pronounce")
    exact, near = (translate_ids(model, ids, max_new_tokens=32) for model in models)
    assert [e.word for e, a, b in zip(entries, exact, near, strict=True) if a != b] == [] and len(exact) == 400


def test_a_weight_is_rounded_to_the_nearest_level_of_its_row():
    torch.manual_seed(0)
    weight = torch.randn(7, 300) * torch.logspace(-3, 3, 7)[:, None]
    weight[3] = 0
    for levels in (3, 41, 91):
        near = rounded(weight, levels)
        step = weight.abs().amax(dim=1, keepdim=True) / (levels // 2)
        assert ((near - weight).abs() <= 0.502 * step).all()
        assert max(len(row.unique()) for row in near) <= levels
    assert torch.equal(rounded(weight[0], 41), weight[0].half().float())  # no matrix


def test_the_characters_mean_nothing_else():
    assert len(CHARACTERS) == len(set(CHARACTERS)) == 91
    assert json.dumps(CHARACTERS) == f'"{CHARACTERS}"' and not set(CHARACTERS) & set("<&\"\\\n`'") - {"'", "`"}


def test_what_does_not_fit_is_refused(tmp_path):
    model = lively_model().float()
    tokens = [str(i) for i in range(13)], [str(i) for i in range(7)]
    with pytest.raises(ValueError, match=r"vocabularies of \[13, 7\] tokens, got \[7, 7\]"):
        to_page(model, (tokens[1], tokens[1]), tmp_path / "x.js")
    for levels in (2, 1, 93, {"output.weight": 2}):
        with pytest.raises(ValueError, match="levels must be odd"):
            to_page(model, tokens, tmp_path / "x.js", levels=levels)
    model.output.bias.data[0] = 1e6
    with pytest.raises(ValueError, match=r"output\.bias holds numbers"):
        to_page(model, tokens, tmp_path / "x.js")


def test_the_engine_refuses_what_it_does_not_know(node):
    changes = {
        ("format",): 2,
        ("positions",): "rotary",
        ("embedding_scale",): 1,
        ("norm",): "rms",
        ("config", "activation"): "gelu",
        ("config", "norm_first"): "yes",
        ("config", "d_model"): 0.5,
        ("config", "n_kv_heads"): 2,
        ("tensors", 0, 2): "float8",
        ("tensors", 0, 1): [2, 2],
        ("vocabularies", 0): ["one"],
    }
    jobs = [{"kind": "refuse", "path": ["manifest", *path], "value": value} for path, value in changes.items()]
    same = {"kind": "refuse", "path": ["manifest", "format"], "value": 1}
    *refused, accepted = ask(node, MODELS / "numbers.js", *jobs, same)
    assert accepted == "accepted"
    for path, said in zip(changes, refused, strict=True):
        assert any(word in said for word in ("does not know", "has 2112 numbers", "not as long")), (path, said)


TYPED = """321|0|-0|-5|007|1,000|12,34|1,00|999999|1000000|999,999|  42 |4 2|3.14|1e3|five|FIVE|twenty-one|twenty one
one hundred and one|one hundred one|hundred|one thousand|thousand one|a hundred|and||-|, ,|zero|zero one|ten ten
one hundred zero|twenty\u2013two|nine hundred ninety nine thousand nine hundred ninety nine|one million|minus one
two thousand thousand|one thousand zero hundred|eleven hundred|three hundred twenty one thousand|\u0663\u0662\u0661
three  hundred,twenty\u00a0one|hello|dreihundert|x</p>|one hundred thousand one|forty-two and|fortyy|-1,000|1,000,000"""


def test_the_page_reads_numbers_as_the_library_does(node):
    texts = [text for line in TYPED.split("\n") for text in line.split("|")]
    texts += [str(number) for number in NUMBERS] + [" ".join(numbers.number_pair(n).english) for n in NUMBERS]
    texts += [str(number) for number in numbers.draw_numbers(300, seed=1)]
    _compare_readings(node, "numbers", texts, numbers.read_tokens)


def test_the_page_reads_words_as_the_library_does(node):
    texts = [
        "physics",
        " Physics ",
        "O\u2019Clock",
        "",
        " ",
        "\u00e9",
        "a" * 32,
        "a" * 33,
        "two words",
        "co-op",
        "dr.",
        "x1",
    ]

    def read_word(text):
        word = text.strip().lower().replace("\u2019", "'")
        if not 0 < len(word) <= 32:
            raise ValueError
        VOCABULARIES["pronounce"][0].encode(list(word))
        return list(word)

    _compare_readings(node, "pronounce", texts, read_word)


def _compare_readings(node, name, texts, read):
    """Require that the page reads and refuses the same texts as `read`."""

    def read_or_none(text):
        with contextlib.suppress(ValueError):
            return read(text)

    (found,) = ask(node, MODELS / f"{name}.js", {"kind": "read", "name": name, "texts": texts})
    expected = [read_or_none(text) for text in texts]
    assert {text: tokens for text, tokens in zip(texts, found, strict=True)} == dict(zip(texts, expected, strict=True))
    assert None in expected and any(expected)


def test_what_chapters_tell_of_the_live_model_is_so(node):
    def ask_greedy(name, *questions):
        """The answers to pairs of a text and what is switched off, each as one text."""
        source, target = VOCABULARIES[name]
        read = numbers.split_english if name == "numbers" else list
        jobs = [{"kind": "greedy", "src": source.encode(read(text)), "off": off} for text, off in questions]
        found = ask(node, MODELS / f"{name}.js", *jobs)
        join = "" if name == "numbers" else " "
        return [join.join(target.decode(answer["ids"][1:])) for answer in found], [answer["maps"] for answer in found]

    us, her = "three hundred twenty one", "one hundred twenty three"
    layers = [f"{tower}.layers.{n}" for tower in ("encoder", "decoder") for n in range(2)]
    large = "six hundred fifty four thousand three hundred twenty one"
    answers, _ = ask_greedy("numbers", *((us, [layer]) for layer in layers), (large, []), (large, [layers[2]]))
    assert answers[:4] == ["dreihunderteinundzwanzig"] * 3 + ["einhunderteinundzwanzig"]  # chapter 0
    assert answers[4] != answers[5]
    (heads,) = ask(node, MODELS / "numbers.js", {"kind": "switches"})
    heads = [part for part in heads if "head" in part]
    answers, _ = ask_greedy("numbers", *(("seven thousand", [head]) for head in heads))
    assert {head: a for head, a in zip(heads, answers, strict=True) if a != "siebentausend"} == {
        "decoder.layers.1.cross_attn.head.2": "sieben"
    }  # chapter 3
    answers, _ = ask_greedy(
        "numbers", *((us, [head]) for head in heads), ("twelve thousand three hundred forty five", [heads[22]])
    )
    assert answers == ["dreihunderteinundzwanzig"] * 24 + ["zwölf"]
    answers, _ = ask_greedy("numbers", (us, ["positions"]), (her, ["positions"]), ("twenty one", ["positions"]))
    assert answers == ["dreihundertdreiundzwanzig"] * 2 + ["einundzwanzig"]  # chapter 4
    answers, _ = ask_greedy("numbers", (us, ["residuals"]), (us, ["causal"]))
    assert answers == ["und" * 24, "dreihunderteinundzwanzig"]  # chapters 5 and 8
    _, (maps,) = ask_greedy("numbers", (us, []))
    looks = [row[3].index(max(row[3])) for n in range(2) for row in maps[f"decoder.layers.{n}.cross_attn"]]
    assert looks == [2, 2, 3, 3, 2, 2, 2, 2]  # chapter 10
    layers = [f"{tower}.layers.{n}" for tower, count in (("encoder", 6), ("decoder", 3)) for n in range(count)]
    answers, _ = ask_greedy("pronounce", *(("physics", [layer]) for layer in layers))
    assert answers == ["F IH Z IH K S"] * 6 + ["F IH S IH K S"] + ["F IH Z IH K S"] * 2  # chapter 12
    answers, _ = ask_greedy("pronounce", ("rhythm", []), *(("rhythm", [layer]) for layer in layers))
    assert [layer for layer, a in zip(layers, answers[1:], strict=True) if a != answers[0]] == ["decoder.layers.2"]
