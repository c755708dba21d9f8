"""The loss: how surprised the model is by each token that really came next (chapter 10)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from transformer_lib._checks import check_count, check_device, check_float, check_ids, check_positive, check_probability


def smoothed_targets(
    targets: Int[Tensor, "*batch"], vocab_size: int, smoothing: float, pad_id: int
) -> Float[Tensor, "*batch vocab"]:
    """Return the distribution that the model is asked for at each position.

    The right token gets `1 - smoothing`; the rest is shared equally by all others except padding,
    `smoothing / (vocab_size - 2)` each, so that every row sums to one and padding gets nothing.
    Where the target itself is padding the row is zero: nothing is asked there. Paper: section 5.4,
    with 0.1; it does not say how the rest is shared. (The `label_smoothing` of torch gives a share
    to padding and to the right token too.) Built in chapter 10.

    Args:
        targets: the tokens that came next.
        vocab_size: number of tokens, the special ones included.
        smoothing: share taken from the right token, from 0 to below 1.
        pad_id: id of the padding token.

    Raises:
        ValueError: if `smoothing` is not in range, there is no other token to share it, or an id is outside.
    """
    check_probability("smoothing", smoothing)
    check_positive(vocab_size=vocab_size)
    check_ids("targets", targets, vocab_size)
    check_pad_id(pad_id, vocab_size)
    if vocab_size < 3:
        raise ValueError(f"vocab_size must be at least 3 (padding, the target and another token), got {vocab_size}")
    share = smoothing / (vocab_size - 2)
    rows = torch.full((*targets.shape, vocab_size), share, device=targets.device)
    rows.scatter_(-1, targets.unsqueeze(-1).long(), 1.0 - smoothing)
    rows[..., pad_id] = 0.0
    return rows.masked_fill((targets == pad_id).unsqueeze(-1), 0.0)


def token_loss(
    logits: Float[Tensor, "batch tgt_len vocab"],
    targets: Int[Tensor, "batch tgt_len"],
    *,
    pad_id: int,
    smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Return the cross-entropy summed over the real tokens, in nats, and the number of real tokens.

    Sum and number come apart on purpose: divide the sum of all sums by the sum of all numbers. A mean of batch
    means would give the tokens of a short batch more weight. Paper: section 5.4. Built in chapter 10.

    Args:
        logits: scores of every token at every position.
        targets: the tokens that came next, `pad_id` after the end.
        pad_id: id of the padding token; these positions do not count.
        smoothing: see `smoothed_targets`.

    Raises:
        ValueError: if the shapes do not fit together, or an id is outside the vocabulary.

    See also `torch.nn.functional.cross_entropy`, which computes it.
    """
    check_float("logits", logits)
    check_probability("smoothing", smoothing)
    check_ids("targets", targets, logits.size(-1) if logits.dim() else 0)
    if targets.dtype != torch.int64:
        raise ValueError(f"targets must hold torch.int64, got {targets.dtype}; use targets.long()")
    check_device("targets", targets, "logits", logits)
    check_pad_id(pad_id, logits.size(-1))
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} need targets of shape {tuple(logits.shape[:-1])}, "
            f"got {tuple(targets.shape)}"
        )
    flat, wanted = logits.flatten(0, -2), targets.flatten()
    if smoothing == 0.0:  # the same number as with the distribution, without building it
        total = F.cross_entropy(flat, wanted, ignore_index=pad_id, reduction="sum")
    else:
        rows = smoothed_targets(wanted, logits.size(-1), smoothing, pad_id)
        rows = rows.to(torch.promote_types(rows.dtype, flat.dtype))  # shares of a smoothing need more than 16 bits
        total = F.cross_entropy(flat, rows, reduction="sum")
    return total, (targets != pad_id).sum()


def batch_loss(
    model: nn.Module,
    src_ids: Int[Tensor, "batch src_len"],
    tgt_ids: Int[Tensor, "batch tgt_len"],
    smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Return the `token_loss` of a batch; a model that knows a shorter way to it, `model.loss`, takes that.

    Args:
        model: a `Transformer`.
        src_ids: the sources.
        tgt_ids: the targets, from BOS to EOS.
        smoothing: see `smoothed_targets`.
    """
    if hasattr(model, "loss"):
        return model.loss(src_ids, tgt_ids, smoothing)
    logits = model(src_ids, tgt_ids[:, :-1])  # (batch, tgt_len, vocab)
    return token_loss(logits, tgt_ids[:, 1:], pad_id=model.config.pad_id, smoothing=smoothing)  # type: ignore[arg-type]


def check_pad_id(pad_id: int, vocab_size: int) -> None:
    check_count(pad_id=pad_id)
    if pad_id >= vocab_size:
        raise ValueError(f"pad_id ({pad_id}) is outside the vocabulary of {vocab_size} tokens (0 to {vocab_size - 1})")
