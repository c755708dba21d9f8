"""A door for Hugging Face's encoder-decoders, so that the laws can be asked of them."""

import inspect
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn


class HuggingFace(nn.Module):
    """Give a Hugging Face encoder-decoder (Marian, BART, T5, ...) the methods that the laws ask for.

    A sketch of its use: `laws.cache_equals_full(laws.HuggingFace(model), src_ids, tgt_ids)`.

    Args:
        model: a `...ForConditionalGeneration` or `MarianMTModel`; its config must name padding, start and end.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        ids = model.config
        self.config = SimpleNamespace(
            pad_id=ids.pad_token_id, bos_id=ids.decoder_start_token_id, eos_id=ids.eos_token_id
        )

    def encode(self, src_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the memory and the mask (1 = real token) that its decoder wants."""
        mask = (src_ids != self.config.pad_id).long()
        return self.model.get_encoder()(input_ids=src_ids, attention_mask=mask).last_hidden_state, mask

    def decode(self, tgt_ids: Tensor, memory: Tensor, memory_mask: Tensor, cache: dict | None = None) -> Tensor:
        """Return the logits; with a cache, `tgt_ids` are the new tokens only."""
        accepted = inspect.signature(self.model.forward).parameters
        name = "cache" if "cache" in accepted else "past_key_values"  # as it was called before transformers 5.24
        past = {name: (cache or {}).get("past"), "use_cache": cache is not None}
        found = self.model(decoder_input_ids=tgt_ids, encoder_outputs=(memory,), attention_mask=memory_mask, **past)
        if cache is not None:
            cache["past"] = found[name]
        return found.logits

    def new_cache(self) -> dict:
        """Return an empty cache; the model fills it in its own way."""
        return {}

    def forward(self, src_ids: Tensor, tgt_ids: Tensor) -> Tensor:
        """Return the logits at every target position."""
        return self.decode(tgt_ids, *self.encode(src_ids))
