"""Decoding: the model speaks alone, each token it writes becoming what it reads next (chapter 10)."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from transformer_lib._checks import check_flags, check_model, check_positive
from transformer_lib.batching import check_pairs, pad_sequences, whole_numbers
from transformer_lib.evaluation import evaluating
from transformer_lib.transformer import Transformer


@torch.no_grad()
def greedy_decode(
    model: Transformer,
    src_ids: Int[Tensor, "batch src_len"],
    *,
    max_new_tokens: int,
    use_cache: bool = True,
) -> Int[Tensor, "batch tgt_len"]:
    """Translate a batch, taking the likeliest token at every step.

    A sentence ends with its first EOS; what follows is padding. The loop ends when all sentences
    have ended, or at `max_new_tokens`. Padding and BOS are never chosen. Dropout is off, and the
    model's mode is put back afterwards. Paper: section 6.1 decodes with a beam; this is a beam of one.

    Args:
        model: the `Transformer`.
        src_ids: the sources, padded.
        max_new_tokens: the longest answer, EOS included.
        use_cache: keep keys and values from step to step; the answer is the same without, only slower.

    Returns:
        The answers without BOS, as wide as the longest.

    Raises:
        ValueError: if `max_new_tokens` is below 1 or more than the model has positions for, or the model's
            weights are no longer numbers.
    """
    check_model(model)
    check_positive(max_new_tokens=max_new_tokens)
    check_flags(use_cache=use_cache)
    config = model.config
    if max_new_tokens > config.max_len:
        raise ValueError(f"max_new_tokens ({max_new_tokens}) must be at most the model's max_len ({config.max_len})")
    with evaluating(model):
        memory, memory_mask = model.encode(src_ids)
        cache = model.new_cache(max_new_tokens) if use_cache else None
        ids = src_ids.new_full((src_ids.size(0), 1), config.bos_id)  # (batch, 1)
        ended = torch.zeros_like(ids[:, 0], dtype=torch.bool)
        for _ in range(max_new_tokens):
            new_ids = ids if cache is None else ids[:, -1:]
            logits = model.decode(new_ids, memory, memory_mask, cache)[:, -1]  # (batch, vocab)
            if not logits.isfinite().all():
                raise ValueError("the model's logits are not finite numbers; was it trained at too high a rate?")
            logits[:, [config.pad_id, config.bos_id]] = -torch.inf
            token = logits.argmax(dim=-1).masked_fill(ended, config.pad_id)  # (batch,)
            ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
            ended = ended | (token == config.eos_id)
            if ended.all():
                break
    return ids[:, 1:]


def translate_ids(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int = 256,
    use_cache: bool = True,
) -> list[list[int]]:
    """Translate any number of sources by `greedy_decode`; an answer ends with its EOS, if it came to one.

    Raises:
        ValueError: if a source is empty, or a setting does not fit.
    """
    check_model(model)
    check_positive(max_new_tokens=max_new_tokens, batch_size=batch_size)
    sources = whole_numbers(sources)
    pad_id, device = model.config.pad_id, next(model.parameters()).device
    answers: list[list[int]] = []
    for i in range(0, len(sources), batch_size):
        src_ids = pad_sequences(sources[i : i + batch_size], pad_id).to(device)
        rows = greedy_decode(model, src_ids, max_new_tokens=max_new_tokens, use_cache=use_cache).tolist()
        answers += [[token for token in row if token != pad_id] for row in rows]
    return answers


def exact_match(
    model: Transformer,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_size: int = 256,
    use_cache: bool = True,
) -> float:
    """Return the share of sources whose greedy translation equals the target token by token, EOS included.

    Args:
        model: the `Transformer`.
        pairs: source ids and target ids (with BOS and EOS) of each sentence pair.
        batch_size: sentences decoded at once.
        use_cache: as in `greedy_decode`.

    Raises:
        ValueError: if there are no pairs, one is empty, or a target is longer than the model can write.
    """
    check_pairs(pairs)
    longest = max(len(tgt) for _, tgt in pairs) - 1  # BOS is not written
    answers = translate_ids(
        model, [src for src, _ in pairs], max_new_tokens=longest, batch_size=batch_size, use_cache=use_cache
    )
    return sum(list(tgt[1:]) == answer for (_, tgt), answer in zip(pairs, answers, strict=True)) / len(pairs)
