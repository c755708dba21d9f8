"""What a wrong input leads to: never a wrong number, NaN, a hang or a harmed file; and a sentence where torch has none.

torch and Python name most mistakes well enough, and are left to it. Ten they do not name, or name misleadingly; those
are refused at the boundary, by few checks that look at no module's insides and at no numbers.
"""

import copy
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import tiny_case, tiny_model
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import transformer_lib as lib
from transformer_lib import _checks
from transformer_lib.data import numbers

pytestmark = pytest.mark.usefixtures("without_shape_checks")  # these are off for readers too

# The ten mistakes, and the sentence that helps, word for word

X, IDS = torch.zeros(2, 5, 8), torch.zeros(2, 4).long()
MODEL, SRC, TGT = tiny_case()
PAIR, TOKENS = lib.MultiHeadAttention(8, 2), lib.TokenEmbedding(97, 8)
MEMORY, MEMORY_MASK = MODEL.encode(SRC)


def attend(mask: Any) -> Tensor:
    return lib.scaled_dot_product_attention(X, X, X, mask)[0]


def greedy(longest: int, ids: Tensor = SRC, model: lib.Transformer = MODEL) -> Tensor:
    return lib.greedy_decode(model, ids, max_new_tokens=longest)


def allowed(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.bool)


NOT_BOOLEAN = "mask must be boolean (True = may attend), got {}; from a 0/-inf mask use (mask == 0)"
NO_IDS = "{} must be a tensor of integer token ids (torch.int64), got {}"
OUTSIDE = "token id {} in ids is outside the vocabulary of {} tokens (0 to {})"
NO_LOSS = "the loss is nan at step 3; lower the learning rate"
NO_NUMBERS = "the model's logits are not finite numbers; was it trained at too high a rate?"
TOO_WIDE = "mask of shape {} does not broadcast to (batch, {}) = {}"
ALL_HEADS = "heads, q_len, kv_len"
NOT_DIVISIBLE = "d_model (30) must be divisible by n_heads (4)"
TWO_BATCHES = "tgt_ids and memory must have the same batch size, got 1 and 3"
NO_TARGETS = "logits of shape (2, 5, 8) need targets of shape (2, 5), got (2, 4)"
TOO_LONG = "sequence of length 14 at offset 0 exceeds max_len=13; raise max_len or shorten the input"
NO_BATCH = "{} must have shape (batch, seq), got (7,); for a single sequence add a batch axis with {}.unsqueeze(0)"

TEN: dict[str, list[tuple[Callable, str]]] = {
    "a mask that is not boolean": [
        (lambda: attend(torch.zeros(5, 5)), NOT_BOOLEAN.format("torch.float32")),
        (lambda: PAIR(X, X, X, torch.ones(5, 5).long()), NOT_BOOLEAN.format("torch.int64")),
        (lambda: MODEL.decode(TGT, MEMORY, MEMORY_MASK.float()), NOT_BOOLEAN.format("torch.float32")),
        (lambda: attend([[True]]), NOT_BOOLEAN.format("list")),
    ],
    "a mask that does not broadcast": [
        (lambda: attend(allowed(5, 7)), TOO_WIDE.format((5, 7), "q_len, kv_len", (2, 5, 5))),
        (lambda: PAIR(X, X, X, allowed(3, 1, 5, 5)), TOO_WIDE.format((3, 1, 5, 5), ALL_HEADS, (2, 2, 5, 5))),
        (lambda: PAIR(X, X, X, allowed(1, 2, 1, 5, 5)), TOO_WIDE.format((1, 2, 1, 5, 5), ALL_HEADS, (2, 2, 5, 5))),
        (lambda: PAIR(X, X, X, allowed(5)), TOO_WIDE.format((5,), ALL_HEADS, (2, 2, 5, 5))),  # torch takes it for keys
        (lambda: MODEL.decode(TGT, MEMORY, SRC != 0), TOO_WIDE.format((3, 7), ALL_HEADS, (3, 2, 5, 7))),
    ],
    "a width that the heads do not divide": [(lambda: lib.MultiHeadAttention(30, 4), NOT_DIVISIBLE)],
    "an odd width": [
        (lambda: lib.sinusoidal_encoding(5, 7), "sinusoidal encoding needs an even d_model, got 7"),
        (lambda: lib.PositionalEncoding(9, 5), "sinusoidal encoding needs an even d_model, got 9"),
    ],
    "a sequence that is too long": [
        (lambda: MODEL(SRC.repeat(1, 2), TGT), TOO_LONG),
        (lambda: greedy(14), "max_new_tokens (14) must be at most the model's max_len (13)"),
        (lambda: greedy(0), "max_new_tokens must be a whole number of at least 1, got 0"),
    ],
    "an id outside the vocabulary": [
        (lambda: TOKENS(torch.tensor([[3, 97]])), OUTSIDE.format(97, 97, 96)),
        (lambda: TOKENS(torch.tensor([[3, -1]])), OUTSIDE.format(-1, 97, 96)),
        (lambda: MODEL(SRC, torch.full_like(TGT, 37)), OUTSIDE.format(37, 37, 36)),
        (lambda: greedy(5, torch.full_like(SRC, 41)), OUTSIDE.format(41, 41, 40)),
    ],
    "ids that are no whole numbers": [
        (lambda: MODEL(SRC.float(), TGT), NO_IDS.format("src_ids", "torch.float32")),
        (lambda: MODEL(SRC, TGT.bool()), NO_IDS.format("tgt_ids", "torch.bool")),
        (lambda: MODEL(SRC.tolist(), TGT), NO_IDS.format("src_ids", "list")),
    ],
    "no batch axis": [
        (lambda: MODEL(SRC[0], TGT), NO_BATCH.format("src_ids", "src_ids")),
        (lambda: lib.padding_mask(SRC[0], 0), NO_BATCH.format("ids", "ids")),
    ],
    "a target and a memory of different batches": [(lambda: MODEL(SRC, TGT[:1]), TWO_BATCHES)],
    "logits and targets that do not belong together": [(lambda: lib.token_loss(X, IDS, pad_id=0), NO_TARGETS)],
    "a loss that is no number": [
        (lambda: lib.Trainer(tiny_model().train(), BATCHES, rate=lambda step: 1e30).fit(3), NO_LOSS),
        (lambda: greedy(3, SRC, broken()), NO_NUMBERS),
    ],
}  # an end that is padding: see test_config.py
BATCHES = lib.TokenBatches([([3, 4], [1, 5, 2]), ([3], [1, 5, 6, 2])], batch_tokens=4)


