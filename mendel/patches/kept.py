"""Whether a patch leaves alone what a testbed protects: lines of its files, and what its own edits need.

Text that is still there says little: it may stand in a comment now, or what it defines may be defined again
below. So Python files are compared as syntax trees.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from mendel.records import Audit, RunEdit, Span

NAME = "protected"
CHANGES = frozenset(
    {"update", "pop", "popitem", "clear", "setdefault", "append", "extend", "insert", "__setitem__", "fill_"}
    | {"mul_", "div_", "sub_", "add_", "copy_", "zero_"}
)
"""Methods that change what they belong to."""


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
    if not names:
        return ""
    bound = {name for one in inside for name in _bound(one)}
    for name in sorted(bound):
        if not _used_up(before, name, start, end) and _bindings(before, name) != _bindings(after, name):
            return f"{name} is bound in another place"
    for name in sorted(_called(inside)):
        if name.partition(".")[0] not in bound and _stands_for_another(before, after, name):
            return f"{name}, which they call, is bound in another place"
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


def _bindings(tree: ast.AST, name: str, called: str = "") -> Counter[str]:
    """Everything that binds a name, takes it away, or changes what it holds in place, as text; of changes in
    place, where it is there to be called, those of what is called."""
    found: Counter[str] = Counter()
    for one in ast.walk(tree):
        if isinstance(one, ast.Import | ast.ImportFrom):
            hit = bool(_imported(one, name))
        elif isinstance(one, ast.Attribute | ast.Subscript):
            hit = not isinstance(one.ctx, ast.Load) and _root(one) == name and _touches(one, called)
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            hit = not called and one.func.attr in CHANGES and _root(one.func) == name
        elif isinstance(one, ast.Name):
            hit = one.id == name and not isinstance(one.ctx, ast.Load)
        elif isinstance(one, ast.Global | ast.Nonlocal):
            hit = name in one.names
        else:
            hit = name in _bound(one)
        if hit:
            found[ast.dump(one)] += 1
    return found


def _used_up(tree: ast.AST, name: str, start: int, end: int) -> bool:
    """Whether lines set a name before they read it, and others use it again for something else: what these
    do with it does not reach the lines."""
    nodes = [one for one in ast.walk(tree) if isinstance(one, ast.Name) and one.id == name]
    sets = [one.lineno for one in nodes if isinstance(one.ctx, ast.Store)]
    inside = [line for line in sets if start <= line <= end]
    reads = [one.lineno for one in nodes if isinstance(one.ctx, ast.Load) and start <= one.lineno <= end]
    return bool(inside and reads) and min(reads) > min(inside) and len(sets) > len(inside)


def _called(nodes: Iterable[ast.AST]) -> set[str]:
    """What statements call, as `a.b`."""
    calls = [one.func for node in nodes for one in ast.walk(node) if isinstance(one, ast.Call)]
    return {ast.unparse(func) for func in calls if _root(func)}


def _root(node: ast.AST) -> str:
    """`a` of `a.b[0]`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _stands_for_another(before: ast.AST, after: ast.AST, called: str) -> bool:
    """Whether what is called, by an imported name or one of Python's own, is now something else as well."""
    name = called.partition(".")[0].partition("[")[0]
    had, has = _bindings(before, name, called), _bindings(after, name, called)
    if had - _imports(before, name):
        return False  # the file's own, which may be researched
    return bool(has - _imports(after, name)) or _origins(before, name) != _origins(after, name)


def _touches(target: ast.expr, called: str) -> bool:
    """Whether to set a target changes what is called: `torch.backends` is no part of `torch.no_grad`."""
    to = ast.unparse(target)
    return not called or f"{called}.".startswith(f"{to}.") or to.startswith(f"{called}.")


def _imports(tree: ast.AST, name: str) -> Counter[str]:
    """Of the statements that bind a name, those that import it."""
    kinds = ast.Import | ast.ImportFrom
    own = [one for one in ast.walk(tree) if isinstance(one, kinds) and _imported(one, name)]
    return Counter(ast.dump(one) for one in own)


def _imported(node: ast.Import | ast.ImportFrom, name: str) -> list[str]:
    """What an import binds a name to."""
    home = f"{'.' * node.level}{node.module or ''}:" if isinstance(node, ast.ImportFrom) else ""
    aliases = [one for one in node.names if (one.asname or one.name.partition(".")[0]) == name]
    return [home + (one.name if one.asname or home else name) for one in aliases]


def _origins(tree: ast.AST, name: str) -> set[str]:
    kinds = ast.Import | ast.ImportFrom
    return {home for one in ast.walk(tree) if isinstance(one, kinds) for home in _imported(one, name)}


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
