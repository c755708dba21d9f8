"""Live figures in a notebook: a picture with its words, and below it a frame; on a page both in one output."""

import html
import json
import re

import nbformat
import pytest
import torch
from matplotlib import pyplot as plt
from nbclient import NotebookClient

from transformer_lib.notebook import live
from transformer_lib.notebook.live import low_rank  # whose picture is entered too
from transformer_lib.notebook.live.pictures import PICTURES, Picture


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def run(code: str, monkeypatch: pytest.MonkeyPatch, page: str) -> list:
    """The outputs of a cell in a fresh kernel."""
    monkeypatch.setenv("BOOK_PAGE", page)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    return notebook.cells[0].outputs


SHOW = "from transformer_lib.notebook import live\nlive.show('softmax', scores=[3, 1, 0, 2])"


def test_in_a_notebook_a_picture_and_a_frame(monkeypatch):
    picture, frame = run(SHOW, monkeypatch, "")
    assert picture.data["image/png"].startswith("iVBOR") and live.MIME not in picture.data
    alt = picture.metadata["image/png"]["alt"]
    assert "3, 1, 0, 2" in alt and picture.data["text/plain"] == f"[Figure] {alt}"
    assert frame.data["text/html"].startswith('<iframe title="Softmax and temperature"')
    assert frame.data["text/plain"] == "[Live figure] Softmax and temperature"


def test_on_a_page_one_output_whose_element_only_the_page_knows(monkeypatch):
    (both,) = run(SHOW, monkeypatch, "1")
    assert both.data.keys() == {"image/png", "text/plain", live.MIME}
    assert both.metadata["image/png"]["alt"]
    data = re.fullmatch(r"<live-figure kind=\"softmax\" data='([^'<]*)'></live-figure>", both.data[live.MIME])[1]
    assert json.loads(html.unescape(data))["scores"] == [3, 1, 0, 2]


def test_an_element_holds_any_text():
    data = {"title": "<b> & 'quoted' \"twice\" √"}
    shown = live.element("softmax", data)
    assert json.loads(html.unescape(re.search("data='([^']*)'", shown)[1])) == data and "<b>" not in shown


def test_a_frame_holds_all_that_a_figure_needs(tmp_path, monkeypatch):
    (tmp_path / "figures").mkdir()
    for name in ("live.js", "live.css"):
        (tmp_path / name).write_bytes((live.FOLDER / name).read_bytes())
    (tmp_path / "figures" / "one.js").write_text(
        'Live.define("one", {\n  needs: ["engine", "model"], // "</script>"\n})'
    )
    (tmp_path / "engine.js").write_text("const Engine = 'the engine'")
    monkeypatch.setattr(live, "FOLDER", tmp_path)
    page = html.unescape(re.search('srcdoc="([^"]*)"', live.frame("one", {}, scripts=["the weights"]))[1])
    assert page.count("<script>") == page.count("</script>") == 5  # shared parts, engine, weights, figure, its height
    order = ("class LiveFigure", "the engine", "the weights", 'define("one"', "<live-figure")
    places = [page.rindex(part) for part in order]
    assert places == sorted(places)


def test_show_refuses_what_there_is_not():
    with pytest.raises(ValueError, match=r"kind must be one of softmax, .*; got 'pie'"):
        live.show("pie")


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_starts_where_its_script_does_and_says_what_it_shows(kind):
    made = PICTURES[kind]()
    assert isinstance(made, Picture) and (live.FOLDER / "figures" / f"{kind}.js").is_file()
    assert json.loads(json.dumps(made.data)) == made.data and made.data["title"]
    assert len(json.dumps(made.data)) < 2_000  # it is stored in the chapter
    assert len(made.alt) >= 40 and re.search(r"\d", made.alt)


def test_every_number_that_a_figure_is_given_is_the_same_on_every_machine():
    """None is the end of a computation that machines round differently: whole, or given with two decimals."""

    def numbers(value):
        if isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                yield from numbers(part)
        elif isinstance(value, float):
            yield value

    found = [number for kind in PICTURES for number in numbers(PICTURES[kind]().data)]
    assert found and all(number == round(number, 2) for number in found)


def test_the_script_of_a_figure_speaks_of_no_other_site():
    for path in (*live.FOLDER.rglob("*.js"), *live.FOLDER.rglob("*.css")):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text and "import" not in text, path.name


def test_of_two_changes_one_has_few_directions():
    few, many = (torch.linalg.svdvals(change).square() for change in low_rank.two_changes().values())
    assert few[:3].sum() / few.sum() > 0.98 and many[:3].sum() / many.sum() < 0.62


def test_the_picture_of_the_beam_takes_another_table():
    table = {(): {"a": 0.75, "b": 0.25}, ("a",): {"b": 1.0}}
    made = PICTURES["beam"](table=table, end="b")
    assert made.data["table"] == {"": {"a": 0.75, "b": 0.25}, "a": {"b": 1.0}}
    assert "a 0.75, nothing 0.25" in made.alt


def test_the_same_seed_draws_the_same_products():
    before = torch.get_rng_state()
    one, two = (PICTURES["dot_product"]().data["products"] for _ in range(2))
    assert one == two and torch.equal(before, torch.get_rng_state())  # and nobody else's numbers are touched
