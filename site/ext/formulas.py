"""Formulas are made when the pages are: MathML, which every browser sets by itself, instead of a program that does."""

import re

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
converter = LatexToMathML(fancy_error=False)


def mathml(node: nodes.Element, latex: str, display: bool) -> str:
    """The formula; what cannot be converted is a warning, which `make book` takes for an error."""
    try:
        return converter.convert_with_local_state(latex, displaystyle=display)
    except LatexError as error:
        logger.warning("This formula has no MathML: %s (%s)", latex, error, location=node)
        return f"<code>{nodes.make_id(latex)}</code>"


def inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(f"{self.starttag(node, 'span', '', CLASS='math')}{mathml(node, node.astext(), False)}</span>")
    raise nodes.SkipNode


def unbroken(app: Sphinx, doctree: nodes.document, _: str) -> None:
    """Keep a formula with the comma behind it and the bracket before it: browsers break lines beside any formula."""
    for formula in list(doctree.findall(nodes.math)) if app.builder.format == "html" else ():
        parent, place, around = formula.parent, formula.parent.index(formula), [formula]
        for step, signs in ((1, r"[),.;:?!]+"), (-1, r"[(]$")):
            text = parent[place + step] if 0 <= place + step < len(parent) else None
            if isinstance(text, nodes.Text) and (found := (re.match if step > 0 else re.search)(signs, text)):
                parent[place + step] = nodes.Text(text[found.end() :] if step > 0 else text[: found.start()])
                around.insert(len(around) if step > 0 else 0, nodes.Text(found[0]))
        if len(around) > 1:
            parent[place] = nodes.inline("", "", *around, classes=["unbroken"])


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math pst-scrollable-table-container"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(f"{mathml(node, node.astext(), True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    app.connect("doctree-resolved", unbroken)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
