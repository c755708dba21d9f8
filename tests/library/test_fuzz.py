"""Bad input of every kind, thrown at every public door: a result that is right in shape and finite, or a sentence.

hypothesis draws the calls, always the same ones. A refusal counts as help only if the library itself raised it, as a
`ValueError` of one line that names the argument or the file. That each of these tests can fail is shown at the end:
with a guard taken away, it does.
"""

import contextlib
import copy
import inspect
import io
import linecache
import math
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Unchecked
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import transformer_lib as lib
from transformer_lib import checkpoint, translate
from transformer_lib.data import numbers

LIBRARY = Path(lib.__file__).parent
FUZZ: dict[str, tuple[st.SearchStrategy, Callable, int]] = {}


def fuzz(strategy: st.SearchStrategy, examples: int) -> Callable:
    """Enter a check into the table of fuzz tests, with what it is fed."""

    def enter(check: Callable) -> Callable:
        FUZZ[check.__name__] = (strategy, check, examples)
        return check

    return enter


def run(name: str, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """Run one fuzz test of the table."""
    strategy, check, examples = FUZZ[name]
    options = dict(derandomize=True, deadline=None, database=None, report_multiple_bugs=False, phases=phases)
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    settings(max_examples=examples, suppress_health_check=slow, **options)(given(strategy)(check))()


# The oracle


class Unhelpful(AssertionError):
    """A refusal that does not help: torch's own, empty, or about nothing that the reader wrote."""


def answer(call: Callable[[], Any], named: set[str], also: tuple[type, ...] = ()) -> tuple[bool, Any]:
    """Call, and return whether there is a result, and the result; a refusal must help."""
    try:
        return True, call()
    except (ValueError, *also) as error:
        frames = [*inspect.getinnerframes(error.__traceback__)] if error.__traceback__ else []
        last, text = frames[-1], str(error)
        own = LIBRARY in Path(last.filename).parents
        said = linecache.getline(last.filename, last.lineno).strip().startswith("raise ")
        words = set(text.replace("(", " ").replace(",", " ").replace(":", " ").replace(";", " ").split())
        if type(error) is not ValueError and not isinstance(error, also):
            raise Unhelpful(f"{type(error).__name__}: {text}") from error
        if isinstance(error, ValueError) and not (own and said):
            raise Unhelpful(f"raised by {last.filename}: {text}") from error
        if "\n" in text or len(words) < 5 or len(text) > 1000 or not any(name in text for name in named):
            raise Unhelpful(f"none of {sorted(named)} is named: {text!r}") from error
        return False, None


def finite(result: Any, *shape: int) -> None:
    """Require a tensor of this shape without NaN or infinity (a tensor on the meta device holds nothing to look at)."""
    assert isinstance(result, Tensor) and tuple(result.shape) == shape
    assert result.is_meta or bool(torch.isfinite(result).all())


# What is drawn

JUNK = st.sampled_from(
    [
        None,
        True,
        False,
        -1,
        0,
        1,
        2,
        3,
        5,
        2**31,
        -(10**30),
        10**30,
        0.0,
        0.5,
        1.0,
        2.0,
        -0.1,
        math.nan,
        math.inf,
        -math.inf,
        "",
        "text",
        "4",
        b"4",
        [],
        [1, 2],
        [[1, 2]],
        [[0.5]],
        ["a", "b"],
        {},
        {"a": 1},
        (),
        (0.9, 0.98),
        (0.5, "x"),
        {1},
        range(3),
        1j,
        object(),
        int,
        len,
        np.int64(3),
        np.float32(0.5),
        np.array([1, 2]),
        np.zeros((2, 3)),
        torch.tensor(3),
        torch.zeros(2, 3),
        nn.Linear(2, 2),
        lambda *_: None,
        lambda *_: 0.1,
    ]
)
DTYPES = [torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int64]
DTYPES += [torch.int32, torch.uint8, torch.int16, torch.bool, torch.bool, torch.complex64]


@st.composite
def tensors(draw: st.DrawFn, shapes: list[tuple[int, ...]], dtypes: list[torch.dtype], high: int = 7) -> Tensor:
    """A tensor of one of the shapes and types; sometimes of another shape or type, on no device, or strided."""
    odd_shape, odd = draw(st.integers(0, 4)) == 0, draw(st.integers(0, 4)) == 0
    shape = draw(st.lists(st.integers(0, 9), max_size=4)) if odd_shape else draw(st.sampled_from(shapes))
    dtype = draw(st.sampled_from(DTYPES if odd else dtypes))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    if dtype.is_floating_point or dtype.is_complex:
        tensor = (draw(st.sampled_from([0.0, 1.0, 100.0])) * torch.randn(tuple(shape), generator=generator)).to(dtype)
    else:
        low = -1 if odd and dtype != torch.bool else 0
        tensor = torch.randint(low, 2 if dtype == torch.bool else high, tuple(shape), generator=generator).to(dtype)
    kind = draw(st.sampled_from(["plain"] * 5 + ["meta", "strided", "gradient"]))
    if kind == "meta":
        return tensor.to("meta")
    if kind == "strided" and tensor.dim() > 1:
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)
    return tensor.requires_grad_() if kind == "gradient" and dtype.is_floating_point else tensor


