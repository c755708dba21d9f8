"""Conversion into torch's modules and back; wrappers and adapters; sources that are no models."""

import ast
import copy
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
    causal_mask,
    interop,
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


@in_float64()
def test_a_layer_that_runs_twice_stays_one() -> None:
    ours = redraw(Encoder(2, *SIZES, 0.0))
    ours.layers[1] = ours.layers[0]
    theirs = to_torch(ours)
    back = from_torch(theirs)
    assert theirs.layers[0] is theirs.layers[1] and back.layers[0] is back.layers[1]
    (x,) = vectors(SRC_LEN)
    close(theirs(x), ours(x))
    close(back(x), ours(x))


@in_float64()
def test_an_activation_may_have_weights() -> None:
    ours = redraw(EncoderLayer(*SIZES, 0.0, activation=nn.PReLU()))
    theirs = to_torch(ours)
    (x,) = vectors(SRC_LEN)
    close(theirs(x), ours(x))
    same_values(ours, from_torch(theirs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_to_the_bit(dtype: torch.dtype) -> None:
    ours = redraw(Decoder(2, *SIZES, 0.0, norm_first=True)).to(dtype)
    ours.norm.float()  # each tensor has its own type
    theirs = to_torch(ours)
    assert {x.dtype for x in theirs.layers.parameters()} == {dtype} and theirs.norm.weight.dtype == torch.float32
    same_values(ours, from_torch(theirs))


def test_copies_are_independent() -> None:
    """Of what they were made from, and of what `deepcopy` makes of them; an activation has a mode, and is copied."""
    ours = redraw(EncoderLayer(*SIZES, activation=nn.RReLU()))
    theirs = to_torch(ours).eval()
    back = from_torch(theirs).train()
    assert [part.training for part in (ours.feed_forward.activation, theirs.activation)] == [True, False]
    assert back.feed_forward.activation.training
    same_values(ours, copy.deepcopy(back))
    same_values(ours, from_torch(copy.deepcopy(theirs)).train())


# What other libraries put around a module, or in the place of a part


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # when torch imports its compiler
@pytest.mark.parametrize("path", ["", "layers.1", "layers.1.self_attn", "layers.0.{}"])
def test_wrapped_by_the_compiler(path: str) -> None:
    """`torch.compile` leaves no trace, wherever it was called; nothing need be compiled for that."""

    def wrap(module: nn.Module, linear: str) -> nn.Module:
        place = path.format(linear)
        if not place:
            return torch.compile(module)
        module.set_submodule(place, torch.compile(module.get_submodule(place)))
        return module

    ours = redraw(Decoder(2, *SIZES, 0.0))
    expected = copy.deepcopy(ours)
    theirs = to_torch(wrap(ours, "feed_forward.fc1"))
    same_values(expected, from_torch(theirs))
    same_values(expected, from_torch(wrap(theirs, "linear1")))


@pytest.mark.parametrize("place", ["self_attn.q_proj", "self_attn.k_proj", "cross_attn.out_proj", "feed_forward.fc1"])
def test_to_torch_refuses_an_adapter_by_name(place: str) -> None:
    ours = Decoder(2, *SIZES)
    _adapt(ours, f"layers.1.{place}")
    with pytest.raises(ValueError, match=r"TransformerDecoder \(adapters must be merged first\): .*1\.\w+.*lora_B"):
        to_torch(ours)


@pytest.mark.parametrize("place", ["self_attn.out_proj", "linear1", "linear2"])
def test_from_torch_refuses_an_adapter_by_name(place: str) -> None:
    theirs, _ = torch_stacks(norm_first=True)
    _adapt(theirs, f"layers.1.{place}")
    with pytest.raises(ValueError, match=r"Encoder \(adapters must be merged first\): .*layers\.1\.\w+.*lora_B"):
        from_torch(theirs)


def test_from_torch_refuses_a_part_that_it_does_not_know() -> None:
    theirs = nn.TransformerEncoderLayer(*SIZES)
    theirs.bottleneck = nn.Linear(D_MODEL, D_MODEL)
    with pytest.raises(ValueError, match=r'Unexpected key\(s\) in state_dict: "bottleneck.weight", "bottleneck.bias"'):
        from_torch(theirs)
    pruned = nn.TransformerEncoderLayer(*SIZES)
    torch.nn.utils.parametrizations.weight_norm(pruned.linear2)
    with pytest.raises(ValueError, match=r'Missing key.*"feed_forward.fc2.weight".*Unexpected key.*parametrizations'):
        from_torch(pruned)


def _adapt(module: nn.Module, place: str) -> None:
    """Put something else in the place of a linear map, as low-rank adapters do."""
    module.set_submodule(place, nn.ModuleDict({"base_layer": module.get_submodule(place), "lora_B": nn.Linear(2, 3)}))


def _two_norms() -> EncoderLayer:
    layer = EncoderLayer(*SIZES)
    layer.feed_forward_residual.norm_first = True
    return layer


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: nn.Linear(2, 3), "cannot convert Linear of torch.nn"),
        (lambda: FeedForward(8, 16), "cannot convert FeedForward"),
        (lambda: tiny_model(), "cannot convert Transformer"),
        (_two_norms, "EncoderLayer with both pre-norm and post-norm"),
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
