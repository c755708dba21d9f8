"""Figures: one style, readable on a phone, and none without a text that says what it shows."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from torch import Tensor

# Okabe and Ito's colour-blind-safe colours; every line also has its own marker and dash.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
DASHES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))]
SPINES = {"axes.spines.top": False, "axes.spines.right": False}
SIZES = {"figure.dpi": 130, "font.size": 12, "axes.titlesize": 12, "figure.constrained_layout.use": True}
STYLE = ["default", {**SPINES, **SIZES}]  # the book's, whatever the reader's own settings are


def new_figure(rows: int = 1, columns: int = 1, *, width: float = 5.4, height: float = 3.4, **subplots) -> tuple:
    """Return a figure and its axes in the book's style; sizes in inches."""
    with plt.style.context(STYLE):
        return plt.subplots(rows, columns, figsize=(width, height), **subplots)


def show(figure: Figure, alt: str) -> None:
    """Show `figure` below the cell and close it.

    Args:
        figure: from `new_figure`.
        alt: what the figure shows, for readers who cannot see it: the finding, with its numbers
            ("hundred puts 0.44 on three and 0.44 on one"), not the kind of picture.

    Raises:
        ValueError: if `alt` is short or only names the kind of picture.
    """
    alt = " ".join(alt.split())
    if len(alt) < 40 or alt.lower().startswith(("figure", "plot of", "image", "chart of", "heatmap of", "graph of")):
        raise ValueError(f"alt must say in a sentence what the figure shows, the finding and its numbers, got {alt!r}")
    drawn, file = io.BytesIO(), io.BytesIO()
    with plt.style.context(STYLE):
        figure.savefig(drawn, format="png")
    plt.close(figure)
    picture = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)  # a third of the size
    picture.save(file, format="png", optimize=True)
    data = {"image/png": file.getvalue(), "text/plain": f"[Figure] {alt}"}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)


def draw_matrix(
    axes: Axes,
    matrix: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    decimals: int | None = 2,
    low: float | None = None,
    high: float | None = None,
    x_label: str = "",
    y_label: str = "",
) -> None:
    """Draw a matrix as shaded cells, each with its number (unless `decimals` is None).

    Raises:
        ValueError: if there is not one label for each row and each column, so that rows (queries) and columns (keys)
            cannot be swapped.
    """
    values = matrix.detach().cpu().double().numpy()  # in this order: Apple's device has no float64
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"matrix of shape {values.shape} needs {values.shape} labels, got {(len(rows), len(columns))}; "
            "rows are queries, columns are keys"
        )
    low = float(values.min() if low is None else low)
    high = float(values.max() if high is None else high)
    axes.imshow(values, cmap="Blues", vmin=low, vmax=high + 1e-9, aspect="auto")
    slanted = {"rotation": 40, "ha": "right"} if max(map(len, columns)) > 4 else {}
    axes.set_xticks(range(len(columns)), columns, **slanted)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.tick_params(length=0)
    if decimals is not None:
        middle = low + 0.65 * (high - low)  # where white and black text stand out alike
        for (i, j), value in np.ndenumerate(values):
            color = "white" if value > middle else "black"
            axes.text(j, i, f"{value:.{decimals}f}", ha="center", va="center", color=color)


def draw_attention(axes: Axes, weights: Tensor, queries: Sequence[str], keys: Sequence[str], **options: Any) -> None:
    """Draw attention weights `(q_len, kv_len)`: one row per query, one column per key, from 0 to 1.

    `options` are those of `draw_matrix`.
    """
    ways = {"low": 0.0, "high": 1.0, "x_label": "key", "y_label": "query", **options}
    draw_matrix(axes, weights, queries, keys, **ways)


def draw_mask(axes: Axes, mask: Tensor, queries: Sequence[str], keys: Sequence[str], *, title: str = "") -> None:
    """Draw a boolean mask `(q_len, kv_len)`: dark with a tick where the query may attend, light and empty where not."""
    draw_attention(axes, mask, queries, keys, decimals=None, high=1.4, title=title)
    for i, j in mask.nonzero().tolist():
        axes.text(j, i, "✓", ha="center", va="center", color="white")


