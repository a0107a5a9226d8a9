"""Lines that no patch may touch in a file that may be patched: the functions that evaluate, and from each
call of them to where the loss is told, so that nothing comes between."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import Said
from mendel.testbeds.recognise.source import dotted
from mendel.testbeds.recognise.source import rows as source_rows

EVALUATES = re.compile(
    r"^_?(run_|compute_|do_)?(estimate_loss|eval\w*|valid\w*|\w+_eval|\w+_validation|get_val\w*|test_loss|val_loss)"
)
CHECKS = re.compile(r"arg|config|checkpoint|param|input|_start|_end|batch_iter|setting|option")
TRAINS = re.compile(r"\.backward\(|\.zero_grad\(|\.step\(|value_and_grad\(")
"""Lines with these are never protected: they are what is researched."""
CONVERTS = ("len", "max", "float", "round", "item", "mean", "exp", "log", "cpu", "detach", "tolist", "sum")
NEAR = 24
"""Lines over which an evaluation and its report are one piece."""
GROW = 4
"""Lines more that are taken in, at most, where a line's text is not there once."""
BLOCKS = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.While, ast.With, ast.Try),
    *(ast.AsyncFor, ast.AsyncWith, ast.Match),
)
Lines = tuple[int, int]


def protected_spans(
    repo: Repository, path: str, metric: Said | None
) -> tuple[list[dict[str, str]], list[str]]:
    """Spans as [protected] has them, and in words the lines that cannot be written as one."""
    tree, rows = repo.tree(path), source_rows(repo.text(path))
    if tree is None:
        return [], []
    found: list[dict[str, str]] = []
    open_: list[str] = []
    for first, last in _pieces(tree, rows, path, metric):
        span = _span(rows, path, first, last)
        found += [span] if span else []
        open_ += [] if span else [f"{path}, lines {first} to {last}"]
    return found, open_


