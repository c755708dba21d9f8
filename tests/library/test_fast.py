"""The fast model is the model: the same logits, loss, gradients and answers, with nothing computed for padding."""

import pytest
import torch
from helpers import SOURCES, close, in_float64, lively_model, redraw, tiny_config
from torch import nn

from transformer_lib import TokenBatches, Trainer, Transformer, kernels, record_attention, token_loss
from transformer_lib.attention import MultiHeadAttention, scaled_dot_product_attention
from transformer_lib.batching import pad_sequences
from transformer_lib.beam import beam_search
from transformer_lib.data import speed
from transformer_lib.decoding import greedy_decode
from transformer_lib.fast import FastTransformer, Rows
from transformer_lib.kernels import CACHED, ROWS, FastDropout, FastLinear, attend, quicken, wide_instructions
from transformer_lib.loss import batch_loss

TARGETS = [[1, 7, 8, 9, 2], [1, 3, 2], [1, 5, 6, 7, 8, 9, 10, 2], [1, 4, 4, 2], [1, 2]]


def twins(**changes):
    """A lively model and the fast one with its weights, in evaluation mode."""
    plain = redraw(Transformer(tiny_config(**changes))).eval()
    fast = FastTransformer(plain.config).eval()
    fast.load_state_dict(plain.state_dict())
    return plain, fast


