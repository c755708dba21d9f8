"""What can be read off trained models of other seeds, where chapter 19 reads the packaged one?

    python -m benchmarks.reading

Seed 0 is the packaged model of the recipe `numbers`; for each further seed the same recipe is trained anew. Of each,
one row: alignment error rates of the heads of cross-attention, what each head's removal costs, what the logit lens
reads, what a patched activation or slice brings back, and what other attention maps change. One more row, of the
packaged model of the recipe `pronounce`, tells what its attention in the encoder is worth. Each row is written when it
is made, to `transformer_lib/notebook/results/reading.json`; the same command goes on after the last one there. On
another processor a seed makes another model: nothing can be added to a row, it is made anew as a whole.
"""

import argparse
import contextlib
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.runs import make_missing
from transformer_lib import (
    TokenBatches,
    Trainer,
    Transformer,
    TransformerConfig,
    cosine_rate,
    pad_sequences,
    record_attention,
    scaled_dot_product_attention,
    translate_ids,
)
from transformer_lib.attention import MultiHeadAttention
from transformer_lib.data import numbers
from transformer_lib.data.vocabulary import PAD_ID
from transformer_lib.notebook import results
from transformer_lib.recipes import PACKAGED, TASKS, load, read_recipe

RESULTS = results.FOLDER / "reading.json"
SECONDS = 110  # that a row took where it was made last
SIZE, WORDS = 200, 500  # numbers that the models are read on, words of the test of `pronounce`
UNIT = 3  # the place of the unit in numbers of three digits: in English, and in German, behind BOS and two words

PLAIN = [word for word in numbers.GERMAN if word not in ("eins", "und")]
ENGLISH_OF = {**dict(zip(PLAIN, numbers.ENGLISH, strict=True)), "eins": "one"}


def links(english: Sequence[str], german: Sequence[str]) -> list[set[int]]:
    """The English places that each German word may be linked to: one, and two for *und*."""
    places: dict[str, list[int]] = {}
    for i, word in enumerate(english):
        places.setdefault(word, []).append(i)
    sure = [-1 if word == "und" else places[ENGLISH_OF[word]].pop(0) for word in german]
    return [{sure[t - 1], sure[t + 1]} if i < 0 else {i} for t, i in enumerate(sure)]


def error_rate(looks: Sequence[Sequence[int]], possible: Sequence[Sequence[set[int]]]) -> float:
    """The alignment error rate of one link for each German word; a word with one possible link has a sure one."""
    links_made = sure = sure_hit = possible_hit = 0
    for row, allowed in zip(looks, possible, strict=True):
        for look, may in zip(row, allowed, strict=True):
            links_made, possible_hit = links_made + 1, possible_hit + (look in may)
            if len(may) == 1:
                sure, sure_hit = sure + 1, sure_hit + (look in may)
    return 1 - (sure_hit + possible_hit) / (links_made + sure)


@contextlib.contextmanager
def hooked(module: nn.Module, change: Callable[[Tensor], Tensor | None], before: bool = False) -> Iterator[None]:
    """Hand what a module returns (or, `before`, its first input) to `change`, and go on with what that returns."""
    if before:

        def replace(module: nn.Module, args: tuple) -> tuple | None:
            new = change(args[0])
            return None if new is None else (new, *args[1:])

        handle = module.register_forward_pre_hook(replace)
    else:
        handle = module.register_forward_hook(lambda module, args, output: change(output))
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def no_encoder_attention(model: Transformer) -> Iterator[None]:
    """Let no word of the source look at another."""
    with contextlib.ExitStack() as stack:
        for layer in model.encoder.layers:
            stack.enter_context(hooked(layer.self_attn, torch.zeros_like))
        yield


