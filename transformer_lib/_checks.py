"""The guards that more than one room needs: mistakes that torch does not name, or names misleadingly.

They stand at the boundary alone, and look at types, shapes and names; none looks at a tensor's values, which a GPU, a
trace or `vmap` could not answer.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


def check_whole(least: int, **numbers: int) -> None:
    """Require that every named number is whole, and at least `least`."""
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {shown(number)}")


def check_share(**shares: float) -> None:
    """Require 0 <= share < 1."""
    for name, share in shares.items():
        if not isinstance(share, int | float) or not 0.0 <= share < 1.0:
            raise ValueError(f"{name} must be at least 0 and below 1, got {shown(share)}")


def check_number(*, zero: bool = False, **numbers: float) -> None:
    """Require that every named number is finite and above 0, or at least 0 if `zero` is allowed."""
    for name, x in numbers.items():
        if not isinstance(x, int | float) or not math.isfinite(x) or x < 0 or (x == 0 and not zero):
            raise ValueError(f"{name} must be a finite number {'of at least' if zero else 'above'} 0, got {shown(x)}")


def check_ids(name: str, ids: Tensor) -> None:
    """Require whole numbers of shape `(batch, seq)`."""
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"{name} must be a tensor of integer token ids (torch.int64), got {kind}")
    if ids.dim() != 2:
        raise ValueError(
            f"{name} must have shape (batch, seq), got {tuple(ids.shape)}; "
            f"for a single sequence add a batch axis with {name}.unsqueeze(0)"
        )


def check_qkv(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Require `(..., seq, d_head)` with the same leading axes, over which torch would broadcast."""
    if query.dim() < 2 or query.size(-1) == 0 or not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        raise ValueError(
            f"query, key and value must have shape (..., seq, d_head) with the same leading axes, "
            f"got {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )


def check_mask(mask: Tensor | None, shape: tuple[int, ...]) -> None:
    """Require that `mask` is boolean (torch would add any other to the scores) and broadcasts to the scores."""
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be boolean (True = may attend), got {kind}; from a 0/-inf mask use (mask == 0)")
    fits = 2 <= mask.dim() <= len(shape)
    for i in range(1, mask.dim() + 1):
        fits = fits and mask.size(-i) in (1, shape[-i])
    if not fits:
        axes = {2: "q_len, kv_len", 3: "batch, q_len, kv_len", 4: "batch, heads, q_len, kv_len"}
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} does not broadcast to "
            f"({axes.get(len(shape), '..., q_len, kv_len')}) = {tuple(shape)}"
        )


def shown(x: Any, most: int = 60) -> str:
    """Return `x` as it is written in code, on one line, cut off where it gets long."""
    text = type(x).__name__ if isinstance(x, Tensor | nn.Module) else " ".join(repr(x).split())
    return text if len(text) <= most else text[: most - 3] + "..."
