"""The glossary: each term once, and met in the chapters that its entry names."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))


def test_glossary_terms_are_found_by_their_anchor():
    terms = re.findall(r"^### (.+)$", (ROOT / "chapters" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) == len(set(terms)) > 50


def unmet_terms(glossary, chapters):
    """The terms that a chapter named in their entry does not hold, word by word (by the first four letters)."""
    for term, entry in re.findall(r"^### (.+)\n\n(.+)$", glossary, re.MULTILINE):
        for number in re.findall(r"(?:First|explained) in \[chapter (\d+)\]", entry):
            words = re.findall("[a-z]+", term.lower())
            if any(word[:4] not in chapters[int(number)] for word in words):
                yield f"{term}: not in chapter {number}"


def sources(path):
    """Text and code of a chapter, in lower case, without outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells).lower()


def test_glossary_terms_are_met_in_the_chapters_that_they_name():
    glossary = (ROOT / "chapters" / "glossary.md").read_text(encoding="utf-8")
    assert list(unmet_terms(glossary, {int(path.stem[:2]): sources(path) for path in CHAPTERS})) == []
    assert len(re.findall(r"First in \[chapter", glossary)) > 50
