"""One training in several processes: the same as in one, resumed by any number of them, and nothing lost."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers import PAIRS, RECIPE, Numbers, train, training_log, weights
from torch.distributed.fsdp import FSDPModule
from workers import CASES, KINDS, STEPS, gradient, losses, model, trainer

from transformer_lib import Transformer
from transformer_lib.data.batches import TokenBatches
from transformer_lib.distributed import ParallelTrainer, barrier, checkpoint, processes, shard_batch
from transformer_lib.fast import FastTransformer
from transformer_lib.loss import evaluate
from transformer_lib.recipes import TASKS
from transformer_lib.training import Trainer

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left behind; before them, one process left a checkpoint of each kind."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "mine.toml").write_text(RECIPE.replace("dropout = 0.1", "dropout = 0.0"))
    with processes():
        for kind in KINDS:
            trainer(ParallelTrainer, parallel=kind).fit(4, checkpoint=folder / f"{kind}_of_one.safetensors")
    start = [sys.executable, str(TESTS / "distributed" / "workers.py"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(start, env=environment, **pipes) as agent:
        try:
            told, _ = agent.communicate(timeout=1200)  # not how long it may take, but an end to what hangs
        except subprocess.TimeoutExpired:
            agent.terminate()  # it ends those that it started
            raise
    assert agent.returncode == 0, told
    (folder / "told.txt").write_text(told)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "found.json").read_text())


@pytest.fixture
def alone():
    """A group of one process."""
    with processes() as device, processes() as again:
        assert device == again == torch.device("cpu")
        yield


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_the_steps_of_one(found, kind, case):
    one = losses(trainer(**CASES[case]))
    for two in (found[0][kind][case], found[1][kind][case]):
        assert two == pytest.approx(one, rel=0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_itself_is_that_of_one_process(found, kind):
    """Its length too, which neither clipping nor Adam would let one see in the losses."""
    one = gradient(trainer())
    assert abs(one) > 1e-3
    assert found[0][kind]["gradient"] == pytest.approx(one, rel=1e-9)


def test_the_cases_are_hard():
    """Clipping clips, and some batches have fewer rows than there are processes."""
    assert losses(trainer(), 3) != pytest.approx(losses(trainer(clip=100.0), 3), abs=1e-6)
    order = trainer(**CASES["ragged"]).batches.epoch(0)
    assert min(len(rows) for rows in order[:STEPS]) == 1
    assert len(trainer().batches.epoch(0)) % 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_mistake_is_seen(found, kind):
    """Each process divides by its own number of tokens: the losses differ a million times more than allowed."""
    assert max(abs(a - b) for a, b in zip(found[0][kind]["mistake"], losses(trainer()), strict=True)) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_two_go_on_from_one_and_one_from_two(found, folder, alone, kind):
    straight = trainer()
    losses(straight, 4)
    straight = losses(straight)
    assert found[0][kind]["goes on"] == pytest.approx(straight, rel=0, abs=1e-12)
    assert found[0][kind]["from one"] == pytest.approx(straight, rel=0, abs=1e-12)
    for other, made in itertools.product(KINDS, (Transformer, FastTransformer)):
        run = trainer(ParallelTrainer, parallel=other, kind=made)
        run.resume(folder / f"{kind}_of_two.safetensors")
        assert (run.step, len(run.history)) == (4, 1)
        assert losses(run) == pytest.approx(straight, rel=0, abs=1e-12)


def test_the_full_model_is_that_of_one_process(found):
    """To rounding, which Adam makes larger: where the gradient should be zero (biases of keys), its sign decides."""
    run = trainer()
    losses(run, 4 + STEPS)
    for kind in KINDS:
        assert found[0][kind]["full model"] == pytest.approx(weights(run.model).sum().item(), abs=1e-5)


def test_with_dropout_it_resumes_to_the_last_bit(found):
    for kind in KINDS:
        assert found[0][kind]["dropout"] == found[0][kind]["dropout resumed"]
        assert found[0][kind]["dropout"] != pytest.approx(losses(trainer(dropout=0.3), 4)[2:], abs=1e-6)


def test_what_each_process_keeps(found):
    number = weights(model()).numel()
    for rank in (0, 1):
        assert found[rank]["ddp"]["held"] == [number, 2 * number]
    (a, memory_a), (b, memory_b) = (found[rank]["fsdp"]["held"] for rank in (0, 1))
    assert a + b == number
    assert abs(a - b) < 0.05 * number
    assert (memory_a, memory_b) == (2 * a, 2 * b)


def test_the_command_in_two_processes(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "pronounce", Numbers)
    assert train(folder / "mine.toml", tmp_path) == 0  # the same in one process
    for kind in KINDS:
        names = {path.name for path in (folder / kind).iterdir() if path.suffix != ".shards"}
        written = {f"{name}.safetensors" for name in ("checkpoint", "step_8", "step_9", "model")}
        assert names >= {"recipe.toml", "log.jsonl", "result.json", *written}
        assert len(list((folder / kind).glob("*.shards"))) == 1
        for two, one in zip(training_log(folder / kind), training_log(tmp_path), strict=True):
            assert two == pytest.approx(one, rel=0, abs=1e-5)
        two, one = (Transformer.load(at / "model.safetensors") for at in (folder / kind, tmp_path))
        a, b = (evaluate(loaded, TokenBatches(PAIRS)).loss for loaded in (two, one))
        assert a == pytest.approx(b, abs=1e-3)
    told = (folder / "told.txt").read_text()
    assert told.count("averaged: right") == 2  # once for each kind: one process speaks
    assert told.count("say --parallel ddp or fsdp, or leave out torchrun") == 1


def test_what_it_does_in_another_way_than_one_process():
    """All that CONTRIBUTING.md names, and no more: the rest is `Trainer`."""
    changed = {name for name in vars(ParallelTrainer) if hasattr(Trainer, name) and not name.startswith("__")}
    assert changed == {"next_window", "loss_of", "mean_over_processes", "full_model", "save", "resume"}


@pytest.mark.parametrize("rows", range(1, 8))
@pytest.mark.parametrize("number", range(1, 5))
def test_every_row_is_dealt_once(rows, number):
    batch = TokenBatches(PAIRS).take(torch.arange(rows))
    hands = [shard_batch(batch, rank, number, pad_id=0) for rank in range(number)]
    assert all(len(hand.src_ids) == len(hand.tgt_ids) >= 1 for hand in hands)
    real = [hand for hand in hands if (hand.tgt_ids != 0).any()]
    assert len(real) == min(rows, number)
    sizes = [len(hand.src_ids) for hand in real]
    assert max(sizes) - min(sizes) <= 1
    for whole, parts in zip(batch, zip(*real, strict=True), strict=True):
        assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_a_group_of_one_is_one_process(alone, kind, case):
    run = trainer(ParallelTrainer, parallel=kind, **CASES[case])
    rounding = 1e-12 if case == "fast" else 0.0  # alone it takes the short way to the loss
    assert losses(run, 4) == pytest.approx(losses(trainer(**CASES[case]), 4), rel=0, abs=rounding)
    before = torch.get_rng_state()
    full = run.full_model()
    assert isinstance(full, Transformer) and not isinstance(full, FSDPModule)
    assert torch.equal(torch.get_rng_state(), before)
    assert full.output.weight.dtype == torch.float64
    run.rank = 1  # only rank 0 gets the model
    assert run.full_model() is None


def test_a_barrier_needs_no_others(alone):
    barrier()
    dist.destroy_process_group()
    barrier()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)


def test_on_gpus_it_is_nccl(monkeypatch):
    """The path that no test here can go: each process takes the GPU of its number on this machine."""
    calls = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(device))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: calls.append((backend, options)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("end"))
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with processes("cuda") as device:
        assert device == torch.device("cuda:1")
    (at, (backend, options), end) = calls
    assert (at, backend, end) == (device, "nccl", "end")
    assert options.keys() == {"timeout"}


@pytest.fixture
def saved(alone, tmp_path):
    """A checkpoint, and the losses after it."""
    run = trainer(ParallelTrainer, parallel="fsdp")
    losses(run, 3)
    run.save(tmp_path / "run.safetensors")
    return tmp_path / "run.safetensors", losses(run, 2)


def shards(path):
    return sorted(path.parent.glob("*.shards"))


def resumed(path):
    run = trainer(ParallelTrainer, parallel="ddp")
    run.resume(path)
    return losses(run, 2)


@pytest.mark.parametrize("place", ["_files.write", "save_parts"])
def test_a_kill_while_saving_loses_nothing(saved, place, monkeypatch):
    path, after = saved
    run = trainer(ParallelTrainer, parallel="ddp")

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"transformer_lib.distributed.checkpoint.{place}", killed)
        with pytest.raises(KeyboardInterrupt):
            run.save(path)
    assert len(shards(path)) == 2
    assert resumed(path) == after
    (path.parent / "run.safetensors.mine").mkdir()
    run.save(path)  # and what was cut off is cleared away
    assert len(shards(path)) == 1
    assert (path.parent / "run.safetensors.mine").exists()
    assert resumed(path) != after


def refused(path, message, **changes):
    """Require that nothing is taken over from a file, and that the trainer goes on as if nothing had been tried."""
    run = trainer(ParallelTrainer, parallel="fsdp", **changes)
    with pytest.raises(ValueError, match=message):
        run.resume(path)
    assert losses(run, 2) == losses(trainer(**changes), 2)


def test_damage_is_seen(saved):
    path, _ = saved
    (file,) = shards(path)[0].iterdir()
    data = file.read_bytes()
    file.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    refused(path, r"run.safetensors is damaged: .* does not fit its check sum")
    file.unlink()
    refused(path, r"run.safetensors is damaged: .*shard-00001.* is gone")
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, "is damaged or not a file of this library")


def test_what_does_not_fit_is_refused(saved, tmp_path):
    path, _ = saved
    refused(path, "was written with .*'batch_tokens': 60.* but the trainer has .*'batch_tokens': 61", batch_tokens=61)
    one = trainer()
    one.save(tmp_path / "one.safetensors")
    refused(tmp_path / "one.safetensors", "holds a training, not a sharded training")
    with pytest.raises(ValueError, match="holds a sharded training, not a training"):
        one.resume(path)
    other = model()
    other.output = torch.nn.Linear(22, 36, dtype=torch.float64)
    batches = TokenBatches(PAIRS, batch_tokens=60, seed=2)
    run = ParallelTrainer(other, batches, parallel="ddp", rate=lambda step: 1e-2, clip=0.1)
    with pytest.raises(ValueError, match=r"does not fit this model: the shape of output.weight is \(35, 22\), the"):
        run.resume(path)
    assert not run.optimizer.state
    with pytest.raises(FileNotFoundError, match="there is no sharded training at"):
        run.resume(tmp_path / "nowhere.pt")


def test_a_process_that_is_not_rank_zero_writes_its_part_only(saved, monkeypatch):
    path, _ = saved
    before, (folder,) = path.read_bytes(), shards(path)
    mine = path.parent / "run.safetensors.x.shards"
    mine.mkdir()
    monkeypatch.setattr(dist, "get_rank", lambda *group: 1)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda names: names.__setitem__(0, f"elsewhere/{mine.name}"))
    monkeypatch.setattr(checkpoint, "save_parts", lambda state, storage_writer: (mine / "part").touch())
    run = trainer()
    checkpoint.save_sharded(path, run.model, run.optimizer, {}, {})
    assert path.read_bytes() == before
    assert shards(path) == sorted([folder, mine])
    assert (mine / "part").exists()


def test_a_new_process_begins_with_its_own_random_numbers(saved):
    path, _ = saved
    run = trainer(ParallelTrainer, parallel="ddp")
    run.rank = 3
    before = torch.get_rng_state()
    run.resume(path)
    assert run.step == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_errors():
    with pytest.raises(ValueError, match="parallel must be 'ddp' or 'fsdp', got 'both'"):
        trainer(ParallelTrainer, parallel="both")
    with pytest.raises(ValueError, match="device must be cpu or cuda for several processes, got mps"), processes("mps"):
        pass
    with pytest.raises(ValueError, match="make it inside `with processes\\(\\):`"):
        trainer(ParallelTrainer, parallel="ddp")
