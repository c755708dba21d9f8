"""The encoder: reads the whole source and turns every token into one that knows its context (chapter 7)."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.layers import FeedForward, LayerNorm, SublayerConnection
from transformer_lib.masks import Mask


class EncoderLayer(nn.Module):
    """Look around (self-attention), then think it over (feed-forward), each with its residual and norm.

    Paper: section 3.1 and the left half of figure 1. Built in chapter 7.
    Counterpart: `torch.nn.TransformerEncoderLayer`.

    Args:
        d_model: width of the tokens.
        n_heads: heads of the attention; must divide `d_model`.
        d_ff: inner width of the feed-forward network.
        dropout: share dropped in training: attention weights, inner features, sublayer outputs.
        norm_first: `True` for pre-norm, `False` for the paper's post-norm.
        activation: the bend in the feed-forward network.
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
        self.feed_forward = FeedForward(d_model, d_ff, dropout, activation)
        self.feed_forward_residual = SublayerConnection(d_model, dropout, norm_first)

    def forward(self, x: Float[Tensor, "batch seq d_model"], mask: Mask = None) -> Float[Tensor, "batch seq d_model"]:
        """Return the tokens, each changed by what it saw; the mask broadcasts to `(batch, heads, seq, seq)`."""
        x = self.self_attn_residual(x, lambda x: self.self_attn(x, x, x, mask))
        return self.feed_forward_residual(x, self.feed_forward)


class Encoder(nn.Module):
    """A stack of `n_layers` layers, each an `EncoderLayer`, with a last norm if (and only if) they are pre-norm.

    Paper: section 3.1, "Encoder". Built in chapter 7. Counterpart: `torch.nn.TransformerEncoder`.
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
            EncoderLayer(d_model, n_heads, d_ff, dropout, norm_first, activation) for _ in range(n_layers)
        )
        self.norm = LayerNorm(d_model) if norm_first else nn.Identity()

    def forward(self, x: Float[Tensor, "batch seq d_model"], mask: Mask = None) -> Float[Tensor, "batch seq d_model"]:
        """Pass the tokens through all layers; `mask` is the same in each."""
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
