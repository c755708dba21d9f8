"""A test that cannot fail proves nothing: every mistake injected here must be caught by the check named beside it.

The first seven are those that a loose tolerance or small weights let through; the others shipped in real projects.
"""

import math
from collections.abc import Callable, Iterator

import conformance
import pytest
import torch
import torch.nn.functional as F
from helpers import D_MODEL, HEADS, source_ids, target_ids, tiny_config, vectors
from torch import Tensor

from transformer_lib import (
    Decoder,
    Encoder,
    FeedForward,
    LayerNorm,
    MultiHeadAttention,
    PositionalEncoding,
    SublayerConnection,
    TokenEmbedding,
    Transformer,
    attention,
    laws,
    layers,
    masks,
    positions,
    transformer,
)

Patch = pytest.MonkeyPatch


def eps_too_small(patch: Patch) -> None:
    init = LayerNorm.__init__
    patch.setattr(LayerNorm, "__init__", lambda self, d_model, eps=1e-5: init(self, d_model, 1e-6))


def tanh_gelu(patch: Patch) -> None:
    bend = lambda x: F.gelu(x, approximate="tanh")  # noqa: E731

    def forward(self: FeedForward, x: Tensor) -> Tensor:
        return self.fc2(self.dropout((bend if self.activation is F.gelu else self.activation)(self.fc1(x))))

    patch.setattr(FeedForward, "forward", forward)


def unbiased_std(patch: Patch) -> None:
    def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps) * weight + bias

    patch.setattr(layers, "layer_norm", norm)
    patch.setattr(LayerNorm, "forward", lambda self, x: norm(x, self.weight, self.bias, self.eps))


