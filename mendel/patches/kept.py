"""Whether a patch leaves alone what a testbed protects: lines of its files, and what its own edits need.

Text that is still there says little: it may stand in a comment now, or what it defines may be defined again
below. So Python files are compared as syntax trees.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from mendel.records import Audit, RunEdit, Span

NAME = "protected"


class Protects(Protocol):
    """A testbed, or what a campaign noted of one."""

    @property
    def protected(self) -> Sequence[Span]: ...

    @property
    def edits(self) -> Sequence[RunEdit]: ...


def audit_kept(testbed: Protects, old: Mapping[str, str], new: Mapping[str, str]) -> Audit:
    """Whether protected lines, and those that every run is edited at, are as they were and mean the same."""
    for span in testbed.protected:
        lines = span.of(old[span.path])
        why = _changed(old[span.path], new[span.path], lines, names=True)
        if why:
            what = f"the lines from {span.first!r:.60} to {span.last!r:.60} are protected"
            return Audit(name=NAME, passed=False, reason=f"{span.path}: {what}: {why}")
    for edit in testbed.edits:
        # A constant that a run is given must not be set again; a call, such as one that seeds, may be
        # followed by whatever an idea needs.
        why = _changed(old[edit.path], new[edit.path], edit.search, names=_is_constant(edit.search))
        if why:
            what = f"{edit.search!r:.60} must stay: each run has its seed or its budget there"
            return Audit(name=NAME, passed=False, reason=f"{edit.path}: {what}: {why}")
    return Audit(name=NAME, passed=True, reason="what the testbed protects is as it was")


def _changed(old: str, new: str, text: str, names: bool) -> str:
    """What became of a text of a file, in words; empty where nothing did. With `names`, what it binds must
    not be bound anywhere else than before."""
    if new.count(text) != old.count(text):
        return "they were changed" if "\n" in text else "it was changed"
    if old == new:
        return ""
    try:
        before, after = ast.parse(old), ast.parse(new)
    except (SyntaxError, ValueError):
        return ""  # not Python: the text is all there is
    start = old.count("\n", 0, old.index(text)) + 1
    end = start + text.rstrip("\n").count("\n")
    inside = [one for one in ast.walk(before) if isinstance(one, ast.stmt) and _within(one, start, end)]
    had, has = _statements(before), _statements(after)
    for one in inside:
        if has[dump := ast.dump(one)] != had[dump]:
            return "it is no longer run as it was"
    bound = {name for one in inside for name in _bound(one)} if names else set()
    for name in sorted(bound):
        if _bindings(before, name) != _bindings(after, name):
            return f"{name} is bound in another place"
    return ""


def _within(node: ast.stmt, start: int, end: int) -> bool:
    return start <= node.lineno and (node.end_lineno or node.lineno) <= end


def _statements(tree: ast.AST) -> Counter[str]:
    return Counter(ast.dump(one) for one in ast.walk(tree) if isinstance(one, ast.stmt))


def _bound(node: ast.AST) -> set[str]:
    """Names that a statement itself binds; those of a function's body are its own."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        return {
            one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
    return set()


def _bindings(tree: ast.AST, name: str) -> Counter[str]:
    """Every statement that binds a name, or takes it away, as text."""
    found: Counter[str] = Counter()
    for one in ast.walk(tree):
        if isinstance(one, ast.Import | ast.ImportFrom):
            hit = any((alias.asname or alias.name) == name for alias in one.names)
        elif isinstance(one, ast.Name):
            hit = one.id == name and not isinstance(one.ctx, ast.Load)
        elif isinstance(one, ast.Global | ast.Nonlocal):
            hit = name in one.names
        else:
            hit = name in _bound(one)
        if hit:
            found[ast.dump(one)] += 1
    return found


def _is_constant(search: str) -> bool:
    """Whether a text sets a name to a value that is written out."""
    try:
        body = ast.parse(search.strip()).body
    except (SyntaxError, ValueError):
        return False
    return (
        len(body) == 1
        and isinstance(body[0], ast.Assign | ast.AnnAssign)
        and isinstance(body[0].value, ast.Constant)
    )
