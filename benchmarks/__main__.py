"""How fast is it, and beside what? `make bench`, or `python -m benchmarks --help`.

One process; the systems take turns, so that whatever else the machine does hits all of them alike; the median counts.
Peak memory is measured in a process for each. The table is printed, and written where chapter 14 reads it.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import memory
from benchmarks.systems import (
    PAD,
    TINY,
    Fast,
    Ours,
    Sizes,
    Torch,
    as_batch,
    available,
    make_batches,
    pairs_of,
    sentence_lengths,
    train_step,
)
from transformer_lib.data import numbers
from transformer_lib.interop import to_torch

RESULTS = Path(__file__).parents[1] / "transformer_lib" / "data" / "speed.json"
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
    """Run every job once to warm up, then all of them in turns; return the median seconds of each."""
    warm = {name: seconds(job, device) for name, job in jobs.items()}
    times = {name: [took] if took > ONCE else [] for name, took in warm.items()}
    for _ in range(repeats):
        for name in jobs:
            if warm[name] <= ONCE:
                times[name].append(seconds(jobs[name], device))
    return {name: statistics.median(rounds) for name, rounds in times.items()}


def sort_by_length(batches):
    """Deal the same sentence pairs into batches of similar lengths."""
    pairs = [pair for batch in batches for pair in pairs_of(batch)]
    pairs.sort(key=lambda pair: (len(pair[1]), len(pair[0])))
    size = len(batches[0].src_ids)
    return [as_batch(pairs[i : i + size]) for i in range(0, len(pairs), size)]


def training(systems, sizes, lengths, repeats, device, number=2):
    """Return target tokens per second of each system, on the same sentence pairs; of some also sorted by length."""
    batches = [batch.to(device) for batch in make_batches(sizes, number, lengths)]
    by_length = [batch.to(device) for batch in sort_by_length(batches)]
    tokens = sum(int((batch.tgt_ids[:, 1:] != PAD).sum()) for batch in batches)

    def job(system, batches):
        optimizer = system.optimizer()
        return lambda: [train_step(system, batch, optimizer) for batch in batches]

    jobs = {system.name: job(system, batches) for system in systems}
    sorters = [system for system in systems if isinstance(system, (Torch, Ours))]
    jobs |= {f"{system.name}, sorted": job(system, by_length) for system in sorters}
    return {name: tokens / took for name, took in in_turns(jobs, repeats, device).items()}


def decoding(systems, sizes, length, repeats, device):
    """Return new tokens per second of each system; every sentence gets exactly `length`."""
    src_ids = make_batches(sizes, 1, sizes.lengths)[0].to(device).src_ids
    jobs = {system.name: lambda system=system: system.greedy(src_ids, length) for system in systems}
    return {name: src_ids.size(0) * length / took for name, took in in_turns(jobs, repeats, device).items()}


def bfloat16(sizes, device):
    """Return how many times as fast a training step is with bfloat16 as in float32."""
    system, batch = Fast(sizes), make_batches(sizes, 1, sizes.lengths)[0].to(device)
    system.model.to(device)
    optimizer = system.optimizer()

    def half():
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = system.loss(batch)
        loss.backward()

    took = in_turns({"float32": lambda: train_step(system, batch, optimizer), "bfloat16": half}, 1, device)
    return took["float32"] / took["bfloat16"]


def equal_loss(sizes, steps, device):
    """Train on the numbers of chapter 10, from the same weights, on the same batches, a step of each in turn.

    Return the seconds that each took, and its loss on unseen numbers.
    """
    english, german = len(numbers.english_vocabulary()), len(numbers.german_vocabulary())
    train, test = (numbers.encode_pairs(pairs) for pairs in numbers.split_numbers(10_000, 1_000, seed=0))
    sizes = dataclasses.replace(sizes, vocab=max(english, german), max_len=64)
    torch.manual_seed(0)
    ours, theirs = Fast(sizes), Torch(sizes)
    for name in ("src_embedding", "tgt_embedding", "output"):
        getattr(theirs.model, name).load_state_dict(getattr(ours.model, name).state_dict())
    ours_as_theirs = to_torch(ours.model.encoder), to_torch(ours.model.decoder)
    theirs.model.transformer.encoder, theirs.model.transformer.decoder = ours_as_theirs
    systems = {"torch": theirs, "ours": ours}
    for system in systems.values():
        system.model.to(device)
    optimizers = {name: system.optimizer() for name, system in systems.items()}
    took = dict.fromkeys(systems, 0.0)
    for _ in range(steps):
        batch = as_batch([train[i] for i in torch.randint(len(train), (sizes.batch,)).tolist()]).to(device)
        for name, system in systems.items():
            took[name] += seconds(lambda system=system: train_step(system, batch, optimizers[name]), device)  # noqa: B023
    batch, loss = as_batch(test).to(device), {}
    for name, system in systems.items():
        system.model.eval()
        with torch.no_grad():
            loss[name] = float(system.loss(batch) / (batch.tgt_ids[:, 1:] != PAD).sum())
    return {"steps": steps, "seconds": took, "loss": loss}


def table(results):
    """Return the results as lines of text; ratios are to the first system."""
    first = next(iter(results["tables"]["memory, training, MB"]))
    lines = []
    for title, row in results["tables"].items():
        lines.append(f"\n{title}")
        for name, value in row.items():
            ratio = f"{value / row[first]:6.2f}" if row.get(first) else ""
            lines.append(f"  {name:32} {value:10,.0f} {ratio}")
    lines.append(f"\na training step with bfloat16 is {results['bfloat16']:.2f} times as fast as in float32")
    equal = results["equal loss"]
    for name in ("torch", "ours"):
        lines.append(f"{equal['steps']} steps, {name}: {equal['seconds'][name]:.1f} s, loss {equal['loss'][name]:.3f}")
    return "\n".join(lines)


def measure(sizes, *, repeats, steps, device, say):
    """Run everything; return what is written."""
    tables = {}
    torch.manual_seed(0)
    systems = [kind(sizes) for kind in available()]
    for system in systems:
        system.model.to(device)
    ragged = tuple(min(length, sizes.lengths[1]) for length in RAGGED)
    drawn = {f"{low} to {high} tokens": (low, high) for low, high in (sizes.lengths, ragged)}
    for what, lengths in (drawn | {"sentences of chapter 13": sentence_lengths(sizes.max_len - 1)}).items():
        name = f"training, {what}, target tokens/s"
        say(name)
        tables[name] = training(systems, sizes, lengths, repeats, device)
    for system in systems:
        system.never_end()
    for length in sizes.new_tokens:
        name = f"greedy, {length} new tokens, tokens/s"
        say(name)
        tables[name] = decoding(systems, sizes, length, repeats, device)
    say("memory")
    held = {system.name: memory.measure(system.name, sizes, device) for system in systems}
    for i, what in enumerate(("training", f"greedy, {sizes.new_tokens[-1]} new tokens")):
        tables[f"memory, {what}, MB"] = {name: values[i] for name, values in held.items()}
    say("the same loss")
    return {"tables": tables, "bfloat16": bfloat16(sizes, device), "equal loss": equal_loss(sizes, steps, device)}


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
        "machine": torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {cpu_name()}",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        **versions,
    }


def cpu_name():
    """The name of the processor, if the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else f"{os.cpu_count()} cores"


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

    results = {"setting": machine(options.device), "sizes": vars(sizes)}
    repeats = 1 if options.quick else options.repeats
    results |= measure(sizes, repeats=repeats, steps=steps, device=options.device, say=say)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    say(f"written to {options.out.name}")


if __name__ == "__main__":
    main()
