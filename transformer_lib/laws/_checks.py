"""What the laws require of what they are handed: a question that could not be answered is refused in a sentence."""

import torch
from torch import Tensor, nn


def described(part: object) -> str:
    """Name the type of anything, and the shape of a tensor."""
    return f"{part.dtype} {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__


def check_tensor(name: str, part: object, shape: str, least: int, *, numbers: bool = False) -> None:
    """Require a tensor with at least so many axes, of floating-point numbers if `numbers`."""
    if not isinstance(part, Tensor) or part.dim() < least or (numbers and not part.is_floating_point()):
        kind = "tensor of floating-point numbers" if numbers else "tensor"
        raise ValueError(f"{name} must be a {kind} of shape {shape}, got {described(part)}")


def check_finite(name: str, part: Tensor) -> None:
    """Require numbers that can be compared: NaN differs from itself, and 0 times infinity is NaN."""
    if not part.isfinite().all():
        raise ValueError(
            f"{name} must hold finite numbers, got NaN or infinity; a law cannot compare what these become"
        )


def check_module(module: object) -> None:
    """Require a module: the mode of anything else cannot be switched."""
    if not isinstance(module, nn.Module):
        raise ValueError(f"module must be an nn.Module, got {type(module).__name__}; the mode of others is not known")


def check_methods(model: object, *names: str) -> None:
    """Require what the laws call on a model."""
    missing = [name for name in names if not hasattr(model, name)]
    if missing:
        hint = "wrap a Hugging Face model in laws.HuggingFace"
        raise ValueError(
            f"model must have {', '.join(names)}, got {type(model).__name__}, without {missing[0]}; {hint}"
        )


def check_real(name: str, real: object, shape: tuple[int, ...]) -> None:
    """Require one boolean per (batch, position)."""
    if not isinstance(real, Tensor) or real.dtype != torch.bool or real.shape != shape:
        raise ValueError(f"{name} must be boolean of shape (batch, seq) = {tuple(shape)}, got {described(real)}")


def check_pair(x: Tensor, other: Tensor, replaced: Tensor) -> None:
    """Require that `other` can stand in for `x` where `replaced` is `True`, and would be noticed."""
    check_tensor("x", x, "(batch, seq, ...)", 2)
    check_tensor("other", other, "(batch, seq, ...), as x", 2)
    if x.shape != other.shape or x.dtype != other.dtype:
        raise ValueError(
            f"x and other must have the same shape and type, got {tuple(x.shape)} {x.dtype} "
            f"and {tuple(other.shape)} {other.dtype}"
        )
    check_real("real", replaced, x.shape[:2])
    check_finite("x", x)
    check_finite("other", other)
    if not (x != other)[replaced].any():
        raise ValueError("x and other agree wherever x would be replaced: such a test cannot fail; let them differ")


def check_positions(output: Tensor, counted: Tensor) -> None:
    """Require one output per (batch, position) of `counted`."""
    if output.shape[:2] != counted.shape:
        raise ValueError(
            f"the output must have one entry per position, (batch, seq) = {tuple(counted.shape)}, "
            f"got shape {tuple(output.shape)}"
        )


def places(x: Tensor) -> Tensor:
    """The position of every (batch, seq) of `x`."""
    check_tensor("x", x, "(batch, seq, ...)", 2)
    return torch.arange(x.size(1), device=x.device).expand(x.shape[:2])


def check_visible(x: Tensor, other: Tensor, real: Tensor) -> None:
    """Require that `other` could be noticed wherever `x` is `real`."""
    check_pair(x, other, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))
    check_real("real", real, x.shape[:2])
    same = real & ~(x != other).reshape(*real.shape, -1).any(-1)
    if same.any() or not real.any():
        at = f"they agree at {tuple(same.nonzero()[0].tolist())}" if same.any() else "no token is real"
        raise ValueError(f"x and other must differ at every real token: such a test cannot fail otherwise; {at}")


def check_outputs(before: Tensor, real: Tensor, real_outputs: Tensor | None) -> None:
    """Require that each sequence with a `real` token has an output that counts."""
    if before.dim() < 2 or len(before) != len(real):
        raise ValueError(f"the output must have shape (batch, seq, ...), got {tuple(before.shape)}")
    if real_outputs is not None:
        check_real("real_outputs", real_outputs, before.shape[:2])
        if not real_outputs.any(1)[real.any(1)].all():
            raise ValueError("real_outputs must hold an output of every sequence: else no token could be noticed")


def check_counted(before: Tensor, real: Tensor, real_outputs: Tensor | None) -> Tensor:
    """Say which outputs count, and require that some sequence has such an output and padding."""
    if real_outputs is not None:
        check_real("real_outputs", real_outputs, before.shape[:2])
    counted = real if real_outputs is None else real_outputs
    check_positions(before, counted)
    if not ((~real).any(1) & counted.any(1)).any():
        raise ValueError("real must leave padding in a sequence with an output that counts: such a test cannot fail")
    return counted


def check_batch(inputs: tuple[object, ...]) -> int:
    """Require tensors that share a batch axis, and return its size."""
    sizes = set()
    for i, part in enumerate(inputs):
        check_tensor(f"input {i}", part, "(batch, ...); keep anything else in f by a lambda", 1)
        assert isinstance(part, Tensor)
        if part.isnan().any():
            raise ValueError(f"input {i} must hold numbers, got NaN; a law cannot compare what it becomes")
        sizes.add(len(part))
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"the inputs must share a batch axis of at least 2, got the sizes {sorted(sizes)}")
    return sizes.pop()


def check_singles(alone: list[Tensor]) -> None:
    """Require that each sequence alone gives one entry."""
    if not all(part.dim() and len(part) == 1 for part in alone):
        raise ValueError(
            f"f must return one entry per sequence, (batch, ...), got shape {tuple(alone[0].shape)} for one"
        )
