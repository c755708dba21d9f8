"""Grouped-query attention and the cache that it makes small (chapter 17)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.modern.layers import RMSNorm
from transformer_lib.modern.positions import rotate


class RollingCache:
    """Keys and values of the last `window` positions of one layer; without a window, of all.

    It holds those of the groups, before they are repeated for the heads, and keys that are already turned.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.length = 0  # positions seen so far, those let go included
        self.held: Tensor | None = None  # (2, batch, kv_heads, held, d_head)

    def append(
        self, keys: Float[Tensor, "batch kv_heads new d_head"], values: Float[Tensor, "batch kv_heads new d_head"]
    ) -> tuple[Tensor, Tensor]:
        """Add new positions; return all that the new queries may look at, `(batch, kv_heads, kv_len, d_head)` each.

        Raises:
            ValueError: if the batch is another one than before.
        """
        new = torch.stack([keys, values])
        if self.held is not None:
            if self.held.size(1) != new.size(1):
                raise ValueError(f"cache holds a batch of {self.held.size(1)}, got {new.size(1)}; begin a new cache")
            new = torch.cat([self.held, new], dim=3)
        self.length += keys.size(2)
        let_go = 0 if self.window is None else max(0, new.size(3) - self.window + 1)  # the next token brings its own
        self.held = new[:, :, :, let_go:]
        return new[0], new[1]


class GroupedQueryAttention(MultiHeadAttention):
    """Self-attention whose query heads share keys and values, several to a group; in one group, all.

    With `n_kv_heads = n_heads` it is `MultiHeadAttention`, with 1 multi-query attention (Shazeer, 2019). Query and key
    can be normalised, head by head, before they are turned (`qk_norm`: Henry et al., "Query-Key Normalization", 2020;
    with `RMSNorm` as in Qwen3), and turned by their positions (`rotary_base`). `record_attention` sees it as any other.
    Source: Ainslie et al., "GQA", 2023, section 2.2. Built in chapter 17. Counterpart: `LlamaAttention`.

    Raises:
        ValueError: if `n_heads` does not divide `d_model`, or `n_kv_heads` not `n_heads`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        dropout: float = 0.0,
        *,
        bias: bool = False,
        qk_norm: bool = False,
        rotary_base: float | None = None,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(d_model, n_heads, dropout)
        if n_heads % n_kv_heads != 0:
            raise ValueError(f"n_heads ({n_heads}) must be divisible by n_kv_heads ({n_kv_heads})")
        d_head = d_model // n_heads
        self.n_kv_heads, self.rotary_base = n_kv_heads, rotary_base
        self.q_proj = nn.Linear(d_model, d_model, bias=bias)
        self.k_proj = nn.Linear(d_model, n_kv_heads * d_head, bias=bias)
        self.v_proj = nn.Linear(d_model, n_kv_heads * d_head, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)
        self.q_norm, self.k_norm = (RMSNorm(d_head, eps) if qk_norm else nn.Identity() for _ in range(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Float[Tensor, "batch heads q_len d_head"]:
        """Run the formula in all heads; the mask may also be numbers that are added to the scores, as ALiBi's are."""
        return F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "batch seq d_model"],
        mask: Bool[Tensor, "..."] | Float[Tensor, "..."] | None = None,
        cache: RollingCache | None = None,
    ) -> Float[Tensor, "batch seq d_model"]:
        """Let each token gather from those that the mask allows; with a cache, `x` is only the new tokens."""
        offset = 0 if cache is None else cache.length
        q = self.q_norm(self.split_heads(self.q_proj(x)))  # (batch, heads, seq, d_head)
        k, v = (t.unflatten(-1, (self.n_kv_heads, -1)).transpose(1, 2) for t in (self.k_proj(x), self.v_proj(x)))
        k = self.k_norm(k)  # (batch, kv_heads, seq, d_head)
        if self.rotary_base is not None:
            q, k = rotate(q, offset, self.rotary_base), rotate(k, offset, self.rotary_base)
        if cache is not None:
            k, v = cache.append(k, v)
        k, v = (t.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1) for t in (k, v))  # (batch, heads, ...)
        heads = self.attend(q, k, v, mask)  # (batch, heads, seq, d_head)
        return self.out_proj(heads.transpose(1, 2).flatten(2))  # (batch, seq, d_model)