def draw_lines(
    axes: Axes,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    marks: bool = True,
) -> None:
    """Draw named lines, each told apart by colour, dash and marker, with a legend when there are several."""
    for i, (name, y) in enumerate(lines.items()):
        marker = MARKERS[i % len(MARKERS)] if marks else None
        axes.plot(x, y, color=COLORS[i % len(COLORS)], linestyle=DASHES[i % len(DASHES)], marker=marker, label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    if len(lines) > 1:
        axes.legend(frameon=False)


def draw_box(
    axes: Axes, x: float, y: float, text: str, *, width: float = 2.0, height: float = 0.7, color: str = "#DCEAF7"
) -> None:
    """Draw one part of an architecture: a box with its name, centred at `(x, y)`."""
    corner, style = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=color, edgecolor="black"))
    axes.text(x, y, text, ha="center", va="center", color="black")


def draw_arrow(axes: Axes, *points: tuple[float, float], dash: str = "-") -> None:
    """Draw a line through `points`, with an arrow head at the last one."""
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color="black", linewidth=1.2, linestyle=dash)
    head = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", points[-1], points[-2], arrowprops=head)


# The towers of the map, by their middle: parts, each with the chapter that builds it; "" is the way to the next.
START = ["", "embedding · 6", "", "position · 4", ""]
THINK = ["feed-forward · 6", "add & norm · 5", ""]
LOOK = ["self-attention · 1|heads · 3", "padding mask · 2", "add & norm · 5", ""]
LOOK_BACK = ["self-attention · 1|heads · 3", "causal mask · 2", "add & norm · 5", ""]
LOOK_ACROSS = ["cross-attention · 8|heads · 3", "padding mask · 2", "add & norm · 5", ""]
TOWERS = {2.5: START + LOOK + THINK[:-1], 7.5: START + LOOK_BACK + LOOK_ACROSS + THINK + ["linear, softmax · 9", ""]}


def draw_map(axes: Axes, lit: int | None = None) -> None:
    """Draw the map of the Transformer: words enter at the top, the next word leaves at the bottom.

    The parts that chapter `lit` builds stand out by colour and a thick frame.
    """
    axes.set(xlim=(0, 10), ylim=(13.4, 0))
    axes.axis("off")
    for middle, rows in TOWERS.items():
        y, side = 0.7, 1 if middle > 5 else -1  # the residual connections run outside
        for row in rows:
            if row == "":
                draw_arrow(axes, (middle, y), (middle, y + 0.6))
                turn, y = y + 0.25, y + 0.6
                continue
            left, widths = middle - 2.1, (2.75, 1.45) if "|" in row else (4.2,)
            for part, width in zip(row.split("|"), widths, strict=True):
                here = part.endswith(f"· {lit}")
                draw_box(axes, left + width / 2, y + 0.35, part, width=width, color="#F6C667" if here else "white")
                axes.patches[-1].set(linewidth=2.2 if here else 0.8, zorder=1.5 if here else 1)
                left += width
            y += 0.7
            if row.startswith("add"):
                out, into = middle + 2.4 * side, (middle + 2.1 * side, y - 0.35)
                draw_arrow(axes, (middle, turn), (out, turn), (out, y - 0.35), into)
    draw_arrow(axes, (2.5, 8.0), (2.5, 8.6), (5.0, 8.6), (5.0, 6.95), (5.4, 6.95))
    words = {"three hundred twenty one": (2.5, 0.35), "drei hundert ein und": (7.5, 0.35), "zwanzig": (7.5, 12.95)}
    notes = {"memory": (3.75, 8.95), "encoder · 7\nN layers": (1.2, 8.65), "decoder · 8\nN layers": (4.35, 10.7)}
    for text, (x, y) in {**words, **notes}.items():
        axes.text(x, y, text, ha="center", va="center", style="italic" if text in words else "normal")
    for text in axes.texts:
        text.set_fontsize(9.5)