def mostly(good: st.SearchStrategy) -> st.SearchStrategy:
    """What fits, and in one case of six anything at all."""
    return st.one_of(*[good] * 5, JUNK)


X = mostly(tensors([(2, 3, 8), (2, 3, 8), (2, 5, 8), (3, 8), (1, 3, 8), (0, 3, 8), (2, 0, 8)], [torch.float32]))
Y = mostly(tensors([(2, 3, 8)], [torch.float32]))
IDS = mostly(tensors([(2, 3), (2, 3), (2, 5), (0, 3), (2, 0), (3,)], [torch.int64], high=7))
MASKS = st.one_of(st.none(), tensors([(3, 3), (1, 3), (2, 1, 1, 3), (2, 2, 3, 3), (3, 5)], [torch.bool]), JUNK)


# Constructors and settings

SIZES = dict(d_model=8, n_heads=2, d_ff=6)
LAYER = dict(**SIZES, dropout=0.1, norm_first=True, activation=torch.relu)
CONSTRUCTORS: dict[Callable, dict[str, Any]] = {
    lib.SimpleSelfAttention: dict(d_model=8),
    lib.MultiHeadAttention: dict(d_model=8, n_heads=2, dropout=0.1),
    lib.LayerNorm: dict(d_model=8, eps=1e-5),
    lib.SublayerConnection: dict(d_model=8, dropout=0.1, norm_first=False),
    lib.FeedForward: dict(d_model=8, d_ff=6, dropout=0.1, activation=torch.relu),
    lib.TokenEmbedding: dict(vocab_size=7, d_model=8),
    lib.PositionalEncoding: dict(d_model=8, max_len=6, dropout=0.1),
    lib.EncoderLayer: LAYER,
    lib.DecoderLayer: LAYER,
    lib.Encoder: dict(n_layers=1, **LAYER),
    lib.Decoder: dict(n_layers=1, **LAYER),
    lib.KVCache: dict(max_len=6),
    lib.DecoderCache: dict(n_layers=2, max_len=6),
    lib.TransformerConfig: dict(
        src_vocab_size=7,
        tgt_vocab_size=8,
        **SIZES,
        n_encoder_layers=1,
        n_decoder_layers=1,
        max_len=6,
        dropout=0.1,
        norm_first=False,
        tie_embeddings=False,
        share_vocab=False,
        activation="gelu",
        pad_id=0,
        bos_id=1,
        eos_id=2,
    ),
    lib.noam_rate: dict(step=3, d_model=8, warmup=2),
    lib.inverse_sqrt_rate: dict(step=3, peak=0.1, warmup=2),
    lib.cosine_rate: dict(step=3, peak=0.1, warmup=2, total=9),
    lib.sinusoidal_encoding: dict(max_len=6, d_model=8),
    lib.causal_mask: dict(q_len=3, kv_len=5),
    lib.Transformer: dict(config=None),
    numbers.number_pair: dict(number=5),
    numbers.draw_numbers: dict(n=5, seed=0),
    numbers.split_numbers: dict(n_train=29, n_test=2, seed=0),
}


@st.composite
def constructions(draw: st.DrawFn) -> tuple[Callable, dict, set[str]]:
    make = draw(st.sampled_from([*CONSTRUCTORS]))
    good = CONSTRUCTORS[make]
    changed = draw(st.lists(st.sampled_from([*good]), min_size=1, max_size=2, unique=True))
    return make, {**good, **{name: draw(JUNK) for name in changed}}, set(changed)


