"""What the live figures start from, and how they look before anything is moved."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor
from torch.nn import functional as F

from transformer_lib.attention import scaled_dot_product_attention
from transformer_lib.notebook import example
from transformer_lib.notebook.example import TOKENS
from transformer_lib.notebook.plotting import COLORS, draw_attention, draw_lines, draw_matrix, new_figure


class Picture(NamedTuple):
    """A figure at rest."""

    data: dict  # what the script starts from; numbers that were given, not computed, so that it is the same everywhere
    figure: Figure
    alt: str


PICTURES: dict[str, Callable[..., Picture]] = {}


def picture(draw: Callable[..., Picture]) -> Callable[..., Picture]:
    """Enter a function under the kind of its figure: `softmax_picture` draws "softmax"."""
    PICTURES[draw.__name__.removesuffix("_picture")] = draw
    return draw


def draw_bars(axes: Axes, labels: Sequence[str], values: Sequence[float]) -> None:
    """Draw lying bars from 0 to 1, the first at the top, each with its number."""
    axes.barh(labels, values, color=COLORS[5])
    axes.set(xlim=(0, 1.15), xticks=[0, 0.5, 1])
    axes.invert_yaxis()
    for row, value in enumerate(values):
        axes.text(value + 0.02, row, f"{value:.2f}", va="center")


@picture
def softmax_picture(labels: Sequence[str] = TOKENS, scores: Sequence[float] = (2, 0, 0, 2)) -> Picture:
    """Scores that become weights: the row of *hundred* of chapter 1."""
    weights = torch.tensor(scores, dtype=torch.float64).softmax(dim=0).tolist()
    figure, axes = new_figure(height=2.2)
    draw_bars(axes, [f"{label}, score {score}" for label, score in zip(labels, scores, strict=True)], weights)
    axes.set(xlabel="weight at temperature 1")
    told = ", ".join(f"{label} {weight:.2f}" for label, weight in zip(labels, weights, strict=True))
    alt = f"At temperature 1 the scores {', '.join(map(str, scores))} become the weights {told}."
    return Picture({"title": "Softmax and temperature", "labels": [*labels], "scores": [*scores]}, figure, alt)


@picture
def dot_product_picture(widths: Sequence[int] = (4, 16, 64, 256, 1024), keys: int = 6, draws: int = 3) -> Picture:
    """Random queries and keys of growing width; the narrow ones are the beginnings of the wide ones."""
    random = torch.Generator().manual_seed(0)
    pairs = torch.randn(draws, keys + 1, widths[-1], generator=random, dtype=torch.float64)
    products = torch.stack([pairs[:, :1, :d] @ pairs[:, 1:, :d].mT for d in widths], dim=1).flatten(2).round(decimals=2)
    roots = torch.tensor(widths).sqrt().unsqueeze(-1)
    ways = {"not divided": products, "divided by √d": products / roots}
    most = {name: scores.softmax(dim=-1).amax(dim=-1).mean(dim=0).tolist() for name, scores in ways.items()}
    figure, axes = new_figure(height=2.8)
    draw_lines(axes, widths, most, x_label="width d", y_label=f"largest of {keys} weights")
    axes.set(xscale="log", xticks=widths, xticklabels=widths, ylim=(0, 1.05))
    axes.minorticks_off()
    told = "; ".join(f"{name}, from {row[0]:.2f} to {row[-1]:.2f}" for name, row in most.items())
    data = {"title": "Scaled dot product", "widths": [*widths], "products": products.tolist()}
    alt = f"The largest of {keys} weights, on average, from d = {widths[0]} to d = {widths[-1]}: {told}."
    return Picture(data, figure, alt)


@picture
def masks_picture() -> Picture:
    """The running example with one pad behind it, under both masks in the picture."""
    tokens, x = [*TOKENS, "pad"], torch.tensor([*example.VECTORS, [0, 0, 0, 0]])
    scores = x @ torch.tensor(example.QUERY) @ (x @ torch.tensor(example.KEY)).T / 2  # (5, 5), whole numbers
    allowed = torch.ones(5, 5, dtype=torch.bool).tril() & (torch.arange(5) < 4)
    both = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
    figure, axes = new_figure(height=3.0)
    draw_attention(axes, both, tokens, tokens)
    data = {"title": "Masks", "tokens": tokens, "is_padding": [False] * 4 + [True], "scores": scores.int().tolist()}
    alt = f"""Under both masks three gives itself {both[0, 0]:.2f}; twenty gives three {both[2, 0]:.2f}, and nothing
        to one, which comes later; no row gives the pad anything, and each sums to 1."""
    return Picture(data, figure, alt)


@picture
def heads_picture() -> Picture:
    """The queries and keys of chapter 3, four features wide, as two heads in the picture."""
    x = torch.tensor(example.VECTORS)
    query = torch.tensor([[0, 4, 0, 4], [0, 4, 4, 0], [4, 0, 0, 4], [0, 0, 0, 0]])  # two heads side by side
    key = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]])
    queries, keys = x @ query, x @ key  # (4, 4): head 0 has columns 0 and 1
    parts = [rows.unflatten(1, (2, 2)).transpose(0, 1).double() for rows in (queries, keys)]
    weights = scaled_dot_product_attention(*parts, parts[1])[1]  # (2, 4, 4)
    figure, axes = new_figure(height=2.0)
    draw_matrix(axes, weights[:, 0], ["head 0", "head 1"], TOKENS, low=0, high=1, x_label="key; the query is three")
    data = {
        "title": "Heads",
        "tokens": TOKENS,
        "n_heads": [1, 2, 4],
        "queries": queries.tolist(),
        "keys": keys.tolist(),
    }
    to_hundred, to_twenty = weights[0, 0, 1], weights[1, 0, 2]
    alt = f"With two heads, three gives hundred {to_hundred:.2f} in head 0 and twenty {to_twenty:.2f} in head 1."
    return Picture(data, figure, alt)


def clocks(length: int, width: int) -> Tensor:
    """The encodings of chapter 4, `(length, width)`."""
    angle = torch.outer(torch.arange(length), 10000 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


@picture
def positions_picture(length: int = 64, width: int = 64, position: int = 20) -> Picture:
    """How alike one position is to all others."""
    table = clocks(length, width)
    curve = (table @ table[position] / (width / 2)).tolist()
    figure, axes = new_figure(height=2.8)
    draw_lines(axes, range(length), {"": curve}, x_label="other position", y_label="similarity", marks=False)
    near, far = curve[position + 5], curve[position + 20]
    data = {"title": "Positions", "length": length, "width": width, "position": position}
    alt = f"Position {position} is likest itself; five steps away the similarity is {near:.2f}, twenty away {far:.2f}."
    return Picture(data, figure, alt)


@picture
def rotary_picture(query_place: int = 9, key_place: int = 5, other: int = 30, places: int = 41) -> Picture:
    """A query and a key of eight features, in four pairs that point the same way before they are turned."""
    vector = [1] * 4 + [0] * 4
    hands = clocks(places, 8).unflatten(1, (4, 2)).flip(2)  # (places, pairs, 2), cosine first
    turned = hands.transpose(1, 2).flatten(1)  # (places, 8), as `rotate` of chapter 17 turns the vector
    scores = torch.mv(turned, turned[query_place]).tolist()
    figure, (plane, axes) = new_figure(1, 2, width=6.0, height=2.8)
    for name, place, style, color in (("query", query_place, "-", COLORS[0]), ("key", key_place, "--", COLORS[1])):
        x, y = turned[place, [0, 4]].tolist()
        plane.plot([0, x], [0, y], style, color=color, linewidth=2.5)
        plane.text(1.2 * x, 1.2 * y, f"{name}, {place}", ha="center", va="center")
    plane.add_patch(Circle((0, 0), 1, fill=False, color="#777777"))
    plane.set(xlim=(-1.7, 1.7), ylim=(-1.4, 1.4), aspect="equal", title="pair 0")
    plane.axis("off")
    draw_lines(axes, range(places), {"": scores}, x_label="place of the key", y_label="score", marks=False)
    axes.plot(key_place, scores[key_place], "o", color=COLORS[1])
    data = {"title": "Rotary positions", "query": vector, "key": vector, "places": places}
    data |= {"query_place": query_place, "key_place": key_place}
    alt = f"""With the query at place {query_place} the score is {scores[query_place]:.2f} for a key at the same place,
        {scores[key_place]:.2f} at place {key_place}, and {scores[other]:.2f} at place {other}."""
    return Picture(data, figure, alt)


@picture
def layer_norm_picture(names: Sequence[str] = example.FEATURES, values: Sequence[float] = (1, 0, 0, 3)) -> Picture:
    """The token *three* of the running example, before and after."""
    before = torch.tensor(values, dtype=torch.float64)
    after = F.layer_norm(before, (len(values),))
    figure, axes = new_figure(height=1.8)
    draw_matrix(axes, torch.stack([before, after]), ["before", "after"], names)
    data = {"title": "Layer norm", "names": [*names], "values": [*values]}
    told = ", ".join(f"{value:.2f}" for value in after.tolist())
    return Picture(data, figure, f"The features {', '.join(map(str, values))} of one token become {told}.")


BELIEFS = {  # of chapter 11
    (): {"zwanzig": 0.5, "ein": 0.4, "<eos>": 0.1},
    ("zwanzig",): {"ein": 0.4, "und": 0.35, "<eos>": 0.25},
    ("zwanzig", "ein"): {"<eos>": 0.9, "und": 0.1},
    ("zwanzig", "ein", "und"): {"<eos>": 1.0},
    ("zwanzig", "und"): {"ein": 0.8, "<eos>": 0.2},
    ("zwanzig", "und", "ein"): {"<eos>": 1.0},
    ("ein",): {"und": 0.9, "<eos>": 0.1},
    ("ein", "und"): {"zwanzig": 1.0},
    ("ein", "und", "zwanzig"): {"<eos>": 1.0},
}


@picture
def beam_picture(table: Mapping[tuple[str, ...], Mapping[str, float]] = BELIEFS, end: str = "<eos>") -> Picture:
    """All answers of a tiny model; `table` has the next token's probabilities for every beginning."""
    todo, found = [((), 1.0)], {}
    while todo:
        path, probability = todo.pop()
        if path[-1:] == (end,):
            found[" ".join(path[:-1]) or "nothing"] = probability
        else:
            todo += [((*path, token), probability * p) for token, p in table[path].items()]
    answers = dict(sorted(found.items(), key=lambda item: -item[1]))
    figure, axes = new_figure(height=2.8)
    draw_bars(axes, [*answers], [*answers.values()])
    axes.set(xlabel="probability of the whole answer")
    nested = {" ".join(path): dict(row) for path, row in table.items()}
    told = ", ".join(f"{answer} {probability:.2f}" for answer, probability in answers.items())
    return Picture(
        {"title": "Beam search", "table": nested, "end": end}, figure, f"All answers, likeliest first: {told}."
    )


