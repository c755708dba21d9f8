"""The pronouncing command and the trained model that it brings along."""

import io
import json
import re
import runpy
import sys

import pytest
import torch

from benchmarks import trainings
from transformer_lib import pronounce
from transformer_lib.config import TransformerConfig
from transformer_lib.data import pronunciation
from transformer_lib.decoding import translate_ids
from transformer_lib.packing import pack
from transformer_lib.transformer import Transformer

FOLDER = pronounce.MODEL.parent
PHYSICS = "F IH Z IH K S"


@pytest.fixture(scope="module")
def model():
    return pronounce.load()


def test_the_command_of_the_book(capsys):
    assert pronounce.main(["physics", "transformer"]) == 0
    assert capsys.readouterr() == (f"{PHYSICS}\nT R AE N S F AO R M ER\n", "")


@pytest.mark.parametrize("word", ["physics", "PHYSICS", "  Physics\n"])
def test_ways_to_write_it(model, word):
    assert " ".join(pronounce.pronounce(word, model)) == PHYSICS


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "there is no word; write one in English letters, such as: transformer"),
        ("two words", "' ' in 'two words' is none of the signs of the dictionary: abc"),
        ("café", "'é' in 'café' is none of the signs"),
        ("x" * 33, "x{33} has 33 letters; the model reads words of at most 32"),
        ("y" * 9000, "^y{40} has 9000 letters"),
    ],
)
def test_what_is_not_accepted(model, capsys, word, message):
    with pytest.raises(ValueError, match=message):
        pronounce.pronounce(word, model)
    assert pronounce.main(["physics", word]) == 2
    out, err = capsys.readouterr()
    assert out == f"{PHYSICS}\n"
    assert re.search(message, err)
    assert err.count("\n") == 1


def test_lines_of_the_standard_input(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"physics\n\xff\nphysics"), encoding="utf-8"))
    assert pronounce.main([]) == 2
    out, err = capsys.readouterr()
    assert out == f"{PHYSICS}\n{PHYSICS}\n"
    assert err.count("\n") == 1


def test_it_tells_a_person_what_to_write(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("physics\n"))
    assert pronounce.main([]) == 0
    assert capsys.readouterr() == (f"{PHYSICS}\n", f"{pronounce.ACCEPTED}. End with Ctrl-D.\n")


def test_a_model_that_is_none(tmp_path, capsys):
    missing, other = tmp_path / "missing.safetensors", tmp_path / "other.safetensors"
    sizes = {"d_model": 4, "n_heads": 2, "d_ff": 8, "n_encoder_layers": 1, "n_decoder_layers": 1}
    pack(Transformer(TransformerConfig(src_vocab_size=32, tgt_vocab_size=31, **sizes)), other)
    for path, message in ((missing, "no packed model at"), (other, "with (32, 31, 0, 1, 2) letters, phonemes")):
        assert pronounce.main(["--model", str(path), "physics"]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert message in err
        assert str(path) in err


def test_it_runs_as_a_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pronounce", "physics"])
    monkeypatch.delitem(sys.modules, "transformer_lib.pronounce")
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_module("transformer_lib.pronounce", run_name="__main__")
    assert capsys.readouterr().out == f"{PHYSICS}\n"


@pytest.mark.no_cover
def test_the_packaged_model_is_small_and_as_good_as_it_says(model):
    assert pronounce.MODEL.stat().st_size < 10_000_000
    assert next(model.parameters()).dtype == torch.float32
    said = json.loads((FOLDER / "result.json").read_text())["averaged"]["test_word_error"]
    entries = pronunciation.split_by_index(pronunciation.read_dictionary()).test[::25]
    letters, phonemes = pronunciation.letter_vocabulary(), pronunciation.phoneme_vocabulary()
    answers = translate_ids(model, [letters.encode(list(entry.word)) for entry in entries], max_new_tokens=32)
    score = pronunciation.score([phonemes.decode(answer) for answer in answers], entries)
    four_errors = 4 * (said * (1 - said) / len(entries)) ** 0.5
    assert abs(score.word_error - said) < four_errors


def test_the_card_says_what_was_measured():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    result = json.loads((FOLDER / "result.json").read_text())["averaged"]
    for part in ("dev", "test"):
        errors = [f"{100 * result[f'{part}_{kind}_error']:.1f} %" for kind in ("word", "phoneme")]
        assert f"| {part} | {errors[0]} | {errors[1]} |" in card, part
    steps = [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()][-1]["step"]
    parameters = sum(p.numel() for p in pronounce.load().parameters())
    assert f"{steps:,} steps" in card
    assert f"{parameters:,} parameters" in card


def test_every_training_is_told(tmp_path):
    rows = json.loads(trainings.RESULTS.read_text())
    result = json.loads((FOLDER / "result.json").read_text())["averaged"]
    (mine,) = [row for row in rows if not row["changes"]]
    assert mine == {"changes": {}, **result}
    for name, line in (("a", "dropout = 0.2\n"), ("b", "")):
        (tmp_path / name).mkdir()
        recipe = (FOLDER / "recipe.toml").read_text().replace("dropout = 0.1\n", line)
        (tmp_path / name / "recipe.toml").write_text(recipe.replace("seed = 0", "seed = 3"))
        averaged = {**result, "dev_word_error": 0.1 if name == "b" else 0.2}
        (tmp_path / name / "result.json").write_text(json.dumps({"last": result, "averaged": averaged}))
    first, second = trainings.collect([tmp_path / "a", tmp_path / "b"], FOLDER)
    assert first == {"changes": {"seed": 3, "dropout": None}, **result, "dev_word_error": 0.1}
    assert second == {"changes": {"seed": 3, "dropout": 0.2}, **result, "dev_word_error": 0.2}
