"""What an audit of code found, and how it is said."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from mendel.records import Audit

LONG = 90
"""Characters of code that a reason shows."""


class Found(NamedTuple):
    """Something that an idea does not need."""

    path: str
    line: int
    construct: str
    why: str
    key: str
    """The same for the same reach, wherever it stands and whatever aliases are called."""


def verdict(name: str, found: Sequence[Found], clean: str) -> Audit:
    """The audit that shows the first of what was found."""
    if not found:
        return Audit(name=name, passed=True, reason=clean)
    first = min(found, key=lambda one: (one.path, one.line))
    more = len({(one.path, one.line) for one in found}) - 1
    rest = f" (and {more} more line{'s' if more > 1 else ''})" if more else ""
    return Audit(
        name=name,
        passed=False,
        reason=f"{first.path}:{first.line}: `{first.construct}` {first.why}; no idea needs that{rest}",
        evidence={"file": first.path, "line": first.line, "construct": first.construct, "lines": more + 1},
    )


def short(node: ast.AST) -> str:
    """A construct as the patch has it, on one line."""
    try:
        text = " ".join(ast.unparse(node).split())
    except RecursionError:
        text = type(node).__name__
    return text if len(text) <= LONG else text[: LONG - 3] + "..."
