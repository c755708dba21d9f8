"""The frame of the laws: calling a function without a trace, comparing outputs, saying what was found."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib.laws.verdicts import Verdict

# How far an output may move, relative to the largest output; other types get 8 times their precision.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}


def verdict(law: str, fault: str | None, promise: str, cause: str) -> Verdict:
    """Put the finding into a sentence: the promise if there is no fault, else the fault and its usual cause."""
    if fault is None:
        return Verdict(law, True, f"{law.capitalize()} holds: {promise}.")
    return Verdict(law, False, f"{law.capitalize()} is violated: {fault}. Usual cause: {cause}.")


@contextlib.contextmanager
def undisturbed(*modules: object, training: bool | None = None) -> Iterator[None]:
    """Switch gradients off and, if `training` is given, the modules' mode; restore it all, buffers too, at the end."""
    parts = [part for module in modules if isinstance(module, nn.Module) for part in module.modules()]
    modes = [part.training for part in parts]
    buffers = [(buffer, buffer.clone()) for part in parts for buffer in part.buffers(recurse=False)]
    with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        try:
            for part in parts if training is not None else ():
                part.training = bool(training)
            yield
        finally:
            for part, mode in zip(parts, modes, strict=True):
                part.training = mode
            for buffer, before in buffers:  # such as the running mean of a batch norm
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def first_of(found: Any, name: str = "f") -> Tensor:
    """The output, alone or first of several."""
    if not isinstance(found, Tensor):
        try:
            first = found[0]
        except (TypeError, LookupError):
            first = None
        if not isinstance(first, Tensor):
            raise ValueError(f"{name} must return a tensor, alone or first of several, got {type(found).__name__}")
        found = first
    return found


def call(f: Callable[..., Tensor], *inputs, training: bool | None = None, seed: int = 0) -> Tensor:
    """Call `f` from a fixed random state, without gradients, in the given mode if it is a module.

    It gets copies and gives one, so that what it writes into its inputs or into a kept output does no harm.
    """
    if not callable(f):
        raise ValueError(f"f must be a function or a module, got {type(f).__name__}")
    with undisturbed(f, training=training):
        torch.manual_seed(seed)
        output = f(*copies(inputs))
        if not isinstance(output, Tensor):
            raise ValueError(f"f must return one tensor, got {type(output).__name__}; pick one: lambda x: f(x)[0]")
        return (torch.view_as_real(output) if output.is_complex() else output).clone()


def copies(inputs: Iterable[Any]) -> list[Any]:
    """Copy the tensors; what was one tensor stays one."""
    parts = list(inputs)
    clones = {id(part): part.clone() for part in parts if isinstance(part, Tensor)}
    return [clones.get(id(part), part) for part in parts]


def check_repeatable(f: Callable[..., Tensor], *inputs) -> None:
    """Require that `f` does not depend on the random state: else two of its outputs prove nothing."""
    if fault_between(call(f, *inputs, training=False), call(f, *inputs, training=False, seed=1), None):
        raise ValueError(
            "f must give the same output twice, got two; its dropout is on: call eval() on its module first"
        )


def allowed_error(dtype: torch.dtype, tolerance: float | None = None) -> float:
    """How far numbers of a type may be off, relative to their size, unless the caller said it."""
    if tolerance is not None:
        if not isinstance(tolerance, int | float) or not tolerance >= 0:
            raise ValueError(f"tolerance must be a number, at least 0, got {tolerance!r}")
        return tolerance
    return TOLERANCES.get(dtype, 8 * torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0


def place_of(wrong: Tensor) -> tuple[int, ...]:
    """The index of the first `True`."""
    return tuple(wrong.nonzero()[0].tolist())


def replace(x: Tensor, other: Tensor, replaced: Tensor) -> Tensor:
    """Take `other` where `replaced` (batch, seq) is `True`, else `x`."""
    return torch.where(replaced.reshape(*replaced.shape, *[1] * (x.dim() - 2)), other, x)


def gap_between(before: Tensor, after: Tensor) -> Tensor:
    """The largest difference at each (batch, position)."""
    before, after = before.double(), after.double()
    gap = torch.where(before == after, 0.0, (before - after).abs())
    return gap.reshape(gap.size(0), gap.size(1) if gap.dim() > 1 else 1, -1).amax(-1)


def largest(output: Tensor) -> float:
    """The largest finite number of an output, by size; a fill such as -1e9, for what is never chosen, is none."""
    finite = output[output.isfinite()].double()
    others = finite[(finite > -1e4) | (finite != finite.min())] if finite.numel() else finite
    finite = (others if others.numel() else finite).abs()
    return finite.max().item() if finite.numel() else 0.0


def fault_between(
    before: Tensor,
    after: Tensor,
    tolerance: float | None,
    counted: Tensor | None = None,
    among: Tensor | None = None,
) -> str | None:
    """Say where and by how much `after` differs from `before`, or return `None`.

    Only entries at (batch, position) pairs that are `counted` are compared, all if it is `None`; the largest output
    is looked for `among` such pairs.
    """
    if before.shape != after.shape:
        return f"the output changed its shape from {tuple(before.shape)} to {tuple(after.shape)}"
    if before.numel() == 0:
        raise ValueError(f"nothing to compare: the output has shape {tuple(before.shape)}")
    gap = gap_between(before, after)
    if counted is not None:
        gap = gap.masked_fill(~counted, 0.0)
    allowed = allowed_error(before.dtype, tolerance) * largest(before if among is None else before[among])
    wrong = ~(gap <= allowed)  # so that NaN is wrong too
    if not wrong.any():
        return None
    position = int(wrong.any(dim=0).nonzero()[0])
    row = int(wrong[:, position].nonzero()[0])
    moved = gap[row, position].item()
    if moved != moved:
        return f"the output at position {position} of sequence {row} is NaN"
    return f"the output at position {position} of sequence {row} differs by {moved:.2g} (allowed: {allowed:.2g})"
