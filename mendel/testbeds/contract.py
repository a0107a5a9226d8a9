"""What a `testbed.toml` may say, and what is told where it is wrong: before any compute is spent."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

from pydantic import Field, ValidationError

from mendel.inputs import refusal
from mendel.records import Contract, Currency, Record, Rung, Scalar, Span, Testbed
from mendel.testbeds.files import FilesError, chosen, source_files

BUILT_IN = {"gpt": Path(__file__).parent / "gpt"}
FILE = "testbed.toml"
SAID = ("recipe", "rung", "seed", "data", "out", "device", "cpus", "gpus")
"""Placeholders of every command; the budget's name is one more."""


class TestbedError(ValueError):
    """A testbed.toml that cannot be used: the message names file, key, value and what is allowed."""

    __test__ = False


class RungTable(Record):
    """One scale of the ladder: a budget in the testbed's currency, about four times that of the one below."""

    model_config = {"use_attribute_docstrings": True}

    flops: float | None = Field(default=None, gt=0, strict=True)
    """Training FLOPs of one run, optimiser included; where `budget` is "flops"."""
    tokens: float | None = Field(default=None, gt=0, strict=True)
    """Where `budget` is "tokens"."""
    steps: float | None = Field(default=None, gt=0, strict=True)
    """Where `budget` is "steps"."""
    seconds: float | None = Field(default=None, gt=0, strict=True)
    """Of training; where `budget` is "seconds"."""
    timeout: float = Field(gt=0, strict=True)
    """Seconds after which a run is ended and counts as lost."""
    set: dict[str, Scalar] = {}
    """Configuration that makes the rung, such as its width and depth; a patch may override it."""


class TestbedTable(Contract):
    """The code being researched: how to run it, what may be edited, what it measures, and its rungs."""

    __test__ = False

    source: str = "."
    """Folder with the code, relative to this file. Nothing is ever written there."""
    python: str = ""
    """Interpreter that runs the testbed; empty for Mendel's own."""
    files: tuple[str, ...] = ()
    """Patterns of the source files, which a recipe holds; empty for all text files that git knows."""
    editable: tuple[str, ...] = Field(min_length=1)
    """Patterns of the files that a patch may touch."""
    protected: tuple[str | Span, ...] = ()
    """Patterns of files that no patch may touch, and spans of lines in editable ones."""
    rungs: tuple[RungTable, ...] = Field(min_length=1)
    """From the cheapest to the dearest."""


def load_testbed(name_or_path: str | Path) -> Testbed:
    """Read a built-in testbed by name, or `testbed.toml` in a folder, or such a file by its own name.

    Raises TestbedError for an unknown name, a missing file, a wrong key or an unknown placeholder.
    """
    path = BUILT_IN.get(str(name_or_path), Path(name_or_path)).resolve()
    path = path if path.is_file() else path / FILE
    if not path.is_file():
        raise TestbedError(
            f"{path}: no such file; give a folder with a testbed.toml or one of: {', '.join(BUILT_IN)}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TestbedError(f"{path}: not UTF-8 at byte offset {error.start}; save it as UTF-8") from None
    return parse_testbed(text, path)


def parse_testbed(text: str, path: Path) -> Testbed:
    """The testbed that a file's text describes, as if it lay at `path`. Raises TestbedError."""
    try:
        table = TestbedTable.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TestbedError(f"{path}: {error}") from None
    except ValidationError as error:
        raise TestbedError(f"{path}: {refusal(error, TestbedTable)}") from None
    try:
        return _resolve(table, path.parent)
    except (_Refused, FilesError) as error:
        raise TestbedError(f"{path}: {error}") from None


def schema() -> dict[str, Any]:
    """The JSON schema of a testbed.toml, as editors read it."""
    written = TestbedTable.model_json_schema()
    written["title"] = FILE
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **written}


class _Refused(ValueError):
    """What is wrong, after the file's name."""


def _resolve(table: TestbedTable, folder: Path) -> Testbed:
    root = (folder / Path(table.source).expanduser()).resolve()
    if not root.is_dir():
        raise _Refused(f"source: {table.source!r} is no folder; it is looked for at {root}")
    kept = {key: getattr(table, key) for key in Contract.model_fields}
    kept["command"] = _python_command(table.command)
    files = source_files(root, table.files)
    files += _beside(table, root, folder, files)
    editable = chosen("editable", table.editable, files)
    patterns = [one for one in table.protected if isinstance(one, str)]
    protected = chosen("protected", patterns, files)
    for file in protected:
        if file in editable:
            raise _Refused(f"protected: {file!r} is editable too (editable = {list(table.editable)})")
    testbed = Testbed(
        **kept,
        root=str(root),
        folder=str(folder.resolve()),
        python=_interpreter(table, folder),
        files=tuple(files),
        editable=tuple(editable),
        protected=tuple(one for one in table.protected if isinstance(one, Span)),
        protected_files=tuple(protected),
        rungs=tuple(_rung(rung, number, table.budget) for number, rung in enumerate(table.rungs)),
    )
    _check_measure(testbed)
    _check_placeholders(testbed)
    _check_source(testbed)
    return testbed


def _python_command(command: Sequence[str]) -> tuple[str, ...]:
    """Without the interpreter's name, which `python` gives; torchrun is a module of torch."""
    first, *rest = command
    if first in ("python", "python3") and rest:
        return tuple(rest)
    if first == "torchrun":
        return ("-m", "torch.distributed.run", *rest)
    return tuple(command)


