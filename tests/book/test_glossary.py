"""The glossary: each term once, and met in the chapter that its entry names."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
GLOSSARY = (ROOT / "chapters" / "glossary.md").read_text(encoding="utf-8")


def entries(glossary):
    """The terms of a definition list, each with its definition."""
    return re.findall(r"^(\S.*)\n: (.+)$", glossary, re.MULTILINE)


def test_every_term_stands_once_and_is_defined():
    terms = [term for term, _ in entries(GLOSSARY)]
    assert len(terms) == len({term.lower() for term in terms}) > 100
    assert len(terms) == len(re.findall(r"^: ", GLOSSARY, re.MULTILINE)), "an entry is no definition list"


def unmet_terms(glossary, chapters):
    """The terms that the chapter named in their entry does not hold, word by word (by the first four letters)."""
    for term, entry in entries(glossary):
        for number in re.findall(r"\(\[chapter (\d+)\]", entry):
            words = re.findall("[a-z]+", term.lower())
            if any(word[:4] not in chapters[int(number)] for word in words):
                yield f"{term}: not in chapter {number}"


def sources(path):
    """Text and code of a chapter, in lower case, without outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells).lower()


def test_glossary_terms_are_met_in_the_chapters_that_they_name():
    assert list(unmet_terms(GLOSSARY, {int(path.stem[:2]): sources(path) for path in CHAPTERS})) == []
    assert len(re.findall(r"\(\[chapter \d", GLOSSARY)) > 80


def test_an_unmet_term_is_seen():
    entry = "residual connection\n: Adds. ([chapter 5](05.ipynb))\n"
    assert list(unmet_terms(entry, {5: "a residual of something"})) == ["residual connection: not in chapter 5"]
    assert list(unmet_terms(entry, {5: "residual connections"})) == []
