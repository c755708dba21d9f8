"""What a page says of itself where somebody finds or shares it: its question, its card, and which comes next."""

import base64
import html
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from sphinx.application import Sphinx

SIZE = 1200, 630  # of a card, in pixels: what the places that show cards ask for
INK, ACCENT, PAPER = "#14181e", "#0a5ba8", "#ffffff"
BOOK = "The Transformer, Piece by Piece"
ROW = re.compile(r"^\| (\d*) ?\| \[(.+?)\]\((\w+)\.(?:ipynb|md)\) \| (.+?) \| (\d+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Chapter:
    """A line of the table on the first page."""

    number: str  # empty for what stands between the numbers
    title: str
    name: str
    question: str
    minutes: str


def chapters(source: Path) -> dict[str, Chapter]:
    """The chapters by the names of their pages, in the order of the book."""
    table = (source / "chapters" / "index.md").read_text(encoding="utf-8")
    found = (Chapter(*(cell.replace("*", "") for cell in row)) for row in ROW.findall(table))
    return {f"chapters/{chapter.name}": chapter for chapter in found}


def tell_the_question(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Hand the templates the chapter of a page and its neighbours, and say on its card what it asks."""
    every = chapters(Path(app.srcdir))
    chapter = every.get(pagename)
    _, before, after = app.builder.relations.get(pagename, (None, None, None))
    context |= {"every_chapter": list(every.values()), "chapter": chapter}
    context |= {"chapter_before": every.get(before), "chapter_after": every.get(after)}
    if not doctree or not every:
        return
    card = {
        "og:title": chapter.question if chapter else html.unescape(re.sub(r"<[^>]+>", "", context["title"])),
        "og:image": f"{app.config.html_baseurl}_static/cards/{chapter.name if chapter else 'book'}.png",
        "og:image:alt": f"{chapter.question} {chapter.title}, in {BOOK}" if chapter else BOOK,
        "og:image:width": str(SIZE[0]),
        "og:image:height": str(SIZE[1]),
    }
    context["meta"] = {**(context["meta"] or {}), **card}


def figure(notebook: Path) -> Image.Image | None:
    """The first figure of a chapter that is not the map, which looks alike in all of them."""
    if notebook.suffix != ".ipynb" or not notebook.exists():
        return None
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = (o for c in cells if "draw_map" not in "".join(c["source"]) for o in c.get("outputs", ()))
    found = next((o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})), None)
    return found and Image.open(io.BytesIO(base64.b64decode(found)))


def lines(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines that are no wider than this."""
    made = [""]
    for word in text.split():
        if made[-1] and font.getlength(f"{made[-1]} {word}") > width:
            made.append("")
        made[-1] = f"{made[-1]} {word}".strip()
    return made


def card(question: str, above: str, below: str, motif: Image.Image) -> Image.Image:
    """A picture that says what a page asks, with a figure of it."""
    made = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(made)
    draw.rectangle((0, 0, 24, SIZE[1]), ACCENT)
    small, size = ImageFont.load_default(30), 64
    while len(text := lines(question, large := ImageFont.load_default(size), 530)) * size * 1.25 > 360:
        size -= 4
    draw.text((72, 64), above, ACCENT, small, stroke_width=0.5, stroke_fill=ACCENT)
    for row, line in enumerate(text):
        draw.text((72, 140 + row * size * 1.25), line, INK, large, stroke_width=0.7, stroke_fill=INK)
    draw.text((72, 530), below, INK, small)
    motif = motif.convert("RGBA")
    scale = min(500 / motif.width, 500 / motif.height)
    motif = motif.resize((round(motif.width * scale), round(motif.height * scale)), Image.Resampling.LANCZOS)
    made.paste(motif, (900 - motif.width // 2, 315 - motif.height // 2), motif)
    return made.quantize(64)  # a quarter of the bytes


def draw_cards(app: Sphinx, exception: Exception | None) -> None:
    """Draw the card of each chapter, and that of the book for all other pages."""
    if exception is not None or app.builder.format != "html" or not (every := chapters(Path(app.srcdir))):
        return
    folder = Path(app.outdir) / "_static" / "cards"
    folder.mkdir(parents=True, exist_ok=True)
    book = Image.open(Path(app.srcdir) / "site" / "static" / "first_page.png")
    minutes = sum(int(chapter.minutes) for chapter in every.values())
    card("How does a Transformer work, piece by piece?", BOOK, f"{len(every)} chapters, {minutes} minutes", book).save(
        folder / "book.png"
    )
    for page, chapter in every.items():
        above = f"{chapter.number}. {chapter.title}" if chapter.number else chapter.title
        motif = figure(Path(app.env.doc2path(page))) or book
        card(chapter.question, above, f"{BOOK} · {chapter.minutes} minutes", motif).save(folder / f"{chapter.name}.png")


def setup(app: Sphinx) -> dict:
    app.add_js_file("progress.js")
    app.connect("html-page-context", tell_the_question, priority=100)  # before the tags are made of it
    app.connect("build-finished", draw_cards)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
