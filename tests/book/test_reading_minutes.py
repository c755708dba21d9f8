"""The minutes of a card are its words: those of the chapter, and those of the sections that the next one needs."""

import json
import re
from pathlib import Path

import pytest

CHAPTERS = sorted((Path(__file__).parents[2] / "chapters").glob("*.ipynb"))
WORDS_A_MINUTE = 200
ASIDE = re.compile(r"<details><summary>Aside.*?</details>", re.DOTALL)
MARKUP = re.compile(r"\]\([^)]*\)|<[^>]+>|\$")
CARD = re.compile(r"^> \*\*Before you start\.\*\* (\d+) minutes to read.*$", re.MULTILINE)
SPINE = re.compile(r"In a hurry, read what the next chapter needs, in (\d+) minutes: (.*)\.$")


def words(text: str) -> int:
    return len(re.findall(r"\w+(?:['’.,]\w+)*", MARKUP.sub(" ", text)))


def sections(path: Path, asides: bool = False) -> dict[str, int]:
    """The words under each heading, answers too; without exercises, code and, unless asked for, folded asides."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    told = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown" and "exercise" not in tags(c)]
    text = "\n".join(told) if asides else ASIDE.sub("", "\n".join(told))
    parts = [part.partition("\n")[::2] for part in re.split(r"^#{1,2} ", text, flags=re.MULTILINE)[1:]]
    return {heading: words(heading) + words(rest) for heading, rest in parts}


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def slug(heading: str) -> str:
    """The anchor that MyST gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def card(path: Path) -> re.Match[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (found,) = filter(None, (CARD.search("".join(cell["source"])) for cell in cells))
    return found


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=lambda path: path.stem)
def test_the_minutes_on_the_card_are_those_of_its_words(path):
    """Within a minute, asides read or not. Chapter 0 is mostly pictures."""
    least, most = (sum(sections(path, asides).values()) / WORDS_A_MINUTE for asides in (False, True))
    assert int(least) - 1 <= int(card(path)[1]) <= most + 1
    assert least <= 20, "fold what the next chapter does not need"


@pytest.mark.parametrize("path", CHAPTERS[1:12], ids=lambda path: path.stem)
def test_the_spine_on_the_card_takes_ten_minutes_at_most(path):
    """Chapters 1 to 11: the sections that the card links stand in the chapter, in this order, and have these words."""
    minutes, links = SPINE.search(card(path)[0]).groups()
    linked, found = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", links), sections(path)
    assert [anchor for _, anchor in linked] == [slug(heading) for heading, _ in linked]
    spine = [heading for heading, _ in linked]
    assert spine == [heading for heading in found if heading in spine] and len(spine) > 3
    assert int(minutes) == round(sum(found[heading] for heading in spine) / WORDS_A_MINUTE) <= 10
