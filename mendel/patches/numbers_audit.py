"""Whether the numbers that a patched trainer reports are still the ones it measured.

What counts is scored by the lab from the checkpoint, whatever the log says. But people, plots and early
stopping read logs, so a patch that writes them by hand is not an idea.

Looked at are the calls of the testbed's own reporting methods (`run.log`, `run.save`). A patch may rename
what it logs, split the loss or log another measured one; it may not drop or repeat a report, put a number
there that nothing measured, or scale a measured one by a constant.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mendel.patches.fold import NotConstant, fold
from mendel.patches.found import Found, short, verdict
from mendel.patches.given import REPORTING, Members
from mendel.patches.names import Binding, Source
from mendel.records import Audit

FILES = frozenset({"data", "directory", "file", "folder", "log_file", "metrics", "out", "path", "stream"})
"""Attributes that hold where a run reads and writes."""
CHANGES = frozenset({"append", "clear", "extend", "insert", "pop", "remove"})
COUNTING = frozenset({"epochs", "steps"})
"""Methods whose results number the steps: they measure nothing."""
SMALLEST = frozenset({"min", "minimum"})
LOWERS = frozenset({"clamp", "clamp_", "clamp_max", "clip"}) | SMALLEST
SAME = frozenset({"clone", "cpu", "detach", "float", "item"})
"""Methods that leave a number what it is."""
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.comprehension)
_MAYBE = (ast.IfExp, ast.BoolOp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

MANY = 300
"""Values that are followed to where a number comes from."""

Givens = Mapping[str, Members]


class Report(NamedTuple):
    source: Source
    call: ast.Call

    def arguments(self) -> dict[str | int, ast.expr]:
        """By place or name."""
        placed: dict[str | int, ast.expr] = dict(enumerate(self.call.args))
        return placed | {word.arg: word.value for word in self.call.keywords if word.arg}


def audit_numbers(before: Sequence[Source], after: Sequence[Source], given: Givens) -> Audit:
    """`before` and `after`: the editable files that parse; `given`: what the testbed hands to them."""
    known = {found.key for source in before for found in _by_hand(source, given)}
    found = [one for source in after for one in _by_hand(source, given) if one.key not in known]
    more_passes = _calls(after, "backward") > _calls(before, "backward")
    old, new = _reports(before, given), _reports(after, given)
    for name in sorted(old.keys() | new.keys()):
        found += _counted(name, before, after, old.get(name, []), new.get(name, []))
        for was, now in zip(old.get(name, []), new.get(name, []), strict=False):
            found += _Numbers(was, now, more_passes).found()
    return verdict("numbers", found, "its reports are the trainer's own")


# --- files and counters ----------------------------------------------------------------------------------


def _by_hand(source: Source, given: Givens) -> Iterator[Found]:
    """Where a file touches what the testbed's own methods write."""
    for node in source.nodes:
        if not isinstance(node, ast.Attribute):
            continue
        for path in source.paths(node.value):
            its = given.get(path.removeprefix("given:")) if path.startswith("given:") else None
            if its is None:
                continue
            parent = source.parent[node]
            changed = isinstance(parent, ast.Attribute) and parent.attr in CHANGES
            if node.attr in its.counters and (changed or not isinstance(node.ctx, ast.Load)):
                yield _found(source, node, "sets a count that the testbed keeps")
            elif its.reports and node.attr in FILES & its.attributes and isinstance(node.ctx, ast.Load):
                yield _found(source, node, "reaches the files that a run leaves, without the run's methods")


def _found(source: Source, node: ast.AST, why: str) -> Found:
    return Found(source.path, getattr(node, "lineno", 1), short(node), why, f"{why}: {source.text(node)}")


# --- how often -------------------------------------------------------------------------------------------


def _reports(files: Sequence[Source], given: Givens) -> dict[str, list[Report]]:
    """Method (`run.log`) -> its calls."""
    methods = {f"given:{name}.{method}" for name, its in given.items() for method in REPORTING & its.methods}
    found: dict[str, list[Report]] = {}
    for source in files:
        for node in source.nodes:
            if isinstance(node, ast.Call):
                for path in source.paths(node.func) & methods:
                    found.setdefault(path.removeprefix("given:"), []).append(Report(source, node))
    return found


