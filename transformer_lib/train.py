"""Train a model by a recipe, from the command line (chapter 12).

    python -m transformer_lib.train pronounce
    python -m transformer_lib.train pronounce --config mine.toml --folder runs/mine
    torchrun --nproc-per-node 2 -m transformer_lib.train pronounce --parallel ddp

Everything goes to one folder: the log and its curves, a checkpoint, and at the end the model. The same command goes
on where an earlier one was stopped, at the cost of the steps since its last checkpoint, and comes to the same model.
With `--parallel` all processes that torchrun started train one model, each on its part of every batch (chapter 15).
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib import pyplot as plt

from transformer_lib.averaging import average_weights
from transformer_lib.batching import TokenBatches
from transformer_lib.checkpoint import write_atomically
from transformer_lib.fast import FastTransformer
from transformer_lib.packing import pack, unpack
from transformer_lib.plotting import draw_lines, new_figure
from transformer_lib.progress import leads
from transformer_lib.recipe import PACKAGED, Recipe, read_recipe
from transformer_lib.schedules import cosine_rate
from transformer_lib.tasks import TASKS, Task
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer


class Run:
    """One training by a recipe, in a folder of its own.

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
        self.recipe, self.task, self.folder = recipe, task, folder
        self.checkpoint = folder / "checkpoint.pt"
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        training = recipe.training
        kind = FastTransformer if training.fast and parallel != "fsdp" else Transformer  # see `shard`
        self.model = kind(recipe.config(task.src_vocab_size, task.tgt_vocab_size)).to(device)
        batches = TokenBatches(task.train_pairs(), batch_tokens=training.batch_tokens, seed=recipe.seed)
        options = {
            "rate": lambda step: cosine_rate(step, training.peak_rate, training.warmup, training.steps),
            "smoothing": training.smoothing,
            "weight_decay": training.weight_decay,
            "precision": torch.bfloat16 if training.precision == "bfloat16" else None,
        }
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

    def snapshots(self) -> list[Path]:
        """The files of the models that are kept to be averaged, in the order of their steps."""
        return sorted(self.folder.glob("step_*.pt"), key=lambda path: int(path.stem.removeprefix("step_")))

    def watch(self, trainer: Trainer) -> dict[str, int | float]:
        """What a line of the log tells beside the loss: the time, and now and then how well the model does."""
        line: dict[str, int | float] = {"seconds": round(self.seconds + time.monotonic() - self.started, 1)}
        watching = self.recipe.watching
        if trainer.step % watching.measure and trainer.step != self.recipe.training.steps:
            return line
        if (model := trainer.whole()) is not None:
            line.update(self.task.measure(model))
            model.save(self.folder / f"step_{trainer.step}.pt")
            for path in self.snapshots()[: -watching.average]:
                path.unlink()
        return line

    def train(self, show: bool | None = None) -> None:
        """Make all steps that are not made yet, writing the log and its curves as they go."""
        every = self.recipe.watching.every
        while self.trainer.step < self.recipe.training.steps:
            stop = min((self.trainer.step // every + 1) * every, self.recipe.training.steps)
            show = show if leads() else False
            self.trainer.fit(stop, every=every, callback=self.watch, checkpoint=self.checkpoint, show=show)
            if not leads():
                continue
            lines = "".join(json.dumps(record) + "\n" for record in self.trainer.history)
            write_atomically(lines.encode(), self.folder / "log.jsonl")
            if (self.folder / f"step_{self.trainer.step}.pt").exists():
                self.draw()

    def draw(self) -> None:
        """Draw the loss, and what was measured, over the steps."""
        history = self.trainer.history
        names = [name for name in history[-1] if name not in ("step", "rate", "loss", "seconds")]
        measured = [record for record in history if record.keys() >= set(names)]
        figure, (left, right) = new_figure(1, 2, width=8)
        steps = [record["step"] for record in history]
        draw_lines(
            left,
            steps,
            {"loss": [record["loss"] for record in history]},
            x_label="step",
            y_label="nats per token",
            marks=False,
        )
        lines = {name.replace("_", " "): [record[name] for record in measured] for name in names}
        draw_lines(right, [record["step"] for record in measured], lines, x_label="step", y_label="on unseen pairs")
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        plt.close(figure)
        write_atomically(picture.getvalue(), self.folder / "curves.png")

    def averaged(self) -> Transformer:
        """The model whose weights are the mean of the last snapshots."""
        models = [Transformer.load(path) for path in self.snapshots()]
        models[-1].load_state_dict(average_weights([model.state_dict() for model in models]))
        return models[-1]

    def finish(self) -> dict[str, dict[str, float]]:
        """Average, pack, and measure the last and the averaged model on all unseen pairs."""
        last = self.trainer.whole()
        if last is None:
            return {}
        pack(self.averaged(), self.folder / "model.safetensors")
        for name, content in self.task.files().items():
            write_atomically(content.encode(), self.folder / name)
        models = {"last": last, "averaged": unpack(self.folder / "model.safetensors")}
        results = {name: self.task.examine(model) for name, model in models.items()}
        write_atomically((json.dumps(results, indent=1) + "\n").encode(), self.folder / "result.json")
        return results


def find_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        ValueError: if torch cannot compute on it.
    """
    try:
        torch.ones(1, device=name).item()
    except Exception as error:  # each kind of device fails in its own way
        reason = str(error).splitlines()[0]
        raise ValueError(f"device ({name}) must be one that torch can compute on, such as cpu; {reason}") from None
    return torch.device(name)


def prepare(options: argparse.Namespace, device: torch.device) -> Run:
    """Read the recipe and begin, or go on with, the run in its folder.

    Raises:
        ValueError: if the recipe or the folder is not accepted; nothing is written then.
    """
    source = options.config or PACKAGED / options.task / "recipe.toml"
    folder = options.folder or Path("runs") / options.task
    recipe = read_recipe(source)
    copy = folder / "recipe.toml"
    if copy.exists() and copy.read_bytes() != source.read_bytes():
        raise ValueError(f"{folder} holds a training by another recipe; give another --folder")
    if options.parallel:
        from transformer_lib.distributed import meet

        meet()  # all processes have looked at the folder
    if leads():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    return Run(recipe, TASKS[recipe.task](), folder, device, options.parallel)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 if the recipe or the folder was not accepted."""
    parser = argparse.ArgumentParser(prog="python -m transformer_lib.train", description="Train a model by a recipe.")
    parser.add_argument("task", choices=sorted(TASKS), help="what to learn")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the recipe (default: the packaged one)")
    parser.add_argument("--folder", metavar="PATH", type=Path, help="where to write (default: runs/TASK)")
    parser.add_argument("--device", default="cpu", help="where to train (default: cpu)")
    parser.add_argument("--parallel", choices=["ddp", "fsdp"], help="train in all processes that torchrun started")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        try:
            device = find_device(options.device)
            if options.parallel:
                from transformer_lib.distributed import processes

                device = stack.enter_context(processes(device))
            elif "RANK" in os.environ:
                raise ValueError(
                    "torchrun started several processes; say --parallel ddp or fsdp, or leave out torchrun"
                )
            run = prepare(options, device)
        except (OSError, ValueError) as error:
            if leads():
                print(error, file=sys.stderr)
            return 2
        run.train()
        for name, result in run.finish().items():
            print(f"{name}: " + ", ".join(f"{measure} {value:.2%}" for measure, value in result.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
