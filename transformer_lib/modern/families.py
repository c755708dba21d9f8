"""Half a Transformer: the decoder-only language model and the encoder-only masked model (chapter 16)."""

from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from transformer_lib import _files
from transformer_lib._checks import check_ids, check_whole
from transformer_lib.config import ACTIVATIONS, TransformerConfig
from transformer_lib.encoder import Encoder
from transformer_lib.layers import TokenEmbedding
from transformer_lib.loss import token_loss
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.positions import PositionalEncoding
from transformer_lib.sampling import draw_tokens
from transformer_lib.transformer import evaluating


class LanguageModel(nn.Module):
    """A decoder-only model of the parts of 2017: the encoder's stack, in which no token sees a later one.

    Token ids in, logits of the next token out, at every place. Of the config it reads what an encoder has
    (`src_vocab_size`, `n_encoder_layers`, the sizes and ids). Source: Radford et al., "Improving Language Understanding
    by Generative Pre-Training", 2018, section 3.1. Built in chapter 16. Counterpart: `torch.nn.TransformerEncoder`
    with a causal mask.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (config.d_model, config.n_heads, config.d_ff)
        options = (config.dropout, config.norm_first, ACTIVATIONS[config.activation])
        self.embedding = TokenEmbedding(config.src_vocab_size, config.d_model)
        self.positions = PositionalEncoding(config.d_model, config.max_len, config.dropout)
        self.encoder = Encoder(config.n_encoder_layers, *sizes, *options)
        self.output = nn.Linear(config.d_model, config.src_vocab_size)
        nn.init.normal_(self.output.weight, std=0.4 * config.d_model**-0.5)  # the start of TokenEmbedding
        nn.init.zeros_(self.output.bias)
        if config.tie_embeddings:
            self.output.weight = self.embedding.weight

    def mask(self, ids: Int[Tensor, "batch seq"]) -> Bool[Tensor, "..."]:
        """Who may look at whom: each token at itself and those before it. Padding comes last, where none looks."""
        return causal_mask(ids.size(1), device=ids.device)

    def forward(self, ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq vocab"]:
        """Return logits at every place: here, of the token that comes next.

        Raises:
            ValueError: if `ids` is not (batch, seq) of whole numbers, or longer than `max_len`.
        """
        check_ids("ids", ids)
        x = self.positions(self.embedding(ids))  # (batch, seq, d_model)
        return self.output(self.encoder(x, self.mask(ids)))  # (batch, seq, vocab)

    def loss(
        self, src_ids: Tensor, tgt_ids: Int[Tensor, "batch seq"], smoothing: float = 0.0
    ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """Return the `token_loss` of guessing each next token of texts; a `Trainer` asks for it, and has no source."""
        logits = self(tgt_ids[:, :-1])  # (batch, seq - 1, vocab)
        return token_loss(logits, tgt_ids[:, 1:], pad_id=self.config.pad_id, smoothing=smoothing)

    def save(self, path: str | Path) -> None:
        """Write config and weights to one file, as `Transformer.save` does: an adapter must be merged first."""
        _files.write_model(path, self, LanguageModel)

    @classmethod
    def load(cls, path: str | Path) -> "LanguageModel":
        """Read a model written by `save`, without running code: onto the CPU, in torch's default type, to evaluate.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or was not written by `save`.
        """
        return _files.read_model(path, cls, TransformerConfig)


class MaskedModel(LanguageModel):
    """An encoder-only model: every token sees all that are real; logits of the token that stands at each place itself.

    Source: Devlin et al., "BERT", 2018, section 3.1. Built in chapter 16. Counterpart: `torch.nn.TransformerEncoder`.
    """

    def mask(self, ids: Int[Tensor, "batch seq"]) -> Bool[Tensor, "..."]:
        """Who may look at whom: each token at all that are no padding."""
        return padding_mask(ids, self.config.pad_id)

    def loss(
        self, src_ids: Int[Tensor, "batch seq"], tgt_ids: Int[Tensor, "batch seq"], smoothing: float = 0.0
    ) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
        """Return the `token_loss` of telling what stood at the places of `tgt_ids` that are no padding."""
        return token_loss(self(src_ids), tgt_ids, pad_id=self.config.pad_id, smoothing=smoothing)


@torch.no_grad()
def sample_text(
    model: LanguageModel,
    ids: Int[Tensor, "batch seq"],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "batch new"]:
    """Write on from texts that are equally long, each token by `draw_tokens`; return what was written.

    A text ends with its first EOS; what follows is padding. Padding and BOS are never drawn. Built in chapter 16.

    Raises:
        ValueError: if a setting is out of range, or a text gets longer than `max_len`.
    """
    check_whole(1, max_new_tokens=max_new_tokens)
    config, start = model.config, ids.size(1)
    with evaluating(model):
        ended = torch.zeros_like(ids[:, 0], dtype=torch.bool)
        for _ in range(max_new_tokens):
            logits = model(ids)[:, -1]  # (batch, vocab)
            logits[:, [config.pad_id, config.bos_id]] = -torch.inf
            token = draw_tokens(logits, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
            token = token.masked_fill(ended, config.pad_id)  # (batch,)
            ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
            ended = ended | (token == config.eos_id)
            if ended.all():
                break
    return ids[:, start:]
