"""The fast model is the model: the same logits, loss, gradients and answers, with nothing computed for padding."""

import copy

import pytest
import torch
import torch.nn.functional as F
from helpers import SOURCES, close, in_float64, lively_model, tiny_config, tiny_model
from torch import nn

from transformer_lib import TokenBatches, Trainer, record_attention, token_loss
from transformer_lib.attention import scaled_dot_product_attention
from transformer_lib.beam import beam_search
from transformer_lib.data.batches import pad_sequences
from transformer_lib.decoding import greedy_decode
from transformer_lib.fast import FastAttention, FastTransformer
from transformer_lib.fast.kernels import CACHED, ROWS, FastDropout, FastLinear, wide_instructions
from transformer_lib.loss import batch_loss

TARGETS = [[1, 7, 8, 9, 2], [1, 3, 2], [1, 5, 6, 7, 8, 9, 10, 2], [1, 4, 4, 2], [1, 2]]
SRC_IDS, TGT_IDS = torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]])


def twins(plain=None, **changes):
    """A model and the fast one with its weights, in evaluation mode."""
    plain = plain or tiny_model(**changes)
    fast = FastTransformer(plain.config).to(plain.output.weight.dtype).eval()
    fast.load_state_dict(plain.state_dict())
    return plain, fast


FUSED = ["fused"] if hasattr(F, "linear_cross_entropy") else []  # an older torch knows only the other way


@pytest.fixture(params=["through the output layer", *FUSED])
def way_to_the_loss(request, monkeypatch):
    """Each way to the loss."""
    if request.param != "fused":
        monkeypatch.delattr(F, "linear_cross_entropy", raising=False)


