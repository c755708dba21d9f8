"""The decoder: writes the target one token at a time, looking back at itself and across at the source (chapter 8)."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.cache import DecoderCache, LayerCache
from transformer_lib.layers import FeedForward, LayerNorm, SublayerConnection
from transformer_lib.masks import Mask


class DecoderLayer(nn.Module):
    """Look back (masked self-attention), look across (cross-attention), think it over (feed-forward).

    Sizes and choices are those of `EncoderLayer`; both attentions have `n_heads` heads.
    Paper: section 3.1 and the right half of figure 1. Built in chapter 8.
    Counterpart: `torch.nn.TransformerDecoderLayer`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.1,
        norm_first: bool = False,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(d_model, n_heads, dropout)
        self.self_attn_residual = SublayerConnection(d_model, dropout, norm_first)
        self.cross_attn = MultiHeadAttention(d_model, n_heads, dropout)
        self.cross_attn_residual = SublayerConnection(d_model, dropout, norm_first)
        self.feed_forward = FeedForward(d_model, d_ff, dropout, activation)
        self.feed_forward_residual = SublayerConnection(d_model, dropout, norm_first)

    def forward(
        self,
        x: Float[Tensor, "batch tgt_len d_model"],
        memory: Float[Tensor, "batch src_len d_model"],
        tgt_mask: Mask = None,
        memory_mask: Mask = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch tgt_len d_model"]:
        """Return the target tokens, each changed by its past and by the source, the encoder's output.

        The masks are the causal one, and the source's padding mask. A cache is only used when generating.
        """
        past, source = (None, None) if cache is None else (cache.self_attn, cache.cross_attn)
        x = self.self_attn_residual(x, lambda x: self.self_attn(x, x, x, tgt_mask, past))
        x = self.cross_attn_residual(x, lambda x: self.cross_attn(x, memory, memory, memory_mask, source))
        return self.feed_forward_residual(x, self.feed_forward)


class Decoder(nn.Module):
    """A stack of `n_layers` layers, each a `DecoderLayer`, with a last norm if (and only if) they are pre-norm.

    Paper: section 3.1, "Decoder". Built in chapter 8. Counterpart: `torch.nn.TransformerDecoder`.
    """

    def __init__(
        self,
        n_layers: int,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.1,
        norm_first: bool = False,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(d_model, n_heads, d_ff, dropout, norm_first, activation) for _ in range(n_layers)
        )
        self.norm = LayerNorm(d_model) if norm_first else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch tgt_len d_model"],
        memory: Float[Tensor, "batch src_len d_model"],
        tgt_mask: Mask = None,
        memory_mask: Mask = None,
        cache: DecoderCache | None = None,
    ) -> Float[Tensor, "batch tgt_len d_model"]:
        """Pass the target through all layers; masks and memory are the same in each."""
        caches = [None] * len(self.layers) if cache is None else cache.layers
        for layer, layer_cache in zip(self.layers, caches, strict=True):
            x = layer(x, memory, tgt_mask, memory_mask, layer_cache)
        return self.norm(x)
