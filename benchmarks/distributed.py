"""Two processes against one, and torch.compile against none: ratios, measured in turns (chapter 15).

    python -m benchmarks.distributed

Starts everything by itself (about five minutes) and prints a table. On a machine that has other things to do, two
processes suffer more than one: each step waits for the slower of them.
"""

import json
import os
import platform
import subprocess
import sys
import time

import torch
import torch.distributed as dist

from transformer_lib import TokenBatches, Trainer, Transformer, TransformerConfig
from transformer_lib.data import numbers
from transformer_lib.distributed import ParallelTrainer, processes

ROUNDS, STEPS = 5, 6


def trainer(parallel: str | None = None) -> Trainer:
    """A trainer of a model of 1.3 million weights, on batches of 4,096 target tokens."""
    torch.manual_seed(0)
    sizes = {"d_model": 128, "n_heads": 4, "d_ff": 512, "n_encoder_layers": 3, "n_decoder_layers": 3}
    model = Transformer(TransformerConfig(src_vocab_size=33, tgt_vocab_size=35, max_len=24, dropout=0.0, **sizes))
    pairs = numbers.encode_pairs(numbers.split_numbers(10_000, 100, seed=0)[0])
    batches = TokenBatches(pairs, batch_tokens=4096, seed=0)
    options = {"rate": lambda step: 1e-3}
    return (
        Trainer(model, batches, **options)
        if parallel is None
        else ParallelTrainer(model, batches, parallel=parallel, **options)
    )


def seconds(run: Trainer) -> float:
    """Seconds for a few steps."""
    begin = time.perf_counter()
    for _ in range(STEPS):
        run.train_step()
    return (time.perf_counter() - begin) / STEPS


def measure() -> None:
    """What every process does: in turns, rank 0 alone with one and two threads, then all by DDP and by FSDP."""
    torch.set_num_threads(1)
    with processes():
        leader = dist.get_rank() == 0
        alone, runs = trainer(), {kind: trainer(kind) for kind in ("ddp", "fsdp")}
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for threads in (1, 2):
                torch.set_num_threads(threads)
                if leader:
                    times.setdefault(f"one process, {threads} threads", []).append(seconds(alone))
                dist.barrier()
            torch.set_num_threads(1)
            for kind, run in runs.items():
                times.setdefault(f"two processes, {kind}", []).append(seconds(run))
                dist.barrier()
        if leader:
            print(json.dumps({name: sorted(found)[len(found) // 2] for name, found in times.items()}))


def compile_it() -> dict[str, float]:
    """The same steps with the model compiled, padded to a few shapes by the batches themselves."""
    torch.set_num_threads(1)
    plain, compiled = trainer(), trainer()
    compiled.forward = torch.compile(compiled.model, dynamic=True)
    begin = time.perf_counter()
    seconds(compiled)
    started = time.perf_counter() - begin
    pairs = [(seconds(plain), seconds(compiled)) for _ in range(ROUNDS)]
    ratios = sorted(a / b for a, b in pairs)
    return {"seconds until it ran": started, "times as fast": ratios[len(ratios) // 2]}


def main() -> None:
    """Measure, and print the table."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command += ["--nproc-per-node=2", "-m", "benchmarks.distributed", "worker"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    times = json.loads(done.stdout.splitlines()[-1])
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    base = times["one process, 1 threads"]
    for name, found in times.items():
        print(f"{name:24} {found * 1000:6.0f} ms a step   {base / found:.2f} x")
    for name, found in compile_it().items():
        print(f"torch.compile: {name:22} {found:.2f}")


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["worker"] else main()
