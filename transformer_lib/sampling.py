"""Sampling: writing by chance, the likelier tokens more often (chapter 11)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from transformer_lib._checks import check_number, check_whole
from transformer_lib.decoding import check_room, next_log_probs
from transformer_lib.transformer import Transformer, evaluating


def keep_top_k(logits: Float[Tensor, "*batch vocab"], k: int) -> Float[Tensor, "*batch vocab"]:
    """Keep the `k` likeliest tokens; the logits of all others become minus infinity.

    Source: Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation", 2018. Built in chapter 11.

    Raises:
        ValueError: if `k` is below 1. More than the vocabulary holds is no error: all are kept.
    """
    check_whole(1, k=k)
    best = logits.topk(min(k, logits.size(-1)), dim=-1).indices  # (*batch, k)
    return torch.full_like(logits, -torch.inf).scatter(-1, best, logits.gather(-1, best))


def keep_top_p(logits: Float[Tensor, "*batch vocab"], p: float) -> Float[Tensor, "*batch vocab"]:
    """Keep the fewest likeliest tokens whose probabilities sum to at least `p` (the nucleus); drop all others.

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019, section 3.1. Built in chapter 11.

    Raises:
        ValueError: if `p` is not above 0 and at most 1.
    """
    if not 0.0 < p <= 1.0:
        raise ValueError(f"top_p must be above 0 and at most 1, got {p}")
    probs, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)  # (*batch, vocab)
    before = probs.cumsum(dim=-1) - probs  # what the likelier ones sum to
    dropped = torch.empty_like(before, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(dropped, -torch.inf)


def draw_tokens(
    logits: Float[Tensor, "batch vocab"],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " batch"]:
    """Draw a token of each row by its probability.

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2019, section 3. Built in chapter 11.

    Args:
        logits: of all tokens, or their log-probabilities; what is minus infinity never comes.
        temperature: what the logits are divided by: below 1 the likely tokens get likelier, above 1 all become alike.
        top_k: then draw from so many likeliest tokens only.
        top_p: then draw from the likeliest tokens that sum to this share only.
        generator: where chance comes from, on the device of the logits; torch's own by default.

    Raises:
        ValueError: if a setting is out of range; the message names it.
    """
    check_number(temperature=temperature)
    logits = logits / temperature
    logits = logits if top_k is None else keep_top_k(logits, top_k)
    logits = logits if top_p is None else keep_top_p(logits, top_p)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(1)


@torch.no_grad()
def sample_decode(
    model: Transformer,
    src_ids: Int[Tensor, "batch src_len"],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
) -> Int[Tensor, "batch tgt_len"]:
    """Translate a batch, each token by `draw_tokens`, which says what the options mean.

    Sentences end and are padded as in `greedy_decode`, which is the limit at a temperature of 0. Repeat a source to
    draw several answers for it. Without a cache the answer is the same, only slower. Built in chapter 11.

    Returns:
        The answers without BOS, as wide as the longest.

    Raises:
        ValueError: if a setting is out of range; the message names it.
    """
    check_room(model, max_new_tokens)
    config = model.config
    with evaluating(model):
        memory, memory_mask = model.encode(src_ids)
        cache = model.new_cache(max_new_tokens) if use_cache else None
        ids = src_ids.new_full((src_ids.size(0), 1), config.bos_id)  # (batch, 1)
        ended = torch.zeros_like(ids[:, 0], dtype=torch.bool)
        for _ in range(max_new_tokens):
            log_probs = next_log_probs(model, ids, memory, memory_mask, cache)  # (batch, vocab)
            token = draw_tokens(log_probs, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
            token = token.masked_fill(ended, config.pad_id)  # (batch,)
            ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
            ended = ended | (token == config.eos_id)
            if ended.all():
                break
    return ids[:, 1:]
