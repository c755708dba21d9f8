"""Laws of sequences: who may depend on whom."""

from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lib.laws._checks import (
    check_batch,
    check_counted,
    check_outputs,
    check_pair,
    check_positions,
    check_real,
    check_singles,
    check_visible,
    places,
)
from transformer_lib.laws._frame import (
    Verdict,
    allowed_error,
    call,
    check_repeatable,
    fault_between,
    gap_between,
    largest,
    place_of,
    replace,
    verdict,
)


def causality(f: Callable[[Tensor], Tensor], x: Tensor, other: Tensor, *, tolerance: float | None = None) -> Verdict:
    """No output depends on a later input.

    For every cut t, the positions from t on are replaced by those of `other`; the outputs before t
    must not move. `f` is called in the mode it is in: ask in training and in evaluation.
    First stated in chapter 2.

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`.
        x: token ids `(batch, seq)` or vectors `(batch, seq, d_model)`.
        other: of the same shape; the future that must not be seen.
        tolerance: relative to the largest output; 0 asks for the same bits.

    Raises:
        ValueError: if the inputs could not show a violation.
    """
    place = places(x)
    check_pair(x, other, place > 0)
    before, fault, cut = call(f, x), None, 0
    check_positions(before, place)
    for cut in range(1, x.size(1)):
        after = call(f, replace(x, other, place >= cut))
        fault = fault_between(before, after, tolerance, place < cut)
        if fault:
            fault = f"with the inputs from position {cut} on replaced, {fault}"
            break
    promise = f"the outputs before position t ignore the inputs from t on, for t = 1 to {cut}"
    cause = "no causal mask in this mode, or a mask that is transposed, inverted or shifted by one"
    return verdict("causality", fault, promise, cause)


def padding_invariance(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    other: Tensor,
    real: Tensor,
    *,
    real_outputs: Tensor | None = None,
    tolerance: float | None = None,
) -> Verdict:
    """No output at a real position depends on what stands in the padding.

    First stated in chapter 2.

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`; it keeps its padding mask to itself.
        x: vectors `(batch, seq, d_model)`, or anything else of shape `(batch, seq, ...)`.
        other: of the same shape; replaces `x` where it is not real.
        real: boolean `(batch, seq)`, `True` where `x` holds a real token.
        real_outputs: which outputs count, if they are not at the positions of `x` (cross-attention
            has an output for every target token, and they all count).
        tolerance: relative to the largest output that counts.

    Raises:
        ValueError: if the inputs could not show a violation.
    """
    check_real("real", real, places(x).shape)
    check_pair(x, other, ~real)
    before, after = call(f, x), call(f, replace(x, other, ~real))
    counted = check_counted(before, real, real_outputs)
    fault = fault_between(before, after, tolerance, counted, among=counted)
    fault = fault and f"with other content in the padding, {fault}"
    promise = "the outputs at real positions ignore the content of the padding"
    cause = "a padding mask that is missing, inverted, made from the other sequence, or laid on queries and not on keys"
    return verdict("padding invariance", fault, promise, cause)


def permutation_equivariance(f: Callable[[Tensor], Tensor], x: Tensor, *, tolerance: float | None = None) -> Verdict:
    """Reordered inputs give the same outputs, reordered: `f` knows no positions.

    A module is asked in evaluation mode; dropout in a function is refused. First stated in chapter 1.

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`.
        x: token ids or vectors, `(batch, seq, ...)`.
        tolerance: relative to the largest output.

    Raises:
        ValueError: if the inputs could not show a violation.
    """
    place = places(x)
    check_pair(x, x.roll(1, dims=1), place >= 0)
    before, generator, fault = call(f, x, training=False), torch.Generator().manual_seed(0), None
    check_positions(before, place)
    orders = [torch.arange(x.size(1)).roll(1), *(torch.randperm(x.size(1), generator=generator) for _ in range(4))]
    for order in (order.to(x.device) for order in orders):
        fault = fault_between(before[:, order], call(f, x[:, order], training=False), tolerance)
        if fault:
            check_repeatable(f, x)
            fault = f"with the inputs in the order {order.tolist()}, {fault}"
            break
    cause = "positions are added, or there is a causal mask; both break this law on purpose"
    return verdict("permutation equivariance", fault, "reordered inputs give the same outputs, reordered", cause)


