"""Files of weights: written whole or not at all, come back to the bit, and never run code or change unseen."""

import contextlib
import copy
import dataclasses
import errno
import hashlib
import os
import pickle
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import (
    D_FF,
    Unchecked,
    in_another_process,
    in_float64,
    redraw,
    source_ids,
    target_ids,
    tiny_config,
    tiny_model,
)
from torch import Tensor, nn

from transformer_lib import TokenBatches, Trainer, Transformer, checkpoint

pytestmark = pytest.mark.usefixtures("without_shape_checks")

CONFIG = dataclasses.asdict(tiny_config())


@pytest.mark.parametrize("changes", [
    {}, {"tie_embeddings": True}, {"tie_embeddings": True, "share_vocab": True, "tgt_vocab_size": 41},
    {"norm_first": True, "activation": "gelu_tanh", "pad_id": 4, "dropout": 0.25},
], ids=["plain", "tied", "shared", "options"])  # fmt: skip
def test_a_saved_model_comes_back_to_the_bit(changes: dict, tmp_path: Path) -> None:
    model, src, tgt = tiny_model(**changes), source_ids(), target_ids()
    model.train().save(tmp_path / "model.pt")
    back = Transformer.load(str(tmp_path / "model.pt"))
    assert back.config == model.config and not back.training and model.training
    assert torch.equal(back(src, tgt), model.eval()(src, tgt))
    for (name, weight), (other, loaded) in zip(model.state_dict().items(), back.state_dict().items(), strict=True):
        assert name == other and torch.equal(weight, loaded)
    assert (back.output.weight is back.tgt_embedding.weight) == model.config.tie_embeddings
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_model_saved_in_half_precision_is_loaded_in_the_default_type(tmp_path: Path) -> None:
    model = tiny_model().half()
    model.save(tmp_path / "model.pt")
    back = Transformer.load(tmp_path / "model.pt")
    assert {weight.dtype for weight in back.state_dict().values()} == {torch.float32}
    assert torch.equal(back.output.weight, model.output.weight.float())
    assert torch.equal(back.positions.encoding, tiny_model().positions.encoding)  # made anew, not rounded


@in_float64()
def test_save_and_load_in_float64_are_exact(tmp_path: Path) -> None:
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    model.save(tmp_path / "model.pt")
    assert torch.equal(Transformer.load(tmp_path / "model.pt")(src, tgt), model(src, tgt))


def test_torch_reads_the_file_too(tmp_path: Path) -> None:
    model = tiny_model()
    model.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert content["config"] == CONFIG and torch.equal(content["weights"]["output.weight"], model.output.weight)


