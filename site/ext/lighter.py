"""What a page loads before it shows: one stylesheet without unused rules, scripts that wait, pictures of known size.

The theme sends with every page ten stylesheets (400 kilobytes for everything that any book might do), an icon font
and Bootstrap's program. When the pages are written, what they use is known, and the rest is left out.
"""

import hashlib
import posixpath
import re
from functools import cache
from pathlib import Path
from urllib.parse import quote

import tinycss2
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
BOOK = "book.css"
SHEET = re.compile(r'[ \t]*<link\b(?=[^>]*\brel="stylesheet")[^>]*?\bhref="([^"]*_static/)([^"?]+\.css)[^"]*"[^>]*>\n?')
ICON = r'[{{,]"?(?:{name}"?:|[\w-]+"?:(?=\[\d+,\d+,\[[^\]]*"{name}"))\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]'
MEASURES_ALL = '"complete"===document.readyState?I():window.addEventListener("load",I)'  # scrollers.js does it gently
ICONS = """\
/* The icons are of Font Awesome Free, CC BY 4.0, https://fontawesome.com/license/free */
.fa-solid, .fas, .fab, a.github::before {
  display: inline-block; width: 1.25em; height: 1em; vertical-align: -0.125em;
  background: currentColor;
  -webkit-mask: var(--icon) center / contain no-repeat; mask: var(--icon) center / contain no-repeat;
}
a.github::before { content: ""; }
.fa-lg { font-size: 1.25em; vertical-align: -0.075em; }
@media (forced-colors: active) {
  .fa-solid, .fas, .fab, a.github::before { forced-color-adjust: none; background: CanvasText; }
}"""
ALSO = {"github": "a.github"}  # the theme shows these icons, too, in front of such links


def resolved(sheet: Path, folder: Path) -> str:
    """The text of a stylesheet with what it imports, and addresses as from `folder`."""
    here = posixpath.relpath(sheet.parent, folder)
    text = sheet.read_text(encoding="utf-8").replace("\ufeff", "")
    text = re.sub(r'@import\s+(?:url\()?"([^"]+)"\)?;', lambda m: f"\0{m[1]}\0", text)
    start = lambda m: f"url({m[1]}{posixpath.normpath(posixpath.join(here, m[2]))}"  # noqa: E731
    text = re.sub(r"url\((['\"]?)(?!data:|/|#|\w+:)([^'\")]+)", start, text)
    parts = text.split("\0")
    parts[1::2] = [resolved(sheet.parent / name, folder) for name in parts[1::2]]
    return "".join(parts)


def names_in(pages: list[str], scripts: list[str]) -> set[str]:
    """The classes and ids of the pages, and every word of a program, which may be one."""
    text = "\n".join(pages)
    attributes = re.findall(r'\b(?:class|id)="([^"]*)"', text)
    programs = [*scripts, *re.findall(r"<script\b[^>]*>(.*?)</script>", text, re.DOTALL)]
    return set(" ".join(attributes).split()) | {name for p in programs for name in re.findall(r"[\w-]+", p)}


def needless(rule: str) -> bool:
    """Whether it says what UTF-8 is, or belongs to the icon font."""
    return rule.startswith(("@charset", "@keyframes fa-")) or (rule.startswith("@font-face") and "Awesome" in rule)


def is_used(selector: list, names: set[str]) -> bool:
    """Whether a selector can match: what stands in `:not(...)` and its kind is not looked into."""
    for before, token in zip([None, *selector], selector, strict=False):
        if token.type == "hash" and token.value not in names:
            return False
        if token.type == "ident" and before is not None and before == "." and token.value not in names:
            return False
    return True


def without_unused(rules: list, names: set[str]) -> str:
    """The rules whose selectors can match, as text; of several selectors, those that can."""
    kept = []
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [[]]
            for token in rule.prelude:
                selectors.append([]) if token == "," else selectors[-1].append(token)
            if used := [tinycss2.serialize(s).strip() for s in selectors if is_used(s, names)]:
                kept.append(f"{','.join(used)}{{{tinycss2.serialize(rule.content).strip()}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword in {"media", "supports"}:
            inside = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            if text := without_unused(inside, names):
                kept.append(f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{text}}}")
        elif rule.type != "error":
            kept.append(rule.serialize())
    return "\n".join(kept)


def icons(program: str, names: set[str]) -> str:
    """The icons in use, cut out of the theme's program of icons, as masks that take the colour of the text."""
    rules = [ICONS]
    for name in sorted(names):
        if found := re.search(ICON.format(name=re.escape(name)), program):
            width, height, path = found.groups()
            svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'><path d='{path}'/></svg>"
            places = ", ".join(filter(None, (f".fa-{name}", ALSO.get(name))))
            rules.append(f'{places} {{ --icon: url("data:image/svg+xml,{quote(svg, safe=" =:/")}") }}')
    return "\n".join(rules)


