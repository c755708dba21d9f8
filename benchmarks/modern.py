"""What does each of today's parts buy over the part that it replaces? And who can read further than it was trained?

    python -m benchmarks.modern

`parts`: a decoder-only model of 2017's parts (pre-norm) learns spelling and sounds as one stream, and then each of
today's parts takes the place of the old one; the inner width of the feed-forward networks is moved until all models
have about as many parameters (to within 0.2 per cent; the four whole experts have more). `lengths`: the model of 2017,
and five ways to tell the order, learn from windows of 48 tokens, and are measured on windows of 192. `times`: the
models of `parts` take turns, one step each on the same batch, in CPU seconds of one thread; the median of their ratios
to the model of 2017 on the same batch counts. Three seeds. Each run is written when it has ended, to
`transformer_lib/notebook/results/modern.json`; the same command goes on after the last one there.
"""

import argparse
import dataclasses
import functools
import platform
import random
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.runs import cpu_name, make_missing, parameters
from transformer_lib.data import pronunciation
from transformer_lib.data.batches import TokenBatches
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from transformer_lib.modern import (
    DecoderConfig,
    DecoderModel,
    MixtureOfExperts,
    Routing,
    complete,
    load_balance,
    record_routing,
)
from transformer_lib.notebook import results
from transformer_lib.schedules import cosine_rate

RESULTS = results.FOLDER / "modern.json"
SECONDS = 15  # that a run took on the average where it was done last
STEPS, RATE, TOKENS, WORDS = 1500, 3e-3, 1024, 500  # steps, peak rate, tokens of a batch, words of the test
LETTERS = len(pronunciation.letter_vocabulary())  # phonemes come after the letters
VOCAB = LETTERS + len(pronunciation.PHONEMES)
TRAINED, TESTED, WINDOWS = 48, 192, 240  # tokens of a window, and windows of the test
WARM_UP, ROUNDS = 10, 100  # steps of each model that are not timed, and that are

OLD = DecoderConfig(
    vocab_size=VOCAB, d_model=48, n_heads=4, n_kv_heads=4, d_ff=192, max_len=TESTED, norm="layer", feed_forward="relu",
    positions="sinusoidal", bias=True,
)  # fmt: skip
PARTS: dict[str, dict] = {
    "2017": {},
    "RMSNorm": {"norm": "rms"},
    "SwiGLU": {"feed_forward": "swiglu"},
    "learned positions": {"positions": "learned", "max_len": 64},  # no row that this task never reads
    "rotary": {"positions": "rotary"},
    "ALiBi": {"positions": "alibi"},
    "no positions": {"positions": "none"},
    "two groups": {"n_kv_heads": 2},
    "one group": {"n_kv_heads": 1},
    "window of 8": {"window": 8},
    "QK-norm": {"qk_norm": True},
    "no biases": {"bias": False},
    "4 experts, top 1": {"feed_forward": "swiglu", "n_experts": 4, "top_k": 1, "capacity": 1.25},
    "4 experts, top 2": {"feed_forward": "swiglu", "n_experts": 4, "top_k": 2, "capacity": 1.25},
    "4 experts, no balance": {"feed_forward": "swiglu", "n_experts": 4, "top_k": 1, "capacity": 1.25},
    "4 whole experts, top 1": {"feed_forward": "swiglu", "n_experts": 4, "top_k": 1, "capacity": 1.25, "d_ff": 128},
    "Llama": {"norm": "rms", "feed_forward": "swiglu", "positions": "rotary", "n_kv_heads": 2, "bias": False},
}
LENGTHS = ("sinusoidal", "learned", "rotary", "alibi", "none")


def same_size(**changes: object) -> DecoderConfig:
    """The old configuration with changes, as wide inside that it has as many parameters; a given `d_ff` stays."""
    config = dataclasses.replace(OLD, **changes)  # type: ignore[arg-type]
    if "d_ff" in changes:
        return config
    with torch.device("meta"):
        whole, one, two = (
            parameters(DecoderModel(c)) for c in (OLD, *(dataclasses.replace(config, d_ff=d_ff) for d_ff in (1, 2)))
        )
    return dataclasses.replace(config, d_ff=1 + round((whole - one) / (two - one)))  # each is as large as the next


