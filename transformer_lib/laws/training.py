"""Laws of training and decoding: what is asked for, how it is counted, what a greedy answer is."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_lib.laws._checks import check_methods, check_tensor, described
from transformer_lib.laws._frame import TOLERANCES, Verdict, allowed_error, largest, place_of, undisturbed, verdict


def _check_ids(name: str, ids: Tensor, pad_id: int, vocab: int) -> None:
    if ids.is_floating_point() or not 0 <= pad_id < vocab or (ids.numel() and (ids.min() < 0 or ids.max() >= vocab)):
        raise ValueError(
            f"{name} and padding must be ids from 0 to {vocab - 1}, got {described(ids)} and {pad_id}; -100 is no token"
        )


def targets_are_distributions(rows: Tensor, targets: Tensor, pad_id: int) -> Verdict:
    """Smoothed targets are distributions over the real tokens: each row sums to one, padding gets nothing.

    Where the target itself is padding the row is zero: nothing is asked there. The right token gets the largest
    share. First stated in chapter 10.

    Args:
        rows: what the loss compares with, `(..., vocab)`.
        targets: the tokens that came next, `(...)`.
        pad_id: id of the padding token.

    Raises:
        ValueError: if the shapes do not fit together.
    """
    check_tensor("rows", rows, "(..., vocab)", 1, numbers=True)
    check_tensor("targets", targets, "(...), as the rows before their last axis", 0)
    if rows.shape[:-1] != targets.shape:
        raise ValueError(f"rows must have shape {tuple(targets.shape)} + (vocab,), got {tuple(rows.shape)}")
    _check_ids("targets", targets, pad_id, rows.size(-1))
    real = targets != pad_id
    sums = rows.double().sum(-1)
    largest = rows.gather(-1, targets.unsqueeze(-1).long()).squeeze(-1) >= rows.amax(-1)
    findings = [
        (~((sums - real.double()).abs() <= allowed_error(rows.dtype)), "sums to {:.6g}", sums),
        ((rows[..., pad_id] != 0), "gives padding {:.3g}", rows[..., pad_id]),
        (~(rows >= 0).all(-1), "has a negative share, {:.3g}", rows.amin(-1)),
        (~largest & real, "gives the right token less than another, whose share is {:.3g}", rows.amax(-1)),
    ]
    found = [(place_of(wrong), text, value) for wrong, text, value in findings if wrong.any()]
    fault = None
    if found:
        at, text, value = found[0]
        fault = f"the row at {at} " + text.format(value[at].item())
    promise = "each row sums to one (zero at padding), and padding gets nothing"
    cause = "a share for padding or for the target itself, or a share divided by the wrong number of tokens"
    return verdict("targets as distributions", fault, promise, cause)


def _pair(loss: Callable[..., Any], logits: Tensor, targets: Tensor) -> tuple[float, float]:
    if not callable(loss):
        raise ValueError(f"loss must be a function, got {type(loss).__name__}")
    found = loss(logits.clone(), targets.clone())
    if not isinstance(found, tuple | list) or len(found) != 2 or not float(found[1]) > 0:
        hint = "of a mean hand in lambda logits, targets: (mean(logits, targets), torch.tensor(1))"
        raise ValueError(f"loss must return its total and a number of tokens above 0, got {found}; {hint}")
    return float(found[0]), float(found[1])


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
        targets: `(batch, tgt_len)`, sentences of different lengths, padded.
        pad_id: id of the padding token.
        tolerance: relative to the total.

    Raises:
        ValueError: if all sentences are equally long: such a question could not fail.
    """
    check_tensor("logits", logits, "(batch, tgt_len, vocab)", 3, numbers=True)
    check_tensor("targets", targets, "(batch, tgt_len)", 2)
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"logits must have shape {tuple(targets.shape)} + (vocab,), got {tuple(logits.shape)}")
    real = targets != pad_id
    if len(set(real.sum(1).tolist())) < 2:
        raise ValueError("targets must hold sentences of different lengths; such a test cannot fail otherwise")
    with undisturbed(loss):
        total, number = _pair(loss, logits, targets)
        mean = total / number
        parts = [(logits[i : i + 1, row], targets[i : i + 1, row]) for i, row in enumerate(real) if row.any()]
        alone = [_pair(loss, *part) for part in parts]  # without any padding
        wider = torch.cat([logits, torch.randn_like(logits[:, :1])], dim=1)
        padded_total, padded_number = _pair(loss, wider, F.pad(targets, (0, 1), value=pad_id))
    apart = sum(t for t, _ in alone) / sum(n for _, n in alone)
    padded = padded_total / padded_number
    slack, fault = allowed_error(logits.dtype, tolerance) * abs(mean), None
    if not abs(mean - apart) <= slack:
        fault = f"the batch has the mean {mean:.5g}, its sentences one by one {apart:.5g}"
    elif not abs(mean - padded) <= slack:
        fault = f"with one more column of padding the mean goes from {mean:.5g} to {padded:.5g}"
    elif number != real.sum():
        fault = f"the number is {number:g}, but {int(real.sum())} tokens are real"
    cause = "a mean of means (short sentences weigh too much), or padding that is counted"
    return verdict(
        "additivity of the loss", fault, "the mean per token does not depend on how tokens are batched", cause
    )


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
        tolerance: how much less likely than the likeliest a token may be, in nats (rounding decides ties); in
            bfloat16 and float16 rounding is allowed for besides.

    Raises:
        ValueError: if there is not one answer for each source.
    """
    check_tensor("src_ids", src_ids, "(batch, src_len)", 2)
    check_tensor("answer", answer, "(batch, tgt_len)", 0)
    if answer.dim() != 2 or len(answer) != len(src_ids) or answer.size(1) < 1:
        raise ValueError(f"answer must have shape ({len(src_ids)}, tgt_len), got {tuple(answer.shape)}")
    check_methods(model, "encode", "decode", "config")
    ids = model.config
    before = torch.cat([torch.full_like(answer[:, :1], ids.bos_id), answer[:, :-1]], dim=1)
    with undisturbed(model, training=False):
        logits = model.decode(before, *model.encode(src_ids))
    check_tensor("what decode returns", logits, "(batch, tgt_len, vocab)", 3, numbers=True)
    slack = allowed_error(logits.dtype, tolerance)
    if logits.dtype not in TOLERANCES:  # few digits: the same logits in one pass and in steps differ by more
        slack = max(slack, allowed_error(logits.dtype) * largest(logits))
    logits = logits.double().clone()
    _check_ids("answer", answer, ids.pad_id, logits.size(-1))
    logits[..., [token for token in (ids.pad_id, ids.bos_id) if token != ids.eos_id]] = -torch.inf
    ended = (answer == ids.eos_id).cumsum(1) - (answer == ids.eos_id).long() > 0  # after an EOS
    chosen = logits.gather(-1, answer.unsqueeze(-1).long()).squeeze(-1)
    unlikely = ~ended & ~(chosen >= logits.amax(-1) - slack)
    not_padded = ended & (answer != ids.pad_id)
    open_ended = ~(answer == ids.eos_id).any(1)
    fault = None
    if unlikely.any():
        row, at = place_of(unlikely)
        best = int(logits[row, at].argmax())
        fault = f"token {at} of answer {row} is {int(answer[row, at])}, but the likeliest is {best}"
    elif not_padded.any():
        row, at = place_of(not_padded)
        fault = f"answer {row} goes on after its EOS, with {int(answer[row, at])} at position {at}"
    elif open_ended.any() and max_new_tokens is not None and answer.size(1) < max_new_tokens:
        fault = (
            f"answer {place_of(open_ended)[0]} has no EOS, but ends after {answer.size(1)} of {max_new_tokens} tokens"
        )
    elif max_new_tokens is not None and answer.size(1) > max_new_tokens:
        fault = f"the answers have {answer.size(1)} tokens, but the decoder was told to stop after {max_new_tokens}"
    promise = "each token is the likeliest one after those before it, and EOS ends the answer"
    cause = "another start symbol than in training, positions that differ while decoding, or one EOS that ends all"
    return verdict("greediness", fault, promise, cause)
