"""The drawing of the paths on the first page: in step with the cards of the chapters, whatever these say."""

import json
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
import reading_paths as tool

ROOT = Path(__file__).resolve().parents[2]
BOOK = tool.chapters()
PATHS = {reader: tool.path(BOOK, goals) for reader, _, goals in tool.PATHS}
SVG = "{http://www.w3.org/2000/svg}"


def chapter(file, *needs):
    return tool.Chapter(file, file, file, 10, frozenset(needs))


def test_the_drawing_says_what_the_cards_say():
    assert tool.PICTURE.read_text(encoding="utf-8") == tool.picture(), "run python tools/reading_paths.py"


def test_it_has_every_chapter_a_name_and_the_words_for_those_who_do_not_see_it():
    drawing = ElementTree.fromstring(tool.picture())
    linked = [a.get("href").removesuffix(".html") for a in drawing.iter(f"{SVG}a")]
    assert linked[len(PATHS) :] == [*BOOK] and len(BOOK) == len(list((ROOT / "chapters").glob("*.ipynb")))
    assert [page for page in linked if not any((ROOT / "chapters").glob(f"{page}.*"))] == []
    for a in drawing.iter(f"{SVG}a"):
        assert a.find(f"{SVG}title").text == a.get("aria-label")
    names = {element.get("id"): element.text for element in drawing if element.get("id")}
    assert names[drawing.get("aria-labelledby")]
    assert all(f"{reader}: Read " in names[drawing.get("aria-describedby")] for reader in PATHS)
    assert len(names) == 2 and not {"map-title", "map-text"} & {*names}, "two drawings on one page"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("chapter 1", {1}),
        ("chapters 1 and 3", {1, 3}),
        ("chapters 9 to 12", {9, 10, 11, 12}),
        ("chapters 2, 3, 6 to 8 and 10", {2, 3, 6, 7, 8, 10}),
        ("no other chapter", set()),
        ("a little PyTorch and the matrix product", set()),
    ],
)
def test_a_card_is_understood(words, named):
    assert tool.numbers(words) == named


def test_a_card_that_is_not_understood_is_told():
    with pytest.raises(ValueError, match="the second chapter"):
        tool.numbers("the second chapter")


def test_what_a_chapter_needs_comes_before_it_and_every_arrow_is_needed():
    order = [*BOOK]
    for file, found in BOOK.items():
        assert all(order.index(before) < order.index(file) for before in found.needs)
    reached = {file: set() for file in order}
    for file in order:
        for before, after in tool.arrows(BOOK):
            if after == file:
                reached[file] |= {before} | reached[before]
    assert all(reached[file] == tool.needed(BOOK, {file}) for file in order)


def test_arrows_that_follow_from_others_are_left_out_and_lanes_do_not_meet():
    book = {
        c.file: c
        for c in (chapter("a"), chapter("b", "a"), chapter("c", "a", "b"), chapter("d", "a"), chapter("e", "b"))
    }
    assert tool.arrows(book) == [("a", "b"), ("b", "c"), ("a", "d"), ("b", "e")]
    lanes = tool.lanes(book)
    assert lanes.keys() == {"a", "b"} and lanes["a"] != lanes["b"]
    later = [chapter("a"), chapter("b"), chapter("c", "a"), chapter("d"), chapter("e"), chapter("f", "d")]
    assert tool.lanes({c.file: c for c in later}) == {"a": 0, "d": 0}


def test_nothing_is_missing_on_a_path():
    for goals, on_the_way in PATHS.values():
        assert goals and not goals & on_the_way
        assert all(BOOK[stop].needs <= goals | on_the_way for stop in goals | on_the_way)
        assert all(any(stop in tool.needed(BOOK, {goal}) for goal in goals) for stop in on_the_way)


def test_what_is_told_of_a_path():
    found = (chapter("a"), chapter("b", "a"), chapter("c", "b"), chapter("d"))
    book = {c.file: c._replace(sign=sign) for c, sign in zip(found, "123D", strict=True)}
    assert tool.told(book, ("b", "c", "d")) == ("30 minutes", "Read 2, 3 and d. Needed before: 1.")
    assert tool.told(book, ("a", 7)) == ("10 minutes", "Read 1."), "a goal that is not written yet"


def test_chapters_that_come_are_drawn_by_themselves(monkeypatch, tmp_path):
    """Two stubs with a card each, a line on the first page, and a part of their own in `_toc.yml`."""
    (tmp_path / "chapters").mkdir()
    for page in (ROOT / "chapters").glob("*.ipynb"):
        (tmp_path / "chapters" / page.name).symlink_to(page)
    index, toc = ((ROOT / name).read_text(encoding="utf-8") for name in ("chapters/index.md", "_toc.yml"))
    toc += "  - caption: Beyond the book\n    numbered: true\n    chapters:\n"
    for n, needs in ((97, "chapters 7, 9 and 11"), (98, "chapter 97")):
        card = f"> **Before you start.** {n} minutes to read, 9 seconds to run; needs {needs}. It rains."
        stub = json.dumps({"cells": [{"cell_type": "markdown", "source": ["# A stub\n", "\n", card]}]})
        (tmp_path / "chapters" / f"{n}_stub.ipynb").write_text(stub, encoding="utf-8")
        toc += f"      - file: chapters/{n}_stub\n"
        index += f"| {n} | [Stub {n}]({n}_stub.ipynb) | A question? | {n} |\n"
    (tmp_path / "chapters" / "index.md").write_text(index, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    book = tool.chapters()
    assert [*book][-2:] == ["97_stub", "98_stub"] and {**BOOK, **book} == book
    assert book["98_stub"] == ("98_stub", "98", "Stub 98", 98, {"97_stub"})
    assert [arrow for arrow in tool.arrows(book) if "_stub" in arrow[1]] == [
        ("11_decoding", "97_stub"), ("97_stub", "98_stub"),
    ]  # fmt: skip
    links = [a.get("href") for a in ElementTree.fromstring(tool.picture()).iter(f"{SVG}a")]
    assert links[-2:] == ["97_stub.html", "98_stub.html"] and len(links) == len(PATHS) + len(book)


def test_the_paths_are_those_of_the_pages():
    proofs = (ROOT / "chapters" / "proofs.md").read_text(encoding="utf-8")
    mistakes = Counter(
        re.findall(r"\| \[\d+\]\((\w+)\.ipynb\) \|$", proofs.partition("errors: begin")[2], re.MULTILINE)
    )
    debug = PATHS["I debug my own"][0] - {"bug_museum"}
    others = {file: count for file, count in mistakes.items() if file not in debug}
    assert min(mistakes[file] for file in debug) > max(others.values()), "the chapters with the most known mistakes"
    teachers = (ROOT / "chapters" / "teachers.md").read_text(encoding="utf-8")
    (week,) = re.findall(r"^\| one week, .*?\[(\d+)\]\(.*? to \[(\d+)\]\(", teachers, re.MULTILINE)
    numbers = sorted(int(file[:2]) for file in PATHS["I teach"][0])
    assert numbers == [*range(int(week[0]), int(week[1]) + 1)]
    index = (ROOT / "chapters" / "index.md").read_text(encoding="utf-8")
    assert all(f"**{reader}.**" in index for reader in PATHS) and "site/static/paths.svg" in index
