"""Laws of single parts: the positions, the norm, the sizes of what is added."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer_lib.laws._checks import check_tensor
from transformer_lib.laws._frame import Verdict, allowed_error, first_of, undisturbed, verdict


def distance_decides(encoding: Tensor, *, tolerance: float | None = None) -> Verdict:
    """How alike two positions are depends on their distance alone, and no two are the same.

    It holds when a step of k positions turns every pair of features by an angle of its own, wherever one stands.
    Learned positions do not obey it. First stated in chapter 4.

    Args:
        encoding: a table `(max_len, d_model)`, a row for each position.
        tolerance: relative to the square of the longest row.

    Raises:
        ValueError: if the table has fewer than three rows.
    """
    check_tensor("encoding", encoding, "(max_len, d_model)", 2, numbers=True)
    if encoding.dim() != 2 or len(encoding) < 3 or not encoding.numel():
        raise ValueError(
            f"encoding must have shape (max_len, d_model), max_len at least 3, got {tuple(encoding.shape)}"
        )
    rows = encoding.detach().double()
    products, fault = rows @ rows.T, None
    allowed = allowed_error(encoding.dtype, tolerance)
    if tolerance is None:  # an angle of n radians is off by its own rounding
        allowed = max(allowed, len(rows) * torch.finfo(encoding.dtype).eps)
    allowed *= products.abs().max().item()
    for distance in range(len(rows)):
        alike = products.diagonal(distance)  # of positions 0 and distance, 1 and distance + 1, ...
        off = (alike - alike[0]).abs()
        if not (off <= allowed).all():
            p = int((~(off <= allowed)).nonzero()[0])
            fault = (
                f"positions 0 and {distance} have the product {alike[0]:.4g}, "
                f"positions {p} and {p + distance} have {alike[p]:.4g}, though they are as far apart"
            )
            break
        if distance and (rows[distance:] == rows[:-distance]).all(dim=1).any():
            fault = f"two positions at distance {distance} have the same encoding"
            break
    promise = "the product of two positions depends on their distance alone"
    cause = "sine and cosine of a pair with different frequencies, such as an exponent that counts features, not pairs"
    return verdict("rule of distance", fault, promise, cause)


def normalises(norm: Callable[[Tensor], Tensor], d_model: int, *, tolerance: float | None = None) -> Verdict:
    """A fresh layer norm gives every token mean 0 and variance `var / (var + eps)`, whatever is added to all features.

    The variance is the biased one, divided by `d_model`, and eps stands inside the root: at small width and at
    small variance it shows. First stated in chapter 5.

    Args:
        norm: a layer norm before any training (stretch 1, shift 0); its eps is read from `norm.eps`, else 1e-5. A
            module is handed the type of its own weights, a function float64.
        d_model: width of the tokens, at least 2.
        tolerance: absolute.

    Raises:
        ValueError: if `d_model` is below 2.
    """
    if not isinstance(d_model, int) or not callable(norm):
        raise ValueError(f"norm must be a function and d_model a whole number, got {norm!r} and {d_model!r}")
    if d_model < 2:
        raise ValueError(f"d_model must be at least 2, got {d_model}; one number alone has no variance")
    like = next(norm.parameters(), torch.zeros(0).double()) if isinstance(norm, nn.Module) else torch.zeros(0).double()
    eps, slack, fault = getattr(norm, "eps", None), allowed_error(like.dtype, tolerance), None
    eps = 1e-5 if eps is None else eps
    with undisturbed(norm, training=False):
        for size in (1.0, 3e-3):  # the second has a variance as small as eps
            x = size * torch.randn(2, 3, d_model, dtype=torch.float64)
            try:
                y, shifted = (first_of(norm(part.to(like, copy=True)), "norm").double().cpu() for part in (x, x + 0.5))
            except RuntimeError as error:
                hint = "a module is handed its own type, a function float64: lambda x: norm(x.float())"
                raise ValueError(
                    f"norm must take {like.dtype} vectors of width {d_model}, got an error; {hint}"
                ) from error
            if y.shape != x.shape:
                raise ValueError(f"norm must keep the shape {tuple(x.shape)}, got {tuple(y.shape)}")
            mean, var = y.mean(-1), y.var(-1, correction=0)
            wanted = x.var(-1, correction=0) / (x.var(-1, correction=0) + eps)
            off = (var - wanted).abs().max().item()
            if not mean.abs().max() <= slack:
                fault = f"tokens of size {size:g} come out with mean {mean.abs().max():.2g}, not 0"
            elif not off <= slack:
                fault = f"tokens of size {size:g} come out with a variance that is off by {off:.2g}"
            elif not (y - shifted).abs().max() <= slack * (1 + 0.5 / size):  # x + 0.5 has lost digits of x
                fault = f"with 0.5 added to all features, the output moves by {(y - shifted).abs().max():.2g}"
            if fault:
                break
    promise = "tokens come out with mean 0 and the biased variance, and what all features share is ignored"
    cause = "the unbiased standard deviation, eps outside the root, or a norm without the mean (RMSNorm)"
    return verdict("normalisation", fault, promise, cause)


def sizes_balance(tokens: Tensor, positions: Tensor) -> Verdict:
    """Embedded tokens and the positions added to them are of like size, so that neither drowns the other.

    Like size means: their root mean squares differ by a factor of 4 at most. First stated in chapter 6.

    Args:
        tokens: embedded, `(..., d_model)`, scaled as the model scales them.
        positions: the encodings that are added.

    Raises:
        ValueError: if both are not of one width.
    """
    check_tensor("tokens", tokens, "(..., d_model)", 1, numbers=True)
    check_tensor("positions", positions, "(..., d_model)", 1, numbers=True)
    if tokens.size(-1) != positions.size(-1):
        raise ValueError(f"tokens and positions must have one width, got {tokens.size(-1)} and {positions.size(-1)}")
    sizes = [part.detach().double().square().mean().sqrt().item() for part in (tokens, positions)]
    fault = None
    if not 0 < sizes[1] / 4 <= sizes[0] <= sizes[1] * 4:
        fault = f"features of tokens have the size {sizes[0]:.3g}, those of positions {sizes[1]:.3g}"
    promise = f"features of tokens have the size {sizes[0]:.2f}, those of positions {sizes[1]:.2f}"
    cause = "a start with standard deviation 1 that is multiplied by sqrt(d_model) as well, or a small one that is not"
    return verdict("balance of sizes", fault, promise, cause)
