"""The same model on other ground: number types, threads, the compiler, exports and traces, a GPU where there is one."""

import copy
import functools
from collections.abc import Iterator

import pytest
import torch
from helpers import close, in_float64, source_ids, target_ids, tiny_config, tiny_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from transformer_lib import Transformer, TransformerConfig, evaluate, greedy_decode, laws, token_loss
from transformer_lib.data.batches import TokenBatches


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu])])
def device(request) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    return request.param


def _gradients(model: nn.Module, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten().float() for p in model.parameters()])


def _cosine(a: Tensor, b: Tensor) -> float:
    return torch.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0).item()


@pytest.mark.parametrize("norm_first", [False, True])
def test_autocast_to_bfloat16_computes_the_same_within_its_precision(device: str, norm_first: bool) -> None:
    model = tiny_model(norm_first=norm_first).to(device)
    src, tgt = source_ids().to(device), target_ids().to(device)
    found = []
    for enabled in (False, True):
        with torch.autocast(device, torch.bfloat16, enabled=enabled):
            logits = model(src, tgt)
            total, number = token_loss(logits, tgt, pad_id=0)
        found.append((logits, total / number, _gradients(model, total / number)))
    (logits, loss, gradient), (half_logits, half_loss, half_gradient) = found
    assert logits.dtype == torch.float32 and half_logits.dtype == torch.bfloat16
    assert _cosine(logits, half_logits) > 0.999 and _cosine(gradient, half_gradient) > 0.99
    assert abs(loss.item() - half_loss.item()) < 0.02 * loss.item()
    assert half_gradient.isfinite().all()