def _pieces(tree: ast.Module, rows: list[str], path: str, metric: Said | None) -> list[Lines]:
    """Lines to be protected, in their order; those that touch are one."""
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    judges = [_lines(one) for one in functions if _evaluates(one.name)]
    reports = sorted(set(_reports(tree, functions, rows, path, metric)))
    calls = {lines for lines in _calls(tree) if not any(_within(lines, one) for one in judges)}
    if metric and metric.path == path:
        sources = _sources(tree, functions, metric) if metric.sure else ()
        calls |= {lines for lines in sources if not _train(rows, lines[0], metric.line)}
    joined = []
    for call in calls:
        home = _home(functions, call)
        ends = [one[1] for one in reports if one >= call and _home(functions, one) is home]
        ends = [end for end in ends if end - call[0] <= NEAR and not _train(rows, call[0], end)]
        joined.append((call[0], max([call[1], *ends])))
    merged: list[Lines] = []
    for first, last in sorted([*judges, *joined, *reports]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _evaluates(name: str) -> bool:
    return bool(EVALUATES.match(name)) and name != "eval" and not CHECKS.search(name)


def _called(node: ast.AST) -> list[str]:
    """Last names of what is called below a node."""
    calls = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return [one.attr if isinstance(one, ast.Attribute) else dotted(one) for one in calls]


def _parts(tree: ast.AST) -> Iterator[tuple[ast.stmt, Sequence[ast.AST], Lines]]:
    """Every statement with what it evaluates itself, and the lines of that: of a block its head alone."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        if not isinstance(node, BLOCKS):
            yield node, [node], _lines(node)
            continue
        own = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr | ast.withitem)]
        last = max((_lines(one)[1] for one in own if isinstance(one, ast.expr)), default=node.lineno)
        yield node, own, (node.lineno, last)


def _calls(tree: ast.Module) -> Iterator[Lines]:
    """Statements that call what evaluates."""
    for _, own, lines in _parts(tree):
        if any(_evaluates(name) for one in own for name in _called(one)):
            yield lines


def _reports(
    tree: ast.Module, functions: list[ast.FunctionDef], rows: list[str], path: str, metric: Said | None
) -> Iterator[Lines]:
    """Statements that tell the loss, those that hand it to a function which does, and what writes it."""
    if metric is None:
        return
    parts = list(_parts(tree))
    told = [(first, last) for place, first, last in metric.places if place == path]
    told += [(metric.line, metric.line)] if metric.path == path and metric.line else []
    for first, last in told:
        around = [lines for _, _, lines in parts if lines[0] <= first and last <= lines[1]]
        yield min(around, key=lambda one: one[1] - one[0], default=(first, last))
    expression = _expression(metric)
    teller = _home(functions, told[-1]) if told and metric.path == path else None
    given = {one.arg for one in ast.walk(teller.args) if isinstance(one, ast.arg)} if teller else set()
    if teller and expression and _plain(expression) & given:  # the loss comes in from where it is called
        if not _train(rows, *_lines(teller)):
            yield _lines(teller)
        yield from (lines for _, own, lines in parts if any(teller.name in _called(one) for one in own))


def _sources(tree: ast.Module, functions: list[ast.FunctionDef], metric: Said) -> Iterator[Lines]:
    """Statements from which the told value comes, back to the call that makes it."""
    expression, home = _expression(metric), _home(functions, (metric.line, metric.line))
    wanted, before = _plain(expression) if expression else set(), metric.line
    for _ in range(4):
        nearest = [
            (node, lines)
            for node, _, lines in _parts(home or tree)
            if isinstance(node, ast.Assign) and metric.line - NEAR <= lines[0] < before
            and _home(functions, lines) is home and wanted & {n for one in node.targets for n in _names(one)}
        ]  # fmt: skip
        if not nearest:
            return
        node, lines = max(nearest, key=lambda one: one[1])
        yield lines
        assert isinstance(node, ast.Assign)
        wanted, before = _plain(node.value), lines[0]


def _plain(node: ast.expr) -> set[str]:
    """Names that a value is read from; none where it is made by a call."""
    made = [name for name in _called(node) if name not in CONVERTS]
    return set() if made else _names(node) - set(CONVERTS)


def _expression(metric: Said) -> ast.expr | None:
    try:
        return ast.parse(metric.expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _lines(node: ast.stmt | ast.expr) -> Lines:
    return node.lineno, node.end_lineno or node.lineno


def _within(lines: Lines, outer: Lines) -> bool:
    return outer[0] <= lines[0] and lines[1] <= outer[1]


def _home(functions: list[ast.FunctionDef], lines: Lines) -> ast.FunctionDef | None:
    """The innermost function that lines stand in."""
    around = [one for one in functions if _within(lines, _lines(one)) and lines != _lines(one)]
    return max(around, key=lambda one: one.lineno, default=None)


def _train(rows: list[str], first: int, last: int) -> bool:
    return any(TRAINS.search(row) for row in rows[first - 1 : last])


def _span(rows: list[str], path: str, first: int, last: int) -> dict[str, str] | None:
    """Lines as a span, with a few around them where their own texts are there twice: `first` is in that line
    alone, and `last` in no line between. None where the lines' texts cannot say it."""
    top = next((one for one in range(first, max(0, first - GROW - 1), -1) if _begins(rows, one)), 0)
    if not top or _train(rows, top, first - 1):
        return None
    end = next((one for one in range(last, min(len(rows), last + GROW) + 1) if _ends(rows, top, one)), 0)
    if not end or _train(rows, last + 1, end):
        return None
    shown = _short(rows[top - 1].strip(), rows)
    return {
        "path": path,
        "first": shown,
        "last": shown if top == end else _short(rows[end - 1].strip(), rows[top - 1 : end]),
    }


def _begins(rows: list[str], number: int) -> bool:
    text = rows[number - 1].strip()
    return bool(text) and sum(text in row for row in rows) == 1


def _ends(rows: list[str], first: int, number: int) -> bool:
    text = rows[number - 1].strip()
    return bool(text) and not any(text in row for row in rows[first - 1 : number - 1])


def _short(line: str, rows: list[str]) -> str:
    """The beginning of a line that no other of the rows has."""
    for length in range(24, len(line), 8):
        if sum(line[:length].rstrip() in row for row in rows) == 1:
            return line[:length].rstrip()
    return line
