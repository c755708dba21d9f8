"""Compare three Transformers of one size on the sentences of chapter 13, and two splits and two languages.

python -m benchmarks.translation systems     # ours, torch.nn.Transformer, Hugging Face Marian: three seeds
python -m benchmarks.translation start       # torch.nn.Transformer from its own random weights
python -m benchmarks.translation splits      # split by integration, split at random, and English to Turkish

All are trained by the same loop on the same batches with one thread, the systems in turn, a few steps each, so that
a busy machine slows them alike. Ours and torch's begin with the same weights, Marian with as large ones: it is the
systems that are compared, and not how they draw random numbers. Time is CPU time. What a seed gave is written when it
has ended, to `transformer_lib/notebook/results/comparison.json`; the same command goes on after the last one there.
"""

import argparse
import functools
import importlib.metadata
import platform
import time
import warnings
from pathlib import Path

import torch

from benchmarks.runs import Rows, in_order, parameters
from benchmarks.systems import Fast, Marian, Torch, TorchAsItStarts
from transformer_lib._progress import progress
from transformer_lib.config import TransformerConfig
from transformer_lib.data.batches import TokenBatches
from transformer_lib.notebook import results
from transformer_lib.recipes.tasks import TASKS, Sentences
from transformer_lib.schedules import cosine_rate
from transformer_lib.training import Trainer

RESULTS = results.FOLDER / "comparison.json"
SIZES = {"d_model": 128, "n_heads": 4, "n_encoder_layers": 3, "n_decoder_layers": 3, "d_ff": 512, "max_len": 64}
BATCH_TOKENS = 512  # half of the recipe's: on a small budget more steps are worth more than larger ones
TURN = 25  # steps that a system makes before it is the next one's turn
SYSTEMS = {"Ours": Fast, "Torch": Torch, "Marian": Marian}
START = {"TorchAsItStarts": TorchAsItStarts}


def spent(function, *arguments, **options):
    """Call a function; return its answer and the CPU seconds it took."""
    start = time.process_time()
    answer = function(*arguments, **options)
    return answer, time.process_time() - start


def examine(model, task: Sentences) -> dict[str, float]:
    """BLEU and chrF of greedy translations of the test part, and the seconds of decoding alone."""
    seconds = 0.0

    def decode(model, src_ids, *, max_new_tokens):
        nonlocal seconds
        answers, took = spent(model.answer, src_ids, max_new_tokens)
        seconds += took
        return answers

    score = task.score(model, task.split.test, decode=decode)
    return {"decode_seconds": seconds, **score}


def trainer_of(kind, task: Sentences, seed: int, steps: int, norm_first: bool) -> Trainer:
    """A trainer with the recipe's settings at the size of this comparison."""
    torch.manual_seed(seed)
    ways = {"dropout": 0.1, "norm_first": norm_first, "tie_embeddings": True, "share_vocab": True}
    vocab_sizes = dict(zip(("src_vocab_size", "tgt_vocab_size"), task.vocab_sizes, strict=True))
    model = kind(TransformerConfig(**vocab_sizes, **SIZES, **ways))
    batches = TokenBatches(task.train_pairs(), batch_tokens=BATCH_TOKENS, seed=seed)
    return Trainer(model, batches, rate=lambda step: cosine_rate(step, 1e-3, steps // 8, steps), smoothing=0.1)


def compare_systems(kinds: dict[str, type], steps: int, seed: int) -> list[dict]:
    """Train them in turn; all post-norm, which is all that Marian has."""
    task, rows = Sentences(), []
    trainers = {name: trainer_of(kind, task, seed, steps, False) for name, kind in kinds.items()}
    seconds = dict.fromkeys(trainers, 0.0)
    for stop in progress([*range(TURN, steps, TURN), steps], "training in turns"):
        for name, trainer in trainers.items():
            seconds[name] += spent(trainer.fit, stop, show=False)[1]
    for name, trainer in trainers.items():
        about = {"system": name, "seed": seed, "parameters": parameters(trainer.model)}
        training = {"loss": trainer.history[-1]["loss"], "train_seconds": seconds[name]}
        rows.append({**about, **training, **examine(trainer.model, task)})
    return rows


def compare_splits(steps: int, seed: int) -> list[dict]:
    """Train the library's model, pre-norm, on each split and language, in turn."""
    rows = []
    for name in ("sentences", "sentences_random", "sentences_turkish"):
        task = TASKS[name]()
        trainer = trainer_of(Fast, task, seed, steps, True)
        seconds = spent(trainer.fit, steps)[1]
        rows.append({"task": name, "seed": seed, "train_seconds": seconds, **task.examine(trainer.model)})
    return rows


PARTS = {  # and the seconds that a seed takes
    "systems": (functools.partial(compare_systems, SYSTEMS), 1400),
    "start": (functools.partial(compare_systems, START), 550),
    "splits": (compare_splits, 1100),
}


def main() -> None:
    """Run one part and write its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("--steps", type=int, default=2500, help="steps of each training (default: 2500)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="enable_nested_tensor|The PyTorch API of nested tensors")
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["transformers"] = importlib.metadata.version("transformers")
    about = {"steps": options.steps, "batch_tokens": BATCH_TOKENS, "sizes": SIZES, "threads": 1, "versions": versions}
    kept = Rows(options.out, about, options.part)
    compare, seconds = PARTS[options.part]
    seeds = [seed for seed in range(options.seeds) if not kept.has(seed=seed)]
    for seed in in_order(seeds, seconds * options.steps / 2500):
        kept.add(*compare(options.steps, seed))


if __name__ == "__main__":
    main()
