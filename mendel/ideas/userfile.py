"""Ideas from a file: TOML for programs and long patches, Markdown for people. `docs/ideas.md` shows both.

The built-in catalog is read by the same code, so whatever it can say, a user's file can say too. A file is
taken whole or not at all: a half-read list of ideas would be a different campaign without anyone noticing.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mendel.inputs import allowed, nearest, refusal
from mendel.records import IDEA_CLASSES, Finding, Idea

REQUIRED = ("name", "class", "hypothesis")
PATCH = ("slot", "overrides", "edits", "tune")
UNSAID: dict[str, Any] = {"mechanism": "", "citation": "", "forecast": {"mean": 0.0, "sd": 0.2}}
"""What stands for words and numbers that a file leaves out: an idea of which nothing is expected."""
OPTIONAL = (*UNSAID, "proposer", *PATCH)
MARKDOWN_KEYS = ("class", "forecast", "slot", "citation", "proposer", "hypothesis", "mechanism")
BUILT_IN = "catalog"
"""Proposer of the ideas that ship with the package, and of no others: they are trusted more."""
TABLES = {"toml": "overrides", "toml tune": "tune"}
"""Info string of a fenced block in Markdown -> the key that it gives."""
MARKERS = ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE")


class IdeasError(ValueError):
    """A file of ideas that cannot be used: the message names file, idea, key or line, value and what is
    allowed."""


class UserFile:
    """Proposes the ideas of one file that no finding speaks of yet, in the file's order."""

    def __init__(self, path: str | Path) -> None:
        self.ideas = load_ideas(path)

    def propose(self, findings: Sequence[Finding], count: int) -> tuple[Idea, ...]:
        return untried(self.ideas, findings)[:count]


def untried(ideas: Iterable[Idea], findings: Sequence[Finding]) -> tuple[Idea, ...]:
    """The ideas whose name no finding has, in their order."""
    known = {finding.idea.name for finding in findings}
    return tuple(idea for idea in ideas if idea.name not in known)


def load_ideas(path: str | Path, proposer: str = "user") -> tuple[Idea, ...]:
    """Read a `.toml` or `.md` file. `proposer` stands for ideas that name none.

    Raises IdeasError for a file that cannot be read, holds no idea, or has anything it should not.
    """
    path = Path(path)
    if path.suffix not in (".toml", ".md"):
        raise IdeasError(f"{path}: the name ends in {path.suffix!r}; allowed are .toml and .md")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IdeasError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    return parse_ideas(text, path.suffix, str(path), proposer)


def parse_ideas(text: str, suffix: str, source: str, proposer: str = "user") -> tuple[Idea, ...]:
    """The ideas in `text`, written in the format of `suffix` (".toml" or ".md"). `source` is for messages."""
    tables = _read_toml(text, source) if suffix == ".toml" else _read_markdown(text, source)
    ideas: dict[str, Idea] = {}
    for number, table in enumerate(tables, 1):
        idea = to_idea(table, source, number, proposer)
        if idea.name in ideas:
            raise IdeasError(f"{source}: idea {number}: name: {idea.name!r} occurs twice; names are unique")
        ideas[idea.name] = idea
    if not ideas:
        wanted = "[[idea]] table" if suffix == ".toml" else "`## name` heading"
        raise IdeasError(f"{source}: no ideas found; write at least one {wanted}")
    return tuple(ideas.values())


# --- tables to records --------------------------------------------------------------------------------


def to_idea(table: dict[str, Any], source: str, number: int, proposer: str) -> Idea:
    """The idea of an [[idea]] table, the `number`th of its `source`. Raises IdeasError."""
    name = table.get("name")
    where = f"{source}: idea {name!r}" if isinstance(name, str) else f"{source}: idea {number}"
    for key in table:
        if key not in REQUIRED + OPTIONAL:
            raise IdeasError(f"{where}: {key}: unknown key{allowed(key, REQUIRED + OPTIONAL)}")
    for key in REQUIRED:
        if key not in table:
            raise IdeasError(f"{where}: {key}: missing; every idea has {', '.join(REQUIRED)}")
    if table["class"] not in IDEA_CLASSES:
        raise IdeasError(
            f"{where}: class: {table['class']!r:.60} is unknown{allowed(table['class'], IDEA_CLASSES)}"
        )
    patch = {key: table[key] for key in PATCH if key in table}
    words = {key: table[key] for key in ("name", "hypothesis", *UNSAID) if key in table}
    fields = {
        **UNSAID,
        **words,
        "idea_class": table["class"],
        "proposer": table.get("proposer", proposer),
        "patch": patch,
    }
    if fields["proposer"] == BUILT_IN != proposer:
        raise IdeasError(f"{where}: proposer: {BUILT_IN!r} is the built-in library's; give another name")
    try:
        idea = Idea.model_validate(fields)
    except ValidationError as error:
        raise IdeasError(f"{where}: {refusal(error, Idea, {'patch.': ''})}") from None
    _check_finite(idea, where)
    return idea