def _counted(
    name: str, before: Sequence[Source], after: Sequence[Source], old: list[Report], new: list[Report]
) -> Iterator[Found]:
    low, high = _times(before, old)
    least, most = _times(after, new)
    if least < low:
        where = new[0] if new else None
        source = where.source if where else old[0].source
        line = where.call.lineno if where else 1
        yield Found(source.path, line, f"{name}(...)", "is no longer called every time", "")
    if most > high:
        last = new[-1]
        yield _found(last.source, last.call, "reports more often than the trainer did")
    for was, now in zip(old, new, strict=False):
        if _repeats(now) and not _repeats(was):
            yield _found(now.source, now.call, "is repeated in a loop of its own")


def _times(files: Sequence[Source], reports: list[Report]) -> tuple[int, int]:
    """How many of the calls a pass through the code makes: at least and at most."""
    calls = {id(report.call) for report in reports}
    around = {id(node) for report in reports for node in _around(report)}
    ranges = [_block(source, source.tree.body, calls, around) for source in files]
    return sum(low for low, _ in ranges), sum(high for _, high in ranges)


def _around(report: Report) -> Iterator[ast.AST]:
    """A call and all that it stands in."""
    node: ast.AST | None = report.call
    while node is not None:
        yield node
        node = report.source.parent.get(node)


def _block(source: Source, body: Sequence[ast.AST], calls: set[int], around: set[int]) -> tuple[int, int]:
    """`around`: the nodes that have a call in them; others count for nothing."""
    low = high = 0
    for node in body:
        if id(node) not in around:
            continue
        parts = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.If):
            ways = [_block(source, part, calls, around) for part in (node.body, node.orelse)]
            parts = [node.test]
        elif isinstance(node, ast.Match):
            ways = [(0, 0), *(_block(source, case.body, calls, around) for case in node.cases)]
            parts = []
        elif isinstance(node, ast.Try) and node.handlers:
            ways = [(0, 0), _block(source, [*node.body, *node.orelse], calls, around)]
            parts = [*node.finalbody]
        else:
            ways = [(0, 0)]
        statements = [part for part in parts if isinstance(part, ast.stmt)]
        inside = _block(source, statements, calls, around) if statements else (0, 0)
        here = [call for part in parts if not isinstance(part, ast.stmt) for call in _inside(part, calls)]
        low += min(way[0] for way in ways) + inside[0] + sum(_always(source, call) for call in here)
        high += max(way[1] for way in ways) + inside[1] + len(here)
    return low, high


def _inside(node: ast.AST, calls: set[int]) -> list[ast.AST]:
    return [part for part in ast.walk(node) if id(part) in calls]


def _always(source: Source, node: ast.AST) -> bool:
    while not isinstance(node, ast.stmt):
        node = source.parent[node]
        if isinstance(node, _MAYBE):
            return False
    return True


def _repeats(report: Report) -> bool:
    """Whether the innermost loop around a call counts for itself: its length is not the testbed's."""
    node: ast.AST = report.call
    while not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)):
        node = report.source.parent[node]
        loops = node.generators if isinstance(node, _MAYBE[3:]) else [node]
        for loop in loops:
            if isinstance(loop, _LOOPS):
                return not _over_steps(report.source, loop.test if isinstance(loop, ast.While) else loop.iter)
    return False


def _over_steps(source: Source, node: ast.AST) -> bool:
    """Whether a loop goes over what one of the testbed's methods gives out."""
    for part in ast.walk(node):
        values = [b.value for b in source.bindings(part) or []] if isinstance(part, ast.Name) else [part]
        for value in values:
            if isinstance(value, ast.Call) and any(p.startswith("given:") for p in source.paths(value.func)):
                return True
    return False


def _calls(files: Sequence[Source], method: str) -> int:
    """Calls of a method of something given."""
    funcs = ((source, node.func) for source in files for node in source.nodes if isinstance(node, ast.Call))
    return sum(
        any(p.startswith("given:") and p.endswith(f".{method}") for p in source.paths(func))
        for source, func in funcs
    )


# --- which numbers ---------------------------------------------------------------------------------------


