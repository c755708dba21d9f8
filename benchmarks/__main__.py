"""How fast is it, and beside what? `make bench`, or `python -m benchmarks --help`.

One process; the systems take turns, so that whatever else the machine does hits all of them alike; the median counts,
and the slowest and the quickest round stand beside it, so that a reader sees which differences mean something.
Peak memory is measured in processes of their own. The table is printed, and written where chapter 14 reads it.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from benchmarks import memory, runs
from benchmarks.systems import (
    TINY,
    Fast,
    Sizes,
    Torch,
    TorchAsItStarts,
    adamw,
    as_batch,
    available,
    make_batches,
    one_batch,
    pairs_of,
    sentence_lengths,
    train_step,
    uniform_lengths,
)
from transformer_lib._progress import progress
from transformer_lib.data import numbers
from transformer_lib.data.vocabulary import PAD_ID
from transformer_lib.fast.kernels import FastLinear
from transformer_lib.loss import batch_loss
from transformer_lib.notebook import results as measurements
from transformer_lib.transformer import Transformer

RESULTS = measurements.FOLDER / "speed.json"
RAGGED = (2, 32)  # lengths as in text where short sentences stand among long ones
ONCE = 20.0  # seconds; what takes longer is not repeated


def seconds(function, device):
    """Return how long a call took."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter_ns()
    function()
    wait()
    return (time.perf_counter_ns() - start) / 1e9


def in_turns(jobs, repeats, device):
    """Run every job once to warm up, then all of them in turns; return the seconds of each one's rounds."""
    warm = {name: seconds(job, device) for name, job in progress(jobs.items(), "warming up")}
    times = {name: [took] if took > ONCE else [] for name, took in warm.items()}
    for _ in progress(range(repeats), "rounds"):
        for name in jobs:
            if warm[name] <= ONCE:
                times[name].append(seconds(jobs[name], device))
    return times


def rates(tokens, times):
    """Return tokens per second: of the median, the slowest and the quickest round of each job."""
    return {
        name: [tokens / took for took in (statistics.median(rounds), max(rounds), min(rounds))]
        for name, rounds in times.items()
    }


def gain(times, before, after):
    """Return how many times as fast `after` is as `before`, median beside median."""
    return statistics.median(times[before]) / statistics.median(times[after])


def sort_by_length(batches):
    """Deal the same sentence pairs into batches of similar lengths."""
    pairs = [pair for batch in batches for pair in pairs_of(batch)]
    pairs.sort(key=lambda pair: (len(pair[1]), len(pair[0])))
    size = len(batches[0].src_ids)
    return [as_batch(pairs[i : i + size]) for i in range(0, len(pairs), size)]


def training(systems, sizes, lengths, repeats, device, bfloat16):
    """Return the rates of each system in target tokens, on the same sentence pairs.

    Of some also with the pairs sorted by length, and if `bfloat16` of all also in mixed precision.
    """
    batches = [batch.to(device) for batch in make_batches(sizes, lengths)]
    by_length = [batch.to(device) for batch in sort_by_length(batches)]
    tokens = sum(int((batch.tgt_ids[:, 1:] != PAD_ID).sum()) for batch in batches)

    def job(system, batches, **options):
        optimizer = adamw(system)
        return lambda: [train_step(system, batch, optimizer, **options) for batch in batches]

    jobs = {system.name: job(system, batches) for system in systems}
    sorters = [system for system in systems if isinstance(system, (TorchAsItStarts, Transformer))]
    jobs |= {f"{system.name}, sorted": job(system, by_length) for system in sorters}
    if bfloat16:
        jobs |= {f"{system.name}, bfloat16": job(system, batches, bfloat16=True) for system in systems}
    return rates(tokens, in_turns(jobs, repeats, device))


def decoding(systems, sizes, length, repeats, device):
    """Return the rates of each system in new tokens; every sentence gets exactly `length`."""
    src_ids = one_batch(sizes, device).src_ids
    jobs = {system.name: lambda system=system: system.answer(src_ids, length) for system in systems}
    return rates(src_ids.size(0) * length, in_turns(jobs, repeats, device))


def gain_of_bfloat16(sizes, repeats, device):
    """Return how many times as fast a training step of the fast model is in mixed precision as in float32."""
    system, batch = Fast(sizes.config()).to(device), one_batch(sizes, device)
    optimizer = adamw(system)
    jobs = {half: lambda half=half: train_step(system, batch, optimizer, bfloat16=half) for half in (False, True)}
    return gain(in_turns(jobs, repeats, device), False, True)


@torch.no_grad()
def gain_in_decoding(sizes):
    """Return how many times as fast the CPU computes a `FastLinear` of one new token a sentence as torch's own."""
    linear, x = FastLinear(sizes.d_model, sizes.d_ff), torch.randn(sizes.batch, 1, sizes.d_model)
    ways = {"usual": nn.Linear.forward, "fast": FastLinear.forward}
    jobs = {name: lambda way=way: [way(linear, x) for _ in range(100)] for name, way in ways.items()}
    return gain(in_turns(jobs, 20, "cpu"), "usual", "fast")


