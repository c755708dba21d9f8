"""Laws: what a correct part must obey whatever its weights, as functions that take any callable.

Each law calls your function with inputs that must not make a difference, compares the outputs, and
returns a `Verdict`: print it, test `verdict.holds`, or call `verdict.require()` in a test. Nothing is
left behind: no gradients, and the random state and the mode of a module are restored. Every call of one
law starts from the same random state, so the first two laws can be asked of a module in training too.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer_lib._verdict import (
    LawViolation,
    Verdict,
    call,
    check_pair,
    check_positions,
    fault_between,
    replace,
    undisturbed,
    verdict,
)

__all__ = [
    "LawViolation",
    "Verdict",
    "batch_equals_single",
    "cache_equals_full",
    "causality",
    "padding_invariance",
    "permutation_equivariance",
    "train_equals_eval",
]


def causality(f: Callable[[Tensor], Tensor], x: Tensor, other: Tensor, *, tolerance: float | None = None) -> Verdict:
    """No output depends on a later input.

    For every cut t, the positions from t on are replaced by those of `other`; the outputs before t
    must not move. `f` is called in the mode it is in: ask in training and in evaluation.

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`.
        x: token ids `(batch, seq)` or vectors `(batch, seq, d_model)`.
        other: of the same shape; the future that must not be seen.
        tolerance: relative to the largest output; 0 asks for the same bits.

    Raises:
        ValueError: if the inputs could not show a violation.
    """
    place = torch.arange(x.size(1), device=x.device).expand(x.shape[:2])
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

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`; it keeps its padding mask to itself.
        x: vectors `(batch, seq, d_model)`, or anything else of shape `(batch, seq, ...)`.
        other: of the same shape; replaces `x` where it is not real.
        real: boolean `(batch, seq)`, `True` where `x` holds a real token.
        real_outputs: which outputs count, if they are not at the positions of `x` (cross-attention
            has an output for every target token, and they all count).
        tolerance: relative to the largest output.

    Raises:
        ValueError: if the inputs could not show a violation.
    """
    check_pair(x, other, real.logical_not() if real.dtype == torch.bool else real)
    counted = real if real_outputs is None else real_outputs
    before, after = call(f, x), call(f, replace(x, other, ~real))
    check_positions(before, counted)
    fault = fault_between(before, after, tolerance, counted)
    fault = fault and f"with other content in the padding, {fault}"
    promise = "the outputs at real positions ignore the content of the padding"
    cause = "a padding mask that is missing, inverted, made from the other sequence, or laid on queries and not on keys"
    return verdict("padding invariance", fault, promise, cause)


def permutation_equivariance(f: Callable[[Tensor], Tensor], x: Tensor, *, tolerance: float | None = None) -> Verdict:
    """Reordered inputs give the same outputs, reordered: `f` knows no positions.

    A module is asked in evaluation mode.

    Args:
        f: from `x` to outputs of shape `(batch, seq, ...)`.
        x: token ids or vectors, `(batch, seq, ...)`.
        tolerance: relative to the largest output.

    Raises:
        ValueError: if the inputs could not show a violation.
    """
    check_pair(x, x.roll(1, dims=1), x.new_ones(x.shape[:2], dtype=torch.bool))
    before, generator, fault = call(f, x, training=False), torch.Generator().manual_seed(0), None
    check_positions(before, x.new_zeros(x.shape[:2]))
    orders = [torch.arange(x.size(1)).roll(1), *(torch.randperm(x.size(1), generator=generator) for _ in range(4))]
    for order in (order.to(x.device) for order in orders):
        fault = fault_between(before[:, order], call(f, x[:, order], training=False), tolerance)
        if fault:
            fault = f"with the inputs in the order {order.tolist()}, {fault}"
            break
    cause = "positions are added, or there is a causal mask; both break this law on purpose"
    return verdict("permutation equivariance", fault, "reordered inputs give the same outputs, reordered", cause)


def batch_equals_single(f: Callable[..., Tensor], *inputs, tolerance: float | None = None) -> Verdict:
    """A sequence alone gives what it gives in a batch.

    A module is asked in evaluation mode.

    Args:
        f: from the inputs to outputs of shape `(batch, ...)`.
        *inputs: tensors that begin with the axis `batch`; anything else is kept in `f` by a lambda.
        tolerance: relative to the largest output.

    Raises:
        ValueError: if there are fewer than two sequences, or the inputs differ in their number.
    """
    sizes = {len(part) for part in inputs}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"the inputs must share a batch axis of at least 2, got the sizes {sorted(sizes)}")
    together = call(f, *inputs, training=False)
    alone = [call(f, *(part[i : i + 1] for part in inputs), training=False) for i in range(sizes.pop())]
    fault = fault_between(together, torch.cat(alone), tolerance)
    fault = fault and f"between the batch and each sequence alone, {fault}"
    cause = "a mean or a softmax over the batch axis, or axes mixed up by a reshape without a transpose"
    return verdict("batch = single", fault, "each sequence alone gives what it gives in the batch", cause)


def cache_equals_full(model: nn.Module, src_ids: Tensor, tgt_ids: Tensor, *, tolerance: float | None = None) -> Verdict:
    """Decoding in pieces with a cache gives the logits of one full pass.

    The pieces are single tokens, then chunks of two and three, then all tokens but the last. The model
    is asked in evaluation mode.

    Args:
        model: with the methods `encode`, `decode` and `new_cache` of `Transformer`.
        src_ids: `(batch, src_len)`.
        tgt_ids: `(batch, tgt_len)`, at least two tokens each.
        tolerance: relative to the largest logit.

    Raises:
        ValueError: if there are fewer than two target tokens.
    """
    tgt_len, fault = tgt_ids.size(1), None
    if tgt_len < 2:
        raise ValueError(f"tgt_ids needs at least 2 tokens to be decoded in pieces, got {tgt_len}")
    with undisturbed(model, training=False):
        memory, memory_mask = model.encode(src_ids)
        full = model.decode(tgt_ids, memory, memory_mask)
        for size in dict.fromkeys(min(size, tgt_len - 1) for size in (1, 2, 3, tgt_len - 1)):
            cache = model.new_cache()
            pieces = [model.decode(ids, memory, memory_mask, cache) for ids in tgt_ids.split(size, dim=1)]
            fault = fault_between(full, torch.cat(pieces, dim=1), tolerance)
            if fault:
                fault = f"decoding {size} token{'s' * (size > 1)} at a time, {fault}"
                break
    promise = "decoding in pieces gives the logits of one full pass"
    cause = "positions that start from 0 at every step, or a causal mask aligned top-left (torch's is_causal=True)"
    return verdict("cache = full pass", fault, promise, cause)


def train_equals_eval(module: nn.Module, *inputs, tolerance: float | None = None) -> Verdict:
    """With every dropout set to 0, training and evaluation compute the same.

    Args:
        module: built with `dropout=0`; its mode is restored.
        *inputs: for its `forward`.
        tolerance: relative to the largest output.
    """
    evaluated, trained = (call(module, *inputs, training=training) for training in (False, True))
    fault = fault_between(evaluated, trained, tolerance)
    fault = fault and f"between evaluation and training, {fault}"
    cause = "a dropout that the argument does not reach, or a mask that is applied in one mode only"
    return verdict("training = evaluation", fault, "both modes compute the same", cause)