def batch_equals_single(f: Callable[..., Tensor], *inputs, tolerance: float | None = None) -> Verdict:
    """A sequence alone gives what it gives in a batch.

    A module is asked in evaluation mode; dropout in a function is refused. First stated in chapter 3.

    Args:
        f: from the inputs to outputs of shape `(batch, ...)`.
        *inputs: tensors that begin with the axis `batch`; anything else is kept in `f` by a lambda.
        tolerance: relative to the largest output.

    Raises:
        ValueError: if there are fewer than two sequences, or the inputs differ in their number.
    """
    size = check_batch(inputs)
    together = call(f, *inputs, training=False)
    alone = [call(f, *(part[i : i + 1] for part in inputs), training=False) for i in range(size)]
    check_singles(alone)
    shapes = {tuple(part.shape) for part in alone}
    same = len(shapes) == 1
    fault = fault_between(together, torch.cat(alone), tolerance) if same else f"they have the shapes {sorted(shapes)}"
    if fault:
        check_repeatable(f, *inputs)
        fault = f"between the batch and each sequence alone, {fault}"
    cause = "a mean or a softmax over the batch axis, or axes mixed up by a reshape without a transpose"
    return verdict("batch = single", fault, "each sequence alone gives what it gives in the batch", cause)


def token_by_token(
    f: Callable[[Tensor], Tensor], x: Tensor, other: Tensor, *, tolerance: float | None = None
) -> Verdict:
    """Each output depends on the input at its own position and on no other: `f` is position-wise.

    First stated in chapter 6.

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`.
        x: vectors `(batch, seq, d_model)` or token ids `(batch, seq)`; at least two positions.
        other: of the same shape; stands in for one position after the other.
        tolerance: relative to the largest output.

    Raises:
        ValueError: if the inputs could not show a violation.
    """
    place = places(x)
    if x.size(1) < 2:
        raise ValueError(f"x needs at least 2 positions, got shape {tuple(x.shape)}: such a test cannot fail")
    before, fault = call(f, x), None
    check_positions(before, place)
    for t in range(x.size(1)):
        check_pair(x, other, place == t)
        fault = fault_between(before, call(f, replace(x, other, place == t)), tolerance, place != t)
        if fault:
            fault = f"with the input at position {t} replaced, {fault}"
            break
    cause = "a mean, a norm or a convolution over the axis of positions, or an axis mixed up by a reshape"
    return verdict("token-wise computation", fault, "each output ignores the inputs at all other positions", cause)


def every_token_counts(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    other: Tensor,
    real: Tensor | None = None,
    *,
    real_outputs: Tensor | None = None,
    tolerance: float | None = None,
) -> Verdict:
    """Every real input token is seen: replacing it moves an output of its sequence that counts.

    The counterpart of causality and padding invariance: a mask that hides everything obeys those two.
    `f` is called in the mode it is in. First stated in chapter 8.

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`.
        x: vectors `(batch, seq, d_model)` or token ids `(batch, seq)`.
        other: of the same shape; stands in for one position after the other.
        real: boolean `(batch, seq)`, `True` where `x` holds a real token; all, if not given.
        real_outputs: which outputs count, if not all.
        tolerance: a smaller move, relative to the largest output, counts as none; bfloat16 can swallow real ones.

    Raises:
        ValueError: if `other` equals `x` at a position: such a token could not be noticed.
    """
    place = places(x)
    real = torch.ones_like(place, dtype=torch.bool) if real is None else real
    check_visible(x, other, real)
    before, fault = call(f, x), None
    check_outputs(before, real, real_outputs)
    tolerance = min(allowed_error(before.dtype), 1e-5) if tolerance is None else tolerance
    allowed = allowed_error(before.dtype, tolerance) * largest(before)
    for t in range(x.size(1)):
        asked = real & (place == t)
        if not asked.any():
            continue
        gap = gap_between(before, call(f, replace(x, other, asked))).nan_to_num(0.0)  # (batch, seq)
        gap = gap if real_outputs is None else gap.masked_fill(~real_outputs, 0.0)
        unseen = asked.any(1) & (gap.amax(1) <= allowed)
        if unseen.any():
            row = place_of(unseen)[0]
            fault = f"the token at position {t} of sequence {row} can be replaced, and no output notices"
            break
    cause = "a mask that hides too much: inverted, made from the other sequence, or the target's laid on the source"
    return verdict("visibility of every token", fault, "each real token, replaced, moves an output", cause)