@fuzz(constructions(), 250)
def constructors(drawn: tuple) -> None:
    make, arguments, changed = drawn
    accepted, made = answer(lambda: make(**arguments), changed)
    if accepted and isinstance(made, nn.Module):
        assert all(bool(torch.isfinite(weight).all()) for weight in made.state_dict().values())
    if accepted and make is lib.LayerNorm:
        finite(made(torch.ones(2, len(made.weight))), 2, len(made.weight))
    if accepted and isinstance(made, float):
        assert math.isfinite(made) and made >= 0
    if accepted and isinstance(made, Tensor):
        assert bool(torch.isfinite(made).all())


# Forward passes

CONFIG = lib.TransformerConfig(**{**CONSTRUCTORS[lib.TransformerConfig], "tgt_vocab_size": 7, "dropout": 0.0})
ONE, PAIR, NORM, FF = lib.SimpleSelfAttention(8), lib.MultiHeadAttention(8, 2), lib.LayerNorm(8), lib.FeedForward(8, 6)
RESIDUAL, TOKENS, PLACES = lib.SublayerConnection(8, 0.0, True), lib.TokenEmbedding(7, 8), lib.PositionalEncoding(8, 6)
ENCODER, DECODER = lib.Encoder(2, 8, 2, 6, 0.0), lib.Decoder(2, 8, 2, 6, 0.0, norm_first=True)
MODEL = lib.Transformer(CONFIG).eval()
CACHES = st.sampled_from([None, None, None, "new", "other", "junk"])


def cache_of(kind: str | None, good: Callable[[], Any]) -> Any:
    """No cache, a new one, one that another model has used, or something else."""
    if kind != "other":
        return {None: None, "new": good(), "junk": {}}[kind]
    other, ids = (
        lib.Transformer(lib.TransformerConfig(src_vocab_size=7, tgt_vocab_size=7, d_model=12, n_heads=3)),
        torch.ones(2, 1),
    )
    cache = other.new_cache(6)
    other.decode(ids.long(), *other.encode(ids.long()), cache)
    cached = good()
    return cache if isinstance(cached, lib.DecoderCache) else cache.layers[0].self_attn


def like(x: Any) -> tuple[int, ...]:
    return tuple(x.shape)


CALLS: dict[str, tuple[dict[str, st.SearchStrategy], Callable, Callable]] = {
    "formula": (
        dict(query=X, key=Y, value=Y, mask=MASKS, dropout_p=st.one_of(st.just(0.0), JUNK)),
        lambda **a: lib.scaled_dot_product_attention(**a)[0],
        lambda a: (*a["query"].shape[:-1], a["value"].size(-1)),
    ),
    "one head": (dict(x=X), ONE, lambda a: like(a["x"])),
    "heads": (dict(query=X, key=Y, value=Y, mask=MASKS), PAIR, lambda a: like(a["query"])),
    "heads with a cache": (
        dict(query=Y, cache=CACHES),
        lambda query, cache: PAIR(query, query, query, cache=cache_of(cache, lambda: lib.KVCache(6))),
        lambda a: like(a["query"]),
    ),
    "norm": (dict(x=X), NORM, lambda a: like(a["x"])),
    "layer_norm": (
        dict(
            x=X,
            weight=mostly(tensors([(8,)], [torch.float32])),
            bias=mostly(tensors([(8,)], [torch.float32])),
            eps=mostly(st.just(1e-5)),
        ),
        lib.layer_norm,
        lambda a: like(a["x"]),
    ),
    "residual": (
        dict(x=Y, sublayer=st.one_of(st.just(FF), JUNK.filter(lambda x: not callable(x)))),
        RESIDUAL,
        lambda a: like(a["x"]),
    ),
    "feed-forward": (dict(x=X), FF, lambda a: like(a["x"])),
    "embedding": (dict(ids=IDS), TOKENS, lambda a: (*a["ids"].shape, 8)),
    "positions": (dict(x=X, offset=mostly(st.integers(0, 4))), PLACES, lambda a: like(a["x"])),
    "encoder": (dict(x=X, mask=MASKS), ENCODER, lambda a: like(a["x"])),
    "decoder": (
        dict(x=Y, memory=X, tgt_mask=MASKS, memory_mask=MASKS, cache=CACHES),
        lambda cache, **a: DECODER(**a, cache=cache_of(cache, lambda: lib.DecoderCache(2, 6))),
        lambda a: like(a["x"]),
    ),
    "model": (dict(src_ids=IDS, tgt_ids=IDS), MODEL, lambda a: (*a["tgt_ids"].shape, 7)),
    "decode": (
        dict(tgt_ids=IDS, memory=Y, memory_mask=MASKS, cache=CACHES),
        lambda cache, **a: MODEL.decode(**a, cache=cache_of(cache, MODEL.new_cache)),
        lambda a: (*a["tgt_ids"].shape, 7),
    ),
    "padding_mask": (
        dict(ids=IDS, pad_id=mostly(st.integers(0, 7))),
        lib.padding_mask,
        lambda a: (len(a["ids"]), 1, 1, a["ids"].size(1)),
    ),
    "smoothed_targets": (
        dict(
            targets=IDS, vocab_size=mostly(st.just(7)), smoothing=mostly(st.just(0.1)), pad_id=mostly(st.integers(0, 7))
        ),
        lib.smoothed_targets,
        lambda a: (*a["targets"].shape, a["vocab_size"]),
    ),
    "token_loss": (
        dict(
            logits=mostly(tensors([(2, 3, 7)], [torch.float32])),
            targets=IDS,
            pad_id=mostly(st.integers(0, 7)),
            smoothing=mostly(st.sampled_from([0.0, 0.1])),
        ),
        lambda **a: lib.token_loss(**a)[0],
        lambda a: (),
    ),
    "new_cache": (dict(max_len=JUNK), lambda max_len: torch.tensor(MODEL.new_cache(max_len).length), lambda a: ()),
    "record_attention": (
        dict(model=JUNK),
        lambda model: lib.record_attention(model).__enter__(),
        lambda a: pytest.fail("nothing drawn here can be recorded"),
    ),
}
INNER = {"query", "key", "value", "mask", "x", "ids", "cache", "Linear"}  # what parts call what they are handed


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict]:
    name = draw(st.sampled_from([*CALLS]))
    return name, {argument: draw(strategy) for argument, strategy in CALLS[name][0].items()}


