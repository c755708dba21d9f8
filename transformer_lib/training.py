"""Training: many small steps, each making the right next tokens a little likelier (chapter 10)."""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from transformer_lib._checks import check_callable, check_number, check_positive, check_probability, shown
from transformer_lib.batching import Batch, TokenBatches
from transformer_lib.checkpoint import check_target
from transformer_lib.evaluation import check_batches
from transformer_lib.loss import batch_loss
from transformer_lib.progress import ProgressLine, plain_numbers
from transformer_lib.resuming import Resumable
from transformer_lib.transformer import Transformer


class Trainer(Resumable):
    """Trains a `Transformer` with AdamW, and can stop and go on as if it had never stopped.

    One step reads `accumulate` batches, sums the loss of their real tokens, divides by the number of
    those tokens, clips the gradient and moves the weights: the same step as with one big batch. At
    the end of an epoch the last window may be shorter; it is stepped all the same, and divided by
    its own number. Paper: section 5. Built in chapter 10.

    Args:
        model: the `Transformer`; moved nowhere, batches follow it to its device.
        batches: the training pairs.
        rate: learning rate at each step, counted from 1, e.g. `lambda step: cosine_rate(step, 3e-3, 60, 600)`.
        smoothing: label smoothing; the paper takes 0.1.
        clip: longest gradient, as a norm over all weights; longer ones are shortened to it.
        accumulate: batches per step.
        betas: AdamW's two memories; these are the paper's for Adam.
        weight_decay: AdamW's pull of all weights towards zero.
        precision: `torch.bfloat16` to compute products in 16 bits, while weights and their steps stay in the type
            that they have (mixed precision, chapter 15); by default all is in that type.

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
        check_positive(accumulate=accumulate)
        check_probability("smoothing", smoothing)
        if not isinstance(clip, int | float) or not clip > 0.0:
            raise ValueError(f"clip must be a positive number, got {shown(clip)}; use math.inf for no clipping")
        if not callable(rate):
            raise ValueError(f"rate must be a function of the step, got {shown(rate)}; try lambda step: {shown(rate)}")
        if not isinstance(betas, tuple) or len(betas) != 2:
            raise ValueError(f"betas must be a tuple of two numbers, got {shown(betas)}")
        for beta in betas:
            check_probability("betas", beta)
        check_number("weight_decay", weight_decay, zero=True)
        if precision is not None and precision is not torch.bfloat16:
            raise ValueError(f"precision must be torch.bfloat16, or None for the weights' own, got {shown(precision)}")
        check_batches(model, batches)
        self.model = model
        self.batches = batches
        self.rate = rate
        self.smoothing = smoothing
        self.clip = clip
        self.accumulate = accumulate
        self.precision = precision
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.rate_at(1), betas=betas, eps=1e-9, weight_decay=weight_decay, fused=True
        )
        self.step = 0  # steps made
        self.epoch = 0
        self.position = 0  # batches of this epoch already read
        self.history: list[dict[str, int | float]] = []
        self._order = batches.epoch(0)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, once it is known to be one."""
        rate = self.rate(step)
        check_number(f"rate({step})", rate, zero=True)
        return float(rate)

    def next_window(self) -> list[Batch]:
        """Return the batches of the next step, and move on; a window never spans two epochs."""
        if self.position >= len(self._order):
            self.epoch, self.position = self.epoch + 1, 0
            self._order = self.batches.epoch(self.epoch)
        window = self._order[self.position : self.position + self.accumulate]
        self.position += len(window)
        device = next(self.model.parameters()).device
        return [self.batches.take(rows).to(device) for rows in window]

    def train_step(self) -> Tensor:
        """Make one step; return its loss per token."""
        config, rate = self.model.config, self.rate_at(self.step + 1)
        window = self.next_window()
        counts = [(batch.tgt_ids[:, 1:] != config.pad_id).sum() for batch in window]
        number = self.mean_over_processes(torch.stack(counts).sum())
        losses = []
        self.optimizer.zero_grad()
        for batch in window:
            with self.in_precision(batch.src_ids.device):
                loss = self.loss_of(batch) / number
            loss.backward()  # in the types of the forward pass
            losses.append(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return self.mean_over_processes(torch.stack(losses).sum())

    def in_precision(self, device: torch.device) -> contextlib.AbstractContextManager:
        """Return the context of the forward pass."""
        return torch.autocast(device.type, self.precision) if self.precision else contextlib.nullcontext()

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the summed loss of a batch. (In chapter 15 several processes compute it together.)"""
        return batch_loss(self.model, batch.src_ids, batch.tgt_ids, self.smoothing)[0]

    def mean_over_processes(self, number: Tensor) -> Tensor:
        """Return the number itself: here is one process. (In chapter 15 there are several.)"""
        return number

    def whole(self) -> Transformer | None:
        """Return the model, to be measured or saved. (In chapter 15 one process gets it and the others `None`.)"""
        return self.model

    def fit(
        self,
        steps: int,
        *,
        every: int = 100,
        callback: Callable[["Trainer"], dict[str, int | float] | None] | None = None,
        checkpoint: str | Path | None = None,
        show: bool | None = None,
    ) -> list[dict[str, int | float]]:
        """Train until `steps` steps have been made in all; return the history.

        Args:
            steps: steps in all, those before an interruption included.
            every: after so many steps (and after the last) a line is added to the history.
            callback: called then; what it returns is added to the line, e.g. an `evaluate` on other pairs.
            checkpoint: a file that is written then, to `resume` from.
            show: whether to show the progress line; by default only when somebody watches.

        Raises:
            ValueError: if the loss is no longer a number, or `callback` does not return numbers.
            OSError: if no file can stand at `checkpoint`; said before the first step.
        """
        check_positive(steps=steps, every=every)
        if callback is not None:
            check_callable("callback", callback)
        if checkpoint is not None:
            check_target(checkpoint)
        self.model.train()
        losses: list[Tensor] = []
        with ProgressLine(show) as line:
            while self.step < steps:
                losses.append(self.train_step())
                if self.step % every and self.step < steps:
                    continue
                record = {"step": self.step, "rate": self.rate_at(self.step), "loss": torch.stack(losses).mean().item()}
                losses.clear()
                if not math.isfinite(record["loss"]):
                    raise ValueError(f"the loss is {record['loss']} at step {self.step}; lower the learning rate")
                record.update(plain_numbers(callback(self) if callback else None))
                self.model.train()
                self.history.append(record)
                if checkpoint is not None:
                    self.save(checkpoint)
                line.write(", ".join(f"{name} {value:.4g}" for name, value in record.items()))
        return self.history
