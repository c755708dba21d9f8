"""The book in one piece: its single page, which `make pdf` prints, and the link to the file that came of it."""

import shutil
from pathlib import Path

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


def link_what_is_there(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Tell the template of the first page how large the file is, if somebody has made it."""
    if pagename == app.config.root_doc and app.builder.name == "html" and printed(app).exists():
        context["pdf"], context["pdf_size"] = PDF, f"{printed(app).stat().st_size / 1e6:.0f} MB"


def bring_it_along(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html" and printed(app).exists():
        shutil.copy(printed(app), app.outdir)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", link_what_is_there)
    app.connect("build-finished", single_page_at_the_root)
    app.connect("build-finished", bring_it_along)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
