"""Draw which chapter needs which, and four paths through them, for the first page: `python tools/reading_paths.py`.

What a chapter needs is what the card at its top says, its minutes too; its name is that of the first page, and the
order that of `_toc.yml`. So a new chapter appears by itself; whether it is the goal of a path is written below.
"""

import json
import re
from html import escape
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "site" / "static" / "paths.svg"
CARD = re.compile(r"> \*\*Before you start\.\*\* (\d+) minutes to read.*? needs ([^;.]+)\.")
# Who takes a path, the page where it is told, and the chapters to read, by number or name.
PATHS = (
    ("I read the paper", "paper_index", (*range(1, 12),)),
    ("I know GPT", "01_self_attention", (*range(1, 9), 10, 11, 13, 14, 16, 17, 18)),
    ("I debug my own", "bug_museum", (2, 5, 6, 10, "bug_museum")),
    ("I teach", "teachers", (*range(1, 11),)),
)


class Chapter(NamedTuple):
    """A notebook: the sign in its disc, its short name, what its card says. Chapters are known by their files."""

    file: str
    sign: str
    name: str
    minutes: int
    needs: frozenset[str]


Book = dict[str, Chapter]


def numbers(words: str) -> set[int]:
    """The chapters that a card names: `chapters 1 and 3`, `chapters 9 to 12`, `no other chapter`.

    Raises:
        ValueError: the words speak of chapters in another way.
    """
    if not (found := re.fullmatch(r"chapters? ([\d, and to]+)", words)):
        if "chapter" in words and words != "no other chapter":
            raise ValueError(f"a card says that its chapter needs {words!r}; only numbers of chapters are understood")
        return set()
    ranges = [part.split(" to ") for part in re.split(r", | and ", found[1])]
    return {number for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)}


