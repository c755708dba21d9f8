"""A run: one training by a recipe, in a folder of its own (chapter 12)."""

import copy
import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transformer_lib import _files
from transformer_lib.data.batches import TokenBatches
from transformer_lib.recipes.recipe import Recipe
from transformer_lib.recipes.tasks import Task
from transformer_lib.schedules import cosine_rate
from transformer_lib.training import Record, Trainer


def average_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each weight over several state dicts, computed in float64.

    The steps of a training go round the lowest place rather than to it, each pulled by its own batch; the mean of a
    few of the last places lies nearer. Paper: section 6.1, which averages the last 5 or 20 checkpoints.
    Built in chapter 12.
    """
    return {  # on the CPU first: Apple's device has no float64
        name: torch.stack([state[name].cpu().double() for state in states]).mean(dim=0).to(weight)
        for name, weight in states[0].items()
    }


class Run:
    """One training by a recipe, in a folder of its own.

    A new one first makes a few steps that are thrown away: they tell how long it will take, and in which precision to
    compute if the recipe leaves that open. What was chosen is kept in the folder, for the model depends on it.

    Args:
        recipe: the settings.
        task: the data, and how well a model does on them.
        folder: where everything is written; an earlier run of the same recipe there is gone on with.
        device: where to train.
        parallel: "ddp" or "fsdp" to train in all processes that were joined; by default in this one alone.

    Raises:
        ValueError: if the recipe does not fit the task, or the folder's checkpoint does not fit the recipe.
    """

    def __init__(
        self, recipe: Recipe, task: Task, folder: Path, device: torch.device | str = "cpu", parallel: str | None = None
    ) -> None:
        self.recipe, self.task, self.folder, self.parallel = recipe, task, folder, parallel
        self.checkpoint = folder / "checkpoint.safetensors"
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        training = recipe.training
        if training.fast:
            from transformer_lib.fast import FastTransformer as Model
        else:
            Model = task.Model
        self.model = Model(recipe.config(*task.vocab_sizes)).to(device)
        batches = TokenBatches(task.train_pairs(), batch_tokens=training.batch_tokens, seed=recipe.seed)
        rate = functools.partial(cosine_rate, peak=training.peak_rate, warmup=training.warmup, total=training.steps)
        options = {"rate": rate, "smoothing": training.smoothing, "weight_decay": training.weight_decay}
        self.chosen = {"precision": training.precision, "because": "the recipe says so"}
        self.pace = 0.0  # seconds that a step takes
        self.plan(batches, options)
        options["precision"] = torch.bfloat16 if self.chosen["precision"] == "bfloat16" else None
        if parallel is None:
            self.trainer = Trainer(self.model, batches, **options)
        else:
            from transformer_lib.distributed import ParallelTrainer  # takes seconds: only those wait who need it

            self.trainer = ParallelTrainer(self.model, batches, parallel=parallel, **options)
        self.seconds = 0.0  # of earlier sessions
        self.started = time.monotonic()
        if self.checkpoint.exists():
            self.trainer.resume(self.checkpoint)
            self.seconds = float(self.trainer.history[-1]["seconds"])
            self.pace = self.seconds / self.trainer.step

    def plan(self, batches: TokenBatches, options: dict[str, Any]) -> None:
        """Choose the precision, if the recipe leaves it open, and measure the pace of a training that is new."""
        kept, auto = self.folder / "chosen.json", self.recipe.training.precision == "auto"

        def seconds_in(precision: str) -> float:
            kind = torch.bfloat16 if precision == "bfloat16" else None
            return _seconds_per_step(lambda: Trainer(copy.deepcopy(self.model), batches, precision=kind, **options))

        if auto and is_rank_zero() and not kept.exists():
            device = next(self.model.parameters()).device
            precision, why, self.pace = _choose_precision(seconds_in, _has_bfloat16(device))
            _files.replace(kept, (json.dumps({"precision": precision, "because": why}) + "\n").encode())
        if self.parallel is not None:
            torch.distributed.barrier()  # rank 0 has chosen
        if auto:
            self.chosen = json.loads(kept.read_text(encoding="utf-8"))
        if is_rank_zero() and not self.pace and not self.checkpoint.exists():
            self.pace = seconds_in(self.chosen["precision"])

    def forecast(self) -> str:
        """What the training will take: the precision and why, the steps, the time; and whether that is too much."""
        done, steps, promise = self.trainer.step, self.recipe.training.steps, self.recipe.hours
        seconds = (steps - done) * self.pace
        number = f"{steps - done:,} of {steps:,} steps are left" if done else f"{steps:,} steps"
        alone = ", if one process made them" if self.parallel and not done else ""
        told = (
            f"{self.chosen['precision']}, because {self.chosen['because']}; "
            f"{number}, {_short(self.pace)} seconds each: {_duration(seconds)}{alone}."
        )
        if promise is not None and seconds > promise * 3600:
            told += (
                f"\nThat is more than the {_duration(promise * 3600)} that the recipe promises. Stop what else is "
                "running, or change a copy of the recipe (threads, steps, a smaller model) and give it by --config."
            )
        return told

    def snapshots(self) -> list[Path]:
        """The files of the models that are kept to be averaged, in the order of their steps."""
        return sorted(self.folder.glob("step_*.safetensors"), key=lambda path: int(path.stem.removeprefix("step_")))

    def watch(self, trainer: Trainer) -> Record:
        """What a line of the log tells beside the loss: the time, and now and then how well the model does."""
        line: Record = {"seconds": round(self.seconds + time.monotonic() - self.started, 1)}
        watching = self.recipe.watching
        if trainer.step % watching.measure and trainer.step != self.recipe.training.steps:
            return line
        if (model := trainer.full_model()) is not None:
            line.update(self.task.measure(model))
            model.save(self.folder / f"step_{trainer.step}.safetensors")
            for path in self.snapshots()[: -watching.average]:
                path.unlink()
        return line

    def train(self) -> None:
        """Make all steps that are not made yet, writing the log and a checkpoint as they go."""
        steps, every = self.recipe.training.steps, self.recipe.watching.every
        log = self.folder / "log.jsonl" if is_rank_zero() else None
        self.trainer.fit(steps, every=every, callback=self.watch, checkpoint=self.checkpoint, log=log)

    def finish(self) -> dict[str, dict[str, float]]:
        """Average, write the model in half precision, and measure the last and the averaged one on all unseen pairs."""
        last = self.trainer.full_model()
        if last is None:
            return {}
        path, models = self.folder / "model.safetensors", [self.task.Model.load(path) for path in self.snapshots()]
        models[-1].load_state_dict(average_weights([model.state_dict() for model in models]))
        models[-1].half().save(path)
        for name, content in self.task.files.items():
            _files.replace(self.folder / name, content.encode())
        results = {"last": self.task.examine(last), "averaged": self.task.examine(self.task.Model.load(path))}
        _files.replace(self.folder / "result.json", (json.dumps(results, indent=1) + "\n").encode())
        return results


def is_rank_zero() -> bool:
    """Tell whether this process is the one that writes files and talks to people: rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _seconds_per_step(trainer: Callable[[], Trainer]) -> float:
    """Return the seconds of a training step of what `trainer` makes; the random numbers are as if it had made none."""
    with torch.random.fork_rng():
        tried = trainer()
        tried.train_step().item()  # the first one finds memory, and is slower
        seconds: list[float] = []
        while len(seconds) < 3 and sum(seconds) < 2.0:
            started = time.perf_counter()
            tried.train_step().item()  # waits for a GPU
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device may be quick in bfloat16; what has no instructions for it takes too long to be timed."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    known = device.type == "cpu" and torch.backends.mkldnn.is_available()
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _choose_precision(seconds_in: Callable[[str], float], has_bfloat16: bool) -> tuple[str, str, float]:
    """Return the precision in which a step takes less, by the seconds of a step in each; why; and those seconds.

    A product in bfloat16 takes half the time of one in float32 where the processor has instructions for it, and ten
    times as long where it has not; with instructions for a part of it, only a watch can tell.
    """
    single = seconds_in("float32")
    if not has_bfloat16:
        return "float32", "there are no instructions for bfloat16 here", single
    half = seconds_in("bfloat16")
    if half < 0.9 * single:  # 16 bits must be worth it
        return "bfloat16", f"a step takes {_short(half)} seconds, and {_short(single)} in float32", half
    return "float32", f"a step takes {_short(single)} seconds, and {_short(half)} in bfloat16", single


def _short(number: float) -> str:
    """Return a number with two digits that count."""
    return f"{float(f'{number:.2g}'):g}"


def _duration(seconds: float) -> str:
    """Return a time as people say it."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
