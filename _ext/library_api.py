"""Sphinx directive `{library} module ...`: the reference of a module, read from its source.

The source is parsed, never imported, so the book builds without torch. Docstrings are Markdown with
Google sections: mathematics in dollars, code in single backticks; `Args:`, `Returns:`, `Raises:`,
`Yields:` and `Attributes:` become field lists, `Example:` a heading in bold. A word in backticks
that is the name of something in the library or in torch's small inventory becomes a link to it.
Every object gets a [source] link to its lines in the repository (sphinx.ext.linkcode).
"""

import ast
import re
import textwrap
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from repository import public_url
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
FIELDS = {"Args": "param", "Attributes": "param", "Raises": "raises", "Returns": "returns", "Yields": "yields"}
Definition = ast.ClassDef | ast.FunctionDef


def source_path(module: str) -> Path:
    """The file of a module, relative to the repository."""
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def parse(module: str) -> ast.Module:
    """The syntax tree of a module of the library."""
    return ast.parse((ROOT / source_path(module)).read_text(encoding="utf-8"))


def public(body: list[ast.stmt]) -> list[Definition]:
    """The classes and functions of a module or class that are meant for its users: named and described."""
    defined = [n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    return [n for n in defined if not n.name.startswith("_") and ast.get_docstring(n)]


def constants(tree: ast.Module) -> list[str]:
    """Names in capitals, assigned at the top of a module."""
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    return [t.id for t in targets if isinstance(t, ast.Name) and t.id.isupper() and not t.id.startswith("_")]


def is_dataclass(node: Definition) -> bool:
    return any("dataclass" in ast.unparse(d) for d in node.decorator_list)


class FullNames(ast.NodeTransformer):
    """Writes the names in annotations in full, so that Sphinx can link them; it shows their last part."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.known[node.id].split()[1]) if node.id in self.known else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        name = ast.unparse(node)
        return ast.Name(f"torch.{name}") if name.startswith("nn.") else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return self.visit_Name(ast.Name(node.value)) if node.value in self.known else node


def annotate(args: ast.arguments, returns: ast.expr | None, names: FullNames) -> str:
    """Parameters and return type, with full names in the annotations only."""
    for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if arg is not None and arg.annotation is not None:
            arg.annotation = names.visit(arg.annotation)
    return f"({ast.unparse(args)})" + (f" -> {ast.unparse(names.visit(returns))}" if returns is not None else "")


def signature(node: Definition, known: dict[str, str], *, method: bool = False) -> str:
    """The parameters as the source writes them, without `self`."""
    if isinstance(node, ast.ClassDef):
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if init is not None:
            return signature(init, known, method=True).removesuffix(" -> None")
        if not is_dataclass(node):
            return "()" if node.bases else ""
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        star = "*, " if any("kw_only" in ast.unparse(d) for d in node.decorator_list) else ""
        return "(" + star + ", ".join(ast.unparse(f).replace("\n", " ") for f in fields) + ")"
    args = node.args
    if method and "staticmethod" not in {ast.unparse(d) for d in node.decorator_list}:
        (args.posonlyargs or args.args).pop(0)
    return annotate(args, node.returns, FullNames(known))


def markdown(docstring: str, known: dict[str, str]) -> str:
    """A Google docstring as MyST Markdown."""
    out: list[str] = []
    section = None
    for block in re.split(r"\n(?=\S)", docstring):
        head, _, rest = block.partition("\n")
        name = head.rstrip(":") if head.endswith(":") else None
        if name in FIELDS and rest.strip():
            section = FIELDS[name]
            entries = textwrap.dedent(rest.rstrip())
            if section in {"returns", "yields"}:
                out.append(f":{section}: " + " ".join(entries.split()))
            else:
                for entry in re.split(r"\n(?=\S)", entries):
                    key, _, text = entry.partition(":")
                    out.append(f":{section} {key.strip()}: " + " ".join(text.split()))
        elif name in {"Example", "Examples"}:
            out += ["", "**Example**", "", "```python", textwrap.dedent(rest.rstrip()), "```", ""]
        else:
            out += ["", block]
    text = "\n".join(out)
    return re.sub(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)", lambda m: link(m, known), text)


def link(match: re.Match, known: dict[str, str]) -> str:
    """`name` as a cross-reference when it names something that the reference knows."""
    name = match[1]
    if name in known:
        kind, target = known[name].split(" ")
        return f"{{py:{kind}}}`{name} <{target}>`"
    return match[0]


def known_names(modules: list[str], reader: str) -> dict[str, str]:
    """Every name that may be linked: `name -> role target`.

    A name that several modules define means to `reader` its own, or the one that it imports.
    """
    known: dict[str, str] = {"Tensor": "class torch.Tensor"}
    for module in modules:
        for node in public(parse(module).body):
            kind = "class" if isinstance(node, ast.ClassDef) else "func"
            known[node.name] = known[f"{module}.{node.name}"] = f"{kind} {module}.{node.name}"
    for line in (ROOT / "_inv" / "torch.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, role, *_ = line.split()
            known[name] = f"{'func' if role == 'function' else role} {name}"
    body = parse(reader).body
    imported = [(n.module, alias.name) for n in body if isinstance(n, ast.ImportFrom) for alias in n.names]
    for module, name in [*imported, *((reader, node.name) for node in public(body))]:
        if f"{module}.{name}" in known:
            known[name] = known[f"{module}.{name}"]
    return known


class LibraryDirective(SphinxDirective):
    """The public classes and functions of the module given as argument, in the order of its source."""

    required_arguments = 1
    has_content = False

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        if module not in all_modules():
            raise self.error(f"the library has no public module {module}")
        self.env.note_dependency(str(ROOT / source_path(module)))
        tree = parse(module)
        known = known_names(all_modules(), module)
        lines = ["`````{py:module} " + module, "`````", ""]
        lines += [f"`{source_path(module)}`. " + markdown(ast.get_docstring(tree) or "", known), ""]
        if names := constants(tree):
            lines += ["Constants: " + ", ".join(f"`{name}`" for name in names) + ".", ""]
        for node in public(tree.body):
            lines += self.describe(node, known)
        parent = nodes.section()
        parent.document = self.state.document
        self.state.nested_parse(StringList(lines, source=str(source_path(module))), 0, parent)
        return parent.children

    def describe(self, node: Definition, known: dict[str, str], owner: str | None = None) -> list[str]:
        decorators = {ast.unparse(d) for d in node.decorator_list}
        if isinstance(node, ast.ClassDef):
            kind = "class"
        elif "property" in decorators:
            kind = "property"
        elif owner:
            kind = "method"
        else:
            kind = "function"
        head = node.name if kind == "property" else node.name + signature(node, known, method=bool(owner))
        fence = "`" * (6 if owner else 8)
        lines = [f"{fence}{{py:{kind}}} {head}"]
        if kind == "property" and node.returns is not None:
            lines.append(f":type: {ast.unparse(node.returns)}")
        lines += [f":{d}:" for d in ("classmethod", "staticmethod") if d in decorators]
        lines += ["", markdown(ast.get_docstring(node) or "", known), ""]
        if isinstance(node, ast.ClassDef):
            for member in public(node.body):
                lines += self.describe(member, known, owner=node.name)
        return [*lines, fence, ""]


def all_modules() -> list[str]:
    """Every public module of the library."""
    files = sorted((ROOT / "transformer_lib").rglob("*.py"))
    dotted = (".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files)
    return [name for name in dotted if not any(part.startswith("_") for part in name.split("."))]


def source_link(domain: str, info: dict[str, str]) -> str | None:
    """The lines of an object in the repository, for sphinx.ext.linkcode."""
    if domain != "py" or not info["module"].startswith("transformer_lib"):
        return None
    body, node = parse(info["module"]).body, None
    for name in info["fullname"].split("."):
        node = next((n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == name), None)
        if node is None:
            return None
        body = node.body
    return f"{public_url()}/blob/main/{source_path(info['module']).as_posix()}#L{node.lineno}-L{node.end_lineno}"


def plain_signatures(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Sphinx puts the parameters of a long signature into `<dd>`s without a term, which is invalid: lines instead."""

    def lines(match: re.Match) -> str:
        inside = match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
        return f'<span class="sig-lines">{inside}</span>'

    if "body" in context:
        context["body"] = re.sub(r"<dl>(.*?)</dl>", lines, context["body"], flags=re.DOTALL)


def setup(app: Sphinx) -> dict:
    app.add_directive("library", LibraryDirective)
    app.connect("html-page-context", plain_signatures)
    app.connect("config-inited", lambda app, config: setattr(config, "linkcode_resolve", source_link), priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
