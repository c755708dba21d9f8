"""Laws of training and decoding: what is asked for, how it is counted, what a greedy answer is."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_lib.laws._frame import Verdict, allowed_error, exact, first_place, largest, place_of, undisturbed


def targets_are_distributions(rows: Tensor, targets: Tensor, pad_id: int) -> Verdict:
    """Smoothed targets are distributions over the real tokens: each row sums to one, padding gets nothing.

    Where the target itself is padding the row is zero: nothing is asked there. The right token gets the largest
    share. First stated in chapter 10.

    Args:
        rows: what the loss compares with, `(..., vocab)`.
        targets: the tokens that came next, `(...)`.
        pad_id: id of the padding token.
    """
    slack, rows, targets = allowed_error(rows.dtype), exact(rows), targets.cpu()
    real, sums, padding = targets != pad_id, rows.sum(-1), rows[..., pad_id]
    likeliest = rows.gather(-1, targets.unsqueeze(-1).long()).squeeze(-1) >= rows.amax(-1)
    unfair = "the row at {} gives the right token less than another, whose share is {:.3g}"
    fault = first_place(
        (~((sums - real.double()).abs() <= slack), "the row at {} sums to {:.6g}", sums),
        (padding != 0, "the row at {} gives padding {:.3g}", padding),
        (~(rows >= 0).all(-1), "the row at {} has a negative share, {:.3g}", rows.amin(-1)),
        (~likeliest & real, unfair, rows.amax(-1)),
    )
    promise = "each row sums to one (zero at padding), and padding gets nothing"
    cause = "a share for padding or for the target itself, or a share divided by the wrong number of tokens"
    return Verdict.of("targets as distributions", fault, promise, cause)


def loss_adds_up(
    loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    logits: Tensor,
    targets: Tensor,
    pad_id: int,
    *,
    tolerance: float | None = None,
) -> Verdict:
    """The loss of a batch is the sum over its sentences, its number counts real tokens, and padding adds nothing.

    Then the mean over many batches is one total divided by one number, however the tokens were dealt out.
    First stated in chapter 10.

    Args:
        loss: from logits and targets to the total loss and the number of tokens counted, as `token_loss`; of a loss
            that returns a mean, hand in `lambda logits, targets: (mean(logits, targets), torch.tensor(1))`.
        logits: `(batch, tgt_len, vocab)`.
        targets: `(batch, tgt_len)`, padded; a `ValueError` if all are equally long: that question could not fail.
        pad_id: id of the padding token.
        tolerance: relative to the total.
    """
    real = targets != pad_id
    if len(set(real.sum(1).tolist())) < 2:
        raise ValueError("targets must hold sentences of different lengths; such a test cannot fail otherwise")
    with undisturbed(loss):
        wider = torch.cat([logits, torch.randn_like(logits[:, :1])], dim=1)
        parts = [(logits, targets), (wider, F.pad(targets, (0, 1), value=pad_id))]
        parts += [(logits[i : i + 1, row], targets[i : i + 1, row]) for i, row in enumerate(real) if row.any()]
        found = [loss(a.clone(), b.clone()) for a, b in parts]
        (total, number), (padded_total, padded_number), *alone = [(float(t), float(n)) for t, n in found]
    mean, padded = total / number, padded_total / padded_number
    apart = sum(t for t, _ in alone) / sum(n for _, n in alone)  # each sentence without any padding
    slack, fault = allowed_error(logits.dtype, tolerance) * abs(mean), None
    if not abs(mean - apart) <= slack:
        fault = f"the batch has the mean {mean:.5g}, its sentences one by one {apart:.5g}"
    elif not abs(mean - padded) <= slack:
        fault = f"with one more column of padding the mean goes from {mean:.5g} to {padded:.5g}"
    elif number != real.sum():
        fault = f"the number is {number:g}, but {int(real.sum())} tokens are real"
    promise = "the mean per token does not depend on how tokens are batched"
    cause = "a mean of means (short sentences weigh too much), or padding that is counted"
    return Verdict.of("additivity of the loss", fault, promise, cause)


def answer_is_greedy(
    model: Any, src_ids: Tensor, answer: Tensor, *, max_new_tokens: int | None = None, tolerance: float = 1e-4
) -> Verdict:
    """A greedy answer is what the model's own logits say: each token the likeliest after BOS and those before it.

    It goes on until its EOS and holds nothing but padding after it. Padding and BOS are never chosen.
    First stated in chapter 10.

    Args:
        model: with `encode`, `decode` and a `config` of ids, as `Transformer` (or `HuggingFace`).
        src_ids: the sources, `(batch, src_len)`.
        answer: the ids to be judged, without BOS, `(batch, tgt_len)`.
        max_new_tokens: where the decoder was told to stop, if it was; without it an answer need not reach its EOS.
        tolerance: how much less likely than the likeliest a token may be, in nats; at least what the type rounds.
    """
    ids = model.config
    before = torch.cat([torch.full_like(answer[:, :1], ids.bos_id), answer[:, :-1]], dim=1)
    with undisturbed(model, training=False):
        logits = model.decode(before, *model.encode(src_ids))
    slack = max(tolerance, allowed_error(logits.dtype) * largest(logits))
    logits, answer = exact(logits).clone(), answer.cpu()
    logits[..., [token for token in (ids.pad_id, ids.bos_id) if token != ids.eos_id]] = -torch.inf
    is_eos = answer == ids.eos_id
    ended = is_eos.cumsum(1) - is_eos.long() > 0  # after an EOS
    chosen = logits.gather(-1, answer.unsqueeze(-1).long()).squeeze(-1)
    unlikely = ~ended & ~(chosen >= logits.amax(-1) - slack)
    not_padded, open_ended, fault = ended & (answer != ids.pad_id), ~is_eos.any(1), None
    if unlikely.any():
        row, at = place_of(unlikely)
        best = int(logits[row, at].argmax())
        fault = f"token {at} of answer {row} is {int(answer[row, at])}, but the likeliest is {best}"
    elif not_padded.any():
        row, at = place_of(not_padded)
        fault = f"answer {row} goes on after its EOS, with {int(answer[row, at])} at position {at}"
    elif max_new_tokens and open_ended.any() and (length := answer.size(1)) < max_new_tokens:
        fault = f"answer {place_of(open_ended)[0]} has no EOS, but ends after {length} of {max_new_tokens} tokens"
    promise = "each token is the likeliest one after those before it, and EOS ends the answer"
    cause = "another start symbol than in training, positions that differ while decoding, or one EOS that ends all"
    return Verdict.of("greediness", fault, promise, cause)
