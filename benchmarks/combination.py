"""What breaks without each part of the Transformer? Two tasks, five seeds; the parameters gone, and given back.

    python -m benchmarks.combination --processes 2

Depth, width, steps and batches are the same for all. In the second round each model that lost parameters is made
wider until it has about as many as the whole one (to within five per cent). Each run is written when it has ended, to
`transformer_lib/notebook/results/combination.json`; the same command goes on after the last one there.
"""

import argparse
import dataclasses
import functools
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from benchmarks.runs import Rows, in_order, parameters
from transformer_lib.config import TransformerConfig
from transformer_lib.data import numbers, pronunciation
from transformer_lib.data.batches import TokenBatches
from transformer_lib.decoding import translate_ids
from transformer_lib.loss import evaluate
from transformer_lib.notebook import results
from transformer_lib.recipes import tasks
from transformer_lib.schedules import cosine_rate
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer

CHAPTERS = Path(__file__).parents[1] / "chapters"
RESULTS = results.FOLDER / "combination.json"
SECONDS = 60  # that a run took on the average where it was done last: 17 with numbers, 126 with pronunciation


def surgery() -> Callable[[nn.Module, str], None]:
    """The function `take_out` as chapter 9 defines and shows it."""
    cells = json.loads((CHAPTERS / "09_transformer.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if "take-out" in cell["metadata"].get("tags", [])]
    names: dict[str, Any] = {"torch": torch, "nn": nn}
    exec("\n\n".join(code), names)
    return names["take_out"]


take_out = surgery()
PARTS = (
    "nothing", "self-attention, encoder", "self-attention, decoder", "cross-attention", "encoder", "feed-forward",
    "positions", "residuals", "norms", "causal mask",
)  # fmt: skip


def model_without(config: TransformerConfig, part: str) -> Transformer:
    model = Transformer(config)
    take_out(model, part)
    return model


def widened(config: TransformerConfig, part: str) -> TransformerConfig:
    """The configuration with which the model without a part has about as many parameters as the whole one."""
    with torch.device("meta"):
        whole = parameters(Transformer(config))
        ratio = config.d_ff // config.d_model

        def distance(config: TransformerConfig) -> int:
            return abs(parameters(model_without(config, part)) - whole)

        if distance(config) == 0:
            return config
        widths = range(config.d_model, 4 * config.d_model, config.n_heads)
        return min((dataclasses.replace(config, d_model=d, d_ff=ratio * d) for d in widths), key=distance)


class Numbers:
    """English number words below 1,000 into German: 800 to learn from, 200 to be tested on."""

    model: ClassVar = {"d_model": 32, "n_heads": 4, "d_ff": 64, "max_len": 16, "dropout": 0.0}
    training: ClassVar = {"steps": 400, "peak_rate": 5e-3, "smoothing": 0.0, "batch_tokens": 512}

    def __init__(self) -> None:
        pairs = numbers.encode_pairs([numbers.number_pair(number) for number in range(1000)])
        shuffled = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).tolist()
        self.train, self.unseen = ([pairs[i] for i in rows] for rows in (shuffled[:800], shuffled[800:]))
        self.sources = [source for source, _ in self.unseen]
        self.sizes = len(numbers.english_vocabulary()), len(numbers.german_vocabulary())

    def score(self, answers: list[list[int]]) -> dict[str, float]:
        right = [answer == tgt[1:] for answer, (_, tgt) in zip(answers, self.unseen, strict=True)]
        return {"right": sum(right) / len(right)}


class Pronounce:
    """English spelling into phonemes: 1,000 words of the development part are the test."""

    model: ClassVar = {"d_model": 96, "n_heads": 4, "d_ff": 384, "max_len": 32, "dropout": 0.0}
    training: ClassVar = {"steps": 1500, "peak_rate": 2e-3, "smoothing": 0.1, "batch_tokens": 1024}

    def __init__(self) -> None:
        self.task = tasks.Pronounce()
        self.train, self.sizes = self.task.train_pairs(), self.task.vocab_sizes
        self.entries = self.task.split.dev[::6][:1000]
        self.unseen = pronunciation.encode_pairs(self.entries)
        self.sources = [self.task.letters.encode(list(entry.word)) for entry in self.entries]

    def score(self, answers: list[list[int]]) -> dict[str, float]:
        found = pronunciation.score([self.task.phonemes.decode(answer) for answer in answers], self.entries)
        return {"right": 1 - found.word_error, "phoneme_error": found.phoneme_error}


TASKS: dict[str, Callable] = {"numbers": functools.cache(Numbers), "pronounce": functools.cache(Pronounce)}
KEPT_SIZE = ("nothing", "positions", "residuals", "causal mask")  # nothing learned is lost with these


def main_jobs(seed: int) -> list[dict]:
    """Each part taken out of a model of two and two layers, as the paper builds them (post-norm)."""
    return [
        {"task": task, "part": part, "layers": 2, "norm_first": False, "given_back": back, "seed": seed}
        for task in TASKS for part in PARTS for back in (False, True) if not (back and part in KEPT_SIZE)
    ]  # fmt: skip


def depth_jobs(seed: int) -> list[dict]:
    """What norms and residuals are for may show only when there are many layers."""
    choices = [("nothing", False), ("nothing", True), ("norms", False), ("residuals", False)]
    return [
        {"task": "numbers", "part": part, "layers": layers, "norm_first": first, "given_back": False, "seed": seed}
        for layers in (4, 6, 8) for part, first in choices
    ]  # fmt: skip


def run(job: dict) -> dict:
    """Train once, and measure on what is not trained on: free-running, and teacher-forced."""
    torch.set_num_threads(1)
    begin = time.process_time()
    task = TASKS[job["task"]]()
    training = task.training
    layers = {"n_encoder_layers": job["layers"], "n_decoder_layers": job["layers"], "norm_first": job["norm_first"]}
    sizes = dict(zip(("src_vocab_size", "tgt_vocab_size"), task.sizes, strict=True))
    config = TransformerConfig(**sizes, **task.model, **layers)
    if job["given_back"]:
        config = widened(config, job["part"])
    torch.manual_seed(job["seed"])
    model = model_without(config, job["part"])
    batches = TokenBatches(task.train, batch_tokens=training["batch_tokens"], seed=job["seed"])

    def rate(step: int) -> float:
        return cosine_rate(step, training["peak_rate"], training["steps"] // 10, training["steps"])

    Trainer(model, batches, rate=rate, smoothing=training["smoothing"]).fit(training["steps"])
    answers = translate_ids(model, task.sources, max_new_tokens=config.max_len, batch_size=1000, use_cache=False)
    forced = evaluate(model, TokenBatches(task.unseen, batch_tokens=8192))
    return {
        **job, "parameters": parameters(model), "d_model": config.d_model, "steps": training["steps"],
        **task.score(answers), "forced_loss": forced.loss, "forced_accuracy": forced.accuracy,
        "torch": torch.__version__, "cpu_seconds": round(time.process_time() - begin, 1),
    }  # fmt: skip


def main() -> None:
    """Make all runs that are not made yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1, help="runs at a time, each on one thread (default: 1)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    kept = Rows(options.out, {})
    todo = [job for seed in range(5) for job in [*main_jobs(seed), *depth_jobs(seed)] if not kept.has(**job)]
    todo.sort(key=lambda job: (job["task"], job["seed"], job["given_back"]))
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        runs = in_order(todo, SECONDS / options.processes)
        for _, row in zip(runs, pool.imap_unordered(run, todo), strict=True):
            kept.add(row)


if __name__ == "__main__":
    main()
