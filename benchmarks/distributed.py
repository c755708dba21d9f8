"""Two processes against one, and torch.compile against none: ratios, measured in turns (chapter 15).

    python -m benchmarks.distributed

Starts everything by itself and prints a table. On a machine that has other things to do, two processes suffer more
than one: each step waits for the slower of them.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.distributed as dist

from transformer_lib import TokenBatches, Trainer, Transformer, TransformerConfig
from transformer_lib._progress import progress
from transformer_lib.data import numbers
from transformer_lib.distributed import ParallelTrainer, barrier, processes

ROUNDS, STEPS = 5, 6


def trainer(parallel: str | None = None, n_layers: int = 3) -> Trainer:
    """A trainer of a model of 1.3 million weights, on batches of 4,096 target tokens."""
    torch.manual_seed(0)
    sizes = {"d_model": 128, "n_heads": 4, "d_ff": 512, "n_encoder_layers": n_layers, "n_decoder_layers": n_layers}
    model = Transformer(TransformerConfig(src_vocab_size=33, tgt_vocab_size=35, max_len=24, dropout=0.0, **sizes))
    pairs = numbers.encode_pairs(numbers.split_numbers(10_000, 100, seed=0)[0])
    batches = TokenBatches(pairs, batch_tokens=4096, seed=0)
    if parallel is None:
        return Trainer(model, batches, rate=lambda step: 1e-3)
    return ParallelTrainer(model, batches, parallel=parallel, rate=lambda step: 1e-3)


def compiled(run: Trainer, backend: str | Callable = "inductor") -> Trainer:
    """Let the trainer's model be translated when it is called; lengths are left open, for each batch has its own."""
    run.model.compile(backend=backend, dynamic=True)
    return run


def seconds(run: Trainer) -> float:
    """Seconds for a step, of a few."""
    begin = time.perf_counter()
    for _ in range(STEPS):
        run.train_step()
    return (time.perf_counter() - begin) / STEPS


def work() -> None:
    """What every process does: in turns, rank 0 alone with one and two threads, then all by DDP and by FSDP."""
    torch.set_num_threads(1)
    with processes():
        rank_zero = dist.get_rank() == 0
        alone, runs = trainer(), {kind: trainer(kind) for kind in ("ddp", "fsdp")}
        times: dict[str, list[float]] = {}
        for _ in progress(range(ROUNDS), "one and two processes", show=None if rank_zero else False):
            for threads in (1, 2):
                torch.set_num_threads(threads)
                if rank_zero:
                    times.setdefault(f"one process, threads: {threads}", []).append(seconds(alone))
                barrier()
            torch.set_num_threads(1)
            for kind, run in runs.items():
                times.setdefault(f"two processes, {kind}", []).append(seconds(run))
                barrier()
        if rank_zero:
            print(json.dumps({name: statistics.median(found) for name, found in times.items()}))


def compile_it() -> dict[str, float]:
    """The same steps with the model compiled."""
    torch.set_num_threads(1)
    plain, quick = trainer(), compiled(trainer())
    begin = time.perf_counter()
    quick.train_step()
    first = time.perf_counter() - begin
    seconds(quick)  # where a size is 1, say, it is translated once more
    pairs = [(seconds(plain), seconds(quick)) for _ in progress(range(ROUNDS), "compiled and not")]
    return {"seconds of the first step": first, "times as fast": statistics.median(a / b for a, b in pairs)}


def main() -> None:
    """Measure, and print the table."""
    print("about five minutes: two processes against one, then torch.compile, which translates for one", flush=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command += ["--nproc-per-node=2", "-m", "benchmarks.distributed", "worker"]
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True, check=True)
    times = json.loads(done.stdout.splitlines()[-1])
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    base = times["one process, threads: 1"]
    for name, found in times.items():
        print(f"{name:24} {found * 1000:6.0f} ms a step   {base / found:.2f} x", flush=True)
    for name, found in compile_it().items():
        print(f"torch.compile: {name:26} {found:.2f}")


if __name__ == "__main__":
    work() if sys.argv[1:] == ["worker"] else main()
