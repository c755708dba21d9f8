"""What `_config.yml` cannot say: addresses that follow a fork, and what the theme brings along and no page uses."""

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
    """Lead the links inside the map to where this builder puts the chapters."""
    for raw in doctree.findall(nodes.raw) if app.builder.format == "html" else ():
        if 'class="map"' in (svg := raw.astext()):
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


def single_page_at_the_root(app: Sphinx, exception: Exception | None) -> None:
    """Move the page of singlehtml: Sphinx writes it where the first document lies, but links as if from the root."""
    page = Path(app.outdir) / f"{app.config.root_doc}.html"
    if exception is None and app.builder.name == "singlehtml":
        text = page.read_text(encoding="utf-8").replace(f'href="{app.config.root_doc}.html#', 'href="#')
        page.replace(Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")


def quizzes_answer(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """The script of the quizzes, on their pages alone."""
    if pagename.startswith("chapters/quiz_"):
        app.add_js_file("quiz.js", loading_method="defer")


def only_used_icons(app: Sphinx, exception: Exception | None) -> None:
    """Cut the icons that no page shows out of the theme's icon script: 1.4 of its 1.5 megabytes."""
    script = Path(app.outdir) / "_static" / "scripts" / "fontawesome.js"
    if exception is not None or not script.exists():
        return
    users = [p for kind in ("html", "js") for p in Path(app.outdir).rglob(f"*.{kind}") if p != script]
    used = {name for p in users for name in re.findall(r"\bfa-([a-z0-9-]+)", p.read_text(encoding="utf-8"))}

    def keep(match: re.Match) -> str:
        return match[0] if used & {match[1], *re.findall(r'"([\w-]+)"', match[2])} else ""

    icon = r'"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
    script.write_text(re.sub(icon, keep, script.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", use_public_url, priority=100)
    app.connect("builder-inited", figures_wait)
    app.connect("doctree-read", terms_have_anchors)
    app.connect("doctree-resolved", links_of_the_map)
    app.connect("doctree-resolved", terms_lead_to_the_glossary)
    app.connect("html-page-context", quizzes_answer)
    app.connect("build-finished", single_page_at_the_root)
    app.connect("build-finished", only_used_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