@fuzz(calls(), 400)
def forward(drawn: tuple) -> None:
    name, arguments = drawn
    _, call, shape = CALLS[name]
    held = {argument: value.clone() for argument, value in arguments.items() if isinstance(value, Tensor)}
    accepted, result = answer(lambda: call(**arguments), {*arguments} | INNER)
    if accepted:
        finite(result, *shape(arguments))
        assert result.is_meta or not any(value.is_meta for value in held.values()), "numbers out of nowhere"
    for argument, value in held.items():
        assert value.is_meta or torch.equal(arguments[argument], value), f"{argument} was changed"


# Decoding


@st.composite
def decodings(draw: st.DrawFn) -> tuple[str, dict]:
    what = draw(st.sampled_from(["greedy_decode", "translate_ids", "exact_match"]))
    rows = st.lists(st.lists(st.integers(0, 7), max_size=4), max_size=3)
    first = {
        "greedy_decode": ("src_ids", IDS),
        "translate_ids": ("sources", mostly(rows)),
        "exact_match": (
            "pairs",
            mostly(st.lists(st.tuples(*[st.lists(st.integers(0, 6), max_size=5)] * 2), max_size=3)),
        ),
    }[what]
    arguments = {"model": draw(st.one_of(*[st.just(MODEL)] * 7, JUNK)), first[0]: draw(first[1])}
    if what != "exact_match":
        arguments["max_new_tokens"] = draw(mostly(st.integers(1, 7)))
    if what != "greedy_decode":
        arguments["batch_size"] = draw(mostly(st.integers(1, 3)))
    return what, {**arguments, "use_cache": draw(mostly(st.booleans()))}


@fuzz(decodings(), 200)
def decoding(drawn: tuple) -> None:
    what, arguments = drawn
    accepted, result = answer(lambda: getattr(lib, what)(**arguments), {*arguments, "sequence", "pair", "ids"})
    if not accepted:
        return
    if what == "exact_match":
        assert 0 <= result <= 1
        return
    rows = result.tolist() if what == "greedy_decode" else result
    source = arguments["src_ids" if what == "greedy_decode" else "sources"]
    assert len(rows) == len(source)
    assert all(len(row) <= arguments["max_new_tokens"] and {*row} <= {0, *range(2, 7)} for row in rows)


# Data

