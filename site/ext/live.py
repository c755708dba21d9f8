"""Live figures: their files go to `_static/live/`, and only a page that holds a figure loads them."""

import shutil
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import MimeData, NbElementRenderer, load_mime_renders
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "transformer_lib" / "notebook" / "live"  # the package's, which notebooks use too
MODELS = ROOT / "site" / "live" / "models"
MIME = "application/vnd.live-figure"  # as in the package, which the pages are built without


class LiveOutput:
    """What MyST-NB asks when it meets an output: ours is the element, as it is."""

    mime_priority_overrides = ()

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        return [nodes.raw(text=data.string, format="html")] if data.mime_type == MIME else None


def stand_beside_the_picture(app: Sphinx, doctree: nodes.document) -> None:
    """Of an output in several forms MyST-NB shows one, the picture: take the element out, so that both are shown."""
    for output in list(
        doctree.findall(lambda node: isinstance(node, nodes.container) and node.get("mime_type") == MIME)
    ):
        bundle = output.parent
        bundle.remove(output)
        bundle.parent.insert(bundle.parent.index(bundle) + 1, output.children)


def copy_files(app: Sphinx) -> None:
    """Put scripts, style and weights where the pages find them.

    Not by `html_static_path`: Jupyter Book would load every script of that folder on every page.
    """
    if app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "live"
        shutil.rmtree(target, ignore_errors=True)
        for source, place in ((FIGURES, target), (MODELS, target / "models")):
            for path in (*source.rglob("*.js"), *source.rglob("*.css")):
                copy = place / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)


def load_where_needed(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """The script and the style, on pages with a figure alone; each figure's own files come when it is near."""
    if "<live-figure" in context.get("body", ""):
        app.add_js_file("live/live.js", loading_method="defer")
        app.add_css_file("live/live.css")


def setup(app: Sphinx) -> dict:
    load_mime_renders().append(LiveOutput)  # a list that is made once; other packages enter it when installed
    app.connect("builder-inited", copy_files)
    app.connect("doctree-read", stand_beside_the_picture)
    app.connect("html-page-context", load_where_needed)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
