"""Conversion into torch's modules and back; a target that begins with the padding token; sources that are no models."""

import ast
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import (
    D_FF,
    D_MODEL,
    HEADS,
    SRC_LEN,
    TGT_LEN,
    close,
    in_float64,
    ragged,
    redraw,
    source_ids,
    target_ids,
    tiny_config,
    tiny_model,
    torch_stacks,
    vectors,
)
from torch import nn

from transformer_lib import (
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    LayerNorm,
    MultiHeadAttention,
    TokenBatches,
    Trainer,
    Transformer,
    causal_mask,
    exact_match,
    greedy_decode,
    interop,
    laws,
    token_loss,
    translate_ids,
)
from transformer_lib.interop import from_bart, from_bert, from_gpt2, from_marian, from_torch, to_torch

SIZES = (D_MODEL, HEADS, D_FF)
both_norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
activations = pytest.mark.parametrize(
    "activation", [F.relu, F.gelu, F.silu, nn.GELU(approximate="tanh")], ids=["relu", "gelu", "silu", "gelu_tanh"]
)
modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def same_values(ours: nn.Module, back: nn.Module) -> None:
    """Require two modules of ours to have the same type and the same parameters, to the bit, and not to share them."""
    assert type(ours) is type(back) and str(ours) == str(back)
    state, other = ours.state_dict(), back.state_dict()
    assert list(state) == list(other)
    for name, value in state.items():
        assert torch.equal(value, other[name]) and value.data_ptr() != other[name].data_ptr()


@in_float64()
def test_layer_norm_to_torch() -> None:
    ours = redraw(LayerNorm(D_MODEL, eps=0.25))
    theirs = to_torch(ours)
    (x,) = vectors(SRC_LEN)
    assert isinstance(theirs, nn.LayerNorm)
    close(theirs(x), ours(x))
    same_values(ours, from_torch(theirs))


@in_float64()
@modes
def test_attention_to_torch(training: bool) -> None:
    ours = redraw(MultiHeadAttention(D_MODEL, HEADS)).train(training)
    theirs = to_torch(ours)
    query, memory = vectors(TGT_LEN, SRC_LEN)
    output, _ = theirs(query, memory, memory, key_padding_mask=~ragged(), need_weights=False)
    assert isinstance(theirs, nn.MultiheadAttention)
    close(output, ours(query, memory, memory, ragged()[:, None, None, :]))
    same_values(ours, from_torch(theirs))


@in_float64()
@both_norms
@activations
@modes
def test_encoder_to_torch(norm_first: bool, activation, training: bool) -> None:
    ours = redraw(Encoder(2, *SIZES, 0.0, norm_first, activation)).train(training)
    theirs = to_torch(ours)
    (x,) = vectors(SRC_LEN)
    mask, padding = ragged()[:, None, None, :], ~ragged()
    assert isinstance(theirs, nn.TransformerEncoder) and theirs.num_layers == 2
    assert {part.training for part in theirs.modules()} == {training}
    for gradients in (True, False):  # without, torch takes another path in evaluation mode
        with torch.set_grad_enabled(gradients):
            close(theirs(x, src_key_padding_mask=padding), ours(x, mask))
            close(theirs(x, mask=~causal_mask(SRC_LEN)), ours(x, causal_mask(SRC_LEN)))
            close(theirs.layers[1](x, src_key_padding_mask=padding), ours.layers[1](x, mask))
    same_values(ours, from_torch(theirs))
    same_values(ours.layers[0], from_torch(to_torch(ours.layers[0])))


@pytest.mark.no_cover
@in_float64()
@both_norms
@activations
@modes
def test_decoder_to_torch(norm_first: bool, activation, training: bool) -> None:
    ours = redraw(Decoder(3, *SIZES, 0.0, norm_first, activation)).train(training)
    theirs = to_torch(ours)
    x, memory = vectors(TGT_LEN, SRC_LEN)
    causal, real = causal_mask(TGT_LEN), ragged()[:, None, None, :]
    masks = dict(tgt_mask=~causal, memory_key_padding_mask=~ragged())
    assert isinstance(theirs, nn.TransformerDecoder) and theirs.num_layers == 3
    assert {part.training for part in theirs.modules()} == {training}
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            close(theirs(x, memory, **masks), ours(x, memory, causal, real))
            close(theirs.layers[2](x, memory, **masks), ours.layers[2](x, memory, causal, real))
    same_values(ours, from_torch(theirs))
    same_values(ours.layers[0], from_torch(to_torch(ours.layers[0])))


@in_float64()
@both_norms
@modes
def test_torch_stacks_there_and_back(norm_first: bool, training: bool) -> None:
    for theirs in torch_stacks(norm_first, "gelu"):
        ours = from_torch(theirs.train(training))
        assert {part.training for part in ours.modules()} == {training}
        back = to_torch(ours)
        assert list(back.state_dict()) == list(theirs.state_dict())
        for name, value in theirs.state_dict().items():
            assert torch.equal(back.state_dict()[name], value)


@in_float64()
@pytest.mark.parametrize("kind", [EncoderLayer, DecoderLayer])
@modes
def test_to_torch_keeps_type_mode_dropout_and_eps(kind: type, training: bool) -> None:
    ours = kind(*SIZES, 0.3).float().train(training)
    ours.self_attn.dropout, ours.self_attn_residual.dropout.p, ours.self_attn_residual.norm.eps = 0.1, 0.2, 0.25
    theirs = to_torch(ours)
    assert {p.dtype for p in theirs.parameters()} == {torch.float32}
    assert {part.training for part in theirs.modules()} == {training}
    assert (theirs.self_attn.dropout, theirs.dropout1.p, theirs.dropout.p, theirs.dropout2.p) == (0.1, 0.2, 0.3, 0.3)
    assert (theirs.norm1.eps, theirs.norm2.eps) == (0.25, 1e-5)
    assert theirs.self_attn.batch_first


