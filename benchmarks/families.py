"""One task that all three families can do: English number words to German, equal parameters, the same pairs.

    python -m benchmarks.families

`encoder-decoder` is the model of the book. `decoder-only` reads and writes one stream (English, BOS, German, EOS), with
the loss on the answer alone. `encoder-only` gets as many empty places
as the longest answer has tokens, then the English, and fills them all at once. All are pre-norm, of width 64; the inner
width of the feed-forward networks is moved until they have about as many parameters (to within two per cent). Each step
of a seed sees the same pairs in each family. Three seeds. Each run is written when it has ended, to
`transformer_lib/notebook/results/families.json`; the same command goes on after the last one there.
"""

import argparse
import functools
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.runs import make_missing, parameters
from transformer_lib.config import TransformerConfig
from transformer_lib.data import numbers
from transformer_lib.data.batches import TokenBatches, pad_sequences
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from transformer_lib.decoding import translate_ids
from transformer_lib.loss import token_loss
from transformer_lib.modern.families import LanguageModel, MaskedModel, sample_text
from transformer_lib.notebook import results
from transformer_lib.schedules import cosine_rate
from transformer_lib.transformer import Transformer

RESULTS = results.FOLDER / "families.json"
SECONDS = 60  # that a run took on the average where it was done last
STEPS, TOKENS, RATE = 400, 1024, 3e-3  # steps, answer tokens of a batch, peak rate
LOOKED_AT = (200, 300, 400)  # steps after which 500 unseen numbers are answered
ENGLISH, GERMAN = len(numbers.english_vocabulary()), len(numbers.german_vocabulary())
VOCAB = ENGLISH + GERMAN - 3 + 1  # one table for both languages: English, German without the special tokens, MASK
MASK_ID = VOCAB - 1
FAMILIES = ("encoder-decoder", "decoder-only", "encoder-only")
Pairs = list[tuple[list[int], list[int]]]


@functools.cache
def data(n: int = 10_000) -> tuple[Pairs, Pairs]:
    """Training pairs and 500 unseen ones, as ids of the one table."""
    train, test = (numbers.encode_pairs(part) for part in numbers.split_numbers(n, 500, seed=0))
    move = lambda row: [i + ENGLISH - 3 if i > EOS_ID else i for i in row]  # noqa: E731
    both = [[(source, move(target)) for source, target in part] for part in (train, test)]
    return both[0], both[1]


@functools.cache
def slots() -> int:
    """Tokens of the longest answer, EOS included."""
    return max(len(target) - 1 for part in data() for _, target in part)


def config(d_ff: int, layers: int) -> TransformerConfig:
    return TransformerConfig(
        src_vocab_size=VOCAB, tgt_vocab_size=VOCAB, n_encoder_layers=layers, d_ff=d_ff, max_len=48, dropout=0.0,
        norm_first=True, share_vocab=True,
    )  # fmt: skip


def new_model(family: str) -> nn.Module:
    """The book's model with 2 + 2 layers, or one stack of 4 that is as large."""
    if family == "encoder-decoder":
        return Transformer(config(256, 2))
    kind = MaskedModel if family == "encoder-only" else LanguageModel
    with torch.device("meta"):
        whole, one, two = (parameters(m) for m in (Transformer(config(256, 2)), kind(config(1, 4)), kind(config(2, 4))))
    return kind(config(1 + round((whole - one) / (two - one)), 4))


