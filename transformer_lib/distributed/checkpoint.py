"""Sharded checkpoints: every process writes its own part, and any number of processes can read them (chapter 15).

A checkpoint is a small file in the library's own format, and beside it a folder with one safetensors file a process,
written by `torch.distributed.checkpoint`. The small file names the folder, and holds the random numbers of each
process, what is no tensor, and the SHA-256 of each file. It is written last and replaces the old one in one go: a kill
leaves either the old checkpoint or the new one. With several machines, the path must be one that all of them see.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts
from torch.optim import Optimizer

from transformer_lib import _files

KIND = "sharded training"


def save_sharded(path: Path, model: nn.Module, optimizer: Optimizer, random: dict[str, Tensor], about: dict) -> None:
    """Write weights and optimiser, and into the small file, `path`, the random numbers and what is no tensor.

    Called by all processes, with the same `random` and `about`.
    """
    rank_zero = dist.get_rank() == 0
    name = [tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".shards", dir=path.parent) if rank_zero else ""]
    dist.broadcast_object_list(name)
    folder = path.parent / Path(name[0]).name
    save_parts(_state(model, optimizer)[0], storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    if rank_zero:
        files = {file.name: _digest(file) for file in sorted(folder.iterdir())}
        _files.write(path, KIND, random, {**about, "folder": folder.name, "files": files})
        for other in path.parent.glob(f"{path.name}.*.shards"):
            if other != folder:  # of the checkpoint before, or of one that was cut off
                shutil.rmtree(other)
    dist.barrier()


def load_sharded(path: Path, model: nn.Module, optimizer: Optimizer, about: dict) -> None:
    """Read weights and optimiser into place, each process its own part; `about` is what the small file holds.

    Raises:
        ValueError: if a file is missing or damaged, or they are of another model; nothing has been read then.
    """
    folder = path.parent / Path(about["folder"]).name
    for name, digest in about["files"].items():
        file = folder / Path(name).name
        if not file.is_file():
            raise ValueError(f"{path} is damaged: {file} is gone")
        if _digest(file) != digest:
            raise ValueError(f"{path} is damaged: {file} does not fit its check sum")
    reader = HuggingFaceStorageReader(str(folder))
    have = {name: tuple(about.size) for name, about in reader.read_metadata().state_dict_metadata.items()}
    for name, weight in model.state_dict().items():
        if have.get(f"weights.{name}") != tuple(weight.shape):
            told = f"is {have.get(f'weights.{name}', 'not there')}, the model's {tuple(weight.shape)}"
            raise ValueError(f"{path} does not fit this model: the shape of {name} {told}")
    optimizer.zero_grad()
    state, groups = _state(model, optimizer)
    load_parts(state, storage_reader=reader)
    memories = {"state": state["memories"], "param_groups": groups}
    set_state_dict(model, optimizer, model_state_dict=state["weights"], optim_state_dict=memories)


def _state(model: nn.Module, optimizer: Optimizer) -> tuple[dict[str, Any], Any]:
    """The tensors that make up a state, by the names of the weights; and the optimiser's settings, which are none."""
    weights, memories = get_state_dict(model, optimizer)
    return {"weights": weights, "memories": memories["state"]}, memories["param_groups"]


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
