"""Training: many small steps, each making the right next tokens a little likelier (chapter 10)."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from transformer_lib._checks import check_positive
from transformer_lib.batching import Batch, TokenBatches
from transformer_lib.checkpoint import load_safely, save_atomically
from transformer_lib.loss import token_loss
from transformer_lib.progress import ProgressLine
from transformer_lib.transformer import Transformer


class Trainer:
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
    ) -> None:
        check_positive(accumulate=accumulate)
        if not 0.0 <= smoothing < 1.0:
            raise ValueError(f"smoothing must be at least 0 and below 1, got {smoothing}")
        if not clip > 0.0:
            raise ValueError(f"clip must be a positive number, got {clip}; use math.inf for no clipping")
        if not callable(rate):
            raise ValueError(
                f"rate must be a function of the step, got {rate!r}; for a constant: lambda step: {rate!r}"
            )
        if batches.pad_id != model.config.pad_id:
            raise ValueError(f"batches pad with {batches.pad_id}, but the model's pad_id is {model.config.pad_id}")
        self.model = model
        self.batches = batches
        self.rate = rate
        self.smoothing = smoothing
        self.clip = clip
        self.accumulate = accumulate
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=rate(1), betas=betas, eps=1e-9, weight_decay=weight_decay, fused=True
        )
        self.step = 0  # steps made
        self.epoch = 0
        self.position = 0  # batches of this epoch already read
        self.history: list[dict[str, int | float]] = []
        self._order = batches.epoch(0)

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
        config = self.model.config
        window = self.next_window()
        number = sum((batch.tgt_ids[:, 1:] != config.pad_id).sum() for batch in window)
        losses = []
        self.optimizer.zero_grad()
        for batch in window:
            logits = self.model(batch.src_ids, batch.tgt_ids[:, :-1])  # (batch, tgt_len, vocab)
            total, _ = token_loss(logits, batch.tgt_ids[:, 1:], pad_id=config.pad_id, smoothing=self.smoothing)
            loss = total / number
            loss.backward()
            losses.append(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        self.optimizer.step()
        return torch.stack(losses).sum()

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
            ValueError: if the loss is no longer a number.
        """
        check_positive(steps=steps, every=every)
        self.model.train()
        losses: list[Tensor] = []
        with ProgressLine(show) as line:
            while self.step < steps:
                losses.append(self.train_step())
                if self.step % every and self.step < steps:
                    continue
                record = {"step": self.step, "rate": self.rate(self.step), "loss": torch.stack(losses).mean().item()}
                losses.clear()
                if not math.isfinite(record["loss"]):
                    raise ValueError(f"the loss is {record['loss']} at step {self.step}; lower the learning rate")
                record.update((callback(self) if callback else None) or {})
                self.model.train()
                self.history.append(record)
                if checkpoint is not None:
                    self.save(checkpoint)
                line.write(", ".join(f"{name} {value:.4g}" for name, value in record.items()))
        return self.history

    def state(self) -> dict:
        """Everything that the next step depends on."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "place": [self.step, self.epoch, self.position, self.batches.seed, len(self.batches)],
            "random": [torch.get_rng_state(), *cuda],
            "history": self.history,
        }

    def save(self, path: str | Path) -> None:
        """Write a checkpoint to resume from; an old file is replaced only when the new one is whole."""
        save_atomically(self.state(), path)

    def resume(self, path: str | Path) -> None:
        """Go on from a checkpoint: same weights, optimiser, place in the data and random numbers, to the last bit.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, or was written with another model or other data.
        """
        content = load_safely(path, {"weights", "optimizer", "place", "random", "history"})
        step, epoch, position, seed, pairs = content["place"]
        if (seed, pairs) != (self.batches.seed, len(self.batches)):
            raise ValueError(
                f"{path} was written with {pairs} pairs in the order of seed {seed}, "
                f"but the trainer has {len(self.batches)} pairs and seed {self.batches.seed}"
            )
        try:
            self.model.load_state_dict(content["weights"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path} does not fit this model: {error}") from None
        self.step, self.epoch, self.position, self.history = step, epoch, position, content["history"]
        self._order = self.batches.epoch(epoch)
        torch.set_rng_state(content["random"][0])
        if torch.cuda.is_available() and len(content["random"]) > 1:
            torch.cuda.set_rng_state_all(content["random"][1:])
