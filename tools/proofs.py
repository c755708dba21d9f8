"""Write the tables of the page on proofs from what they describe, so that the page cannot say anything else.

    python tools/proofs.py          rewrite chapters/proofs.md

Each table stands between two comments, `<!-- errors: begin -->` and `<!-- errors: end -->`.
"""

import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "chapters" / "proofs.md"
CHAPTERS = {path.stem[:2]: path.name for path in sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))}


def link(chapter: int) -> str:
    """A link to a chapter by its number."""
    return f"[{chapter}]({CHAPTERS[f'{chapter:02}']})"


def laws() -> str:
    """The table of laws: its name and what it says, the chapter that states it first, how many mistakes break it."""
    from registry import MISTAKES, Claim

    from transformer_lib.laws import LAWS

    caught = Counter(law.__name__ for m in MISTAKES if not isinstance(m, Claim) for law in m.laws)
    lines = ["| law | chapter | mistakes that break it |", "|---|--:|--:|"]
    for law in LAWS:
        sentence = law.__doc__.strip().split("\n\n")[0].replace("\n", " ")
        chapter = int(re.search(r"First stated in chapter (\d+)", " ".join(law.__doc__.split()))[1])
        role = f"{{py:func}}`~{law.__module__}.{law.__name__}`"
        lines.append(f"| {role} {' '.join(sentence.split())} | {link(chapter)} | {caught[law.__name__]} |")
    return "\n".join(lines)


def errors() -> str:
    """The table of mistakes: what was wrong (and where it was seen), what catches it, which chapter treats it."""
    from registry import EXHIBITS, MISTAKES, Claim

    lines = ["| # | mistake | caught by | chapter |", "|--:|---|---|---|"]
    for mistake in MISTAKES:
        title = f"[{mistake.title}]({mistake.seen})" if mistake.seen else f"{mistake.title} (no public case known)"
        if isinstance(mistake, Claim):
            caught = "a rule for all chapters" if mistake.words.isidentifier() else "no code: the chapter puts it right"
            place = link(mistake.chapter) if mistake.chapter else "all"
        else:
            names = [question.__name__.removeprefix("check_") for question in mistake.caught_by]
            laws = [question.__name__ for question in mistake.laws]
            caught = ", ".join(f"**{name}**" if name in laws else name for name in names).replace("_", " ")
            title += " ([museum](bug_museum.ipynb))" if mistake.bug in EXHIBITS else ""
            place = link(mistake.chapter)
        lines.append(f"| {mistake.number or ''} | {title} | {caught} | {place} |")
    return "\n".join(lines)


TABLES = {"laws": laws, "errors": errors}


def rewritten(page: str) -> str:
    """Return the page with fresh tables."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        page, found = re.subn(
            f"(?s){begin}.*{end}", lambda _, begin=begin, end=end, table=table: f"{begin}\n\n{table()}\n\n{end}", page
        )
        if found != 1:
            raise ValueError(f"{PAGE.name} must hold {begin} ... {end} once, found {found}")
    return page


if __name__ == "__main__":
    sys.path[:0] = [str(folder) for folder in (ROOT, ROOT / "tests", ROOT / "tests" / "mistakes")]  # as for the tests
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
