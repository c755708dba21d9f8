"""What two processes do for `test_distributed.py`: started as by torchrun, they leave what they found in a folder.

Chapter 15 runs the command `torchrun` itself. Here its agent is called from Python, so that both processes can be
copies of this one where that is safe: each import of torch takes seconds.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from helpers import OTHER, PAIRS, Numbers, redraw, tiny_config, train, weights
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from transformer_lib.data.batches import TokenBatches
from transformer_lib.distributed import ParallelTrainer, processes
from transformer_lib.fast import FastTransformer
from transformer_lib.recipes import TASKS
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer

KINDS = ("ddp", "fsdp")
STEPS = 5
CASES = {
    "plain": {},
    "accumulated": {"accumulate": 3},
    "ragged": {"batch_tokens": 19, "smoothing": 0.1},  # some batches are of one sentence: fewer than processes
    "fast": {"kind": FastTransformer, "accumulate": 2, "batch_tokens": 19},
}


class PerProcess(ParallelTrainer):
    """The mistake: each process divides by its own number of tokens."""

    def mean_over_processes(self, number):
        return super().mean_over_processes(number) if number.is_floating_point() else number.clamp(min=1)


def model(dropout=0.0, kind=Transformer):
    """A tiny model in float64, always the same."""
    torch.manual_seed(0)
    sizes = dict(src_vocab_size=33, tgt_vocab_size=35, max_len=24, n_encoder_layers=1, n_decoder_layers=1)
    return redraw(kind(tiny_config(dropout=dropout, **sizes))).double()


def trainer(make=Trainer, *, dropout=0.0, kind=Transformer, batch_tokens=60, **options):
    """A trainer whose gradients are always clipped."""
    options = {"rate": lambda step: 1e-2, "clip": 0.1, **options}
    return make(model(dropout, kind), TokenBatches(PAIRS, batch_tokens=batch_tokens, seed=2), **options)


def losses(run, steps=STEPS):
    return [run.train_step().item() for _ in range(steps)]


def held(run):
    """How many numbers this process keeps: of the weights, and of the optimiser's memories."""

    def local(x):
        return x.to_local().numel() if hasattr(x, "to_local") else x.numel()

    memories = [m[name] for m in run.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    return [sum(map(local, run.model.parameters())), sum(map(local, memories))]


def gradient(run):
    """The gradient of one step, before it is clipped, as one number that knows its length and direction."""
    run.clip = 1e9
    run.train_step()
    whole = [w.grad.full_tensor() if hasattr(w.grad, "full_tensor") else w.grad for w in run.model.parameters()]
    row = torch.cat([part.flatten() for part in whole])
    return (row @ torch.linspace(1, 2, len(row), dtype=row.dtype)).item()


def work(parallel, folder):
    """Everything that needs several processes, for one way of working in parallel."""
    found = {name: losses(trainer(ParallelTrainer, parallel=parallel, **case)) for name, case in CASES.items()}
    found["gradient"] = gradient(trainer(ParallelTrainer, parallel=parallel))
    found["mistake"] = losses(trainer(PerProcess, parallel=parallel))

    run = trainer(ParallelTrainer, parallel=parallel)
    run.fit(4, checkpoint=folder / f"{parallel}_of_two.safetensors")
    found["goes on"] = losses(run)
    found["held"] = held(run)
    full = run.full_model()
    assert (full is None) == (dist.get_rank() > 0)
    found["full model"] = weights(full).sum().item() if full is not None else 0.0
    run = trainer(ParallelTrainer, parallel=parallel)
    run.resume(folder / f"{parallel}_of_one.safetensors")
    found["from one"] = losses(run)

    run = trainer(ParallelTrainer, parallel=parallel, dropout=0.3)
    losses(run, 2)
    run.save(folder / f"{parallel}_dropout.safetensors")
    found["dropout"] = losses(run, 2)
    run = trainer(ParallelTrainer, parallel=parallel, dropout=0.3)
    run.resume(folder / f"{parallel}_dropout.safetensors")
    found["dropout resumed"] = losses(run, 2)
    return found


def everything(folder):
    torch.set_num_threads(1)
    with processes():
        found = {parallel: work(parallel, folder) for parallel in KINDS}
        everybodys = [None] * dist.get_world_size()
        dist.all_gather_object(everybodys, found)
        if dist.get_rank() == 0:
            (folder / "found.json").write_text(json.dumps(everybodys))
        TASKS["pronounce"] = Numbers  # the command of chapter 12, in parallel; and without saying so, which it refuses
        for parallel in KINDS:
            assert train(folder / "mine.toml", folder / parallel, "--parallel", parallel) == 0
        assert train(folder / "mine.toml", folder / parallel) == 2


if __name__ == "__main__":
    number = dict(min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="two", start_method=OTHER.get_start_method())
    here = dict(rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1")
    elastic_launch(LaunchConfig(**number, **here), everything)(Path(sys.argv[1]))
