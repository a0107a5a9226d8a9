"""The tools with which an engineer reads a recipe's source. A tree is a value, path -> text: there is no file
system behind these, and so nothing outside the recipe to be reached."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_ai import ModelRetry

LINES = 400
"""Most lines of one answer."""
WIDTH = 300
HITS = 60


def reading_tools(tree: Mapping[str, str], editable: Sequence[str]) -> list[Callable[..., Any]]:
    """`list_files`, `read_file` and `search` over a tree, for pydantic-ai."""

    async def list_files() -> str:
        """List the files of the recipe, with their numbers of lines; those that may be edited are marked."""
        rows = []
        for path, text in tree.items():
            mark = "  (editable)" if path in editable else ""
            rows.append(f"{path}: {text.count(chr(10))} lines{mark}")
        return "\n".join(rows)

    async def read_file(path: str, first_line: int = 1) -> str:
        """Read a file of the recipe, from a line on, at most 400 lines at a time.

        Args:
            path: As `list_files` gives it.
            first_line: Counted from 1.
        """
        lines = _file(tree, path).split("\n")
        start = max(first_line - 1, 0)
        shown = lines[start : start + LINES]
        return "\n".join([f"[lines {start + 1} to {start + len(shown)} of {len(lines)}]", *shown])

    async def search(pattern: str) -> str:
        """Find lines of the recipe's files by a regular expression.

        Args:
            pattern: In Python's syntax.
        """
        if len(pattern) > WIDTH:
            raise ModelRetry(f"the pattern has {len(pattern)} characters, {WIDTH} are allowed")
        try:
            wanted = re.compile(pattern)
        except re.error as error:
            raise ModelRetry(f"{pattern!r} is no regular expression: {error}") from None
        hits = [
            f"{path}:{number}:{line[:WIDTH]}"
            for path, text in tree.items()
            for number, line in enumerate(text.split("\n"), 1)
            if wanted.search(line[:WIDTH])
        ]
        more = [f"[{len(hits) - HITS} more lines]"] if len(hits) > HITS else []
        return "\n".join(hits[:HITS] + more) or "no line matches"

    return [list_files, read_file, search]


def _file(tree: Mapping[str, str], path: str) -> str:
    if path not in tree:
        raise ModelRetry(f"{path!r}: the recipe has no such file; it has {', '.join(tree)}")
    return tree[path]
