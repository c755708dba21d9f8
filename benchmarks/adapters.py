"""What does a small adapter learn, beside training everything, and what is forgotten?

    python -m benchmarks.adapters

The packaged translator of chapter 10 spells numbers; here it learns years (*nineteen eighty four*), which it has never
seen, from 200 of them. Each way to train is tried at several peak rates with seed 0; 100 years choose one of them, and
two more seeds are trained at that. 519 other years are the test, and the 1,000 unseen numbers of chapter 10 tell what
is forgotten. Each run is written when it has ended, to `transformer_lib/notebook/results/adapters.json`; the same
command goes on after the last one there.
"""

import argparse
import functools
import random
import time
from pathlib import Path

import torch
from num2words import num2words

from benchmarks.runs import Rows, make_missing
from transformer_lib import recipes
from transformer_lib.data import numbers
from transformer_lib.data.batches import TokenBatches
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID
from transformer_lib.decoding import exact_match
from transformer_lib.modern import add_lora
from transformer_lib.notebook import results
from transformer_lib.schedules import cosine_rate
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer

RESULTS = results.FOLDER / "adapters.json"
SECONDS = 6  # that a run took on the average where it was done last
STEPS, WARMUP, TOKENS = 200, 20, 512
ADAPTED = ("q_proj", "v_proj")  # as in the paper
ADAPTERS = {"rank 1": 1, "rank 4": 4, "rank 16": 16}
BOLD = (1e-3, 3e-3, 1e-2, 3e-2)  # peak rates: what is trained least wants the largest
RATES = {  # each begins below the one that is chosen
    **dict.fromkeys(["all weights", "all weights, old numbers too"], (3e-5, 6e-5, 1e-4, 3e-4, 1e-3, 3e-3)),
    **dict.fromkeys(["output layer", "rank 1"], BOLD),
    **dict.fromkeys(["rank 4", "rank 16"], (3e-4, 6e-4, *BOLD)),
}

Pairs = list[tuple[list[int], list[int]]]


def year_pair(year: int) -> tuple[list[int], list[int]]:
    """Source and target ids of a year as it is said: nineteen eighty four, neunzehn hundert vier und achtzig."""
    english, german = (num2words(year, lang=lang, to="year") for lang in ("en", "de"))
    source = numbers.english_vocabulary().encode(numbers.split_english(english))
    return source, [BOS_ID, *numbers.german_vocabulary().encode(numbers.split_german(german)), EOS_ID]


@functools.cache
def data() -> dict[str, Pairs]:
    """Years to learn from, to choose by and to test with; old numbers to repeat and to test with.

    Of 1100 to 1999, but for those such as 1905, of which English says *oh five*.
    """
    years = [year for year in range(1100, 2000) if year % 100 not in range(1, 10)]
    random.Random(0).shuffle(years)
    pairs = [year_pair(year) for year in years]
    known, unseen = (numbers.encode_pairs(part) for part in numbers.split_numbers(10_000, 1_000, seed=0))
    return {"train": pairs[:200], "choose": pairs[200:300], "test": pairs[300:], "known": known, "old": unseen}


def prepare(way: str) -> Transformer:
    """The packaged translator, with what is to be trained."""
    model = recipes.load("numbers")
    if way in ADAPTERS:
        add_lora(model, ADAPTERS[way], alpha=ADAPTERS[way], names=ADAPTED)
    elif way == "output layer":
        model.requires_grad_(False).output.requires_grad_(True)
    return model


def run(job: dict) -> dict:
    """Train in one way, and count what is right."""
    pairs, way, seed = data(), job["way"], job["seed"]
    torch.manual_seed(seed)
    model = prepare(way)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    learned = pairs["train"] + (random.Random(seed).sample(pairs["known"], 200) if way.endswith("too") else [])
    batches = TokenBatches(learned, batch_tokens=TOKENS, seed=seed)
    begin = time.process_time()
    trainer = Trainer(model, batches, rate=lambda step: cosine_rate(step, job["rate"], WARMUP, STEPS))
    loss = trainer.fit(STEPS)[-1]["loss"]
    seconds = time.process_time() - begin
    right = {name: exact_match(model.eval(), pairs[name]) for name in ("choose", "test", "old")}
    return {**job, "trained": trained, "loss": loss, **right, "training_seconds": round(seconds, 1)}


def chosen(rows: list[dict], way: str) -> float:
    """The rate with which most of the years that choose are right with seed 0; of several the gentlest."""
    tried = [row for row in rows if row["way"] == way and row["seed"] == 0]
    return min(tried, key=lambda row: (-row["choose"], row["rate"]))["rate"]


def main() -> None:
    """Make all runs that are not made yet: seed 0 at all rates, then the other seeds at the rate that it chose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = {"steps": STEPS, "batch_tokens": TOKENS, "torch": torch.__version__}
    first = [(None, run, {"way": way, "rate": rate, "seed": 0}) for way, rates in RATES.items() for rate in rates]
    make_missing(first, options.out, about, SECONDS)
    rows = Rows(options.out, about).rows
    best = {way: chosen(rows, way) for way in RATES}
    seeds = range(1, options.seeds)
    others = [(None, run, {"way": way, "rate": best[way], "seed": seed}) for seed in seeds for way in RATES]
    make_missing(others, options.out, about, SECONDS)


if __name__ == "__main__":
    main()