class _Numbers:
    """The arguments of one report, before and after the patch. `more_passes`: the patch computes more
    gradients per step, so what is added up may have to be divided."""

    def __init__(self, was: Report, now: Report, more_passes: bool) -> None:
        self.was, self.now, self.more_passes = was, now, more_passes

    def found(self) -> Iterator[Found]:
        now = self.now.arguments()
        for place, old in self.was.arguments().items():
            if place not in now or not measured(self.was.source, old):
                continue
            new, source = now[place], self.now.source
            if not measured(source, new):
                yield _found(source, new, "is reported in the place of a number that was measured")
            elif self._scaled(new, self._bare(old)):
                yield _found(source, new, "is reported instead of the number that was measured")
            elif isinstance(new, ast.Name):
                yield from self._rebound(new, self._bare(old) | {new.id})

    def _rebound(self, name: ast.Name, bare: set[str]) -> Iterator[Found]:
        """Assignments of the patch that put another number under a reported name."""
        source, end = self.now.source, self.now.call.lineno
        bindings = [b for b in source.bindings(name) or [] if b.value is not None and _line(b) <= end]
        known = self.was.source.all_bound()
        good = [b for b in bindings if b.value is not None and measured(source, b.value)]
        for binding in bindings:
            node, value = binding.node, binding.value
            if value is None or not isinstance(node, ast.stmt) or source.bound(name.id, binding) in known:
                continue
            if isinstance(node, ast.AugAssign):
                changed = _number(source, value) and not (self.more_passes and _divides(node.op))
            elif binding in good:
                changed = self._scaled(value, bare)
            else:
                changed = not any(_line(other) > _line(binding) for other in good)
            if changed:
                yield _found(source, node, "changes a number that was measured before it is reported")

    def _bare(self, node: ast.expr) -> set[str]:
        """Measured quantities that stand in an expression: names, and attributes of what was given."""
        source = self.was.source
        if isinstance(node, (ast.Name, ast.Attribute)):
            return {ast.unparse(node)}
        parts = [part for part in ast.walk(node) if isinstance(part, ast.Attribute)]
        return {
            ast.unparse(part) for part in parts if any(p.startswith("given:") for p in source.paths(part))
        }

    def _scaled(self, node: ast.AST, bare: set[str]) -> bool:
        """Whether one of the quantities meets a constant in arithmetic, or another one in a minimum."""
        source = self.now.source
        for part in ast.walk(node):
            if isinstance(part, ast.BinOp):
                sides = [part.left, part.right]
                if self.more_passes and _divides(part.op):
                    continue
            elif isinstance(part, ast.Call) and _called(part) in LOWERS:
                sides = [*part.args, *(word.value for word in part.keywords)]
                sides += [part.func.value] if isinstance(part.func, ast.Attribute) else []
            else:
                continue
            constant = any(_number(source, side) for side in sides) or _called(part) in SMALLEST
            if constant and len(sides) > 1 and any(_core(side) in bare for side in sides):
                return True
        return False


def measured(source: Source, node: ast.AST, seen: set[int] | None = None) -> bool:
    """Whether an expression depends on anything that the testbed's objects handed out: batches, a model in
    its place, gradients, counts. Step numbers, knobs and constants are no measurements."""
    seen = set() if seen is None else seen
    for part in ast.walk(node):
        called = (
            isinstance(source.parent.get(part), ast.Call) and getattr(source.parent[part], "func", 0) is part
        )
        for path in source.paths(part) if isinstance(part, (ast.Name, ast.Attribute)) else ():
            steps = path.split(".")
            if path.startswith("given:") and (len(steps) > 1 or called) and steps[-1] not in COUNTING:
                return True
        if isinstance(part, ast.Name):
            values = [binding.value for binding in source.bindings(part) or []]
            for value in (*values, *source.fed.get(part.id, [])):
                if value is None or id(value) in seen or len(seen) > MANY:
                    continue
                seen.add(id(value))
                if not _counts_steps(source, value) and measured(source, value, seen):
                    return True
    return False


def _counts_steps(source: Source, node: ast.AST) -> bool:
    paths = source.paths(node.func) if isinstance(node, ast.Call) else frozenset()
    return any(path.split(".")[-1] in COUNTING for path in paths if path.startswith("given:"))


def _number(source: Source, node: ast.AST) -> bool:
    try:
        return isinstance(fold(source, node), (int, float))
    except NotConstant:
        return False


def _core(node: ast.AST) -> str:
    """A quantity without conversions that leave it what it is."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in SAME:
            node = node.func.value
        elif isinstance(node.func, ast.Name) and node.func.id == "float" and node.args:
            node = node.args[0]
        else:
            break
    return ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""


def _called(node: ast.AST) -> str:
    func = node.func if isinstance(node, ast.Call) else None
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def _divides(op: ast.operator) -> bool:
    return isinstance(op, (ast.Div, ast.Mult))


def _line(binding: Binding) -> int:
    return getattr(binding.node, "lineno", 0)
