"""The cache: the same keys and values whatever the pieces, reserved once, nothing kept on modules."""

import pytest
import torch
from helpers import BATCH, D_HEAD, D_MODEL, HEADS, SRC_LEN, TGT_LEN, close, in_float64, redraw, tiny_case, vectors

from transformer_lib import KVCache, MemoryCache, MultiHeadAttention, causal_mask, record_attention


@in_float64()
@pytest.mark.parametrize("sizes", [[1] * 7, [3, 4], [6, 1], [1, 6], [7], [2, 0, 5]], ids=str)
def test_pieces_of_any_size_give_the_full_pass(sizes: list[int]) -> None:
    attention, (x,) = redraw(MultiHeadAttention(D_MODEL, HEADS)), vectors(SRC_LEN)
    full, cache = attention(x, x, x, causal_mask(SRC_LEN)), KVCache(SRC_LEN)
    pieces = []
    for piece in x.split(sizes, dim=1):
        mask = causal_mask(piece.size(1), cache.length + piece.size(1))
        pieces.append(attention(piece, piece, piece, mask, cache))
    close(torch.cat(pieces, dim=1), full)
    assert cache.length == SRC_LEN


def test_memory_is_reserved_once_and_holds_what_was_put_in() -> None:
    attention, cache = MultiHeadAttention(D_MODEL, HEADS), KVCache(5)
    x = torch.randn(BATCH, 5, D_MODEL)
    with torch.no_grad():
        places = set()
        for i in range(5):
            keys, values = cache.update(attention, x[:, i : i + 1], x[:, i : i + 1])
            places.add((keys.data_ptr(), values.data_ptr()))
            assert keys.shape == values.shape == (BATCH, HEADS, i + 1, D_HEAD) and cache.length == i + 1
        assert len(places) == 1
        torch.testing.assert_close((keys, values), attention.keys_values(x, x))
    with pytest.raises(ValueError, match="cache of max_len=5 cannot hold 6 positions"):
        cache.update(attention, x[:, :1], x[:, :1])
    assert cache.length == 5


def test_the_memory_is_projected_once() -> None:
    attention, cache = MultiHeadAttention(D_MODEL, HEADS), MemoryCache()
    query, memory = torch.randn(BATCH, 2, D_MODEL), torch.randn(BATCH, SRC_LEN, D_MODEL)
    calls = []
    attention.k_proj.register_forward_hook(lambda *_: calls.append(1))
    first = attention(query, memory, memory, cache=cache)
    assert torch.equal(attention(query, memory, memory, cache=cache), first)
    assert len(calls) == 1


@in_float64()
def test_maps_can_be_recorded_while_decoding_with_a_cache() -> None:
    model, src, tgt = tiny_case()
    memory, mask = model.encode(src)
    with record_attention(model) as full:
        model.decode(tgt, memory, mask)
    cache, rows = model.new_cache(), []
    with record_attention(model) as step:
        for i in range(TGT_LEN):
            model.decode(tgt[:, i : i + 1], memory, mask, cache)
            assert step["decoder.layers.1.self_attn"].shape == (BATCH, HEADS, 1, i + 1)
            rows.append(step["decoder.layers.1.cross_attn"])
    close(torch.cat(rows, dim=2), full["decoder.layers.1.cross_attn"])


@in_float64()
def test_sequences_go_on_from_others() -> None:
    model, src, ids = tiny_case()
    memory, mask = model.encode(src[:1].expand(BATCH, -1))
    rows = torch.tensor([2, 0, 0])
    cache = model.new_cache()
    cache.select(rows)  # of nothing, which changes nothing
    assert cache.length == 0
    model.decode(ids[:, :3], memory, mask, cache)
    cache.select(rows)
    step = model.decode(ids[:, 3:4], memory, mask, cache)
    close(step, model.decode(torch.cat([ids[rows, :3], ids[:, 3:4]], dim=1), memory, mask)[:, 3:])


def twice(cache: KVCache | MemoryCache, first: torch.Tensor, second: torch.Tensor) -> None:
    """Use one cache for two inputs that have nothing to do with each other."""
    attention = MultiHeadAttention(8, 2)
    for x in (first, second):
        attention(x[:, :1], x, x, cache=cache) if isinstance(cache, MemoryCache) else attention(x, x, x, cache=cache)


def test_a_cache_of_another_batch_is_refused() -> None:
    x = torch.randn(3, 2, 8)
    with pytest.raises(ValueError, match=r"cache holds .* = \(3, 2, 4, torch.float32\), got \(1, 2, 4, "):
        twice(KVCache(5), x, x[:1])  # which torch would have broadcast over the three
    for other in (x[:1], x[:, :1]):
        with pytest.raises(ValueError, match=r"a source of shape \(3, 2, 2, 4\), got one of .*; begin a new"):
            twice(MemoryCache(), x, other)


def test_a_refused_call_leaves_the_cache_as_it_was(without_shape_checks: None) -> None:
    """What does not fit is seen before the first layer has put anything away."""
    model, src, tgt = tiny_case()
    memory, memory_mask = model.encode(src)
    cache = model.new_cache()
    model.decode(tgt[:, :2], memory, memory_mask, cache)
    for wrong_memory, wrong_mask in ((memory[:2], None), (memory, memory_mask[..., :5]), (memory, memory_mask[:2])):
        with pytest.raises(ValueError, match=r"memory|mask"):
            model.decode(tgt, wrong_memory, wrong_mask, cache)
        assert cache.length == 2
    with pytest.raises(ValueError, match="sequence of length 12 at offset 2 exceeds max_len=13"):
        model.decode(tgt.repeat(1, 3)[:, :12], memory, memory_mask, cache)
    rest = model.decode(tgt[:, 2:], memory, memory_mask, cache)
    torch.testing.assert_close(rest, model.decode(tgt, memory, memory_mask)[:, 2:])
