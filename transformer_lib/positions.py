"""Positions: how attention, which sees a bag, is told the order (built in chapter 4)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal_encoding(max_len: int, d_model: int) -> Float[Tensor, "max_len d_model"]:
    r"""Write each position as the hands of `d_model / 2` clocks, from fast to slow.

    For position $p$ and clock $j$, features $2j$ and $2j+1$ hold
    $\sin(p\,\omega_j)$ and $\cos(p\,\omega_j)$ with $\omega_j = 10000^{-2j/d_{model}}$.

    Paper: section 3.5 (its $i$ is our $j$). Computed in float64, returned in torch's default dtype.

    Raises:
        ValueError: if `d_model` is odd (a clock hand has two coordinates).
    """
    if d_model % 2 != 0:
        raise ValueError(f"sinusoidal encoding needs an even d_model, got {d_model}")
    position = torch.arange(max_len, dtype=torch.float64)
    omega = 10000 ** -(torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (d_model / 2,)
    angle = torch.outer(position, omega)  # (max_len, d_model / 2)
    encoding = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (max_len, d_model)
    return encoding.to(torch.get_default_dtype())


class PositionalEncoding(nn.Module):
    """Add to each token the encoding of the place where it stands.

    The table is no weight and stands in no state dict. A model that was made on the meta device, without memory, fills
    it in as soon as it gets some, by `to_empty` or `load_state_dict(..., assign=True)`.
    Paper: section 3.5, with dropout on the sum as in section 5.4. Built in chapter 4.
    """

    encoding: Tensor

    def __init__(self, d_model: int, max_len: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("encoding", sinusoidal_encoding(max_len, d_model), persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch seq d_model"], offset: int = 0) -> Float[Tensor, "batch seq d_model"]:
        """Return `x` plus the encodings of positions `offset`, `offset + 1`, ...

        Args:
            x: embedded tokens.
            offset: position of the first token; when generating with a cache, the cache's length.

        Raises:
            ValueError: if the last position is beyond `max_len`.
        """
        if offset + x.size(1) > self.encoding.size(0):
            raise ValueError(
                f"sequence of length {x.size(1)} at offset {offset} exceeds max_len={self.encoding.size(0)}; "
                "raise max_len or shorten the input"
            )
        return self.dropout(x + self.encoding[offset : offset + x.size(1)])

    def _apply(self, *args: Any, **options: Any) -> "PositionalEncoding":
        """Move or convert, as all of `to`, `half`, `to_empty` do; memory that is new holds anything but the table."""
        was_empty = self.encoding.is_meta
        super()._apply(*args, **options)
        if was_empty and not self.encoding.is_meta:
            self.encoding = sinusoidal_encoding(*self.encoding.shape).to(self.encoding)
        return self

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, *args: Any) -> None:
        """Load nothing; but where the weights of a model without memory are assigned, the table comes with them."""
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)
        if self.encoding.is_meta and local_metadata.get("assign_to_params_buffers", False):
            self.encoding = sinusoidal_encoding(*self.encoding.shape).to(self.encoding.dtype)
