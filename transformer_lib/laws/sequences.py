"""Laws of sequences: who may depend on whom.

Their arguments are alike. `f` goes from `x` to outputs of shape `(batch, seq, ...)`, where `x` holds token ids
`(batch, seq)` or vectors `(batch, seq, d_model)`. `other`, of the same shape, takes the place of some of `x`: if they
are equal there the question could not fail, and is refused by a `ValueError`. `real` and `real_outputs` are boolean
`(batch, seq)`. `tolerance` is how far outputs may move, relative to the largest: 0 asks for the same bits.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from transformer_lib.laws._frame import Verdict, call, check_repeatable, fault_between, gap_between, largest, place_of

OnSequences = Callable[[Tensor], Tensor]


def _places(x: Tensor) -> Tensor:
    """The position of every (batch, seq) of `x`."""
    return torch.arange(x.size(1), device=x.device).expand(x.shape[:2])


def _replace(x: Tensor, other: Tensor, replaced: Tensor) -> Tensor:
    """Take `other` where `replaced` (batch, seq) is `True`, else `x`."""
    return torch.where(replaced.reshape(*replaced.shape, *[1] * (x.dim() - 2)), other, x)


def _check_pair(x: Tensor, other: Tensor, replaced: Tensor) -> None:
    """Require that `other` can stand in for `x` where `replaced` is `True`, and would be noticed."""
    if x.shape != other.shape or x.dtype != other.dtype:
        found = f"got {tuple(x.shape)} {x.dtype} and {tuple(other.shape)} {other.dtype}"
        raise ValueError(f"x and other must have the same shape and type, {found}")
    if not (x.isfinite() & other.isfinite()).all():
        raise ValueError("x and other must hold finite numbers: NaN differs from itself, and 0 times infinity is NaN")
    if not (x != other)[replaced].any():
        raise ValueError("x and other agree wherever x would be replaced: such a test cannot fail; let them differ")


def _leak(
    words: str, f: OnSequences, x: Tensor, other: Tensor, replaced: Iterable[Tensor], tolerance: float | None
) -> str | None:
    """Say the first output that moves, where `x` is kept, when `other` replaces the rest of it; else `None`."""
    before = call(f, x)
    for mask in replaced:
        said = words.format(place_of(mask)[1])
        if fault := fault_between(said, before, call(f, _replace(x, other, mask)), tolerance, ~mask):
            return fault
    return None


def causality(f: OnSequences, x: Tensor, other: Tensor, *, tolerance: float | None = None) -> Verdict:
    """No output depends on a later input.

    For every cut t, the positions from t on are replaced by those of `other`; the outputs before t must not move. `f`
    is called in the mode it is in: ask in training and in evaluation. First stated in chapter 2.
    """
    place, cuts = _places(x), range(1, x.size(1))
    _check_pair(x, other, place > 0)
    words = "with the inputs from position {} on replaced"
    fault = _leak(words, f, x, other, [place >= t for t in cuts], tolerance)
    promise = f"the outputs before position t ignore the inputs from t on, for t = 1 to {cuts[-1]}"
    cause = "no causal mask in this mode, or a mask that is transposed, inverted or shifted by one"
    return Verdict.of("causality", fault, promise, cause)


def padding_invariance(
    f: OnSequences,
    x: Tensor,
    other: Tensor,
    real: Tensor,
    *,
    real_outputs: Tensor | None = None,
    tolerance: float | None = None,
) -> Verdict:
    """No output at a real position depends on what stands in the padding.

    `other` replaces `x` where `real` is `False`; `f` keeps its padding mask to itself. `real_outputs` are the outputs
    that count, if not those at real tokens: across attention all of the target's do. First stated in chapter 2.
    """
    _check_pair(x, other, ~real)
    counted = real if real_outputs is None else real_outputs
    # What stands in the padding of the output does not count, and does not set the scale either.
    outputs = [call(f, part) for part in (x, _replace(x, other, ~real))]
    outputs = [_replace(torch.zeros_like(output), output, counted) for output in outputs]
    fault = fault_between("with other content in the padding", *outputs, tolerance)
    promise = "the outputs at real positions ignore the content of the padding"
    cause = "a padding mask that is missing, inverted, made from the other sequence, or laid on queries and not on keys"
    return Verdict.of("padding invariance", fault, promise, cause)


def permutation_equivariance(f: OnSequences, x: Tensor, *, tolerance: float | None = None) -> Verdict:
    """Reordered inputs give the same outputs, reordered: `f` knows no positions.

    A module is asked in evaluation mode; dropout in a function is refused. So is an `x` with the same at all positions.
    First stated in chapter 1.
    """
    _check_pair(x, x.roll(1, dims=1), _places(x) >= 0)
    before, generator, fault = call(f, x, training=False), torch.Generator().manual_seed(0), None
    orders = [torch.arange(x.size(1)).roll(1), *(torch.randperm(x.size(1), generator=generator) for _ in range(4))]
    for order in (order.to(x.device) for order in orders):
        words, after = f"with the inputs in the order {order.tolist()}", call(f, x[:, order], training=False)
        fault = fault or fault_between(words, before[:, order], after, tolerance)
    if fault:
        check_repeatable(f, x)
    cause = "positions are added, or there is a causal mask; both break this law on purpose"
    return Verdict.of("permutation equivariance", fault, "reordered inputs give the same outputs, reordered", cause)


def batch_equals_single(f: Callable[..., Tensor], *inputs, tolerance: float | None = None) -> Verdict:
    """A sequence alone gives what it gives in a batch.

    Inputs and outputs begin with the axis `batch`, of one size, at least 2 (else a `ValueError`); what has no such axis
    is kept in `f` by a lambda. A module is asked in evaluation mode; dropout in a function is refused.
    First stated in chapter 3.
    """
    if len(sizes := {len(part) for part in inputs}) != 1 or sizes == {1}:
        raise ValueError(f"the inputs must share a batch axis of at least 2, got the sizes {sorted(sizes)}")
    together = call(f, *inputs, training=False)
    alone = [call(f, *(part[i : i + 1] for part in inputs), training=False) for i in range(len(together))]
    words, shapes = "between the batch and each sequence alone", sorted({tuple(part.shape) for part in alone})
    if len(shapes) > 1:
        fault = f"{words}, they have the shapes {shapes}"
    elif fault := fault_between(words, together, torch.cat(alone), tolerance):
        check_repeatable(f, *inputs)
    cause = "a mean or a softmax over the batch axis, or axes mixed up by a reshape without a transpose"
    return Verdict.of("batch = single", fault, "each sequence alone gives what it gives in the batch", cause)


def token_by_token(f: OnSequences, x: Tensor, other: Tensor, *, tolerance: float | None = None) -> Verdict:
    """Each output depends on the input at its own position and on no other: `f` is position-wise.

    `other` stands in for one position after the other, of at least two. First stated in chapter 6.
    """
    place = _places(x)
    _check_pair(x, other, place > 0)
    words = "with the input at position {} replaced"
    fault = _leak(words, f, x, other, [place == t for t in range(x.size(1))], tolerance)
    cause = "a mean, a norm or a convolution over the axis of positions, or an axis mixed up by a reshape"
    return Verdict.of("token-wise computation", fault, "each output ignores the inputs at all other positions", cause)


def every_token_counts(
    f: OnSequences,
    x: Tensor,
    other: Tensor,
    real: Tensor | None = None,
    *,
    real_outputs: Tensor | None = None,
    tolerance: float | None = None,
) -> Verdict:
    """Every real input token is seen: replacing it moves an output of its sequence that counts.

    The counterpart of causality and padding invariance: a mask that hides everything obeys those two. `other` stands in
    for one position of `x` after the other, all but those that are not `real`, and an output moves that counts (all, or
    `real_outputs`), by more than `tolerance`; bfloat16 can swallow real moves. `f` is called in the mode it is in.
    First stated in chapter 8.
    """
    place = _places(x)
    real = place >= 0 if real is None else real
    _check_pair(x, other, real)
    if not (x != other).reshape(*place.shape, -1).any(-1)[real].all():
        raise ValueError("x and other must differ at every real token: such a test cannot fail otherwise")
    before, fault = call(f, x), None
    counted = torch.ones(before.shape[:2], dtype=torch.bool) if real_outputs is None else real_outputs.cpu()
    allowed = largest(before) * ((1e-9 if before.dtype == torch.float64 else 1e-5) if tolerance is None else tolerance)
    for t in range(x.size(1)):
        asked = real & (place == t)
        gap = gap_between(before, call(f, _replace(x, other, asked))).nan_to_num(0.0)  # (batch, seq)
        unseen = asked.any(1).cpu() & (gap.masked_fill(~counted, 0.0).amax(1) <= allowed)
        if unseen.any():
            i = place_of(unseen)[0]
            fault = f"the token at position {t} of sequence {i} can be replaced, and no output notices"
            break
    cause = "a mask that hides too much: inverted, made from the other sequence, or the target's laid on the source"
    return Verdict.of("visibility of every token", fault, "each real token, replaced, moves an output", cause)
