"""Laws of attention: shares, scale, and queries that may attend to nothing."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_lib.laws._frame import Verdict, allowed_error, call, exact, first_of, first_place, undisturbed

Attend = Callable[..., Tensor | tuple[Tensor, ...]]


def weights_are_shares(weights: Any, mask: Any = None, *, tolerance: float | None = None) -> Verdict:
    """Attention weights are shares of one whole: none is negative, a row sums to one, what is masked gets nothing.

    A row of a query that may attend to nothing sums to zero. Ask it of the weights that `scaled_dot_product_attention`
    returns, of recorded ones (`record_attention`), of the `attentions` of a Hugging Face model, or of the array behind
    a heat map: a map with its axes swapped is found too. First stated in chapter 1.

    Args:
        weights: `(..., q_len, kv_len)`, a tensor or an array: rows are queries. Ask without dropout, which moves sums.
        mask: boolean (else a `ValueError`), `True` = may attend, broadcasts to the weights; the one that the model
            should have used.
        tolerance: how far a sum may be from one.
    """
    weights, mask = (torch.as_tensor(part) if hasattr(part, "__array__") else part for part in (weights, mask))
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"mask must be boolean (True = may attend), got {mask.dtype}")
    shares, slack = exact(weights), allowed_error(weights.dtype, tolerance)
    mask = torch.ones_like(shares, dtype=torch.bool) if mask is None else mask.cpu()
    try:
        allowed = mask.expand_as(shares)
    except RuntimeError:
        fault = f"weights of shape {tuple(shares.shape)} do not fit the mask of shape {tuple(mask.shape)}"
    else:
        sums, unseen = shares.sum(-1), "the weight at {} is {:.3g}, but the mask says that this key may not be seen"
        off = ~((sums - allowed.any(-1).double()).abs() <= slack)
        fault = first_place(
            (~(shares >= 0), "the weight at {} is {:.3g}", shares),  # so that NaN is wrong too
            (~allowed & (shares != 0), unseen, shares),
            (off, "the weights of row {} sum to {:.4g}, not to 1", sums),
        )
    promise = "each row of weights sums to one, and masked keys get nothing"
    cause = "a softmax over the wrong axis, a map with queries and keys swapped, or a mask that was not applied"
    return Verdict.of("attention as shares", fault, promise, cause)


def scores_are_scaled(attend: Attend, d_head: int, *, tolerance: float | None = None) -> Verdict:
    """Scores are divided by the square root of the width of a head, so that their spread does not grow with it.

    The factor is read off the output: with values that stand out one by one, the logarithm of the ratio of two
    weights is the difference of their scores. First stated in chapter 1.

    Args:
        attend: from query, key and value `(batch, heads, seq, d_head)` in float64 to the output, alone or first
            of several, as `scaled_dot_product_attention` or torch's function of that name.
        d_head: width of a head, at least 2.
        tolerance: how far the factor may be from `1 / sqrt(d_head)`, relative to it; 1e-5 if not given.
    """
    generator, double = torch.Generator().manual_seed(0), torch.float64
    query, key = (torch.randn(1, 1, n, d_head, generator=generator, dtype=double) for n in (5, 2))
    value = torch.eye(2, d_head, dtype=double).expand(1, 1, 2, d_head)
    weights = exact(call(attend, query, key, value, training=False))[0, 0, :, :2]  # (5, 2): the output is the weights
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
    return Verdict.of("scaling of scores", fault, promise, cause)


def dead_rows_are_zero(attend: Attend, query: Tensor, key: Tensor, value: Tensor) -> Verdict:
    """A query that may attend to nothing gets zeros, and a gradient that is a number.

    Such rows come with padding: a sentence of padding alone, or a window without a real token.
    First stated in chapter 2.

    Args:
        attend: from query, key, value and a boolean mask (`True` = may attend) to the output, alone or first
            of several. No projection may follow: its bias is not zero.
        query: `(..., q_len, d_head)`; the first query is the one that may attend to nothing.
        key: `(..., kv_len, d_head)`.
        value: `(..., kv_len, d_value)`; a `ValueError` if it is all zero.
    """
    if (value == 0).all():
        raise ValueError("value must hold numbers other than 0: such a test cannot fail")
    mask = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device)
    mask[0] = False
    with undisturbed(attend, training=False), torch.enable_grad():
        parts = [part.detach().clone().requires_grad_() for part in (query, key, value)]
        output = first_of(attend(*parts, mask))
        gradients = torch.autograd.grad(output.sum(), parts, materialize_grads=True)
    dead, fault = output[..., 0, :].detach(), None
    if not (dead == 0).all():
        fault = f"a query that may attend to nothing got {dead[dead != 0][0].item():.3g}"
    elif not output.isfinite().all():
        fault = "a query that may attend to nothing made the output of another one NaN"
    elif wrong := [name for name, g in zip("qkv", gradients, strict=True) if not g.isfinite().all()]:
        fault = f"the gradient of {', '.join(wrong)} is not finite"
    promise = "a query that may attend to nothing gets zeros, forward and backward"
    cause = "-inf before the softmax (gives NaN), or a large negative number such as -1e9 (averages what was masked)"
    return Verdict.of("zero output of dead rows", fault, promise, cause)
