"""A training by a recipe: one recipe, one model; stopped and gone on with; and what it says when it begins."""

import json
import shutil
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from helpers import RECIPE, Numbers, in_another_process, train, training_log

from transformer_lib import Trainer, Transformer
from transformer_lib.distributed import ParallelTrainer, processes
from transformer_lib.fast import FastTransformer
from transformer_lib.recipes import TASKS, Run, average_weights, read_recipe, run

AUTO = RECIPE.replace("steps = 9", "steps = 9\nprecision = 'auto'").replace("seed = 3", "seed = 3\nhours = 1.5")


def test_a_run_leaves_a_folder_and_is_not_run_again(recipe, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs" / "a"
    assert train(recipe, folder) == 0
    first, forecast, *told = capsys.readouterr().out.splitlines()
    assert first == "Reading the data, and timing a few steps ..."  # on the screen while that takes its time
    assert forecast.startswith("float32, because the recipe says so; 9 steps, ")
    assert told == ["last: right 0.00%", "averaged: right 0.00%"]
    names = {"recipe.toml", "log.jsonl", "checkpoint.safetensors", "model.safetensors", "result.json", "ids.txt"}
    assert {path.name for path in folder.iterdir()} == names | {"step_8.safetensors", "step_9.safetensors"}
    lines = training_log(folder)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 9]
    assert [line["step"] for line in lines if "right" in line] == [4, 8, 9]
    assert (folder / "ids.txt").read_text(encoding="utf-8") == "what the ids mean: zwölf\n"
    seconds = [json.loads(line)["seconds"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert seconds == sorted(seconds)
    assert json.loads((folder / "result.json").read_text()) == {"last": {"right": 0.0}, "averaged": {"right": 0.0}}
    a, b = (Transformer.load(folder / f"step_{step}.safetensors").state_dict() for step in (8, 9))
    for name, weight in Transformer.load(folder / "model.safetensors").state_dict().items():
        assert torch.equal(weight, ((a[name] + b[name]) / 2).half().float()), name
    monkeypatch.setattr(Trainer, "train_step", None)
    assert train(recipe, folder) == 0
    assert "; 0 of 9 steps are left, " in capsys.readouterr().out


def test_one_recipe_is_one_model_and_another_seed_another(recipe, tmp_path):
    for name in "ab":
        assert train(recipe, tmp_path / name) == 0
    recipe.write_text(RECIPE.replace("seed = 3", "seed = 4"))
    assert train(recipe, tmp_path / "c") == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    assert training_log(tmp_path / "a") == training_log(tmp_path / "b") != training_log(tmp_path / "c")


class SlowNumbers(Numbers):
    def measure(self, model):
        time.sleep(0.5)
        return super().measure(model)


def choose_bfloat16(seconds_in, has_bfloat16):
    return "bfloat16", "the test says so", 0.1


def train_slowly(recipe, folder):
    TASKS["pronounce"], run._choose_precision = SlowNumbers, choose_bfloat16
    train(recipe, folder)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="only Unix kills a process so")
def test_a_run_that_was_killed_comes_to_the_same_model(recipe, tmp_path, monkeypatch):
    recipe.write_text(AUTO)
    process = in_another_process(train_slowly, recipe, tmp_path / "killed")
    while not (tmp_path / "killed" / "checkpoint.safetensors").exists() and process.is_alive():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    # What goes on may be another machine, and takes the precision that the first one chose all the same.
    monkeypatch.setattr(run, "_choose_precision", None)
    (tmp_path / "whole").mkdir()
    shutil.copy(tmp_path / "killed" / "chosen.json", tmp_path / "whole")
    assert train(recipe, tmp_path / "whole") == train(recipe, tmp_path / "killed") == 0
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert training_log(tmp_path / "whole") == training_log(tmp_path / "killed")


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"float32": 0.4}, ("float32", "there are no instructions for bfloat16 here", 0.4)),
        ({"float32": 0.4, "bfloat16": 0.2}, ("bfloat16", "a step takes 0.2 seconds, and 0.4 in float32", 0.2)),
        ({"float32": 0.4, "bfloat16": 0.38}, ("float32", "a step takes 0.4 seconds, and 0.38 in bfloat16", 0.4)),
    ],
)
def test_the_quicker_precision_is_chosen(seconds, chosen):
    assert run._choose_precision(seconds.__getitem__, "bfloat16" in seconds) == chosen  # what is slow is not timed


def test_who_may_be_quick_in_16_bits(monkeypatch):
    assert not run._has_bfloat16(torch.device("mps"))
    assert run._has_bfloat16(torch.device("cpu")) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert run._has_bfloat16(torch.device("cuda"))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not run._has_bfloat16(torch.device("cpu"))


