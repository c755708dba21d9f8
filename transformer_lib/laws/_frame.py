"""The frame of the laws: what a law answers, how it calls without a trace and compares outputs."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# How far an output may move, relative to the largest output; other types get 8 times their precision.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}


class LawViolation(AssertionError):
    """A law does not hold."""


@dataclass(frozen=True)
class Verdict:
    """What a law found; counts as `True` when the law holds."""

    law: str  # its name
    holds: bool  # whether every comparison agreed
    message: str  # one sentence; when violated, where, by how much, and what the usual cause is

    @classmethod
    def of(cls, law: str, fault: str | None, promise: str, cause: str) -> "Verdict":
        """Put a finding into a sentence: the promise if there is no fault, else the fault and its usual cause."""
        if fault is None:
            return cls(law, True, f"{law.capitalize()} holds: {promise}.")
        return cls(law, False, f"{law.capitalize()} is violated: {fault}. Usual cause: {cause}.")

    def __str__(self) -> str:
        return self.message

    def __bool__(self) -> bool:
        return self.holds

    def require(self) -> None:
        """Raise `LawViolation` with the message unless the law holds."""
        if not self.holds:
            raise LawViolation(self.message)


@contextlib.contextmanager
def undisturbed(module: object, training: bool | None = None, seed: int = 0) -> Iterator[None]:
    """Switch gradients off, seed torch and, if `training` is given, set the mode; restore it all, buffers too."""
    parts = list(module.modules()) if isinstance(module, nn.Module) else []
    modes = [part.training for part in parts]
    buffers = [(buffer, buffer.clone()) for part in parts for buffer in part.buffers(recurse=False)]
    number = torch.accelerator.device_count()
    there = torch.accelerator.current_accelerator() if number else None  # it has a random state of its own
    with torch.no_grad(), torch.random.fork_rng(range(number), device_type=there.type if there else "cuda"):
        torch.manual_seed(seed)
        try:
            for part, mode in zip(parts, modes, strict=True):
                part.training = mode if training is None else training
            yield
        finally:
            for part, mode in zip(parts, modes, strict=True):
                part.training = mode
            for buffer, before in buffers:  # such as the running mean of a batch norm
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def first_of(found: Any) -> Tensor:
    """The output, alone or first of several."""
    return found if isinstance(found, Tensor) else found[0]


def call(f: Callable[..., Any], *inputs: Any, training: bool | None = None, seed: int = 0) -> Tensor:
    """Call `f` from a fixed random state, without gradients, in the given mode if it is a module.

    It gets copies (what was one tensor stays one) and gives one, so that what it writes into its inputs or into a
    kept output does no harm. Of several outputs the first one is taken.
    """
    clones = {id(part): part.clone() for part in inputs if isinstance(part, Tensor)}
    with undisturbed(f, training, seed):
        return first_of(f(*(clones.get(id(part), part) for part in inputs))).clone()


def exact(part: Tensor) -> Tensor:
    """The same numbers in float64, on the CPU first: Apple's device has no such type."""
    return part.detach().cpu().double()


def allowed_error(dtype: torch.dtype, tolerance: float | None = None) -> float:
    """How far numbers of a type may be off, relative to their size, unless the caller said it."""
    if tolerance is not None:
        return tolerance
    return TOLERANCES.get(dtype, 8 * torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0


def place_of(wrong: Tensor) -> tuple[int, ...]:
    """The index of the first `True`."""
    return tuple(wrong.nonzero()[0].tolist())


def gap_between(before: Tensor, after: Tensor) -> Tensor:
    """The largest difference at each (batch, position), on the CPU."""
    before, after = exact(before), exact(after)
    gap = torch.where(before == after, 0.0, (before - after).abs())
    return gap.reshape(gap.size(0), gap.size(1) if gap.dim() > 1 else 1, -1).amax(-1)


def largest(output: Tensor) -> float:
    """The largest finite number of an output, by size; a fill such as -1e9, for what is never chosen, is none."""
    finite = exact(output[output.isfinite()])
    others = finite[finite > -1e4]
    numbers = (others if others.numel() else finite).abs()
    return numbers.max().item() if numbers.numel() else 0.0


def first_place(*findings: tuple[Tensor, str, Tensor]) -> str | None:
    """Say the first finding that is true somewhere: its sentence, with that place and the value there put in."""
    for wrong, sentence, values in findings:
        if wrong.any():
            at = place_of(wrong)
            return sentence.format(at, values[at].item())
    return None


def fault_between(
    words: str, before: Tensor, after: Tensor, tolerance: float | None = None, counted: Tensor | None = None
) -> str | None:
    """Say where and by how much `after` differs from `before`, after the words that say what was done; else `None`.

    Only entries at (batch, position) pairs that are `counted` are compared, all if it is `None`.
    """
    if before.shape != after.shape:
        return f"{words}, the output changed its shape from {tuple(before.shape)} to {tuple(after.shape)}"
    if before.numel() == 0:
        raise ValueError(f"nothing to compare: the output has shape {tuple(before.shape)}")
    gap = gap_between(before, after)
    if counted is not None:
        gap = gap.masked_fill(~counted.cpu(), 0.0)
    allowed = allowed_error(before.dtype, tolerance) * largest(before)
    wrong = ~(gap <= allowed)  # so that NaN is wrong too
    if not wrong.any():
        return None
    position, row = place_of(wrong.T)  # the first position at which any sequence is wrong
    moved = gap[row, position].item()
    how = "is NaN" if moved != moved else f"differs by {moved:.2g} (allowed: {allowed:.2g})"
    return f"{words}, the output at position {position} of sequence {row} {how}"


def check_repeatable(f: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Require that `f` does not depend on the random state: else two of its outputs prove nothing."""
    once, again = (call(f, *inputs, training=False, seed=seed) for seed in (0, 1))
    if fault_between("", once, again):
        raise ValueError("f must give the same output twice, got two; its dropout is on: call eval() on its module")
