"""Static checks of a patched tree: what can be refused before a second of compute is spent.

Only what is certain is refused here: a file outside the list, a text that does not parse. Whether the
program runs, and whether an override's key exists, is found by the smoke run in the testbed itself.
"""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Collection, Mapping
from functools import lru_cache


class PatchError(ValueError):
    """A patch that cannot be used. `summary` is one line; `detail` shows lines that help to repair it."""

    def __init__(self, summary: str, detail: str = "") -> None:
        super().__init__(f"{summary}\n{detail}" if detail else summary)
        self.summary = summary
        self.detail = detail


def check_patched(before: Mapping[str, str], after: Mapping[str, str], editable: Collection[str]) -> None:
    """Raise PatchError unless `after` holds the same files as `before`, differs in editable files only,
    and every file that parsed before still parses."""
    for path in sorted(before.keys() ^ after.keys()):
        done = "added" if path in after else "removed"
        raise PatchError(f"{path}: a patch changes files, but this one was {done}; {allowed(editable)}")
    for path, text in after.items():
        if text == before[path]:
            continue
        if path not in editable:
            raise PatchError(f"{path}: this file is not editable; {allowed(editable)}")
        problem = syntax_error(path, text)
        # A file that never parsed here says nothing about the patch: the testbed's interpreter may be
        # newer than the lab's. The smoke run decides.
        if problem and not syntax_error(path, before[path]):
            raise PatchError(f"{problem} (after the patch)")


def allowed(editable: Collection[str]) -> str:
    """The end of an error message about a file that may not be edited."""
    return f"editable files: {', '.join(sorted(editable)) or 'none'}"


@lru_cache(maxsize=1024)
def syntax_error(path: str, text: str) -> str | None:
    """`path:line: reason` if the text of a .py or .toml file does not parse, else None.

    Python is compiled, not only parsed: that also finds a `return` outside a function or a repeated
    argument. Nothing is executed.
    """
    try:
        source = text.encode("utf-8")  # lone surrogates cannot be written to disk
        if path.endswith(".py"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(source, path, "exec", dont_inherit=True)
        elif path.endswith(".toml"):
            tomllib.loads(text)
    except SyntaxError as error:
        return f"{path}:{error.lineno or 1}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{path}: {error or 'nested too deeply'}"
    return None
