"""Several processes that train one model, each on its part of every batch (chapter 15).

    torchrun --nproc-per-node 2 -m transformer_lib train pronounce --parallel ddp

`torchrun` starts the processes and tells each its number, its **rank**. All of them run the same program. Three things
a step are averaged over them (an *all-reduce*): the gradients, by torch (`DistributedDataParallel`, or FSDP2's
`fully_shard`), and two numbers, by `ParallelTrainer`: how many tokens are learnt from, and the loss.
"""

import contextlib
import inspect
import os
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from transformer_lib import _files
from transformer_lib._checks import shown
from transformer_lib.data.batches import Batch, TokenBatches
from transformer_lib.distributed.checkpoint import KIND, load_sharded, save_sharded
from transformer_lib.loss import token_loss
from transformer_lib.training import Trainer, random_state, set_random_state
from transformer_lib.transformer import Transformer


@contextlib.contextmanager
def processes(device: torch.device | str = "cpu") -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, for the length of a `with` block; without it, be the only one.

    On the CPU they talk through gloo. On GPUs each process takes one, and they talk through NCCL.

    Yields:
        The device of this process.

    Raises:
        ValueError: if `device` is neither "cpu" nor "cuda".
    """
    device = torch.device(device)
    backend = {"cpu": "gloo", "cuda": "nccl"}.get(device.type)
    if backend is None:
        raise ValueError(f"device must be cpu or cuda for several processes, got {device}")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if dist.is_initialized():  # within another `with processes()`
        yield device
        return
    alone: dict[str, Any] = {}
    if "RANK" not in os.environ:
        alone = {"store": dist.HashStore(), "rank": 0, "world_size": 1}  # type: ignore[attr-defined]
    dist.init_process_group(backend, timeout=timedelta(minutes=30), **alone)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    """Wait until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def shard_batch(batch: Batch, rank: int, processes: int, pad_id: int) -> Batch:
    """Return the rows of one process: every `processes`-th, beginning at `rank`.

    A batch is sorted by length; dealt like cards, all processes get as many short rows as long ones, give or take
    one. One for which there is no row takes part in each all-reduce all the same, with what counts for nothing: the
    first row, with padding for a target.
    """
    if rank < len(batch.src_ids):
        return Batch(batch.src_ids[rank::processes], batch.tgt_ids[rank::processes])
    return Batch(batch.src_ids[:1], torch.full_like(batch.tgt_ids[:1], pad_id))


def shard(model: Transformer) -> None:
    """Leave in each process its part of every weight of a model that is the same in all (FSDP2).

    They are gathered layer by layer when the model is called, `model(src_ids, tgt_ids)`, and not for a method alone
    such as `encode` or the fast model's `loss`: to decode, take `ParallelTrainer.full_model`.
    """
    mesh = init_device_mesh(next(model.parameters()).device.type, (dist.get_world_size(),))
    for part in (*model.encoder.layers, *model.decoder.layers, model):  # inner ones first: each is gathered by itself
        fully_shard(part, mesh=mesh)


class ParallelTrainer(Trainer):
    """A `Trainer` in several processes at once: the same steps as in one, each process doing its part of the work.

    Every batch is sharded (`shard_batch`). Each process divides its summed loss by the *mean* number of tokens of all;
    torch averages the gradients over the processes, and a mean of sums divided by a mean number is the sum over all
    tokens divided by their number. Without dropout the loss is that of one process, but for rounding. With dropout each
    process drops at random by itself, so that the run is another one, and as good.

    Use it inside `with processes():`. Chapter 15.

    Args:
        model: the same in all processes (seed them alike), on the device of its process.
        batches: the training pairs, the same in all processes.
        parallel: "ddp": each process keeps the whole model; "fsdp": each keeps a part of every weight.
        options: see `Trainer`.

    Raises:
        ValueError: if no processes were joined, or a setting is out of range.
    """

    def __init__(self, model: Transformer, batches: TokenBatches, *, parallel: str, **options: Any) -> None:
        if parallel not in ("ddp", "fsdp"):
            raise ValueError(f"parallel must be 'ddp' or 'fsdp', got {shown(parallel)}")
        if not dist.is_initialized():
            raise ValueError("ParallelTrainer needs processes to work in; make it inside `with processes():`")
        self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        if parallel == "fsdp":
            shard(model)
        super().__init__(model, batches, **options)
        self.wrapped = None
        if parallel == "ddp":
            # The table of positions is the same in all processes. The word for "do not send it" is new in torch 2.13.
            new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
            unsent: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
            self.wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True, **unsent)
        self.parts_left = 0  # batches of this step that are still to come
        torch.manual_seed(torch.initial_seed() + self.rank)  # each process drops other numbers

    def next_window(self) -> list[Batch]:
        """Return this process's part of the batches of the next step."""
        window = super().next_window()
        self.parts_left = len(window)
        return [shard_batch(batch, self.rank, self.processes, self.model.config.pad_id) for batch in window]

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the summed loss of a batch, from logits: the gradients are sent by what surrounds a whole model.

        That is after the last batch of a step, and not before.
        """
        self.parts_left -= 1
        wait = contextlib.nullcontext()
        if self.wrapped is None:
            self.model.set_requires_gradient_sync(self.parts_left == 0)
        elif self.parts_left:
            wait = self.wrapped.no_sync()
        with wait, warnings.catch_warnings():  # of changing the logits in place, which nobody does
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
            logits = (self.wrapped or self.model)(batch.src_ids, batch.tgt_ids[:, :-1])  # (batch, tgt_len, vocab)
        pad_id = self.model.config.pad_id
        return token_loss(logits, batch.tgt_ids[:, 1:], pad_id=pad_id, smoothing=self.smoothing)[0]

    def mean_over_processes(self, number: Tensor) -> Tensor:
        """Return the mean of a number over all processes; each must ask for it."""
        total = number.clone()
        dist.all_reduce(total)
        return total / self.processes

    def full_model(self) -> Transformer | None:
        """Return the model with all its weights, in rank 0; `None` in the others. Each must ask for it."""
        if self.wrapped is not None:
            return self.model if self.rank == 0 else None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights = get_model_state_dict(self.model, options=options)
        if self.rank != 0:
            return None
        first = next(self.model.parameters())
        with torch.random.fork_rng(devices=[]):  # a new model draws weights; the training shall not notice
            model = Transformer(self.model.config)
        model.load_state_dict(weights)
        return model.to(first.device, first.dtype)

    def save(self, path: str | Path) -> None:
        """Write a sharded checkpoint (`transformer_lib.distributed.checkpoint`), to resume from with any number of
        processes."""
        states: list[Any] = [None] * self.processes
        dist.all_gather_object(states, random_state())
        random = {f"random.{rank}.{i}": state for rank, of in enumerate(states) for i, state in enumerate(of)}
        save_sharded(Path(path), self.model, self.optimizer, random, self.progress_made())

    def resume(self, path: str | Path) -> None:
        """Go on from a sharded checkpoint, of as many processes or of another number, of DDP or of FSDP.

        With as many processes as wrote it, to the last bit; with another number, to rounding (without dropout).

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, or was written with another model, other data or other settings; the trainer
                is as it was.
        """
        random, about = _files.read(path, KIND)
        self.check_setting(path, about["setting"])
        load_sharded(Path(path), self.model, self.optimizer, about)
        self.go_to(about)
        if own := _files.named(random, f"random.{self.rank}."):  # a process that was not there keeps its own
            set_random_state([own[str(i)] for i in range(len(own))])
