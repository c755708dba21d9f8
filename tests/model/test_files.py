"""Files: written whole or not at all, come back to the bit, and never run code or change unseen."""

import contextlib
import copy
import dataclasses
import errno
import hashlib
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from helpers import redraw, source_ids, target_ids, tiny_config, tiny_model
from torch import Tensor, nn

from transformer_lib import TokenBatches, Trainer, Transformer, _files

PAIRS = [([3 + i, 4, 5 + i], [1, 3 + i, 4 + i, 2]) for i in range(9)]
SIZES = dict(d_model=4, n_heads=2, n_encoder_layers=1, n_decoder_layers=1, d_ff=8, dropout=0.1)
KINDS = ["plain", "tied", "shared", "options"]
CHANGES: list[dict] = [
    {},
    {"tie_embeddings": True},
    {"tie_embeddings": True, "share_vocab": True, "tgt_vocab_size": 41},
    {"norm_first": True, "activation": "gelu_tanh", "pad_id": 4, "dropout": 0.25},
]


def trainer() -> Trainer:
    torch.manual_seed(0)
    batches = TokenBatches(PAIRS, batch_tokens=9, seed=2)
    return Trainer(Transformer(tiny_config(**SIZES)), batches, rate=lambda step: 1e-2)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("changes", CHANGES, ids=KINDS)
def test_a_saved_model_comes_back_to_the_bit(changes: dict, tmp_path: Path) -> None:
    model, src, tgt = tiny_model(**changes), source_ids(), target_ids()
    model.train().save(tmp_path / "model")
    back = Transformer.load(str(tmp_path / "model"))
    assert back.config == model.config and not back.training and model.training
    assert torch.equal(back(src, tgt), model.eval()(src, tgt))
    assert same(back.state_dict(), model.state_dict())
    assert (back.output.weight is back.tgt_embedding.weight) == model.config.tie_embeddings
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("changes", CHANGES, ids=KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_16_bits_is_loaded_in_the_default_type(changes: dict, dtype: torch.dtype, tmp_path: Path) -> None:
    """`half()` leaves tied weights in one memory, which is no hindrance."""
    model = tiny_model(**changes).to(dtype)
    model.save(tmp_path / "model")
    back = Transformer.load(tmp_path / "model")
    assert {weight.dtype for weight in back.state_dict().values()} == {torch.float32}
    assert torch.equal(back.output.weight, model.output.weight.float())
    assert torch.equal(back.positions.encoding, tiny_model().positions.encoding)  # made anew, not rounded


def test_other_libraries_read_the_file_and_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = tiny_model(tie_embeddings=True)
    model.save(tmp_path / "a")
    model.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert same(safetensors.torch.load_file(tmp_path / "a"), model.state_dict())


def by_layers(model: Transformer) -> nn.Module:
    model.decoder.layers[0] = torch.compile(model.decoder.layers[0], backend="eager")
    return model


def in_place(model: Transformer) -> nn.Module:
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("wrap", [lambda model: torch.compile(model, backend="eager"), by_layers, in_place])
def test_the_names_of_a_wrapper_never_reach_a_file(wrap: Callable, tmp_path: Path) -> None:
    model = tiny_model()
    before = model.state_dict()
    wrap(model).save(tmp_path / "model")
    assert same(Transformer.load(tmp_path / "model").state_dict(), before)


def test_an_adapter_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model = tiny_model()
    model.output = nn.Sequential(model.output, nn.Dropout(0.1))
    with pytest.raises(ValueError, match=r"they differ in output.0.bias, output.0.weight, output.bias \.\.\.; merge"):
        model.save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


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
    """Let one function that writing needs fail."""

    def fail(*_: object, **__: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name, fail)
        yield


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (lambda: files_of_at_most(5000), OSError),
        (lambda: failing("pathlib.Path.open", PermissionError(errno.EACCES, "Permission denied")), PermissionError),
        (lambda: failing("safetensors.torch.save", KeyboardInterrupt()), KeyboardInterrupt),
        (lambda: failing("os.fsync", OSError(errno.EIO, "Input/output error")), OSError),
        (lambda: failing("os.replace", KeyboardInterrupt()), KeyboardInterrupt),
    ],
    ids=["full disk", "folder not writable", "interrupted", "broken disk", "interrupted before the renaming"],
)
def test_a_save_that_fails_leaves_the_old_file(trouble: Callable, error: type, tmp_path: Path) -> None:
    path, model = tmp_path / "model", tiny_model()
    model.save(path)
    before = path.read_bytes()
    with pytest.raises(error), trouble():
        redraw(model).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model"]
    model.save(path)  # and the next one succeeds
    assert path.read_bytes() != before


NO_FOLDER = "there is no folder .* to write model to"
NOWHERE = [("folder", "folder is a folder; give the name"), ("nowhere/model", NO_FOLDER), ("a/b/model", NO_FOLDER)]