@in_float64()
def test_to_torch_keeps_unequal_layers_of_a_stack_apart() -> None:
    ours = Encoder(2, *SIZES, 0.0)
    ours.layers[1].feed_forward_residual.norm.eps = 0.5
    assert [layer.norm2.eps for layer in to_torch(ours).layers] == [1e-5, 0.5]


def _two_norms() -> EncoderLayer:
    layer = EncoderLayer(*SIZES)
    layer.feed_forward_residual.norm_first = True
    return layer


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: nn.Linear(2, 3), "cannot convert Linear; to_torch knows LayerNorm, MultiHeadAttention, .*Decoder$"),
        (lambda: FeedForward(8, 16), "cannot convert FeedForward"),
        (lambda: tiny_model(), "cannot convert Transformer"),
        (_two_norms, "EncoderLayer with both pre-norm and post-norm"),
        (lambda: DecoderLayer(*SIZES, activation=nn.PReLU()), "DecoderLayer with an activation that has weights"),
    ],
)
def test_to_torch_refuses_what_has_no_counterpart(make, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        to_torch(make())


@pytest.mark.usefixtures("without_shape_checks")  # the message is for those who run without
@pytest.mark.parametrize("convert", [from_marian, from_gpt2, from_bert, from_bart])
@pytest.mark.parametrize("source", [None, 3, {}, nn.Linear(2, 2), nn.Linear], ids=str)
def test_what_is_no_source_is_refused(convert, source) -> None:
    with pytest.raises(ValueError, match=rf"{convert.__name__} takes a model of Hugging Face or the path of a folder"):
        convert(source)


def test_the_library_does_not_import_transformers() -> None:
    paths = [*Path(interop.__file__).parents[1].rglob("*.py")]
    assert len(paths) > 30
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "transformers" for name in names), path


# The target may begin with the padding token (Marian, T5): nothing may take that first token for padding.

BOS_IS_PAD = dict(pad_id=0, bos_id=0, eos_id=2)


def twins() -> tuple:
    """A model whose target begins with token 1, and the same model whose target begins with the padding token 0."""
    apart = tiny_model()
    same = tiny_model(**BOS_IS_PAD)
    same.load_state_dict(apart.state_dict())
    with torch.no_grad():
        for model in (apart, same):
            model.tgt_embedding.weight[0] = model.tgt_embedding.weight[1]
            model.output.bias[1] = -50.0  # neither chooses 1
    return apart, same


@in_float64()
def test_bos_equal_to_padding_changes_no_logits_and_no_loss() -> None:
    apart, same = twins()
    src, tgt = source_ids(apart.config), target_ids(apart.config)
    begun = torch.cat([torch.zeros_like(tgt[:, :1]), tgt[:, 1:]], dim=1)
    close(same(src, begun), apart(src, tgt))
    for smoothing in (0.0, 0.1):
        losses = [
            token_loss(model(src, ids[:, :-1]), ids[:, 1:], pad_id=0, smoothing=smoothing)
            for model, ids in ((apart, tgt), (same, begun))
        ]
        close(losses[1][0], losses[0][0])
        assert losses[1][1] == losses[0][1] == int((tgt[:, 1:] != 0).sum())


@in_float64()
@pytest.mark.parametrize("use_cache", [True, False])
def test_bos_equal_to_padding_decodes_the_same(use_cache: bool) -> None:
    apart, same = twins()
    src = source_ids(apart.config)
    expected = greedy_decode(apart, src, max_new_tokens=11)
    assert torch.equal(greedy_decode(same, src, max_new_tokens=11, use_cache=use_cache), expected)
    laws.answer_is_greedy(same, src, expected).require()
    laws.cache_equals_full(same, src, torch.cat([torch.zeros_like(src[:, :1]), expected], dim=1)).require()
    sources = [[token for token in row if token != 0] for row in src.tolist()]
    answers = translate_ids(same, sources, max_new_tokens=11, batch_size=2, use_cache=use_cache)
    assert answers == [[token for token in row if token != 0] for row in expected.tolist()]
    pairs = [(source, [0, *answer]) for source, answer in zip(sources, answers, strict=True)]
    assert exact_match(same, pairs, use_cache=use_cache) == 1.0


def test_bos_equal_to_padding_trains() -> None:
    pairs = [([5, 6, 7], [0, 8, 9, 2]), ([5, 3], [0, 4, 2]), ([9], [0, 2])]
    batches = TokenBatches(pairs, pad_id=0)
    assert batches.take(torch.arange(3)).tgt_ids.tolist() == [[0, 8, 9, 2], [0, 4, 2, 0], [0, 2, 0, 0]]
    model = Transformer(tiny_config(**BOS_IS_PAD, n_encoder_layers=1, n_decoder_layers=1))
    Trainer(model, batches, rate=lambda step: 2e-2).fit(40, show=False)
    assert exact_match(model, pairs) == 1.0


@in_float64()
def test_bos_equal_to_padding_survives_a_file(tmp_path) -> None:
    _, same = twins()
    same.save(tmp_path / "model.pt")
    loaded = type(same).load(tmp_path / "model.pt")
    assert loaded.config == same.config and loaded.config.bos_id == loaded.config.pad_id == 0