TEXTS = st.one_of(
    JUNK, st.lists(st.one_of(st.sampled_from(["one", "two", "three", "<pad>"]), JUNK), max_size=4), st.text(max_size=5)
)
ROWS = st.one_of(JUNK, st.lists(st.one_of(st.lists(st.one_of(st.integers(0, 6), JUNK), max_size=4), JUNK), max_size=3))
ROW = st.lists(st.integers(0, 6), max_size=4)
PAIRS = st.one_of(JUNK, st.lists(st.one_of(st.tuples(ROW, ROW), st.tuples(ROW, ROW), JUNK), max_size=4), ROWS)
VOCABULARY = lib.Vocabulary(["one", "two"])
BATCHES = lib.TokenBatches([([3, 4], [1, 5, 2]), ([3], [1, 5, 6, 2])], batch_tokens=4)
ORDER = mostly(tensors([(2,), (1,), (3,), (0,)], [torch.int64], high=3))


def in_batches(pairs: Any, **options: Any) -> list:
    """Make batches and read all of them, as a training does."""
    batches = lib.TokenBatches(pairs, **options)
    return [batches.take(rows) for rows in [*batches.epoch(1), *batches.in_order()]]


DATA: dict[str, tuple[dict[str, st.SearchStrategy], Callable]] = {
    "Vocabulary": (dict(tokens=TEXTS), lambda tokens: list(lib.Vocabulary(tokens).tokens)),
    "encode": (dict(tokens=TEXTS), VOCABULARY.encode),
    "decode": (dict(ids=st.one_of(JUNK, ROWS, ROW)), VOCABULARY.decode),
    "pad_sequences": (dict(sequences=ROWS, pad_id=mostly(st.just(0))), lib.pad_sequences),
    "TokenBatches": (
        dict(pairs=PAIRS, batch_tokens=mostly(st.integers(1, 9)), pad_id=mostly(st.just(0)), seed=mostly(st.just(0))),
        in_batches,
    ),
    "epoch": (dict(epoch=JUNK), BATCHES.epoch),
    "take": (dict(rows=ORDER), BATCHES.take),
    "cut": (dict(order=ORDER), BATCHES.cut),
    "split_english": (dict(text=JUNK), numbers.split_english),
    "split_german": (dict(word=JUNK), numbers.split_german),
    "join_german": (dict(tokens=TEXTS), numbers.join_german),
    "read_english": (dict(tokens=TEXTS), numbers.read_english),
    "encode_pairs": (dict(pairs=st.lists(JUNK, max_size=3)), numbers.encode_pairs),
    "evaluate": (
        dict(model=st.one_of(st.just(MODEL), JUNK), batches=st.one_of(st.just(BATCHES), JUNK)),
        lambda **a: lib.evaluate(**a).loss,
    ),
    "evaluating": (dict(model=JUNK), lambda model: lib.evaluating(model).__enter__()),
}


@st.composite
def data_calls(draw: st.DrawFn) -> tuple[str, dict]:
    name = draw(st.sampled_from([*DATA]))
    return name, {argument: draw(strategy) for argument, strategy in DATA[name][0].items()}


@fuzz(data_calls(), 400)
def data(drawn: tuple) -> None:
    name, arguments = drawn
    words = {"token", "sequence", "pair", "number", "English", "morphemes", "vocabulary"}
    accepted, result = answer(lambda: DATA[name][1](**arguments), {*arguments} | words)
    if not accepted:
        return
    if name in ("Vocabulary", "decode"):
        assert all(isinstance(token, str) and token for token in result)
    if name == "encode":
        assert VOCABULARY.decode(result) == [token for token in arguments["tokens"] if token != "<pad>"]
    if name == "pad_sequences":
        assert result.dtype == torch.int64 and result.shape == (
            len(arguments["sequences"]),
            max(map(len, arguments["sequences"])),
        )
    if name == "TokenBatches":
        assert all(batch.src_ids.numel() and (batch.tgt_ids[:, 1:] != arguments["pad_id"]).any() for batch in result)
    if name == "evaluate":
        assert math.isfinite(result)


# Training

TRAINER = dict(
    rate=st.one_of(st.just(lambda step: 1e-3), JUNK, JUNK.map(lambda x: lambda step: x)),
    smoothing=mostly(st.just(0.1)),
    clip=mostly(st.sampled_from([1.0, math.inf])),
    accumulate=mostly(st.integers(1, 3)),
    betas=mostly(st.just((0.9, 0.98))),
    weight_decay=mostly(st.just(0.01)),
    precision=mostly(st.sampled_from([None, torch.bfloat16])),
)
FIT = dict(
    steps=mostly(st.integers(1, 3)),
    every=mostly(st.integers(1, 3)),
    callback=st.one_of(st.none(), JUNK, JUNK.map(lambda x: lambda run: x), JUNK.map(lambda x: lambda run: {"x": x})),
)