@pytest.mark.parametrize(("path", "message"), NOWHERE)
def test_where_no_file_can_stand_is_said_before_the_training(path: str, message: str, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    run, path = trainer(), tmp_path / path
    for save in (tiny_model().save, run.save, lambda p: run.fit(1, checkpoint=p), lambda p: run.fit(1, log=p)):
        with pytest.raises((IsADirectoryError, FileNotFoundError), match=message):
            save(path)
    assert run.step == 0
    assert [*os.walk(tmp_path)] == [(str(tmp_path), ["folder"], []), (str(tmp_path / "folder"), [], [])]


@pytest.mark.parametrize("read", [Transformer.load, lambda path: trainer().resume(path)], ids=["load", "resume"])
def test_a_missing_file_is_named(read: Callable, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match=rf"there is no (model|training) at {path}"):
            read(path)


def damaged(data: bytes) -> Iterator[bytes]:
    """What becomes of a file: cut off, with one bit turned, another, longer, or with its halves exchanged."""
    for i in [*range(0, len(data), 997), *range(70), *range(len(data) - 70, len(data))]:
        yield data[:i]
        yield data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i + 1 :]
    yield from (b"PK", b"hello", b"\xff" * 64)
    yield from (data + b"\0", b"\0" + data, data + data, data[len(data) // 2 :] + data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["model", "training"])
@pytest.mark.parametrize("edition", [1, 2])
def test_a_damaged_file_is_refused_and_nothing_is_changed(kind: str, edition: int, tmp_path: Path) -> None:
    path, run = tmp_path / "kept", trainer()
    run.train_step()
    if edition == 1:
        write_first_edition(run, kind, path)
    else:
        (run.model if kind == "model" else run).save(path)
    read = Transformer.load if kind == "model" else run.resume
    read(path)
    before = copy.deepcopy(run.model.state_dict())
    for data in damaged(path.read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="kept is damaged"):
            read(path)
        assert path.read_bytes() == data
    assert same(run.model.state_dict(), before) and run.step == 1


class Malicious:
    """A pickle that would create a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def sign(path: Path) -> None:
    """Give a file the check sum that one of the first edition ends with, as somebody who means harm would."""
    path.write_bytes(path.read_bytes() + hashlib.sha256(path.read_bytes()).digest())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_malicious_file_is_refused_and_not_run(write: Callable, signed: bool, tmp_path: Path) -> None:
    bad, trace = tmp_path / "bad.pt", tmp_path / "it_ran"
    write({name: Malicious(trace) for name in ("config", "weights", "optimizer")}, bad)
    if signed:
        sign(bad)
    before = bad.read_bytes()
    for read in (Transformer.load, trainer().resume):
        with pytest.raises(ValueError, match=r"bad.pt is damaged or not a file of this library"):
            read(bad)
    assert not trace.exists() and bad.read_bytes() == before
    torch.load(bad, weights_only=False) if write is torch.save else pickle.loads(before)
    assert trace.exists()  # it would have run


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path, model, run = tmp_path / "kept", tiny_model(), trainer()
    config = dataclasses.asdict(model.config)
    with_this = lambda **settings: lambda: _files.write(path, "model", {}, settings)  # noqa: E731
    foreign = {
        "not a file of this library": lambda: safetensors.torch.save_file(model.state_dict(), path),
        "holds a training, not a model": lambda: run.save(path),
        "does not hold a Transformer: 'config'": with_this(),
        "a Transformer: .*unexpected keyword argument 'n_experts'": with_this(config={**config, "n_experts": 4}),
        r"a Transformer: d_model \(23\) must be divisible by n_heads \(2\)": with_this(
            config={**config, "d_model": 23}
        ),
        r"not hold a Transformer: .* they differ in decoder\..* \.\.\.; was an": with_this(config=config),
    }
    for message, write in foreign.items():
        write()
        with pytest.raises(ValueError, match=f"(?s){path}.*{message}"):
            Transformer.load(path)
    model.save(path)
    with pytest.raises(ValueError, match="kept holds a model, not a training"):
        run.resume(path)


# Files of the first edition (to go with version 3)


def write_first_edition(run: Trainer, kind: str, path: Path) -> None:
    """What the first edition wrote: `torch.save`, and behind it the SHA-256."""
    model = run.model
    content = {"config": dataclasses.asdict(model.config), "weights": model.state_dict()}
    if kind == "training":
        content = {
            "weights": model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "place": [run.step, run.epoch, run.position],
            "setting": run.setting(),
            "random": [torch.get_rng_state()],
            "history": run.history,
        }
    torch.save(content, path)
    sign(path)


def test_a_model_of_the_first_edition_is_read(tmp_path: Path) -> None:
    run = trainer()
    write_first_edition(run, "model", tmp_path / "old.pt")
    assert same(Transformer.load(tmp_path / "old.pt").state_dict(), run.model.state_dict())
    with pytest.raises(ValueError, match=r"old.pt holds a model of the first edition, not a training"):
        run.resume(tmp_path / "old.pt")


def test_a_training_of_the_first_edition_goes_on_to_the_bit(tmp_path: Path) -> None:
    straight = trainer()
    straight.fit(4)
    first = trainer()
    first.fit(2)
    write_first_edition(first, "training", tmp_path / "old.pt")
    second = trainer()
    torch.rand(7)
    second.resume(tmp_path / "old.pt")
    second.fit(4)
    assert same(second.model.state_dict(), straight.model.state_dict())
    with pytest.raises(ValueError, match=r"old.pt holds a training of the first edition, not a model"):
        Transformer.load(tmp_path / "old.pt")
