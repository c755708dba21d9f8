"""Masks: who may look at whom (built in chapter 2).

One convention everywhere: a mask is boolean, `True` in row i and column j means "query i may attend to key j", and it
broadcasts to `(batch, heads, q_len, kv_len)`. Masks are combined with `&`, which reads "and also allowed".
"""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from transformer_lib._checks import check_ids

Mask = Bool[Tensor, "..."] | Any  # what an attention takes; the layers around it hand it on, whatever it is


def padding_mask(ids: Int[Tensor, "batch seq"], pad_id: int) -> Bool[Tensor, "batch 1 1 seq"]:
    """Allow every query to attend to the real tokens and to none of the padding.

    The mask speaks about keys only, `True` where one is a real token: a query that stands on padding is left alone,
    because its output is never used. Paper: not mentioned there; every batched implementation needs it.

    Raises:
        ValueError: if `ids` is not of shape (batch, seq).
    """
    check_ids("ids", ids)
    return (ids != pad_id)[:, None, None, :]


def causal_mask(
    q_len: int, kv_len: int | None = None, *, device: torch.device | str | None = None
) -> Bool[Tensor, "q_len kv_len"]:
    """Allow each query to attend to its own position and to earlier ones.

    Aligned bottom-right: the last query sees every key. With `kv_len > q_len` (by default they are equal) the first
    `kv_len - q_len` keys are the past, already in a cache. (The `is_causal=True` of torch's
    kernel is aligned top-left and would hide that past.) Paper: section 3.2.3.

    Raises:
        ValueError: if there are fewer keys than queries.
    """
    kv_len = q_len if kv_len is None else kv_len
    if kv_len < q_len:
        raise ValueError(
            f"causal mask needs 0 <= q_len <= kv_len, got q_len={q_len} and kv_len={kv_len}; "
            "each query must have its own position among the keys"
        )
    return torch.ones(q_len, kv_len, dtype=torch.bool, device=device).tril(kv_len - q_len)
