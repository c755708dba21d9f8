"""`FastTransformer`: the model of chapter 9, with nothing computed for padding, and little else twice (chapter 14)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from transformer_lib._checks import check_ids
from transformer_lib.attention import MultiHeadAttention
from transformer_lib.cache import DecoderCache
from transformer_lib.config import TransformerConfig
from transformer_lib.fast.attention import FastAttention, PackedMask, Rows
from transformer_lib.fast.kernels import FastDropout, FastLinear
from transformer_lib.loss import token_loss
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.transformer import Transformer

CHUNK = 256  # so many rows of logits at a time
FAST = {MultiHeadAttention: FastAttention, nn.Linear: FastLinear, nn.Dropout: FastDropout}


class FastTransformer(Transformer):
    """A `Transformer` with the same weights under the same names, that computes the same numbers in less time.

    At padding, and after EOS, where nothing comes, its logits are zero. Take it wherever a `Transformer` is taken:
    `Trainer`, `greedy_decode`, `beam_search`; the checkpoints of each can be loaded by the other. How many tokens are
    real is seen only in the data, so what computes without looking at them, such as `torch.func.vmap`, wants the
    plain model: `Transformer(config)` with the same state dict.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        for module in self.modules():  # weights stay where they are
            module.__class__ = FAST.get(type(module), type(module))

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
        """Return the logits, as `Transformer.decode` does; one new token may see all its past and needs no mask."""
        if cache is None or tgt_ids.size(1) != 1:
            return super().decode(tgt_ids, memory, memory_mask, cache)
        x = self.positions(self.tgt_embedding(tgt_ids), cache.length)  # (batch, 1, d_model)
        return self.output(self.decoder(x, memory, None, memory_mask, cache))

    def forward(
        self, src_ids: Int[Tensor, "batch src_len"], tgt_ids: Int[Tensor, "batch tgt_len"]
    ) -> Float[Tensor, "batch tgt_len vocab"]:
        """Return the logits of every real target position, given source and target (teacher forcing)."""
        check_ids("tgt_ids", tgt_ids)
        real = (tgt_ids != self.config.pad_id) & (tgt_ids != self.config.eos_id)  # (batch, tgt_len)
        real[:, :1] = True  # BOS may be the padding token
        x, rows = self._decode(src_ids, tgt_ids, real)
        return rows.spread(self.output(x))

    def loss(
        self, src_ids: Int[Tensor, "batch src_len"], tgt_ids: Int[Tensor, "batch tgt_len"], smoothing: float = 0.0
    ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """Return what `token_loss` makes of the logits, without logits of padding, and without all at one time."""
        check_ids("tgt_ids", tgt_ids)
        real = tgt_ids[:, 1:] != self.config.pad_id  # (batch, tgt_len - 1)
        x, rows = self._decode(src_ids, tgt_ids[:, :-1], real)
        wanted = tgt_ids[:, 1:].flatten()[rows.index]  # (n_real,)
        if not self._fuses_loss(x, smoothing):
            logits = self.output(x)  # (1, n_real, vocab)
            return token_loss(logits, wanted.unsqueeze(0), pad_id=self.config.pad_id, smoothing=smoothing)
        x, weight, bias, pad_id = x[0], self.output.weight, self.output.bias, self.config.pad_id
        options = nn.LinearCrossEntropyOptions(batch_chunk_size=CHUNK)
        total = F.linear_cross_entropy(
            x, weight, wanted, linear_bias=bias, ignore_index=pad_id, reduction="sum", options=options
        )
        if smoothing != 0.0:
            # The loss is linear in what is asked for, and a sum of logits is one product with the sum of their rows.
            share = smoothing / (weight.size(0) - 2)
            right = (x * weight[wanted]).sum() + bias[wanted].sum()
            others = x.sum(dim=0) @ (weight.sum(dim=0) - weight[pad_id]) + x.size(0) * (bias.sum() - bias[pad_id])
            total = total + (smoothing + share) * right - share * others
        return total, real.sum()

    def _fuses_loss(self, x: Tensor, smoothing: float) -> bool:
        """Whether torch can go from `x` to the loss in one step, with the same result as through the output layer.

        It is newer than the oldest torch that the library runs on, and sums in the type of `x`. It does not call the
        output layer: an adapter, a hook or another layer in its place would not be heard. And what `token_loss` has
        to refuse, goes there.
        """
        if not hasattr(F, "linear_cross_entropy"):
            return False
        output = self.output
        plain = type(output) in (nn.Linear, FastLinear) and output.bias is not None and "forward" not in vars(output)
        hooks = (vars(output)[f"_{name}_hooks"] for name in ("forward", "forward_pre", "backward", "backward_pre"))
        heard = any(hooks) or nn.modules.module._has_any_global_hook()
        fits = x.dtype in (torch.float32, torch.float64) and 0.0 <= smoothing < 1.0
        return plain and not heard and fits

    def _decode(self, src_ids: Tensor, tgt_ids: Tensor, real: Tensor) -> tuple[Tensor, Rows]:
        """Return the decoder's packed output, `(1, n_real, d_model)`, and where it belongs."""
        memory, src_rows, memory_mask = self._encode(src_ids)
        rows = Rows(real)
        mask = PackedMask(causal_mask(tgt_ids.size(1), device=tgt_ids.device), rows, rows)
        x = rows.pack(self.positions(self.tgt_embedding(tgt_ids)))
        return self.decoder(x, memory, mask, PackedMask(memory_mask, rows, src_rows)), rows

    def _encode(self, src_ids: Tensor) -> tuple[Tensor, Rows, Tensor]:
        """Return the packed memory, where it came from, and the mask that hides padding."""
        check_ids("src_ids", src_ids)
        mask = padding_mask(src_ids, self.config.pad_id)  # (batch, 1, 1, src_len)
        rows = Rows(mask[:, 0, 0])
        x = rows.pack(self.positions(self.src_embedding(src_ids)))  # (1, n_src, d_model)
        return self.encoder(x, PackedMask(mask, rows, rows)), rows, mask