def _check_finite(idea: Idea, where: str) -> None:
    numbers = {"forecast.mean": idea.forecast.mean, "forecast.sd": idea.forecast.sd}
    numbers |= {f"overrides.{k}": v for k, v in idea.patch.overrides.items() if isinstance(v, float)}
    for key, value in numbers.items():
        if not math.isfinite(value):
            raise IdeasError(f"{where}: {key}: {value} is not allowed; give a finite number")


# --- TOML ---------------------------------------------------------------------------------------------


def _read_toml(text: str, source: str) -> list[dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise IdeasError(f"{source}: not valid TOML: {error}") from None
    for key in document:
        if key != "idea":
            raise IdeasError(f"{source}: {key}: unknown key; a file holds [[idea]] tables only")
    tables = document.get("idea", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise IdeasError(f"{source}: idea: found {tables!r:.60}; write each idea as an [[idea]] table")
    return tables


def to_toml(idea: Idea) -> str:
    """The idea as an [[idea]] table that `load_ideas` reads back as an equal record; which of its values a
    search found is not said."""
    f = idea.forecast
    rows = ["[[idea]]", f"name = {_value(idea.name)}", f"class = {_value(idea.idea_class)}"]
    rows += [f"{key} = {_value(getattr(idea, key))}" for key in ("hypothesis", "mechanism", "citation")]
    rows += [f"forecast = {{ mean = {f.mean!r}, sd = {f.sd!r}, p_runs = {f.p_runs!r} }}"]
    rows += [f"proposer = {_value(idea.proposer)}"]
    if idea.patch.slot is not None:
        rows.append(f"slot = {_value(idea.patch.slot)}")
    if idea.patch.overrides:
        pairs = (f"{_value(key)} = {_value(value)}" for key, value in idea.patch.overrides.items())
        rows.append(f"overrides = {{ {', '.join(pairs)} }}")
    if idea.patch.tune:
        rows.append(f"tune = {{ {', '.join(_ranges(idea))} }}")
    for edit in idea.patch.edits:
        rows += ["", "[[idea.edits]]", f"path = {_value(edit.path)}"]
        rows += [f"search = {_block(edit.search)}", f"replace = {_block(edit.replace)}"]
    return "\n".join(rows) + "\n"


def _ranges(idea: Idea) -> list[str]:
    """What is tuned, as TOML: `"lr" = { low = 0.001, high = 0.02, log = true }`."""
    rows = []
    for key, one in idea.patch.tune.items():
        words = [f"low = {one.low!r}", f"high = {one.high!r}"]
        words += [f"{name} = true" for name in ("log", "integer") if getattr(one, name)]
        rows.append(f"{_value(key)} = {{ {', '.join(words)} }}")
    return rows


def _value(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", escaped) + '"'
    return repr(value)


def _block(text: str) -> str:
    """A literal string, in which code needs no escapes, where TOML's rules allow one."""
    plain = "'''" not in text and not text.endswith("'") and not text.startswith("\n")
    return f"'''{text}'''" if plain and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text) else _value(text)


# --- Markdown -----------------------------------------------------------------------------------------


def _read_markdown(text: str, source: str) -> list[dict[str, Any]]:
    """One table per `## name` heading; what stands before the first heading is for the reader alone."""
    tables: list[dict[str, Any]] = []
    lines = text.split("\n")
    i = 0
    key = None  # the field that the next line may continue
    while i < len(lines):
        line, where = lines[i], f"{source}: line {i + 1}"
        i += 1
        if line.startswith("```") and tables:
            fence, info = _fence(line)
            end = next((j for j in range(i, len(lines)) if lines[j].rstrip() == fence), None)
            if end is None:
                raise IdeasError(f"{where}: the block {line!r:.60} is never closed; end it with {fence}")
            _read_block(tables[-1], info, lines[i:end], source, i)
            i, key = end + 1, None
        elif line.startswith("## "):
            tables.append({"name": line[3:].strip()})
            key = None
        elif tables:
            key = _read_line(tables[-1], key, line.strip(), where)
    return tables


def _fence(line: str) -> tuple[str, str]:
    info = line.lstrip("`")
    return line[: len(line) - len(info)], info.strip()


def _read_line(table: dict[str, Any], key: str | None, line: str, where: str) -> str | None:
    """Store one line of text and return the field that the next line may continue."""
    if not line:
        return None
    head, colon, rest = line.partition(":")
    field = head.strip().lower()
    if colon and field in MARKDOWN_KEYS:
        if field in table:
            raise IdeasError(f"{where}: {field}: given twice for idea {table['name']!r}; give it once")
        table[field] = _forecast(rest, where) if field == "forecast" else rest.strip()
        return None if field == "forecast" else field
    known = f"{allowed(field, MARKDOWN_KEYS)}, and fenced blocks"
    if key is None:
        raise IdeasError(f"{where}: {line!r:.60} belongs to no field{known}")
    misspelt = re.fullmatch(r"[\w-]+", field) and nearest(field, MARKDOWN_KEYS)
    if colon and (misspelt or field in REQUIRED + OPTIONAL):
        # Taken for the next line of the field above it, its value would be lost without a word.
        raise IdeasError(f"{where}: {field}: unknown field{known}")
    table[key] = f"{table[key]} {line}".strip()
    return key


def _forecast(text: str, where: str) -> dict[str, float]:
    """`mean=0.1 sd=0.2 p_runs=0.95`, in any order, separated by white space or commas."""
    numbers: dict[str, float] = {}
    for part in text.replace(",", " ").split():
        key, _, value = part.partition("=")
        try:
            numbers[key] = float(value)
        except ValueError:
            raise IdeasError(
                f"{where}: forecast: found {part!r:.60}; write it as mean=0.1 sd=0.2 p_runs=0.95"
            ) from None
    return numbers


def _read_block(table: dict[str, Any], info: str, body: list[str], source: str, line: int) -> None:
    """A fenced block: a table (its info string is in TABLES), or edits (its last word is a file's path)."""
    name, where = table["name"], f"{source}: line {line}"
    if info in TABLES:
        key = TABLES[info]
        if key in table:
            raise IdeasError(f"{where}: {key}: given twice for idea {name!r}; give one ```{info} block")
        try:
            table[key] = tomllib.loads("\n".join(body))
        except (ValueError, RecursionError) as error:
            raise IdeasError(f"{where}: {key} of idea {name!r}: not valid TOML: {error}") from None
    elif info:
        edits = _edits(info.split()[-1], body, source, line)
        table["edits"] = [*table.get("edits", []), *edits]
    else:
        raise IdeasError(
            f"{where}: a bare ``` block; allowed are ```toml (overrides), ```toml tune and ```FILE (edits)"
        )


def _edits(path: str, body: list[str], source: str, first: int) -> list[dict[str, str]]:
    """SEARCH/REPLACE blocks of one file. Both texts are whole lines, without the last line's end."""
    edits: list[dict[str, str]] = []
    parts: list[list[str]] = []  # open block: search lines, then replace lines
    for number, line in enumerate(body, first + 1):
        expected = MARKERS[len(parts)]
        if line.rstrip() in MARKERS:
            if line.rstrip() != expected:
                raise IdeasError(f"{source}: line {number}: found {line!r}; expected {expected!r}")
            if len(parts) == 2:
                edits.append({"path": path, "search": "\n".join(parts[0]), "replace": "\n".join(parts[1])})
                parts = []
            else:
                parts.append([])
        elif parts:
            parts[-1].append(line)
        elif line.strip():
            raise IdeasError(f"{source}: line {number}: found {line!r:.60}; expected {expected!r}")
    if parts or not edits:
        end = first + len(body) + 1
        raise IdeasError(f"{source}: line {end}: the block of {path} ends; expected {MARKERS[len(parts)]!r}")
    return edits


def to_markdown(idea: Idea) -> str:
    """The idea as a Markdown section that `load_ideas` reads back as an equal record.

    White space in words is folded. ValueError for code that holds one of the markers as a line.
    """
    f = idea.forecast
    rows = [f"## {idea.name}", f"class: {idea.idea_class}"]
    rows.append(f"forecast: mean={f.mean!r} sd={f.sd!r} p_runs={f.p_runs!r}")
    if idea.patch.slot is not None:
        rows.append(f"slot: {idea.patch.slot}")
    rows += [f"citation: {idea.citation}", f"proposer: {idea.proposer}", ""]
    rows += [f"Hypothesis: {idea.hypothesis}", "", f"Mechanism: {idea.mechanism}"]
    if idea.patch.overrides:
        pairs = [f"{_value(key)} = {_value(value)}" for key, value in idea.patch.overrides.items()]
        rows += ["", "```toml", *pairs, "```"]
    if idea.patch.tune:
        rows += ["", "```toml tune", *_ranges(idea), "```"]
    for edit in idea.patch.edits:
        code = [edit.search, edit.replace]
        if any(line.rstrip() in MARKERS for text in code for line in text.split("\n")):
            raise ValueError(
                f"idea {idea.name!r}: an edit of {edit.path} holds a marker line; write it as TOML"
            )
        longest = max((len(ticks) for text in code for ticks in re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        search, replace = (text.split("\n") if text else [] for text in code)
        block = [MARKERS[0], *search, MARKERS[1], *replace, MARKERS[2]]
        rows += ["", f"{fence}python {edit.path}", *block, fence]
    return "\n".join(rows) + "\n"