def stream(letters: list[int], sounds: list[int]) -> list[int]:
    """A word and its sounds, which begin at BOS and end with EOS, in one row."""
    return [*letters, *(id_ + LETTERS - 3 if id_ > EOS_ID else id_ for id_ in sounds)]


@functools.cache
def data() -> tuple[list[list[int]], list[pronunciation.Entry]]:
    """The rows to learn from, and the words of the test."""
    split = pronunciation.split_by_index(pronunciation.read_dictionary())
    return [stream(*pair) for pair in pronunciation.encode_pairs(split.train)], split.dev[:: len(split.dev) // WORDS]


def batches_of(seed: int, n: int) -> list[Tensor]:
    """The first `n` batches of rows, in an order of its own for each seed."""
    dealt = TokenBatches([([1], row) for row in data()[0]], batch_tokens=TOKENS, seed=seed)
    return [dealt.take(numbers).tgt_ids for numbers in dealt.epoch(0)[:n]]


def answers_only(ids: Tensor) -> Tensor:
    """What is to be said at each place but the last: the next token, if it belongs to an answer, else padding."""
    targets = ids[:, 1:].clone()
    inside = torch.zeros_like(targets[:, 0], dtype=torch.bool)
    for i in range(targets.size(1)):  # from BOS on, up to EOS
        inside = (inside & (ids[:, i] != EOS_ID)) | (ids[:, i] == BOS_ID)
        targets[~inside, i] = PAD_ID
    return targets


def windows(rows: list[list[int]], width: int, n: int, seed: int) -> Tensor:
    """Rows in random order, end to end, cut into `n` pieces of `width` tokens."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    tokens = [token for i in order[: n * width // 10] for token in rows[i]]  # a row has more than ten
    return torch.tensor(tokens[: n * width]).view(n, width)


def steps(model: DecoderModel, batches: list[Tensor], balance: float = 0.0) -> Iterator[list[Routing]]:
    """Take one training step after the other, on a batch each; hand out what the routers decided in it."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    has_experts = any(isinstance(part, MixtureOfExperts) for part in model.modules())
    for step, ids in enumerate(batches, 1):
        targets = answers_only(ids)
        routings = {}
        if has_experts:
            with record_routing(model) as routings:
                logits = model(ids[:, :-1])
        else:
            logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD_ID)
        if routings:
            loss = loss + balance * load_balance(*routings.values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(step, RATE, len(batches) // 10, len(batches))
        optimizer.step()
        yield list(routings.values())


def train(model: DecoderModel, batches: list[Tensor], balance: float = 0.0) -> dict[str, float]:
    """Train on batches of rows; return what share of the places with experts was dropped at last."""
    last = [routing for routings in deque(steps(model, batches, balance), maxlen=100) for routing in routings]
    if not last:
        return {}
    dropped, places = sum(routing.dropped for routing in last), sum(routing.kept.numel() for routing in last)
    busiest = [routing.chosen.flatten().bincount().max().item() / routing.chosen.numel() for routing in last]
    return {"dropped": dropped / places, "busiest": sum(busiest) / len(busiest)}


def without_limit(model: DecoderModel) -> DecoderModel:
    """The model to be used: nothing is dropped, whoever else is in the batch."""
    for part in model.modules():
        if isinstance(part, MixtureOfExperts):
            part.router.capacity = None
    return model.eval()


@torch.no_grad()
def spoken(model: DecoderModel, entries: list[pronunciation.Entry]) -> pronunciation.Score:
    """The score of what the model says by itself."""
    letters = pronunciation.letter_vocabulary()
    by_length = defaultdict(list)
    for i, entry in enumerate(entries):
        by_length[len(entry.word)].append(i)
    answers: list[list[str]] = [[] for _ in entries]
    for rows in by_length.values():
        ids = torch.tensor([[*letters.encode(list(entries[i].word)), BOS_ID] for i in rows])
        for i, row in zip(rows, complete(model, ids, max_new_tokens=24).tolist(), strict=True):
            said = row[: row.index(EOS_ID)] if EOS_ID in row else row
            answers[i] = [pronunciation.PHONEMES[t - LETTERS] for t in said if t >= LETTERS]
    return pronunciation.score(answers, entries)


def balance_of(part: str) -> float:
    """What the second loss counts for."""
    return 0.0 if part.endswith("no balance") else 0.01


def run_part(job: dict) -> dict:
    """Train a model with one part exchanged, and measure what it says."""
    _, entries = data()
    config = same_size(**PARTS[job["part"]])
    torch.manual_seed(job["seed"])
    model = DecoderModel(config)
    batches = batches_of(job["seed"], STEPS)
    begin = time.process_time()
    routed = train(model, batches, balance_of(job["part"]))
    seconds = time.process_time() - begin
    without_limit(model)
    forced = torch.zeros(2)
    pairs = pronunciation.encode_pairs(entries)
    unseen = TokenBatches([([1], stream(*pair)) for pair in pairs], batch_tokens=8192)
    with torch.no_grad():
        for numbers in unseen.in_order():
            ids = unseen.take(numbers).tgt_ids
            targets = answers_only(ids)
            logits = model(ids[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD_ID, reduction="sum")
            forced += torch.tensor([loss.item(), (targets != PAD_ID).sum().item()])
    score = spoken(model, entries)
    return {
        **job, "parameters": parameters(model), "d_ff": config.d_ff, "steps": len(batches),
        "forced_loss": (forced[0] / forced[1]).item(), "word_error": score.word_error,
        "phoneme_error": score.phoneme_error, **routed, "training_seconds": round(seconds, 1),
        "kept_numbers_per_token": 2 * config.n_layers * config.n_kv_heads * config.d_model // config.n_heads,
    }  # fmt: skip


def run_length(job: dict) -> dict:
    """Train on short windows, and measure the loss of answers at each place of long ones."""
    rows, _ = data()
    torch.manual_seed(job["seed"])
    model = DecoderModel(dataclasses.replace(OLD, positions=job["positions"]))
    size = TOKENS // TRAINED
    train(model, list(windows(rows, TRAINED, STEPS * size, job["seed"]).split(size)))
    model.eval()
    split = pronunciation.split_by_index(pronunciation.read_dictionary())
    ids = windows([stream(*pair) for pair in pronunciation.encode_pairs(split.dev)], TESTED, WINDOWS, 0)
    targets = answers_only(ids)
    with torch.no_grad():
        losses = F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), targets, ignore_index=PAD_ID, reduction="none")
    real = targets != PAD_ID
    edges = list(range(0, TESTED, 12))
    by_place = [(losses[:, i : i + 12].sum() / real[:, i : i + 12].sum()).item() for i in edges]
    inside, outside = ((losses[:, part].sum() / real[:, part].sum()).item()
                       for part in (slice(0, TRAINED - 1), slice(TRAINED, None)))  # fmt: skip
    return {**job, "parameters": parameters(model), "steps": STEPS, "trained": inside, "untrained": outside,
            "places": edges, "losses": by_place}  # fmt: skip


def run_times(job: dict) -> dict:
    """Let all models take turns, in an order drawn anew for each batch; how long is a step beside the one of 2017?"""
    torch.manual_seed(job["seed"])
    drawn = random.Random(job["seed"])
    batches = batches_of(job["seed"], WARM_UP + ROUNDS)
    running = {part: steps(DecoderModel(same_size(**PARTS[part])), batches, balance_of(part)) for part in PARTS}
    ratios = defaultdict(list)
    for i in range(len(batches)):
        took = {}
        for part in drawn.sample(list(running), len(running)):
            begin = time.process_time()
            next(running[part])
            took[part] = time.process_time() - begin
        if i >= WARM_UP:
            for part, seconds in took.items():
                ratios[part].append(seconds / took["2017"])
    return {
        **job, "rounds": ROUNDS, "threads": torch.get_num_threads(), "machine": f"{platform.machine()}, {cpu_name()}",
        "step_beside_2017": {part: round(statistics.median(ratios[part]), 3) for part in PARTS},
    }  # fmt: skip


def main() -> None:
    """Make all runs that are not made yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = {"steps": STEPS, "torch": torch.__version__}
    jobs = []
    for seed in range(options.seeds):
        jobs += [("parts", run_part, {"part": part, "seed": seed}) for part in PARTS]
        jobs += [("lengths", run_length, {"positions": name, "seed": seed}) for name in LENGTHS]
        jobs += [("times", run_times, {"seed": seed})]
    make_missing(jobs, options.out, about, SECONDS)


if __name__ == "__main__":
    main()