def loss_of(family: str, model: nn.Module, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The summed loss of some pairs, and the tokens that it counts."""
    if family == "encoder-decoder":
        src_ids, tgt_ids = (pad_sequences([pair[side] for pair in pairs], PAD_ID) for side in (0, 1))
        return token_loss(model(src_ids, tgt_ids[:, :-1]), tgt_ids[:, 1:], pad_id=PAD_ID)
    if family == "encoder-only":
        targets = pad_sequences([[*target[1:], *[PAD_ID] * (slots() - len(target) + 1)] for _, target in pairs], PAD_ID)
        return token_loss(model(filled_in(pairs))[:, : slots()], targets, pad_id=PAD_ID)
    ids = pad_sequences([[*source, *target] for source, target in pairs], PAD_ID)
    targets = ids[:, 1:].clone()
    for row, (source, _) in zip(targets, pairs, strict=True):
        row[: len(source)] = PAD_ID  # what the source says, and BOS
    return token_loss(model(ids[:, :-1]), targets, pad_id=PAD_ID)


def filled_in(pairs: Pairs) -> Tensor:
    """Empty places, then the source."""
    return pad_sequences([[*[MASK_ID] * slots(), *source] for source, _ in pairs], PAD_ID)


@torch.no_grad()
def answers(family: str, model: nn.Module, pairs: Pairs, use_cache: bool = True) -> list[list[int]]:
    """What a model answers, greedily, each up to its EOS."""
    sources = [source for source, _ in pairs]
    if family == "encoder-decoder":
        said = translate_ids(model, sources, max_new_tokens=slots(), use_cache=use_cache)  # type: ignore[arg-type]
    elif family == "encoder-only":
        said = model(filled_in(pairs))[:, : slots()].argmax(dim=-1).tolist()
    else:
        by_length = defaultdict(list)
        for i, source in enumerate(sources):
            by_length[len(source)].append(i)
        said = [[] for _ in sources]
        for rows in by_length.values():
            ids = torch.tensor([[*sources[i], BOS_ID] for i in rows])
            more = sample_text(model, ids, max_new_tokens=slots(), top_k=1)  # type: ignore[arg-type]
            for i, row in zip(rows, more.tolist(), strict=True):
                said[i] = row
    return [row[: row.index(EOS_ID) + 1] if EOS_ID in row else row for row in said]


def exact(family: str, model: nn.Module, pairs: Pairs) -> float:
    model.eval()
    right = [said == target[1:] for said, (_, target) in zip(answers(family, model, pairs), pairs, strict=True)]
    model.train()
    return sum(right) / len(right)


def run(job: dict) -> dict:
    """Train a model of a family, and count its right answers as it learns."""
    family, (train, test) = job["family"], data()
    torch.manual_seed(job["seed"])
    model = new_model(family)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    dealt, epoch, order = TokenBatches(train, batch_tokens=TOKENS, seed=job["seed"]), 0, []
    seconds, seen, right = 0.0, 0, {}
    for step in range(1, STEPS + 1):
        if not order:
            order, epoch = dealt.epoch(epoch), epoch + 1
        pairs = [train[i] for i in order.pop(0).tolist()]
        seen += sum(len(target) - 1 for _, target in pairs)
        begin = time.process_time()
        loss, number = loss_of(family, model, pairs)
        optimizer.zero_grad()
        (loss / number).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(step, RATE, max(1, STEPS // 10), STEPS)
        optimizer.step()
        seconds += time.process_time() - begin
        if step in LOOKED_AT:
            right[step] = exact(family, model, test)
    model.eval()
    begin = time.process_time()
    answers(family, model, test, use_cache=False)
    return {
        **job, "parameters": parameters(model), "d_ff": model.config.d_ff, "steps": STEPS, "answer_tokens": seen,
        "right": list(right.values()), "training_seconds": round(seconds, 1),
        "seconds_for_500_answers": round(time.process_time() - begin, 2),
    }  # fmt: skip


def main() -> None:
    """Make all runs that are not made yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default: 3)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = {"steps": STEPS, "rate": RATE, "looked_at": list(LOOKED_AT), "torch": torch.__version__}
    jobs = [{"family": family, "seed": seed} for seed in range(options.seeds) for family in FAMILIES]
    make_missing([(None, run, job) for job in jobs], options.out, about, SECONDS)


if __name__ == "__main__":
    main()
