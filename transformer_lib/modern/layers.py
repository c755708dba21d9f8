"""The norm and the feed-forward network of today's models (chapter 17)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def rms_norm(
    x: Float[Tensor, "*batch d_model"], weight: Float[Tensor, " d_model"], eps: float = 1e-6
) -> Float[Tensor, "*batch d_model"]:
    r"""Divide every token by the root of the mean of its squares, then stretch it.

    $$\frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}} \cdot weight$$

    `layer_norm` without the mean and without the shift. The formula; `RMSNorm` runs torch's kernel.
    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, equation 4 (which has no `eps`).
    """
    return x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + eps) * weight


class RMSNorm(nn.Module):
    """Normalisation of the length of every token, with a learned stretch.

    Counterpart: `torch.nn.RMSNorm`. Source: Zhang and Sennrich, 2019, section 4. Built in chapter 17.
    """

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Normalise each token on its own."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class SwiGLU(nn.Module):
    """A feed-forward network in which one half of the inner features says how much of the other passes.

    Three matrices stand where `FeedForward` has two, so that two thirds of its `d_ff` make a network of the same size.
    Source: Shazeer, "GLU Variants Improve Transformer", 2020, section 2, equation 6 with beta = 1. Built in chapter 17.
    Counterpart: `LlamaMLP` of Hugging Face, whose names it bears.
    """

    def __init__(self, d_model: int, d_ff: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(d_model, d_ff, bias=False)
        self.up_proj = nn.Linear(d_model, d_ff, bias=False)
        self.down_proj = nn.Linear(d_ff, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Transform each token without looking at any other."""
        hidden = F.silu(self.gate_proj(x)) * self.up_proj(x)  # (*batch, d_ff)
        return self.down_proj(self.dropout(hidden))
