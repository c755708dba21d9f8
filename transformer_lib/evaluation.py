"""Evaluation: how well the model guesses each next token when it is given all the earlier ones (chapter 10)."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from transformer_lib._checks import check_model, check_type
from transformer_lib.batching import TokenBatches
from transformer_lib.loss import token_loss
from transformer_lib.transformer import Transformer


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while; every module goes back to the mode it was in."""
    check_type("model", model, nn.Module)
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class Evaluation(NamedTuple):
    """How well the model guesses each next token when all the earlier ones are given to it (teacher forcing)."""

    loss: float  # nats per token
    accuracy: float  # share of tokens


@torch.no_grad()
def evaluate(model: Transformer, batches: TokenBatches) -> Evaluation:
    """Return loss and accuracy per real token, teacher-forced, over all pairs.

    The right past is always given, so this says little about what the model writes by itself: look at
    `transformer_lib.decoding.exact_match` beside it.

    Raises:
        ValueError: if the pairs are padded with another token than the model's.
    """
    check_batches(model, batches)
    config, device = model.config, next(model.parameters()).device
    loss, right, number = 0.0, 0, 0
    with evaluating(model):
        for rows in batches.in_order():
            batch = batches.take(rows).to(device)
            logits, targets = model(batch.src_ids, batch.tgt_ids[:, :-1]), batch.tgt_ids[:, 1:]
            total, count = token_loss(logits, targets, pad_id=config.pad_id)
            loss, number = loss + total.item(), number + int(count)
            right += int((logits.argmax(dim=-1) == targets)[targets != config.pad_id].sum())
    return Evaluation(loss / number, right / number)


def check_batches(model: Transformer, batches: TokenBatches) -> None:
    """Require a `Transformer` and batches that pad as it does."""
    check_model(model)
    check_type("batches", batches, TokenBatches)
    if batches.pad_id != model.config.pad_id:
        raise ValueError(f"batches pad with {batches.pad_id}, but the model's pad_id is {model.config.pad_id}")