def needs_no_options(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """The theme's settings would need a program that has run before: ours are what it takes without them."""
    inline = [js for js in context["script_files"] if "DOCUMENTATION_OPTIONS." in js.attributes.get("body", "")]
    context["script_files"] = [js for js in context["script_files"] if js not in inline]


def search_from_disk(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """The script that the search needs before it starts, on its page alone."""
    if pagename == "search":
        app.add_js_file("search_from_disk.js", loading_method="defer")


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Write the one stylesheet, and lead the pages to it."""
    static = Path(app.outdir) / "_static"
    if exception is not None or app.builder.format != "html" or not static.exists():
        return
    files = [path for path in Path(app.outdir).rglob("*.html") if static not in path.parents]
    pages = {path: path.read_text(encoding="utf-8") for path in files}
    sheets = [[name for _, name in SHEET.findall(text)] for text in pages.values()]
    sheets = [found for found in sheets if found and BOOK not in found]  # of the pages that this build has written
    if not sheets:
        return
    shared = [name for name in max(sheets, key=len) if all(name in found for found in sheets)]
    unneeded = {"fontawesome.js", "bootstrap.js", "searchindex.js"}
    scripts = [p.read_text(encoding="utf-8") for p in static.rglob("*.js") if p.name not in unneeded]
    names = names_in(list(pages.values()), scripts)
    # Icons come as masks: neither their font nor its thousand rules.
    used_icons = {name.removeprefix("fa-") for name in names if name.startswith("fa-")}
    names -= {name for name in names if name.startswith("fa-")} | {"fa", "fas", "fab", "far"}
    text = "\n".join(resolved(static / name, static) for name in shared)
    rules = tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True)
    rules = [rule for rule in rules if rule.type != "at-rule" or not needless(rule.serialize())]
    program = (static / "scripts" / "fontawesome.js").read_text(encoding="utf-8")
    book = f"{without_unused(rules, names)}\n{icons(program, used_icons)}\n"
    (static / BOOK).write_text(book, encoding="utf-8")
    version = hashlib.sha256(book.encode()).hexdigest()[:8]
    for path, page in pages.items():
        page = with_sizes(lead_to_it(page, {*shared, BOOK}, version), path.parent)
        path.write_text(page, encoding="utf-8")
    theme = static / "scripts" / "pydata-sphinx-theme.js"
    program = theme.read_text(encoding="utf-8")
    if MEASURES_ALL not in program:
        logger.warning("The theme measures its boxes in another way: look whether scrollers.js is still needed.")
    theme.write_text(program.replace(MEASURES_ALL, "0"), encoding="utf-8")
    for leftover in (*static.rglob("*.map"), *static.glob("scripts/*LICENSE.txt"), *static.glob("vendor/**/*.*")):
        leftover.unlink()
    for name in ("bootstrap.js", "fontawesome.js"):
        (static / "scripts" / name).unlink()


def lead_to_it(page: str, shared: set[str], version: str) -> str:
    """The page with one stylesheet in the place of the first of those that it holds, and scripts that wait."""
    place = iter([True])

    def link(match: re.Match) -> str:
        if match[2] not in shared:
            return match[0]
        return f'    <link rel="stylesheet" href="{match[1]}{BOOK}?v={version}">\n' if next(place, False) else ""

    return re.sub(r'<script(?= src=")', "<script defer", SHEET.sub(link, page))


@cache
def size(picture: Path) -> tuple[int, int] | None:
    """Width and height of a picture, if it is one of pixels."""
    return Image.open(picture).size if picture.suffix in {".png", ".jpg", ".webp"} and picture.exists() else None


def with_sizes(page: str, folder: Path) -> str:
    """The page with the size of each picture, so that nothing moves when it arrives."""

    def sized(match: re.Match) -> str:
        found = None if 'width="' in match[0] else size((folder / match[1]).resolve())
        return match[0] if not found else f'<img width="{found[0]}" height="{found[1]}"{match[0][4:]}'

    return re.sub(r'<img\b[^>]*\bsrc="([^":?]+)"[^>]*>', sized, page)


def setup(app: Sphinx) -> dict:
    app.add_js_file("menus.js")
    app.add_js_file("scrollers.js")
    app.connect("html-page-context", needs_no_options, priority=900)  # after the theme
    app.connect("html-page-context", search_from_disk)
    app.connect("build-finished", lighten, priority=900)  # after whatever else writes
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
