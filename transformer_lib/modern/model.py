"""A decoder-only language model of old and new parts; with its defaults, a Llama (chapters 16 and 17)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from transformer_lib._checks import check_ids, check_number, check_share, check_whole, shown
from transformer_lib.config import ACTIVATIONS
from transformer_lib.layers import FeedForward, LayerNorm
from transformer_lib.modern.attention import GroupedQueryAttention, RollingCache
from transformer_lib.modern.experts import MixtureOfExperts
from transformer_lib.modern.layers import RMSNorm, SwiGLU
from transformer_lib.modern.positions import alibi_bias, window_mask
from transformer_lib.positions import PositionalEncoding

CHOICES = {
    "norm": ("rms", "layer"),
    "feed_forward": ("swiglu", *ACTIVATIONS),
    "positions": ("rotary", "alibi", "sinusoidal", "learned", "none"),
}


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """All sizes and choices of a `DecoderModel`. The defaults are Llama's parts, in a small model.

    Args:
        vocab_size: number of tokens.
        d_model: width of the tokens.
        n_heads: heads of queries; must divide `d_model`.
        n_kv_heads: heads of keys and values; must divide `n_heads`.
        n_layers: number of layers.
        d_ff: inner width of the feed-forward networks, of each expert.
        max_len: places in the table of positions, if there is one (`sinusoidal`, `learned`).
        dropout: share dropped in training, in every layer: of attention's weights, inner features, what is added.
        norm: `rms` or `layer`.
        feed_forward: `swiglu`, or the network of 2017 with `relu`, `gelu`, `gelu_tanh` (GPT-2's) or `silu`.
        positions: `rotary`, `alibi`, `sinusoidal`, `learned` or `none`.
        rotary_base: the slowness of rotary clocks, Llama's `rope_theta`.
        bias: whether the projections of attention have a bias, as in 2017.
        qk_norm: normalise queries and keys.
        window: how many positions a token sees, itself included; `None` for all.
        n_experts: 0 for a plain feed-forward network, else a mixture of `SwiGLU` networks.
        top_k: experts that a token passes through.
        capacity: room in an expert, as a multiple of an even share; `None` for no limit.
        tie_embeddings: use the embedding as output layer too.
        eps: added under the root of the norms.
        pad_id: id of the padding token.
        eos_id: id that ends a text.

    Raises:
        ValueError: if a value does not fit; the message names it.
    """

    vocab_size: int
    d_model: int = 64
    n_heads: int = 4
    n_kv_heads: int = 2
    n_layers: int = 2
    d_ff: int = 172
    max_len: int = 64
    dropout: float = 0.0
    norm: str = "rms"
    feed_forward: str = "swiglu"
    positions: str = "rotary"
    rotary_base: float = 10000.0
    bias: bool = False
    qk_norm: bool = False
    window: int | None = None
    n_experts: int = 0
    top_k: int = 1
    capacity: float | None = None
    tie_embeddings: bool = False
    eps: float = 1e-6
    pad_id: int = 0
    eos_id: int = 2

    def __post_init__(self) -> None:
        names = ("vocab_size", "d_model", "n_heads", "n_kv_heads", "n_layers", "d_ff", "max_len", "top_k")
        check_whole(1, **{name: getattr(self, name) for name in names})
        check_whole(0, n_experts=self.n_experts, pad_id=self.pad_id, eos_id=self.eos_id)
        check_share(dropout=self.dropout)
        check_number(rotary_base=self.rotary_base, eps=self.eps)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {shown(getattr(self, name))}")
        for name in ("bias", "qk_norm", "tie_embeddings"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {shown(getattr(self, name))}")
        for whole, part in (("d_model", "n_heads"), ("n_heads", "n_kv_heads")):
            if (n := getattr(self, whole)) % (m := getattr(self, part)) != 0:
                raise ValueError(f"{whole} ({n}) must be divisible by {part} ({m})")
        turned = {"rotary": self.d_model // self.n_heads, "sinusoidal": self.d_model}.get(self.positions, 0)
        if turned % 2 != 0:
            raise ValueError(f"{self.positions} positions need an even width, got {turned}")
        if self.window is not None:
            check_whole(1, window=self.window)
        if self.capacity is not None:
            check_number(capacity=self.capacity)
        if self.n_experts and self.feed_forward != "swiglu":
            raise ValueError(f"experts are swiglu networks, got feed_forward={shown(self.feed_forward)}")
        if self.n_experts and self.top_k > self.n_experts:
            raise ValueError(f"top_k ({self.top_k}) must be at most n_experts ({self.n_experts})")
        for name, i in {"pad_id": self.pad_id, "eos_id": self.eos_id}.items():
            if i >= self.vocab_size:
                raise ValueError(f"{name} ({i}) is outside the vocabulary of {self.vocab_size} tokens")


class DecoderBlock(nn.Module):
    """One layer, pre-norm, of the parts its config names. Built in chapter 17. Counterpart: `LlamaDecoderLayer`."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        sizes = (config.d_model, config.n_heads, config.n_kv_heads, config.dropout)
        base = config.rotary_base if config.positions == "rotary" else None
        self.self_attn = GroupedQueryAttention(
            *sizes, bias=config.bias, qk_norm=config.qk_norm, rotary_base=base, eps=config.eps
        )
        if config.n_experts:
            experts = (config.n_experts, config.top_k, config.capacity)
            self.feed_forward = MixtureOfExperts(config.d_model, config.d_ff, *experts, config.dropout)
        elif config.feed_forward == "swiglu":
            self.feed_forward = SwiGLU(config.d_model, config.d_ff, config.dropout)
        else:
            bend = ACTIVATIONS[config.feed_forward]
            self.feed_forward = FeedForward(config.d_model, config.d_ff, config.dropout, bend)
        self.self_attn_norm, self.feed_forward_norm = new_norm(config), new_norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "batch seq d_model"], mask: Tensor | None = None, cache: RollingCache | None = None
    ) -> Float[Tensor, "batch seq d_model"]:
        """Return the tokens, each changed by its past."""
        x = x + self.dropout(self.self_attn(self.self_attn_norm(x), mask, cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class DecoderModel(nn.Module):
    """A decoder-only language model: token ids in, logits of the next token out, at every place.

    Built in chapter 17. Counterpart: `LlamaForCausalLM`. Source of the whole: Touvron et al., "LLaMA", 2023, section
    2.2; of the idea, Radford et al., 2018. Embedded tokens are not scaled, as the `TokenEmbedding` of 2017 scales them.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "sinusoidal":
            self.positions = PositionalEncoding(config.d_model, config.max_len)
        if config.positions == "learned":
            self.positions = nn.Embedding(config.max_len, config.d_model)
            nn.init.normal_(self.positions.weight, std=0.4)
        self.layers = nn.ModuleList(DecoderBlock(config) for _ in range(config.n_layers))
        self.norm = new_norm(config)
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=False)
        nn.init.normal_(self.output.weight, std=0.4 * config.d_model**-0.5)  # so that the untrained model knows nothing
        nn.init.normal_(self.embedding.weight, std=0.4)  # of the size of the table of positions
        if config.tie_embeddings:
            self.embedding.weight = self.output.weight

    def forward(
        self, ids: Int[Tensor, "batch seq"], caches: list[RollingCache] | None = None
    ) -> Float[Tensor, "batch seq vocab"]:
        """Return the logits of the token that comes next, at every place.

        With caches, from `new_caches`, which grow with every call, `ids` are only the new tokens. Padding comes last.

        Raises:
            ValueError: if `ids` is not (batch, seq) of whole numbers, or a text is longer than the table of positions.
        """
        check_ids("ids", ids)
        config, new = self.config, ids.size(1)
        offset = 0 if caches is None else caches[0].length
        past = 0 if caches is None or caches[0].held is None else caches[0].held.size(3)  # less, behind a window
        x = self.embedding(ids)  # (batch, seq, d_model)
        if config.positions == "sinusoidal":
            x = self.positions(x, offset)
        if config.positions == "learned":
            if offset + new > config.max_len:
                raise ValueError(f"a text of {offset + new} tokens exceeds max_len={config.max_len}; raise max_len")
            x = x + self.positions(torch.arange(offset, offset + new, device=ids.device))
        mask = window_mask(new, past + new, config.window).to(ids.device)  # (seq, past + seq)
        if config.positions == "alibi":
            bias = alibi_bias(config.n_heads, new, past + new).to(x)  # (heads, seq, past + seq)
            mask = bias.masked_fill(~mask, -torch.inf)
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x = layer(x, mask, cache)
        return self.output(self.norm(x))  # (batch, seq, vocab)

    def new_caches(self) -> list[RollingCache]:
        """Return an empty cache for every layer."""
        return [RollingCache(self.config.window) for _ in self.layers]


def new_norm(config: DecoderConfig) -> nn.Module:
    """The norm that a config names."""
    return RMSNorm(config.d_model, config.eps) if config.norm == "rms" else LayerNorm(config.d_model, config.eps)
