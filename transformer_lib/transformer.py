"""The whole Transformer: token ids in, logits out (chapter 9)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from transformer_lib import _files
from transformer_lib._checks import check_ids, check_mask
from transformer_lib.cache import DecoderCache
from transformer_lib.config import ACTIVATIONS, TransformerConfig
from transformer_lib.decoder import Decoder
from transformer_lib.encoder import Encoder
from transformer_lib.layers import TokenEmbedding
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.positions import PositionalEncoding


class Transformer(nn.Module):
    """The encoder-decoder of "Attention Is All You Need".

    Paper: section 3 and figure 1. Built in chapter 9. Counterpart: `torch.nn.Transformer`, which
    leaves embeddings, positions, masks and the output layer to you.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.d_model, config.n_heads, config.d_ff)
        options = (config.dropout, config.norm_first, ACTIVATIONS[config.activation])
        self.src_embedding = TokenEmbedding(config.src_vocab_size, config.d_model)
        self.tgt_embedding = (
            self.src_embedding if config.share_vocab else TokenEmbedding(config.tgt_vocab_size, config.d_model)
        )
        self.positions = PositionalEncoding(config.d_model, config.max_len, config.dropout)
        self.encoder = Encoder(config.n_encoder_layers, *sizes, *options)
        self.decoder = Decoder(config.n_decoder_layers, *sizes, *options)
        self.output = nn.Linear(config.d_model, config.tgt_vocab_size)
        nn.init.normal_(self.output.weight, std=0.4 * config.d_model**-0.5)  # the start of TokenEmbedding
        nn.init.zeros_(self.output.bias)
        if config.tie_embeddings:
            self.output.weight = self.tgt_embedding.weight

    def encode(
        self, src_ids: Int[Tensor, "batch src_len"]
    ) -> tuple[Float[Tensor, "batch src_len d_model"], Bool[Tensor, "batch 1 1 src_len"]]:
        """Read the source: return the memory and the mask that hides its padding."""
        check_ids("src_ids", src_ids)
        memory_mask = padding_mask(src_ids, self.config.pad_id)
        x = self.positions(self.src_embedding(src_ids))  # (batch, src_len, d_model)
        return self.encoder(x, memory_mask), memory_mask

    def decode(
        self,
        tgt_ids: Int[Tensor, "batch tgt_len"],
        memory: Float[Tensor, "batch src_len d_model"],
        memory_mask: Bool[Tensor, "batch 1 1 src_len"],
        cache: DecoderCache | None = None,
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Return, at every target position, the logits of the token that comes next.

        The target begins with `bos_id`; with a cache, from `new_cache`, which grows with every call, it is only the new
        tokens. It needs no padding mask: its padding comes last, and no real query looks ahead.
        """
        check_ids("tgt_ids", tgt_ids)
        if memory.size(0) != tgt_ids.size(0):
            raise ValueError(
                f"tgt_ids and memory must have the same batch size, got {tgt_ids.size(0)} and {memory.size(0)}"
            )
        # Before anything is put into the cache, which a call that fails half-way would spoil.
        check_mask(memory_mask, (memory.size(0), self.config.n_heads, tgt_ids.size(1), memory.size(1)))
        offset = 0 if cache is None else cache.length
        tgt_len = tgt_ids.size(1)
        tgt_mask = causal_mask(tgt_len, offset + tgt_len, device=tgt_ids.device)
        x = self.positions(self.tgt_embedding(tgt_ids), offset)  # (batch, tgt_len, d_model)
        return self.output(self.decoder(x, memory, tgt_mask, memory_mask, cache))  # (batch, tgt_len, vocab)

    def forward(
        self, src_ids: Int[Tensor, "batch src_len"], tgt_ids: Int[Tensor, "batch tgt_len"]
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Return the logits at every target position, given source and target (teacher forcing)."""
        memory, memory_mask = self.encode(src_ids)
        return self.decode(tgt_ids, memory, memory_mask)

    def new_cache(self, max_len: int | None = None) -> DecoderCache:
        """Return an empty cache for one batch of sources, with room for `max_len` target tokens."""
        return DecoderCache(self.config.n_decoder_layers, max_len or self.config.max_len)

    def save(self, path: str | Path) -> None:
        """Write config and weights to one file; an old file is replaced only when the new one is whole.

        The weights keep their type: `model.half().save(path)` makes a file of half the size.

        Raises:
            ValueError: if the weights are not those of a plain `Transformer`: an adapter must be merged first.
        """
        _files.write_model(path, self, Transformer)

    @classmethod
    def load(cls, path: str | Path) -> "Transformer":
        """Read a model written by `save`, without running code: onto the CPU, in torch's default type, to evaluate.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or was not written by `save`.
        """
        return _files.read_model(path, cls, TransformerConfig)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while; every module goes back to the mode it was in.

    A model that several threads decode with at once must be in evaluation mode already: the first to end would switch
    dropout on again.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
