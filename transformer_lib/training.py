"""Training: many small steps, each making the right next tokens a little likelier (chapter 10)."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from transformer_lib._checks import check_callable, check_count, check_number, check_positive, check_probability, shown
from transformer_lib.batching import Batch, TokenBatches
from transformer_lib.checkpoint import check_target, check_weights, load_safely, save_atomically
from transformer_lib.evaluation import check_batches
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
        check_batches(model, batches)
        self.model = model
        self.batches = batches
        self.rate = rate
        self.smoothing = smoothing
        self.clip = clip
        self.accumulate = accumulate
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
            group["lr"] = rate
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
                record.update(self._numbers(callback(self) if callback else None))
                self.model.train()
                self.history.append(record)
                if checkpoint is not None:
                    self.save(checkpoint)
                line.write(", ".join(f"{name} {value:.4g}" for name, value in record.items()))
        return self.history

    @staticmethod
    def _numbers(answer: object) -> dict[str, int | float]:
        """Return what a callback answered as plain numbers, which a checkpoint can hold and give back."""
        try:
            answer = dict(answer or {})  # type: ignore[call-overload]
            return {str(name): int(x) if type(x) in (int, bool) else float(x) for name, x in answer.items()}
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"callback must return a dictionary of numbers or None, got {shown(answer)}") from None

    def state(self) -> dict:
        """Everything that the next step depends on."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "place": [self.step, self.epoch, self.position],
            "setting": self._setting(),
            "random": [torch.get_rng_state(), *cuda],
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
            ValueError: if the file is damaged, or was written with another model or other data.
        """
        content = load_safely(path, {"weights", "optimizer", "place", "setting", "random", "history"})
        have, want = shown(content["setting"], 200), shown(self._setting(), 200)
        if have != want:
            raise ValueError(f"{path} was written with {have}, but the trainer has {want}")
        before = copy.deepcopy(self.state())
        try:
            self._go_to(content)
        except Exception as error:  # whatever a file that was made by hand leads to
            self._go_to(before)
            raise ValueError(f"{path} does not fit this model: {error}") from None

    def _setting(self) -> dict[str, int | str]:
        """What must be the same for a training to go on: the data, their order, the type of numbers."""
        batches, weight = self.batches, next(self.model.parameters())
        numbers = {"pairs": len(batches), "batch_tokens": batches.batch_tokens, "seed": batches.seed}
        return {**numbers, "dtype": str(weight.dtype)}

    def _go_to(self, content: dict) -> None:
        """Take over a state, if it fits; after an error some of it may be taken over."""
        check_weights(content["weights"], self.model.state_dict())
        self.model.load_state_dict(content["weights"])
        self.optimizer.load_state_dict(content["optimizer"])
        for weight, memory in self.optimizer.state.items():
            check_weights({"memory": memory["exp_avg"]}, {"memory": weight})
            check_weights({"memory": memory["exp_avg_sq"]}, {"memory": weight})
        step, epoch, position = content["place"]
        check_count(step=step, epoch=epoch, position=position)
        self.step, self.epoch, self.position = step, epoch, position
        self.history = [dict(record) for record in content["history"]]
        self._order = self.batches.epoch(self.epoch)
        torch.set_rng_state(content["random"][0])
        if torch.cuda.is_available() and len(content["random"]) > 1:
            torch.cuda.set_rng_state_all(content["random"][1:])
