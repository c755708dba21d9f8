"""The command line: what it prints, and what it says when it cannot."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import RECIPE, training

from transformer_lib import Trainer, __main__
from transformer_lib.recipes import PACKAGED, TASKS

ROOT = Path(__file__).parents[2]
MODEL = PACKAGED / "numbers" / "model.safetensors"


def answers(capsys, *arguments):
    """Run the command here; return its status and what it printed."""
    return __main__.main(list(arguments)), *capsys.readouterr()


def test_the_commands_of_the_book_with_several_words_as_one_text_or_several(capsys):
    for command, answer in (
        ("numbers|three hundred twenty one", "dreihunderteinundzwanzig"),
        (f"numbers|--model|{MODEL}|three|hundred", "dreihundert"),
        ("pronounce|transformer", "T R AE N S F AO R M ER"),
        ("sentences|Turn on the light", "Leuchte einschalten"),
        ("sentences|Turn|on|the|light", "Leuchte einschalten"),
    ):
        assert answers(capsys, "ask", *command.split("|")) == (0, f"{answer}\n", "")
    status, out, err = answers(capsys, "ask", "pronounce", "physics", "café", "physics")
    assert (status, out) == (2, "F IH Z IH K S\n" * 2)
    assert err.startswith("unknown token 'é'; the vocabulary knows a, b, c") and err.count("\n") == 1
    for wrong in (["ask", "numbers", "--color", "three"], ["ask", "cook"], ["train", "numbers", "three"], []):
        with pytest.raises(SystemExit, match="2"):
            __main__.main(wrong)


def test_a_person_is_told_what_to_write(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\n\nfive\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    status, out, err = answers(capsys, "ask", "numbers")
    assert (status, out) == (2, "zwei\nfünf\n")
    hint, refused = err.splitlines()
    assert hint.startswith("Write an English number") and hint.endswith("End with Ctrl-D.")
    assert refused.startswith("There is nothing to translate")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_lines_of_any_program(capsys, monkeypatch, mark, encoding):
    """A mark that editors on Windows write before a text, and bytes that are no text."""
    given = io.BufferedReader(io.BytesIO(mark + b"twelve\r\nfoo\n\xff\xfe\none thousand"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given, encoding=encoding))
    status, out, err = answers(capsys, "ask", "numbers")
    assert (status, out) == (2, "zwölf\neintausend\n")
    assert [line.partition(" is unknown")[0] for line in err.splitlines()] == [
        "The word 'foo'",
        f"The word '{'ÿþ' if encoding == 'cp1252' and not mark else 2 * chr(0xFFFD)}'",
    ]


@pytest.mark.parametrize("encoding", ["gbk", "cp932", "cp1251", "ascii", "utf-8", "cp1252"])
def test_a_terminal_that_lacks_a_letter_loses_no_answer(monkeypatch, encoding):
    answer = "dreißig" if encoding in ("utf-8", "cp1252") else "drei\\xdfig"
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stdin", io.StringIO("three\nthirty\nseven\n"))
    assert __main__.main(["ask", "numbers"]) == 0
    assert screen.buffer.getvalue().decode(encoding).split() == ["drei", answer, "sieben"]
    monkeypatch.setattr(sys, "stdout", caught := io.StringIO())  # no terminal, as in a notebook
    assert (__main__.main(["ask", "numbers", "thirty"]), caught.getvalue()) == (0, "dreißig\n")


def test_a_reader_who_has_enough(monkeypatch, capfd):
    reader, writer = os.pipe()
    monkeypatch.setattr(sys, "stdin", io.StringIO("seven\n" * 50))
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))
    os.close(reader)
    assert __main__.main(["ask", "numbers"]) == 141
    sys.stdout.close()  # as Python does when it ends: nothing is left that cannot be written
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_disk_that_is_full(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdout", open("/dev/full", "w"))
    assert __main__.main(["ask", "numbers", "seven"]) == 2
    sys.stdout.close()
    assert capfd.readouterr().err == "[Errno 28] No space left on device\n"


def test_ctrl_c(recipe, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TASKS["numbers"], "answer", stop)
        assert answers(capsys, "ask", "numbers", "seven") == (130, "", "Stopped.\n")
    step = Trainer.train_step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", lambda trainer: stop() if trainer.step == 5 else step(trainer))
        status, out, err = answers(capsys, *training(recipe, tmp_path / "a"))
    assert (status, err) == (130, "Stopped. The same command goes on after the last checkpoint.\n")
    status, out, err = answers(capsys, *training(recipe, tmp_path / "a"))
    assert (status, err) == (0, "")
    assert "; 5 of 9 steps are left, " in out


def test_it_starts_as_a_program_and_loads_nothing_that_is_not_needed():
    command = [sys.executable, "-X", "importtime", "-m", "transformer_lib", "ask", "pronounce", "physics"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "F IH Z IH K S\n"
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"torch", "transformer_lib.recipes"} <= loaded
    wings = {f"transformer_lib.{wing}" for wing in "fast distributed interop laws notebook".split()}
    assert not loaded & {*wings, "sacrebleu", "rapidfuzz", "num2words", "matplotlib", "transformers", "IPython"}


def test_a_model_that_is_none(tmp_path, capsys):
    missing, damaged = tmp_path / "missing.safetensors", tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a checkpoint")
    for path, message in (
        (missing, "there is no model at"),
        (tmp_path, "there is no model at"),
        (damaged, "is damaged or not a file of this library"),
    ):
        status, out, err = answers(capsys, "ask", "numbers", "--model", str(path), "one")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err
        assert str(path) in err


def test_what_a_training_refuses(recipe, tmp_path, capsys):
    folder = str(tmp_path / "a")
    command = training(recipe, folder)
    for wrong, message in (
        (training("nowhere.toml", folder), "No such file or directory: 'nowhere.toml'\n"),
        (("train", "numbers", *command[2:]), f"{recipe} is a recipe for pronounce, not for numbers\n"),
        (("train", "sentences_turkish", "--folder", folder), "sentences_turkish"),
    ):
        status, out, err = answers(capsys, *wrong)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err
        assert not Path(folder).exists()
    assert __main__.main(command) == 0
    recipe.write_text(RECIPE.replace("steps = 9", "steps = 11"))
    capsys.readouterr()
    told = f"{folder} holds a training by another recipe; give another --folder\n"
    assert answers(capsys, *command) == (2, "", told)


@pytest.mark.parametrize("device", ["foo", "meta", "cuda:77", ""])
def test_a_device_that_is_not_there(recipe, tmp_path, capsys, device):
    status, out, err = answers(capsys, *training(recipe, tmp_path / "a"), "--device", device)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"device ({device}) must be one that torch can compute on, such as cpu; ")
    assert not (tmp_path / "a").exists()


def test_what_several_processes_refuse_is_said_once(recipe, tmp_path, capsys, monkeypatch):
    command = training(recipe, tmp_path / "a")
    monkeypatch.setenv("RANK", "0")
    status, out, err = answers(capsys, *command)
    assert (status, out) == (2, "")
    assert "say --parallel ddp or fsdp, or leave out torchrun" in err
    monkeypatch.setenv("RANK", "1")
    assert answers(capsys, *command) == (2, "", "")