@st.composite
def trainings(draw: st.DrawFn) -> tuple[Any, Any, dict, dict]:
    model = draw(st.one_of(*[st.just(...)] * 9, JUNK))
    batches = draw(st.one_of(*[st.just(BATCHES)] * 9, JUNK))
    changed = {*draw(st.lists(st.sampled_from([*TRAINER, *FIT]), min_size=1, max_size=2))}
    options, fit = dict(rate=lambda step: 1e-3), dict(steps=2)
    options.update({name: draw(strategy) for name, strategy in TRAINER.items() if name in changed})
    fit.update({name: draw(strategy) for name, strategy in FIT.items() if name in changed})
    return model, batches, options, fit


@fuzz(trainings(), 100)
def training(drawn: tuple) -> None:
    model, batches, options, fit = drawn
    model = lib.Transformer(CONFIG) if model is ... else model

    def train() -> list:
        return lib.Trainer(model, batches, **options).fit(**{**fit, "steps": min_of(fit["steps"], 3)})

    accepted, history = answer(train, {"model", "batches", "the loss", *options, *fit})
    if accepted:
        assert all(type(x) in (int, float) for record in history for x in record.values())
        assert all(math.isfinite(record["loss"]) for record in history)
        assert all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def min_of(steps: Any, most: int) -> Any:
    """No more steps than a test has time for; what is no number stays what it is."""
    return min(steps, most) if type(steps) is int and steps < 2**31 else steps


# Files


@contextlib.contextmanager
def unharmed(folder: Path) -> Iterator[None]:
    """Require that the files of a folder are afterwards what they were before, byte for byte, and no others."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a model and of a trainer, beside which the damaged ones are put."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    (folder / "empty.pt").touch()
    MODEL.save(folder / "model.pt")
    run = small_trainer()
    run.fit(2)
    run.save(folder / "trainer.pt")
    global FOLDER
    FOLDER = folder
    CONTENTS.update({name: torch.load(folder / name, weights_only=True) for name in ("model.pt", "trainer.pt")})
    return folder


FOLDER = Path()
PACKAGED = translate.load()
CONTENTS: dict[str, dict] = {}


def small_trainer() -> lib.Trainer:
    torch.manual_seed(0)
    return lib.Trainer(lib.Transformer(CONFIG), BATCHES, rate=lambda step: 1e-3)


def repacked(data: bytes, entry: int, change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    """The same zip archive with one entry changed, and sums that fit."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for i, name in enumerate(old.namelist()):
            new.writestr(
                *(change(name, old.read(name)) if i == entry % len(old.namelist()) else (name, old.read(name)))
            )
    return file.getvalue()


MUTATIONS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "as it is": lambda data, i, n: data,
    "cut off": lambda data, i, n: data[:i],
    "a bit turned": lambda data, i, n: data[:i] + bytes([data[i] ^ (1 << n % 8)]) + data[i + 1 :],
    "zeros": lambda data, i, n: data[:i] + bytes(min(n, len(data) - i)) + data[i + n :],
    "a piece missing": lambda data, i, n: data[:i] + data[i + n + 1 :],
    "a piece twice": lambda data, i, n: data[:i] + data[i : i + n + 1] + data[i:],
    "longer": lambda data, i, n: data + bytes(n + 1),
    "packed anew": lambda data, i, n: repacked(data, 0, lambda name, entry: (name, entry)),
    "an entry turned": lambda data, i, n: repacked(data, i, lambda name, entry: (name, entry[::-1])),
    "an entry renamed": lambda data, i, n: repacked(data, i, lambda name, entry: (name + "x", entry)),
}
DAMAGE = st.tuples(
    st.sampled_from(["model.pt", "trainer.pt"]),
    st.sampled_from([*MUTATIONS]),
    st.integers(0, 10**6),
    st.integers(0, 99),
)


@fuzz(DAMAGE, 60)
def damaged_files(drawn: tuple) -> None:
    name, mutation, i, n = drawn
    data = (FOLDER / name).read_bytes()
    changed, path = MUTATIONS[mutation](data, i % len(data), n), FOLDER / "changed.pt"
    path.write_bytes(changed)
    run = small_trainer()
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    with unharmed(FOLDER):
        accepted, model = answer(lambda: read(name, path, run), {str(path)}, (OSError,))
    path.unlink()
    weights = CONTENTS[name]["weights"] if accepted else before
    assert all(torch.equal(weight, weights[key]) for key, weight in (model or run.model).state_dict().items())
    assert accepted == (changed == data)


