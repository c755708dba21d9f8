"""What `_config.yml` cannot say: addresses that follow a fork, the map, the 404 page, the way in at `/`.

Adds the role `` {file}`path` ``, or `` {file}`title <path>` ``, a link to a file of the repository, which
must exist, and the directive `{architecture}`, the map with its links.
"""

import html
import os
import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import architecture
from docutils import nodes
from docutils.parsers.rst.states import Inliner
from repository import ROOT, public_url
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

ENTRANCE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<meta name="description" content="{description}">
<link rel="canonical" href="{base}{first}">
<meta http-equiv="refresh" content="0; url={first}">
</head>
<body><main><h1>{title}</h1><p><a href="{first}">Begin here</a></p></main></body>
</html>
"""
SITEMAP = """<?xml version="1.0" encoding="utf-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{places}</urlset>
"""
NOT_FOUND = "chapters/404"
DESCRIPTION = (
    "Build the Transformer of Attention Is All You Need from one attention head to a working translator, in PyTorch."
)


def base_url(repository: str) -> str:
    """Where the pages of a repository are published: BOOK_BASE_URL if set, else its GitHub Pages."""
    if url := os.environ.get("BOOK_BASE_URL"):
        return url.rstrip("/") + "/"
    owner, name = urlsplit(repository).path.strip("/").split("/")[:2]
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def settings(repository: str) -> dict[str, str]:
    """Every setting that depends on the repository's address."""
    base = base_url(repository)
    return {
        "repository_url": repository,
        "html_baseurl": base,
        "ogp_site_url": base,
    }


def use_public_url(app: Sphinx, config: Config) -> None:
    values = settings(public_url())
    config.html_theme_options["repository_url"] = values.pop("repository_url")
    config.html_theme_options["repository_branch"] = os.environ.get("BOOK_BRANCH", "main")
    for name, value in values.items():
        setattr(config, name, value)
    # Only the library and torch have targets; names such as Path, Float or Iterator in signatures do not.
    config.nitpick_ignore_regex = [("py:.*", r"(?!torch\.|transformer_lib\.).*")]


def build_the_404_page(app: Sphinx, config: Config) -> None:
    """Take it out of the excluded files: it is no part of the table of contents."""
    config.exclude_patterns = [p for p in config.exclude_patterns if p != f"{NOT_FOUND}.md"]


def absolute(page: str, prefix: str) -> str:
    """The 404 page with every address written in full: it is shown in the place of a page at any depth."""

    def full(match: re.Match) -> str:
        return f'{match[1]}="{urljoin(f"{prefix}{NOT_FOUND}.html", match[2])}"'

    page = re.sub(r'\b(href|src|action|data-content_root)="(?!\w+:|#|//)([^"]*)"', full, page)
    return page.replace("<head>", '<head>\n    <meta name="robots" content="noindex" />', 1)


def real_alt_text(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Warn, and so fail the build, where an image would show its file name as alternative text."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            logger.warning("image %s has no alternative text", image["uri"], location=docname)


class ArchitectureDirective(SphinxDirective):
    """The map of the model; its links are relative to the folder of the chapters."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(architecture.__file__)
        return [nodes.raw("", architecture.inline(), format="html")]


def file_role(name: str, raw: str, text: str, line: int, inliner: Inliner, options=None, content=None):
    """A file of the repository, linked where the repository is published."""
    title, path = re.fullmatch(r"(?:(.+?)\s*<)?([^<>]+)>?", text.strip(), re.DOTALL).groups()
    if not (ROOT / path).exists():
        logger.warning("there is no file %s in the repository", path, location=(inliner.document.current_source, line))
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    label = nodes.inline("", title) if title else nodes.literal("", path)
    reference = nodes.reference("", "", label, refuri=f"{public_url()}/{kind}/main/{path}")
    return [reference], []


def no_thebe(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Take out the scripts of live cells, which no page uses and which name a third party."""
    context["script_files"] = [s for s in context["script_files"] if "thebe" not in f"{s} {s.attributes}".lower()]
    context["css_files"] = [s for s in context["css_files"] if "thebe" not in str(s)]


def describe(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Give a description to the pages that have no text of their own to take it from."""
    tags = context.get("metatags", "")
    if 'name="description"' not in tags:
        text = html.escape(DESCRIPTION)
        context["metatags"] = f'{tags}<meta name="description" content="{text}" />\n'


def place_entrances(app: Sphinx, exception: Exception | None) -> None:
    """Write `index.html`, which leads to the first page, the sitemap, and the 404 page where GitHub looks for it."""
    if exception is not None or app.builder.format != "html":
        return
    first = f"{app.config.master_doc}.html"
    page = ENTRANCE.format(
        title=html.escape(app.config.html_title),
        description=html.escape(DESCRIPTION),
        base=app.config.html_baseurl,
        first=first,
    )
    out = Path(app.outdir)
    (out / "index.html").write_text(page, encoding="utf-8")
    names = sorted(app.env.found_docs - {NOT_FOUND})
    places = "".join(f"<url><loc>{app.config.html_baseurl}{name}.html</loc></url>\n" for name in names)
    (out / "sitemap.xml").write_text(SITEMAP.format(places=places), encoding="utf-8")
    lost = (out / f"{NOT_FOUND}.html").read_text(encoding="utf-8")
    (out / "404.html").write_text(absolute(lost, urlsplit(app.config.html_baseurl).path), encoding="utf-8")


def only_used_icons(app: Sphinx, exception: Exception | None) -> None:
    """Cut the icons that no page shows out of the theme's icon script: 1.4 of its 1.5 megabytes."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    script = out / "_static" / "scripts" / "fontawesome.js"
    users = [p for kind in ("html", "js") for p in out.rglob(f"*.{kind}") if p != script and "mathjax" not in p.parts]
    used = {name for p in users for name in re.findall(r"\bfa-([a-z0-9-]+)", p.read_text(encoding="utf-8"))}

    def keep(match: re.Match) -> str:
        return match[0] if used & {match[1], *re.findall(r'"([\w-]+)"', match[2])} else ""

    icon = r'"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
    script.write_text(re.sub(icon, keep, script.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", use_public_url, priority=100)
    app.connect("config-inited", build_the_404_page, priority=950)  # after sphinx_external_toc
    app.connect("doctree-resolved", real_alt_text)
    app.connect("html-page-context", no_thebe, priority=900)
    app.connect("html-page-context", describe, priority=950)
    app.add_directive("architecture", ArchitectureDirective)
    app.add_role("file", file_role, override=True)
    app.connect("build-finished", place_entrances, priority=950)
    app.connect("build-finished", only_used_icons, priority=960)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
