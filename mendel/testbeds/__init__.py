"""Testbeds: the code being researched, reached only through a `testbed.toml`.

`gpt` ships here, and is loaded like anyone's: by reading its file. Nothing in mendel imports it.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

from pydantic import ValidationError

from mendel.inputs import refusal
from mendel.records import Testbed

BUILT_IN = {"gpt": Path(__file__).parent / "gpt"}
PLACEHOLDERS = {
    "command": ("recipe", "rung", "seed", "tokens", "data", "out"),
    "override": ("key", "value"),
}


class TestbedError(ValueError):
    """A testbed.toml that cannot be used: the message names file, key, value and what is allowed."""

    __test__ = False


def load_testbed(name_or_path: str | Path) -> Testbed:
    """Read a built-in testbed by name, or `testbed.toml` in a folder.

    Raises TestbedError for an unknown name, a missing file, a wrong key or an unknown placeholder.
    """
    root = BUILT_IN.get(str(name_or_path), Path(name_or_path)).resolve()
    path = root / "testbed.toml"
    if not path.is_file():
        raise TestbedError(
            f"{path}: no such file; give a folder with a testbed.toml or one of: {', '.join(BUILT_IN)}"
        )
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise TestbedError(f"{path}: not UTF-8 at byte offset {error.start}; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise TestbedError(f"{path}: {error}") from None
    if "root" in table:
        raise TestbedError(
            f"{path}: root: {table['root']!r:.80} found; it is the file's own folder, remove the key"
        )
    table.setdefault("python", sys.executable)
    try:
        testbed = Testbed(root=str(root), **table)
    except ValidationError as error:
        raise TestbedError(f"{path}: {refusal(error, Testbed)}") from None
    _check_placeholders(testbed, path)
    for file in (*testbed.files, testbed.score):
        if not (root / file).is_file():
            raise TestbedError(f"{path}: files: {file!r} does not exist in {root}")
    for file in testbed.editable:
        if file not in testbed.files:
            raise TestbedError(f"{path}: editable: {file!r} is not in files ({', '.join(testbed.files)})")
    return testbed


def _check_placeholders(testbed: Testbed, path: Path) -> None:
    for key, allowed in PLACEHOLDERS.items():
        known = " ".join(f"{{{name}}}" for name in allowed)
        for part in getattr(testbed, key):
            try:
                unknown = [name for name in _placeholders(part) if name not in allowed]
            except ValueError as error:  # a lone brace
                raise TestbedError(
                    f"{path}: {key}: {error} in {part!r:.80}; allowed are {known}, {{{{ and }}}} for braces"
                ) from None
            if unknown:
                raise TestbedError(
                    f"{path}: {key}: placeholder {{{unknown[0]}}} in {part!r:.80} is unknown; "
                    f"allowed are {known}"
                )


def _placeholders(text: str) -> Iterator[str]:
    """The names in braces, those within a format such as {seed:{width}} too."""
    for _, name, form, _ in Formatter().parse(text):
        if name is not None:
            yield name
            yield from _placeholders(form or "")


def check_rung(testbed: Testbed, number: int) -> None:
    """Raise TestbedError unless `number` is a rung of the testbed."""
    if not 0 <= number < len(testbed.rungs):
        raise TestbedError(
            f"{testbed.root}/testbed.toml: rung {number} is unknown; "
            f"allowed are 0 to {len(testbed.rungs) - 1}"
        )
