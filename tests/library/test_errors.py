"""Every `ValueError` of the library, by the numbers in its message: a wrong input is told apart from any other."""

import re

import pytest
import torch
from helpers import D_MODEL, HEADS, SRC_LEN, TGT_LEN, source_ids, target_ids, tiny_config, tiny_model
from torch import nn

from transformer_lib import (
    Decoder,
    DecoderCache,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    KVCache,
    LayerNorm,
    MultiHeadAttention,
    PositionalEncoding,
    SimpleSelfAttention,
    SublayerConnection,
    TokenEmbedding,
    TransformerConfig,
    causal_mask,
    padding_mask,
    record_attention,
    scaled_dot_product_attention,
    sinusoidal_encoding,
)
from transformer_lib._checks import check_ids, check_mask

# Called below jaxtyping's checks: these messages are for readers who run without them.
pytestmark = pytest.mark.usefixtures("without_shape_checks")


@pytest.fixture
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch jaxtyping's own checks off, so that the library's guards are what answers."""
    from jaxtyping import config

    monkeypatch.setattr(config, "jaxtyping_disable", True)


def attend(q, k, v, mask=None):
    return scaled_dot_product_attention(q, k, v, mask)


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype)


def allowed(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


X = zeros(2, 5, 8)
HEAD, PAIR, NORM, FF = SimpleSelfAttention(8), MultiHeadAttention(8, 2), LayerNorm(8), FeedForward(8, 3)
PLACE, TOKENS = PositionalEncoding(8, 64), TokenEmbedding(97, 8)
ADD_BATCH = "for a single sequence add a batch axis with"

GUARDS = [
    # sizes and shares
    (lambda: MultiHeadAttention(30, 4), "d_model (30) must be divisible by n_heads (4)"),
    (lambda: MultiHeadAttention(8, 0), "n_heads must be a whole number of at least 1, got 0"),
    (lambda: MultiHeadAttention(8, 2, 1.0), "dropout must be at least 0 and below 1, got 1.0"),
    (lambda: MultiHeadAttention(8, 2, -0.5), "dropout must be at least 0 and below 1, got -0.5"),
    (lambda: MultiHeadAttention(8, 2, float("nan")), "dropout must be at least 0 and below 1, got nan"),
    (lambda: SimpleSelfAttention(0), "d_model must be a whole number of at least 1, got 0"),
    (lambda: SimpleSelfAttention(8.0), "d_model must be a whole number of at least 1, got 8.0"),
    (lambda: SimpleSelfAttention(True), "d_model must be a whole number of at least 1, got True"),
    (lambda: LayerNorm(-3), "d_model must be a whole number of at least 1, got -3"),
    (lambda: LayerNorm(8, eps=0.0), "eps must be above 0, got 0.0"),
    (lambda: FeedForward(8, 0), "d_ff must be a whole number of at least 1, got 0"),
    (lambda: FeedForward(8, 3, 1.5), "dropout must be at least 0 and below 1, got 1.5"),
    (lambda: SublayerConnection(8, 1.0, False), "dropout must be at least 0 and below 1, got 1.0"),
    (lambda: TokenEmbedding(0, 8), "vocab_size must be a whole number of at least 1, got 0"),
    (lambda: Encoder(0, 8, 2, 4), "n_layers must be a whole number of at least 1, got 0"),
    (lambda: Decoder(-1, 8, 2, 4), "n_layers must be a whole number of at least 1, got -1"),
    (lambda: EncoderLayer(30, 4, 8), "d_model (30) must be divisible by n_heads (4)"),
    (lambda: DecoderLayer(8, 2, 4, dropout="none"), "dropout must be at least 0 and below 1, got 'none'"),
    (lambda: sinusoidal_encoding(5, 7), "sinusoidal encoding needs an even d_model, got 7"),
    (lambda: sinusoidal_encoding(0, 8), "max_len must be a whole number of at least 1, got 0"),
    (lambda: PositionalEncoding(9, 5), "sinusoidal encoding needs an even d_model, got 9"),
    (lambda: PositionalEncoding(8, 5, 1.0), "dropout must be at least 0 and below 1, got 1.0"),
    (lambda: KVCache(0), "max_len must be a whole number of at least 1, got 0"),
    (lambda: DecoderCache(0, 5), "n_layers must be a whole number of at least 1, got 0"),
    (lambda: DecoderCache(2, 0), "max_len must be a whole number of at least 1, got 0"),
    # the formula
    (lambda: attend(X[..., :6], X, X), "query and key must share their last dimension, got 6 and 8"),
    (lambda: attend(X, X, X[:, :4]), "key and value must have the same length, got 5 and 4"),
    (lambda: attend(X, X[:1], X[:1]), "with the same leading axes, got (2, 5, 8), (1, 5, 8) and (1, 5, 8)"),
    (lambda: attend(X[0, 0], X[0, 0], X[0, 0]), "(..., seq, d_head) with the same leading axes, got (8,)"),
    (lambda: attend(X.long(), X, X), "query must hold floating-point numbers, got torch.int64"),
    (lambda: attend(X, X, X.int()), "value must hold floating-point numbers, got torch.int32; embed token ids first"),
    (lambda: scaled_dot_product_attention(X, X, X, None, 1.0), "dropout_p must be at least 0 and below 1, got 1.0"),
    # masks
    (
        lambda: attend(X, X, X, zeros(5, 5)),
        "boolean (True = may attend), got torch.float32; from a 0/-inf mask",
    ),
    (lambda: attend(X, X, X, zeros(5, 5, dtype=torch.int64)), "(True = may attend), got torch.int64"),
    (lambda: attend(X, X, X, [[True]]), "mask must be boolean (True = may attend), got list"),
    (lambda: attend(X, X, X, allowed(5, 7)), "(5, 7) does not broadcast to (batch, q_len, kv_len) = (2, 5, 5)"),
    (lambda: attend(X[0], X[0], X[0], allowed(4, 5)), "(4, 5) does not broadcast to (q_len, kv_len) = (5, 5)"),
    (lambda: attend(X, X, X, allowed(5)), "mask needs at least the axes (q_len, kv_len), got shape (5,)"),
    (lambda: PAIR(X, X, X, allowed(())), "mask needs at least the axes (q_len, kv_len), got shape ()"),
    (lambda: PAIR(X, X, X, allowed(5, 6)), "(5, 6) does not broadcast to (batch, heads, q_len, kv_len) = (2, 2, 5, 5)"),
    (lambda: PAIR(X, X, X, allowed(3, 1, 5, 5)), "mask of shape (3, 1, 5, 5) does not broadcast to"),
    (lambda: PAIR(X, X, X, allowed(1, 1, 1, 5, 5)), "mask of shape (1, 1, 1, 5, 5) does not broadcast to"),
    (lambda: PAIR(X, X, X, zeros(5, 5)), "mask must be boolean (True = may attend), got torch.float32"),
    (
        lambda: check_mask(allowed(2, 2), (1, 1, 1, 3, 3)),
        "broadcast to (..., q_len, kv_len) = (1, 1, 1, 3, 3)",
    ),
    (lambda: causal_mask(3, 2), "causal mask needs 0 <= q_len <= kv_len, got q_len=3 and kv_len=2"),
    (lambda: causal_mask(-1), "got q_len=-1 and kv_len=-1"),
    (lambda: padding_mask(zeros(7, dtype=torch.int64), 0), f"ids must have shape (batch, seq), got (7,); {ADD_BATCH}"),
    # the last axis, and the others
    (lambda: HEAD(zeros(2, 5, 24)), "x has shape (2, 5, 24), expected (batch, seq, d_model) with d_model=8"),
    (lambda: HEAD(zeros(8)), "x has shape (8,), expected (batch, seq, d_model) with d_model=8"),
    (lambda: HEAD(X.long()), "x must hold floating-point numbers, got torch.int64; embed token ids first"),
    (lambda: PAIR(zeros(2, 5, 24), X, X), "query has shape (2, 5, 24), expected (batch, seq, d_model) with d_model=8"),
    (lambda: PAIR(X, zeros(2, 5, 24), X), "key has shape (2, 5, 24), expected (batch, seq, d_model) with d_model=8"),
    (lambda: PAIR(X, X, zeros(2, 5, 24)), "value has shape (2, 5, 24), expected (batch, seq, d_model) with d_model=8"),
    (lambda: PAIR(X[0], X[0], X[0]), f"query has shape (5, 8), expected (batch, seq, d_model); {ADD_BATCH} query"),
    (lambda: PAIR(X, X[0], X[0]), f"key has shape (5, 8), expected (batch, seq, d_model); {ADD_BATCH} key"),
    (lambda: PAIR(X, X, X[:, :4]), "key and value must have the same shape, got (2, 5, 8) and (2, 4, 8)"),
    (lambda: PAIR(X, X[:1], X[:1]), "query and key must have the same batch size, got 2 and 1"),
    (lambda: NORM(zeros(2, 6)), "x of shape (2, 6) must have last dimension d_model=8"),
    (lambda: NORM(zeros(())), "x of shape () must have last dimension d_model=8"),
    (lambda: NORM(X.long()), "x must hold floating-point numbers, got torch.int64"),
    (lambda: FF(zeros(2, 5, 6)), "x has shape (2, 5, 6), expected (batch, seq, d_model) with d_model=8"),
    (lambda: PLACE(X[0]), f"x has shape (5, 8), expected (batch, seq, d_model); {ADD_BATCH} x.unsqueeze(0)"),
    (lambda: PLACE(zeros(2, 5, 6)), "x has shape (2, 5, 6), expected (batch, seq, d_model) with d_model=8"),
    (lambda: PLACE(zeros(1, 70, 8)), "sequence of length 70 at offset 0 exceeds max_len=64"),
    (lambda: PLACE(X, 60), "sequence of length 5 at offset 60 exceeds max_len=64; raise max_len or shorten the input"),
    (lambda: PLACE(X, -1), "offset must be at least 0, got -1"),
    # token ids
    (lambda: TOKENS(torch.tensor([[3, 97]])), "token id 97 in ids is outside the vocabulary of 97 tokens (0 to 96)"),
    (lambda: TOKENS(torch.tensor([[3, -1]])), "token id -1 in ids is outside the vocabulary of 97 tokens (0 to 96)"),
    (
        lambda: TOKENS(torch.tensor([[3.0]])),
        "ids must be a tensor of integer token ids (torch.int64), got torch.float32",
    ),
    (lambda: TOKENS(torch.tensor([[True]])), "integer token ids (torch.int64), got torch.bool"),
    (lambda: TOKENS(torch.tensor([[3]], dtype=torch.uint8)), "integer token ids (torch.int64), got torch.uint8"),
    (lambda: check_ids("ids", [[1, 2]], 5), "ids must be a tensor of integer token ids (torch.int64), got list"),
    # recording
    (lambda: record_attention(nn.Linear(2, 2)).__enter__(), "Linear holds no MultiHeadAttention to record"),
    (lambda: record_attention(HEAD).__enter__(), "for a single head call scaled_dot_product_attention"),
]


@pytest.mark.parametrize(("call", "message"), GUARDS, ids=range(len(GUARDS)))
def test_guards_of_the_parts(call, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


CONFIG = [
    ({"src_vocab_size": 0}, "src_vocab_size must be a whole number of at least 1, got 0"),
    ({"tgt_vocab_size": -1}, "tgt_vocab_size must be a whole number of at least 1, got -1"),
    ({"d_model": 30, "n_heads": 4}, "d_model (30) must be divisible by n_heads (4)"),
    ({"d_model": 9, "n_heads": 3}, "sinusoidal encoding needs an even d_model, got 9"),
    ({"d_model": 8.0}, "d_model must be a whole number of at least 1, got 8.0"),
    ({"n_heads": True}, "n_heads must be a whole number of at least 1, got True"),
    ({"n_encoder_layers": 0}, "n_encoder_layers must be a whole number of at least 1, got 0"),
    ({"n_decoder_layers": 0}, "n_decoder_layers must be a whole number of at least 1, got 0"),
    ({"d_ff": 0}, "d_ff must be a whole number of at least 1, got 0"),
    ({"max_len": 0}, "max_len must be a whole number of at least 1, got 0"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ({"dropout": "high"}, "dropout must be at least 0 and below 1, got 'high'"),
    ({"activation": "tanh"}, "activation must be one of relu, gelu, gelu_tanh, silu, got 'tanh'"),
    ({"norm_first": "no"}, "norm_first must be True or False, got 'no'"),
    ({"tie_embeddings": 1}, "tie_embeddings must be True or False, got 1"),
    ({"share_vocab": True}, "share_vocab needs src_vocab_size == tgt_vocab_size, got 41 and 37"),
    ({"pad_id": 37}, "pad_id (37) is outside the target vocabulary of 37 tokens"),
    ({"bos_id": -1}, "bos_id (-1) is outside the target vocabulary of 37 tokens"),
    ({"eos_id": 2.5}, "eos_id (2.5) is outside the target vocabulary of 37 tokens"),
    ({"pad_id": 30, "src_vocab_size": 30}, "pad_id (30) is outside the source vocabulary of 30 tokens"),
    ({"eos_id": 1}, "pad_id, bos_id and eos_id must differ, got {'pad_id': 0, 'bos_id': 1, 'eos_id': 1}"),
]


@pytest.mark.parametrize(("changes", "message"), CONFIG, ids=range(len(CONFIG)))
def test_guards_of_the_config(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny_config(**changes)


def test_the_config_has_no_positional_arguments_and_no_setters() -> None:
    with pytest.raises(TypeError):
        TransformerConfig(10, 10)
    with pytest.raises(AttributeError):
        tiny_config().d_model = 3


def _used_cache(model, batch: int, tokens: int) -> DecoderCache:
    cache = model.new_cache()
    src = source_ids()[:batch]
    model.decode(target_ids()[:batch, :tokens], *model.encode(src), cache)
    return cache


MODEL = [
    (lambda m, s, t: m(s[0], t), "src_ids must have shape (batch, seq), got (7,)"),
    (lambda m, s, t: m(s, t[0]), f"tgt_ids must have shape (batch, seq), got (5,); {ADD_BATCH} tgt_ids.unsqueeze(0)"),
    (lambda m, s, t: m(s, t[None]), "tgt_ids must have shape (batch, seq), got (1, 3, 5)"),
    (lambda m, s, t: m(s, t[:2]), "query and key must have the same batch size, got 2 and 3"),
    (lambda m, s, t: m(s.float(), t), "ids must be a tensor of integer token ids (torch.int64), got torch.float32"),
    (lambda m, s, t: m(s + 41, t), "is outside the vocabulary of 41 tokens (0 to 40)"),
    (lambda m, s, t: m(s, t - 1), "token id -1 in ids is outside the vocabulary of 37 tokens (0 to 36)"),
    (lambda m, s, t: m(s.repeat(1, 2), t), "sequence of length 14 at offset 0 exceeds max_len=13"),
    (lambda m, s, t: m(s, t.repeat(1, 3)), "sequence of length 15 at offset 0 exceeds max_len=13"),
    (lambda m, s, t: m.decode(t, zeros(3, 7, 6), None), "key has shape (3, 7, 6), expected (batch, seq, d_model)"),
    (lambda m, s, t: m.decode(t, m.encode(s)[0], s != 0), "(3, 7) does not broadcast to (batch, heads, q_len, kv_len)"),
    (lambda m, s, t: m.decode(t, m.encode(s)[0], allowed(3, 1, 1, 6)), "= (3, 2, 5, 7)"),
    (lambda m, s, t: m.new_cache(0), "max_len must be a whole number of at least 1, got 0"),
    (lambda m, s, t: m.decode(t, *m.encode(s), m.new_cache(4)), "cache of max_len=4 cannot hold 5 positions"),
    (lambda m, s, t: m.decode(t, *m.encode(s), DecoderCache(2, 9)), "cache is for 2 layers, the decoder has 3"),
    (
        lambda m, s, t: m.decode(t[:1, :1], *m.encode(s[:1]), _used_cache(m, batch=3, tokens=2)),
        "cache holds 3 sequences of torch.float32, got 1 of torch.float32; begin a new cache for a new batch",
    ),
    (
        lambda m, s, t: m.decode(t.repeat(1, 2), *m.encode(s), _used_cache(m, batch=3, tokens=4)),
        "sequence of length 10 at offset 4 exceeds max_len=13",
    ),
]


@pytest.mark.parametrize(("call", "message"), MODEL, ids=range(len(MODEL)))
def test_guards_of_the_model(call, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call(tiny_model(), source_ids(), target_ids())


def test_the_guards_let_through_what_is_right() -> None:
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    assert model(src, tgt).shape == (3, TGT_LEN, 37)
    assert model(src.int(), tgt.int()).shape == (3, TGT_LEN, 37)
    assert HEAD(X[0]).shape == (5, 8) and FF(X[0]).shape == (5, 8)  # these two need no batch axis
    for shape in ((5, 5), (1, 5), (5, 1), (1, 1), (2, 5, 5), (2, 1, 1, 5), (1, 2, 5, 5), (2, 2, 5, 5)):
        assert PAIR(X, X, X, allowed(*shape)).shape == X.shape
    assert D_MODEL % HEADS == 0 and SRC_LEN != TGT_LEN