@picture
def cache_picture(steps: int = 4) -> Picture:
    """The head of chapter 1 writes the running example twice."""
    words, tokens = TOKENS * 2, example.VECTORS * 2
    again = torch.arange(steps, 0, -1)
    counts = torch.stack([again, torch.ones(steps)])  # (2, steps)
    figure, axes = new_figure(height=1.8)
    draw_matrix(axes, counts, ["no cache", "cache"], words[:steps], decimals=0, low=0, high=8)
    alt = f"After {steps} tokens the key of the first was computed {steps} times without a cache, and once with one."
    matrices = {"query": example.QUERY, "key": example.KEY, "value": example.VALUE}
    return Picture({"title": "The cache", "words": words, "tokens": tokens, "steps": steps, **matrices}, figure, alt)


@picture
def schedule_picture(d_model: int = 512, warmup: int = 4000, steps: int = 20_000) -> Picture:
    """The learning rates of the paper."""
    at = torch.arange(1, steps + 1, 50, dtype=torch.float64)
    rates = d_model**-0.5 * torch.minimum(at**-0.5, at * warmup**-1.5)
    figure, axes = new_figure(height=2.8)
    draw_lines(axes, at.tolist(), {"": rates.tolist()}, x_label="step", y_label="learning rate", marks=False)
    axes.set(xticks=[0, warmup, steps // 2, steps])
    peak = (d_model * warmup) ** -0.5
    data = {"title": "The schedule", "d_model": d_model, "warmup": warmup, "steps": steps, "widths": [128, 512, 2048]}
    alt = f"The learning rate climbs in a straight line to {peak:.5f} at step {warmup}, then falls, to {rates[-1]:.5f}."
    return Picture(data, figure, alt)
