"""The tasks: what each makes of a text, the model that is packaged for it, and that its card says what was measured."""

import functools
import json
import math

import pytest
import torch
from helpers import redraw, tiny_model

from transformer_lib import beam_search, exact_match, greedy_decode
from transformer_lib.data import numbers, pronunciation
from transformer_lib.data import sentences as s
from transformer_lib.data.pronunciation import Entry
from transformer_lib.data.subwords import Subwords
from transformer_lib.modern import LanguageModel
from transformer_lib.recipes import PACKAGED, TASKS, load, read_recipe, text_task
from transformer_lib.recipes.tasks import Sentences

model = functools.cache(load)
read = functools.cache(s.read_sentences)
NUMBER, PHYSICS = "dreihunderteinundzwanzig", "F IH Z IH K S"


@functools.cache
def task(name):
    return TASKS[name](PACKAGED / name)


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("numbers", "three hundred and twenty-one", NUMBER),
        ("numbers", " Three  hundred,\ttwenty one \n", NUMBER),
        ("numbers", "three hundred twenty\N{NON-BREAKING HYPHEN}one", NUMBER),
        ("numbers", "321", NUMBER),
        ("pronounce", "physics", PHYSICS),
        ("pronounce", "  Physics\n", PHYSICS),
        ("sentences", "Failed to connect to the device.", "Verbindung zum Gerät fehlgeschlagen."),
    ],
)
def test_answers(name, text, answer):
    assert task(name).answer(text, model(name)) == answer


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("numbers", "", "nothing to translate. Write an English number from zero to 999,999 in words, such as"),
        ("numbers", " - and, ", "There is nothing to translate"),
        ("numbers", "three hundred foo", "The word 'foo' is unknown.*such as: three.*known words are: zero, one, two"),
        ("numbers", "x" * 500, "The word 'x{40}' is unknown"),
        ("numbers", "one million", "A number with 'million' is out of range"),
        ("numbers", "1,234,567", "number must be a whole number from 0 to 999,999, got 1234567"),
        ("numbers", "-5", "number must be a whole number from 0 to 999,999, got -5"),
        ("numbers", "9" * 10_000, "for integer string conversion"),  # Python's own
        ("numbers", "12,34", "The word '12' is unknown"),
        ("numbers", "twenty hundred", "'twenty hundred' is not how English says a number from 0 to 999,999. Write an"),
        ("numbers", " ".join(["ninety"] * 2000), "is not how English says"),
        ("pronounce", "", "'' has 0 letters; write a word of 1 to 32"),
        ("pronounce", "two words", "unknown token ' '; the vocabulary knows a, b, c"),
        ("pronounce", "x" * 33, "'x{33}' has 33 letters"),
        ("pronounce", "y" * 9000, "^'y{40}' has 9000 letters"),
        ("sentences", " \n", "'' is 0 pieces; write a text of 1 to 64"),
        ("sentences", "lamp " * 100, "'(lamp )*' is [0-9]+ pieces; write a text of 1 to 64"),
        ("text", "the " * 95, "'(the )*' is 95 pieces; write at most 94"),
    ],
)
def test_what_is_not_accepted(name, text, message):
    with pytest.raises(ValueError, match=message) as error:
        task(name).answer(text, model(name))
    assert "\n" not in str(error.value)


def test_numbers_are_trained_on_with_what_people_type(monkeypatch):
    split, spelled = numbers.split_numbers(200, 50, seed=0), numbers.spell(range(1000))
    monkeypatch.setattr(numbers, "split_numbers", lambda n_train, n_test, seed: split)
    asked = []
    monkeypatch.setattr(numbers, "spell", lambda n: asked.append(n) or [spelled[min(number, 999)] for number in n])
    few = TASKS["numbers"]()
    hidden = {pair.number for pair in split[1]}
    more = few.train_pairs()[200:]
    small = {*range(1000), *range(1000, 10**6, 1000)} - hidden - {pair.number for pair in split[0]}
    assert len(more) == len(small) + 560
    alone = tiny_model(src_vocab_size=33, tgt_vocab_size=35, max_len=24)
    assert few.measure(alone).keys() == few.examine(alone).keys() == {"exact_match"}
    assert few.files == {}
    assert len({*asked[-1]} - small - {pair.number for part in split for pair in part}) == 200  # to look at in training


