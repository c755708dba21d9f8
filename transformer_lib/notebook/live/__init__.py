"""Live figures: `show("softmax")` draws a picture, and below it the same figure for moving.

In a notebook the figure is a frame that holds all it needs. A page of the book has the bare element `<live-figure>`,
which the page's own scripts bring to life in the place of the picture.
"""

import html
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from IPython.display import display
from IPython.utils.capture import capture_output

from transformer_lib.notebook import plotting
from transformer_lib.notebook.live.pictures import PICTURES, Picture

FOLDER = Path(__file__).parent
MIME = "application/vnd.live-figure"  # what only the pages of the book know: whoever else opens them sees the picture
# Takes JupyterLab's theme, and follows the height of what it holds; where the frame may not look outside, neither.
FIT = """
try { document.documentElement.dataset.theme = parent.document.body.dataset.jpThemeLight === "false" ? "dark" : "light";
} catch { }
new ResizeObserver(() => {
  try { frameElement.style.height = `${document.documentElement.offsetHeight + 4}px`; } catch { }
}).observe(document.documentElement);
"""
DARK = """
body { margin: 0; font: 16px/1.5 sans-serif; background: var(--pst-color-background, #fff); }
html[data-theme="dark"] { --pst-color-background: #14181e; --pst-color-text-base: #ced6dd; --badge: #9ccaff;
  --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b; --pst-color-surface: #29313d; color-scheme: dark; }
"""


def element(kind: str, data: dict) -> str:
    """Return the element of a page: the figure's kind and its data, and nothing else."""
    text = json.dumps(data, ensure_ascii=False).replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;")
    return f"<live-figure kind=\"{kind}\" data='{text}'></live-figure>"


def frame(kind: str, data: dict, scripts: Sequence[str] = ()) -> str:
    """Return a frame that stands alone: style, scripts and figure are inside, and nothing is loaded.

    Args:
        kind: the figure.
        data: what it starts from.
        scripts: further scripts that it needs, such as the weights of a model.
    """
    figure = (FOLDER / "figures" / f"{kind}.js").read_text(encoding="utf-8")
    needs = re.findall(r'"(\w+)"', "".join(re.findall(r"^ *needs: \[(.*?)\]", figure, re.MULTILINE)))
    style = (FOLDER / "live.css").read_text(encoding="utf-8")
    parts = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in ("live", *needs) if name != "model"]
    parts = [part.replace("</", r"<\/") for part in (*parts, *scripts, figure, FIT)]  # else a string would end it
    script = "".join(f"<script>{part}</script>" for part in parts)
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{style}{DARK}</style>'
    # The scripts that define the figure come before the element, which starts as soon as it is there.
    page += f"<body>{script}{element(kind, data)}</body></html>"
    title = html.escape(str(data.get("title", kind)))
    look = "width: 100%; height: 30rem; border: 0"
    return f'<iframe title="{title}" style="{look}" srcdoc="{html.escape(page)}"></iframe>'


def show(kind: str, *, scripts: Sequence[str] = (), **options: object) -> None:
    """Show a live figure below the cell: a picture of how it begins, and the figure itself.

    With the environment variable `BOOK_PAGE=1`, as chapters are stored, the output holds both, for `site/ext/live.py`.

    Args:
        kind: the name of a figure, such as "softmax".
        scripts: further scripts that a frame needs, such as the weights of a model.
        options: what the figure starts from, as its function in `pictures` says.

    Raises:
        ValueError: if there is no such figure.
    """
    if kind not in PICTURES:
        raise ValueError(f"kind must be one of {', '.join(PICTURES)}; got {kind!r}")
    display_live(kind, PICTURES[kind](**options), lambda: scripts)


def display_live(kind: str, picture: Picture, scripts: Callable[[], Sequence[str]] = tuple) -> None:
    """Display a picture and the figure that it is of; `scripts` is called for further scripts if a frame needs them."""
    with capture_output(stdout=False, stderr=False) as seen:
        plotting.show(picture.figure, picture.alt)
    (still,) = seen.outputs
    if os.environ.get("BOOK_PAGE") == "1":
        display({**still.data, MIME: element(kind, picture.data)}, metadata=still.metadata, raw=True)
    else:
        display(still)
        moving = frame(kind, picture.data, scripts())
        display({"text/html": moving, "text/plain": f"[Live figure] {picture.data['title']}"}, raw=True)
