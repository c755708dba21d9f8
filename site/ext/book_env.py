"""What `_config.yml` cannot say: addresses that follow a fork, links to map and glossary, pictures that wait."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes
from repository import public_url
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)


def base_url(repository: str) -> str:
    """Where the pages of a repository are published: BOOK_BASE_URL if set, else its GitHub Pages."""
    if url := os.environ.get("BOOK_BASE_URL"):
        return url.rstrip("/") + "/"
    owner, name = urlsplit(repository).path.strip("/").split("/")[:2]
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def use_public_url(app: Sphinx, config: Config) -> None:
    """Fill in every setting that depends on the repository's address."""
    url = public_url()
    base = base_url(url)
    logger.info("The pages link to %s (BOOK_REPOSITORY names another), for %s (BOOK_BASE_URL).", url, base)
    config.html_theme_options["repository_url"] = url
    config.extlinks = {"repo": (f"{url}/blob/{config.html_theme_options['repository_branch']}/%s", "%s")}
    config.html_baseurl = config.ogp_site_url = base
    config.notfound_urls_prefix = urlsplit(base).path


def figures_wait(app: Sphinx) -> None:
    """Load images when they come into sight: a setting of docutils that Sphinx has no name for."""
    app.env.settings["image_loading"] = "lazy"


def links_of_the_map(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Lead the links inside the map and the drawing of the paths to where this builder puts the chapters."""
    for raw in doctree.findall(nodes.raw) if app.builder.format == "html" else ():
        if re.search('class="(?:map|paths)"', svg := raw.astext()):
            chapter = lambda m: f'href="{app.builder.get_relative_uri(docname, f"chapters/{m[1]}")}"'  # noqa: E731
            raw.children = [nodes.Text(re.sub(r'href="(\w+)\.html"', chapter, svg))]


def terms(app: Sphinx) -> dict[str, str]:
    """The anchors of the glossary, by term in lower case."""
    glossary = (Path(app.srcdir) / "chapters" / "glossary.md").read_text(encoding="utf-8")
    return {term.lower(): f"term-{nodes.make_id(term)}" for term in re.findall(r"^(\S.*)\n: ", glossary, re.MULTILINE)}


def terms_have_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Give each term of the glossary a place that a link can lead to."""
    if app.env.docname == "chapters/glossary":
        anchors = terms(app)
        for term in doctree.findall(nodes.term):
            term["ids"].append(anchors[term.astext().lower()])


def terms_lead_to_the_glossary(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """A term of the glossary that a chapter sets in bold, also in the plural, is a link to its entry."""
    anchors = terms(app) if app.env.doc2path(docname).endswith(".ipynb") else {}
    for bold in list(doctree.findall(nodes.strong)):
        word = bold.astext().lower()
        anchor = anchors.get(word) or anchors.get(word.removesuffix("s"))
        if anchor and not isinstance(bold.parent, nodes.reference | nodes.title):
            bold.replace_self(make_refnode(app.builder, docname, "chapters/glossary", anchor, bold.deepcopy()))


def quizzes_answer(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """The script of the quizzes, on their pages alone."""
    if pagename.startswith("chapters/quiz_"):
        app.add_js_file("quiz.js", loading_method="defer")


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", use_public_url, priority=100)
    app.connect("builder-inited", figures_wait)
    app.connect("doctree-read", terms_have_anchors)
    app.connect("doctree-resolved", links_of_the_map)
    app.connect("doctree-resolved", terms_lead_to_the_glossary)
    app.connect("html-page-context", quizzes_answer)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