def test_words(monkeypatch):
    entries = [Entry("ab", [["AE", "B"]]), Entry("be", [["B", "IY"], ["B", "EY"]])]
    monkeypatch.setattr(pronunciation, "read_dictionary", lambda: entries)
    split = pronunciation.Split(entries, entries[:1], entries)
    monkeypatch.setattr(pronunciation, "split_by_index", lambda entries: split)
    words = TASKS["pronounce"]()
    assert len(words.train_pairs()) == 3
    alone = tiny_model(src_vocab_size=32, tgt_vocab_size=42)
    assert words.vocab_sizes == (32, 42)
    assert words.measure(alone).keys() == {"word_error", "phoneme_error"}
    assert words.files == {}
    assert " ".join(words.examine(alone)) == "dev_word_error dev_phoneme_error test_word_error test_phoneme_error"


@pytest.mark.parametrize("name", ["sentences", "sentences_random", "sentences_turkish"])
def test_sentences(monkeypatch, name):
    language = "turkish" if name.endswith("turkish") else "german"
    few = read(language)[:2500]
    monkeypatch.setattr(s, "read_sentences", {language: few}.__getitem__)
    monkeypatch.setattr(Sentences, "size", 400)
    these = TASKS[name]()
    split = s.split_at_random if name.endswith("random") else s.split_by_integration
    assert these.split == split(few)
    assert these.vocab_sizes == (400, 400)
    pairs = these.train_pairs()
    assert 0.9 * len(these.split.train) < len(pairs) <= len(these.split.train)
    these.split.test[2:], these.split.dev[:] = [], these.split.test[:2]
    alone = tiny_model(src_vocab_size=400, tgt_vocab_size=400, max_len=64)
    assert these.measure(alone).keys() == {"bleu", "chrf"}
    assert list(these.examine(alone)) == ["greedy_bleu", "greedy_chrf", "beam_4_bleu", "beam_4_chrf"]
    (content,) = these.files.values()
    assert Subwords(these.subwords.tokenizer.from_str(content)).to_json() == content


def test_translations_stay_in_their_places():
    these = Sentences(PACKAGED / "sentences")
    alone = tiny_model(src_vocab_size=3000, tgt_vocab_size=3000, max_len=12)
    lines = ["Set the target temperature", "Lamp", "The lamp is off"]
    for options in ({}, {"decode": beam_search, "beam_size": 2}):
        together = these.translate(alone, lines, **options)
        assert together == [these.translate(alone, [line], **options)[0] for line in lines]
    one = greedy_decode(alone, torch.tensor([these.subwords.encode("Lamp")]), max_new_tokens=12)[0].tolist()
    assert these.translate(alone, lines)[1] == these.subwords.decode(one)


@pytest.mark.parametrize(
    ("name", "most"),
    [("numbers", 700_000), ("pronounce", 10_000_000), ("sentences", 10_000_000), ("text", 2_500_000)],
)
def test_folders_of_one_shape(name, most):
    folder = PACKAGED / name
    shape = {"README.md", "NOTICE", "recipe.toml", "model.safetensors", "log.jsonl", "result.json"}
    more = {"subwords.json"} if name in ("sentences", "text") else set()
    assert {path.name for path in folder.iterdir()} == shape | more
    assert (folder / "model.safetensors").stat().st_size < most
    assert {weight.dtype for weight in model(name).parameters()} == {torch.float32}
    recipe, log = read_recipe(folder / "recipe.toml"), (folder / "log.jsonl").read_text().splitlines()
    assert recipe.config(*task(name).vocab_sizes) == model(name).config
    assert json.loads(log[-1])["step"] == recipe.training.steps == recipe.watching.every * len(log)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{recipe.training.steps:,} steps" in card
    assert f"{sum(weight.numel() for weight in model(name).parameters()):,} parameters" in card
    assert f"python -m transformer_lib train {name}" in card
    assert f"python -m transformer_lib ask {name} " in card


def result(name):
    """What was measured of the packaged model."""
    return json.loads((PACKAGED / name / "result.json").read_text())["averaged"]


def card(name):
    """The model's card, in one line."""
    return " ".join((PACKAGED / name / "README.md").read_text(encoding="utf-8").split())


def test_numbers_are_as_good_as_the_card_says(monkeypatch, without_shape_checks):
    said = result("numbers")["exact_match"]
    assert f"{100 * said:.1f} % of 1,000 unseen numbers" in card("numbers")
    with monkeypatch.context() as patch:  # to spell all 11,000 takes seconds
        patch.setattr(numbers, "spell", list)
        unseen = numbers.split_numbers(10_000, 1_000, seed=0)[1]
    for chosen in (unseen[:200], range(0, 1000, 7)):
        assert exact_match(model("numbers"), numbers.encode_pairs(numbers.spell(chosen))) == said


