"""Caches: what generation keeps from one step to the next, so that nothing is projected twice.

A cache is an argument of `forward`, never part of a module: dropping it is all the resetting there
is. The decoder's self-attention appends one key and value per new token; its cross-attention asks
the same source at every step, so those keys and values are computed once.
"""

from dataclasses import dataclass, field

from jaxtyping import Int
from torch import Tensor

from transformer_lib.attention import MultiHeadAttention


class KVCache:
    """Keys and values of a self-attention, in memory reserved once for `max_len` positions.

    Example:
        >>> import torch
        >>> attention, cache = MultiHeadAttention(8, 2), KVCache(max_len=5)
        >>> token = torch.zeros(1, 1, 8)
        >>> _ = attention(token, token, token, cache=cache)
        >>> cache.length
        1
    """

    def __init__(self, max_len: int) -> None:
        self.max_len = max_len
        self.length = 0
        self._held: Tensor | None = None  # reserved at the first call, when shape and device are known

    def update(self, attention: MultiHeadAttention, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append the projections of the new positions; return those of all positions so far.

        Raises:
            ValueError: if more than `max_len` positions would be held, or the batch is another one.
        """
        keys, values = attention.keys_values(key, value)  # (batch, heads, new, d_head)
        end = self.length + keys.size(2)
        if end > self.max_len:
            raise ValueError(f"cache of max_len={self.max_len} cannot hold {end} positions; make it longer")
        if self._held is None:
            self._held = keys.new_empty(2, *keys.shape[:2], self.max_len, keys.size(3))
        have, new = ((x.size(-4), x.size(-3), x.size(-1), x.dtype) for x in (self._held, keys))
        if have != new:
            raise ValueError(
                f"cache holds (batch, heads, d_head, dtype) = {have}, got {new}; begin a new cache for another batch"
            )
        self._held[0, :, :, self.length : end] = keys
        self._held[1, :, :, self.length : end] = values
        self.length = end
        return self._held[0, :, :, :end], self._held[1, :, :, :end]

    def select(self, rows: Tensor) -> None:
        """Let row i hold from now on what row `rows[i]` held: a search goes on with the best of its sequences."""
        if self._held is not None:
            self._held = self._held[:, rows]


class MemoryCache:
    """Keys and values of a cross-attention: computed at the first step, handed out ever after."""

    def __init__(self) -> None:
        self._held: tuple[Tensor, Tensor] | None = None

    def update(self, attention: MultiHeadAttention, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections of the source, computing them only the first time.

        Raises:
            ValueError: if the source, or the model, is visibly another one than the first time.
        """
        if self._held is None:
            keys, values = attention.keys_values(key, value)
            self._held = keys.contiguous(), values.contiguous()  # read at every step, so laid out for reading
        want = (key.size(0), attention.n_heads, key.size(1), key.size(2) // attention.n_heads)
        if self._held[0].shape != want:
            raise ValueError(
                f"cache holds a source of shape {tuple(self._held[0].shape)}, got one of {want} "
                "(batch, heads, src_len, d_head); begin a new cache for a new source"
            )
        return self._held


@dataclass
class LayerCache:
    """The two caches of one decoder layer."""

    self_attn: KVCache
    cross_attn: MemoryCache = field(default_factory=MemoryCache)


class DecoderCache:
    """One `LayerCache` per decoder layer, with memory for `max_len` positions each."""

    def __init__(self, n_layers: int, max_len: int) -> None:
        self.layers = [LayerCache(KVCache(max_len)) for _ in range(n_layers)]

    @property
    def length(self) -> int:
        """Number of positions held: the position of the next token."""
        return self.layers[0].self_attn.length

    def select(self, rows: Int[Tensor, " batch"]) -> None:
        """Let sequence i go on from what sequence `rows[i]` has written so far; their sources must be the same."""
        for layer in self.layers:
            layer.self_attn.select(rows)