def test_smoothing_needs_a_token_to_share_with():
    model = FastTransformer(tiny_config(tgt_vocab_size=2, pad_id=0, bos_id=0, eos_id=1))
    with pytest.raises(ValueError, match="smoothing needs a vocabulary of at least 3 tokens, got 2"):
        model.loss(torch.tensor([[3]]), torch.tensor([[0, 1]]), smoothing=0.1)
    with pytest.raises(ValueError, match=r"smoothing must be at least 0 and below 1, got 1\.0"):
        model.loss(torch.tensor([[3]]), torch.tensor([[0, 1]]), smoothing=1.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_target_outside_the_vocabulary_is_named(smoothing):
    model = FastTransformer(tiny_config())
    beyond = model.config.tgt_vocab_size
    last = torch.tensor([[model.config.bos_id, beyond]])  # the last token is a target only: no embedding meets it
    with pytest.raises(ValueError, match=f"token id {beyond} in tgt_ids is outside the vocabulary of {beyond} tokens"):
        model.loss(torch.tensor([[3]]), last, smoothing)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@in_float64()
def test_same_logits_loss_and_gradients(norm_first, smoothing):
    plain, fast = twins(norm_first=norm_first)
    src_ids, tgt_ids = pad_sequences(SOURCES), pad_sequences(TARGETS)
    wanted = tgt_ids[:, 1:]
    logits, quick = plain(src_ids, tgt_ids[:, :-1]), fast(src_ids, tgt_ids[:, :-1])
    close(quick[wanted != 0], logits[wanted != 0])
    assert (quick[wanted == 0] == 0).all()
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


@in_float64()
def test_same_memory_where_a_token_is_real():
    plain, fast = twins()
    src_ids = pad_sequences(SOURCES)
    (a, mask), (b, same) = plain.encode(src_ids), fast.encode(src_ids)
    assert torch.equal(mask, same)
    close(b[src_ids != 0], a[src_ids != 0])
    assert (b[src_ids == 0] == 0).all()


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("norm_first", [False, True])
def test_same_answers(seed, norm_first):
    plain = lively_model(seed, norm_first)
    fast = FastTransformer(plain.config)
    fast.load_state_dict(plain.state_dict())
    src_ids = pad_sequences(SOURCES)
    for decode, options in (
        (greedy_decode, {}),
        (greedy_decode, {"use_cache": False}),
        (beam_search, {"beam_size": 3}),
    ):
        answers = [decode(model, src_ids, max_new_tokens=12, **options) for model in (plain, fast)]
        assert torch.equal(*answers)


@in_float64()
def test_a_step_is_the_step_of_the_plain_model():
    """Several tokens at once, and training mode, take the long way; one token the short one. All fill one cache."""
    plain, fast = twins()
    src_ids, tgt_ids = pad_sequences(SOURCES), torch.randint(3, 9, (len(SOURCES), 6))
    memory, mask = plain.encode(src_ids)
    whole = plain.decode(tgt_ids, memory, mask)
    cache = fast.new_cache(6)
    steps = [fast.decode(tgt_ids[:, a:b], memory, mask, cache) for a, b in ((0, 2), (2, 3), (3, 5), (5, 6))]
    close(torch.cat(steps, dim=1), whole)
    plain.train()
    fast.train()
    caches = plain.new_cache(1), fast.new_cache(1)
    torch.manual_seed(0)
    one = tgt_ids[:, :1]
    assert fast.decode(one, memory, mask, caches[1]).shape == plain.decode(one, memory, mask, caches[0]).shape


@in_float64()
def test_attention_can_be_recorded():
    plain, fast = twins()
    src_ids = pad_sequences(SOURCES)
    maps = []
    for model in (plain, fast):
        with record_attention(model) as weights:
            greedy_decode(model, src_ids, max_new_tokens=5)
        maps.append(weights)
    assert maps[0].keys() == maps[1].keys()
    for name in maps[0]:
        if "decoder" in name:
            close(maps[1][name], maps[0][name])


def test_bos_may_be_padding():
    plain, fast = twins(bos_id=0)
    src_ids, tgt_ids = pad_sequences(SOURCES), pad_sequences([[0, *target[1:]] for target in TARGETS])
    wanted = tgt_ids[:, 1:]
    a, b = plain(src_ids, tgt_ids[:, :-1]), fast(src_ids, tgt_ids[:, :-1])
    torch.testing.assert_close(a[wanted != 0], b[wanted != 0], rtol=1e-4, atol=1e-4)


def test_checkpoints_are_the_same(tmp_path):
    plain, fast = twins()
    plain.save(tmp_path / "plain.pt")
    loaded = FastTransformer.load(tmp_path / "plain.pt")
    assert isinstance(loaded, FastTransformer)
    assert loaded.state_dict().keys() == plain.state_dict().keys() == fast.state_dict().keys()
    assert torch.equal(loaded.output.weight, plain.output.weight)


def test_a_trainer_trains_both_alike():
    losses = []
    for kind in (Transformer, FastTransformer):
        torch.manual_seed(0)
        model = kind(tiny_config(dropout=0.0))
        batches = TokenBatches(list(zip(SOURCES, TARGETS, strict=True)), batch_tokens=24)
        trainer = Trainer(model, batches, rate=lambda step: 1e-2, accumulate=2)
        losses.append([record["loss"] for record in trainer.fit(12, every=4)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < 0.8 * losses[0][0]


def test_rows():
    real = torch.tensor([[True, True, False], [True, False, False]])
    rows, x = Rows(real), torch.arange(12.0).view(2, 3, 2)
    assert rows.pack(x).tolist() == [[[0, 1], [2, 3], [6, 7]]]
    assert torch.equal(rows.spread(rows.pack(x)), x * real.unsqueeze(-1))
    with pytest.raises(ValueError, match="mask must be boolean"):
        Rows(real.long())


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
    monkeypatch.setattr(kernels, "drop", lambda x, p: x)
    attention = MultiHeadAttention(6, 3, dropout=0.3)
    q, k, v = torch.randn(2, 3, q_len, 2), *torch.randn(2, 2, 3, 7, 2)
    mask = torch.rand(2, 1, q_len, 7) > 0.5
    mask[0, 0, 0] = False
    for allowed in (mask, None):
        expected, _ = scaled_dot_product_attention(q, k, v, allowed)
        for mode in (True, False):
            close(attend(attention.train(mode), q, k, v, allowed), expected)


def test_attention_drops_its_share_of_weights():
    """All values are 1, so a query's output is the sum of the weights that are left."""
    attention = MultiHeadAttention(6, 3, dropout=0.3)
    q, k, v = torch.zeros(4, 3, 50, 2), torch.zeros(4, 3, 40, 2), torch.ones(4, 3, 40, 2)
    left = attend(attention, q, k, v, None)
    assert left.mean() == pytest.approx(1.0, abs=0.02)
    assert left[..., 0].var() == pytest.approx(0.3 / 0.7 / 40, rel=0.2)
    assert torch.equal(attend(attention.eval(), q, k, v, None), v.mean(dim=2, keepdim=True).expand_as(q))


def test_all_linear_maps_and_dropouts_are_replaced():
    kinds = {type(module) for module in FastTransformer(tiny_config()).modules()}
    assert {FastDropout, FastLinear} <= kinds
    assert not {nn.Dropout, nn.Linear} & kinds


@pytest.fixture
def copies(monkeypatch):
    """Shapes of what was copied for oneDNN, on a CPU that we say has AVX-512; without oneDNN nothing is copied."""
    shapes, copy = [], torch.Tensor.to_mkldnn if torch.backends.mkldnn.is_available() else lambda x: x
    monkeypatch.setattr("transformer_lib.kernels.wide_instructions", lambda: True)
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
        quicken(linear)
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
def test_a_compiler_gets_torchs_own_products(copies):
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


def test_the_benchmark_has_been_run():
    results = speed.measured()
    assert results["setting"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert all(value > 0 for row in results["tables"].values() for value in row.values())
