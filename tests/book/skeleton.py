"""The bare statements of a class or function: what a chapter's cell and the library's file must share."""

import ast


def find(source: str, name: str) -> ast.stmt | None:
    """Return the definition of `name` at the top level of `source`, if it is there."""
    definitions = (ast.ClassDef, ast.FunctionDef)
    return next((s for s in ast.parse(source).body if isinstance(s, definitions) and s.name == name), None)


def skeleton(definition: ast.stmt, left_out: frozenset[str] | set[str] = frozenset()) -> str:
    """Return the definition without docstrings, annotations, guards and the methods in `left_out`."""
    bare = ast.parse(ast.unparse(definition))
    return ast.unparse(ast.fix_missing_locations(_Strip(left_out).visit(bare)))


class _Strip(ast.NodeTransformer):
    def __init__(self, left_out):
        self.left_out = left_out

    def visit_FunctionDef(self, node):
        if node.name in self.left_out:
            return None
        node.returns = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    visit_ClassDef = visit_FunctionDef

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        """Keep `x: int = 1` as `x = 1`, drop a bare `x: int`."""
        return ast.Assign(targets=[node.target], value=node.value) if node.value else None

    def visit_If(self, node):
        """Drop a guard: an `if` that only raises."""
        if not node.orelse and all(isinstance(statement, ast.Raise) for statement in node.body):
            return None
        return self.generic_visit(node)

    def visit_Try(self, node):
        """Put what is tried in the place of a guard: a `try` whose handlers work out a message and raise."""
        self.generic_visit(node)
        ends = [isinstance(handler.body[-1], ast.Raise) for handler in node.handlers]
        others = any(isinstance(part, ast.Return) for handler in node.handlers for part in ast.walk(handler))
        return node if node.orelse or node.finalbody or others or not all(ends) else node.body

    def visit_Assert(self, node):
        return None

    def visit_For(self, node):
        """Drop a loop that only checks."""
        self.generic_visit(node)
        return node if node.body else None

    def visit_Expr(self, node):
        """Drop calls of the library's checks."""
        call = node.value
        named = isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        return None if named and call.func.id.startswith("check_") else node
