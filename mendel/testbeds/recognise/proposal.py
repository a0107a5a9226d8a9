"""A proposed testbed.toml: its keys with the reason for each, what could not be found, and its text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

TODO = "# TODO"
WIDTH = 106
SOURCE = "@SOURCE@"
"""Stands for the path of the repository until it is known where the file will lie."""


@dataclass
class Proposal:
    """What is written, and what is said of it. Comments say why a line is as it is, and what to check."""

    kind: str
    """What was recognised, in words."""
    text: str = ""
    """Of the whole file where it was there ready; otherwise it is made of `lines`."""
    evidence: list[str] = field(default_factory=list)
    """What it was recognised by, one sentence each."""
    lines: list[Line] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """What could not be found, each marked with TODO in the file."""
    notes: list[str] = field(default_factory=list)
    """What to know before a run."""
    ideas: str = ""
    """Text of a file with starter ideas."""

    def put(self, key: str, value: Any, comment: str = "", todo: str = "") -> None:
        """Add a key. `todo`: why the user must look at it, and what to do."""
        self.lines.append(Line(key, value, comment, todo))
        if todo:
            self.missing.append(f"{key}: {todo}")

    def say(self, comment: str = "", todo: str = "") -> None:
        """Add a comment alone."""
        self.put("command", None, comment, todo)

    def render(self, source: str) -> str:
        """The file's text, with the source at a path as the user will read it."""
        if self.text:
            example = re.findall(r'(?m)^source = "(.*?)"', self.text)[0]
            text = re.sub(r"(?m)^source = .*$", lambda _: f"source = {toml(source)}", self.text, count=1)
            return text.replace(f'"{example}/', f'"{_quoted(source)[1:-1]}/')
        head = f"# What Mendel knows of this trainer ({self.kind}): a proposal, so read it once.\n"
        head += "# docs/testbed.md has all keys. Then: mendel testbed check\n"
        body = [line.render() for line in self.lines if not line.table]
        tables = [line.render() for line in self.lines if line.table]
        text = head + "\n" + "\n".join(body) + "\n" + "".join("\n" + one + "\n" for one in tables)
        return text.replace(SOURCE, _quoted(source)[1:-1])


@dataclass
class Line:
    """A key of the file with its value; `None` for a comment alone."""

    key: str
    value: Any
    comment: str = ""
    todo: str = ""

    @property
    def table(self) -> bool:
        """Whether it is written as a table, which in TOML come after all plain keys."""
        return self.key in ("metric", "edits")

    def render(self) -> str:
        above = [f"{TODO}: {self.todo}"] if self.todo else []
        if self.comment:
            above += [f"# {line}" for line in wrapped(self.comment)]
        if self.value is None:
            return "\n".join(above)
        if not self.table:
            return "\n".join([*above, plain(self.key, self.value)])
        tables = self.value if isinstance(self.value, list) else [self.value]
        opening = f"[[{self.key}]]" if isinstance(self.value, list) else f"[{self.key}]"
        parts = []
        for one in tables:
            rows = [opening]
            for key, value in one.items():
                rows += [f"# {line}" for line in wrapped(value)] if key == "#" else [f"{key} = {toml(value)}"]
            parts.append("\n".join(rows))
        return "\n".join([*above, "\n".join(parts)])


def wrapped(text: str) -> list[str]:
    """A comment in lines that fit."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def plain(key: str, value: Any) -> str:
    """`key = value`, a long list over several lines."""
    line = f"{key} = {toml(value)}"
    if len(line) <= WIDTH or not isinstance(value, list):
        return line
    rows = ["    "]
    for one in value:
        piece = f"{toml(one)}, "
        if len(rows[-1]) + len(piece) > WIDTH and rows[-1].strip():
            rows.append("    ")
        rows[-1] += piece
    return f"{key} = [\n" + "\n".join(row.rstrip() for row in rows) + "\n]"


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml(one)}" for key, one in value.items()) + " }"
    text = str(value)
    if ("\\" in text or '"' in text) and text.isprintable():  # as it is, where that can be written
        if "'" not in text:
            return f"'{text}'"
        if "'''" not in text and not text.endswith("'"):
            return f"'''{text}'''"
    return _quoted(text)


def toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _quoted(key)


def _quoted(text: str) -> str:
    """A basic string. JSON's escapes are TOML's but for DEL, and for halves of characters."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")
