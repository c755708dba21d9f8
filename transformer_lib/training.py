"""Training: many small steps, each making the right next tokens a little likelier (chapter 10)."""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib import _files
from transformer_lib._checks import check_number, check_share, check_whole, shown
from transformer_lib._progress import progress
from transformer_lib.data.batches import Batch, TokenBatches
from transformer_lib.loss import batch_loss, check_padding
from transformer_lib.transformer import Transformer

Record = dict[str, int | float]  # a line of the history


class Trainer:
    """Trains a `Transformer` with AdamW, and can stop and go on as if it had never stopped.

    One step reads `accumulate` batches, sums the loss of their real tokens, divides by the number of those tokens,
    clips the gradient and moves the weights: the same step as with one big batch. At the end of an epoch the last
    window may be shorter; it is stepped all the same, and divided by its own number. Paper: section 5.

    Args:
        model: the `Transformer`; moved nowhere, batches follow it to its device.
        batches: the training pairs.
        rate: learning rate at each step, counted from 1, e.g. `lambda step: cosine_rate(step, 3e-3, 60, 600)`.
        smoothing: label smoothing; the paper takes 0.1.
        clip: longest gradient, as a norm over all weights; longer ones are shortened to it.
        accumulate: batches per step.
        betas: AdamW's two memories; these are the paper's for Adam.
        weight_decay: AdamW's pull of all weights towards zero.
        precision: `torch.bfloat16` to compute products in 16 bits; weights keep their type (mixed precision).

    Raises:
        ValueError: if a setting is out of range; the message names it.
    """

    def __init__(
        self,
        model: Transformer,
        batches: TokenBatches,
        *,
        rate: Callable[[int], float],
        smoothing: float = 0.0,
        clip: float = 1.0,
        accumulate: int = 1,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
        precision: torch.dtype | None = None,
    ) -> None:
        check_whole(1, accumulate=accumulate)
        check_share(smoothing=smoothing)
        if not clip > 0.0:
            raise ValueError(f"clip must be a positive number, got {shown(clip)}; use math.inf for no clipping")
        if precision not in (None, torch.bfloat16):
            raise ValueError(f"precision must be torch.bfloat16, or None for the weights' own, got {shown(precision)}")
        check_padding(model, batches)
        self.model, self.batches, self.rate = model, batches, rate
        self.smoothing, self.clip, self.accumulate, self.precision = smoothing, clip, accumulate, precision
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=float(self.rate(1)), betas=betas, eps=1e-9, weight_decay=weight_decay, fused=True
        )
        self.step, self.epoch, self.position = 0, 0, 0  # steps made, and batches of this epoch already read
        self.history: list[Record] = []
        self._order = batches.epoch(0)

    def next_window(self) -> list[Batch]:
        """Return the batches of the next step, and move on; a window never spans two epochs."""
        if self.position >= len(self._order):
            self.epoch, self.position = self.epoch + 1, 0
            self._order = self.batches.epoch(self.epoch)
        window = self._order[self.position : self.position + self.accumulate]
        self.position += len(window)
        return [self.batches.take(rows).to(next(self.model.parameters()).device) for rows in window]

    def train_step(self) -> Tensor:
        """Make one step; return its loss per token."""
        config, rate = self.model.config, float(self.rate(self.step + 1))
        check_number(zero=True, rate=rate)  # torch asks once, not at each step; a rate below 0 learns to do worse
        window = self.next_window()
        counts = [(batch.tgt_ids[:, 1:] != config.pad_id).sum() for batch in window]
        number = self.mean_over_processes(torch.stack(counts).sum())
        losses = []
        self.optimizer.zero_grad()
        for batch in window:
            with torch.autocast(batch.src_ids.device.type, self.precision) if self.precision else nullcontext():
                loss = self.loss_of(batch) / number
            loss.backward()  # in the types of the forward pass
            losses.append(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return self.mean_over_processes(torch.stack(losses).sum())

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the summed loss of a batch."""
        return batch_loss(self.model, batch.src_ids, batch.tgt_ids, self.smoothing)[0]

    def mean_over_processes(self, number: Tensor) -> Tensor:
        """Return the mean of a number over all processes: here it is one process."""
        return number

    def full_model(self) -> Transformer | None:
        """Return the model with all its weights; of several processes only rank 0 gets it."""
        return self.model

    def fit(
        self,
        steps: int,
        *,
        every: int = 100,
        callback: Callable[["Trainer"], Record | None] | None = None,
        checkpoint: str | Path | None = None,
        log: str | Path | None = None,
        show: bool | None = None,
    ) -> list[Record]:
        """Train until `steps` steps have been made in all; return the history.

        Args:
            steps: steps in all, those before an interruption included.
            every: after so many steps (and after the last) a line is added to the history.
            callback: called then; what it returns is added to the line, e.g. an `evaluate` on other pairs.
            checkpoint: a file that is written then, to `resume` from.
            log: a file that the history is written to then, a line of JSON for each of its lines.
            show: whether to show a bar; by default only when somebody watches.

        Raises:
            ValueError: if the loss is no longer a number.
            OSError: if no file can stand at `checkpoint` or `log`; said before the first step.
        """
        check_whole(1, steps=steps, every=every)
        for path in filter(None, (checkpoint, log)):
            _files.check_target(path)
        self.model.train()
        losses: list[Tensor] = []
        with progress(what="training", total=steps, initial=self.step, delay=0.0, show=show) as bar:
            while self.step < steps:
                losses.append(self.train_step())
                bar.update()
                if self.step % every and self.step < steps:
                    continue
                rate, loss = self.optimizer.param_groups[0]["lr"], torch.stack(losses).mean().item()
                record = {"step": self.step, "rate": rate, "loss": loss}
                losses.clear()
                if not math.isfinite(loss):
                    raise ValueError(f"the loss is {loss} at step {self.step}; lower the learning rate")
                for name, value in ((callback(self) if callback else None) or {}).items():
                    record[name] = value.item() if hasattr(value, "item") else value  # of numpy or torch
                self.model.train()
                self.history.append(record)
                if checkpoint is not None:
                    self.save(checkpoint)
                if log is not None:
                    _files.replace(log, "".join(json.dumps(line) + "\n" for line in self.history).encode())
                bar.set_postfix({name: f"{value:.4g}" for name, value in record.items() if name != "step"})
        return self.history

    def save(self, path: str | Path) -> None:
        """Write a checkpoint to resume from: everything that the next step depends on."""
        weights = _files.plain_weights(self.model)
        tensors = _files.of_training(weights, self.optimizer.state_dict(), random_state())
        _files.write(path, "training", tensors, self.progress_made())

    def resume(self, path: str | Path) -> None:
        """Go on from a checkpoint: same weights, optimiser, place in the data and random numbers, to the last bit.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, or was written with another model, other data or other settings; the
                trainer is as it was.
        """
        tensors, about = _files.read(path, "training")
        self.check_setting(path, about["setting"])
        _files.load_plain_weights(self.model, _files.named(tensors, "weights."))
        _files.load_memories(self.optimizer, _files.named(tensors, "optimizer."))
        self.go_to(about)
        set_random_state([tensors[f"random.{i}"] for i in range(len(_files.named(tensors, "random.")))])

    def progress_made(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors: the place in the data, the setting, and the history."""
        return {"place": [self.step, self.epoch, self.position], "setting": self.setting(), "history": self.history}

    def go_to(self, about: dict[str, Any]) -> None:
        """Take over the place in the data, and the history."""
        self.step, self.epoch, self.position = about["place"]
        self.history = about["history"]
        self._order = self.batches.epoch(self.epoch)

    def setting(self) -> dict[str, Any]:
        """What must be the same for a training to go on: everything that was chosen, but for the rate of each step."""
        names = ("batch_tokens", "seed", "precision", "smoothing", "clip", "accumulate", "betas", "weight_decay")
        known = {**self.optimizer.param_groups[0], **vars(self.batches), **vars(self)}
        chosen = {"pairs": len(self.batches), "dtype": known["params"][0].dtype} | {name: known[name] for name in names}
        texts = {name: x if isinstance(x, int | float) else str(x) for name, x in chosen.items()}
        return texts | asdict(self.model.config)

    def check_setting(self, path: str | Path, have: dict[str, Any]) -> None:
        """Require that a checkpoint was written by a training of this setting."""
        want = self.setting()
        names = [name for name in {**want, **have} if have.get(name) != want.get(name)]
        if names:
            have, want = ({name: setting.get(name) for name in names} for setting in (have, want))
            raise ValueError(f"{path} was written with {shown(have, 200)}, but the trainer has {shown(want, 200)}")


def random_state() -> list[Tensor]:
    """Return the state of torch's random numbers: the CPU's, then that of each GPU."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def set_random_state(states: list[Tensor]) -> None:
    """Put back what `random_state` returned, as far as there are as many GPUs."""
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1 : 1 + torch.cuda.device_count()])
