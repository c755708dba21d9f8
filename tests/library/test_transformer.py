"""The whole model: how it starts and what its options do. Its files: see test_checkpoint.py."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import (
    BATCH,
    D_MODEL,
    SRC_LEN,
    TGT_VOCAB,
    differ,
    redraw,
    source_ids,
    target_ids,
    tiny_config,
    tiny_model,
)
from torch import nn

from transformer_lib import (
    Decoder,
    Encoder,
    FeedForward,
    LayerNorm,
    PositionalEncoding,
    SublayerConnection,
    TokenEmbedding,
    Transformer,
    TransformerConfig,
    laws,
)

both_norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])


# The start


@both_norms
@pytest.mark.parametrize("tie", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(("vocab", "d_model"), [(34, 16), (34, 64), (101, 32), (1009, 128)])
def test_the_untrained_loss_is_that_of_guessing(norm_first: bool, tie: bool, vocab: int, d_model: int) -> None:
    torch.manual_seed(3)
    options = dict(norm_first=norm_first, tie_embeddings=tie, dropout=0.0)
    config = tiny_config(src_vocab_size=vocab, tgt_vocab_size=vocab, d_model=d_model, n_heads=4, **options)
    model = Transformer(config)
    src, tgt, answer = (torch.randint(3, vocab, (64, 11)) for _ in range(3))
    loss = F.cross_entropy(model(src, tgt).flatten(0, 1), answer.flatten()).item()
    assert abs(loss / math.log(vocab) - 1) < 0.05


@pytest.mark.parametrize("make", [lambda: Encoder(3, 8, 2, 5), lambda: Decoder(3, 8, 2, 5)])
def test_layers_do_not_start_alike(make) -> None:
    layers = make().layers
    for name, weight in layers[0].named_parameters():
        if name.endswith("weight") and weight.dim() == 2:
            assert differ(weight, layers[1].get_parameter(name)) and differ(weight, layers[2].get_parameter(name))
    assert len({id(p) for p in layers.parameters()}) == 3 * len(list(layers[0].parameters()))


def test_embeddings_and_positions_start_at_one_size() -> None:
    embedding, positions = TokenEmbedding(1009, 64), PositionalEncoding(64, 101)
    size = embedding(torch.arange(1009)[None]).std().item()
    assert 0.35 < size < 0.45
    assert 0.6 < positions(torch.zeros(1, 101, 64)).pow(2).mean().sqrt().item() < 0.8


# The options


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_tied_and_shared_weights_are_the_same_tensor(tie: bool, share: bool) -> None:
    model = Transformer(tiny_config(tgt_vocab_size=41, tie_embeddings=tie, share_vocab=share))
    assert (model.output.weight is model.tgt_embedding.weight) == tie
    assert (model.src_embedding.weight is model.tgt_embedding.weight) == share
    count = sum(p.numel() for p in model.parameters())
    separate = sum(p.numel() for p in Transformer(tiny_config(tgt_vocab_size=41)).parameters())
    assert separate - count == (tie + share) * 41 * D_MODEL
    model(source_ids(), target_ids()).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@both_norms
def test_a_last_norm_only_after_pre_norm_layers(norm_first: bool) -> None:
    model = Transformer(tiny_config(norm_first=norm_first))
    kinds = {type(model.encoder.norm), type(model.decoder.norm)}
    assert kinds == ({LayerNorm} if norm_first else {nn.Identity})


@pytest.mark.parametrize(("name", "reference"), [
    ("relu", nn.ReLU()), ("gelu", nn.GELU()), ("gelu_tanh", nn.GELU(approximate="tanh")), ("silu", nn.SiLU()),
])  # fmt: skip
def test_every_activation_is_the_one_it_is_named(name: str, reference: nn.Module) -> None:
    model, x = Transformer(tiny_config(activation=name)), torch.randn(101)
    for layer in (*model.encoder.layers, *model.decoder.layers):
        assert torch.equal(layer.feed_forward.activation(x), reference(x))


def test_dropout_reaches_every_place_of_the_paper() -> None:
    model = Transformer(tiny_config(dropout=0.3))
    places = {name: part.p for name, part in model.named_modules() if isinstance(part, nn.Dropout)}
    expected = {"positions.dropout"}
    for stack, n, residuals in (("encoder", 2, 2), ("decoder", 3, 3)):
        for i in range(n):
            names = ["self_attn_residual", "cross_attn_residual", "feed_forward_residual"]
            names = names if residuals == 3 else [names[0], names[2]]
            expected |= {f"{stack}.layers.{i}.{name}.dropout" for name in (*names, "feed_forward")}
    assert set(places) == expected and set(places.values()) == {0.3}


@pytest.mark.parametrize("part", ["positions", "attention", "residual", "feed_forward"])
def test_each_dropout_makes_training_random_by_itself(part: str) -> None:
    model, src, tgt = Transformer(tiny_config()).train(), source_ids(), target_ids()
    assert torch.equal(model(src, tgt), model(src, tgt))
    if part == "positions":
        model.positions.dropout.p = 0.5
    elif part == "attention":
        model.encoder.layers[0].self_attn.dropout = 0.5
    else:
        kind = FeedForward if part == "feed_forward" else SublayerConnection
        next(m for m in model.modules() if isinstance(m, kind)).dropout.p = 0.5
    assert differ(model(src, tgt), model(src, tgt))
    assert torch.equal(model.eval()(src, tgt), model(src, tgt))


def test_dropout_keeps_the_mean() -> None:
    layer = FeedForward(6, 11, dropout=0.4)
    x = torch.randn(1, 1, 6).expand(40_000, 1, 6)
    torch.testing.assert_close(layer.train()(x).mean(0), layer.eval()(x[:1])[0], rtol=0, atol=0.03)


# Types, sizes, compilation


@both_norms
@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64"])
def test_every_type_is_kept_and_finite_forward_and_backward(name: str, norm_first: bool) -> None:
    dtype = getattr(torch, name)
    model = redraw(Transformer(tiny_config(norm_first=norm_first))).to(dtype)
    src = source_ids()
    src[2] = 0  # a source that holds only padding
    logits = model(src, target_ids())
    assert logits.dtype == dtype and logits.isfinite().all()
    logits.float().pow(2).mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("batch", "src_len", "tgt_len"), [(1, 1, 1), (0, 7, 5), (3, 0, 5), (3, 7, 0), (2, 13, 13)], ids=str
)
def test_sizes_at_the_edge(batch: int, src_len: int, tgt_len: int) -> None:
    model = tiny_model()
    src, tgt = torch.randint(3, 37, (batch, src_len)), torch.randint(3, 37, (batch, tgt_len))
    logits = model(src, tgt)
    assert logits.shape == (batch, tgt_len, TGT_VOCAB) and logits.isfinite().all()


def test_one_head_one_layer_smallest_width() -> None:
    config = TransformerConfig(
        src_vocab_size=3,
        tgt_vocab_size=3,
        d_model=2,
        n_heads=1,
        n_encoder_layers=1,
        n_decoder_layers=1,
        d_ff=1,
        max_len=1,
    )
    assert Transformer(config)(torch.tensor([[2]]), torch.tensor([[1]])).shape == (1, 1, 3)


def test_gradients_flow_to_every_weight_and_to_no_padding() -> None:
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    model(src, tgt)[:, 0].pow(2).sum().backward()
    assert all(p.grad.abs().max() > 0 for name, p in model.named_parameters() if "k_proj.bias" not in name)
    assert (model.src_embedding.weight.grad[0] == 0).all()  # id 0 is padding


def test_ids_of_32_bits_give_the_same() -> None:
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    assert torch.equal(model(src.int(), tgt.int()), model(src, tgt))


def test_another_pad_id_is_respected() -> None:
    model = tiny_model(pad_id=5, bos_id=0)
    src, tgt = source_ids(model.config), target_ids(model.config)
    memory, mask = model.encode(src)
    assert torch.equal(mask[:, 0, 0], src != 5)
    torch.testing.assert_close(model(F.pad(src, (0, 3), value=5), tgt), model(src, tgt))
    assert memory.shape == (BATCH, SRC_LEN, D_MODEL)


def test_positions_are_no_weights() -> None:
    assert not any("positions" in name for name in tiny_model().state_dict())
    assert tiny_model().positions.encoding.shape == (13, D_MODEL)


def test_repr_and_names_are_those_of_the_architecture() -> None:
    names = [name for name, _ in tiny_model().named_children()]
    assert names == ["src_embedding", "tgt_embedding", "positions", "encoder", "decoder", "output"]
    layer = [name for name, _ in tiny_model().decoder.layers[0].named_children()]
    assert layer == [
        "self_attn", "self_attn_residual", "cross_attn", "cross_attn_residual", "feed_forward", "feed_forward_residual",
    ]  # fmt: skip


# The model that the paper describes


@pytest.mark.parametrize(
    ("changes", "millions"),
    [
        ({}, 65),  # base; below it rows of (A) and (C)
        ({"n_heads": 4}, 65),
        ({"n_encoder_layers": 2, "n_decoder_layers": 2}, 36),
        ({"n_encoder_layers": 4, "n_decoder_layers": 4}, 50),
        ({"n_encoder_layers": 8, "n_decoder_layers": 8}, 80),
        ({"d_model": 256}, 28),
        ({"d_model": 1024}, 168),
        ({"d_ff": 1024}, 53),
        ({"d_ff": 4096}, 90),
    ],
    ids=str,
)
def test_parameters_counted_in_the_papers_table_3(changes: dict, millions: int) -> None:
    """All rows fit a vocabulary of 41,000 to the last digit (the text says "about 37000": 3 % fewer weights)."""
    sizes = dict(d_model=512, n_heads=8, n_encoder_layers=6, n_decoder_layers=6, d_ff=2048, max_len=1)
    for vocab, allowed in ((41_000, 0.6), (37_000, 0.07 * millions)):
        one = dict(src_vocab_size=vocab, tgt_vocab_size=vocab, share_vocab=True, tie_embeddings=True)
        with torch.device("meta"):
            model = Transformer(TransformerConfig(**{**sizes, **one, **changes}))
        assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < allowed


def test_the_laws_hold_for_the_model_as_it_comes() -> None:
    model, src, tgt = Transformer(TransformerConfig(src_vocab_size=41, tgt_vocab_size=37)), source_ids(), target_ids()
    laws.causality(lambda tgt: model(src, tgt), tgt, (tgt + 1) % TGT_VOCAB).require()
    laws.batch_equals_single(model, src, tgt).require()
    laws.cache_equals_full(model, src, tgt).require()
