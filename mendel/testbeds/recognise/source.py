"""Small readings of Python source: constant expressions, texts that are made of parts, places that occur
once."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

HOLE = "\0"
"""Stands for what is only known when the program runs."""


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else node.attr
    return ""


def constant(node: ast.AST | None, depth: int = 0) -> bool | int | float | str | None:
    """The value of a literal, or of arithmetic on literals such as `2**19` or `5 * 8`; None for others."""
    if isinstance(node, ast.Constant):
        value = node.value
        return value if isinstance(value, bool | int | float | str) else None
    if depth > 20:
        return None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = constant(node.operand, depth + 1)
        return -inner if isinstance(inner, int | float) else None
    if isinstance(node, ast.Call) and dotted(node.func) in ("int", "float") and len(node.args) == 1:
        inner = constant(node.args[0], depth + 1)
        whole = isinstance(inner, int | float) and abs(inner) < 1e15
        return (
            int(inner) if whole and dotted(node.func) == "int" and isinstance(inner, int | float) else inner
        )
    if isinstance(node, ast.BinOp):
        left, right = constant(node.left, depth + 1), constant(node.right, depth + 1)
        if isinstance(left, int | float) and isinstance(right, int | float):
            return _arithmetic(node.op, left, right)
    return None


def _arithmetic(op: ast.operator, left: float, right: float) -> float | None:
    if isinstance(op, ast.Mult) and max(abs(left), abs(right)) < 1e15:
        return left * right
    if isinstance(op, ast.Add):
        return left + right
    if isinstance(op, ast.Sub):
        return left - right
    if isinstance(op, ast.Pow) and abs(left) <= 64 and 0 <= right <= 64:
        return float(left**right) if isinstance(left, float) else left**right
    if isinstance(op, ast.FloorDiv | ast.Div) and right:
        return left // right if isinstance(op, ast.FloorDiv) else left / right
    return None


def assigned(tree: ast.AST, before: float = math.inf) -> dict[str, ast.expr]:
    """Names that a module's own statements (those in functions left out) assign once, and the expression; of
    the statements before a line."""
    found: dict[str, ast.expr] = {}
    twice: set[str] = set()
    for node in statements(tree):
        target, value = None, None
        if node.lineno >= before:
            continue
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign):
            target, value = node.target, node.value
        if isinstance(target, ast.Name) and value is not None:
            if target.id in found:
                twice.add(target.id)
            found.setdefault(target.id, value)
    return {name: value for name, value in found.items() if name not in twice}


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Statements of a module or function in their order, those of functions and classes in it left out."""
    for part in ("body", "handlers", "cases", "orelse", "finalbody"):
        below = getattr(tree, part, None)
        for node in below if isinstance(below, list) else ():
            if isinstance(node, ast.stmt):
                yield node
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from statements(node)


def parts(node: ast.AST | None, names: Mapping[str, ast.expr], depth: int = 0) -> str:
    """The text or path that an expression makes, with HOLE for what is not known."""
    if node is None or depth > 8:
        return HOLE
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(parts(one, names, depth + 1) for one in node.values)
    if isinstance(node, ast.Name) and node.id in names:
        return parts(names[node.id], names, depth + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _joined(parts(node.left, names, depth + 1), parts(node.right, names, depth + 1))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return parts(node.left, names, depth + 1) + parts(node.right, names, depth + 1)
    if isinstance(node, ast.Call):
        return _called(node, names, depth)
    if isinstance(node, ast.Attribute) and node.attr == "parent":
        return _parent(parts(node.value, names, depth + 1))
    return "__file__" if isinstance(node, ast.Name) and node.id == "__file__" else HOLE


def _called(node: ast.Call, names: Mapping[str, ast.expr], depth: int) -> str:
    name = dotted(node.func)
    inside = [parts(one, names, depth + 1) for one in node.args]
    if name.endswith("path.join") and inside:
        whole = inside[0]
        for one in inside[1:]:
            whole = _joined(whole, one)
        return whole
    if name.endswith("path.dirname") and inside:
        return _parent(inside[0])
    if name.endswith(("abspath", "realpath", "expanduser", "Path", "str", "fspath")) and inside:
        return inside[0]
    if name.endswith(("Path.home", ".home")) and not inside:
        return "~"
    if name.endswith((".resolve", ".absolute", ".expanduser")) and isinstance(node.func, ast.Attribute):
        return parts(node.func.value, names, depth + 1)
    return HOLE


def _joined(left: str, right: str) -> str:
    if right.startswith(("/", "~")) or not left:
        return right
    return f"{left.rstrip('/')}/{right}"


def _parent(path: str) -> str:
    """`__file__` becomes `__here__`, the folder of the file."""
    if path == "__file__":
        return "__here__"
    return path.rpartition("/")[0] if "/" in path else HOLE


@lru_cache(maxsize=256)
def rows(text: str) -> list[str]:
    """The lines of a text as Python counts them, with their ends."""
    return [row + "\n" for row in text.split("\n")]


def segment(text: str, node: ast.AST | None) -> str:
    """The source of a node; empty where it has no place."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    lines = rows(text)[max(0, first - 1) : last]
    if not first or not lines or node is None:
        return ""
    start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 0)
    lines[-1] = lines[-1].encode()[:end].decode("utf-8", "replace")
    lines[0] = lines[0].encode()[start:].decode("utf-8", "replace")
    return "".join(lines)


def once(text: str, node: ast.AST, lines: int = 3) -> str:
    """The source of a node as it stands in the text, with as much around it as makes it occur once; empty
    where that takes more than a few lines."""
    own = segment(text, node)
    if own and text.count(own) == 1:
        return own
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    all_rows = rows(text)
    for more in range(lines + 1):
        for above in range(more + 1):
            piece = "".join(all_rows[max(0, first - 1 - above) : last + more - above]).rstrip("\r\n")
            if own and piece and text.count(piece) == 1:
                return piece
    return ""


def line_once(text: str, number: int) -> str:
    """A line without what is left of it, with as many lines after it as make it occur once; or empty."""
    for more in range(4):
        piece = "".join(rows(text)[number - 1 : number + more]).strip()
        if piece and text.count(piece) == 1:
            return piece
    return ""


def literal(text: str) -> str:
    """Text as it stands in a template: braces doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def indent(text: str, number: int) -> str:
    """White space before a line."""
    found = re.match(r"[ \t]*", rows(text)[number - 1]) if 0 < number <= len(rows(text)) else None
    return found[0] if found else ""
