"""The loss: how surprised the model is by each token that really came next (chapter 10)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from transformer_lib._checks import check_share
from transformer_lib._progress import progress
from transformer_lib.data.batches import TokenBatches
from transformer_lib.transformer import Transformer, evaluating


def smoothed_targets(
    targets: Int[Tensor, "*batch"], vocab_size: int, smoothing: float, pad_id: int, dtype: torch.dtype | None = None
) -> Float[Tensor, "*batch vocab"]:
    """Return the distribution that the model is asked for at each position.

    The right token gets `1 - smoothing`; the rest is shared equally by all others except padding,
    `smoothing / (vocab_size - 2)` each, so that every row sums to one and padding gets nothing.
    Where the target itself is padding the row is zero: nothing is asked there. Rows are of type `dtype`, by default
    torch's own. Paper: section 5.4, with 0.1; it does not say how the rest is shared. (The `label_smoothing` of torch
    gives a share to padding and to the right token too.) Built in chapter 10.

    Raises:
        ValueError: if `smoothing` is not at least 0 and below 1.
    """
    check_share(smoothing=smoothing)
    share = smoothing / (vocab_size - 2)
    rows = torch.full((*targets.shape, vocab_size), share, dtype=dtype, device=targets.device)
    rows = rows.scatter(-1, targets.unsqueeze(-1).long(), 1.0 - smoothing)
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
    means would give the tokens of a short batch more weight. Logits of 16 bits are summed in float32, for a sum over
    many tokens would lose its digits, or overflow. Positions with the target `pad_id` do not count; `smoothing` is that
    of `smoothed_targets`. Paper: section 5.4. Built in chapter 10. Counterpart: `torch.nn.functional.cross_entropy`.

    Raises:
        ValueError: if the shapes do not fit together.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} need targets of shape {tuple(logits.shape[:-1])}, "
            f"got {tuple(targets.shape)}"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    flat, wanted = logits.flatten(0, -2), targets.flatten()
    if smoothing == 0.0:  # the same number as with the distribution, without building it
        total = F.cross_entropy(flat, wanted, ignore_index=pad_id, reduction="sum")
    else:
        rows = smoothed_targets(wanted, logits.size(-1), smoothing, pad_id, flat.dtype)
        total = F.cross_entropy(flat, rows, reduction="sum")
    return total, (targets != pad_id).sum()


def batch_loss(
    model: nn.Module,
    src_ids: Int[Tensor, "batch src_len"],
    tgt_ids: Int[Tensor, "batch tgt_len"],
    smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Return the `token_loss` of a batch; a model that knows a shorter way to it, `model.loss`, takes that.

    Not if it is compiled, by `torch.compile(model)` or `model.compile()`: that compiles only what `model(...)` does.
    """
    if hasattr(type(model), "loss") and model._compiled_call_impl is None:
        return model.loss(src_ids, tgt_ids, smoothing)
    logits = model(src_ids, tgt_ids[:, :-1])  # (batch, tgt_len, vocab)
    return token_loss(logits, tgt_ids[:, 1:], pad_id=model.config.pad_id, smoothing=smoothing)  # type: ignore[arg-type]


class Evaluation(NamedTuple):
    """How well the model guesses each next token when all the earlier ones are given to it (teacher forcing)."""

    loss: float  # nats per token
    accuracy: float  # share of tokens


@torch.no_grad()
def evaluate(model: Transformer, batches: TokenBatches) -> Evaluation:
    """Return loss and accuracy per real token, teacher-forced, over all pairs.

    This says little about what the model writes by itself: look at `transformer_lib.decoding.exact_match` beside it.

    Raises:
        ValueError: if the pairs are padded with another token than the model's.
    """
    check_padding(model, batches)
    config, device = model.config, next(model.parameters()).device
    loss, right, number = 0.0, 0, 0
    with evaluating(model):
        for rows in progress(batches.in_order(), "evaluating"):
            batch = batches.take(rows).to(device)
            logits, targets = model(batch.src_ids, batch.tgt_ids[:, :-1]), batch.tgt_ids[:, 1:]
            total, count = token_loss(logits, targets, pad_id=config.pad_id)
            loss, number = loss + total.item(), number + int(count)
            right += int((logits.argmax(dim=-1) == targets)[targets != config.pad_id].sum())
    return Evaluation(loss / number, right / number)


def check_padding(model: Transformer, batches: TokenBatches) -> None:
    """Require batches that pad as the model does."""
    if batches.pad_id != model.config.pad_id:
        raise ValueError(f"batches pad with {batches.pad_id}, but the model's pad_id is {model.config.pad_id}")
