"""Pace: what a training will take, and in which precision it takes less, found out on steps that are thrown away.

A product in bfloat16 takes half the time of one in float32 where the processor has instructions for it, and ten times
as long where it has not. So a recipe may leave the choice to the machine (`precision = "auto"`).
"""

import statistics
import time
from collections.abc import Callable

import torch

from transformer_lib.training import Trainer

STEPS, SECONDS = 3, 2.0  # as many steps are timed, if they take no longer than that


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device may be quick in bfloat16: a CPU without instructions for it, or Apple's, need not be tried.

    A CPU with AVX-512 says yes, whether it has instructions for all of it or for a part: only a watch can tell.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    known = device.type == "cpu" and torch.backends.mkldnn.is_available()
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def seconds_per_step(trainer: Callable[[], Trainer]) -> float:
    """Return the seconds of a training step; what torch draws at random afterwards is as if none had been made.

    Args:
        trainer: makes a trainer of a copy of the model.
    """
    with torch.random.fork_rng():
        tried = trainer()
        tried.train_step().item()  # the first one finds memory, and is slower
        seconds: list[float] = []
        while len(seconds) < STEPS and sum(seconds) < SECONDS:
            started = time.perf_counter()
            tried.train_step().item()  # waits for a GPU
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def choose_precision(seconds_in: Callable[[str], float], device: torch.device) -> tuple[str, str, float]:
    """Choose "float32" or "bfloat16".

    Args:
        seconds_in: measures the seconds of a step in a precision.
        device: where the steps are made.

    Returns:
        The choice, why, and the seconds of a step in it.
    """
    single = seconds_in("float32")
    if not has_bfloat16(device):
        return "float32", f"this {device.type.upper()} has no instructions for bfloat16", single
    half = seconds_in("bfloat16")
    if half < 0.9 * single:  # 16 bits must be worth it
        return "bfloat16", f"a step takes {short(half)} seconds, and {short(single)} in float32", half
    return "float32", f"a step takes {short(single)} seconds, and {short(half)} in bfloat16", single


def short(number: float) -> str:
    """Return a number with two digits that count."""
    return f"{float(f'{number:.2g}'):g}"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
