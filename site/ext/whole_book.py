"""The book in one piece: its single page, which `make pdf` prints, and the link to the file that came of it."""

import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

PDF = "the-transformer-piece-by-piece.pdf"


def single_page_at_the_root(app: Sphinx, exception: Exception | None) -> None:
    """Move the page of singlehtml: Sphinx writes it where the first document lies, but links as if from the root."""
    page = Path(app.outdir) / f"{app.config.root_doc}.html"
    if exception is None and app.builder.name == "singlehtml":
        text = page.read_text(encoding="utf-8").replace(f'href="{app.config.root_doc}.html#', 'href="#')
        text = text.replace(' loading="lazy"', "")  # nothing comes into sight when it is printed
        text = text.replace("<title>None</title>", f"<title>{app.config.html_title}</title>")
        page.replace(Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


def printed(app: Sphinx) -> Path:
    """Where `make pdf` puts the book, beside the folder of the pages."""
    return Path(app.outdir).parent / "pdf" / PDF


def link_what_is_there(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Say on the first page, below where to begin, that the file is there and how large it is, if somebody made it."""
    if docname != app.config.root_doc or app.builder.name != "html" or not printed(app).exists():
        return
    (section,) = (s for s in doctree.findall(nodes.section) if "where-to-begin" in s["ids"])
    place = "../" * docname.count("/") + PDF
    size = f" ({printed(app).stat().st_size / 1e6:.0f} MB), to print, or to read where there is no network."
    section += nodes.paragraph(
        "",
        "",
        nodes.strong(text="I read on paper."),
        nodes.Text(" "),
        nodes.reference(text="The whole book as a PDF", refuri=place, internal=True),
        nodes.Text(size),
    )


def bring_it_along(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html" and printed(app).exists():
        shutil.copy(printed(app), app.outdir)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-resolved", link_what_is_there)
    app.connect("build-finished", single_page_at_the_root)
    app.connect("build-finished", bring_it_along)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