@pytest.mark.parametrize(("times", "right", "number"), [([0.25, 1.0, 0.5], 0.5, 4), ([3.0], 3.0, 2)])
def test_steps_that_are_timed_leave_no_trace(monkeypatch, times, right, number):
    made, clock = [], [0.0]

    def step():
        made.append(torch.rand(1))
        clock[0] += 5.0 if len(made) == 1 else times[len(made) - 2]
        return torch.tensor(0.0)

    monkeypatch.setattr(run.time, "perf_counter", lambda: clock[0])
    before = torch.get_rng_state()
    assert run._seconds_per_step(lambda: SimpleNamespace(train_step=step)) == right
    assert len(made) == number
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_what_was_chosen_trains_as_if_the_recipe_said_so(recipe, tmp_path, monkeypatch, capsys, chosen):
    """Equal to the bit: the steps that were timed are thrown away. And what goes on asks no watch again."""
    said = tmp_path / "said.toml"
    said.write_text(RECIPE.replace("steps = 9", f"steps = 9\nprecision = '{chosen}'"))
    recipe.write_text(AUTO)
    time_steps = run._seconds_per_step

    def watch(trainer):
        time_steps(trainer)
        return 0.1 if (trainer().precision is None) == (chosen == "float32") else 900.0

    monkeypatch.setattr(run, "_seconds_per_step", watch)
    monkeypatch.setattr(run, "_has_bfloat16", lambda device: True)
    assert train(recipe, tmp_path / "auto") == 0
    assert f"\n{chosen}, because a step takes 0.1 seconds, and 900 in " in capsys.readouterr().out
    assert train(said, tmp_path / "said") == 0
    auto, said = (tmp_path / name / "model.safetensors" for name in ("auto", "said"))
    assert auto.read_bytes() == said.read_bytes()
    monkeypatch.setattr(run, "_seconds_per_step", None)
    assert train(recipe, tmp_path / "auto") == 0
    assert capsys.readouterr().out.splitlines()[-3].startswith(f"{chosen}, because a step takes 0.1 seconds")


def test_more_than_the_recipe_promises(recipe, tmp_path, monkeypatch):
    recipe.write_text(AUTO)
    monkeypatch.setattr(run, "_has_bfloat16", lambda device: True)
    begin = "float32, because a step takes 600 seconds, and 600 in bfloat16; 9 steps, 600 seconds each: "
    for seconds, told in ((599.0, "89.8 minutes."), (601.0, "1.5 hours.\nThat is more than the 1.5 hours that")):
        monkeypatch.setattr(run, "_seconds_per_step", lambda trainer, seconds=seconds: seconds)
        folder = tmp_path / str(seconds)
        folder.mkdir()
        forecast = Run(read_recipe(recipe), Numbers(), folder).forecast()
        assert forecast.startswith(begin + told)
        assert forecast.count("\n") == told.count("\n")


def test_times_as_people_say_them():
    said = {4.4: "4 seconds", 89: "89 seconds", 91: "1.5 minutes", 5399: "90.0 minutes", 9720: "2.7 hours"}
    assert {seconds: run._duration(seconds) for seconds in said} == said


def test_the_quick_form_trains_to_the_same_model(recipe, tmp_path):
    """But for dropout, which drops others."""
    recipe.write_text(RECIPE.replace("dropout = 0.1", "dropout = 0.0"))
    fast = tmp_path / "fast.toml"
    fast.write_text(recipe.read_text().replace("steps = 9", "steps = 9\nfast = true"))
    with processes():
        assert isinstance(Run(read_recipe(fast), Numbers(), tmp_path / "none", "cpu", "ddp").model, FastTransformer)
    for path in (recipe, fast):
        assert train(path, tmp_path / path.stem) == 0
    for one, other in zip(training_log(tmp_path / "mine"), training_log(tmp_path / "fast"), strict=True):
        assert one == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("parallel", [None, "ddp", "fsdp"])
@pytest.mark.parametrize("fast", ["true", "false"])
def test_mixed_precision_multiplies_in_16_bits_and_keeps_32(tmp_path, parallel, fast):
    losses, kinds = {}, set()
    for precision in ("float32", "bfloat16"):
        path, more = tmp_path / f"{precision}.toml", f"fast = {fast}\nprecision = '{precision}'"
        path.write_text(RECIPE.replace("dropout = 0.1", "dropout = 0.0").replace("steps = 9", f"steps = 9\n{more}"))
        with processes():
            run = Run(read_recipe(path), Numbers(), tmp_path / precision, "cpu", parallel)
            linear = run.model.decoder.layers[0].feed_forward
            linear.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
            losses[precision] = [float(run.trainer.train_step()) for _ in range(4)]
        assert {weight.dtype for weight in run.model.parameters()} == {torch.float32}
    assert kinds == {torch.float32, torch.bfloat16}
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"][0] == pytest.approx(losses["float32"][0], rel=5e-4)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_does_not_lead_writes_nothing_and_says_nothing(recipe, tmp_path, capsys, monkeypatch, rank):
    recipe.write_text(AUTO)
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "chosen.json").write_text('{"precision": "bfloat16", "because": "rank 0 said so"}')
    with processes():
        monkeypatch.setenv("RANK", rank)
        if rank == "1":
            monkeypatch.setattr(ParallelTrainer, "full_model", lambda trainer: None)
        assert train(recipe, folder, "--parallel", "ddp") == 0
    out = capsys.readouterr().out
    assert (out == "") == (rank == "1")
    if rank == "0":
        assert "\nbfloat16, because rank 0 said so; 9 steps, " in out and "if one process made" in out
    names = {path.name for path in folder.iterdir() if path.is_file()}
    alone = {"chosen.json", "checkpoint.safetensors"}
    assert names == alone if rank == "1" else names > alone | {"recipe.toml", "log.jsonl", "model.safetensors"}


def test_averages():
    a, b = {"x": torch.tensor([1.0, 2.0])}, {"x": torch.tensor([3.0, 2.0])}
    assert average_weights([a, b])["x"].tolist() == [2.0, 2.0]
    assert average_weights([a])["x"].tolist() == [1.0, 2.0]
    assert average_weights([{"x": torch.full((1,), 60000.0).half()} for _ in range(3)])["x"].item() == 60000.0
