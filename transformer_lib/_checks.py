"""The guards that more than one room of the library needs. Each raises `ValueError` or returns nothing.

They look at types, shapes, devices and types of numbers, which a GPU need not be asked for; only `check_ids`
looks at values, and only on the CPU.
"""

import math
import os
import sys
from typing import Any

import torch
from torch import Tensor, nn

# Settings


def check_positive(**sizes: int) -> None:
    """Require that every named size is a whole number of at least 1."""
    check_whole(1, sizes)


def check_count(**counts: int) -> None:
    """Require that every named count is a whole number of at least 0."""
    check_whole(0, counts)


def check_whole(least: int, numbers: dict[str, int]) -> None:
    """Require whole numbers from `least` to what 32 bits hold (torch itself overflows further up)."""
    for name, number in numbers.items():
        if isinstance(number, torch.SymInt):
            continue  # a length that `torch.export` keeps open
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {shown(number)}")
        if number >= 2**31:
            raise ValueError(f"{name} must be a whole number below {2**31}, got {number:.1e}")


def check_probability(name: str, p: float) -> None:
    """Require 0 <= p < 1."""
    if not isinstance(p, int | float) or not 0.0 <= p < 1.0:
        raise ValueError(f"{name} must be at least 0 and below 1, got {shown(p)}")


def check_number(name: str, x: float, *, zero: bool = False) -> None:
    """Require a finite number above 0, or at least 0 if `zero` is allowed."""
    if not isinstance(x, int | float) or isinstance(x, bool) or not -math.inf < x <= sys.float_info.max:
        raise ValueError(f"{name} must be a finite number, got {shown(x)}")
    if x < 0 or (x == 0 and not zero):
        raise ValueError(f"{name} must be {'at least' if zero else 'above'} 0, got {x}")


def check_flags(**flags: bool) -> None:
    """Require that every named choice is `True` or `False`."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ValueError(f"{name} must be True or False, got {shown(flag)}")


def check_callable(name: str, function: Any) -> None:
    """Require something that can be called."""
    if not callable(function):
        raise ValueError(f"{name} must be a function, got {shown(function)}")


def check_type(name: str, x: Any, kind: type) -> None:
    """Require that `x` is a `kind`."""
    if not isinstance(x, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, got {shown(x)}")


def check_model(model: Any) -> None:
    """Require a module that tells its `config`: a `Transformer`, the library's or your own."""
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise ValueError(f"model must be a Transformer, got {shown(model)}")


def check_path(path: Any) -> None:
    """Require the name of a file."""
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise ValueError(f"path must be the name of a file, a str or a Path, got {shown(path)}")


def shown(x: Any, most: int = 60) -> str:
    """Return `x` as it is written in code, on one line, cut off where it gets long."""
    text = type(x).__name__ if isinstance(x, Tensor | nn.Module) else " ".join(repr(x).split())
    return text if len(text) <= most else text[: most - 3] + "..."


# Token ids


def check_ids_type(name: str, ids: Tensor) -> None:
    """Require a tensor of whole numbers that torch can look up."""
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"{name} must be a tensor of integer token ids (torch.int64), got {kind}")


def check_token_axes(name: str, ids: Tensor) -> None:
    """Require ids of shape `(batch, seq)`."""
    check_ids_type(name, ids)
    if ids.dim() != 2:
        raise ValueError(
            f"{name} must have shape (batch, seq), got {tuple(ids.shape)}; "
            f"for a single sequence add a batch axis with {name}.unsqueeze(0)"
        )


def check_ids(name: str, ids: Tensor, vocab_size: int) -> None:
    """Require that `ids` holds integer token ids below `vocab_size`.

    The values are looked at on the CPU only: on a GPU that would force a synchronisation,
    and under `torch.compile` it would break the graph.
    """
    check_ids_type(name, ids)
    if ids.device.type != "cpu" or torch.compiler.is_compiling() or ids.numel() == 0:
        return
    low, high = torch.aminmax(ids)
    if low < 0 or high >= vocab_size:
        bad = int(low) if low < 0 else int(high)
        raise ValueError(
            f"token id {bad} in {name} is outside the vocabulary of {vocab_size} tokens (0 to {vocab_size - 1})"
        )


# Vectors


