"""The reference: sphinx-autoapi reads the source of the library, and this puts it into the words of the book."""

import re

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.nodes import make_refnode


def markdown(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are written as the chapters are, in Markdown: put what they use of it into Sphinx's own language."""
    # Code is set as code; a name stays as it is, and may become a link (`by_name`).
    text = re.sub(r"`([^`]+)`", lambda m: m[0] if re.fullmatch(r"\w[\w.]*", m[1]) else f"`{m[0]}`", "\n".join(lines))
    for pattern, replacement in {
        r"^\$\$(.+)\$\$$": r".. math:: \1",
        r"\$([^$]+)\$": r":math:`\1`",
        r"^(\S.*)\n\n(?=    \S)": r"\1\n\n::\n\n",  # an indented paragraph is code, and so is an example
        r"^Example:$": r"Example::\n",
        r"^((?:Returns|Yields):\n +)": r"\1: ",  # else napoleon takes what stands before a colon for a type
    }.items():
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    start = {"module": f"``{name}``. ", "package": f"``{name}``. ", "property": ": "}.get(what, "")
    lines[:] = (start + text).split("\n")


def skip(app: Sphinx, what: str, name: str, obj, skipped: bool, options: object) -> bool:
    """Only what is described, and where it is defined."""
    return skipped or obj.imported or not obj.docstring or name.startswith("_")


def signature(app: Sphinx, what: str, name: str, obj, options: object, args: str, returns: str) -> tuple:
    """A shape is a string again, which autoapi takes for names; a record shows its fields; and names are short."""
    fields = [c for c in obj.children if c.type == "attribute" and c.annotation and not c.name.startswith("_")]
    if args == "()" and fields and "Protocol" not in obj.bases:
        values = (f" = {field.value}" if field.value is not None else "" for field in fields)
        args = f"({', '.join(f'{f.name}: {f.annotation}{value}' for f, value in zip(fields, values, strict=True))})"

    def defined(name: re.Match) -> str:
        found = app.env.autoapi_all_objects.get(name[0])
        return found.obj["original_path"] if found and found.imported else name[0]

    def short(text: str | None) -> str | None:
        text = re.sub(r"(jaxtyping\.\w+\[[\w.]+, )([^\]]*)\]", r"\1'\2']", text or "")
        text = re.sub(r"(?<![\w.])(?!torch\.|transformer_lib\.)(?:[a-z]\w*\.)+(?=[A-Z])", "", text)
        return re.sub(r"transformer_lib\.[\w.]+", defined, text) or None

    return short(args), short(returns)


def by_name(app: Sphinx, env, node: nodes.Element, inside: nodes.Element) -> nodes.Element | None:
    """A word in backticks that is the name of one class or function of the library leads there; others are code."""
    if node["reftype"] != "obj" or not isinstance(inside, nodes.literal):
        return None
    end, kinds = f".{node['reftarget']}", {"class", "function", "exception"}
    found = [o for name, o in env.get_domain("py").objects.items() if name.endswith(end) and o.objtype in kinds]
    if len(found) == 1:
        return make_refnode(app.builder, node["refdoc"], found[0].docname, found[0].node_id, inside)
    inside["classes"] = []
    return inside


def settings(app: Sphinx, config: Config) -> None:
    """Link each object to its lines in the repository; only public names of the library must lead somewhere."""
    theme = config.html_theme_options

    def source(domain: str, info: dict[str, str]) -> str:
        objects = app.env.autoapi_all_objects
        lines = objects[f"{info['module']}.{info['fullname']}"].obj
        file = f"blob/{theme['repository_branch']}/{objects[info['module']].obj['relative_path']}"
        return f"{theme['repository_url']}/{file}#L{lines['from_line_no']}-L{lines['to_line_no']}"

    config.linkcode_resolve = source
    config.nitpick_ignore_regex = [("py:.*", r"(?!transformer_lib\.).*|.*\._.*|.*\.(Mask|Record)")]


def plain_signatures(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Sphinx puts the parameters of a long signature into `<dd>`s without a term, which is invalid: lines instead."""

    def lines(match: re.Match) -> str:
        inside = match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
        return f'<span class="sig-lines">{inside}</span>'

    if "body" in context:
        context["body"] = re.sub(r"<dl>(.*?)</dl>", lines, context["body"], flags=re.DOTALL)


class EveryName(Directive):
    """The place of the list that `list_names` makes when all pages have been read."""

    def run(self) -> list[nodes.Node]:
        return [nodes.comment("", "every name")]


def list_names(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Every class and function by module, each leading to its page.

    All once stood on the page of this list. So each entry bears the anchors of old, for links from outside; in one
    piece with the pages, where they exist, it does not.
    """
    alone = "single" not in app.builder.name and app.builder.format == "html"
    for place in [node for node in doctree.findall(nodes.comment) if node.astext() == "every name"]:
        domain, entries = app.env.get_domain("py"), {}
        pages = app.env.toctree_includes.get(page, [])  # in the order of the table of contents
        found_there = [item for item in domain.objects.items() if item[1].docname in pages]
        for name, found in sorted(found_there, key=lambda item: pages.index(item[1].docname)):
            if found.objtype in ("module", "class", "function", "exception"):
                title = nodes.literal(text=name if found.objtype == "module" else name.rpartition(".")[2])
                link = make_refnode(app.builder, page, found.docname, found.node_id, title)
                entries[name] = (found.objtype, nodes.inline("", "", link))
            above = next((n for n in (name, name.rpartition(".")[0]) if n in entries), None)
            if alone and above:
                entries[above][1]["ids"].append(found.node_id)
        listed = nodes.definition_list()
        for kind, entry in entries.values():
            if kind == "module":
                names = nodes.paragraph()
                listed += nodes.definition_list_item("", nodes.term("", "", entry), nodes.definition("", names))
            else:
                names += [nodes.Text(", ")] * bool(len(names)) + [entry]
        place.replace_self(listed)


def outdated(app: Sphinx, env, *_: object) -> list[str]:
    """Nobody tells Sphinx when the library changes."""
    return [page for page in env.found_docs if page.startswith("chapters/api")]


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-process-docstring", markdown, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", by_name, priority=900)  # after intersphinx
    app.connect("config-inited", settings, priority=150)  # after the address is known
    app.add_directive("every-name", EveryName)
    app.connect("doctree-resolved", list_names)
    app.connect("env-get-outdated", outdated)
    app.connect("html-page-context", plain_signatures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