# Writing: the old file or the new one, never a half


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    first, second = tiny_model(), redraw(tiny_model(), std=0.5)
    for model in (first, second):
        model.save(tmp_path / "model.pt")
    assert torch.equal(Transformer.load(tmp_path / "model.pt").output.weight, second.output.weight)
    assert os.listdir(tmp_path) == ["model.pt"]


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk with room for `size` bytes: what is written beyond fails, as it does on a full one."""
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def failing(name: str, error: BaseException) -> Iterator[None]:
    """Let one function that writing a checkpoint needs fail."""
    module, attribute = name.split(".")

    def fail(*_: object, **__: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(getattr(checkpoint, module), attribute, fail)
        yield


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (lambda: files_of_at_most(5000), OSError),
        (lambda: failing("tempfile.mkstemp", PermissionError(errno.EACCES, "Permission denied")), PermissionError),
        (lambda: failing("torch.save", KeyboardInterrupt()), KeyboardInterrupt),
        (lambda: failing("os.fsync", OSError(errno.EIO, "Input/output error")), OSError),
        (lambda: failing("os.replace", KeyboardInterrupt()), KeyboardInterrupt),
    ],
    ids=["full disk", "folder not writable", "interrupted", "broken disk", "interrupted before the renaming"],
)
def test_a_save_that_fails_leaves_the_old_file(trouble: Callable, error: type, tmp_path: Path) -> None:
    path, model = tmp_path / "model.pt", tiny_model()
    model.save(path)
    before = path.read_bytes()
    with pytest.raises(error), trouble():
        redraw(model).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model.pt"]
    model.save(path)  # and the next one succeeds
    assert path.read_bytes() != before


def _save_and_be_killed(path: Path) -> None:
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    redraw(tiny_model()).save(path)


@pytest.mark.no_cover
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="only Unix kills a process so")
def test_a_kill_before_the_renaming_leaves_the_old_file(tmp_path: Path) -> None:
    tiny_model().save(tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()
    process = in_another_process(_save_and_be_killed, tmp_path / "model.pt")
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "model.pt").read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2  # nobody was left to remove the temporary file


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("folder", IsADirectoryError, "folder is a folder; give the name of a file in it"),
        ("nowhere/model.pt", FileNotFoundError, "nowhere to write model.pt to"),
        ("other/model.pt/model.pt", FileNotFoundError, "to write model.pt to"),
        (None, ValueError, "path must be the name of a file, a str or a Path, got None"),
        (3, ValueError, "path must be the name of a file, a str or a Path, got 3"),
        ("a\0b", ValueError, r"path must be the name of a file, a str or a Path, got 'a\\x00b'"),
    ],
    ids=range(6),
)
def test_where_no_file_can_stand(path: object, error: type, message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    run = trainer()
    saves = [tiny_model().save, run.save, lambda path: run.fit(1, checkpoint=path)]
    for save in saves[: 2 if path is None else 3]:  # fit takes None for no file
        with pytest.raises(error, match=message):
            save(path)
    assert run.step == 0  # said before the training, not after it
    assert [*os.walk(tmp_path)] == [(str(tmp_path), ["folder"], []), (str(tmp_path / "folder"), [], [])]


# Reading: what was written, or a sentence


@pytest.mark.parametrize("read", [Transformer.load, lambda path: trainer().resume(path)], ids=["load", "resume"])
def test_a_missing_file_is_named(read: Callable, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nothing.pt; write one with"):
        read(tmp_path / "nothing.pt")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        read(tmp_path)
    with pytest.raises(ValueError, match="path must be the name of a file, a str or a Path, got 7"):
        read(7)


class Malicious:
    """A pickle that would create a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def sign(path: Path) -> None:
    """Give a file the check sum that a checkpoint ends with, as somebody who means harm would."""
    path.write_bytes(path.read_bytes() + hashlib.sha256(path.read_bytes()).digest())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))], ids=["torch", "pickle"]
)
def test_a_malicious_file_is_refused_and_not_run(write: Callable, signed: bool, tmp_path: Path) -> None:
    bad, trace = tmp_path / "bad.pt", tmp_path / "it_ran"
    write({name: Malicious(trace) for name in ("config", *trainer().state())}, bad)
    if signed:
        sign(bad)
    before = bad.read_bytes()
    for read in (Transformer.load, trainer().resume):
        with pytest.raises(ValueError, match=r"bad.pt is damaged or not a checkpoint of this library"):
            read(bad)
    assert not trace.exists() and bad.read_bytes() == before
    torch.load(bad, weights_only=False) if write is torch.save else pickle.loads(before)
    assert trace.exists()  # it would have run