def broken() -> lib.Transformer:
    model = tiny_model()
    nn.init.constant_(model.output.bias, float("nan"))
    return model


@pytest.mark.parametrize("mistake", TEN)
def test_what_torch_does_not_name_is_named(mistake: str) -> None:
    for call, sentence in TEN[mistake]:
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            call()


def test_a_forward_pass_makes_few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for module in (m for m in vars(lib).values() if inspect.ismodule(m) and m is not _checks):
        for name, check in [(name, check) for name, check in vars(module).items() if name.startswith("check_")]:
            counted = lambda *a, check=check, **b: calls.append(check.__name__) or check(*a, **b)  # noqa: E731
            monkeypatch.setattr(module, name, counted)
    model = lib.Transformer(lib.TransformerConfig(src_vocab_size=41, tgt_vocab_size=37)).eval()
    calls.clear()
    model(SRC, TGT)
    assert 5 < len(calls) <= 20, calls
    lib.greedy_decode(model, SRC, max_new_tokens=20)
    assert len(calls) <= 20 + 10 * 21, calls


class Stranger(nn.Module):
    """Somebody's layer in the place of ours: it has a `forward`, and nothing else that ours has."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.part = nn.ModuleDict({"inner": inner})

    def forward(self, *arguments: Any, **options: Any) -> Any:
        return self.part["inner"](*arguments, **options)


def test_any_part_may_be_replaced() -> None:
    """Every module of a model in turn, and what each training step and each way of decoding does with it."""
    plain = tiny_model(n_encoder_layers=1, n_decoder_layers=1, norm_first=True)
    parts = [name for name, part in plain.named_modules() if name and not isinstance(part, nn.ModuleList)]
    assert len(parts) > 30
    for name in parts:
        model = copy.deepcopy(plain)
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, Stranger(model.get_submodule(name)))
        assert torch.equal(model(SRC, TGT), plain(SRC, TGT))
        for decode in (lib.greedy_decode, lib.beam_search):
            options: dict[str, Any] = {"beam_size": 2} if decode is lib.beam_search else {}
            options["use_cache"] = not name.endswith("_attn")  # a cache asks an attention for its keys and values
            answers = decode(model, SRC, max_new_tokens=3, **options)
            assert torch.equal(answers, decode(plain, SRC, max_new_tokens=3, **options))
        lib.Trainer(model.train(), BATCHES, rate=lambda step: 1e-3).fit(1)


# Fuzz: whatever comes, no wrong number, no NaN from finite numbers, nothing changed, no hang

DTYPES = [torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.bool]
LENGTHS = st.sampled_from([0, 1, 2, 3, 5])
SENTENCES = st.lists(st.lists(st.integers(-1, 41), max_size=4), max_size=3)


@st.composite
def tensors(draw: st.DrawFn, *shape: int, dtype: torch.dtype, high: int = 8) -> Tensor:
    """A tensor of this shape and type; one time of four of another."""
    odd = draw(st.integers(0, 3)) == 0
    axes = draw(st.lists(LENGTHS, max_size=4)) if odd and draw(st.booleans()) else [*shape]
    dtype = draw(st.sampled_from(DTYPES)) if odd else dtype
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    if dtype.is_floating_point:
        return (draw(st.sampled_from([0.0, 1.0, 100.0])) * torch.randn(axes, generator=generator)).to(dtype)
    low = -1 if odd and dtype != torch.bool else 0
    return torch.randint(low, 2 if dtype == torch.bool else high, axes, generator=generator).to(dtype)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Callable, dict[str, Any], tuple[int, ...]]:
    """A public door, what it is handed, and the shape of a right result."""
    batch, q_len, kv_len = draw(LENGTHS), draw(LENGTHS), draw(LENGTHS)
    x, y = (draw(tensors(batch, n, 8, dtype=torch.float32)) for n in (q_len, kv_len))
    src, tgt = (draw(tensors(batch, n, dtype=torch.int64)) for n in (kv_len, q_len))
    mask = draw(st.one_of(st.none(), tensors(q_len, kv_len, dtype=torch.bool)))
    doors: list[tuple[Callable, dict[str, Any], tuple[int, ...]]] = [
        (lambda **a: lib.scaled_dot_product_attention(**a)[0], dict(query=x, key=y, value=y, mask=mask), x.shape),
        (lib.SimpleSelfAttention(8), dict(x=x), x.shape),
        (PAIR, dict(query=x, key=y, value=y, mask=mask), x.shape),
        (lib.LayerNorm(8), dict(x=x), x.shape),
        (lib.FeedForward(8, 6), dict(x=x), x.shape),
        (lib.PositionalEncoding(8, 9), dict(x=x, offset=draw(st.integers(0, 6))), x.shape),
        (lib.Encoder(1, 8, 2, 6, 0.0), dict(x=y), y.shape),
        (lib.Decoder(1, 8, 2, 6, 0.0, True), dict(x=x, memory=y, memory_mask=mask), x.shape),
        (TOKENS, dict(ids=src), (*src.shape, 8)),
        (MODEL, dict(src_ids=src, tgt_ids=tgt), (*tgt.shape, 37)),
        (lib.padding_mask, dict(ids=src, pad_id=0), (*src.shape[:1], 1, 1, *src.shape[1:])),
        (lambda **a: lib.token_loss(**a, pad_id=0)[0], dict(logits=x, targets=tgt), ()),
        (lambda **a: lib.token_loss(**a, pad_id=0, smoothing=0.1)[0], dict(logits=x, targets=tgt), ()),
    ]
    return draw(st.sampled_from(doors))


@settings(max_examples=400, derandomize=True, deadline=None, database=None, suppress_health_check=[*HealthCheck])
@given(calls())
def test_a_right_result_or_an_error(drawn: tuple[Callable, dict, tuple[int, ...]]) -> None:
    call, arguments, shape = drawn
    held = {name: value.clone() for name, value in arguments.items() if isinstance(value, Tensor)}
    try:
        result = call(**arguments)
    except (ValueError, TypeError, RuntimeError, IndexError):  # ours, or torch's own
        event("refused")
    else:
        event("a result")
        assert tuple(result.shape) == tuple(shape) and result.isfinite().all()
    assert all(torch.equal(arguments[name], value) for name, value in held.items())


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=[*HealthCheck])
@given(SENTENCES, st.integers(-1, 14), st.integers(0, 3), st.booleans())
def test_answers_are_answers(sources: list[list[int]], longest: int, beam_size: int, use_cache: bool) -> None:
    options = {"decode": lib.beam_search, "beam_size": beam_size} if beam_size != 1 else {}
    try:
        answers = lib.translate_ids(MODEL, sources, max_new_tokens=longest, use_cache=use_cache, **options)
    except ValueError as error:
        named = re.search("sequence|max_new_tokens|beam_size|outside the vocabulary", str(error))
        if not named:
            raise
        return
    assert len(answers) == len(sources)
    assert all(len(answer) <= longest and {*answer} <= {*range(2, 37)} for answer in answers)


def test_names_that_must_be_written() -> None:
    """Those of functions that a chapter builds are in its cell: see tests/book/test_build_cells.py."""
    names = {lib.translate_ids: {"max_new_tokens", "batch_size", "decode"}, lib.exact_match: {"batch_size", "decode"}}
    for function, expected in names.items():
        parameters = inspect.signature(function).parameters.values()
        assert {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY} == expected


def test_what_is_shown_of_a_value_is_short_and_on_one_line() -> None:
    assert _checks.shown("a\nb") == r"'a\nb'" and _checks.shown([1.5, math.inf]) == "[1.5, inf]"
    assert _checks.shown(torch.zeros(3)) == "Tensor" and _checks.shown(nn.Linear(2, 2)) == "Linear"
    assert len(_checks.shown(numbers.ENGLISH)) == 60
