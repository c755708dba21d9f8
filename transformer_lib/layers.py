"""The parts around attention: norm, residual connection, feed-forward, embedding (chapters 5 and 6)."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def layer_norm(
    x: Float[Tensor, "*batch d_model"],
    weight: Float[Tensor, " d_model"],
    bias: Float[Tensor, " d_model"],
    eps: float = 1e-5,
) -> Float[Tensor, "*batch d_model"]:
    r"""Give every token mean 0 and variance 1 over its own features, then let it be stretched and shifted.

    $$\frac{x - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + \epsilon}} \cdot weight + bias$$

    The variance is the biased one (divided by `d_model`), and `eps` stands inside the root.
    This is the formula that a person reads; `LayerNorm` runs torch's fused kernel, with the same result.
    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016. Built in chapter 5.

    Raises:
        ValueError: if `weight` and `bias` are not as wide as `x`.
    """
    if not x.shape[-1:] == weight.shape == bias.shape:
        raise ValueError(
            f"x of shape {tuple(x.shape)} needs weight and bias of shape (d_model,), "
            f"got {tuple(weight.shape)} and {tuple(bias.shape)}"
        )
    mean = x.mean(dim=-1, keepdim=True)
    var = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, with a learned stretch and shift.

    `eps` is added to the variance, so that a constant token does not divide by zero.
    Counterpart: `torch.nn.LayerNorm`. Paper: section 3.1. Built in chapter 5.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Normalise each token on its own."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class SublayerConnection(nn.Module):
    """The residual connection and the norm around a sublayer: the one place that knows pre- from post-norm.

    Post-norm, the paper's `norm(x + sublayer(x))` (section 3.1), or pre-norm, `x + sublayer(norm(x))`,
    which keeps an unbroken path from the first layer to the last (`norm_first`). Dropout acts on the sublayer's
    output (section 5.4). Built in chapter 5.
    """

    def __init__(self, d_model: int, dropout: float, norm_first: bool) -> None:
        super().__init__()
        self.norm = LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def forward(
        self, x: Float[Tensor, "batch seq d_model"], sublayer: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "batch seq d_model"]:
        """Return `x` with the contribution of `sublayer` added."""
        if self.norm_first:
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))


class FeedForward(nn.Module):
    """Two linear maps with a bend, `activation`, between them, applied to every token on its own.

    In between, where dropout acts, a token has the width `d_ff`; the paper takes `4 * d_model`, and ReLU for a bend.
    Paper: section 3.3, equation 2. Built in chapter 6.
    """

    def __init__(
        self, d_model: int, d_ff: int, dropout: float = 0.0, activation: Callable[[Tensor], Tensor] = F.relu
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_model, d_ff)
        self.fc2 = nn.Linear(d_ff, d_model)
        self.dropout = nn.Dropout(dropout)
        self.activation = activation

    def forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        """Transform each token without looking at any other."""
        hidden = self.activation(self.fc1(x))  # (batch, seq, d_ff)
        return self.fc2(self.dropout(hidden))  # (batch, seq, d_model)


class TokenEmbedding(nn.Module):
    """A row of numbers for every token of the vocabulary, scaled up by the square root of the width.

    The rows start with standard deviation `0.4 / sqrt(d_model)`. Scale and start belong together: times `sqrt(d_model)`
    the features are of the size of the positional encoding, and the same matrix, unscaled, gives logits near zero when
    it also serves as the output layer (`tie_embeddings`). Paper: section 3.4. Built in chapter 6.
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) * 0.4 / math.sqrt(d_model))

    def forward(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
        """Look the tokens up.

        Raises:
            ValueError: if `ids` names a token outside the vocabulary (on a GPU torch stops at an assertion instead).
        """
        try:
            return F.embedding(ids, self.weight) * math.sqrt(self.weight.size(1))
        except IndexError:
            vocab_size, (low, high) = len(self.weight), (int(x) for x in torch.aminmax(ids))
            raise ValueError(
                f"token id {low if low < 0 else high} in ids is outside the vocabulary of {vocab_size} tokens "
                f"(0 to {vocab_size - 1})"
            ) from None