def read(name: str, path: Path, run: lib.Trainer) -> nn.Module:
    """Read the file of a model, or go on with a training."""
    if name == "model.pt":
        return lib.Transformer.load(path)
    run.resume(path)
    return run.model


@st.composite
def contents(draw: st.DrawFn) -> tuple[str, list, Any]:
    """Which file, where in it, and what is put there."""
    name = draw(st.sampled_from(["model.pt", "trainer.pt"]))
    inner, way = CONTENTS[name], []
    while isinstance(inner, dict | list) and inner and (not way or draw(st.integers(0, 3))):
        way.append(draw(st.sampled_from([*(inner if isinstance(inner, dict) else range(len(inner)))])))
        inner = inner[way[-1]]
    return name, way, draw(st.one_of(JUNK, tensors([(8,), (8, 8)], [torch.float32])))


@fuzz(st.deferred(contents), 25)
def files_made_by_hand(drawn: tuple) -> None:
    """The check sum fits, but what is in the file was made by somebody else."""
    name, way, value = drawn
    content = inner = copy.deepcopy(CONTENTS[name])
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    path, run = FOLDER / "changed.pt", small_trainer()
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    try:
        checkpoint.save_atomically(content, path)
    except Exception:  # not everything can be pickled
        return
    try:
        with unharmed(FOLDER):
            accepted, model = answer(lambda: read(name, path, run), {str(path)})
    finally:
        path.unlink()
    if not accepted:
        assert all(torch.equal(weight, before[key]) for key, weight in run.model.state_dict().items())
        assert (run.step, run.epoch, run.position, run.history) == (0, 0, 0, [])
    else:
        ids = torch.tensor([[3, 4]])
        finite(model.eval()(ids, ids), 1, 2, 7)


PATHS = st.one_of(
    JUNK, st.sampled_from(["folder", "nowhere/model.pt", "model.pt/model.pt", "empty.pt", "a\0b", ".", "x" * 300])
)


@fuzz(st.tuples(st.sampled_from(["save", "load", "resume", "translate"]), PATHS), 100)
def paths(drawn: tuple) -> None:
    what, path = drawn
    path = FOLDER / path if isinstance(path, str) else path
    call = {
        "save": MODEL.save,
        "load": lib.Transformer.load,
        "resume": lambda path: small_trainer().resume(path),
        "translate": translate.load,
    }
    if (what, str(path)) in (("translate", "None"), ("save", str(FOLDER / "empty.pt"))):
        return
    with unharmed(FOLDER):
        accepted, _ = answer(lambda: call[what](path), {"path", str(path), Path(str(path)).name}, (OSError,))
        if accepted and what == "save":
            path.unlink()  # "text", "4" and the like are names of files


# The command line

WORDS = st.sampled_from(
    [
        *numbers.ENGLISH,
        "and",
        "million",
        "minus",
        "foo",
        "-",
        "--",
        "-1",
        "7",
        "1,000",
        "999999",
        "1000000",
        "\x1b[31m",
        "ﬁve",
    ]
)
SENTENCES = st.one_of(
    st.integers(0, 999_999).map(lambda n: " ".join(numbers.number_pair(n).english)),
    st.lists(WORDS, max_size=6).map(" ".join),
    st.text(max_size=20),
)
OPTIONS = st.sampled_from(
    [
        [],
        [],
        [],
        ["--model"],
        ["--nonsense"],
        ["--model", "model.pt"],
        ["--model", "empty.pt"],
        ["--model", "folder"],
        ["--model", "none.pt"],
        ["--train", "folder"],
        ["--train", "nowhere/x.pt"],
        ["--train", "model.pt", "--model", "x"],
        ["-h"],
    ]
)