def test_words_are_as_good_as_the_card_says():
    for part in ("dev", "test"):
        errors = [f"{100 * result('pronounce')[f'{part}_{kind}_error']:.1f} %" for kind in ("word", "phoneme")]
        assert f"| {part} | {errors[0]} | {errors[1]} |" in card("pronounce"), part
    said = result("pronounce")["test_word_error"]
    entries = pronunciation.split_by_index(pronunciation.read_dictionary()).test[::25]
    four_errors = 4 * (said * (1 - said) / len(entries)) ** 0.5
    assert abs(task("pronounce").score(model("pronounce"), entries)["word_error"] - said) < four_errors


def test_sentences_are_as_good_as_the_card_says():
    for way, name in (("greedy", "greedy"), ("beam of 4", "beam_4")):
        bleu, chrf = (100 * result("sentences")[f"{name}_{kind}"] for kind in ("bleu", "chrf"))
        assert f"| {way} | {bleu:.1f} | {chrf:.1f} |" in card("sentences"), way
    split = s.split_by_integration(read("german"))
    for part in (f"{len(split.train):,} pairs", f"({len(split.dev)} plain sentences)", f"test ({len(split.test):,})"):
        assert part in card("sentences")


@pytest.mark.parametrize(
    ("name", "of", "message"),
    [
        ("numbers", "pronounce", r"target tokens, .*\) = \(32, 42, 0, 1, 2\); the task numbers needs \(33, 35"),
        ("pronounce", "numbers", r"= \(33, 35, 0, 1, 2\); the task pronounce needs \(32, 42, 0, 1, 2\)"),
        ("sentences", "numbers", "No such file or directory: .*numbers.subwords.json"),
    ],
)
def test_the_model_of_another_task(name, of, message):
    path = PACKAGED / of / "model.safetensors"
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load(name, path)


def test_a_model_with_other_special_tokens(tmp_path):
    path = tmp_path / "mine.safetensors"
    tiny_model(src_vocab_size=33, tgt_vocab_size=35, eos_id=7).save(path)
    with pytest.raises(ValueError, match=r"mine.safetensors holds .* = \(33, 35, 0, 1, 7\); the task numbers needs"):
        load("numbers", path)


def test_texts_are_split_and_none_is_met_twice():
    texts = text_task.read_texts()
    assert [len(part) for part in texts] == [25859, 162, 1631]
    assert texts.train[0].endswith("that was originally configured.")  # in the order of the file
    together = [s.bare(text) for part in texts for text in part]
    assert len(set(together)) == len(together)


def test_bits_per_character_are_those_of_the_texts(monkeypatch):
    these = TASKS["text"](PACKAGED / "text")
    alone = redraw(LanguageModel(read_recipe(PACKAGED / "text" / "recipe.toml").config(1000, 1000))).eval()
    texts = ["Turn on the light", "Lamp", "The lamp is off."]
    bits = 0.0
    for text in texts:
        ids = torch.tensor([[1, *these.subwords.encode(text), 2]])
        log_probs = alone(ids).log_softmax(-1)[0].double()
        bits -= sum(log_probs[i, ids[0, i + 1]].item() for i in range(ids.size(1) - 1)) / math.log(2)
    found = text_task.bits_per_character(alone, texts, these.subwords)
    assert math.isclose(found, bits / sum(map(len, texts)), rel_tol=1e-5)
    many = text_task.bits_per_character(alone, 50 * texts, these.subwords)  # more than one batch
    assert math.isclose(many, found, rel_tol=1e-5)
    monkeypatch.setattr(text_task, "read_texts", lambda: text_task.Texts(texts, texts[:1], texts[1:]))
    assert these.train_pairs()[1] == ([1], [1, *these.subwords.encode("Lamp"), 2])
    (dev,), (test,) = these.measure(alone).values(), these.examine(alone).values()
    assert math.isclose(dev, text_task.bits_per_character(alone, texts[:1], these.subwords))
    assert not math.isclose(dev, test)
    assert these.measure(alone).keys() == these.examine(alone).keys() == {"bits_per_character"}
    monkeypatch.setattr(these, "size", 40)
    own = TASKS["text"]()
    monkeypatch.setattr(own, "size", 40)
    assert own.vocab_sizes == (40, 40) and own.files == {"subwords.json": own.subwords.to_json()}


def test_a_text_is_written_on_and_by_the_same_chance():
    these, known = task("text"), model("text")
    answers = {these.answer(" Unable to ", known) for _ in range(2)}
    (answer,) = answers
    assert answer.startswith("Unable to") and len(answer) > len("Unable to")
