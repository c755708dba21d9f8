"""The same Transformer, made fast: nothing is computed for padding, and little else twice (chapter 14).

Linear maps, norms and dropout treat every token on its own. So the real tokens of a batch can lie in one row, sentence
behind sentence, and only attention, which must not mix sentences, spreads them out again.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from transformer_lib._checks import check_ids, check_mask, check_probability, check_token_axes
from transformer_lib.attention import MultiHeadAttention
from transformer_lib.cache import DecoderCache, LayerCache
from transformer_lib.config import TransformerConfig
from transformer_lib.decoder import DecoderLayer
from transformer_lib.encoder import EncoderLayer
from transformer_lib.kernels import attend, quicken
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.transformer import Transformer

CHUNKS = nn.LinearCrossEntropyOptions(batch_chunk_size=256)  # so many rows of logits at a time


class Rows:
    """Where the real tokens of a padded batch are.

    Args:
        real: `True` where a token is real.
    """

    def __init__(self, real: Bool[Tensor, "batch seq"]) -> None:
        check_mask(real, real.shape)
        self.shape = real.shape
        self.index = real.flatten().nonzero().squeeze(1)  # (n_real,)

    def pack(self, x: Float[Tensor, "batch seq width"]) -> Float[Tensor, "1 n_real width"]:
        """Lay the real tokens side by side."""
        return x.flatten(0, 1).index_select(0, self.index).unsqueeze(0)

    def spread(self, x: Float[Tensor, "1 n_real width"]) -> Float[Tensor, "batch seq width"]:
        """Put the tokens back to their places, with zeros where there is padding."""
        padded = x.new_zeros(self.shape.numel(), x.size(-1))
        return padded.index_copy(0, self.index, x[0]).unflatten(0, self.shape)


def packed_attention(
    attention: MultiHeadAttention,
    query: Float[Tensor, "1 n_query d_model"],
    source: Float[Tensor, "1 n_source d_model"],
    query_rows: Rows,
    source_rows: Rows,
    mask: Bool[Tensor, "..."],
) -> Float[Tensor, "1 n_query d_model"]:
    """Run a `MultiHeadAttention` on packed tokens: only its kernel sees the padded shape."""
    q = query_rows.spread(attention.q_proj(query))  # (batch, q_len, d_model)
    k, v = (source_rows.spread(proj(source)) for proj in (attention.k_proj, attention.v_proj))
    heads = attend(attention, *(attention.split_heads(x) for x in (q, k, v)), mask)  # (batch, heads, q_len, d_head)
    return attention.out_proj(query_rows.pack(heads.transpose(1, 2).flatten(2)))


def packed_encoder_layer(layer: EncoderLayer, x: Tensor, rows: Rows, mask: Tensor) -> Tensor:
    """Run an `EncoderLayer` on packed tokens."""
    x = layer.self_attn_residual(x, lambda x: packed_attention(layer.self_attn, x, x, rows, rows, mask))
    return layer.feed_forward_residual(x, layer.feed_forward)


def packed_decoder_layer(
    layer: DecoderLayer, x: Tensor, memory: Tensor, rows: Rows, src_rows: Rows, mask: Tensor, src_mask: Tensor
) -> Tensor:
    """Run a `DecoderLayer` on packed tokens and a packed memory."""
    x = layer.self_attn_residual(x, lambda x: packed_attention(layer.self_attn, x, x, rows, rows, mask))
    x = layer.cross_attn_residual(x, lambda x: packed_attention(layer.cross_attn, x, memory, rows, src_rows, src_mask))
    return layer.feed_forward_residual(x, layer.feed_forward)


def one_step(layer: DecoderLayer, x: Tensor, memory: Tensor, memory_mask: Tensor, cache: LayerCache) -> Tensor:
    """Run a `DecoderLayer` on one new token: no mask over the past, since it may see all of it."""

    def look_back(x: Tensor) -> Tensor:
        return one_query(layer.self_attn, x, *cache.self_attn.update(layer.self_attn, x, x), None)

    def look_across(x: Tensor) -> Tensor:
        return one_query(layer.cross_attn, x, *cache.cross_attn.update(layer.cross_attn, memory, memory), memory_mask)

    x = layer.cross_attn_residual(layer.self_attn_residual(x, look_back), look_across)
    return layer.feed_forward_residual(x, layer.feed_forward)


def one_query(attention: MultiHeadAttention, query: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Run a `MultiHeadAttention` for one query on keys and values that are projected already."""
    heads = attend(attention, attention.split_heads(attention.q_proj(query)), k, v, mask)  # (batch, heads, 1, d_head)
    return attention.out_proj(heads.transpose(1, 2).flatten(2))  # (batch, 1, d_model)


