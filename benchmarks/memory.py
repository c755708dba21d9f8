"""Peak memory of one system, in a process of its own: `python -m benchmarks.memory NAME SETTINGS`.

Prints the megabytes that training and decoding took beyond what Python and the imported packages hold.
"""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.systems import TINY, Sizes, adamw, available, one_batch, train_step


def measure(name: str, sizes: Sizes, device: str = "cpu") -> list[float]:
    """Start a process, and return its megabytes for training and for decoding."""
    settings = json.dumps([dataclasses.asdict(sizes), device])
    command = [sys.executable, "-m", "benchmarks.memory", name, settings]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def resident(which: str) -> float:
    """Return `VmRSS` (now) or `VmHWM` (the highest so far) in megabytes, as Linux tells them."""
    return int(re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000


def peak(function, device: str) -> float:
    """Return the highest memory while `function` runs, beyond what was held before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        function()
        return torch.cuda.max_memory_allocated() / 1e6
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    before = resident("VmRSS")
    function()
    return resident("VmHWM") - before


def train(kind: type, sizes: Sizes, device: str) -> None:
    """Make two steps."""
    torch.manual_seed(0)
    model, batch = kind(sizes.config()).to(device), one_batch(sizes, device)
    optimizer = adamw(model)
    for _ in range(2):
        train_step(model, batch, optimizer)


def decode(kind: type, sizes: Sizes, device: str) -> None:
    """Decode one batch."""
    model, batch = kind(sizes.config()).to(device), one_batch(sizes, device)
    model.never_end()
    model.answer(batch.src_ids, sizes.new_tokens[-1])


def main() -> None:
    """Do both, and print the megabytes."""
    name, settings = sys.argv[1:]
    sizes, device = json.loads(settings)
    sizes = Sizes(**sizes)
    kind = next(kind for kind in available() if kind.name == name)
    for task in (train, decode):
        task(kind, TINY, device)  # loads what is loaded at first use
    decoding = peak(lambda: decode(kind, sizes, device), device)
    training = peak(lambda: train(kind, sizes, device), device)
    print([round(training, 1), round(decoding, 1)])


if __name__ == "__main__":
    main()
