"""Attention over packed rows: the real tokens of a batch side by side, without the padding between them (chapter 14).

Linear maps, norms and dropout treat every token on its own. So the real tokens of a batch can lie in one row, sentence
behind sentence, and only attention, which must not mix sentences, spreads them out again. Where they lie travels in
the place of the mask, which the layers hand on untouched.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from transformer_lib.attention import Cache, MultiHeadAttention
from transformer_lib.fast.kernels import drop
from transformer_lib.masks import Mask


class Rows:
    """Where the real tokens of a padded batch are, by a mask that is `True` there."""

    def __init__(self, real: Bool[Tensor, "batch seq"]) -> None:
        self.shape = real.shape
        self.index = real.flatten().nonzero().squeeze(1)  # (n_real,)

    def pack(self, x: Float[Tensor, "batch seq width"]) -> Float[Tensor, "1 n_real width"]:
        """Lay the real tokens side by side."""
        return x.flatten(0, 1).index_select(0, self.index).unsqueeze(0)

    def spread(self, x: Float[Tensor, "1 n_real width"]) -> Float[Tensor, "batch seq width"]:
        """Put the tokens back to their places, with zeros where there is padding."""
        padded = x.new_zeros(self.shape[0] * self.shape[1], x.size(-1))
        return padded.index_copy(0, self.index, x[0]).unflatten(0, self.shape)


class PackedMask(NamedTuple):
    """A mask, and the rows that queries and keys were packed from."""

    mask: Bool[Tensor, "..."]
    query_rows: Rows
    source_rows: Rows


def packed_attention(
    attention: MultiHeadAttention,
    query: Float[Tensor, "1 n_query d_model"],
    source: Float[Tensor, "1 n_source d_model"],
    query_rows: Rows,
    source_rows: Rows,
    mask: Bool[Tensor, "..."],
) -> Float[Tensor, "1 n_query d_model"]:
    """Run a `MultiHeadAttention` on packed tokens: only its kernel sees the padded shape."""
    q = query_rows.spread(attention.q_proj(query))  # (batch, q_len, d_model)
    k, v = (source_rows.spread(proj(source)) for proj in (attention.k_proj, attention.v_proj))
    heads = attention.attend(*(attention.split_heads(x) for x in (q, k, v)), mask)  # (batch, heads, q_len, d_head)
    return attention.out_proj(query_rows.pack(heads.transpose(1, 2).flatten(2)))


class FastAttention(MultiHeadAttention):
    """A `MultiHeadAttention` that takes packed rows where the mask says so, and the quicker of two ways to attend."""

    def forward(
        self,
        query: Float[Tensor, "batch q_len d_model"],
        key: Float[Tensor, "batch kv_len d_model"],
        value: Float[Tensor, "batch kv_len d_model"],
        mask: Mask = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch q_len d_model"]:
        """Do what `MultiHeadAttention.forward` does; with a `PackedMask`, on packed tokens."""
        if isinstance(mask, PackedMask):
            return packed_attention(self, query, key, mask.query_rows, mask.source_rows, mask.mask)
        return super().forward(query, key, value, mask, cache)

    def attend(
        self,
        q: Float[Tensor, "batch heads q_len d_head"],
        k: Float[Tensor, "batch heads kv_len d_head"],
        v: Float[Tensor, "batch heads kv_len d_head"],
        mask: Bool[Tensor, "..."] | None,
    ) -> Float[Tensor, "batch heads q_len d_head"]:
        """Run the formula by torch's kernel, or by two plain products where that is quicker.

        The CPU's kernel is made for many queries, and knows no dropout: torch then takes a longer way.
        """
        dropout_p = self.dropout if self.training else 0.0
        if q.size(2) > 1 and (dropout_p == 0.0 or q.device.type != "cpu"):
            return super().attend(q, k, v, mask)
        flat_q, flat_k, flat_v = (x.flatten(0, 1) for x in (q, k, v))  # (batch * heads, ..., d_head)
        scores = torch.bmm(flat_q * q.size(-1) ** -0.5, flat_k.transpose(1, 2)).unflatten(0, q.shape[:2])
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1)  # (batch, heads, q_len, kv_len)
        if mask is not None:
            weights = weights.masked_fill(~mask, 0.0)  # a query that may look at nothing gets zeros
        weights = drop(weights, dropout_p) if dropout_p else weights
        return torch.bmm(weights.flatten(0, 1), flat_v).view_as(q)  # (batch, heads, q_len, d_head)