class FastTransformer(Transformer):
    """A `Transformer` with the same weights under the same names, that computes the same numbers in less time.

    At padding, and after EOS, where nothing comes, its logits are zero. Take it wherever a `Transformer` is taken:
    `Trainer`, `greedy_decode`, `beam_search`; the checkpoints of each can be loaded by the other.

    Args:
        config: sizes and choices.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        quicken(self)

    def encode(self, src_ids: Int[Tensor, "batch src_len"]) -> tuple[Tensor, Tensor]:
        """Read the source: return the memory, zero at padding, and the mask that hides its padding."""
        memory, rows, mask = self._encode(src_ids)
        return rows.spread(memory), mask

    def decode(
        self,
        tgt_ids: Int[Tensor, "batch tgt_len"],
        memory: Float[Tensor, "batch src_len d_model"],
        memory_mask: Bool[Tensor, "batch 1 1 src_len"],
        cache: DecoderCache | None = None,
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Return the logits, as `Transformer.decode` does; one new token on top of a cache takes a shorter way."""
        if cache is None or tgt_ids.size(1) != 1 or self.training:
            return super().decode(tgt_ids, memory, memory_mask, cache)
        x = self.positions(self.tgt_embedding(tgt_ids), cache.length)  # (batch, 1, d_model)
        for layer, layer_cache in zip(self.decoder.layers, cache.layers, strict=True):
            x = one_step(layer, x, memory, memory_mask, layer_cache)  # type: ignore[arg-type]
        return self.output(self.decoder.norm(x))

    def forward(
        self, src_ids: Int[Tensor, "batch src_len"], tgt_ids: Int[Tensor, "batch tgt_len"]
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Return the logits of every real target position, given source and target (teacher forcing)."""
        check_token_axes("tgt_ids", tgt_ids)
        real = (tgt_ids != self.config.pad_id) & (tgt_ids != self.config.eos_id)  # (batch, tgt_len)
        real[:, :1] = True  # BOS may be the padding token
        x, rows = self._decode(src_ids, tgt_ids, real)
        return rows.spread(self.output(x))

    def loss(
        self, src_ids: Int[Tensor, "batch src_len"], tgt_ids: Int[Tensor, "batch tgt_len"], smoothing: float = 0.0
    ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """Return what `token_loss` makes of the logits, without logits of padding, and without all at one time.

        Args:
            src_ids: the sources.
            tgt_ids: the targets, from BOS to EOS.
            smoothing: see `token_loss`.
        """
        check_probability("smoothing", smoothing)
        check_token_axes("tgt_ids", tgt_ids)
        check_ids("tgt_ids", tgt_ids, self.config.tgt_vocab_size)
        real = tgt_ids[:, 1:] != self.config.pad_id  # (batch, tgt_len - 1)
        x, rows = self._decode(src_ids, tgt_ids[:, :-1], real)
        wanted = tgt_ids[:, 1:].flatten()[rows.index]  # (n_real,)
        x, weight, bias, pad_id = x[0], self.output.weight, self.output.bias, self.config.pad_id
        total = F.linear_cross_entropy(x, weight, wanted, linear_bias=bias, reduction="sum", options=CHUNKS)
        if smoothing != 0.0:
            if len(weight) < 3:
                raise ValueError(f"smoothing needs a vocabulary of at least 3 tokens, got {len(weight)}")
            # The loss is linear in what is asked for, and a sum of logits is one product with the sum of their rows.
            share = smoothing / (len(weight) - 2)
            right = (x * weight[wanted]).sum() + bias[wanted].sum()
            others = x.sum(dim=0) @ (weight.sum(dim=0) - weight[pad_id]) + len(x) * (bias.sum() - bias[pad_id])
            total = total + (smoothing + share) * right - share * others
        return total, real.sum()

    def _decode(self, src_ids: Tensor, tgt_ids: Tensor, real: Tensor) -> tuple[Tensor, Rows]:
        """Return the decoder's packed output, `(1, n_real, d_model)`, and where it belongs."""
        memory, src_rows, memory_mask = self._encode(src_ids)
        rows = Rows(real)
        mask = causal_mask(tgt_ids.size(1), device=tgt_ids.device)
        x = rows.pack(self.positions(self.tgt_embedding(tgt_ids)))
        for layer in self.decoder.layers:
            x = packed_decoder_layer(layer, x, memory, rows, src_rows, mask, memory_mask)  # type: ignore[arg-type]
        return self.decoder.norm(x), rows

    def _encode(self, src_ids: Tensor) -> tuple[Tensor, Rows, Tensor]:
        """Return the packed memory, where it came from, and the mask that hides padding."""
        check_token_axes("src_ids", src_ids)
        mask = padding_mask(src_ids, self.config.pad_id)  # (batch, 1, 1, src_len)
        rows = Rows(mask[:, 0, 0])
        x = rows.pack(self.positions(self.src_embedding(src_ids)))  # (1, n_src, d_model)
        for layer in self.encoder.layers:
            x = packed_encoder_layer(layer, x, rows, mask)  # type: ignore[arg-type]
        return self.encoder.norm(x), rows, mask
