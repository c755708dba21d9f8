"""Laws of attention: shares, scale, and queries that may attend to nothing."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lib.laws._checks import check_finite, check_tensor, described
from transformer_lib.laws._frame import Verdict, allowed_error, first_of, place_of, undisturbed, verdict

Attend = Callable[..., Tensor | tuple[Tensor, ...]]


def weights_are_shares(weights: Tensor, mask: Tensor | None = None, *, tolerance: float | None = None) -> Verdict:
    """Attention weights are shares of one whole: none is negative, a row sums to one, what is masked gets nothing.

    A row of a query that may attend to nothing sums to zero. Ask it of the weights that
    `scaled_dot_product_attention` returns, of recorded ones (`record_attention`), of the `attentions` of a
    Hugging Face model, or of the array behind a heat map: a map with its axes swapped is found too.
    First stated in chapter 1.

    Args:
        weights: `(..., q_len, kv_len)`, a tensor or an array: rows are queries. Ask without dropout, which moves sums.
        mask: boolean, `True` = may attend, broadcasts to the weights; the one that the model should have used.
        tolerance: how far a sum may be from one.

    Raises:
        ValueError: if the weights are no floating-point numbers with two axes, or the mask is not boolean.
    """
    weights = torch.as_tensor(weights) if hasattr(weights, "__array__") else weights
    mask = torch.as_tensor(mask) if hasattr(mask, "__array__") else mask
    if not isinstance(weights, Tensor):
        raise ValueError(f"weights must be one tensor or array, got {type(weights).__name__}; of several pick one")
    if not weights.is_floating_point() or weights.dim() < 2 or weights.numel() == 0:
        raise ValueError(
            f"weights must be numbers of shape (..., q_len, kv_len), got {weights.dtype} {tuple(weights.shape)}"
        )
    if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool):
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be boolean (True = may attend), got {found}")
    promise = "each row of weights sums to one, and masked keys get nothing"
    cause = "a softmax over the wrong axis, a map with queries and keys swapped, or a mask that was not applied"
    law = "attention as shares"
    mask = torch.ones_like(weights, dtype=torch.bool) if mask is None else mask
    try:
        allowed = mask.expand_as(weights)
    except RuntimeError:
        fault = f"weights of shape {tuple(weights.shape)} do not fit the mask of shape {tuple(mask.shape)}"
        return verdict(law, fault, promise, cause)
    slack = allowed_error(weights.dtype, tolerance)
    sums, wanted = weights.double().sum(-1), allowed.any(-1).double()
    wrong_sum = ~((sums - wanted).abs() <= slack)  # so that NaN is wrong too
    fault = None
    if not (weights >= 0).all():
        at = place_of(~(weights >= 0))
        fault = f"the weight at {at} is {weights[at].item():.3g}"
    elif (weights[~allowed] != 0).any():
        at = place_of(~allowed & (weights != 0))
        fault = f"the weight at {at} is {weights[at].item():.3g}, but the mask says that this key may not be seen"
    elif wrong_sum.any():
        at = place_of(wrong_sum)
        fault = f"the weights of row {at} sum to {sums[at].item():.4g}, not to {wanted[at].item():.0f}"
    return verdict(law, fault, promise, cause)


def scores_are_scaled(attend: Attend, d_head: int, *, tolerance: float | None = None) -> Verdict:
    """Scores are divided by the square root of the width of a head, so that their spread does not grow with it.

    The factor is read off the output: with values that stand out one by one, the logarithm of the ratio of two
    weights is the difference of their scores. First stated in chapter 1.

    Args:
        attend: from query, key and value `(batch, heads, seq, d_head)` in float64 to the output, alone or first
            of several, as `scaled_dot_product_attention` or torch's function of that name.
        d_head: width of a head, at least 2.
        tolerance: how far the factor may be from `1 / sqrt(d_head)`, relative to it; 1e-5 if not given.

    Raises:
        ValueError: if `d_head` is below 2: such a head could not show the scale.
    """
    if not isinstance(d_head, int) or not callable(attend):
        raise ValueError(f"attend must be a function and d_head a whole number, got {attend!r} and {d_head!r}")
    if d_head < 2:
        raise ValueError(f"d_head must be at least 2, got {d_head}; a narrower head cannot show its scale")
    with undisturbed(attend, training=False):
        query = torch.randn(1, 1, 5, d_head, dtype=torch.float64)
        key = torch.randn(1, 1, 2, d_head, dtype=torch.float64)
        value = torch.eye(2, d_head, dtype=torch.float64).expand(1, 1, 2, d_head)
        output = first_of(attend(query.clone(), key.clone(), value.clone()), "attend")
    if output.shape != (1, 1, 5, d_head):
        raise ValueError(f"attend must give one vector per query, (1, 1, 5, {d_head}), got {tuple(output.shape)}")
    weights = output[0, 0, :, :2].double()  # (5, 2): the output is the weights
    scores = (query @ key.transpose(-2, -1))[0, 0]
    apart, found = scores[:, 0] - scores[:, 1], (weights[:, 0] / weights[:, 1]).log()
    factor, wanted = ((found * apart).sum() / (apart * apart).sum()).item(), 1 / math.sqrt(d_head)
    slack, fault = allowed_error(torch.float32, tolerance), None  # many take the softmax in float32, whatever they get
    if not abs(factor / wanted - 1) <= slack:
        fault = f"scores are multiplied by {factor:.4g}, not by 1 / sqrt({d_head}) = {wanted:.4g}"
    elif not ((found - wanted * apart).abs() <= slack * apart.abs().max()).all():
        fault = "the weights are not a softmax of the scores query @ key"
    promise = f"scores are divided by sqrt({d_head})"
    cause = "no scale, or the square root of the model's width or of the number of heads in place of the head's width"
    return verdict("scaling of scores", fault, promise, cause)


def dead_rows_are_zero(attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Verdict:
    """A query that may attend to nothing gets zeros, and a gradient that is a number.

    Such rows come with padding: a sentence of padding alone, or a window without a real token.
    First stated in chapter 2.

    Args:
        attend: from query, key, value and a boolean mask (`True` = may attend) to the output, alone or first
            of several. No projection may follow: its bias is not zero.
        query: `(..., q_len, d_head)`, at least two queries; the first one is the one that is masked.
        key: `(..., kv_len, d_head)`.
        value: `(..., kv_len, d_value)`.

    Raises:
        ValueError: if there are fewer than two queries.
    """
    for name, part in (("query", query), ("key", key), ("value", value)):
        check_tensor(name, part, "(..., seq, width)", 2, numbers=True)
        check_finite(name, part)
    if query.size(-2) < 2:
        raise ValueError(f"query needs at least 2 positions, one of them without any key, got {query.size(-2)}")
    if query.size(-1) != key.size(-1) or key.size(-2) != value.size(-2) or (value == 0).all():
        raise ValueError(
            "query and key must have one width, key and value one length, and value numbers other than 0, got "
            f"{described(query)}, {described(key)}, {described(value)}"
        )
    mask = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device)
    mask[0] = False
    with undisturbed(attend, training=False), torch.enable_grad():
        parts = [part.detach().clone().requires_grad_() for part in (query, key, value)]
        output = first_of(attend(*parts, mask), "attend")
        if output.dim() != max(part.dim() for part in parts) or output.size(-1) != value.size(-1):
            wanted = f"(..., q_len, {value.size(-1)})"
            raise ValueError(f"attend must give one vector per query, {wanted}, got shape {tuple(output.shape)}")
        if not output.requires_grad:
            raise ValueError(
                "attend must be differentiable, got an output without a gradient; leave out no_grad, detach"
            )
        gradients = torch.autograd.grad(output.sum(), parts, allow_unused=True)
    dead, fault = output[..., 0, :].detach(), None
    if not (dead == 0).all():
        at = place_of(dead != 0)
        fault = f"a query that may attend to nothing got {dead[at].item():.3g}"
    elif not output.isfinite().all():
        fault = "a query that may attend to nothing made the output of another one NaN"
    else:
        names = [name for name, g in zip("qkv", gradients, strict=True) if g is not None and not g.isfinite().all()]
        fault = f"the gradient of {', '.join(names)} is not finite" if names else None
    promise = "a query that may attend to nothing gets zeros, forward and backward"
    cause = "-inf before the softmax (gives NaN), or a large negative number such as -1e9 (averages what was masked)"
    return verdict("zero output of dead rows", fault, promise, cause)