def _beside(table: TestbedTable, root: Path, folder: Path, files: list[str]) -> list[str]:
    """The score file, where it was written for the testbed and lies beside its testbed.toml."""
    if not table.score or table.score in files:
        return []
    if (root / table.score).is_file() or (folder / table.score).is_file():
        return [table.score]
    raise _Refused(f"score: {table.score!r} does not exist in {root}, nor in {folder}")


def _interpreter(table: TestbedTable, folder: Path) -> str:
    if table.python and table.requirements:
        raise _Refused(
            "requirements: give either python or requirements, which makes an interpreter of its own"
        )
    if table.requirements and not (folder / table.requirements).is_file():
        raise _Refused(f"requirements: {table.requirements!r} does not exist in {folder}")
    if "/" in table.python:
        return str(
            folder / Path(table.python).expanduser()
        )  # not resolved: a link there is what makes a venv
    return table.python or sys.executable


def _rung(table: RungTable, number: int, budget: Currency) -> Rung:
    given = [one for one in Currency if getattr(table, one.value) is not None]
    if given != [budget]:
        named = ", ".join(one.value for one in given) or "none"
        raise _Refused(f'rungs.{number}: needs {budget.value}, because budget = "{budget}" (found {named})')
    return Rung(compute=getattr(table, budget.value), timeout=table.timeout, set=table.set)


def _check_measure(testbed: Testbed) -> None:
    if bool(testbed.score) == (testbed.metric is not None):
        raise _Refused(
            "score: say what is measured: either score, a file with load(dir), or [metric] with a pattern "
            "over the output, or with a file and a key"
        )
    if testbed.score in testbed.editable:
        raise _Refused(f"editable: {testbed.score!r} is the score file; a patch must not score itself")


def _check_placeholders(testbed: Testbed) -> None:
    budget = testbed.budget.told
    allowed = (*SAID[:3], budget, *SAID[3:])
    used: set[str] = set()
    texts = [("command", part) for part in testbed.command]
    texts += [(f"edits.{number}.replace", edit.replace) for number, edit in enumerate(testbed.edits)]
    texts += [(f"env.{name}", text) for name, text in testbed.env.items()]
    for key, part in texts:
        used |= _check_part(key, part, allowed)
    for part in testbed.override:
        _check_part("override", part, ("key", "value"))
    if (testbed.set or any(rung.set for rung in testbed.rungs)) and not testbed.override:
        raise _Refused('override: missing, and set needs it; for example ["--{key}={value}"]')
    needed = {budget: "a run would not be told its budget", "seed": "all runs would be the same"}
    if testbed.score or (testbed.metric and testbed.metric.file):
        needed["out"] = "a run would not be told its folder"
    for name, why in needed.items():
        if name not in used:
            raise _Refused(f"command: {{{name}}} is in neither command nor edits: {why}")


def _check_part(key: str, part: str, allowed: Sequence[str]) -> set[str]:
    """The placeholders in a text."""
    known = " ".join(f"{{{name}}}" for name in allowed)
    try:
        found = list(placeholders(part))
    except ValueError as error:  # a lone brace
        raise _Refused(
            f"{key}: {error} in {part!r:.80}; allowed are {known}, {{{{ and }}}} for braces"
        ) from None
    unknown = [name for name in found if name not in allowed]
    if unknown:
        raise _Refused(f"{key}: placeholder {{{unknown[0]}}} in {part!r:.80} is unknown; allowed are {known}")
    return set(found)


def placeholders(text: str) -> Iterator[str]:
    """The names in braces, those within a format such as {seed:{width}} too."""
    for _, name, form, _ in Formatter().parse(text):
        if name is not None:
            yield name
            yield from placeholders(form or "")


def _check_source(testbed: Testbed) -> None:
    """That the script is there, and what is searched for in the source, once."""
    script = testbed.command[0]
    if script != "-m" and "{" not in script and Path(script).as_posix() not in testbed.files:
        raise _Refused(
            f"command: {script!r} is none of the files ({', '.join(testbed.files[:8])}); "
            "allowed are one of these, or -m and a module"
        )
    for number, edit in enumerate(testbed.edits):
        count = _text(testbed, f"edits.{number}", edit.path).count(edit.search)
        if count != 1:
            raise _Refused(
                f"edits.{number}.search: {edit.search!r:.80} occurs {count} times in {edit.path}; "
                "it must occur exactly once"
            )
    for number, span in enumerate(testbed.protected):
        text = _text(testbed, f"protected.{number}", span.path)
        if span.path not in testbed.editable:
            raise _Refused(f"protected.{number}.path: {span.path!r} is not editable anyway; leave it out")
        try:
            span.of(text)
        except ValueError as error:
            raise _Refused(f"protected.{number}: {error}") from None


def _text(testbed: Testbed, key: str, path: str) -> str:
    if path not in testbed.files:
        raise _Refused(f"{key}.path: {path!r} is none of the files ({', '.join(testbed.files[:8])})")
    return Path(testbed.root, path).read_bytes().decode("utf-8")  # line ends as they are


def check_rung(testbed: Testbed, number: int) -> None:
    """Raise TestbedError unless `number` is a rung of the testbed."""
    if not 0 <= number < len(testbed.rungs):
        raise TestbedError(
            f"{testbed.folder}/testbed.toml: rung {number} is unknown; "
            f"allowed are 0 to {len(testbed.rungs) - 1}"
        )
