"""What do the choices of the pronunciation recipe matter? One changed at a time, at a small size, with three seeds.

    python -m benchmarks.ablation

Every run sees as many target tokens as the others, on one thread; about half an hour in all. Each is written when it
has ended, to `transformer_lib/notebook/results/ablation.json`; the same command goes on after the last one there.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.runs import Rows, in_order, parameters
from transformer_lib.config import TransformerConfig
from transformer_lib.data import pronunciation
from transformer_lib.data.batches import TokenBatches
from transformer_lib.loss import evaluate
from transformer_lib.notebook import results
from transformer_lib.recipes.tasks import Pronounce
from transformer_lib.schedules import cosine_rate
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer

RESULTS = results.FOLDER / "ablation.json"
SECONDS = 75  # that a run took where it was done last
TOKENS = 768_000  # target tokens that each run sees, padding included
BASE = {
    "model": {"d_model": 96, "n_heads": 4, "n_encoder_layers": 2, "n_decoder_layers": 2, "d_ff": 384, "max_len": 32},
    "ways": {"dropout": 0.0, "norm_first": True, "tie_embeddings": False},
    "training": {"batch_tokens": 768, "peak_rate": 2e-3, "smoothing": 0.1},
}
CHANGES = {
    "as it is": {},
    "half the width": {"d_model": 48, "d_ff": 192},
    "half the layers": {"n_encoder_layers": 1, "n_decoder_layers": 1},
    "post-norm": {"norm_first": False},
    "no smoothing": {"smoothing": 0.0},
    "tied embeddings": {"tie_embeddings": True},
    "batches half as large": {"batch_tokens": 384},
    "batches twice as large": {"batch_tokens": 1536},
}


def changed(change: dict) -> dict[str, dict]:
    """The settings with a few of them changed, each in its table."""
    return {table: {key: change.get(key, value) for key, value in row.items()} for table, row in BASE.items()}


def run(task: Pronounce, change: dict, seed: int, tokens: int) -> dict[str, float]:
    """Train once, and measure on 1,000 words of the development part."""
    settings = changed(change)
    training = settings["training"]
    steps = tokens // training["batch_tokens"]
    torch.manual_seed(seed)
    sizes = dict(zip(("src_vocab_size", "tgt_vocab_size"), task.vocab_sizes, strict=True))
    model = Transformer(TransformerConfig(**sizes, **settings["model"], **settings["ways"]))
    batches = TokenBatches(task.train_pairs(), batch_tokens=training["batch_tokens"], seed=seed)

    def rate(step: int) -> float:
        return cosine_rate(step, training["peak_rate"], max(1, steps // 10), steps)

    Trainer(model, batches, rate=rate, smoothing=training["smoothing"]).fit(steps)
    unseen = TokenBatches(pronunciation.encode_pairs(task.split.dev[::6][:1000]), batch_tokens=2048)
    return {
        "parameters": parameters(model),
        "steps": steps,
        "loss": evaluate(model, unseen).loss,
        **task.measure(model),
    }


def main() -> None:
    """Make all runs that are not made yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"target tokens of a run (default: {TOKENS:,})")
    parser.add_argument("--seeds", type=int, default=3, help="seeds (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = Rows(options.out, {"tokens": options.tokens, "base": BASE, "torch": torch.__version__})
    runs = [(name, seed) for seed in range(options.seeds) for name in CHANGES]
    runs = [(name, seed) for name, seed in runs if not kept.has(change=name, seed=seed)]
    task = Pronounce()
    for name, seed in in_order(runs, SECONDS * options.tokens / TOKENS):
        kept.add({"change": name, "seed": seed, **run(task, CHANGES[name], seed, options.tokens)})


if __name__ == "__main__":
    main()