def damaged(data: bytes) -> Iterator[bytes]:
    """What becomes of a file: cut off, with one bit turned, longer, or with its halves exchanged."""
    places = [*range(0, len(data), 997), *range(len(data) - 70, len(data))]
    for i in places:
        yield data[:i]
        yield data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i + 1 :]
    yield from (data + b"\0", b"\0" + data, data + data, data[len(data) // 2 :] + data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["model", "trainer"])
def test_a_damaged_file_is_refused(kind: str, tmp_path: Path) -> None:
    path, run = tmp_path / "model.pt", trainer()
    run.train_step()
    (run.model if kind == "model" else run).save(path)
    read = Transformer.load if kind == "model" else run.resume
    read(path)
    before = copy.deepcopy(run.state())
    for data in damaged(path.read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"model.pt is damaged or not a checkpoint of this library \(its check"):
            read(path)
    assert same(run.state(), before)


def test_torch_alone_would_not_see_the_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why there is a check sum: without it, most turned bits are read as other weights, and nothing is said."""
    path, model = tmp_path / "model.pt", tiny_model()
    model.save(path)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes([data[middle] ^ 64]) + data[middle + 1 :])
    monkeypatch.setattr(checkpoint, "hashlib", Unchecked())
    assert not same(dict(Transformer.load(path).state_dict()), dict(model.state_dict()))


def test_another_hand_in_the_archive_is_seen(tmp_path: Path) -> None:
    """A checkpoint is a zip file, whose own sums any program that packs it anew makes fit."""
    path, packed = tmp_path / "model.pt", tmp_path / "packed.pt"
    tiny_model().save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data[::-1] if name.endswith("data/0") else data)
    assert zipfile.ZipFile(packed).testzip() is None
    assert isinstance(torch.load(packed, weights_only=True), dict)
    with pytest.raises(ValueError, match=r"packed.pt is damaged or not a checkpoint of this library"):
        Transformer.load(packed)


WEIGHTS = tiny_model().state_dict()
BIAS = "output.bias"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": {}}, r"is not a checkpoint of this library: expected the entries \['config', 'weights'\]"),
        ([1, 2], "is not a checkpoint of this library"),
        (nn.Linear(2, 2).state_dict(), "is not a checkpoint of this library"),
        ({"config": CONFIG, "weights": {}}, "have nothing as src_embedding.weight, the model has numbers of shape"),
        ({"config": CONFIG, "weights": [1]}, "the weights must be a dictionary, got list"),
        (
            {"config": CONFIG, "weights": {**WEIGHTS, BIAS: torch.zeros(3)}},
            r"the weights have numbers of shape \(3,\) as output.bias, the model has numbers of shape \(37,\)",
        ),
        (
            {"config": CONFIG, "weights": tiny_model(d_ff=D_FF + 2).state_dict()},
            r"have numbers of shape \(31, 22\) as encoder.layers.0.feed_forward.fc1.weight, .* shape \(29, 22\)",
        ),
        (
            {"config": CONFIG, "weights": {**WEIGHTS, "n_experts": torch.zeros(3)}},
            r"the weights have numbers of shape \(3,\) as n_experts, the model has nothing",
        ),
        (
            {"config": CONFIG, "weights": {**WEIGHTS, BIAS: torch.zeros(37, dtype=torch.int64)}},
            "nothing as output.bias",
        ),
        ({"config": CONFIG, "weights": {**WEIGHTS, BIAS: torch.zeros(37, device="meta")}}, "nothing as output.bias"),
        ({"config": CONFIG, "weights": {**WEIGHTS, BIAS: torch.zeros(37).to_sparse()}}, "nothing as output.bias"),
        ({"config": {**CONFIG, "n_experts": 4}, "weights": {}}, "unexpected keyword argument 'n_experts'"),
        ({"config": 5, "weights": {}}, "model.pt does not hold a Transformer: .* must be a mapping, not int"),
        ({"config": {**CONFIG, "d_model": 23}, "weights": {}}, r"d_model \(23\) must be divisible by n_heads \(2\)"),
    ],
    ids=range(14),
)
def test_a_foreign_file_is_refused(content: object, message: str, tmp_path: Path) -> None:
    checkpoint.save_atomically(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message) as error:
        Transformer.load(tmp_path / "model.pt")
    assert str(tmp_path / "model.pt") in str(error.value) and "\n" not in str(error.value)


# Going on with a training: all of it or nothing

PAIRS = [([3 + i, 4, 5 + i], [1, 3 + i, 4 + i, 2]) for i in range(9)]


def trainer(pairs: int = 9, batch_tokens: int = 9, seed: int = 2, config: dict | None = None, **options) -> Trainer:
    torch.manual_seed(0)
    sizes = dict(d_model=4, n_heads=2, n_encoder_layers=1, n_decoder_layers=1, d_ff=8, dropout=0.1)
    batches = TokenBatches(PAIRS[:pairs], batch_tokens=batch_tokens, seed=seed)
    return Trainer(Transformer(tiny_config(**sizes | (config or {}))), batches, rate=lambda step: 1e-2, **options)


def same(a: object, b: object) -> bool:
    """Whether two states are equal, tensors to the bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and [*a] == [*b] and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def replaced(state: dict, path: str, value: object) -> dict:
    """A copy of a state with one entry replaced, or left out if the value is `...`."""
    state = copy.deepcopy(state)
    *names, last = [int(name) if name.isdigit() else name for name in path.split(" ")]
    inner = state
    for name in names:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return state


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("weights", {}, "does not fit this model: the weights have nothing as src_embedding.weight"),
        ("weights output.bias", torch.zeros(5), r"numbers of shape \(5,\) as output.bias"),
        ("optimizer", {}, "does not fit this model"),
        ("optimizer", 3, "does not fit this model"),
        ("optimizer param_groups", [], "does not fit this model"),
        ("optimizer state 0 exp_avg", torch.zeros(5), r"the weights have numbers of shape \(5,\) as memory"),
        ("optimizer state 0 exp_avg_sq", ..., "does not fit this model"),
        ("place", [1, 2], "does not fit this model"),
        ("place", [1, "x", 2], "epoch must be a whole number of at least 0, got 'x'"),
        ("place", [-1, 0, 2], "step must be a whole number of at least 0, got -1"),
        ("place", [1, 0, 2.5], "position must be a whole number of at least 0, got 2.5"),
        ("history", 5, "does not fit this model"),
        ("random", [], "does not fit this model"),
        ("random", [torch.zeros(3)], "does not fit this model"),
        ("setting", 3, "was written with 3, but the trainer has {'pairs': 9, 'batch_tokens': 9, 'seed': 2"),
        ("setting", {}, "was written with {}, but the trainer has {'pairs': 9, 'batch_tokens': 9, 'seed': 2"),
        ("setting pairs", torch.ones(2), r"with {'pairs': tensor\(\[1., 1.\]\)}, but the trainer has {'pairs': 9}$"),
        ("setting pairs", ..., "but the trainer has {'pairs': 9, 'batch_tokens': 9, 'seed': 2"),
        ("setting", ..., "expected the entries"),
    ],
    ids=range(19),
)
def test_a_misfit_leaves_the_trainer_as_it_was(path: str, value: object, message: str, tmp_path: Path) -> None:
    other = trainer()
    other.fit(5, every=1)
    checkpoint.save_atomically(replaced(other.state(), path, value), tmp_path / "run.pt")
    run = trainer()
    run.fit(2, every=1)
    before = copy.deepcopy(run.state())
    with pytest.raises(ValueError, match=message) as error:
        run.resume(tmp_path / "run.pt")
    assert str(tmp_path / "run.pt") in str(error.value)
    assert same(run.state(), before)
    run.fit(4, every=1)
    untouched = trainer()
    untouched.fit(4, every=1)
    assert same(run.state(), untouched.state())  # and it goes on as if nothing had been tried


