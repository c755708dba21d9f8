"""Laws of single parts: the positions, the norm, the sizes of what is added."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer_lib.laws._frame import Verdict, allowed_error, call, exact, place_of


def distance_decides(encoding: Tensor, *, tolerance: float | None = None) -> Verdict:
    """How alike two positions are depends on their distance alone, and no two are the same.

    It holds when a step of k positions turns every pair of features by an angle of its own, wherever one stands.
    Learned positions do not obey it. First stated in chapter 4.

    Args:
        encoding: a table `(max_len, d_model)`, a row for each position; a `ValueError` if it has fewer than three.
        tolerance: relative to the square of the longest row.
    """
    if encoding.dim() != 2 or len(encoding) < 3:
        raise ValueError(f"encoding must be (max_len, d_model) with max_len of at least 3, got {tuple(encoding.shape)}")
    rows, allowed = exact(encoding), allowed_error(encoding.dtype, tolerance)
    if tolerance is None:  # an angle of n radians is off by its own rounding
        allowed = max(allowed, len(rows) * torch.finfo(encoding.dtype).eps)
    products, place, fault = rows @ rows.T, torch.arange(len(rows)), None
    distance = (place[:, None] - place).abs()
    off = ~((products - products[0][distance]).abs() <= allowed * products.abs().max())  # so that NaN is off too
    number = rows.unique(dim=0, return_inverse=True)[1]  # of the encoding of each position
    same = (number[:, None] == number) & (distance > 0)
    if off.any():
        p, q = place_of(off)
        first = f"positions 0 and {distance[p, q]} have the product {products[0, distance[p, q]]:.4g}"
        fault = f"{first}, positions {p} and {q} have {products[p, q]:.4g}, though they are as far apart"
    elif same.any():
        fault = f"two positions at distance {distance[place_of(same)]} have the same encoding"
    promise = "the product of two positions depends on their distance alone"
    cause = "sine and cosine of a pair with different frequencies, such as an exponent that counts features, not pairs"
    return Verdict.of("rule of distance", fault, promise, cause)


def normalises(norm: Callable[[Tensor], Tensor], d_model: int, *, tolerance: float | None = None) -> Verdict:
    """A fresh layer norm gives every token mean 0 and variance `var / (var + eps)`, whatever is added to all features.

    The variance is the biased one, divided by `d_model`, and eps stands inside the root: at small width and at
    small variance it shows. First stated in chapter 5.

    Args:
        norm: a layer norm before any training (stretch 1, shift 0); its eps is read from `norm.eps`, else 1e-5. A
            module is handed the type of its own weights, a function float64.
        d_model: width of the tokens, at least 2: one number alone has no variance.
        tolerance: absolute.
    """
    like = torch.zeros(0, dtype=torch.float64)
    like = next(norm.parameters(), like) if isinstance(norm, nn.Module) else like
    eps, slack, fault = getattr(norm, "eps", None), allowed_error(like.dtype, tolerance), None
    eps = 1e-5 if eps is None else eps
    for size in (1.0, 3e-3):  # the second has a variance as small as eps
        x = size * torch.randn(2, 3, d_model, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        y, shifted = (exact(call(norm, part.to(like.dtype).to(like.device), training=False)) for part in (x, x + 0.5))
        mean, var = y.mean(-1).abs().max(), x.var(-1, correction=0)
        off = (y.var(-1, correction=0) - var / (var + eps)).abs().max()
        moved = (y - shifted).abs().max()
        if not mean <= slack:
            fault = f"tokens of size {size:g} come out with mean {mean:.2g}, not 0"
        elif not off <= slack:
            fault = f"tokens of size {size:g} come out with a variance that is off by {off:.2g}"
        elif not moved <= slack * (1 + 0.5 / size):  # x + 0.5 has lost digits of x
            fault = f"with 0.5 added to all features, the output moves by {moved:.2g}"
        if fault:
            break
    promise = "tokens come out with mean 0 and the biased variance, and what all features share is ignored"
    cause = "the unbiased standard deviation, eps outside the root, or a norm without the mean (RMSNorm)"
    return Verdict.of("normalisation", fault, promise, cause)


def sizes_balance(tokens: Tensor, positions: Tensor) -> Verdict:
    """Embedded tokens and the positions added to them are of like size, so that neither drowns the other.

    Like size means: their root mean squares differ by a factor of 4 at most. `tokens`, `(..., d_model)`, are scaled as
    the model scales them, and `positions` the encodings that are added. First stated in chapter 6.
    """
    ours, theirs = (exact(part).square().mean().sqrt().item() for part in (tokens, positions))
    fault = None
    if not 0 < theirs / 4 <= ours <= theirs * 4:
        fault = f"features of tokens have the size {ours:.3g}, those of positions {theirs:.3g}"
    promise = f"features of tokens have the size {ours:.2f}, those of positions {theirs:.2f}"
    cause = "a start with standard deviation 1 that is multiplied by sqrt(d_model) as well, or a small one that is not"
    return Verdict.of("balance of sizes", fault, promise, cause)
