"""The live figure of rotary positions (chapter 17), in a file of its own: the others are older than it."""

import torch
from matplotlib.patches import Circle

from transformer_lib.notebook.live import display_live
from transformer_lib.notebook.live.pictures import Picture, clocks, picture
from transformer_lib.notebook.plotting import COLORS, draw_lines, new_figure


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


def show_rotary() -> None:
    """Show the figure below the cell."""
    display_live("rotary", rotary_picture())