def chapters() -> Book:
    """All notebooks in the order of the book."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [Path(entry["file"]).name for part in toc["parts"] for entry in part["chapters"]]
    files = [file for file in files if (ROOT / "chapters" / f"{file}.ipynb").exists()]
    by_number = {int(file[:2]): file for file in files if file[:2].isdigit()}
    index = (ROOT / "chapters" / "index.md").read_text(encoding="utf-8")
    book = {}
    for file in files:
        text = (ROOT / "chapters" / f"{file}.ipynb").read_text(encoding="utf-8")
        (card,) = filter(None, (CARD.search("".join(cell["source"])) for cell in json.loads(text)["cells"]))
        (name,) = re.findall(rf"^\|[ \d]*\| \[([^\]]+)\]\({file}\.ipynb\)", index, re.MULTILINE)
        sign = str(int(file[:2])) if file[:2].isdigit() else name.split()[-1][0].upper()
        book[file] = Chapter(file, sign, name, int(card[1]), frozenset(by_number[n] for n in numbers(card[2])))
    return book


def needed(book: Book, files: set[str] | frozenset[str]) -> set[str]:
    """All that must come before some chapters, near or far."""
    before = {need for file in files for need in book[file].needs}
    return before | needed(book, before) if before else before


def arrows(book: Book) -> list[tuple[str, str]]:
    """From each chapter to those that need it, without the arrows that follow from others."""
    return [(a, b) for b in book for a in book if a in book[b].needs - needed(book, book[b].needs)]


def path(book: Book, goals: tuple[int | str, ...]) -> tuple[set[str], set[str]]:
    """The goals of a path, as far as they are written, and what they need besides."""
    found = {file for file in book if file in goals or (file[:2].isdigit() and int(file[:2]) in goals)}
    return found, needed(book, found) - found


def told(book: Book, goals: tuple[int | str, ...]) -> tuple[str, str]:
    """The minutes of a path, and its stops in words."""
    to_read, on_the_way = path(book, goals)
    words = [c.sign if c.sign.isdigit() else c.name.lower() for c in book.values() if c.file in to_read]
    before = [c.sign for c in book.values() if c.file in on_the_way]
    stops = f"Read {listed(words)}." + (f" Needed before: {listed(before)}." if before else "")
    return f"{sum(book[file].minutes for file in to_read)} minutes", stops


def listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "nothing"


# The drawing. A unit is a pixel at the width of the map, 434.

WIDTH, ROW, LABEL = 434, 32, 25
SIDE, APART, LANE = 12, 22, 8  # from the right edge to the first line; from line to line; from lane to lane
STYLE = """
svg.paths { --edge: light-dark(#59636e, #9aa4af); --text: var(--pst-color-text-base, light-dark(#1f2328, #e6edf3));
  --paper: var(--pst-color-background, light-dark(#ffffff, #0d1117)); --badge: light-dark(#0a5ba8, #9ccaff);
  --on-badge: light-dark(#ffffff, #06213d); --attend: light-dark(#dcebfb, #1c3550);
  display: block; width: 100%; max-width: 31rem; height: auto; margin: 1.5rem auto; }
svg.paths:root { color-scheme: light dark; font-family: system-ui, -apple-system, "Segoe UI", sans-serif; }
.paths .path-0 { color: light-dark(#0a5ba8, #9ccaff); } .paths .path-1 { color: light-dark(#1a6e31, #7ee787); }
.paths .path-2 { color: light-dark(#9a3412, #ffb77c); } .paths .path-3 { color: light-dark(#6639a6, #d2a8ff); }
.paths text { fill: var(--text); font-size: 15px; }
.paths .reader { text-anchor: end; font-weight: 700; }
.paths .box { fill: var(--attend); stroke: var(--edge); stroke-width: 1; }
.paths :is(.tab, .paper) { fill: var(--paper); }
.paths .disc { fill: var(--badge); }
.paths .number { fill: var(--on-badge); font-size: 13.5px; font-weight: 700; text-anchor: middle; }
.paths .arrow { fill: none; stroke: var(--edge); stroke-width: 1.6; marker-end: url(#paths-tip); }
.paths .tip { fill: var(--edge); }
.paths .line { fill: none; stroke: currentColor; stroke-width: 2.5; }
.paths .ring { fill: var(--paper); stroke: currentColor; stroke-width: 2.5; }
.paths .stop { fill: currentColor; }
.paths a { text-decoration: none; }
.paths a:hover :is(.box, .tab), .paths a:focus-visible :is(.box, .tab) { stroke: var(--badge); stroke-width: 3; }
.paths a:focus-visible { outline: 2px solid var(--badge); outline-offset: 1px; }
"""


def lanes(book: Book) -> dict[str, int]:
    """For each chapter with an arrow that passes others, a lane beside them in which no other's runs."""
    order, ends, found = [*book], [], {}  # where the last arrow of each lane ends
    for first, file in enumerate(order):
        last = max((order.index(b) for a, b in arrows(book) if a == file), default=0)
        if last > first + 1:
            found[file] = next((lane for lane, end in enumerate(ends) if end < first), len(ends))
            ends[found[file] : found[file] + 1] = [last]
    return found


def link(page: str, label: str, drawn: str) -> str:
    label = escape(label, quote=True)
    return f'<a href="{page}.html" aria-label="{label}"><title>{label}</title>{drawn}</a>'


def picture() -> str:
    """The whole drawing: arrows at the left, chapters, and a line for each path at the right."""
    book = chapters()
    order, lane = [*book], lanes(book)
    column = 22 + LANE * len({*lane.values()})  # of the discs, beside all lanes
    right = WIDTH - SIDE - APART * len(PATHS) + 8  # where boxes end
    top = 30 + LABEL * len(PATHS)
    height = {file: top + ROW * i for i, file in enumerate(order)}
    tall = top + ROW * (len(book) - 1) + 22
    drawn = []
    for before, file in arrows(book):
        start, end = height[before], height[file]
        if end == start + ROW:
            drawn.append(f'<path class="arrow" d="M{column} {start + 11} V{end - 13}"/>')
        else:
            x = column - 24 - LANE * lane[before]
            bend = f"H{x + 6} Q{x} {start} {x} {start + 6} V{end - 6} Q{x} {end} {x + 6} {end}"
            drawn.append(f'<path class="arrow" d="M{column - 11} {start} {bend} H{column - 13}"/>')
    for i, (reader, page, goals) in enumerate(PATHS):
        x, y = WIDTH - SIDE - APART * i, 20 + LABEL * i
        to_read, on_the_way = path(book, goals)
        minutes, stops = told(book, goals)
        last = max(height[file] for file in to_read)
        drawn += [
            f'<g class="path-{i}">',
            f'<path class="line" d="M{right + 6} {y - 5} H{x - 8} Q{x} {y - 5} {x} {y + 3} V{last}"/>',
            *(f'<circle class="stop" cx="{x}" cy="{height[file]}" r="8"/>' for file in order if file in to_read),
            *(f'<circle class="ring" cx="{x}" cy="{height[file]}" r="6.5"/>' for file in order if file in on_the_way),
            "</g>",
            link(page, f"{reader}: {minutes} to read. {stops}",
                 f'<rect class="tab" x="60" y="{y - 17}" width="{right - 60}" height="23" rx="6"/>'
                 f'<text class="reader" x="{right - 4}" y="{y}">{reader} · {minutes}</text>'),
        ]  # fmt: skip
    for file, chapter in book.items():
        y, needs = height[file], [book[before].sign for before, after in arrows(book) if after == file]
        label = f"{chapter.name} {chapter.sign}. Needs {listed(needs)}. {chapter.minutes} minutes."
        drawn.append(link(file, label,
            f'<rect class="box" x="{column + 14}" y="{y - 13}" width="{right - column - 14}" height="26" rx="6"/>'
            f'<circle class="disc" cx="{column}" cy="{y}" r="11"/>'
            f'<text class="number" x="{column}" y="{y + 5}">{chapter.sign}</text>'
            f'<text x="{column + 18}" y="{y + 5}">{escape(chapter.name)}</text>'))  # fmt: skip
    text = "The chapters in the order of the book; an arrow leads from each to those that need it. Beside them run "
    text += f"{len(PATHS)} lines, with a disc at each chapter to read and a ring at each that is needed before. "
    text += " ".join(f"{reader}: {told(book, goals)[1]}" for reader, _, goals in PATHS)
    return "\n".join([
        f'<svg class="paths" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}" width="{WIDTH}" '
        f'height="{tall}" role="group" aria-labelledby="paths-title" aria-describedby="paths-text">',
        '<title id="paths-title">Which chapter needs which, and four paths through the book</title>',
        f'<desc id="paths-text">{escape(text)}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{tall}"/>',
        '<defs><marker id="paths-tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto"><path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        *drawn,
        "</svg>\n",
    ])  # fmt: skip


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    for reader, _, goals in PATHS:
        print(f"{reader}:", *told(chapters(), goals))
