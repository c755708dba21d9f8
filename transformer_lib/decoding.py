"""Decoding: the model speaks alone, each token it writes becoming what it reads next (chapters 10 and 11)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transformer_lib._checks import check_whole
from transformer_lib._progress import progress
from transformer_lib.cache import DecoderCache
from transformer_lib.data.batches import pad_sequences
from transformer_lib.transformer import Transformer, evaluating


@torch.no_grad()
def greedy_decode(
    model: Transformer, src_ids: Int[Tensor, "batch src_len"], *, max_new_tokens: int, use_cache: bool = True
) -> Int[Tensor, "batch tgt_len"]:
    """Translate a batch, taking the likeliest token at every step.

    A sentence ends with its first EOS; what follows is padding. The loop ends when all sentences have ended, or at
    `max_new_tokens`, EOS included. Padding and BOS are never chosen. Dropout is off, and the model's mode is put back
    afterwards. Without a cache for keys and values the answer is the same, only slower. Paper: section 6.1 decodes with
    a beam; this is a beam of one.

    Returns:
        The answers without BOS, as wide as the longest.

    Raises:
        ValueError: if `max_new_tokens` is below 1 or more than the model has positions for, or the model's
            weights are no longer numbers.
    """
    check_room(model, max_new_tokens)
    config = model.config
    with evaluating(model):
        memory, memory_mask = model.encode(src_ids)
        cache = model.new_cache(max_new_tokens) if use_cache else None
        ids = src_ids.new_full((src_ids.size(0), 1), config.bos_id)  # (batch, 1)
        ended = torch.zeros_like(ids[:, 0], dtype=torch.bool)
        for _ in range(max_new_tokens):
            new_ids = ids if cache is None else ids[:, -1:]
            logits = model.decode(new_ids, memory, memory_mask, cache)[:, -1]  # (batch, vocab)
            check_finite(logits)
            logits[:, [config.pad_id, config.bos_id]] = -torch.inf
            token = logits.argmax(dim=-1).masked_fill(ended, config.pad_id)  # (batch,)
            ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
            ended = ended | (token == config.eos_id)
            if ended.all():
                break
    return ids[:, 1:]


def next_log_probs(
    model: Transformer,
    ids: Int[Tensor, "batch tgt_len"],
    memory: Float[Tensor, "batch src_len d_model"],
    memory_mask: Bool[Tensor, "batch 1 1 src_len"],
    cache: DecoderCache | None = None,
) -> Float[Tensor, "batch vocab"]:
    """Return the log-probability of every token to come next, as the model has it; padding and BOS never come.

    `ids` are the answers so far, beginning with BOS; a cache holds all of them but the last. Built in chapter 11.

    Raises:
        ValueError: if the model's weights are no longer numbers, or something does not fit the model.
    """
    new_ids = ids if cache is None else ids[:, -1:]
    logits = model.decode(new_ids, memory, memory_mask, cache)[:, -1]  # (batch, vocab)
    check_finite(logits)
    log_probs = logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    log_probs[:, [model.config.pad_id, model.config.bos_id]] = -torch.inf
    return log_probs


def check_room(model: Transformer, max_new_tokens: int) -> None:
    """Require a model that can write answers of `max_new_tokens`."""
    check_whole(1, max_new_tokens=max_new_tokens)
    if max_new_tokens > (most := model.config.max_len):
        raise ValueError(f"max_new_tokens ({max_new_tokens}) must be at most the model's max_len ({most})")


def check_finite(logits: Tensor) -> None:
    """Require numbers: a model that was trained at too high a rate has none left."""
    # The sum is a number only if all are (or far too large to be of any use), and is many times as quick to look at.
    if not logits.sum().isfinite() and not logits.isfinite().all():
        raise ValueError("the model's logits are not finite numbers; was it trained at too high a rate?")


def translate_ids(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int = 256,
    decode: Callable[..., Tensor] | None = None,
    **options: Any,
) -> list[list[int]]:
    """Translate any number of sources, `batch_size` at once; an answer ends with its EOS, if it came to one.

    They are decoded by `greedy_decode`, or by the `decode` that is given: `sample_decode` or `beam_search`, with the
    options that it takes, such as `beam_size=4`.

    Raises:
        ValueError: if a source is empty, or a setting does not fit.
    """
    check_whole(1, batch_size=batch_size)
    decode = greedy_decode if decode is None else decode
    pad_id, device = model.config.pad_id, next(model.parameters()).device
    answers: list[list[int]] = []
    for i in progress(range(0, len(sources), batch_size), "translating"):
        src_ids = pad_sequences(sources[i : i + batch_size], pad_id).to(device)
        rows = decode(model, src_ids, max_new_tokens=max_new_tokens, **options).tolist()
        answers += [[token for token in row if token != pad_id] for row in rows]
    return answers


def exact_match(
    model: Transformer,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_size: int = 256,
    decode: Callable[..., Tensor] | None = None,
    **options: Any,
) -> float:
    """Return the share of sources whose translation equals the target token by token, EOS included.

    `pairs` are source ids and target ids (with BOS and EOS); the options are those of `translate_ids`.

    Raises:
        ValueError: if there are no pairs, one is empty, or a target is longer than the model can write.
    """
    longest = max(len(tgt) for _, tgt in pairs) - 1  # BOS is not written
    sources = [src for src, _ in pairs]
    answers = translate_ids(model, sources, max_new_tokens=longest, batch_size=batch_size, decode=decode, **options)
    return sum(list(tgt[1:]) == answer for (_, tgt), answer in zip(pairs, answers, strict=True)) / len(pairs)
