"""Files: one format for all that is kept, written whole or not at all, and read without running code from it.

A file is in the safetensors format, which other libraries read too. Its metadata has one entry, a JSON text that says
what `kind` of thing it holds, what is no tensor about it, and the SHA-256 of everything: safetensors does not look for
damage, and would hand out weights with flipped bits.
"""

import dataclasses
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

ENTRY = "transformer_lib"  # only one: safetensors writes several in an order that chance decides


def check_target(path: str | Path) -> None:
    """Require that a file can stand at `path`: its folder is there, and it is not a folder itself."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")


def replace(path: str | Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, then rename it: an old file stays until the new one is whole."""
    check_target(path)
    path = Path(path)
    temporary = path.with_name(f"{path.name[:100]}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: str | Path, kind: str, tensors: dict[str, Tensor], about: dict) -> None:
    """Write tensors by name, and what JSON can hold about them; `read` asks for their `kind`, such as "model"."""
    # Copied: safetensors takes no two tensors that share memory, such as tied weights.
    tensors = {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    entry = {"kind": kind, "about": about, "sha256": digest(kind, tensors, about)}
    replace(path, safetensors.torch.save(tensors, {ENTRY: json.dumps(entry)}))


def read(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read what `write` wrote: the tensors, on the CPU, and the rest.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, of another kind, or was not written by this library.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {kind} at {path}")
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            return read_pt(path, kind)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            entry = json.loads((file.metadata() or {})[ENTRY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        have, about, sha256 = entry["kind"], entry["about"], entry["sha256"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or not a file of this library: {error}") from None
    if sha256 != digest(have, tensors, about):
        raise ValueError(f"{path} is damaged: it does not fit its check sum")
    if have != kind:
        raise ValueError(f"{path} holds a {have}, not a {kind}")
    return tensors, about


def read_pt(path: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read a file of the first edition: what `torch.save` wrote, and behind it the SHA-256. To go with version 3."""
    data = path.read_bytes()
    try:
        if hashlib.sha256(data[:-32]).digest() != data[-32:]:
            raise ValueError
        about = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        weights = about.pop("weights")
    except Exception as error:  # torch raises many kinds for what it will not read; all mean the same here
        raise ValueError(f"{path} is damaged or not a file of this library ({type(error).__name__})") from None
    have = "model" if "config" in about else "training"
    if have != kind:
        raise ValueError(f"{path} holds a {have} of the first edition, not a {kind}")
    if kind == "training":
        weights = of_training(weights, about.pop("optimizer"), about.pop("random"))
    return weights, about


def digest(kind: str, tensors: dict[str, Tensor], about: dict) -> str:
    """SHA-256 of the kind, of names, types, shapes and bytes of all tensors, and of the rest."""
    sha256 = hashlib.sha256(json.dumps([kind, about], sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha256.update(tensor.flatten().view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, by what follows it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def plain_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module under the names that it has without `torch.compile`."""
    return {name.replace("_orig_mod.", ""): weight for name, weight in module.state_dict().items()}


def load_plain_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load what `plain_weights` returned, into a compiled module or a plain one; a ValueError where names differ."""
    names = dict(zip(plain_weights(module), module.state_dict(), strict=True))
    check_names(weights, names, "was an adapter added, or merged, in between?")
    module.load_state_dict({names[name]: weight for name, weight in weights.items()})


def check_names(weights: Iterable[str], expected: Iterable[str], hint: str) -> None:
    """Require the weights that are expected, and no others."""
    strange = sorted({*weights} ^ {*expected})
    if strange:
        some = ", ".join(strange[:3]) + (" ..." if len(strange) > 3 else "")
        raise ValueError(f"the weights are not those of the model, they differ in {some}; {hint}")


def write_model(path: str | Path, model: Any, plain: Callable[[Any], nn.Module]) -> None:
    """Write config and weights of a model, which must be those that `plain` makes of the config: no adapters."""
    weights = plain_weights(model)
    with torch.device("meta"):
        expected = plain(model.config).state_dict()
    check_names(weights, expected, "merge adapters first, or keep model.state_dict() in a file of your own")
    write(path, "model", weights, {"config": dataclasses.asdict(model.config)})


def read_model(path: str | Path, kind: type[nn.Module], config: type) -> Any:
    """Read what `write_model` wrote into a new `kind`, on the CPU, in torch's default type, to evaluate."""
    weights, about = read(path, "model")
    try:
        model = kind(config(**about["config"]))
        load_plain_weights(model, weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a {kind.__name__}: {error}") from None
    return model.eval()


def of_training(weights: dict[str, Tensor], optimizer: dict, random: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return all tensors of a training by name: `optimizer.0.exp_avg` is what is remembered of the first weight."""
    return {
        **{f"weights.{name}": weight for name, weight in weights.items()},
        **{f"optimizer.{i}.{name}": x for i, memory in optimizer["state"].items() for name, x in memory.items()},
        **{f"random.{i}": state for i, state in enumerate(random)},
    }


def load_memories(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load memories, named as `0.exp_avg` is; rates and other settings stay those of `optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        i, of = name.split(".")
        state.setdefault(int(i), {})[of] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
