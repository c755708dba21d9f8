"""The command line: what it answers, and what it says when it cannot."""

import io
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from transformer_lib import translate
from transformer_lib.config import TransformerConfig
from transformer_lib.data import numbers
from transformer_lib.decoding import exact_match
from transformer_lib.transformer import Transformer

ROOT = Path(__file__).parents[2]


def run(*arguments: str, given: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "transformer_lib.translate", *arguments]
    return subprocess.run(command, input=given, capture_output=True, encoding="utf-8", env=environment, cwd=cwd)


def test_the_command_of_the_book(tmp_path):
    done = run("three hundred twenty one", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dreihunderteinundzwanzig\n", "")


def test_lines_from_standard_input():
    done = run(given="twelve\nfoo\n\none thousand\n")
    assert done.returncode == 2
    assert done.stdout == "zwölf\neintausend\n"
    assert "'foo' is unknown" in done.stderr
    assert "nothing to translate" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.no_cover
def test_packaged_model_is_small_and_good(monkeypatch):
    assert translate.PACKAGED.stat().st_size < 700_000
    model = translate.load()
    assert next(model.parameters()).dtype == torch.float32
    with monkeypatch.context() as patch:  # to spell all 11,000 takes seconds
        patch.setattr(numbers, "number_pair", lambda number: number)
        _, unseen = numbers.split_numbers(10_000, 1_000, seed=0)
    for chosen in (unseen[:200], range(0, 1000, 7)):
        assert exact_match(model, numbers.encode_pairs(list(map(numbers.number_pair, chosen)))) >= 0.995


@pytest.fixture(scope="module")
def model():
    return translate.load()


@pytest.mark.parametrize(
    "text",
    [
        "three hundred and twenty-one",
        "Three Hundred Twenty One",
        " three  hundred,\ttwenty one ",
        "three hundred twenty\N{NON-BREAKING HYPHEN}one",
        "321",
    ],
)
def test_ways_to_write_it(model, text):
    assert translate.translate(text, model) == "dreihunderteinundzwanzig"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "There is nothing to translate. Write an English number from zero to 999,999 in words, such as: three",
        ),
        (" - and, ", "There is nothing to translate"),
        (
            "three hundred foo",
            "The word 'foo' is unknown.*such as: three hundred twenty one.*known words are: zero, one, two",
        ),
        ("drei", "The word 'drei' is unknown"),
        ("x" * 500, "The word 'x{40}' is unknown"),
        ("one million", "A number with 'million' is out of range"),
        ("minus three", "A number with 'minus' is out of range"),
        ("1000000", "1000000 is out of range"),
        ("1,234,567", "1234567 is out of range"),
        ("-5", "-5 is out of range"),
        ("9" * 10_000, "9{40} is out of range"),
        ("12,34", "The word '12' is unknown"),
        ("twenty hundred", "'twenty hundred' is not how English says a number from 0 to 999,999. Write an English"),
        ("thousand", "'thousand' is not how English says a number"),
        (" ".join(["ninety"] * 2000), "is not how English says"),
        ("hundred " * 5000, "is not how English says"),
    ],
)
def test_what_is_not_accepted(model, capsys, text, message):
    with pytest.raises(ValueError, match=message):
        translate.translate(text, model)
    assert translate.main(["--", text]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_model_of_your_own(tmp_path, capsys, model):
    model.save(tmp_path / "mine.pt")
    assert translate.main(["--model", str(tmp_path / "mine.pt"), "three", "hundred", "twenty", "one"]) == 0
    assert capsys.readouterr().out == "dreihunderteinundzwanzig\n"


def test_model_that_does_not_fit(tmp_path, capsys):
    missing, damaged, other = (tmp_path / name for name in ("missing.pt", "damaged.pt", "other.pt"))
    damaged.write_bytes(b"not a checkpoint")
    Transformer(TransformerConfig(src_vocab_size=13, tgt_vocab_size=17)).save(other)
    for path, message in (
        (missing, "no checkpoint at"),
        (damaged, "is damaged"),
        (other, "vocabularies of (13, 17) tokens; number words need (33, 35)"),
        (tmp_path, ""),
    ):
        assert translate.main(["--model", str(path), "one"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert err.count("\n") == 1
        assert str(path) in err


def test_model_with_other_special_tokens(tmp_path):
    path = tmp_path / "mine.pt"
    Transformer(TransformerConfig(src_vocab_size=33, tgt_vocab_size=35, d_model=4, n_heads=2, eos_id=7)).save(path)
    with pytest.raises(ValueError, match=r"mine.pt holds a Transformer with pad, bos and eos \(0, 1, 7\)"):
        translate.load(path)


def test_bytes_that_are_no_text(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\ntwo\n"), encoding="utf-8"))
    assert translate.main([]) == 2
    out, err = capsys.readouterr()
    assert out == "zwei\n"
    assert err.startswith("The word '\ufffd\ufffd' is unknown")


def test_train_says_at_once_what_it_cannot_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(numbers, "split_numbers", lambda *_, **__: pytest.fail("it began to train"))
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "no" / "x.pt", "there is no folder")):
        assert translate.main(["--train", str(path)]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        translate.main(["--train", str(tmp_path / "x.pt"), "three"])
    assert "--train stands alone" in capsys.readouterr().err
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1, got 0"):
        translate.train(tmp_path / "x.pt", 0)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["translate", "two"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("transformer_lib.translate", run_name="__main__")
    assert capsys.readouterr().out == "zwei\n"


def test_train_writes_a_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(translate, "STEPS", 2)
    few = numbers.split_numbers(100, 20, seed=0)
    monkeypatch.setattr(translate.numbers, "split_numbers", lambda n_train, n_test, seed: few)
    path = tmp_path / "mine.pt"
    assert translate.main(["--train", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}: 0.0% of 1,000 unseen numbers come out without a mistake\n"
    assert {tensor.dtype for tensor in torch.load(path, weights_only=True)["weights"].values()} == {torch.float16}
    assert translate.load(path).config.d_model == 64
    assert translate.main(["--train", str(tmp_path / "nowhere" / "mine.pt")]) == 2


def test_prompt_when_a_person_types(monkeypatch, capsys):
    stream = io.StringIO("two\n")
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stream)
    assert translate.main([]) == 0
    out, err = capsys.readouterr()
    assert out == "zwei\n"
    assert err.startswith("Write an English number")
