"""Testbeds: the code being researched, reached only through a `testbed.toml`.

`gpt` ships here, and is loaded like anyone's: by reading its file. Nothing in mendel imports it.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mendel.records import Testbed

BUILT_IN = {"gpt": Path(__file__).parent / "gpt"}


class TestbedError(ValueError):
    """A testbed.toml that cannot be used: the message names file, key, value and what is allowed."""

    __test__ = False


def load_testbed(name_or_path: str | Path) -> Testbed:
    """Read a built-in testbed by name, or `testbed.toml` in a folder.

    Raises TestbedError for an unknown name, a missing file or a wrong key.
    """
    root = BUILT_IN.get(str(name_or_path), Path(name_or_path)).resolve()
    path = root / "testbed.toml"
    if not path.is_file():
        raise TestbedError(
            f"{path}: no such file; give a folder with a testbed.toml or one of: {', '.join(BUILT_IN)}"
        )
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise TestbedError(f"{path}: {error}") from None
    table.setdefault("python", sys.executable)
    try:
        testbed = Testbed(root=str(root), **table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise TestbedError(f"{path}: {key}: {first['msg']} (found {first['input']!r:.80})") from None
    for file in (*testbed.files, testbed.score):
        if not (root / file).is_file():
            raise TestbedError(f"{path}: files: {file!r} does not exist in {root}")
    for file in testbed.editable:
        if file not in testbed.files:
            raise TestbedError(f"{path}: editable: {file!r} is not in files ({', '.join(testbed.files)})")
    return testbed


def check_rung(testbed: Testbed, number: int) -> None:
    """Raise TestbedError unless `number` is a rung of the testbed."""
    if not 0 <= number < len(testbed.rungs):
        raise TestbedError(
            f"{testbed.root}/testbed.toml: rung {number} is unknown; "
            f"allowed are 0 to {len(testbed.rungs) - 1}"
        )
