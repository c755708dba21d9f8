"""The map of the architecture, drawn once: inline with links on the first page, as a file for the README.

`python _ext/architecture.py` writes `_static/architecture.svg`; a test asks that it is up to date.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "_static" / "architecture.svg"

QUESTIONS = {
    1: ("01_self_attention", "How can a word look at the other words?"),
    2: ("02_masks", "Who may look at whom?"),
    3: ("03_multi_head_attention", "What if a word has more than one question?"),
    4: ("04_positional_encoding", "How does attention know the order of the words?"),
    5: ("05_residuals_and_layer_norm", "How can a network be deep and still learn?"),
    6: ("06_feed_forward_and_embeddings", "Where does the thinking happen, and where do the parameters live?"),
    7: ("07_encoder", "How does the encoder read a sentence?"),
    8: ("08_decoder", "How does the decoder write a sentence?"),
    9: ("09_transformer", "How do the parts make one Transformer?"),
    10: ("10_training", "How does a model learn to translate?"),
    11: ("11_decoding", "How do we make a sentence out of that?"),
    12: ("12_pronunciation", "How good is our Transformer at something that other people have measured too?"),
    13: ("13_translation", "What changes when the words are a language?"),
    14: ("14_speed", "What need not be computed, and what is it worth to leave it out?"),
    15: ("15_more_than_one_machine", "How can several computers train one model, and come to the same result as one?"),
}


@dataclass(frozen=True)
class Box:
    """A part of the model, drawn as a box that leads to the chapter it is built in."""

    name: str
    chapter: int
    kind: str  # the class that colours it
    x: float
    y: float
    width: float
    height: float


LEFT, RIGHT, WIDTH, HALF = 28, 248, 172, 86  # where the boxes of the two stacks begin, and how wide they are
BOXES = [
    Box("Embedding", 6, "embed", LEFT, 86, WIDTH, 40),
    Box("Position", 4, "embed", LEFT, 142, WIDTH, 40),
    Box("Self-attention", 1, "attend", LEFT, 252, WIDTH, 38),
    Box("many heads", 3, "attend", LEFT, 290, WIDTH, 34),
    Box("Add & norm", 5, "norm", LEFT, 338, WIDTH, 34),
    Box("Feed-forward", 6, "think", LEFT, 400, WIDTH, 44),
    Box("Add & norm", 5, "norm", LEFT, 458, WIDTH, 34),
    Box("Embedding", 6, "embed", RIGHT, 86, WIDTH, 40),
    Box("Position", 4, "embed", RIGHT, 142, WIDTH, 40),
    Box("Self-attention", 1, "attend", RIGHT, 252, WIDTH, 38),
    Box("causal mask", 2, "attend", RIGHT, 290, WIDTH, 34),
    Box("Add & norm", 5, "norm", RIGHT, 338, WIDTH, 34),
    Box("Cross-attention", 8, "attend", RIGHT, 400, WIDTH, 44),
    Box("Add & norm", 5, "norm", RIGHT, 458, WIDTH, 34),
    Box("Feed-forward", 6, "think", RIGHT, 520, WIDTH, 44),
    Box("Add & norm", 5, "norm", RIGHT, 578, WIDTH, 34),
    Box("Linear + softmax", 9, "embed", RIGHT, 648, WIDTH, 40),
    Box("Training", 10, "train", LEFT, 724, WIDTH, 72),
]
FRAMES = [  # drawn behind the boxes; only the title is a link
    Box("Transformer", 9, "frame", 2, 50, 430, 654),
    Box("Encoder", 7, "frame", 10, 210, 198, 294),
    Box("Decoder", 8, "frame", 230, 210, 198, 414),
]
ARROWS = [
    *(f"M{x + HALF} {a} V{b}" for x in (LEFT, RIGHT) for a, b in ((26, 84), (126, 140), (182, 250))),
    *(f"M{LEFT + HALF} {a} V{b}" for a, b in ((324, 336), (372, 398), (444, 456))),
    *(f"M{RIGHT + HALF} {a} V{b}" for a, b in ((324, 336), (372, 398), (444, 456), (492, 518), (564, 576), (612, 646))),
    f"M{RIGHT + HALF} 688 V740",
    f"M{RIGHT + HALF - 38} 760 H{LEFT + WIDTH + 4}",
]
MEMORY = (
    f"M{LEFT + HALF} 492 V522 Q{LEFT + HALF} 532 {LEFT + HALF + 10} 532 "
    f"H209 Q219 532 219 522 V432 Q219 422 229 422 H{RIGHT - 3}"
)
AROUND = [  # the residual paths: past attention and feed-forward, into add & norm
    f"M{x + HALF} {a} H{x - 2} Q{x - 10} {a} {x - 10} {a + 8} V{b - 8} Q{x - 10} {b} {x - 2} {b} H{x}"
    for x, rows in ((LEFT, ((240, 355), (386, 475))), (RIGHT, ((240, 355), (386, 475), (506, 595))))
    for a, b in rows
]


def badge(x: float, y: float, number: int) -> str:
    """The number of a chapter in a disc."""
    disc = f'<circle class="disc" cx="{x:g}" cy="{y:g}" r="11"/>'
    return disc + f'<text class="number" x="{x:g}" y="{y + 5:g}">{number}</text>'


def linked(body: str, box: Box, links: bool) -> str:
    """`body` as a link to the chapter of `box`; without links only as a group with a title."""
    page, question = QUESTIONS[box.chapter]
    title = f"{box.name} {box.chapter}. {question}"
    if not links:
        return f"<g><title>{escape(title)}</title>{body}</g>"
    return f'<a href="{page}.html" aria-label="{escape(title)}"><title>{escape(question)}</title>{body}</a>'


def draw_box(box: Box, links: bool) -> str:
    """One box: rectangle, name, number of its chapter."""
    middle = box.y + box.height / 2
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
    rect = f'<rect class="box {box.kind}" {place} rx="8"/>'
    lines = [f'<text x="{box.x + 9:g}" y="{middle + 5:g}">{escape(box.name)}</text>']
    if box.kind == "train":
        middle = box.y + 22
        lines = [
            f'<text x="{box.x + 9:g}" y="{middle + 5:g}">{box.name}</text>',
            f'<text class="small" x="{box.x + 9:g}" y="{middle + 26:g}">how far from the true</text>',
            f'<text class="small" x="{box.x + 9:g}" y="{middle + 43:g}">word? mend the weights</text>',
        ]
    return linked(rect + "".join(lines) + badge(box.x + box.width - 16, middle, box.chapter), box, links)


def draw_frame(box: Box, links: bool) -> str:
    """A dashed frame around what belongs together, its title a link."""
    rect = f'<rect class="frame" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="14"/>'
    width = 8.6 * len(box.name) + 48
    left = 217 - width / 2 if box.name == "Transformer" else box.x - 8
    tab = f'<rect class="tab" x="{left:g}" y="{box.y - 15:g}" width="{width:g}" height="30" rx="15"/>'
    name = f'<text x="{left + 12:g}" y="{box.y + 5:g}">{box.name}</text>'
    return rect + linked(tab + name + badge(left + width - 16, box.y, box.chapter), box, links)


def draw(links: bool) -> str:
    """The inside of the picture."""
    words = [
        (LEFT + HALF, 18, "three hundred twenty one", "word"),
        (RIGHT + HALF, 18, "drei hundert ein und", "word"),
        (RIGHT + HALF, 765, "zwanzig", "word strong"),
        (LEFT + HALF - 4, 552, "memory: one vector a word", "small centre"),
        (LEFT + HALF + 10, 232, "× N", "small"),
        (RIGHT + HALF + 10, 232, "× N", "small"),
    ]
    parts = [draw_frame(frame, links) for frame in FRAMES]
    parts += [f'<path class="around" d="{d}"/>' for d in AROUND]
    parts += [f'<path class="arrow" d="{d}"/>' for d in [*ARROWS, MEMORY]]
    parts += [f'<text class="{kind}" x="{x:g}" y="{y}">{text}</text>' for x, y, text, kind in words]
    parts += [draw_box(box, links) for box in BOXES]
    return "\n".join(parts)


DEFS = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
)
DESCRIPTION = (
    "The words three hundred twenty one enter at the left, get embeddings and positions, and pass through the layers "
    "of the encoder. The German words written so far enter at the right and pass through the layers of the decoder, "
    "whose cross-attention also reads the encoder's memory. A linear layer and a softmax give the next word, zwanzig. "
    "Training compares it with the true word."
)


def inline() -> str:
    """The map for the page: its boxes are links, its colours those of the theme."""
    return (
        '<figure class="map">'
        '<svg viewBox="0 0 434 804" role="group" aria-labelledby="map-title" aria-describedby="map-text">'
        f'<title id="map-title">Map of the Transformer: every box leads to its chapter</title>'
        f'<desc id="map-text">{DESCRIPTION}</desc>{DEFS}\n{draw(links=True)}\n</svg></figure>'
    )


STYLE = """
svg { --text: #1f2328; --line: #59636e; --paper: #ffffff; --edge: #59636e; --badge: #0a5ba8; --on-badge: #ffffff;
  --attend: #dcebfb; --norm: #f3efe2; --think: #e3f3e3; --embed: #f0e6f7; --train: #fde8d8; color: var(--text); }
@media (prefers-color-scheme: dark) { svg { --text: #e6edf3; --line: #9aa4af; --paper: #0d1117; --edge: #9aa4af;
  --badge: #9ccaff; --on-badge: #06213d; --attend: #1c3550; --norm: #37321f; --think: #1f3a24; --embed: #35264a;
  --train: #4a2c17; } }
text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; }
"""


def stylesheet() -> str:
    """The rules that the page (custom.css) and the file share, cut out of custom.css."""
    css = (ROOT / "_static" / "custom.css").read_text(encoding="utf-8")
    return css.split("/* map: begin */")[1].split("/* map: end */")[0].replace(".map svg", "svg")


def picture() -> str:
    """The map as a file of its own, for GitHub: no links, colours of its own, dark where the reader's system is."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 434 804" width="434" height="804" role="img">'
        f"<title>Map of the Transformer, with the chapter that builds each part</title><desc>{DESCRIPTION}</desc>"
        f'<style>{STYLE}{stylesheet()}</style><rect width="434" height="804" fill="var(--paper)"/>{DEFS}\n'
        f"{draw(links=False)}\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
