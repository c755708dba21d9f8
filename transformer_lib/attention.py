"""Attention: how a token looks at the others (built in chapters 1 and 3).

The formula (`scaled_dot_product_attention`) is what a person reads: it returns the output and
the weights. The model runs torch's fused kernel, which computes the same output and, where the
machine has such a kernel, never stores the weights. `record_attention` puts the formula back,
inside the very same forward pass, so that an attention map shows what the model did.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from transformer_lib._checks import check_mask, check_qkv


def scaled_dot_product_attention(
    query: Float[Tensor, "*batch q_len d_head"],
    key: Float[Tensor, "*batch kv_len d_head"],
    value: Float[Tensor, "*batch kv_len d_value"],
    mask: Bool[Tensor, "..."] | None = None,
    dropout_p: float = 0.0,
) -> tuple[Float[Tensor, "*batch q_len d_value"], Float[Tensor, "*batch q_len kv_len"]]:
    r"""Average the values, each weighted by how well its key answers the query.

    $$\mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{d_{head}}}\right) V$$

    Paper: section 3.2.1, equation 1; its $d_k$ is `d_head`. Built in chapter 1, masks in chapter 2.

    Args:
        query: what each position is looking for.
        key: what each position offers to be found by.
        value: what each position hands over when it is found.
        mask: boolean, `True` = this query may attend to this key; broadcasts to
            `(*batch, q_len, kv_len)`. A query that may attend to nothing gets weights and
            output of zero, never NaN, forward and backward.
        dropout_p: share of the weights set to zero (the others make up for it); 0 outside training.

    Returns:
        The output, as `torch.nn.functional.scaled_dot_product_attention` gives it, and the weights.

    Raises:
        ValueError: if leading axes differ, or the mask is not boolean or does not broadcast to the scores.
    """
    check_qkv(query, key, value)
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))  # (*batch, q_len, kv_len)
    check_mask(mask, scores.shape)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)  # a row without any allowed key becomes zeros
    weights = F.dropout(weights, dropout_p)
    return weights @ value, weights


class SimpleSelfAttention(nn.Module):
    """Self-attention with one head: every token asks all tokens, and mixes what they answer.

    Paper: section 3.2.1 with queries, keys and values from the same sequence. Built in chapter 1.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)

    def forward(self, x: Float[Tensor, "batch_size seq_len d_model"]) -> Float[Tensor, "batch_size seq_len d_model"]:
        """Return one new vector for each token of `x`, of the same shape."""
        output, _ = scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return output


@runtime_checkable
class Cache(Protocol):
    """What `MultiHeadAttention.forward` asks of a cache; `transformer_lib.cache` holds the two kinds."""

    def update(self, attention: "MultiHeadAttention", key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return all keys and values to attend to, `(batch, heads, kv_len, d_head)` each."""
        ...


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own slice of the width, mixed at the end.

    Paper: section 3.2.2; `n_heads` is its $h$, `d_head = d_model / n_heads` its $d_k = d_v$.
    In training a share `dropout` of the weights is dropped. Built in chapter 3.
    Counterpart: `torch.nn.MultiheadAttention` (whose masks mean the opposite).

    Raises:
        ValueError: if `n_heads` does not divide `d_model`.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if d_model % n_heads != 0:
            raise ValueError(f"d_model ({d_model}) must be divisible by n_heads ({n_heads})")
        self.n_heads = n_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def split_heads(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch heads seq d_head"]:
        """Cut the width into heads: head 0 takes the first `d_head` features, head 1 the next."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (batch, heads, seq, d_head)

    def keys_values(
        self, key: Float[Tensor, "batch kv_len d_model"], value: Float[Tensor, "batch kv_len d_model"]
    ) -> tuple[Float[Tensor, "batch heads kv_len d_head"], Float[Tensor, "batch heads kv_len d_head"]]:
        """Project keys and values and split them into heads: the part that a cache can keep."""
        if key.size(-2) != value.size(-2):  # the fused kernel would read beyond the end
            raise ValueError(f"key and value must be equally long; got {key.size(-2)} and {value.size(-2)}")
        return self.split_heads(self.k_proj(key)), self.split_heads(self.v_proj(value))

    def attend(
        self,
        q: Float[Tensor, "batch heads q_len d_head"],
        k: Float[Tensor, "batch heads kv_len d_head"],
        v: Float[Tensor, "batch heads kv_len d_head"],
        mask: Bool[Tensor, "..."] | None,
    ) -> Float[Tensor, "batch heads q_len d_head"]:
        """Run the formula of chapter 1 in all heads at once, by torch's fused kernel.

        The kernel has no second derivative and no forward-mode one; inside `record_attention` the formula has both.
        """
        dropout_p = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p)

    def forward(
        self,
        query: Float[Tensor, "batch q_len d_model"],
        key: Float[Tensor, "batch kv_len d_model"],
        value: Float[Tensor, "batch kv_len d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch q_len d_model"]:
        """Let each query position gather from the key/value positions.

        Args:
            query: the sequence that asks.
            key: the sequence that is asked: `query` itself in self-attention, the encoder's memory in cross-attention.
            value: usually the same tensor as `key`.
            mask: boolean, `True` = may attend, broadcasts to `(batch, heads, q_len, kv_len)`.
            cache: keys and values of earlier calls; only used when generating.

        Raises:
            ValueError: if the mask is not boolean, or does not broadcast to the scores.
        """
        q = self.split_heads(self.q_proj(query))  # (batch, heads, q_len, d_head)
        k, v = self.keys_values(key, value) if cache is None else cache.update(self, key, value)
        check_mask(mask, (*q.shape[:-1], k.size(-2)))
        heads = self.attend(q, k, v, mask)  # (batch, heads, q_len, d_head)
        return self.out_proj(heads.transpose(1, 2).flatten(2))  # (batch, q_len, d_model)


@contextlib.contextmanager
def record_attention(model: nn.Module) -> Iterator[dict[str, Float[Tensor, "batch heads q_len kv_len"]]]:
    """Record the attention weights of every `MultiHeadAttention` in `model`.

    Inside the `with` block the formula takes the place of the fused kernel; afterwards nothing stays on the model.

    Yields:
        By module name (such as `"decoder.layers.0.cross_attn"`) the weights of its latest call, detached; rows are
        queries.

    Raises:
        ValueError: if `model` holds no `MultiHeadAttention`.
    """
    modules = {name: m for name, m in model.named_modules() if isinstance(m, MultiHeadAttention)}
    if not modules:
        hint = "for a single head call scaled_dot_product_attention, which returns the weights"
        raise ValueError(f"{type(model).__name__} holds no MultiHeadAttention to record; {hint}")
    weights: dict[str, Tensor] = {}
    before = {module: module.__dict__.get("attend") for module in modules.values()}  # set if we are nested

    def recorder(name: str, module: MultiHeadAttention):
        def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
            dropout_p = module.dropout if module.training else 0.0
            output, w = scaled_dot_product_attention(q, k, v, mask, dropout_p)
            weights[name] = w.detach()
            return output

        return attend

    try:
        for name, module in modules.items():
            module.attend = recorder(name, module)  # shadows the method on this instance only
        yield weights
    finally:
        for module, attend in before.items():
            module.__dict__.pop("attend", None)
            if attend is not None:
                module.attend = attend