@contextlib.contextmanager
def other_maps(module: MultiHeadAttention, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let all heads of a module attend with changed weights."""

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return change(scaled_dot_product_attention(q, k, v, mask)[1]) @ v

    module.attend = attend  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.attend


def replacement(head: int, values: Tensor) -> Callable[[Tensor], Tensor]:
    """Put `values[head]`, of (heads, d_head), in the place of what one head hands over."""

    def replace(x: Tensor) -> Tensor:
        heads = x.unflatten(-1, values.shape).clone()
        heads[..., head, :] = values[head]
        return heads.flatten(-2)

    return replace


def three_sides(size: int = 60) -> list[tuple[Tensor, Tensor]]:
    """Numbers of three digits, encoded: as many clean ones, corrupted ones and third ones, no digit in common."""
    draw, triples = random.Random(0), []
    while len(triples) < size:
        a, b, c = (draw.sample(range(2, 10), 3) for _ in range(3))
        if all(len({x, y, z}) == 3 for x, y, z in zip(a, b, c, strict=True)):
            triples.append([100 * x + 10 * y + z for x, y, z in (a, b, c)])
    sides = []
    for column in zip(*triples, strict=True):
        encoded = numbers.encode_pairs(numbers.spell(column))
        sides.append((torch.tensor([src for src, _ in encoded]), torch.tensor([tgt for _, tgt in encoded])))
    return sides


class Reading:
    """A model, and the numbers that it is read on."""

    def __init__(self, model: Transformer, size: int) -> None:
        self.model, self.pairs = model, numbers.split_numbers(10_000, 1_000, seed=0)[1][:size]
        self.encoded = numbers.encode_pairs(self.pairs)
        self.src = pad_sequences([src for src, _ in self.encoded], PAD_ID)
        self.tgt = pad_sequences([tgt for _, tgt in self.encoded], PAD_ID)
        self.real = self.tgt[:, 1:] != PAD_ID
        self.possible = [links(pair.english, pair.german) for pair in self.pairs]
        self.clean, self.corrupted, self.third = three_sides()

    @torch.no_grad()
    def logits(self) -> Tensor:
        return self.model(self.src, self.tgt[:, :-1])

    def loss(self) -> float:
        """Cross-entropy a German token, teacher-forced."""
        log_probs = self.logits().log_softmax(-1).gather(2, self.tgt[:, 1:, None]).squeeze(2)
        return -log_probs[self.real].mean().item()

    def words(self) -> float:
        """Share of German tokens that are right, teacher-forced."""
        return (self.logits().argmax(-1) == self.tgt[:, 1:])[self.real].double().mean().item()

    def whole(self) -> float:
        """Share of numbers that the model says right by itself."""
        said = translate_ids(self.model, [src for src, _ in self.encoded], max_new_tokens=16)
        return sum(a == tgt[1:] for a, (_, tgt) in zip(said, self.encoded, strict=True)) / len(said)

    def maps(self) -> dict[str, Tensor]:
        with record_attention(self.model) as weights:
            self.logits()
        return weights

    def alignment(self) -> dict:
        """Error rates of the heads of cross-attention: (layers, heads)."""
        groups: dict[tuple, list[int]] = {}
        for i, pair in enumerate(self.pairs):
            groups.setdefault((len(pair.english), len(pair.german)), []).append(i)
        other = list(range(len(self.pairs)))  # the next number of the same lengths
        for same in groups.values():
            for i, j in zip(same, [*same[1:], same[0]], strict=True):
                other[i] = j
        lengths = [len(pair.german) for pair in self.pairs]
        rates: dict[str, list] = {"own": [], "other": [], "row_below": []}
        for name, weights in self.maps().items():
            if "cross" not in name:
                continue
            looks = weights.argmax(-1).tolist()  # (numbers, heads, rows)
            heads = range(weights.size(1))
            own = [[row[h][:n] for row, n in zip(looks, lengths, strict=True)] for h in heads]
            below = [[row[h][1 : n + 1] for row, n in zip(looks, lengths, strict=True)] for h in heads]
            rates["own"].append([error_rate(own[h], self.possible) for h in heads])
            rates["other"].append([error_rate([own[h][i] for i in other], self.possible) for h in heads])
            rates["row_below"].append([error_rate(below[h], self.possible) for h in heads])
        return rates

    def heads(self) -> list[dict]:
        """Of each head, how sharply it looks, and what its removal costs."""
        rows = []
        for name, weights in self.maps().items():
            module = self.model.get_submodule(name)
            real = self.src != PAD_ID if name.startswith("encoder") else self.real
            kept: list[Tensor] = []
            with hooked(module.out_proj, kept.append, before=True):
                self.logits()
            mean = kept[0][real].mean(0).unflatten(0, (module.n_heads, -1))
            for head in range(module.n_heads):
                row = {"name": name, "head": head}
                row["sharpness"] = weights[:, head].max(-1).values[real].mean().item()
                for kind, value in (("zero", torch.zeros_like(mean)), ("mean", mean)):
                    with hooked(module.out_proj, replacement(head, value), before=True):
                        row |= {f"{kind}_loss": self.loss(), f"{kind}_whole": self.whole()}
                rows.append(row)
        return rows

    def streams(self) -> dict[str, tuple[nn.Module, bool]]:
        """Where the decoder's residual stream can be read: a module, and whether before it."""
        found: dict[str, tuple[nn.Module, bool]] = {"embedding": (self.model.decoder.layers[0], True)}
        for i, layer in enumerate(self.model.decoder.layers, 1):
            for part in ("self_attn", "cross_attn", "feed_forward"):
                found[f"{part} {i}"] = (getattr(layer, f"{part}_residual"), False)
        return found

    def lens(self, output: nn.Module) -> dict[str, float]:
        """Share of right words that an output layer reads at each place."""
        found: dict[str, Tensor] = {}
        with contextlib.ExitStack() as stack:
            for name, (module, before) in self.streams().items():
                stack.enter_context(hooked(module, lambda x, name=name: found.update({name: x}), before))
            self.logits()
        right = {name: output(x).argmax(-1) == self.tgt[:, 1:] for name, x in found.items()}
        return {name: hit[self.real].double().mean().item() for name, hit in right.items()}

    @torch.no_grad()
    def unit(self, side: tuple[Tensor, Tensor]) -> Tensor:
        """Logits of the last row, which is to say the unit: *drei hundert* is written, *ein* comes next."""
        return self.model(side[0], side[1][:, :UNIT])[:, -1]

    def said(self, logits: Tensor, side: tuple[Tensor, Tensor]) -> float:
        """Share of numbers of which the unit is said."""
        return (logits.argmax(-1) == side[1][:, UNIT]).double().mean().item()

    def lead(self, logits: Tensor) -> Tensor:
        """How far the clean unit leads the corrupted one, in the mean."""
        units = torch.stack([side[1][:, UNIT] for side in (self.clean, self.corrupted)], dim=1)
        return -logits.gather(1, units).diff(dim=1).mean()

    @functools.cached_property
    def untouched(self) -> tuple[Tensor, Tensor]:
        """The lead in the corrupted run and in the clean one, of the model as it is."""
        return self.lead(self.unit(self.corrupted)), self.lead(self.unit(self.clean))

    def back(self, logits: Tensor) -> float:
        """The lead of the clean unit over the corrupted one, from the corrupted run (0) to the clean one (1)."""
        low, high = self.untouched
        here = self.lead(logits)
        return ((here - low) / (high - low)).item()

    def patching(self) -> dict:
        """What one activation of a clean run brings back in a corrupted one, all of whose digits are others."""
        places = {"source embedding": (self.model.encoder.layers[0], True)}
        places |= {f"source layer {i}": (layer, False) for i, layer in enumerate(self.model.encoder.layers, 1)}
        places |= {f"target {name}": where for name, where in self.streams().items()}
        back, clean_word, third_word = {}, {}, {}
        for name, (module, before) in places.items():
            width = 4 if name.startswith("source") else UNIT
            rows: list[list[float]] = [[], [], []]
            for place in range(width):
                for side in (self.clean, self.third):
                    kept: list[Tensor] = []
                    with hooked(module, kept.append, before):
                        self.unit(side)

                    def patch(x: Tensor, kept: list = kept, place: int = place) -> Tensor:
                        x = x.clone()
                        x[:, place] = kept[0][:, place]
                        return x

                    with hooked(module, patch, before):
                        logits = self.unit(self.corrupted)
                    if side is self.clean:
                        rows[0].append(self.back(logits))
                    rows[1 if side is self.clean else 2].append(self.said(logits, side))
            back[name], clean_word[name], third_word[name] = rows
        return {"back": back, "clean_word": clean_word, "third_word": third_word}

    def slices(self) -> dict:
        """The heads of cross-attention, read, patched and removed where the unit is told; layer by layer."""
        layers = [f"decoder.layers.{i}.cross_attn" for i in range(len(self.model.decoder.layers))]
        with record_attention(self.model) as weights:
            self.unit(self.clean)
        on_unit = {name: weights[name][:, :, -1, UNIT].mean(0).tolist() for name in layers}
        found: dict[str, list] = {"on_unit": [*on_unit.values()]}
        for name in layers:
            module = self.model.get_submodule(name)
            kept: list[Tensor] = []
            with hooked(module.out_proj, kept.append, before=True):
                self.unit(self.clean)
            every = range(module.n_heads)
            for kind, sets in (
                ("alone", [[head] for head in every]),
                ("others", [[other for other in every if other != head] for head in every]),
                ("all", [[*every]]),
            ):
                rows = []
                for chosen in sets:

                    def put(x: Tensor, clean: Tensor = kept[0], chosen: list = chosen, n: int = len(every)) -> Tensor:
                        heads = x.unflatten(-1, (n, -1)).clone()
                        heads[:, -1, chosen] = clean.unflatten(-1, (n, -1))[:, -1, chosen]
                        return heads.flatten(-2)

                    with hooked(module.out_proj, put, before=True):
                        logits = self.unit(self.corrupted)
                    rows.append([self.back(logits), self.said(logits, self.clean)])
                back, said = map(list, zip(*rows, strict=True))
                found.setdefault(f"{kind}_back", []).append(back)
                found.setdefault(f"{kind}_said", []).append(said)
            removed, zero = [], torch.zeros(len(every), kept[0].size(-1) // len(every))
            for head in every:
                with hooked(module.out_proj, replacement(head, zero), before=True):
                    removed.append(self.said(self.unit(self.clean), self.clean))
            found.setdefault("removed_said", []).append(removed)
        return found

    def maps_changed(self) -> dict:
        """What is still right when the maps of a layer's cross-attention are others."""
        here = (self.src != PAD_ID)[:, None, None]  # (numbers, 1, 1, source)
        length = here.sum(-1, keepdim=True)

        def uniform(weights: Tensor) -> Tensor:
            return (here / length).expand_as(weights)

        def moved(weights: Tensor) -> Tensor:
            index = (torch.arange(here.size(-1)) - 1) % length  # each goes to the next word
            return weights.gather(-1, index.expand_as(weights)) * here

        found = {}
        for i, layer in enumerate(self.model.decoder.layers, 1):
            for name, change in (("uniform", uniform), ("moved", moved)):
                with other_maps(layer.cross_attn, change):
                    hits = (self.logits().argmax(-1) == self.tgt[:, 1:]) | ~self.real
                    found[f"{name} {i}"] = hits[self.real].double().mean().item()
                    found[f"{name} {i}, whole"] = hits.all(1).double().mean().item()  # what it says by itself, too
            kept: list[Tensor] = []
            with hooked(layer.cross_attn, kept.append):
                self.logits()
            with hooked(layer.cross_attn, kept[0][self.real].mean(0).expand_as):
                hits = (self.logits().argmax(-1) == self.tgt[:, 1:]) | ~self.real
            found[f"mean {i}"] = hits[self.real].double().mean().item()
            found[f"mean {i}, whole"] = hits.all(1).double().mean().item()
        with no_encoder_attention(self.model):
            found |= {"no encoder attention": self.words(), "no encoder attention, whole": self.whole()}
        return found


def trained(seed: int, steps: int) -> Transformer:
    """The recipe `numbers` with another seed."""
    settings, task = read_recipe(PACKAGED / "numbers" / "recipe.toml").training, TASKS["numbers"]()
    torch.manual_seed(seed)
    sizes = dict(zip(("src_vocab_size", "tgt_vocab_size"), task.vocab_sizes, strict=True))
    model = Transformer(TransformerConfig(**sizes, max_len=24, dropout=0.0))
    batches = TokenBatches(task.train_pairs(), batch_tokens=settings.batch_tokens, seed=seed)
    rate, warmup = settings.peak_rate, min(settings.warmup, steps // 2)
    Trainer(model, batches, rate=lambda step: cosine_rate(step, rate, warmup=warmup, total=steps)).fit(steps)
    return model.eval()


def run_seed(seed: int, steps: int, size: int) -> dict:
    """Make the row of one seed."""
    reading = Reading(load("numbers") if seed == 0 else trained(seed, steps), size)
    torch.manual_seed(seed)
    untrained = Reading(Transformer(reading.model.config).eval(), size)
    torch.manual_seed(seed + 1)
    other = nn.Linear(reading.model.config.d_model, reading.model.config.tgt_vocab_size)
    return {
        "seed": seed, "whole": reading.whole(), "words": reading.words(), "loss": reading.loss(),
        "alignment": reading.alignment(), "heads": reading.heads(),
        "lens": {
            "trained": reading.lens(reading.model.output), "untrained": untrained.lens(untrained.model.output),
            "random output": reading.lens(other),
        },
        "patching": reading.patching(), "slices": reading.slices(), "maps": reading.maps_changed(),
    }  # fmt: skip


def run_pronounce(words: int) -> dict:
    """What the attention of the encoder is worth to the packaged model of `pronounce`: word errors."""
    task, model = TASKS["pronounce"](), load("pronounce")
    entries = task.split.dev[:: max(1, len(task.split.dev) // words)][:words]
    whole = task.score(model, entries)["word_error"]
    with no_encoder_attention(model):
        without = task.score(model, entries)["word_error"]
    return {"words": len(entries), "whole": whole, "no encoder attention": without}


def main() -> None:
    """Make all rows that are not made yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="models, the packaged one included (default: 5)")
    parser.add_argument("--steps", type=int, default=1500, help="steps of a training (default: 1500)")
    parser.add_argument("--size", type=int, default=SIZE, help=f"numbers to read on (default: {SIZE})")
    parser.add_argument("--words", type=int, default=WORDS, help=f"words of the dictionary (default: {WORDS})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = {"steps": options.steps, "size": options.size, "torch": torch.__version__}

    def read(job: dict) -> dict:
        return run_seed(job["seed"], options.steps, options.size)

    jobs = [("numbers", read, {"seed": seed}) for seed in range(options.seeds)]
    jobs.append(("pronounce", lambda job: run_pronounce(job["words"]), {"words": options.words}))
    make_missing(jobs, options.out, about, SECONDS)


if __name__ == "__main__":
    main()
