"""Replacing the code of one expression, and not a byte beside it. Columns count bytes, as in `ast`."""

from __future__ import annotations

import ast


def code_of(lines: list[bytes], node: ast.expr) -> bytes:
    """The code of an expression in a file's `lines` (with their ends)."""
    first, last, tail = _ends(lines, node)
    whole = b"".join(lines[first : last + 1])
    return whole[node.col_offset : len(whole) - len(tail)]


def splice(lines: list[bytes], node: ast.expr, code: bytes) -> None:
    """Put `code` in the place of an expression. Places further down must be done before."""
    first, last, tail = _ends(lines, node)
    head = lines[first][: node.col_offset]
    lines[first : last + 1] = [head + code + tail] + [b""] * (last - first)


def _ends(lines: list[bytes], node: ast.expr) -> tuple[int, int, bytes]:
    """First and last line, and what follows the expression on the last."""
    assert node.end_lineno is not None and node.end_col_offset is not None
    last = node.end_lineno - 1
    return node.lineno - 1, last, lines[last][node.end_col_offset :]