@fuzz(st.tuples(OPTIONS, st.lists(SENTENCES, max_size=2), st.one_of(SENTENCES, st.binary(max_size=20))), 150)
def command_line(drawn: tuple) -> None:
    options, texts, typed = drawn
    arguments = [str(FOLDER / option) if "." in option or option == "folder" else option for option in options] + texts
    typed = typed if isinstance(typed, bytes) else typed.encode("utf-8", "surrogatepass")
    out, err, status = io.StringIO(), io.StringIO(), None
    with pytest.MonkeyPatch.context() as patch, unharmed(FOLDER):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        try:
            status = translate.main(arguments)
        except SystemExit as end:
            status = end.code
            assert "usage: " in out.getvalue() + err.getvalue()
    assert status in (0, 2)
    assert "Traceback" not in err.getvalue()
    assert (err.getvalue() == "") == (status == 0)
    if "usage: " not in out.getvalue():
        for word in out.getvalue().splitlines():
            assert numbers.split_german(word)
    if status == 2 and "usage: " not in err.getvalue():
        assert all(len(line.split()) >= 4 for line in err.getvalue().splitlines())


# The tests


@pytest.fixture(autouse=True)
def setting(without_shape_checks: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """jaxtyping off, as for readers, and a folder with files."""
    real = translate.load
    monkeypatch.setattr(translate, "load", lambda path=None: PACKAGED if path is None else real(path))


@pytest.mark.parametrize("name", FUZZ)
def test_a_right_result_or_a_sentence_that_helps(name: str) -> None:
    run(name)


def nothing(*_: object, **__: object) -> None:
    """In place of a guard."""


class Careless:
    """In place of `copy`: what is put aside changes with what it was taken from."""

    @staticmethod
    def deepcopy(x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("name", "place", "instead"),
    [
        ("constructors", "layers.check_positive", nothing),
        ("constructors", "layers.check_probability", nothing),
        ("constructors", "layers.check_number", nothing),
        ("constructors", "config.check_positive", nothing),
        ("constructors", "schedules.check_positive", nothing),
        ("constructors", "masks.check_count", nothing),
        ("forward: heads", "attention.check_sequences", nothing),
        ("forward: formula", "attention.check_qkv", nothing),
        ("forward: heads", "attention.check_mask", nothing),
        ("forward: embedding", "layers.check_ids", nothing),
        ("forward: embedding", "layers.check_device", nothing),
        ("forward: norm", "layers.check_like", nothing),
        ("forward: positions", "positions.check_tokens", nothing),
        ("forward: model", "transformer.check_token_axes", nothing),
        ("forward: token_loss", "loss.check_pad_id", nothing),
        ("decoding", "decoding.check_model", nothing),
        ("decoding", "decoding.check_pairs", nothing),
        ("decoding", "decoding.check_positive", nothing),
        ("data", "batching.check_pairs", nothing),
        ("data", "batching.check_ids", nothing),
        ("data", "data.vocabulary.texts", list),
        ("training", "training.check_number", nothing),
        ("training", "training.check_batches", nothing),
        ("damaged_files", "checkpoint.hashlib", Unchecked()),
        ("files_made_by_hand", "transformer.check_weights", nothing),
        ("files_made_by_hand", "resuming.copy", Careless),
        ("paths", "checkpoint.check_path", nothing),
        ("command_line", "translate.load", lambda path=None: torch.load(path, weights_only=True)),
    ],
)
def test_a_missing_guard_is_noticed(name: str, place: str, instead: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test can fail: with one guard of the library taken away, it does."""
    name, _, focus = name.partition(": ")
    if focus:
        monkeypatch.setattr(sys.modules[__name__], "CALLS", {focus: CALLS[focus]})
    monkeypatch.setattr(f"transformer_lib.{place}", instead)
    with pytest.raises(Exception):  # noqa: B017, PT011 (anything: that is what a guard prevents)
        run(name, (Phase.generate,))


def fails_with(error: Exception, file: str) -> Callable[[], None]:
    """A function that raises, as if it stood in this file."""
    scope: dict = {"error": error}
    exec(compile("def call():\n    raise error", file, "exec"), scope)
    return scope["call"]


OURS = str(LIBRARY / "masks.py")


@pytest.mark.parametrize(
    ("error", "file"),
    [
        (ValueError("x must be at least 3 tokens long"), __file__),
        (ValueError("x"), OURS),
        (ValueError("something went wrong somewhere in here"), OURS),
        (ValueError("x must be one thing\nand another thing too"), OURS),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "x is no text at all"), OURS),
    ],
    ids=["not the library's", "too short", "names nothing", "two lines", "not plain"],
)
def test_the_oracle_refuses_what_does_not_help(error: Exception, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linecache, "getline", lambda *_: "    raise error")
    with pytest.raises(Unhelpful):
        answer(fails_with(error, file), {"x"})
    assert answer(fails_with(ValueError("x must be at least 3 tokens long"), OURS), {"x"}) == (False, None)
