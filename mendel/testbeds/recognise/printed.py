"""What a program prints and logs, value by value, as read from the source of its texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import HOLE, dotted, segment

SAYS = re.compile(r"print|log|info|write|echo|say|report|set_description|set_postfix|critical|warning")
SERVICES = re.compile(r"self$|wandb|run$|fabric|trainer|mlflow|experiment|tracker|writer|aim|neptune|comet")
"""What is logged with these is not printed."""
SAMPLE = "2.7182"
"""What a value is shown as while a pattern is tried."""


@dataclass(frozen=True)
class Shown:
    """One value in a line of output."""

    before: str
    """Text left of it in its line, HOLE for other values."""
    after: str
    value: str
    """Source of the expression."""
    whole: str
    """The line with all its values made up; this one is SAMPLE."""
    path: str
    line: int


def shown_by(repo: Repository, path: str) -> Iterator[Shown]:
    """Every value in every text that a file prints or logs."""
    tree, text = repo.tree(path), repo.text(path)
    for node in ast.walk(tree) if tree else ():
        if not isinstance(node, ast.Call):
            continue
        owner, _, name = dotted(node.func).lower().rpartition(".")
        if not SAYS.search(name) or (name.startswith("log") and SERVICES.search(owner)):
            continue
        for pieces in _texts(node, text):
            yield from _values(pieces, path, node.lineno)


Piece = tuple[str, str]
"""Plain text and "", or a made-up value and the source of its expression."""


def _texts(node: ast.Call, text: str) -> Iterator[list[Piece]]:
    """The texts of a call: its f-string, its text with % or .format, or its arguments one after the other."""
    if len(node.args) > 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
        template = node.args[0].value
        if re.search(r"%[-\d.]*[sdfeg]", template):
            yield _percent(template, list(node.args[1:]), text)
            return
    if len(node.args) > 1 and any(not _is_text(one) for one in node.args):
        whole: list[Piece] = []
        for one in node.args:
            pieces = _formatted(one, text) or [(SAMPLE, segment(text, one) or "?")]
            whole += ([(" ", "")] if whole else []) + pieces
        yield whole
        return
    for one in node.args:
        made = _formatted(one, text)
        if made:
            yield made


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _formatted(node: ast.expr, text: str) -> list[Piece]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [(node.value, "")]
    if isinstance(node, ast.JoinedStr):
        return [_piece(one, text) for one in node.values]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
        values = list(node.right.elts) if isinstance(node.right, ast.Tuple) else [node.right]
        return _percent(str(node.left.value), values, text)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _formatted(node.left, text) + _formatted(node.right, text)
    called = node.func if isinstance(node, ast.Call) else None
    if (
        isinstance(called, ast.Attribute)
        and called.attr == "format"
        and isinstance(called.value, ast.Constant)
    ):
        return _braces(str(called.value.value), getattr(node, "args", []), text)
    return []


def _piece(node: ast.expr, text: str) -> Piece:
    if not isinstance(node, ast.FormattedValue):
        return (str(node.value), "") if isinstance(node, ast.Constant) else ("x", "?")
    form = (
        "".join(str(one.value) for one in ast.walk(node.format_spec) if isinstance(one, ast.Constant))
        if node.format_spec
        else ""
    )
    # Python 3.11 places the parts of f-strings wrongly, so the expression is written anew.
    return _sample(form), ast.unparse(node.value)


def _sample(form: str) -> str:
    """A number as a format shows it; one of its own kind where there is no format."""
    if re.search(r"\d{3}", form):  # a width that nobody prints
        return SAMPLE
    for value in (2.7182, 7):
        try:
            return format(value, form) if form else SAMPLE
        except (ValueError, TypeError, OverflowError, MemoryError):
            continue
    return "text"


def _percent(template: str, values: list[ast.expr], text: str) -> list[Piece]:
    pieces: list[Piece] = []
    given = iter(values)
    for part in re.split(r"(%[-+ #0]*\d*(?:\.\d+)?[sdifegr])", template):
        if re.fullmatch(r"%[-+ #0]*\d*(?:\.\d+)?[sdifegr]", part):
            one = next(given, None)
            pieces.append((SAMPLE, segment(text, one) or "?" if one is not None else "?"))
        elif part:
            pieces.append((part, ""))
    return pieces


def _braces(template: str, values: list[ast.expr], text: str) -> list[Piece]:
    return _percent(re.sub(r"\{[^{}]*\}", "%s", template.replace("%", "")), values, text)


def _values(pieces: list[Piece], path: str, line: int) -> Iterator[Shown]:
    """Each value with what stands left and right of it in its own line of the output."""
    for place, (_, source) in enumerate(pieces):
        if not source:
            continue
        left = "".join(HOLE if one[1] else one[0] for one in pieces[:place])
        right = "".join(HOLE if one[1] else one[0] for one in pieces[place + 1 :])
        before, after = re.split(r"[\n\r]", left)[-1], re.split(r"[\n\r]", right)[0]
        made = "".join(one[0] if one[1] else one[0] for one in pieces[:place])
        made = re.split(r"[\n\r]", made)[-1]
        other = "".join(one[0] for one in pieces[place + 1 :])
        # Other values differ from the sample, so that a pattern cannot be right by accident.
        whole = (
            made.replace(SAMPLE, "3.1415") + SAMPLE + re.split(r"[\n\r]", other)[0].replace(SAMPLE, "3.1415")
        )
        yield Shown(before, after, source, whole, path, line)
