"""Beam search: following several beginnings at once, and keeping the best (chapter 11)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from transformer_lib._checks import check_number, check_whole
from transformer_lib.decoding import check_room, next_log_probs
from transformer_lib.transformer import Transformer, evaluating


class Hypotheses(NamedTuple):
    """The answers that a beam search ends with, for each sentence from the best to the worst.

    Answers that had not come to an end stand behind all that had.
    """

    ids: Int[Tensor, "batch beam tgt_len"]  # without BOS, padded after EOS
    log_probs: Float[Tensor, "batch beam"]  # of the whole answer; minus infinity where there are fewer answers
    scores: Float[Tensor, "batch beam"]  # the log-probabilities over the length penalty


def gnmt_penalty(length: Float[Tensor, "*batch"] | int | float, alpha: float) -> Float[Tensor, "*batch"] | float:
    r"""Return what the log-probability of an answer is divided by, so that short answers do not win by being short.

    $$\left(\frac{5 + length}{6}\right)^{\alpha}$$

    Source: Wu et al., "Google's Neural Machine Translation System", 2016, section 7, equation 14; the Transformer's
    paper takes an `alpha` of 0.6 (section 6.1); 0 changes nothing, 1 comes near to the mean over the tokens. The length
    counts EOS and not BOS. Built in chapter 11.

    Raises:
        ValueError: if `alpha` is negative.
    """
    check_number(alpha=alpha, zero=True)
    return ((5 + length) / 6) ** alpha


def beam_step(
    log_probs: Float[Tensor, "batch beam"],
    ended: Bool[Tensor, "batch beam"],
    steps: Float[Tensor, "batch beam vocab"],
    pad_id: int,
) -> tuple[Float[Tensor, "batch beam"], Int[Tensor, "batch beam"], Int[Tensor, "batch beam"]]:
    """Extend every beginning by every token, and keep the best: their log-probabilities, parents and new tokens.

    `steps` are the log-probabilities of the tokens that may follow; a parent is a place in the beam before. What has
    ended is an answer: it is extended by padding only, at no cost, and kept whatever its probability. The places left
    go to the likeliest extensions of the others. Built in chapter 11.
    """
    totals = (log_probs.unsqueeze(-1) + steps).masked_fill(ended.unsqueeze(-1), -torch.inf)  # (batch, beam, vocab)
    totals[..., pad_id] = log_probs.masked_fill(~ended, -torch.inf)
    ranks = totals.clone()
    ranks[..., pad_id].masked_fill_(ended, torch.inf)
    beam_size, vocab_size = steps.shape[1:]
    places = ranks.flatten(1).topk(beam_size).indices  # (batch, beam)
    return totals.flatten(1).gather(1, places), places // vocab_size, places % vocab_size


def beam_is_over(
    scores: Float[Tensor, "batch beam"], hopes: Float[Tensor, "batch beam"], ended: Bool[Tensor, "batch beam"]
) -> bool:
    """Return whether in no sentence a beginning can become better than the best answer: none hopes for more.

    The `hopes` are the highest scores that beginnings can come to. Built in chapter 11.
    """
    best = scores.masked_fill(~ended, -torch.inf).amax(dim=1)  # (batch,)
    return bool((best >= hopes.masked_fill(ended, -torch.inf).amax(dim=1)).all())


def rank_hypotheses(
    ids: Int[Tensor, "batch beam tgt_len"],
    log_probs: Float[Tensor, "batch beam"],
    scores: Float[Tensor, "batch beam"],
    ended: Bool[Tensor, "batch beam"],
    pad_id: int,
) -> Hypotheses:
    """Put what has ended first, the best before the others; where there is no answer, padding. Built in chapter 11."""
    order = scores.masked_fill(~ended, -torch.inf).argsort(dim=1, descending=True, stable=True)  # (batch, beam)
    ids, log_probs = ids.take_along_dim(order.unsqueeze(-1), dim=1), log_probs.gather(1, order)
    ids = ids.masked_fill(log_probs.isinf().unsqueeze(-1), pad_id)
    return Hypotheses(ids, log_probs, scores.gather(1, order))


@torch.no_grad()
def beam_hypotheses(
    model: Transformer,
    src_ids: Int[Tensor, "batch src_len"],
    *,
    beam_size: int,
    length_penalty: float = 0.6,
    max_new_tokens: int,
    use_cache: bool = True,
) -> Hypotheses:
    """Search for the likeliest answers to a batch, following `beam_size` beginnings of each.

    Every step extends all beginnings by all tokens and keeps the likeliest `beam_size`. One that takes EOS is an
    answer: it keeps its place, so that fewer beginnings are followed from then on. A sentence's search is over when
    no beginning can become better than its best answer. Source: Sutskever, Vinyals and Le, "Sequence to Sequence
    Learning with Neural Networks", 2014, section 3.2; paper: section 6.1. Built in chapter 11.

    Args:
        model: the `Transformer`.
        src_ids: the sources, padded.
        beam_size: beginnings to follow; 1 is `greedy_decode`.
        length_penalty: `alpha` of `gnmt_penalty`, by which answers of different lengths are compared.
        max_new_tokens: the longest answer, EOS included.
        use_cache: keep keys and values from step to step; the answers are the same without, only slower.

    Raises:
        ValueError: if a setting is out of range; the message names it.
    """
    check_room(model, max_new_tokens)
    check_whole(1, beam_size=beam_size)
    check_number(length_penalty=length_penalty, zero=True)
    config = model.config
    with evaluating(model):
        memory, memory_mask = model.encode(src_ids)
        memory = memory.repeat_interleave(beam_size, dim=0)  # (batch * beam, src_len, d_model)
        memory_mask = memory_mask.repeat_interleave(beam_size, dim=0)
        cache = model.new_cache(max_new_tokens) if use_cache else None
        ids = src_ids.new_full((memory.size(0), 1), config.bos_id)  # (batch * beam, 1)
        first_rows = torch.arange(0, memory.size(0), beam_size, device=ids.device).unsqueeze(1)  # (batch, 1)
        log_probs = memory.new_full((src_ids.size(0), beam_size), -torch.inf)  # minus infinity: nothing here yet
        log_probs[:, 0] = 0.0  # one beginning, the empty one
        scores, ended = log_probs, torch.zeros_like(log_probs, dtype=torch.bool)
        for _ in range(max_new_tokens):
            steps = next_log_probs(model, ids, memory, memory_mask, cache).unflatten(0, ended.shape)
            log_probs, parents, tokens = beam_step(log_probs, ended, steps, config.pad_id)  # (batch, beam) each
            rows = (first_rows + parents).flatten()  # each row goes on from its parent's
            ids = torch.cat([ids[rows], tokens.view(-1, 1)], dim=1)  # (batch * beam, tgt_len)
            if cache is not None:
                cache.select(rows)
            ended = (ended.gather(1, parents) | (tokens == config.eos_id)) & log_probs.isfinite()
            lengths = (ids[:, 1:] != config.pad_id).sum(dim=1).view_as(ended)
            scores = log_probs / gnmt_penalty(lengths.to(log_probs.dtype), length_penalty)
            hopes = log_probs / gnmt_penalty(max_new_tokens, length_penalty)
            if beam_is_over(scores, hopes, ended):
                break
    answers = ids[:, 1:].unflatten(0, ended.shape)  # (batch, beam, tgt_len)
    return rank_hypotheses(answers, log_probs, scores, ended, config.pad_id)


def beam_search(
    model: Transformer,
    src_ids: Int[Tensor, "batch src_len"],
    *,
    beam_size: int,
    length_penalty: float = 0.6,
    max_new_tokens: int,
    use_cache: bool = True,
) -> Int[Tensor, "batch tgt_len"]:
    """Translate a batch, each sentence by the best of its `beam_hypotheses`.

    Returns:
        The answers without BOS, as wide as the longest.

    Raises:
        ValueError: if a setting is out of range; the message names it.
    """
    hypotheses = beam_hypotheses(
        model,
        src_ids,
        beam_size=beam_size,
        length_penalty=length_penalty,
        max_new_tokens=max_new_tokens,
        use_cache=use_cache,
    )
    best = hypotheses.ids[:, 0]  # (batch, tgt_len)
    length = int((best != model.config.pad_id).sum(dim=1).max()) if len(best) else 1  # as of greedy_decode
    return best[:, :length]