def test_the_laws_hold_under_autocast(device: str) -> None:
    model = tiny_model(norm_first=True).to(device)
    src, tgt = source_ids().to(device), target_ids().to(device)

    def autocast(tgt: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return model(src, tgt)

    laws.causality(autocast, tgt, (tgt + 1) % 37, tolerance=0.0).require()
    with torch.autocast(device, torch.bfloat16):
        laws.cache_equals_full(model, src, tgt, tolerance=0.05).require()
        laws.padding_invariance(
            lambda memory: model.decode(tgt, memory, (src != 0)[:, None, None, :]),
            *torch.randn(2, *src.shape, 22, device=device),
            src != 0,
            real_outputs=torch.ones_like(tgt, dtype=torch.bool),
        ).require()
        greedy_decode(model, src, max_new_tokens=4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("tie", [False, True])
def test_the_laws_of_the_whole_model_hold_in_every_type(device: str, dtype, norm_first: bool, tie: bool) -> None:
    model = tiny_model(norm_first=norm_first, tie_embeddings=tie).to(device, dtype)
    src, tgt = source_ids().to(device), target_ids().to(device)
    other = (tgt + 1) % 37
    assert model(src, tgt).dtype == dtype
    laws.causality(lambda tgt: model(src, tgt), tgt, other, tolerance=0.0 if device == "cpu" else None).require()
    laws.every_token_counts(lambda tgt: model(src, tgt), tgt, other, tolerance=0.0).require()
    loose = 0.1 if dtype == torch.bfloat16 else None  # shapes decide in which order a kernel adds up
    laws.batch_equals_single(model, src, tgt, tolerance=loose).require()
    laws.cache_equals_full(model, src, tgt, tolerance=loose).require()
    laws.train_equals_eval(model, src, tgt).require()
    laws.evaluation_is_deterministic(model, src, tgt).require()
    laws.layers_are_distinct(model.encoder.layers).require()
    answer = greedy_decode(model, src, max_new_tokens=6)
    ties = 0.3 if dtype == torch.bfloat16 else 1e-4
    laws.answer_is_greedy(model, src, answer, max_new_tokens=6, tolerance=ties).require()


@in_float64()
def test_two_threads_compute_what_one_computes() -> None:
    model = Transformer(TransformerConfig(src_vocab_size=50, tgt_vocab_size=50, d_model=64, dropout=0.0))
    src, tgt = torch.randint(3, 50, (2, 32, 24))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        loss, number = token_loss(model(src, tgt), tgt, pad_id=0)
        found.append((model(src, tgt), _gradients(model, loss / number)))
    (one, gradient), (two, other_gradient) = found
    close(one, two)
    torch.testing.assert_close(gradient, other_gradient)
    torch.set_num_threads(1)


@pytest.mark.usefixtures("without_shape_checks")  # they are not compiled
def test_forward_backward_and_every_step_of_decoding_compile_without_a_graph_break(device: str) -> None:
    model = tiny_model(norm_first=True, n_encoder_layers=1, n_decoder_layers=1).to(device)
    src, tgt = source_ids().to(device), target_ids().to(device)

    def loss(src: Tensor, tgt: Tensor) -> Tensor:
        total, number = token_loss(model(src, tgt[:, :-1]), tgt[:, 1:], pad_id=0)
        return total / number

    torch._dynamo.reset()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(_gradients(model, compiled(src, tgt)), _gradients(model, loss(src, tgt)))
    with torch.no_grad():
        memory, mask = torch.compile(model.encode, backend="eager", fullgraph=True)(src)
        step = torch.compile(model.decode, backend="eager", fullgraph=True, dynamic=True)
        cache, pieces = model.new_cache(), []
        for token in tgt.split(1, dim=1):
            pieces.append(step(token, memory, mask, cache))
        torch.testing.assert_close(torch.cat(pieces, dim=1), model(src, tgt))


def in_eval_mode() -> Transformer:
    return tiny_model(norm_first=True, n_encoder_layers=1, n_decoder_layers=1)


def other_sizes() -> Iterator[tuple[Tensor, Tensor]]:
    """Batches and lengths that no tool was shown, the first with padding."""
    yield source_ids(seq=9), target_ids(seq=7)
    for batch, src_len, tgt_len in ((1, 1, 1), (5, 13, 2), (64, 3, 13)):
        yield torch.randint(3, 37, (batch, src_len)), torch.randint(3, 37, (batch, tgt_len))


@pytest.mark.parametrize("strict", [False, True])
def test_an_export_leaves_batch_and_lengths_open(without_shape_checks: None, strict: bool) -> None:
    model = in_eval_mode()
    names = "batch", "src_len", "tgt_len"
    batch, src_len, tgt_len = (torch.export.Dim(name, min=1, max=13 if name != "batch" else 99) for name in names)
    shapes = ({0: batch, 1: src_len}, {0: batch, 1: tgt_len})
    program = torch.export.export(model, (source_ids(), target_ids()), dynamic_shapes=shapes, strict=strict).module()
    for src, tgt in other_sizes():
        assert torch.equal(program(src, tgt), model(src, tgt))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace.* is:DeprecationWarning")
def test_a_trace_holds_at_other_lengths_and_with_padding(without_shape_checks: None) -> None:
    """What TensorBoard's `add_graph`, the older ONNX exporter and counters of operations do."""
    model = in_eval_mode()
    traced = torch.jit.trace(model, (source_ids(), target_ids()))
    for src, tgt in other_sizes():
        torch.testing.assert_close(traced(src, tgt), model(src, tgt), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_of_each_sentence_by_vmap(without_shape_checks: None, smoothing: float) -> None:
    model, src, tgt = in_eval_mode(), source_ids(), target_ids()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss(weights: dict[str, Tensor], src: Tensor, tgt: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, weights, (src[None], tgt[None, :-1]))
        return token_loss(logits, tgt[None, 1:], pad_id=0, smoothing=smoothing)[0]

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, src, tgt)
    for i in range(len(src)):
        for name, gradient in torch.func.grad(loss)(weights, src[i], tgt[i]).items():
            torch.testing.assert_close(each[name][i], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_an_ensemble_by_vmap(without_shape_checks: None) -> None:
    models, src, tgt = [in_eval_mode() for _ in range(3)], source_ids(), target_ids()
    weights, buffers = torch.func.stack_module_state(models)
    call = lambda weights, buffers: torch.func.functional_call(models[0], (weights, buffers), (src, tgt))  # noqa: E731
    together = torch.func.vmap(call)(weights, buffers)
    torch.testing.assert_close(together, torch.stack([model(src, tgt) for model in models]))


def test_tools_that_look_at_no_numbers(without_shape_checks: None) -> None:
    model, src, tgt = in_eval_mode(), source_ids(), target_ids()
    graph = make_fx(model)(source_ids(), target_ids())
    assert torch.equal(graph(src, tgt), model(src, tgt))
    with FakeTensorMode():
        fake = Transformer(tiny_config())
        assert fake(torch.ones(2, 5).long(), torch.ones(2, 4).long()).shape == (2, 4, 37)


def test_layers_are_computed_again_instead_of_kept() -> None:
    """Gradient checkpointing, dropout included."""
    model, src, tgt = tiny_model(dropout=0.3).train(), source_ids(), target_ids()
    found = []
    for again in (False, True):
        torch.manual_seed(4)
        if again:
            for layer in (*model.encoder.layers, *model.decoder.layers):
                layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
        found.append(_gradients(model, token_loss(model(src, tgt), tgt, pad_id=0)[0]))
    assert torch.equal(*found)


def test_copies_share_nothing_and_keep_the_tie() -> None:
    model, src, tgt = tiny_model(tie_embeddings=True), source_ids(), target_ids()
    twin, before = copy.deepcopy(model), model(src, tgt)
    assert torch.equal(twin(src, tgt), before)
    assert twin.output.weight is twin.tgt_embedding.weight and twin.output.weight is not model.output.weight
    nn.init.zeros_(twin.output.weight)
    assert torch.equal(model(src, tgt), before)


def test_a_model_moves_to_the_device_with_all_it_holds(device: str) -> None:
    model = Transformer(tiny_config()).to(device)
    held = [*model.parameters(), *model.buffers()]
    assert {part.device.type for part in held} == {device}
    pairs = [([5, 6, 7], [1, 8, 9, 2]), ([5, 4], [1, 8, 2])]
    assert evaluate(model, TokenBatches(pairs, batch_tokens=16)).loss > 0
    assert greedy_decode(model, source_ids().to(device), max_new_tokens=3).device.type == device
