"""The command: ask a model of the book, or train one.

    python -m transformer_lib ask numbers "three hundred twenty one"
    python -m transformer_lib ask pronounce transformer
    python -m transformer_lib ask sentences "Turn on the light"
    python -m transformer_lib ask text "Unable to"
    python -m transformer_lib train pronounce
    torchrun --nproc-per-node 2 -m transformer_lib train pronounce --parallel ddp
    python -m transformer_lib progress

`ask` answers a text, or each line of the standard input. `train` says what it will take, and writes everything to one
folder: the log, a checkpoint, and at the end the model. The same command goes on where an earlier one was stopped, at
the cost of the steps since its last checkpoint, and comes to the same model. `progress` tells which exercises of the
book were solved on this machine.
"""

import argparse
import codecs
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from transformer_lib import exercises
from transformer_lib.recipes import PACKAGED, TASKS, Run, load, read_recipe
from transformer_lib.recipes.run import is_rank_zero

STOPPED, CUT_OFF = 130, 141  # what a shell reports of a program that Ctrl-C ended, or a reader who had enough


def ask(options: argparse.Namespace) -> int:
    """Print the answer to each text; one that is not accepted costs a line on the standard error."""
    torch.set_num_threads(1)  # there is too little to do for several, which would wait for each other
    path = options.model or PACKAGED / options.task / "model.safetensors"
    model = load(options.task, path)
    task = TASKS[options.task](path.parent)
    texts: Iterable[str] = options.text if task.one_word else [" ".join(options.text)]
    if not options.text:
        if sys.stdin.isatty():
            print(f"{task.hint}. End with {'Ctrl-Z and Enter' if os.name == 'nt' else 'Ctrl-D'}.", file=sys.stderr)
        if isinstance(sys.stdin, io.TextIOWrapper):
            # Many editors on Windows write a mark first. Bytes that are no text make an unknown word, not an error.
            marked = getattr(sys.stdin.buffer, "peek", bytes)(3).startswith(codecs.BOM_UTF8)
            sys.stdin.reconfigure(encoding="utf-8-sig" if marked else None, errors="replace")
        texts = sys.stdin
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the terminal lacks is told in another way
    status = 0
    for text in texts:
        try:
            print(task.answer(text, model), flush=True)
        except ValueError as error:
            print(error, file=sys.stderr, flush=True)
            status = 2
    return status


def train(options: argparse.Namespace) -> int:
    """Train by a recipe, or go on with a training."""
    source = options.config or PACKAGED / options.task / "recipe.toml"
    folder = options.folder or Path("runs") / options.task
    with contextlib.ExitStack() as stack:
        device = options.device
        try:
            torch.ones(1, device=device).item()
        except Exception as error:  # each kind of device that is not there fails in its own way
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"device ({device}) must be one that torch can compute on, such as cpu; {reason}"
            ) from None
        if options.parallel:
            from transformer_lib.distributed import barrier, processes

            device = stack.enter_context(processes(device))
        elif "RANK" in os.environ:
            raise ValueError("torchrun started several processes; say --parallel ddp or fsdp, or leave out torchrun")
        recipe = read_recipe(source)
        if recipe.task != options.task:
            raise ValueError(f"{source} is a recipe for {recipe.task}, not for {options.task}")
        copy = folder / "recipe.toml"
        if copy.exists() and copy.read_bytes() != source.read_bytes():
            raise ValueError(f"{folder} holds a training by another recipe; give another --folder")
        if options.parallel:
            barrier()  # all processes have looked at the folder
        if is_rank_zero():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        if is_rank_zero():
            print("Reading the data, and timing a few steps ...", flush=True)
        run = Run(recipe, TASKS[recipe.task](), folder, device, options.parallel)
        if is_rank_zero():
            print(run.forecast(), flush=True)
        run.train()
        for name, result in run.finish().items():
            told = [f"{what} {value:{'.3f' if what.startswith('bits') else '.2%'}}" for what, value in result.items()]
            print(f"{name}: " + ", ".join(told), flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 if something was not accepted or could not be written."""
    parser = argparse.ArgumentParser(prog="python -m transformer_lib", description="The models of the book.")
    verbs = parser.add_subparsers(required=True, metavar="ask|train|progress")
    asking = verbs.add_parser("ask", help="ask a model")
    asking.add_argument("task", choices=sorted(TASKS), help="what the model has learnt")
    asking.add_argument("text", nargs="*", help="what to ask (default: lines of standard input)")
    asking.add_argument("--model", metavar="FILE", type=Path, help="a model of your own (default: the packaged one)")
    asking.set_defaults(verb=ask, stopped="Stopped.")
    training = verbs.add_parser("train", help="train a model by a recipe")
    training.add_argument("task", choices=sorted(TASKS), help="what to learn")
    training.add_argument("--config", metavar="FILE", type=Path, help="the recipe (default: the packaged one)")
    training.add_argument("--folder", metavar="PATH", type=Path, help="where to write (default: runs/TASK)")
    training.add_argument("--device", default="cpu", help="where to train (default: cpu)")
    training.add_argument("--parallel", choices=["ddp", "fsdp"], help="train in all processes that torchrun started")
    training.set_defaults(verb=train, stopped="Stopped. The same command goes on after the last checkpoint.")
    told = verbs.add_parser("progress", help="tell which exercises were solved on this machine")
    told.set_defaults(verb=lambda _: exercises.progress(), stopped="Stopped.")
    options, more = parser.parse_known_args(arguments)
    if options.verb is not ask or any(word.startswith("-") for word in more):
        parser.parse_args(arguments)  # says what is unknown
    else:
        options.text += more  # words behind an option, which argparse leaves over
    try:
        return options.verb(options) or 0
    except KeyboardInterrupt:
        message, status = options.stopped, STOPPED
    except BrokenPipeError:  # `| head -1` has read enough
        message, status = "", CUT_OFF
    except (OSError, ValueError) as error:
        message, status = str(error), 2
    if message and is_rank_zero():
        print(message, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # let go what cannot be written: Python would try again, and fail again, when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main())
