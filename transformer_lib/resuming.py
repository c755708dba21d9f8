"""Resuming: everything that the next step of a training depends on, written to a file and put back (chapter 10)."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transformer_lib._checks import check_count, shown
from transformer_lib.batching import TokenBatches
from transformer_lib.checkpoint import check_weights, load_safely, save_atomically
from transformer_lib.transformer import Transformer


class Resumable:
    """A training that can stop, and go on as if it had never stopped: the part of a `Trainer` that is not the loop."""

    model: Transformer
    batches: TokenBatches
    smoothing: float
    clip: float
    accumulate: int
    precision: torch.dtype | None
    optimizer: torch.optim.Optimizer
    step: int
    epoch: int
    position: int
    history: list[dict[str, int | float]]
    _order: list[Tensor]

    def state(self) -> dict:
        """Everything that the next step depends on."""
        return {
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "place": [self.step, self.epoch, self.position],
            "setting": self._setting(),
            "random": random_state(),
            "history": self.history,
        }

    def save(self, path: str | Path) -> None:
        """Write a checkpoint to resume from; an old file is replaced only when the new one is whole."""
        save_atomically(self.state(), path)

    def resume(self, path: str | Path) -> None:
        """Go on from a checkpoint: same weights, optimiser, place in the data and random numbers, to the last bit.

        All of it or nothing: after an error the trainer is as it was.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, or was written with another model, other data or other settings.
        """
        content = self._open(path, sharded=False)
        before = copy.deepcopy(self.state())
        try:
            self._go_to(content)
        except Exception as error:  # whatever a file that was made by hand leads to
            self._go_to(before)
            raise ValueError(f"{path} does not fit this model: {error}") from None

    def _open(self, path: str | Path, sharded: bool) -> dict:
        """Read a checkpoint, and require that it was written in the same way by a training of the same setting."""
        content = load_safely(path, {"place", "setting", "random", "history"})
        if ("folder" in content) != sharded:
            way = "one process" if sharded else "a ParallelTrainer (--parallel)"
            raise ValueError(f"{path} was written by {way}; go on with it in the same way")
        have, want = content["setting"], self._setting()
        if isinstance(have, dict) and have.keys() == want.keys():
            plain = {name: value for name, value in have.items() if isinstance(value, int | float | str)}
            names = [name for name in want if name not in plain or plain[name] != want[name]]
            have, want = ({name: setting[name] for name in names} for setting in (have, want))
        if have or want:
            raise ValueError(f"{path} was written with {shown(have, 200)}, but the trainer has {shown(want, 200)}")
        return content

    def _setting(self) -> dict[str, Any]:
        """What must be the same for a training to go on: everything that was chosen, but for the rate of each step."""
        batches, weight, group = self.batches, next(self.model.parameters()), self.optimizer.param_groups[0]
        return {
            "pairs": len(batches),
            "batch_tokens": batches.batch_tokens,
            "seed": batches.seed,
            "dtype": str(weight.dtype),
            "precision": str(self.precision),
            "smoothing": self.smoothing,
            "clip": self.clip,
            "accumulate": self.accumulate,
            "betas": str(group["betas"]),
            "weight_decay": group["weight_decay"],
            **dataclasses.asdict(self.model.config),
        }

    def _go_to(self, content: dict) -> None:
        """Take over a state, if it fits; after an error some of it may be taken over."""
        check_weights(content["weights"], self.model.state_dict())
        self.model.load_state_dict(content["weights"])
        self.optimizer.load_state_dict(content["optimizer"])
        for weight, memory in self.optimizer.state.items():
            check_weights({"memory": memory["exp_avg"]}, {"memory": weight})
            check_weights({"memory": memory["exp_avg_sq"]}, {"memory": weight})
        self._go_to_place(content)
        set_random_state(content["random"])

    def _go_to_place(self, content: dict) -> None:
        """Take over the place in the data, and the history."""
        step, epoch, position = content["place"]
        check_count(step=step, epoch=epoch, position=position)
        self.step, self.epoch, self.position = step, epoch, position
        self.history = [dict(record) for record in content["history"]]
        self._order = self.batches.epoch(self.epoch)


def random_state() -> list[Tensor]:
    """Return the state of torch's random numbers: the CPU's, then that of each GPU."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


def set_random_state(states: list[Tensor]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(states[0])
    if torch.cuda.is_available() and len(states) > 1:
        torch.cuda.set_rng_state_all(states[1:])
