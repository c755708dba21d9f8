"""The whole model: it equals torch's, how it starts, what its options do. Its files: see test_files.py."""

import contracts
import pytest
import torch
from helpers import D_MODEL, differ, source_ids, target_ids, tiny_case, tiny_config
from torch import nn

from transformer_lib import FeedForward, MultiHeadAttention, SublayerConnection, Transformer, TransformerConfig

both_norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])


@both_norms
@pytest.mark.parametrize("tie", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("share", [False, True], ids=["two vocabularies", "one vocabulary"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_whole_model_equals_one_of_torchs_parts(norm_first: bool, tie: bool, share: bool, activation: str) -> None:
    more = {"src_vocab_size": 31, "tgt_vocab_size": 31, "share_vocab": True} if share else {}
    contracts.check_transformer(norm_first=norm_first, tie_embeddings=tie, activation=activation, **more)


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
    parts = ["self_attn_residual", "feed_forward_residual", "feed_forward"]
    expected = {f"encoder.layers.{i}.{part}.dropout" for i in range(2) for part in parts}
    expected |= {f"decoder.layers.{i}.{part}.dropout" for i in range(3) for part in [*parts, "cross_attn_residual"]}
    assert set(places) == expected | {"positions.dropout"} and set(places.values()) == {0.3}
    shares = [part.dropout for part in model.modules() if isinstance(part, MultiHeadAttention)]
    assert len(shares) == 2 + 2 * 3 and set(shares) == {0.3}


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


def test_gradients_flow_to_every_weight_and_to_no_padding() -> None:
    model, src, tgt = tiny_case()
    model(src, tgt)[:, 0].pow(2).sum().backward()
    assert all(p.grad.abs().max() > 0 for name, p in model.named_parameters() if "k_proj.bias" not in name)
    assert (model.src_embedding.weight.grad[0] == 0).all()  # id 0 is padding


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
