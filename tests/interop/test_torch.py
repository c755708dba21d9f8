"""torch's modules into ours and back: the same function, what is kept, and what is refused."""

import ast
import copy
from pathlib import Path

import helpers
import pytest
import torch
import torch.nn.functional as F
from helpers import D_FF, D_MODEL, HEADS, SRC_LEN, TGT_LEN, close, in_float64, ragged, redraw, vectors
from torch import nn

from transformer_lib import Decoder, Encoder, EncoderLayer, LayerNorm, MultiHeadAttention, causal_mask
from transformer_lib.interop import from_torch, to_torch

SIZES = (D_MODEL, HEADS, D_FF)
both_norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
activations = pytest.mark.parametrize("activation", [F.relu, F.gelu, F.silu, nn.GELU(approximate="tanh")])
modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def same_values(ours: nn.Module, back: nn.Module) -> None:
    """Require two modules to have the same type and the same parameters, to the bit, and not to share them."""
    assert type(ours) is type(back) and str(ours) == str(back)
    state, other = ours.state_dict(), back.state_dict()
    assert list(state) == list(other)
    for name, value in state.items():
        assert torch.equal(value, other[name]) and value.data_ptr() != other[name].data_ptr()


@in_float64()
def test_layer_norm_and_attention() -> None:
    norm, attention = redraw(LayerNorm(D_MODEL, eps=0.25)), redraw(MultiHeadAttention(D_MODEL, HEADS))
    query, memory = vectors(TGT_LEN, SRC_LEN)
    their_norm, theirs = to_torch(norm), to_torch(attention)
    assert isinstance(their_norm, nn.LayerNorm) and isinstance(theirs, nn.MultiheadAttention)
    close(their_norm(query), norm(query))
    output, _ = theirs(query, memory, memory, key_padding_mask=~ragged(), need_weights=False)
    close(output, attention(query, memory, memory, ragged()[:, None, None, :]))
    same_values(norm, from_torch(their_norm))
    same_values(attention, from_torch(theirs))


@in_float64()
@both_norms
@activations
@modes
def test_encoder_and_decoder(norm_first: bool, activation, training: bool) -> None:
    encoder = redraw(Encoder(2, *SIZES, 0.0, norm_first, activation)).train(training)
    decoder = redraw(Decoder(3, *SIZES, 0.0, norm_first, activation)).train(training)
    their_encoder, their_decoder = to_torch(encoder), to_torch(decoder)
    assert isinstance(their_encoder, nn.TransformerEncoder) and their_encoder.num_layers == 2
    assert isinstance(their_decoder, nn.TransformerDecoder) and their_decoder.num_layers == 3
    x, memory = vectors(TGT_LEN, SRC_LEN)
    causal, real, late = causal_mask(TGT_LEN), ragged()[:, None, None, :], ~ragged()
    masks = dict(tgt_mask=~causal, memory_key_padding_mask=late)
    for gradients in (True, False):  # without, torch takes another path in evaluation mode
        with torch.set_grad_enabled(gradients):
            close(their_encoder(memory, src_key_padding_mask=late), encoder(memory, real))
            close(their_encoder(x, mask=~causal), encoder(x, causal))
            close(their_encoder.layers[1](memory, src_key_padding_mask=late), encoder.layers[1](memory, real))
            close(their_decoder(x, memory, **masks), decoder(x, memory, causal, real))
            close(their_decoder.layers[2](x, memory, **masks), decoder.layers[2](x, memory, causal, real))
    for ours, theirs in ((encoder, their_encoder), (decoder, their_decoder)):
        assert {part.training for part in theirs.modules()} == {training}
        same_values(ours, from_torch(theirs))
        same_values(ours.layers[0], from_torch(to_torch(ours.layers[0])))


@in_float64()
def test_sequence_first_modules() -> None:
    theirs = redraw(nn.TransformerEncoderLayer(*SIZES, 0.0))
    (x,) = vectors(SRC_LEN)
    close(from_torch(theirs)(x), theirs(x.transpose(0, 1)).transpose(0, 1))


@in_float64()
@pytest.mark.parametrize("stack", [Encoder, Decoder])
@modes
def test_type_mode_dropout_and_eps_of_every_layer_are_kept(stack: type, training: bool) -> None:
    ours = stack(2, *SIZES, 0.3).float().train(training)
    first, second = ours.layers
    first.self_attn.dropout, first.self_attn_residual.dropout.p, second.self_attn_residual.norm.eps = 0.1, 0.2, 0.25
    theirs = to_torch(ours)
    assert {p.dtype for p in theirs.parameters()} == {torch.float32}
    assert {part.training for part in theirs.modules()} == {training}
    one, two = theirs.layers
    assert (one.self_attn.dropout, one.dropout1.p, one.dropout.p, one.dropout2.p) == (0.1, 0.2, 0.3, 0.3)
    assert (one.norm1.eps, two.norm1.eps, two.norm2.eps, two.dropout1.p) == (1e-5, 0.25, 1e-5, 0.3)
    assert one.self_attn.batch_first
    back = from_torch(theirs)
    same_values(ours, back)
    names = "dropout", "eps", "training"
    one, two = ([vars(p).get(name) for p in m.modules() for name in names] for m in (ours, back))
    assert one == two


