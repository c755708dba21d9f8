"""The frame of `laws`: calling a function without a trace, comparing outputs, saying what was found."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# How far an output may move, relative to the largest output; other types get 8 times their precision.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}


class LawViolation(AssertionError):
    """A law does not hold."""


@dataclass(frozen=True)
class Verdict:
    """What a law found; counts as `True` when the law holds.

    Args:
        law: its name.
        holds: whether every comparison agreed.
        message: one sentence; when violated, where, by how much, and what the usual cause is.
    """

    law: str
    holds: bool
    message: str

    def __str__(self) -> str:
        return self.message

    def __bool__(self) -> bool:
        return self.holds

    def require(self) -> None:
        """Raise `LawViolation` with the message unless the law holds."""
        if not self.holds:
            raise LawViolation(self.message)


def verdict(law: str, fault: str | None, promise: str, cause: str) -> Verdict:
    """Put the finding into a sentence: the promise if there is no fault, else the fault and its usual cause."""
    if fault is None:
        return Verdict(law, True, f"{law.capitalize()} holds: {promise}.")
    return Verdict(law, False, f"{law.capitalize()} is violated: {fault}. Usual cause: {cause}.")


@contextlib.contextmanager
def undisturbed(*modules: object, training: bool | None = None) -> Iterator[None]:
    """Switch gradients off and, if `training` is given, the modules' mode; restore it all at the end."""
    parts = [part for module in modules if isinstance(module, nn.Module) for part in module.modules()]
    modes = [part.training for part in parts]
    with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        try:
            for part in parts if training is not None else ():
                part.training = bool(training)
            yield
        finally:
            for part, mode in zip(parts, modes, strict=True):
                part.training = mode


def call(f: Callable[..., Tensor], *inputs, training: bool | None = None) -> Tensor:
    """Call `f` from a fixed random state, without gradients, in the given mode if it is a module."""
    with undisturbed(f, training=training):
        output = f(*inputs)
    if not isinstance(output, Tensor):
        raise ValueError(f"f must return one tensor, got {type(output).__name__}; pick one: lambda x: f(x)[0]")
    return output


def check_pair(x: Tensor, other: Tensor, replaced: Tensor) -> None:
    """Require that `other` can stand in for `x` where `replaced` is `True`, and would be noticed."""
    if x.shape != other.shape or x.dtype != other.dtype:
        raise ValueError(
            f"x and other must have the same shape and type, got {tuple(x.shape)} {x.dtype} "
            f"and {tuple(other.shape)} {other.dtype}"
        )
    if replaced.dtype != torch.bool or replaced.shape != x.shape[:2]:
        raise ValueError(
            f"real must be boolean of shape (batch, seq) = {tuple(x.shape[:2])}, "
            f"got {replaced.dtype} {tuple(replaced.shape)}"
        )
    if not (x != other)[replaced].any():
        raise ValueError("x and other agree wherever x would be replaced: such a test cannot fail; let them differ")


def replace(x: Tensor, other: Tensor, replaced: Tensor) -> Tensor:
    """Take `other` where `replaced` (batch, seq) is `True`, else `x`."""
    return torch.where(replaced.reshape(*replaced.shape, *[1] * (x.dim() - 2)), other, x)


def check_positions(output: Tensor, counted: Tensor) -> None:
    """Require one output per (batch, position) of `counted`."""
    if output.shape[:2] != counted.shape:
        raise ValueError(
            f"the output must have one entry per position, (batch, seq) = {tuple(counted.shape)}, "
            f"got shape {tuple(output.shape)}"
        )


def fault_between(before: Tensor, after: Tensor, tolerance: float | None, counted: Tensor | None = None) -> str | None:
    """Say where and by how much `after` differs from `before`, or return `None`.

    Only entries at (batch, position) pairs that are `counted` are compared, all if it is `None`.
    """
    if before.shape != after.shape:
        return f"the output changed its shape from {tuple(before.shape)} to {tuple(after.shape)}"
    if before.numel() == 0:
        raise ValueError(f"nothing to compare: the output has shape {tuple(before.shape)}")
    if tolerance is None:
        precise = before.dtype.is_floating_point
        tolerance = TOLERANCES.get(before.dtype, 8 * torch.finfo(before.dtype).eps) if precise else 0.0
    before, after = before.double(), after.double()
    gap = torch.where(before == after, 0.0, (before - after).abs())
    gap = gap.reshape(gap.size(0), gap.size(1) if gap.dim() > 1 else 1, -1).amax(-1)  # (batch, seq)
    if counted is not None:
        gap = gap.masked_fill(~counted, 0.0)
    finite = before[before.isfinite()].abs()
    allowed = tolerance * finite.max().item() if finite.numel() else 0.0
    wrong = ~(gap <= allowed)  # so that NaN is wrong too
    if not wrong.any():
        return None
    position = int(wrong.any(dim=0).nonzero()[0])
    row = int(wrong[:, position].nonzero()[0])
    moved = gap[row, position].item()
    if moved != moved:
        return f"the output at position {position} of sequence {row} is NaN"
    return f"the output at position {position} of sequence {row} differs by {moved:.2g} (allowed: {allowed:.2g})"