def check_float(name: str, x: Tensor) -> None:
    """Require that `x` is a tensor of floating-point numbers."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        hint = f"embed token ids first, or use {name}.float()" if isinstance(x, Tensor) else "use torch.tensor"
        raise ValueError(f"{name} must hold floating-point numbers, got {kind}; {hint}")


def check_device(name: str, x: Tensor, other_name: str, other: Tensor) -> None:
    """Require that two tensors are on one device."""
    if x.device != other.device:
        raise ValueError(f"{name} is on {x.device}, but {other_name} on {other.device}; move one of them with .to()")


def check_like(name: str, x: Tensor, other_name: str, other: Tensor) -> None:
    """Require the device of another tensor, and its type of numbers unless autocast converts them.

    Autocast leaves float64 as it is. A weight that is no tensor of floats (of a quantised layer) is not compared.
    """
    if not isinstance(other, Tensor) or not other.is_floating_point():
        return
    check_device(name, x, other_name, other)
    kinds = {x.dtype, other.dtype}
    if len(kinds) > 1 and (torch.float64 in kinds or not torch.is_autocast_enabled(x.device.type)):
        raise ValueError(f"{name} holds {x.dtype}, but {other_name} {other.dtype}; convert one of them with .to()")


def check_last_dim(name: str, x: Tensor, d_model: int, weight: Tensor | None = None) -> None:
    """Require floating-point tokens `(batch, seq, d_model)`, fit for `weight`; the batch axis may be missing."""
    check_float(name, x)
    if x.dim() < 2 or x.size(-1) != d_model:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected (batch, seq, d_model) with d_model={d_model}")
    if weight is not None:
        check_like(name, x, "the weights", weight)


def check_tokens(name: str, x: Tensor, d_model: int, weight: Tensor | None = None) -> None:
    """Require floating-point tokens of shape `(batch, seq, d_model)`, the batch axis included."""
    check_last_dim(name, x, d_model, weight)
    if x.dim() != 3:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, expected (batch, seq, d_model); "
            f"for a single sequence add a batch axis with {name}.unsqueeze(0)"
        )


def check_qkv(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Require floating-point `(..., seq, d_head)` with the same leading axes, widths and lengths that fit."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        check_float(name, x)
        check_like(name, x, "query", query)
    if (
        query.dim() < 2
        or not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
        or not key.dim() == value.dim() >= 2
    ):
        raise ValueError(
            f"query, key and value must have shape (..., seq, d_head) with the same leading axes, "
            f"got {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
        )
    if query.size(-1) != key.size(-1) or query.size(-1) == 0:
        raise ValueError(f"query and key must share their last dimension, got {query.size(-1)} and {key.size(-1)}")
    if key.size(-2) != value.size(-2):
        raise ValueError(f"key and value must have the same length, got {key.size(-2)} and {value.size(-2)}")


def check_sequences(query: Tensor, key: Tensor, value: Tensor, d_model: int, weight: Tensor | None = None) -> None:
    """Require `(batch, seq, d_model)` three times, of one batch size, as many keys as values."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        check_tokens(name, x, d_model, weight)
    if key.shape != value.shape:
        raise ValueError(f"key and value must have the same shape, got {tuple(key.shape)} and {tuple(value.shape)}")
    if query.size(0) != key.size(0):
        raise ValueError(f"query and key must have the same batch size, got {query.size(0)} and {key.size(0)}")


def check_mask(mask: Tensor | None, shape: tuple[int, ...], device: torch.device | None = None) -> None:
    """Require that `mask` is boolean, broadcasts to the shape of the scores and is on their device."""
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be boolean (True = may attend), got {kind}; from a 0/-inf mask use (mask == 0)")
    if mask.dim() < 2:
        raise ValueError(f"mask needs at least the axes (q_len, kv_len), got shape {tuple(mask.shape)}")
    fits = mask.dim() <= len(shape) and all(
        have in (1, want) for have, want in zip(reversed(mask.shape), reversed(shape), strict=False)
    )
    if not fits:
        axes = {2: "q_len, kv_len", 3: "batch, q_len, kv_len", 4: "batch, heads, q_len, kv_len"}
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} does not broadcast to "
            f"({axes.get(len(shape), '..., q_len, kv_len')}) = {tuple(shape)}"
        )
    if device is not None and mask.device != device:
        raise ValueError(f"mask is on {mask.device}, but the scores are on {device}; create it with device=")