@in_float64()
def test_an_activation_may_have_weights_and_a_mode() -> None:
    for activation in (nn.PReLU(), nn.RReLU()):
        ours = redraw(EncoderLayer(*SIZES, 0.0, activation=activation))
        theirs = to_torch(ours).eval()
        assert [part.training for part in (ours.feed_forward.activation, theirs.activation)] == [True, False]
        same_values(ours, from_torch(theirs))
        (x,) = vectors(SRC_LEN)
        close(theirs(x), ours.eval()(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_to_the_bit(dtype: torch.dtype) -> None:
    ours = redraw(Decoder(2, *SIZES, 0.0, norm_first=True)).to(dtype)
    ours.norm.float()  # each tensor has its own type
    theirs = to_torch(ours)
    assert {x.dtype for x in theirs.layers.parameters()} == {dtype} and theirs.norm.weight.dtype == torch.float32
    same_values(ours, from_torch(theirs))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # when torch imports its compiler
def test_the_compilers_wrapper_leaves_no_trace() -> None:
    """Nothing need be compiled for that."""
    ours = redraw(Decoder(2, *SIZES, 0.0))
    same_values(ours, from_torch(torch.compile(to_torch(torch.compile(copy.deepcopy(ours))))))


def _adapted(module: nn.Module, place: str) -> nn.Module:
    """Put something else in the place of a linear map, as low-rank adapters do."""
    module.set_submodule(place, nn.ModuleDict({"base_layer": module.get_submodule(place), "lora_B": nn.Linear(2, 3)}))
    return module


def _with_a_part_more() -> nn.Module:
    theirs = nn.TransformerEncoderLayer(*SIZES)
    theirs.bottleneck = nn.Linear(D_MODEL, D_MODEL)
    return theirs


def _pruned() -> nn.Module:
    theirs = nn.TransformerEncoderLayer(*SIZES)
    torch.nn.utils.parametrizations.weight_norm(theirs.linear2)
    return theirs


def _stack(kind: str, norm_first: bool, norm: bool) -> nn.Module:
    stack, layer = getattr(nn, f"Transformer{kind}"), getattr(nn, f"Transformer{kind}Layer")
    return stack(layer(8, 2, 16, norm_first=norm_first), 2, nn.LayerNorm(8) if norm else None)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: nn.LayerNorm((2, 3)), "size mismatch for weight"),
        (lambda: nn.LayerNorm(3, bias=False), 'Missing key.*"bias"'),
        (lambda: nn.MultiheadAttention(8, 2, bias=False), 'Missing key.*"q_proj.bias"'),
        (lambda: nn.MultiheadAttention(8, 2, kdim=6), 'Unexpected key.*"q_proj_weight"'),
        (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), 'Unexpected key.*"bias_k", "bias_v"'),
        (lambda: nn.TransformerDecoderLayer(8, 2, bias=False), 'DecoderLayer.*Missing key.*"feed_forward.fc1.bias"'),
        (lambda: _stack("Encoder", True, norm=False), 'Missing key.*"norm.weight", "norm.bias"'),
        (lambda: _stack("Decoder", True, norm=False), 'Missing key.*"norm.weight", "norm.bias"'),
        (_with_a_part_more, r'Unexpected key\(s\) in state_dict: "bottleneck.weight", "bottleneck.bias"'),
        (_pruned, 'Missing key.*"feed_forward.fc2.weight".*Unexpected key.*parametrizations'),
        *(
            (lambda name=name: _adapted(_stack("Encoder", True, True), name), r"1\.\w+.*lora_B")
            for name in ("layers.1.self_attn.out_proj", "layers.1.linear1", "layers.1.linear2")
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_other_weights_are_named_by_torch(make, named: str) -> None:
    with pytest.raises(RuntimeError, match=f"(?s){named}"):
        from_torch(make())


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: nn.Linear(2, 3), "cannot convert Linear of torch.nn"),
        (lambda: nn.MultiheadAttention(8, 2, add_zero_attn=True), "add_zero_attn=True"),
        (lambda: _stack("Encoder", False, norm=True), "nn.TransformerEncoder with post-norm layers and a final norm"),
        (lambda: _stack("Decoder", False, norm=True), "nn.TransformerDecoder with post-norm layers and a final norm"),
    ],
)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_from_torch_refuses(make, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        from_torch(make())


@pytest.mark.parametrize("place", ["self_attn.q_proj", "self_attn.k_proj", "cross_attn.out_proj", "feed_forward.fc1"])
def test_to_torch_refuses_an_adapter(place: str) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)TransformerDecoder.*1\.\w+.*lora_B"):
        to_torch(_adapted(Decoder(2, *SIZES), f"layers.1.{place}"))


def test_to_torch_refuses_what_has_no_counterpart() -> None:
    for module, name in ((nn.Linear(2, 3), "Linear of torch.nn"), (helpers.tiny_model(), "Transformer")):
        with pytest.raises(ValueError, match=f"cannot convert {name}"):
            to_torch(module)


@in_float64()
def test_what_is_mixed_within_a_layer_is_kept_or_refused() -> None:
    """A layer of torch has one `norm_first`; its attentions may differ in their heads, and a stack in its layers."""
    (x, memory), theirs = vectors(SRC_LEN, SRC_LEN), redraw(nn.TransformerDecoderLayer(*SIZES, 0.0, batch_first=True))
    theirs.multihead_attn = redraw(nn.MultiheadAttention(D_MODEL, 1, batch_first=True))
    ours = from_torch(theirs)
    close(ours(x, memory), theirs(x, memory))
    with pytest.raises(ValueError, match="one n_heads, got several"):
        to_torch(ours)
    stack = redraw(Encoder(2, *SIZES, 0.0))
    stack.layers[1] = redraw(EncoderLayer(*SIZES, 0.0, norm_first=True))
    close(to_torch(stack)(x), stack(x))
    stack.layers[1].feed_forward_residual.norm_first = False
    with pytest.raises(ValueError, match="one norm_first, got several"):
        to_torch(stack)


def test_the_library_does_not_import_transformers() -> None:
    for path in (Path(__file__).parents[2] / "transformer_lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert "transformers" not in {name.split(".")[0] for name in names}, path
