"""The guards that more than one room of the library needs. Each raises `ValueError` or returns nothing."""

import torch
from torch import Tensor


def check_token_axes(name: str, ids: Tensor) -> None:
    """Require ids of shape `(batch, seq)`."""
    if ids.dim() != 2:
        raise ValueError(
            f"{name} must have shape (batch, seq), got {tuple(ids.shape)}; "
            f"for a single sequence add a batch axis with {name}.unsqueeze(0)"
        )


def check_float(name: str, x: Tensor) -> None:
    """Require that `x` holds floating-point numbers."""
    if not x.is_floating_point():
        raise ValueError(
            f"{name} must hold floating-point numbers, got {x.dtype}; embed token ids first, or use {name}.float()"
        )


def check_last_dim(name: str, x: Tensor, d_model: int) -> None:
    """Require floating-point tokens `(batch, seq, d_model)`; the batch axis may be missing."""
    check_float(name, x)
    if x.dim() < 2 or x.size(-1) != d_model:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected (batch, seq, d_model) with d_model={d_model}")


def check_tokens(name: str, x: Tensor, d_model: int) -> None:
    """Require floating-point tokens of shape `(batch, seq, d_model)`, the batch axis included."""
    check_last_dim(name, x, d_model)
    if x.dim() != 3:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, expected (batch, seq, d_model); "
            f"for a single sequence add a batch axis with {name}.unsqueeze(0)"
        )


def check_qkv(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Require floating-point `(..., seq, d_head)` with the same leading axes, widths and lengths that fit."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        check_float(name, x)
        if x.dim() < 2 or x.shape[:-2] != query.shape[:-2]:
            raise ValueError(
                f"query, key and value must have shape (..., seq, d_head) with the same leading axes, "
                f"got {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}"
            )
    if query.size(-1) != key.size(-1):
        raise ValueError(f"query and key must share their last dimension, got {query.size(-1)} and {key.size(-1)}")
    if key.size(-2) != value.size(-2):
        raise ValueError(f"key and value must have the same length, got {key.size(-2)} and {value.size(-2)}")


def check_sequences(query: Tensor, key: Tensor, value: Tensor, d_model: int) -> None:
    """Require `(batch, seq, d_model)` three times, of one batch size, as many keys as values."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        check_tokens(name, x, d_model)
    if key.shape != value.shape:
        raise ValueError(f"key and value must have the same shape, got {tuple(key.shape)} and {tuple(value.shape)}")
    if query.size(0) != key.size(0):
        raise ValueError(f"query and key must have the same batch size, got {query.size(0)} and {key.size(0)}")


def check_ids(name: str, ids: Tensor, vocab_size: int) -> None:
    """Require that `ids` holds integer token ids below `vocab_size`.

    The values are looked at on the CPU only: on a GPU that would force a synchronisation,
    and under `torch.compile` it would break the graph.
    """
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"{name} must be a tensor of integer token ids (torch.int64), got {kind}")
    if ids.device.type != "cpu" or torch.compiler.is_compiling() or ids.numel() == 0:
        return
    low, high = torch.aminmax(ids)
    if low < 0 or high >= vocab_size:
        bad = int(low) if low < 0 else int(high)
        raise ValueError(
            f"token id {bad} in {name} is outside the vocabulary of {vocab_size} tokens (0 to {vocab_size - 1})"
        )


def check_probability(name: str, p: float) -> None:
    """Require 0 <= p < 1."""
    if not isinstance(p, int | float) or not 0.0 <= p < 1.0:
        raise ValueError(f"{name} must be at least 0 and below 1, got {p!r}")


def check_positive(**sizes: int) -> None:
    """Require that every named size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")


def check_mask(mask: Tensor | None, shape: tuple[int, ...]) -> None:
    """Require that `mask` is boolean and broadcasts to the shape of the scores."""
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