def _scale(patch: Patch, factor: Callable[[Tensor], float]) -> None:
    formula = attention.scaled_dot_product_attention

    def scaled(query: Tensor, *rest, **options) -> tuple[Tensor, Tensor]:
        return formula(query * factor(query), *rest, **options)

    def attend(self: MultiHeadAttention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(q * factor(q), k, v, attn_mask=mask)

    patch.setattr(attention, "scaled_dot_product_attention", scaled)
    patch.setattr(MultiHeadAttention, "attend", attend)


def no_scale(patch: Patch) -> None:
    _scale(patch, lambda query: math.sqrt(query.size(-1)))


def scale_by_d_model(patch: Patch) -> None:
    _scale(patch, lambda query: math.sqrt(query.size(-1) / D_MODEL))


def _causal(patch: Patch, mask: Callable[[int, int], Tensor]) -> None:
    def causal_mask(q_len: int, kv_len: int | None = None, *, device=None) -> Tensor:
        return mask(q_len, q_len if kv_len is None else kv_len)

    patch.setattr(masks, "causal_mask", causal_mask)
    patch.setattr(transformer, "causal_mask", causal_mask)


def causal_mask_leaks_one_token(patch: Patch) -> None:
    _causal(patch, lambda q, kv: torch.ones(q, kv, dtype=torch.bool).tril(kv - q + 1))


def heads_split_without_transpose(patch: Patch) -> None:
    split = lambda self, x: x.reshape(x.size(0), self.n_heads, x.size(1), -1)  # noqa: E731
    patch.setattr(MultiHeadAttention, "split_heads", split)


def causal_mask_aligned_top_left(patch: Patch) -> None:
    _causal(patch, lambda q, kv: torch.ones(q, kv, dtype=torch.bool).tril())


def causal_mask_inverted(patch: Patch) -> None:
    _causal(patch, lambda q, kv: ~torch.ones(q, kv, dtype=torch.bool).tril(kv - q))


def padding_mask_inverted(patch: Patch) -> None:
    for place in (masks, transformer):
        patch.setattr(place, "padding_mask", lambda ids, pad_id: (ids == pad_id)[:, None, None, :])


def padding_mask_on_queries(patch: Patch) -> None:
    for place in (masks, transformer):
        patch.setattr(place, "padding_mask", lambda ids, pad_id: (ids != pad_id)[:, None, :, None])


def dead_rows_average_the_padding(patch: Patch) -> None:
    def formula(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0) -> tuple:
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
        weights = (scores if mask is None else scores.masked_fill(~mask, -1e9)).softmax(-1)
        return weights @ value, weights

    patch.setattr(attention, "scaled_dot_product_attention", formula)


def dead_rows_are_nan(patch: Patch) -> None:
    def formula(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0) -> tuple:
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
        weights = (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(-1)
        return weights @ value, weights

    patch.setattr(attention, "scaled_dot_product_attention", formula)


def every_step_is_position_0(patch: Patch) -> None:
    forward = PositionalEncoding.forward
    patch.setattr(PositionalEncoding, "forward", lambda self, x, offset=0: forward(self, x))


def sines_before_cosines(patch: Patch) -> None:
    correct = positions.sinusoidal_encoding

    def halves(max_len: int, d_model: int) -> Tensor:
        encoding = correct(max_len, d_model)
        return torch.cat([encoding[:, 0::2], encoding[:, 1::2]], dim=1)

    patch.setattr(positions, "sinusoidal_encoding", halves)


def exponent_counts_features(patch: Patch) -> None:
    def encoding(max_len: int, d_model: int) -> Tensor:
        angle = torch.outer(torch.arange(max_len).double(), 10000 ** (-2 * torch.arange(0, d_model, 2) / d_model))
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).to(torch.get_default_dtype())

    patch.setattr(positions, "sinusoidal_encoding", encoding)


def embedding_not_scaled(patch: Patch) -> None:
    patch.setattr(TokenEmbedding, "forward", lambda self, ids: F.embedding(ids, self.weight))


def residual_forgotten(patch: Patch) -> None:
    patch.setattr(SublayerConnection, "forward", lambda self, x, sublayer: self.norm(sublayer(x)))


def final_norm_forgotten(patch: Patch) -> None:
    def forward(self: Encoder, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return x

    patch.setattr(Encoder, "forward", forward)


def cross_attention_under_the_causal_mask(patch: Patch) -> None:
    forward = Decoder.forward

    def crossed(self: Decoder, x: Tensor, memory: Tensor, tgt_mask: Tensor, memory_mask: Tensor, cache=None) -> Tensor:
        seen = torch.ones(x.size(1), memory.size(1), dtype=torch.bool).tril()
        return forward(self, x, memory, tgt_mask, seen, cache)

    patch.setattr(Decoder, "forward", crossed)


def one_layer_used_twice(patch: Patch) -> None:
    init = Encoder.__init__

    def shared(self: Encoder, n_layers: int, *rest, **options) -> None:
        init(self, n_layers, *rest, **options)
        for i in range(1, n_layers):
            self.layers[i] = self.layers[0]

    patch.setattr(Encoder, "__init__", shared)


def output_not_tied(patch: Patch) -> None:
    init = Transformer.__init__

    def untied(self: Transformer, config) -> None:
        init(self, config)
        self.output.weight = torch.nn.Parameter(self.output.weight.detach().flip(0))

    patch.setattr(Transformer, "__init__", untied)


def dropout_stays_in_evaluation(patch: Patch) -> None:
    def attend(self: MultiHeadAttention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout)

    patch.setattr(MultiHeadAttention, "attend", attend)


def causality() -> None:
    model, src, tgt = Transformer(tiny_config()), source_ids(), target_ids()
    laws.causality(lambda tgt: model(src, tgt), tgt, (tgt + 1) % 37).require()


def padding_invariance() -> None:
    model, src = Transformer(tiny_config()), source_ids()
    mask = transformer.padding_mask(src, 0)
    x, other = vectors(src.size(1), src.size(1))
    laws.padding_invariance(lambda x: model.encoder(x, mask), x, other, src != 0).require()


def cache_equals_full() -> None:
    laws.cache_equals_full(Transformer(tiny_config()), source_ids(), target_ids()).require()


def evaluation_is_deterministic() -> None:
    attention = MultiHeadAttention(D_MODEL, HEADS, dropout=0.5).eval()
    (x,) = vectors(5)
    assert torch.equal(attention(x, x, x), attention(x, x, x))


def tied_weights_are_one() -> None:
    model = Transformer(tiny_config(tie_embeddings=True))
    assert model.output.weight is model.tgt_embedding.weight


c = conformance
CAUGHT_BY = [
    (eps_too_small, c.check_layer_norm),
    (eps_too_small, lambda: c.check_stacks(norm_first=True)),
    (tanh_gelu, c.check_feed_forward),
    (tanh_gelu, lambda: c.check_encoder_layer(activation="gelu")),
    (unbiased_std, c.check_layer_norm),
    (unbiased_std, c.check_encoder_layer),
    (no_scale, c.check_formula),
    (no_scale, c.check_multi_head),
    (no_scale, c.check_decoder_layer),
    (scale_by_d_model, c.check_formula),
    (scale_by_d_model, c.check_multi_head),
    (causal_mask_leaks_one_token, c.check_masks),
    (causal_mask_leaks_one_token, c.check_decoder_layer),
    (causal_mask_leaks_one_token, c.check_transformer),
    (causal_mask_leaks_one_token, causality),
    (heads_split_without_transpose, c.check_multi_head),
    (heads_split_without_transpose, c.check_encoder_layer),
    (heads_split_without_transpose, causality),
    (causal_mask_aligned_top_left, c.check_masks),
    (causal_mask_aligned_top_left, cache_equals_full),
    (causal_mask_inverted, causality),
    (causal_mask_inverted, c.check_transformer),
    (padding_mask_inverted, c.check_masks),
    (padding_mask_inverted, padding_invariance),
    (padding_mask_on_queries, padding_invariance),
    (dead_rows_average_the_padding, c.check_formula),
    (dead_rows_are_nan, c.check_formula),
    (every_step_is_position_0, c.check_sinusoids),
    (every_step_is_position_0, cache_equals_full),
    (sines_before_cosines, c.check_sinusoids),
    (sines_before_cosines, c.check_transformer),
    (exponent_counts_features, c.check_sinusoids),
    (embedding_not_scaled, c.check_embedding),
    (embedding_not_scaled, c.check_transformer),
    (residual_forgotten, c.check_residual),
    (final_norm_forgotten, lambda: c.check_stacks(norm_first=True)),
    (cross_attention_under_the_causal_mask, c.check_transformer),
    (one_layer_used_twice, c.check_stacks),
    (output_not_tied, tied_weights_are_one),
    (dropout_stays_in_evaluation, evaluation_is_deterministic),
]


def _names() -> Iterator[str]:
    for i, (mistake, check) in enumerate(CAUGHT_BY):
        yield f"{i}-{mistake.__name__}-{check.__name__}"


@pytest.mark.parametrize(("mistake", "check"), CAUGHT_BY, ids=_names())
def test_the_mistake_is_caught(mistake: Callable, check: Callable, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        mistake(patch)
        torch.manual_seed(0)
        with pytest.raises(AssertionError):
            check()
    torch.manual_seed(0)
    check()
