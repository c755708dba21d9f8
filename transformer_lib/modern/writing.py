"""Writing on: the likeliest text of a decoder-only model (used in chapters 17 and 18)."""

import torch
from jaxtyping import Int
from torch import Tensor

from transformer_lib._checks import check_whole
from transformer_lib.modern.model import DecoderModel
from transformer_lib.transformer import evaluating


@torch.no_grad()
def complete(
    model: DecoderModel, ids: Int[Tensor, "batch seq"], *, max_new_tokens: int, use_cache: bool = True
) -> Int[Tensor, "batch new"]:
    """Write on from texts that are equally long, taking the likeliest token at every step; return what was written.

    A text ends with its first EOS; what follows is padding. The loop ends when all have ended, or at `max_new_tokens`.
    Without a cache the answer is the same, only slower. Padding is never chosen, unless it is the EOS. Dropout
    is off meanwhile.

    Raises:
        ValueError: if `max_new_tokens` is below 1, or a text gets longer than the table of positions.
    """
    check_whole(1, max_new_tokens=max_new_tokens)
    config, start = model.config, ids.size(1)
    with evaluating(model):
        caches = model.new_caches() if use_cache else None
        ended = torch.zeros_like(ids[:, 0], dtype=torch.bool)
        new_ids = ids
        for _ in range(max_new_tokens):
            logits = model(new_ids, caches)[:, -1]  # (batch, vocab)
            if config.pad_id != config.eos_id:  # GPT-2 pads with its EOS
                logits[:, config.pad_id] = -torch.inf
            token = logits.argmax(dim=-1).masked_fill(ended, config.pad_id)  # (batch,)
            ids = torch.cat([ids, token[:, None]], dim=1)
            new_ids = ids if caches is None else token[:, None]
            ended = ended | (token == config.eos_id)
            if ended.all():
                break
    return ids[:, start:]