def equal_loss(sizes, steps, device, bfloat16):
    """Train on the numbers of chapter 10, from the same weights, on the same batches, a step of each in turn.

    Return the share of padding, the seconds that each took, and its loss on unseen numbers; if `bfloat16`, of ours
    also in mixed precision.
    """
    english, german = len(numbers.english_vocabulary()), len(numbers.german_vocabulary())
    train, test = (numbers.encode_pairs(pairs) for pairs in numbers.split_numbers(10_000, 1_000, seed=0))
    sizes = dataclasses.replace(sizes, vocab=max(english, german), max_len=64)
    torch.manual_seed(0)
    ours, half, theirs = (kind(sizes.config()) for kind in (Fast, Fast, TorchAsItStarts))
    half.load_state_dict(ours.state_dict())
    Torch.begin_like(theirs, ours)
    systems = {"torch": theirs, "ours": ours} | ({"ours, bfloat16": half} if bfloat16 else {})
    optimizers = {name: adamw(system.to(device)) for name, system in systems.items()}
    took, padding, positions = dict.fromkeys(systems, 0.0), 0, 0
    for _ in progress(range(steps), "the same loss"):
        batch = as_batch([train[i] for i in torch.randint(len(train), (sizes.batch,)).tolist()]).to(device)
        padding += sum(int((side == PAD_ID).sum()) for side in (batch.src_ids, batch.tgt_ids[:, 1:]))
        positions += batch.src_ids.numel() + batch.tgt_ids[:, 1:].numel()
        for name, system in systems.items():
            step = functools.partial(train_step, system, batch, optimizers[name], bfloat16=system is half)
            took[name] += seconds(step, device)
    batch, loss = as_batch(test).to(device), {}
    for name, system in systems.items():
        with torch.no_grad():
            total, number = batch_loss(system.eval(), *batch)
            loss[name] = float(total / number)
    return {"steps": steps, "padding": padding / positions, "seconds": took, "loss": loss}


def table(results):
    """Return the results as lines of text: median, ratio to the first system, slowest and quickest round."""
    first = TorchAsItStarts.name
    lines = []
    for title, row in results["tables"].items():
        lines.append(f"\n{title}")
        for name, value in row.items():
            ratio = f"{value / row[first]:6.2f}" if row.get(first) else ""
            rounds = "".join(f"{rate:10,.0f}" for rate in results["spread"].get(title, {}).get(name, []))
            lines.append(f"  {name:32} {value:10,.0f} {ratio:6} {rounds}".rstrip())
    lines.append(f"\na training step with bfloat16 is {results['bfloat16']:.2f} times as fast as in float32")
    lines.append(f"our linear map in decoding is {results['linear map']:.2f} times as fast as torch's own")
    equal = results["equal loss"]
    for name, loss in equal["loss"].items():
        lines.append(f"{equal['steps']} steps, {name}: {equal['seconds'][name]:.1f} s, loss {loss:.3f}")
    return "\n".join(lines)


def measure(sizes, *, repeats, steps, device, say):
    """Run everything; return what is written."""
    speeds = {}
    torch.manual_seed(0)
    systems = [kind(sizes.config()).to(device) for kind in available()]
    gains = {"bfloat16": gain_of_bfloat16(sizes, repeats, device), "linear map": gain_in_decoding(sizes)}
    bfloat16 = gains["bfloat16"] > 1.0
    ragged = tuple(min(length, sizes.lengths[1]) for length in RAGGED)
    pairs = 2 * sizes.batch  # two batches
    lengths = {f"{low} to {high} tokens": uniform_lengths(pairs, low, high) for low, high in (sizes.lengths, ragged)}
    lengths["sentences of chapter 13"] = sentence_lengths(pairs, sizes.max_len - 1)
    for what, chosen in lengths.items():
        name = f"training, {what}, target tokens/s"
        say(name)
        speeds[name] = training(systems, sizes, chosen, repeats, device, bfloat16)
    for system in systems:
        system.never_end()
    for length in sizes.new_tokens:
        name = f"greedy, {length} new tokens, tokens/s"
        say(name)
        speeds[name] = decoding(systems, sizes, length, repeats, device)
    tables = {title: {name: rate[0] for name, rate in row.items()} for title, row in speeds.items()}
    spread = {title: {name: rate[1:] for name, rate in row.items()} for title, row in speeds.items()}
    say("memory")
    held = {}
    for system in systems:
        rounds = [memory.measure(system.name, sizes, device) for _ in range(min(repeats, 3))]
        held[system.name] = [statistics.median(values) for values in zip(*rounds, strict=True)]
    for i, what in enumerate(("training", f"greedy, {sizes.new_tokens[-1]} new tokens")):
        tables[f"memory, {what}, MB"] = {name: values[i] for name, values in held.items()}
    say("the same loss")
    return {"tables": tables, "spread": spread, **gains, "equal loss": equal_loss(sizes, steps, device, bfloat16)}


def machine(device):
    """What the numbers were measured on and with."""
    versions = {}
    for name in ("torch", "transformers", "x-transformers"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {runs.cpu_name()}",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        **versions,
    }


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time this library beside its peers.")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether everything runs")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; the median counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the processes that measure memory
    sizes, steps = (TINY, 3) if options.quick else (Sizes(), 150)
    started = time.perf_counter()

    def say(what):
        print(f"{time.perf_counter() - started:5.0f} s  {what}", flush=True)

    say("seven tables and two more numbers; all in all a quarter of an hour, or twice that where other things run")
    results = {"setting": machine(options.device), "sizes": vars(sizes)}
    repeats = 1 if options.quick else options.repeats
    results |= measure(sizes, repeats=repeats, steps=steps, device=options.device, say=say)
    runs.write(options.out, results)
    print(table(results))
    say(f"written to {options.out.name}")


if __name__ == "__main__":
    main()