def test_nothing_is_left_half_loaded_even_where_torch_stops_half_way(tmp_path: Path, monkeypatch) -> None:
    """The last thing to be set are the random numbers: by then weights, optimiser and place are in."""
    run, other = trainer(), trainer()
    other.fit(5)
    other.save(tmp_path / "run.pt")
    before, tries = copy.deepcopy(run.state()), []

    def once(state: Tensor, real=torch.set_rng_state) -> None:
        tries.append(same(run.model.state_dict(), other.model.state_dict()))
        if len(tries) == 1:
            raise RuntimeError("no")
        real(state)

    monkeypatch.setattr(torch, "set_rng_state", once)
    with pytest.raises(ValueError, match=r"run.pt does not fit this model: no"):
        run.resume(tmp_path / "run.pt")
    assert tries == [True, False]
    assert same(run.state(), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"d_ff": 9}, "seed": 3}, "with {'seed': 2, 'd_ff': 8}, but .* has {'seed': 3, 'd_ff': 9}$"),
        ({"config": {"norm_first": True}}, "with {'norm_first': False}, but the trainer has {'norm_first': True}$"),
        ({"pairs": 8}, "with {'pairs': 9}, but the trainer has {'pairs': 8}$"),
        ({"batch_tokens": 12}, "with {'batch_tokens': 9}, but the trainer has {'batch_tokens': 12}$"),
        ({"precision": torch.bfloat16}, "'None'}, but the trainer has {'precision': 'torch.bfloat16'}$"),
        ({"smoothing": 0.1}, "with {'smoothing': 0.0}, but the trainer has {'smoothing': 0.1}$"),
        ({"clip": 2.0}, "with {'clip': 1.0}, but the trainer has {'clip': 2.0}$"),
        ({"accumulate": 3}, "with {'accumulate': 1}, but the trainer has {'accumulate': 3}$"),
        ({"betas": (0.9, 0.999)}, r"with {'betas': '\(0.9, 0.98\)'}, but the trainer has {'betas': '\(0.9, 0.999\)'}$"),
        ({"weight_decay": 0.1}, "with {'weight_decay': 0.01}, but the trainer has {'weight_decay': 0.1}$"),
    ],
    ids=range(10),
)
def test_a_checkpoint_of_another_training_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    first, second = trainer(), trainer(**changes)
    first.fit(3)
    first.save(tmp_path / "run.pt")
    before = copy.deepcopy(second.state())
    with pytest.raises(ValueError, match=message):
        second.resume(tmp_path / "run.pt")
    assert same(second.state(), before)


def test_a_model_of_other_numbers_is_refused(tmp_path: Path) -> None:
    first, second = trainer(), trainer()
    first.save(tmp_path / "run.pt")
    second.model.double()
    with pytest.raises(ValueError, match=r"'dtype': 'torch.float32'}, but the trainer has .*'dtype': 'torch.float64'"):
        second.resume(tmp_path / "run.pt")


def test_a_callback_cannot_spoil_the_checkpoint(tmp_path: Path) -> None:
    """Numbers of numpy and torch are written as Python's: others could be saved, but never be read again."""
    import numpy as np

    run = trainer()
    answers = {"a": np.float64(0.5), "b": torch.tensor(2), "c": 3, "d": True, "e": np.int64(4)}
    run.fit(1, callback=lambda run: answers, checkpoint=tmp_path / "run.pt")
    second = trainer()
    second.resume(tmp_path / "run.pt")
    assert {**second.history[0], **answers} == second.history[0]
    assert {type(value) for value in second.history[0].values()} == {int, float}


def test_random_numbers_of_gpus_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [torch.arange(3, dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: held)
    run = trainer()
    run.save(tmp_path / "run.pt")
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda states: held.append(states))
    run.resume(tmp_path / "run.pt")
    assert same(held[1], held[:1])