@pytest.mark.parametrize("changes", [{}, {"norm_first": True}, {"bos_id": 0}], ids=str)  # BOS may be padding
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@in_float64()
def test_same_memory_logits_loss_and_gradients(changes, smoothing, way_to_the_loss):
    plain, fast = twins(**changes)
    src_ids, tgt_ids = pad_sequences(SOURCES), pad_sequences(TARGETS)
    tgt_ids[:, 0] = plain.config.bos_id
    wanted = tgt_ids[:, 1:]
    logits, quick = plain(src_ids, tgt_ids[:, :-1]), fast(src_ids, tgt_ids[:, :-1])
    close(quick[wanted != 0], logits[wanted != 0])
    assert (quick[wanted == 0] == 0).all()
    (memory, mask), (quick_memory, same) = plain.encode(src_ids), fast.encode(src_ids)
    assert torch.equal(mask, same)
    close(quick_memory[src_ids != 0], memory[src_ids != 0])
    assert (quick_memory[src_ids == 0] == 0).all()
    for model in (plain, fast):
        model.zero_grad()
    total, number = token_loss(logits, wanted, pad_id=0, smoothing=smoothing)
    for function in (fast.loss, lambda *batch: batch_loss(fast, *batch)):
        quick_total, quick_number = function(src_ids, tgt_ids, smoothing)
        torch.testing.assert_close(quick_total, total, rtol=1e-12, atol=0)
        assert quick_number == number == sum(len(target) - 1 for target in TARGETS)
    total.backward()
    quick_total.backward()
    for (name, a), b in zip(plain.named_parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("norm_first", [False, True])
def test_same_answers(seed, norm_first):
    models, src_ids = twins(lively_model(seed, norm_first)), pad_sequences(SOURCES)
    for decode, more in ((greedy_decode, {}), (greedy_decode, {"use_cache": False}), (beam_search, {"beam_size": 3})):
        assert torch.equal(*(decode(model, src_ids, max_new_tokens=12, **more) for model in models))


@in_float64()
def test_a_step_is_the_step_of_the_plain_model():
    """Several tokens at once take the long way; one token the short one. All fill one cache."""
    plain, fast = twins()
    src_ids, tgt_ids = pad_sequences(SOURCES), torch.randint(3, 9, (len(SOURCES), 6))
    memory, mask = plain.encode(src_ids)
    whole = plain.decode(tgt_ids, memory, mask)
    cache = fast.new_cache(6)
    steps = [fast.decode(tgt_ids[:, a:b], memory, mask, cache) for a, b in ((0, 2), (2, 3), (3, 5), (5, 6))]
    close(torch.cat(steps, dim=1), whole)


@in_float64()
def test_attention_can_be_recorded():
    """The maps are those of the plain model, wherever a real token asks."""
    plain, fast = twins()
    src_ids, tgt_ids = pad_sequences(SOURCES), pad_sequences(TARGETS)[:, :-1]
    maps = []
    for model in (plain, fast):
        with record_attention(model) as weights:
            model(src_ids, tgt_ids)
            taught = dict(weights)
            greedy_decode(model, src_ids, max_new_tokens=5)
        maps.append([taught, {name: w for name, w in weights.items() if "decoder" in name}])
    asks = {"encoder": src_ids != 0, "decoder": (tgt_ids != 0) & (tgt_ids != 2)}
    assert maps[0][0].keys() == maps[1][0].keys()
    for name, w in maps[0][0].items():
        real = asks[name.split(".")[0]]
        close(maps[1][0][name].transpose(1, 2)[real], w.transpose(1, 2)[real])
    for name, w in maps[0][1].items():
        close(maps[1][1][name], w)


def test_checkpoints_are_the_same(tmp_path):
    plain, fast = twins()
    plain.save(tmp_path / "plain.safetensors")
    loaded = FastTransformer.load(tmp_path / "plain.safetensors")
    assert isinstance(loaded, FastTransformer)
    assert loaded.state_dict().keys() == plain.state_dict().keys() == fast.state_dict().keys()
    assert torch.equal(loaded.output.weight, plain.output.weight)


def test_every_module_is_called():
    """So hooks hear, and what a tool wraps around a part is run. The plain model does not pass over any part either."""
    src_ids, tgt_ids = pad_sequences(SOURCES), pad_sequences(TARGETS)
    works = {
        "forward": lambda model: model(src_ids, tgt_ids[:, :-1]),
        "loss": lambda model: batch_loss(model, src_ids, tgt_ids),
        "greedy": lambda model: greedy_decode(model, src_ids, max_new_tokens=2),
    }
    for what, work in works.items():
        for model in twins(norm_first=True):
            parts = {name: part for name, part in model.named_modules() if not isinstance(part, nn.ModuleList)}
            if what != "forward":
                del parts[""]  # the model itself is not called where its parts are
            silent = set(parts)
            for name, part in parts.items():
                part.register_forward_hook(lambda *args, name=name, silent=silent: silent.discard(name))
            work(model)
            assert not silent, f"{type(model).__name__}, {what}"


class Times20(nn.Linear):
    """An output layer that does more than its weight says."""

    def forward(self, x):
        return 20 * super().forward(x)


CHANGES = {
    "another class": lambda output: setattr(output, "__class__", Times20),
    "a hook": lambda output: output.register_forward_hook(lambda module, inputs, logits: 20 * logits),
    "a hook before it": lambda output: output.register_forward_pre_hook(lambda module, inputs: (20 * inputs[0],)),
    "another forward": lambda output: setattr(output, "forward", lambda x: 20 * F.linear(x, output.weight)),
    "no bias": lambda output: setattr(output, "bias", None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@in_float64()
def test_what_is_trained_goes_through_the_output_layer(change, smoothing):
    """It is the loss of the logits, whatever somebody puts in the place of the last layer."""
    batch, models = (pad_sequences(SOURCES), pad_sequences(TARGETS), smoothing), twins()
    before, _ = batch_loss(models[0], *batch)
    for model in models:
        change(model.output)
    plain, fast = (batch_loss(model, *batch)[0] for model in models)
    close(fast, plain)
    assert abs(plain - before) > 1e-3


def test_hooks_for_gradients_and_for_all_modules_are_heard():
    heard = []
    for kind in ("register_full_backward_hook", "register_full_backward_pre_hook"):
        _, fast = twins()
        getattr(fast.output, kind)(lambda *args, kind=kind: heard.append(kind))
        fast.loss(SRC_IDS, TGT_IDS)[0].backward()
        assert heard.pop() == kind
    _, fast = twins()
    handle = nn.modules.module.register_module_forward_hook(lambda module, *args: heard.append(module))
    fast.loss(SRC_IDS, TGT_IDS)
    handle.remove()
    assert fast.output in heard


class Adapter(nn.Module):
    """A layer of somebody's own, around one of ours, with none of its attributes."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.more = inner, nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.inner(x) * (1 + self.more)


@pytest.mark.parametrize("name", ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2", "output"])
@in_float64()
def test_somebodys_own_layer_in_the_place_of_a_linear_map(name):
    found = []
    for model in twins():
        for owner in list(model.modules()):
            if name in owner._modules:
                setattr(owner, name, Adapter(getattr(owner, name)))
        loss, _ = batch_loss(model, SRC_IDS, TGT_IDS, 0.1)
        loss.backward()
        gradients = [part.more.grad for part in model.modules() if isinstance(part, Adapter)]
        assert len(gradients) == {"output": 1, "fc1": 5, "fc2": 5}.get(name, 8)
        found.append((torch.stack([loss, *gradients]), greedy_decode(model, SRC_IDS, max_new_tokens=6)))
    (plain, answer), (fast, same) = found
    close(fast, plain)
    assert (plain.abs() > 1e-9).all()
    assert torch.equal(answer, same)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_of_16_bits_are_summed_in_32(dtype, smoothing):
    plain, fast = twins()
    src_ids, tgt_ids = (pad_sequences(rows).repeat(200, 1) for rows in (SOURCES, TARGETS))
    right = batch_loss(plain, src_ids, tgt_ids, smoothing)[0].item()
    for model in (plain.to(dtype), fast.to(dtype)):
        assert batch_loss(model, src_ids, tgt_ids, smoothing)[0].item() == pytest.approx(right, rel=5e-3)


NOTHING, EMPTY = torch.empty(0, 5, dtype=torch.int64), torch.empty(2, 0, dtype=torch.int64)


@pytest.mark.parametrize("way", [lambda model, *ids: model(*ids), lambda model, *ids: batch_loss(model, *ids, 0.1)[0]])
@in_float64()
def test_nothing_to_compute(way):
    """No sentence, no source, no target: what the plain model gives. With dropout, in training, it runs as well.

    Decoding: see test_decoding.py.
    """
    for ids in ((NOTHING, TGT_IDS[:0, :2]), (EMPTY, TGT_IDS[:, :2]), (SRC_IDS, TGT_IDS[:, :1]), (SRC_IDS, EMPTY)):
        plain, fast = (way(model, *ids) for model in twins())
        close(fast, plain)
        for model in twins(dropout=0.3):
            answer = way(model.train(), *ids)
            assert not answer.isnan().any()
            answer.sum().backward()


def test_it_is_exported_with_batch_and_lengths_open(without_shape_checks):
    plain, fast = twins(n_encoder_layers=1, n_decoder_layers=1)
    batch, longest = torch.export.Dim("batch", max=64), fast.config.max_len
    src, tgt = (torch.export.Dim(name, max=longest) for name in ("src_len", "tgt_len"))
    ids = pad_sequences([[3, 4, 5, 6, 7], [8, 9], [3, 3, 3]]), pad_sequences([[1, 5, 6], [1, 7], [1, 8, 9]])
    exported = torch.export.export(fast, ids, dynamic_shapes=({0: batch, 1: src}, {0: batch, 1: tgt})).module()
    for ids in ((SRC_IDS, TGT_IDS), (pad_sequences(SOURCES), pad_sequences(TARGETS)), (SRC_IDS[:1], TGT_IDS[:1, :2])):
        torch.testing.assert_close(exported(*ids), fast(*ids))
        real = (ids[1] != 0) & (ids[1] != 2)
        torch.testing.assert_close(exported(*ids)[real], plain(*ids)[real], rtol=1e-4, atol=1e-4)


def in_place(model, **options):
    model.compile(**options)
    return model


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's, of its own doing
@pytest.mark.parametrize("compiled", [torch.compile, in_place])
def test_a_compiled_model_is_trained_as_it_was_compiled(compiled, without_shape_checks):
    """What the compiler returns for the layers is what runs, in every step, and the loss is the same."""
    sizes = []

    def backend(graph, inputs):
        return lambda *arguments: sizes.append(len(graph.graph.nodes)) or graph.forward(*arguments)

    torch._dynamo.reset()
    _, fast = twins(n_encoder_layers=1, n_decoder_layers=1)
    batches = TokenBatches([*zip(SOURCES, TARGETS, strict=True)], batch_tokens=99)
    models = fast, compiled(copy.deepcopy(fast), backend=backend)
    plain, quick = (Trainer(model.train(), batches, rate=lambda step: 1e-2, smoothing=0.1) for model in models)
    for _ in range(2):
        expected = plain.train_step().item()
        assert not sizes
        assert quick.train_step().item() == pytest.approx(expected, rel=1e-5)
        assert max(sizes) > 50  # a layer has as many operations as that
        sizes.clear()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("beyond", [tiny_config().tgt_vocab_size, -3, -100])
def test_a_target_outside_the_vocabulary_is_refused(smoothing, beyond):
    """-100 too, which torch passes over where nobody tells it what padding is."""
    last = torch.tensor([[1, beyond]])  # a target only: no embedding meets it
    with pytest.raises((IndexError, RuntimeError), match=f"{beyond} is out of bounds"):
        FastTransformer(tiny_config()).loss(torch.tensor([[3]]), last, smoothing)
    with pytest.raises(ValueError, match=r"smoothing must be at least 0 and below 1, got 1\.0"):
        FastTransformer(tiny_config()).loss(torch.tensor([[3]]), last, smoothing=1.0)


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout, x = FastDropout(0.3), torch.ones(1001, 1003)
    y = dropout(x)
    assert (y == 0).float().mean() == pytest.approx(0.3, abs=0.002)
    assert y.mean() == pytest.approx(1.0, abs=0.003)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    for axis in (0, 1):  # no row and no column is spared: bits are used once, and all four quarters of a word
        shares = (y == 0).float().mean(dim=axis)
        assert shares.min() > 0.2
        assert shares.max() < 0.4
    quarters = (y.flatten()[: 4 * (y.numel() // 4)].view(-1, 4) == 0).float()
    assert quarters.mean(dim=0).tolist() == pytest.approx([0.3] * 4, abs=0.005)
    assert torch.corrcoef(quarters.T).fill_diagonal_(0).abs().max() < 0.01
    x.requires_grad_()
    z = dropout(x)
    z.sum().backward()
    assert torch.equal(x.grad, z.detach())
    assert dropout.eval()(x) is x


@pytest.mark.parametrize(("p", "share"), [(0.0, 0.0), (1e-9, 0.0), (1.0, 1.0)])
def test_dropout_of_almost_nothing_or_all_is_torchs(p, share):
    y = FastDropout(p)(torch.ones(100))
    assert (y == 0).float().mean() == share


@pytest.mark.parametrize("q_len", [1, 5])
@in_float64()
def test_both_ways_to_attend_are_the_formula(q_len, monkeypatch):
    """With dropout too (which drops nothing here), and where a query may look at nothing."""
    monkeypatch.setattr("transformer_lib.fast.attention.drop", lambda x, p: x)
    attention = FastAttention(6, 3, dropout=0.3)
    q, k, v = torch.randn(2, 3, q_len, 2), *torch.randn(2, 2, 3, 7, 2)
    mask = torch.rand(2, 1, q_len, 7) > 0.5
    mask[0, 0, 0] = False
    for allowed in (mask, None):
        expected, _ = scaled_dot_product_attention(q, k, v, allowed)
        for mode in (True, False):
            close(attention.train(mode).attend(q, k, v, allowed), expected)


def test_attention_drops_its_share_of_weights():
    """All values are 1, so a query's output is the sum of the weights that are left."""
    attention = FastAttention(6, 3, dropout=0.3)
    q, k, v = torch.zeros(4, 3, 50, 2), torch.zeros(4, 3, 40, 2), torch.ones(4, 3, 40, 2)
    left = attention.attend(q, k, v, None)
    assert left.mean() == pytest.approx(1.0, abs=0.02)
    assert left[..., 0].var() == pytest.approx(0.3 / 0.7 / 40, rel=0.2)
    assert torch.equal(attention.eval().attend(q, k, v, None), v.mean(dim=2, keepdim=True).expand_as(q))


@pytest.fixture
def copies(monkeypatch):
    """Shapes of what was copied for oneDNN, on a CPU that we say has AVX-512; without oneDNN nothing is copied."""
    shapes, copy = [], torch.Tensor.to_mkldnn if torch.backends.mkldnn.is_available() else lambda x: x
    monkeypatch.setattr("transformer_lib.fast.kernels.wide_instructions", lambda: True)
    monkeypatch.setattr(torch.Tensor, "to_mkldnn", lambda x, *args: shapes.append(tuple(x.shape)) or copy(x, *args))
    return shapes


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(ROWS, 1, 24), (4, 8, 24), (3, 20, 24)])
@torch.no_grad()
def test_onednn_multiplies_as_torch_does(shape, bias, copies):
    torch.manual_seed(0)
    linear = nn.Linear(24, 40, bias=bias)
    for x in (torch.randn(shape), torch.randn(*shape[:-2], shape[-1], shape[-2]).transpose(-1, -2)):
        expected = linear(x)
        linear.__class__ = FastLinear
        torch.testing.assert_close(linear(x), expected, rtol=1e-5, atol=1e-6)
        linear.__class__ = nn.Linear
    assert copies == [shape, shape]


def test_onednn_is_asked_only_where_it_is_quicker(copies):
    linear, x = FastLinear(24, 40), torch.randn(ROWS, 1, 24)

    def asked(linear, x):
        copies.clear()
        linear(x)
        return bool(copies)

    assert not asked(linear, x), "a gradient may be wanted"
    with torch.no_grad():
        assert asked(linear, x)
        assert not asked(linear, x[1:]), "few rows"
        assert not asked(linear, torch.randn(CACHED // 40 + 1, 1, 24)), "a large result"
        assert asked(linear, torch.randn(CACHED // 40, 1, 24))
        assert not asked(linear, x[:, 0]), "not three axes"
        with torch.autocast("cpu", torch.bfloat16):
            assert not asked(linear, x)
        assert not asked(FastLinear(24, 40, dtype=torch.float64), x.double())
        with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
            linear(x[..., 1:])
        with pytest.raises(RuntimeError, match="dtype"):
            linear.double()(x)
    assert wide_instructions() is (torch.backends.cpu.get_cpu_capability() == "AVX512")


@torch.no_grad()
def test_a_compiler_gets_torchs_own_products(copies, without_shape_checks):
    linear, x = FastLinear(24, 40), torch.randn(ROWS, 1, 24)
    compiled = torch.compile(linear, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), linear(x), rtol=1e-5, atol=1e-6)
    assert copies == [(ROWS, 1, 24)]  # of the one that is not compiled


@torch.no_grad()
def test_answers_through_onednn_are_the_same(copies):
    plain, fast = twins(d_model=32)
    src_ids = torch.randint(3, 9, (ROWS, 6), generator=torch.Generator().manual_seed(0))
    assert torch.equal(greedy_decode(plain, src_ids, max_new_tokens=8), greedy_decode(fast, src_ids, max_new_tokens=8))
    assert (ROWS, 1, 32) in copies
