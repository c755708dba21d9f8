"""Training by a recipe: one recipe, one model; stopped and gone on with; and the pieces it is made of."""

import json
import runpy
import signal
import sys
import time

import pytest
import torch
from helpers import Numbers, in_another_process, tiny_model

from transformer_lib import tasks, train
from transformer_lib.averaging import average_weights
from transformer_lib.data.pronunciation import Entry, Split
from transformer_lib.distributed import processes
from transformer_lib.fast import FastTransformer
from transformer_lib.packing import pack, unpack
from transformer_lib.recipe import PACKAGED, PRECISIONS, read_recipe
from transformer_lib.transformer import Transformer

RECIPE = """
task = "pronounce"
seed = 3
threads = 1
[model]
d_model = 16
n_heads = 2
n_encoder_layers = 1
n_decoder_layers = 1
d_ff = 16
max_len = 24
dropout = 0.1
norm_first = true
[training]
steps = 9
batch_tokens = 60
peak_rate = 1e-2
warmup = 2
smoothing = 0.1
[watching]
every = 2
measure = 4
average = 2
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch, request):
    monkeypatch.setitem(tasks.TASKS, "pronounce", Numbers)
    if request.function is not test_a_run_leaves_a_folder:
        monkeypatch.setattr(train.Run, "draw", lambda run: None)  # pictures take time
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    return path


def command(recipe, folder):
    return ["pronounce", "--config", str(recipe), "--folder", str(folder)]


def log(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_run_leaves_a_folder(recipe, tmp_path, capsys):
    folder = tmp_path / "runs" / "a"
    assert train.main(command(recipe, folder)) == 0
    assert capsys.readouterr().out.splitlines() == ["last: right 0.00%", "averaged: right 0.00%"]
    names = {"recipe.toml", "log.jsonl", "curves.png", "checkpoint.pt", "model.safetensors", "result.json", "ids.txt"}
    assert {path.name for path in folder.iterdir()} == names | {"step_8.pt", "step_9.pt"}
    lines = log(folder)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 9]
    assert [line["step"] for line in lines if "right" in line] == [4, 8, 9]
    assert (folder / "ids.txt").read_text(encoding="utf-8") == "what the ids mean: zwölf\n"
    seconds = [json.loads(line)["seconds"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert seconds == sorted(seconds)
    assert json.loads((folder / "result.json").read_text()) == {"last": {"right": 0.0}, "averaged": {"right": 0.0}}
    a, b = (Transformer.load(folder / f"step_{step}.pt").state_dict() for step in (8, 9))
    for name, weight in unpack(folder / "model.safetensors").state_dict().items():
        torch.testing.assert_close(weight, (a[name] + b[name]) / 2, rtol=1e-3, atol=1e-4)


@pytest.mark.no_cover
def test_one_recipe_is_one_model_and_another_seed_another(recipe, tmp_path):
    for name in "ab":
        assert train.main(command(recipe, tmp_path / name)) == 0
    recipe.write_text(RECIPE.replace("seed = 3", "seed = 4"))
    assert train.main(command(recipe, tmp_path / "c")) == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    assert log(tmp_path / "a") == log(tmp_path / "b") != log(tmp_path / "c")


class SlowNumbers(Numbers):
    def measure(self, model):
        time.sleep(0.5)
        return super().measure(model)


def train_slowly(arguments):
    tasks.TASKS["pronounce"] = SlowNumbers
    train.main(arguments)


@pytest.mark.no_cover
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="only Unix kills a process so")
def test_a_run_that_was_killed_comes_to_the_same_model(recipe, tmp_path):
    assert train.main(command(recipe, tmp_path / "whole")) == 0
    process = in_another_process(train_slowly, command(recipe, tmp_path / "killed"))
    while not (tmp_path / "killed" / "checkpoint.pt").exists() and process.is_alive():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert train.main(command(recipe, tmp_path / "killed")) == 0
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert log(tmp_path / "whole") == log(tmp_path / "killed")


def test_a_finished_run_is_not_run_again(recipe, tmp_path, monkeypatch):
    assert train.main(command(recipe, tmp_path / "a")) == 0
    monkeypatch.setattr(train.Trainer, "train_step", None)
    assert train.main(command(recipe, tmp_path / "a")) == 0


def test_the_quick_form_trains_to_the_same_model(recipe, tmp_path):
    """But for dropout, which drops others; and FSDP, which fetches the weights of layers that are called, has none."""
    recipe.write_text(RECIPE.replace("dropout = 0.1", "dropout = 0.0"))
    fast = tmp_path / "fast.toml"
    fast.write_text(recipe.read_text().replace("steps = 9", "steps = 9\nfast = true"))
    for parallel, quick in ((None, True), ("ddp", True), ("fsdp", False)):
        with processes():
            run = train.Run(read_recipe(fast), Numbers(), tmp_path / "none", "cpu", parallel)
        assert isinstance(run.model, FastTransformer) == quick
    for path in (recipe, fast):
        assert train.main(command(path, tmp_path / path.stem)) == 0
    for one, other in zip(log(tmp_path / "mine"), log(tmp_path / "fast"), strict=True):
        assert one == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("parallel", [None, "ddp", "fsdp"])
@pytest.mark.parametrize("fast", ["true", "false"])
def test_mixed_precision_multiplies_in_16_bits_and_keeps_32(tmp_path, parallel, fast):
    losses, kinds = {}, set()
    for precision in PRECISIONS:
        path = tmp_path / f"{precision}.toml"
        path.write_text(
            RECIPE.replace("dropout = 0.1", "dropout = 0.0").replace(
                "steps = 9", f"steps = 9\nfast = {fast}\nprecision = '{precision}'"
            )
        )
        with processes():
            run = train.Run(read_recipe(path), Numbers(), tmp_path / precision, "cpu", parallel)
            linear = run.model.decoder.layers[0].feed_forward
            linear.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
            losses[precision] = [float(run.trainer.train_step()) for _ in range(9)]
        assert {weight.dtype for weight in run.model.parameters()} == {torch.float32}
    assert kinds == {torch.float32, torch.bfloat16}
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"][0] == pytest.approx(losses["float32"][0], rel=5e-4)


def test_as_a_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "pronounce", "--config", "nowhere.toml"])
    monkeypatch.delitem(sys.modules, "transformer_lib.train")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("transformer_lib.train", run_name="__main__")
    assert capsys.readouterr().err == "there is no recipe at nowhere.toml\n"


def test_what_the_command_refuses(recipe, tmp_path, capsys):
    folder = tmp_path / "a"
    assert train.main(command(tmp_path / "nowhere.toml", folder)) == 2
    assert "there is no recipe at" in capsys.readouterr().err
    assert not folder.exists()
    assert train.main(command(recipe, folder)) == 0
    recipe.write_text(RECIPE.replace("steps = 9", "steps = 11"))
    assert train.main(command(recipe, folder)) == 2
    assert f"{folder} holds a training by another recipe; give another --folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main(["cook"])


@pytest.mark.parametrize("device", ["foo", "meta", "cuda:77", ""])
def test_a_device_that_is_not_there(recipe, tmp_path, capsys, device):
    assert train.main([*command(recipe, tmp_path / "a"), "--device", device]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"device ({device}) must be one that torch can compute on, such as cpu; ")
    assert error.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_what_several_processes_refuse_is_said_once(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    assert train.main(command(recipe, tmp_path / "a")) == 2
    assert "say --parallel ddp or fsdp, or leave out torchrun" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    assert train.main(command(recipe, tmp_path / "a")) == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_does_not_lead_writes_nothing_and_says_nothing(recipe, tmp_path, capsys, monkeypatch, rank):
    with processes():
        monkeypatch.setenv("RANK", rank)
        (tmp_path / "a").mkdir()
        assert train.main([*command(recipe, tmp_path / "a"), "--parallel", "ddp"]) == 0
    assert (capsys.readouterr().out == "") == (rank == "1")
    names = {path.name for path in (tmp_path / "a").iterdir() if path.is_file()}
    assert names == ({"checkpoint.pt"} if rank == "1" else names | {"recipe.toml", "log.jsonl", "model.safetensors"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 9", "steps = 2", r"warmup \(2\) must be below steps \(2\)"),
        ("steps = 9", "steps = 0", "steps must be a whole number of at least 1, got 0"),
        ("steps = 9", "", "training lacks steps$"),
        ("steps = 9", "steps = 9\nquick = true", "training has the unknown quick$"),
        ("steps = 9", "steps = 9\nfast = 1", "fast must be a bool, got 1"),
        ("steps = 9", "steps = 9\nprecision = 'half'", "precision must be one of float32, bfloat16, got 'half'"),
        ("steps = 9", "steps = 9\nprecision = 16", "precision must be one of float32, bfloat16, got 16"),
        ("smoothing = 0.1", "smoothing = 1.0", "smoothing must be at least 0 and below 1, got 1.0"),
        ("peak_rate = 1e-2", "peak_rate = -1", "peak_rate must be above 0, got -1"),
        ("measure = 4", "measure = 5", r"measure \(5\) must be a multiple of every \(2\)"),
        ("[watching]", "[watch]", "watching must be a table of settings, got None"),
        ("seed = 3", "seed = -3", "seed must be a whole number of at least 0, got -3"),
        ("threads = 1", "threads = 0", "threads must be a whole number of at least 1, got 0"),
        ("threads = 1", "threads 1", "Expected '=' after a key"),
        ("d_model = 16", "d_model = 15", r"d_model \(15\) must be"),
        ("d_model = 16", "size = 16", "model has the unknown size$"),
    ],
)
def test_recipes_that_are_refused(recipe, old, new, message):
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_recipe(recipe).config(33, 35)


def test_the_packaged_recipe_can_be_read():
    for path in PACKAGED.glob("*/recipe.toml"):
        assert read_recipe(path).task == path.parent.name
        assert path.parent.name in tasks.TASKS


def test_the_task(monkeypatch):
    entries = [Entry("ab", [["AE", "B"]]), Entry("be", [["B", "IY"], ["B", "EY"]])]
    monkeypatch.setattr(tasks.pronunciation, "read_dictionary", lambda: entries)
    monkeypatch.setattr(tasks.pronunciation, "split_by_index", lambda entries: Split(entries, entries[:1], entries))
    task = tasks.Pronounce()
    assert len(task.train_pairs()) == 3
    model = tiny_model(src_vocab_size=task.src_vocab_size, tgt_vocab_size=task.tgt_vocab_size)
    assert task.measure(model).keys() == {"word_error", "phoneme_error"}
    assert task.files() == {}
    assert list(task.examine(model)) == ["dev_word_error", "dev_phoneme_error", "test_word_error", "test_phoneme_error"]


def test_averages():
    a, b = {"x": torch.tensor([1.0, 2.0])}, {"x": torch.tensor([3.0, 2.0])}
    assert average_weights([a, b])["x"].tolist() == [2.0, 2.0]
    assert average_weights([a])["x"].tolist() == [1.0, 2.0]
    assert average_weights([{"x": torch.full((1,), 60000.0).half()} for _ in range(3)])["x"].item() == 60000.0
    with pytest.raises(ValueError, match="needs at least one state dict, got none"):
        average_weights([])
    with pytest.raises(ValueError, match=r"numbers of shape \(1,\) as x, the model has numbers of shape \(2,\)"):
        average_weights([a, {"x": torch.ones(1)}])


@pytest.mark.parametrize("tied", [False, True])
def test_packed_and_unpacked(tmp_path, tied):
    model = tiny_model(tie_embeddings=tied)
    path = tmp_path / "model.safetensors"
    pack(model, path)
    again = unpack(path)
    assert again.config == model.config
    assert not again.training
    assert (again.output.weight is again.tgt_embedding.weight) == tied
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].half().to(weight.dtype))


def test_files_that_are_no_packed_model(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no packed model at"):
        unpack(path)
    pack(tiny_model(), path)
    data = bytearray(path.read_bytes())
    for at in (0, 30, len(data) // 2, len(data) - 1):
        broken = bytes(data[:at]) + bytes([data[at] ^ 1]) + bytes(data[at + 1 :])
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="is damaged or no packed model"):
            unpack(path)
    path.write_bytes(data[:-5])
    with pytest.raises(ValueError, match="is damaged or no packed model"):
        unpack(path)
    model = tiny_model()
    model.output.bias.data[0] = 1e6
    with pytest.raises(ValueError, match=r"output.bias holds numbers that float16 does not have; save the model with"):
        pack(model, path)
