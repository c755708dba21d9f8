"""Formulas are made when the pages are: MathML, which every browser sets by itself, instead of a program that does."""

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


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math pst-scrollable-table-container"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(f"{mathml(node, node.astext(), True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
