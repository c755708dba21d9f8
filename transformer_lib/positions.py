"""Positions: how attention, which sees a bag, is told the order (built in chapter 4)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from transformer_lib._checks import check_count, check_device, check_positive, check_probability, check_tokens


def sinusoidal_encoding(max_len: int, d_model: int) -> Float[Tensor, "max_len d_model"]:
    r"""Write each position as the hands of `d_model / 2` clocks, from fast to slow.

    For position $p$ and clock $j$, features $2j$ and $2j+1$ hold
    $\sin(p\,\omega_j)$ and $\cos(p\,\omega_j)$ with $\omega_j = 10000^{-2j/d_{model}}$.

    Paper: section 3.5 (its $i$ is our $j$). Computed in float64, returned in torch's default dtype.

    Raises:
        ValueError: if `d_model` is odd (a clock hand has two coordinates) or a size is below 1.
    """
    check_positive(max_len=max_len, d_model=d_model)
    if d_model % 2 != 0:
        raise ValueError(f"sinusoidal encoding needs an even d_model, got {d_model}")
    position = torch.arange(max_len, dtype=torch.float64)
    omega = 10000 ** -(torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (d_model / 2,)
    angle = torch.outer(position, omega)  # (max_len, d_model / 2)
    encoding = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (max_len, d_model)
    return encoding.to(torch.get_default_dtype())


class PositionalEncoding(nn.Module):
    """Add to each token the encoding of the place where it stands.

    Paper: section 3.5, with dropout on the sum as in section 5.4. Built in chapter 4.

    Args:
        d_model: width of the tokens; must be even.
        max_len: the longest sequence that can be encoded.
        dropout: share of features dropped in training.
    """

    encoding: Tensor

    def __init__(self, d_model: int, max_len: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_probability("dropout", dropout)
        self.register_buffer("encoding", sinusoidal_encoding(max_len, d_model), persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch seq d_model"], offset: int = 0) -> Float[Tensor, "batch seq d_model"]:
        """Return `x` plus the encodings of positions `offset`, `offset + 1`, ...

        Args:
            x: embedded tokens.
            offset: position of the first token; when generating with a cache, the cache's length.

        Raises:
            ValueError: if the last position is beyond `max_len`, or the width does not fit.
        """
        check_tokens("x", x, self.encoding.size(1))
        check_device("x", x, "the encoding", self.encoding)
        check_count(offset=offset)
        if offset + x.size(1) > self.encoding.size(0):
            raise ValueError(
                f"sequence of length {x.size(1)} at offset {offset} exceeds max_len={self.encoding.size(0)}; "
                "raise max_len or shorten the input"
            )
        return self.dropout(x + self.encoding[offset : offset + x.size(1)])
