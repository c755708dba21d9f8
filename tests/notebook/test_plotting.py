"""Figures: none without words, none with swapped labels, the same bytes every time."""

import json
import re
import struct
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt

from transformer_lib import causal_mask
from transformer_lib.notebook import plotting

ALT = "Row three puts 0.7 on hundred and 0.3 on one; every other row is even."


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    """What `show` hands to the notebook."""
    calls: list = []
    monkeypatch.setattr(plotting, "display", lambda data, **options: calls.append((data, options)))
    return calls


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def _figure():
    figure, axes = plotting.new_figure()
    plotting.draw_attention(axes, torch.tensor([[0.7, 0.3], [0.5, 0.5]]), ["three", "one"], ["hundred", "one"])
    return figure


def test_show_hands_over_picture_and_words_and_closes(shown: list) -> None:
    plotting.show(_figure(), alt=f"  {ALT}\n ")
    ((data, options),) = shown
    assert data["text/plain"] == f"[Figure] {ALT}" and options["metadata"] == {"image/png": {"alt": ALT}}
    assert options["raw"] is True and plt.get_fignums() == []
    width, height = struct.unpack(">II", data["image/png"][16:24])
    assert data["image/png"].startswith(b"\x89PNG") and 400 < width < 1000 and 200 < height < 700


NAMES = ("Figure 1: the weights of all of", "Plot of the attention weights of", "Heatmap of the attention weights of")


@pytest.mark.parametrize("alt", ["", "   ", "Too short.", *(f"{name} the four tokens" for name in NAMES)])
def test_show_refuses_words_that_say_nothing(alt: str, shown: list) -> None:
    with pytest.raises(ValueError, match="alt must say in a sentence what the figure shows"):
        plotting.show(_figure(), alt=alt)
    assert shown == []


def test_the_same_figure_gives_the_same_bytes(shown: list) -> None:
    for dpi in (50, 200):
        figure = _figure()
        with plt.rc_context({"savefig.dpi": dpi, "savefig.facecolor": "red"}):  # as a reader may have set them
            plotting.show(figure, alt=ALT)
    assert shown[0][0]["image/png"] == shown[1][0]["image/png"]
    assert b"Software" not in shown[0][0]["image/png"] and b"tIME" not in shown[0][0]["image/png"]


@pytest.mark.parametrize("shape", [(3, 2), (2, 4), (4, 2), (1, 2, 3), (6,)])
def test_swapped_or_missing_labels_are_refused(shape: tuple) -> None:
    _, axes = plotting.new_figure()
    with pytest.raises(ValueError, match="rows are queries, columns are keys"):
        plotting.draw_matrix(axes, torch.zeros(shape), ["a", "b"], ["x", "y", "z"])
    with pytest.raises(ValueError, match=r"got \(2, 3\)"):
        plotting.draw_attention(axes, torch.zeros(shape), ["a", "b"], ["x", "y", "z"])


def test_every_cell_shows_its_number_and_can_be_read() -> None:
    _, axes = plotting.new_figure()
    matrix = torch.tensor([[0.0, 0.25], [1.0, -2.0]], requires_grad=True)
    plotting.draw_matrix(axes, matrix, ["a", "b"], ["x", "y"], decimals=1)
    cells = {(int(t.get_position()[0]), int(t.get_position()[1])): t for t in axes.texts}
    assert [cells[place].get_text() for place in sorted(cells)] == ["0.0", "1.0", "0.2", "-2.0"]
    assert cells[0, 1].get_color() == "white" and cells[1, 1].get_color() == "black"  # dark and light cells
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y"]


def test_attention_is_drawn_from_0_to_1_with_queries_down_and_keys_across() -> None:
    _, axes = plotting.new_figure()
    plotting.draw_attention(axes, torch.tensor([[0.2, 0.3]]), ["q"], ["k", "l"])
    low, high = axes.images[0].get_clim()
    assert low == 0 and abs(high - 1) < 1e-6
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("key", "query")


def test_a_mask_has_a_tick_where_it_is_true() -> None:
    _, axes = plotting.new_figure()
    plotting.draw_mask(axes, causal_mask(3), list("abc"), list("abc"))
    assert sorted(t.get_position() for t in axes.texts) == [(j, i) for j in range(3) for i in range(j, 3)]
    assert {t.get_text() for t in axes.texts} == {"✓"}


def test_lines_differ_in_more_than_colour() -> None:
    _, axes = plotting.new_figure()
    seven = {name: [0.0, float(i)] for i, name in enumerate("abcdefg")}
    plotting.draw_lines(axes, [0.0, 1.0], seven, x_label="x", y_label="y")
    lines = axes.get_lines()
    assert len({line.get_marker() for line in lines}) == len({line.get_color() for line in lines}) == 7
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 7
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list("abcdefg")
    _, axes = plotting.new_figure()
    plotting.draw_lines(axes, [0.0, 1.0], {"one": [0.0, 1.0]}, x_label="x", y_label="y", marks=False)
    assert axes.get_legend() is None and axes.get_lines()[0].get_marker() == "None"


def test_boxes_and_arrows(shown: list) -> None:
    figure, axes = plotting.new_figure()
    axes.set(xlim=(0, 6), ylim=(0, 3))
    plotting.draw_box(axes, 2.0, 1.0, "attention")
    plotting.draw_arrow(axes, (2.0, 1.4), (2.0, 2.0), (3.0, 2.0))
    assert [t.get_text() for t in axes.texts] == ["attention", ""] and len(axes.patches) == 1
    plotting.show(figure, alt=ALT)
    assert len(shown) == 1


@pytest.mark.parametrize("chapter", range(1, 7))
def test_the_map_lights_the_parts_of_one_chapter(chapter: int) -> None:
    _, axes = plotting.new_figure()
    plotting.draw_map(axes, lit=chapter)
    names = [text for text in axes.texts if re.search(r"· \d$", text.get_text())]
    wanted = [text.get_text().endswith(f"· {chapter}") for text in names]
    assert [patch.get_linewidth() > 2 for patch in axes.patches] == wanted and any(wanted)


def test_the_map_names_every_chapter_of_the_model_and_lights_none_unasked() -> None:
    _, axes = plotting.new_figure()
    plotting.draw_map(axes)
    assert set(re.findall(r"· (\d)", " ".join(text.get_text() for text in axes.texts))) == set("123456789")
    assert {patch.get_linewidth() for patch in axes.patches} == {0.8}


CHAPTERS = sorted((Path(__file__).parents[2] / "chapters").glob("0[1-6]_*.ipynb"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_1_to_6_begin_with_the_map_their_part_lit(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    opening = "".join(cells[2]["source"])
    assert f"draw_map(axes, lit={int(path.stem[:2])})" in opening and "image/png" in cells[2]["outputs"][0]["data"]
