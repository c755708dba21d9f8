"""Every `ValueError` of the library, by the numbers in its message: a wrong input is told apart from any other."""

import inspect
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
    MemoryCache,
    MultiHeadAttention,
    PositionalEncoding,
    SimpleSelfAttention,
    SublayerConnection,
    TokenEmbedding,
    TransformerConfig,
    causal_mask,
    evaluating,
    exact_match,
    greedy_decode,
    layer_norm,
    padding_mask,
    record_attention,
    scaled_dot_product_attention,
    sinusoidal_encoding,
    smoothed_targets,
    token_loss,
    translate_ids,
)
from transformer_lib._checks import check_ids, check_like, check_mask

# Called below jaxtyping's checks: these messages are for readers who run without them.
pytestmark = pytest.mark.usefixtures("without_shape_checks")


def attend(q, k, v, mask=None):
    return scaled_dot_product_attention(q, k, v, mask)


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype)


def allowed(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


X = zeros(2, 5, 8)
HEAD, PAIR, NORM, FF = SimpleSelfAttention(8), MultiHeadAttention(8, 2), LayerNorm(8), FeedForward(8, 3)
PLACE, TOKENS = PositionalEncoding(8, 64), TokenEmbedding(97, 8)
IDS = zeros(2, 5, dtype=torch.int64)
ADD_BATCH = "for a single sequence add a batch axis with"


def _twice(cache: KVCache | MemoryCache, x: torch.Tensor) -> None:
    """Use the cache of one attention in another."""
    for n_heads in (2, 4):
        MultiHeadAttention(8, n_heads)(x, x, x, cache=cache)


def loss(logits: torch.Tensor, targets: torch.Tensor, pad_id: int = 0, **options) -> torch.Tensor:
    return token_loss(logits, targets, pad_id=pad_id, **options)[0]


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
    (lambda: causal_mask(-1), "q_len must be a whole number of at least 0, got -1"),
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
    (lambda: NORM(zeros(2, 9)), "x of shape (2, 9) must have last dimension d_model=8"),
    (lambda: NORM(zeros(())), "x of shape () must have last dimension d_model=8"),
    (
        lambda: layer_norm(zeros(2, 6), zeros(8), zeros(8)),
        "x of shape (2, 6) needs weight and bias of shape (d_model,)",
    ),
    (
        lambda: layer_norm(zeros(2, 9), zeros(8), zeros(8)),
        "x of shape (2, 9) needs weight and bias of shape (d_model,)",
    ),
    (lambda: layer_norm(X, zeros(8), zeros(9)), "weight and bias of shape (d_model,), got (8,) and (9,)"),
    (lambda: layer_norm(X, zeros(9), zeros(8)), "weight and bias of shape (d_model,), got (9,) and (8,)"),
    (lambda: layer_norm(zeros(()), zeros(8), zeros(8)), "x of shape () needs weight and bias of shape (d_model,)"),
    (lambda: NORM(X.long()), "x must hold floating-point numbers, got torch.int64"),
    (lambda: FF(zeros(2, 5, 6)), "x has shape (2, 5, 6), expected (batch, seq, d_model) with d_model=8"),
    (lambda: PLACE(X[0]), f"x has shape (5, 8), expected (batch, seq, d_model); {ADD_BATCH} x.unsqueeze(0)"),
    (lambda: PLACE(zeros(2, 5, 6)), "x has shape (2, 5, 6), expected (batch, seq, d_model) with d_model=8"),
    (lambda: PLACE(zeros(1, 70, 8)), "sequence of length 70 at offset 0 exceeds max_len=64"),
    (lambda: PLACE(X, 60), "sequence of length 5 at offset 60 exceeds max_len=64; raise max_len or shorten the input"),
    (lambda: PLACE(X, -1), "offset must be a whole number of at least 0, got -1"),
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
    (lambda: TOKENS(torch.zeros(1, 1, dtype=torch.int64, device="meta")), "ids is on meta, but the weights on cpu"),
    # types, devices, types of numbers
    (lambda: HEAD([[1.0]]), "x must hold floating-point numbers, got list; use torch.tensor"),
    (lambda: PAIR(X, None, X), "key must hold floating-point numbers, got NoneType; use torch.tensor"),
    (lambda: HEAD(X.double()), "x holds torch.float64, but the weights torch.float32; convert one of them with .to()"),
    (lambda: PAIR(X, X, X.half()), "value holds torch.float16, but the weights torch.float32"),
    (lambda: FF(X.bfloat16()), "x holds torch.bfloat16, but the weights torch.float32"),
    (lambda: NORM(X.double()), "x holds torch.float64, but the weights torch.float32"),
    (lambda: NORM(X.to("meta")), "x is on meta, but the weights on cpu; move one of them with .to()"),
    (lambda: PLACE(X.to("meta")), "x is on meta, but the encoding on cpu"),
    (lambda: attend(X, X.double(), X), "key holds torch.float64, but query torch.float32"),
    (lambda: attend(X, X, X.to("meta")), "value is on meta, but query on cpu"),
    (lambda: attend(X[..., :0], X[..., :0], X), "query and key must share their last dimension, got 0 and 0"),
    (lambda: attend(X, X, X, allowed(5, 5).to("meta")), "mask is on meta, but the scores are on cpu"),
    (lambda: PAIR(X, X, X, allowed(5, 5).to("meta")), "mask is on meta, but the scores are on cpu"),
    (lambda: padding_mask([[1, 2]], 0), "ids must be a tensor of integer token ids (torch.int64), got list"),
    (lambda: padding_mask(X[0], 0), "ids must be a tensor of integer token ids (torch.int64), got torch.float32"),
    (lambda: padding_mask(IDS, 0.5), "pad_id must be a whole number of at least 0, got 0.5"),
    (lambda: padding_mask(IDS, None), "pad_id must be a whole number of at least 0, got None"),
    (lambda: causal_mask(2.5), "q_len must be a whole number of at least 0, got 2.5"),
    (lambda: PLACE(X, 1.0), "offset must be a whole number of at least 0, got 1.0"),
    (lambda: SimpleSelfAttention(2**31), "d_model must be a whole number below 2147483648, got 2.1e+09"),
    (lambda: LayerNorm(8, eps="small"), "eps must be a finite number, got 'small'"),
    (lambda: LayerNorm(8, eps=float("inf")), "eps must be a finite number, got inf"),
    (
        lambda: layer_norm(X, zeros(8), zeros(7)),
        "x of shape (2, 5, 8) needs weight and bias of shape (d_model,), got (8,)",
    ),
    (lambda: SublayerConnection(8, 0.0, "no"), "norm_first must be True or False, got 'no'"),
    (lambda: SublayerConnection(8, 0.0, True)(X, 3), "sublayer must be a function, got 3"),
    (lambda: FeedForward(8, 3, activation="relu"), "activation must be a function, got 'relu'"),
    # caches
    (lambda: PAIR(X, X, X, cache={}), "cache must be a KVCache or a MemoryCache, got dict"),
    (lambda: DecoderLayer(8, 2, 4)(X, X, cache=KVCache(5)), "cache must be a LayerCache, got KVCache; Decoder takes a"),
    (lambda: Decoder(1, 8, 2, 4)(X, X, cache=KVCache(5)), "cache must be a DecoderCache, got KVCache; begin with"),
    (lambda: _twice(KVCache(20), X), "cache holds 2 heads of width 4, got 4 of 2; begin a new cache for another model"),
    (
        lambda: _twice(MemoryCache(), X),
        "a source of shape (2, 2, 5, 4), got one of (2, 4, 5, 2) (batch, heads, src_len",
    ),
    # losses
    (lambda: loss(X.long(), IDS), "logits must hold floating-point numbers, got torch.int64"),
    (lambda: loss(X, IDS.int()), "targets must hold torch.int64, got torch.int32; use targets.long()"),
    (lambda: loss(X, IDS + 8), "token id 8 in targets is outside the vocabulary of 8 tokens (0 to 7)"),
    (lambda: loss(X, IDS[:, :2]), "logits of shape (2, 5, 8) need targets of shape (2, 5), got (2, 2)"),
    (lambda: loss(X, IDS, pad_id=8), "pad_id (8) is outside the vocabulary of 8 tokens (0 to 7)"),
    (lambda: loss(X, IDS, pad_id=-100), "pad_id must be a whole number of at least 0, got -100"),
    (lambda: loss(X, IDS, smoothing="0.1"), "smoothing must be at least 0 and below 1, got '0.1'"),
    (lambda: smoothed_targets(IDS + 5, 5, 0.1, 0), "token id 5 in targets is outside the vocabulary of 5 tokens"),
    # recording
    (lambda: record_attention(3).__enter__(), "model must be a Module, got 3"),
    (lambda: evaluating(None).__enter__(), "model must be a Module, got None"),
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
    ({"bos_id": -1}, "bos_id must be a whole number of at least 0, got -1"),
    ({"eos_id": 2.5}, "eos_id must be a whole number of at least 0, got 2.5"),
    ({"pad_id": 30, "src_vocab_size": 30}, "pad_id (30) is outside the source vocabulary of 30 tokens"),
    ({"eos_id": 1}, "eos_id must differ from pad_id and bos_id, got {'pad_id': 0, 'bos_id': 1, 'eos_id': 1}"),
    ({"eos_id": 0}, "eos_id must differ from pad_id and bos_id, got {'pad_id': 0, 'bos_id': 1, 'eos_id': 0}"),
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
    (lambda m, s, t: m(s, t[:2]), "tgt_ids and memory must have the same batch size, got 2 and 3"),
    (lambda m, s, t: m(s.float(), t), "ids must be a tensor of integer token ids (torch.int64), got torch.float32"),
    (lambda m, s, t: m(s + 41, t), "is outside the vocabulary of 41 tokens (0 to 40)"),
    (lambda m, s, t: m(s, t - 1), "token id -1 in ids is outside the vocabulary of 37 tokens (0 to 36)"),
    (lambda m, s, t: m(s.repeat(1, 2), t), "sequence of length 14 at offset 0 exceeds max_len=13"),
    (lambda m, s, t: m(s, t.repeat(1, 3)), "sequence of length 15 at offset 0 exceeds max_len=13"),
    (lambda m, s, t: m.decode(t, zeros(3, 7, 6), None), "memory has shape (3, 7, 6), expected (batch, seq, d_model)"),
    (lambda m, s, t: m.decode(t, m.encode(s)[0], s != 0), "(3, 7) does not broadcast to (batch, heads, q_len, kv_len)"),
    (lambda m, s, t: m.decode(t, m.encode(s)[0], allowed(3, 1, 1, 6)), "= (3, 2, 5, 7)"),
    (lambda m, s, t: m.decode(t, m.encode(s)[0], s == 0, {}), "does not broadcast to"),
    (
        lambda m, s, t: m.decode(t, *m.encode(s), {}),
        "cache must be a DecoderCache, got dict; begin with model.new_cache()",
    ),
    (lambda m, s, t: m.decode(t, None, None), "memory must hold floating-point numbers, got NoneType"),
    (lambda m, s, t: m(s.tolist(), t), "src_ids must be a tensor of integer token ids (torch.int64), got list"),
    (lambda m, s, t: m(s.bool(), t), "src_ids must be a tensor of integer token ids (torch.int64), got torch.bool"),
    (lambda m, s, t: type(m)(3), "config must be a TransformerConfig, got 3"),
    (lambda m, s, t: m.new_cache("9"), "max_len must be a whole number of at least 1, got '9'"),
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


def test_a_refused_call_leaves_the_cache_as_it_was() -> None:
    """A mask that does not fit is seen before the first layer has put anything away."""
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    memory, memory_mask = model.encode(src)
    cache, other = model.new_cache(), model.new_cache()
    model.decode(tgt[:, :2], memory, memory_mask, cache)
    for call in (
        lambda: (tgt, memory[:2], None),
        lambda: (tgt, memory, src != 0),
        lambda: (tgt, memory[..., :3], None),
    ):
        with pytest.raises(ValueError, match=r"memory|mask"):
            model.decode(*call(), cache)
        assert cache.length == 2
    rest = model.decode(tgt[:, 2:], memory, memory_mask, cache)
    torch.testing.assert_close(rest, model.decode(tgt, memory, memory_mask)[:, 2:])
    other.layers[0].self_attn.length = 1  # as after a call that was interrupted
    with pytest.raises(ValueError, match=re.escape("cache holds [0, 1] positions in its layers, for a call failed")):
        model.decode(tgt, memory, memory_mask, other)


def test_weights_that_are_no_numbers_write_nothing() -> None:
    model = tiny_model()
    nn.init.constant_(model.output.bias, float("nan"))
    with pytest.raises(ValueError, match="the model's logits are not finite numbers"):
        greedy_decode(model, source_ids(), max_new_tokens=3)


def test_autocast_may_mix_types_of_numbers() -> None:
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(src, tgt).dtype == torch.bfloat16
        assert HEAD(X.half()).dtype == torch.bfloat16
        with pytest.raises(ValueError, match=r"x holds torch.float64, but the weights torch.float32"):
            HEAD(X.double())  # which autocast leaves as it is


def test_weights_that_are_no_plain_numbers_are_left_alone() -> None:
    """A quantised layer has no `weight` tensor of floats to be compared with."""
    check_like("x", X, "the weights", X.long())
    check_like("x", X, "the weights", X.double)


def test_lengths_that_an_export_keeps_open_are_let_through() -> None:
    class Mask(nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return causal_mask(ids.size(1))

    shapes = ({1: torch.export.Dim("seq", min=2, max=50)},)
    exported = torch.export.export(Mask(), (IDS,), dynamic_shapes=shapes, strict=False).module()
    assert torch.equal(exported(IDS[:, :3]), causal_mask(3))


def test_the_guards_let_through_what_is_right() -> None:
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    assert model(src, tgt).shape == (3, TGT_LEN, 37)
    assert model(src.int(), tgt.int()).shape == (3, TGT_LEN, 37)
    assert HEAD(X[0]).shape == (5, 8) and FF(X[0]).shape == (5, 8)  # these two need no batch axis
    wide = torch.ones(300)  # numbers above 256 are not the same object when they are equal
    assert LayerNorm(300)(wide).shape == layer_norm(wide, wide, wide).shape == (300,)
    for shape in ((5, 5), (1, 5), (5, 1), (1, 1), (2, 5, 5), (2, 1, 1, 5), (1, 2, 5, 5), (2, 2, 5, 5)):
        assert PAIR(X, X, X, allowed(*shape)).shape == X.shape
    assert D_MODEL % HEADS == 0 and SRC_LEN != TGT_LEN


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (causal_mask, {"device"}),
        (greedy_decode, {"max_new_tokens", "use_cache"}),
        (translate_ids, {"max_new_tokens", "batch_size", "decode"}),
        (exact_match, {"batch_size", "decode"}),
    ],
)
def test_what_would_be_mistaken_for_something_else_is_given_by_name(function, names: set[str]) -> None:
    kinds = {p.name: p.kind for p in inspect.signature(function).parameters.values()}
    assert {name for name, kind in kinds.items() if kind is inspect.Parameter.KEYWORD_ONLY} == names
    assert inspect.Parameter.POSITIONAL_ONLY not in kinds.values()
