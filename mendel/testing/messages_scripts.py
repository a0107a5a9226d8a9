"""Who answers behind a loopback Messages API: rules, or whoever writes into a folder.

A script is any object with a method `answer(request) -> Answer`; it is called from several threads at once.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mendel.inputs import refusal
from mendel.testing.messages_records import (
    Answer,
    ApiError,
    Request,
    blocks,
    key_of,
    last_user_text,
    output_schema,
    system_text,
    tool_names,
    turn,
)

SHOWN = 120
"""Characters of a prompt in a message of an error."""
LOOK_EVERY = 0.1
"""Seconds between two looks into the folder."""


class Script(Protocol):
    def answer(self, request: Request) -> Answer:
        """What the model says; raises ApiError for an error of the API. Whatever else it raises is printed
        with its trace, and the connection ends without an answer."""


# --- rules -----------------------------------------------------------------------------------------------


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class Match(BaseModel):
    """What a request must look like; what is not given matches anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: Pattern = ""
    """Regular expression, searched in the system prompt."""
    user: Pattern = ""
    """The same for the last message of the user, results of tools included."""
    tools: tuple[str, ...] = ()
    """Names of tools, all of which are offered."""
    turn: int | None = None
    """Answers of the model that the conversation holds already."""

    def fits(self, request: Request) -> bool:
        return (
            (self.turn is None or self.turn == turn(request))
            and set(self.tools) <= set(tool_names(request))
            and re.search(self.system, system_text(request), re.DOTALL) is not None
            and re.search(self.user, last_user_text(request), re.DOTALL) is not None
        )


class Rule(BaseModel):
    """An answer, and when it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Match = Match()
    answer: Answer


@dataclass(frozen=True)
class Scripted:
    """The first rule that fits answers; ApiError 400 that says what was asked if none does."""

    rules: tuple[Rule, ...]

    def answer(self, request: Request) -> Answer:
        for rule in self.rules:
            if rule.match.fits(request):
                return rule.answer
        raise ApiError(
            400,
            f"none of {len(self.rules)} rules matches: turn {turn(request)}, "
            f"system {system_text(request)[:SHOWN]!r}, user {last_user_text(request)[:SHOWN]!r}, "
            f"tools {', '.join(tool_names(request)) or 'none'}",
        )


# --- a folder --------------------------------------------------------------------------------------------


@dataclass
class Folder:
    """A person, or another model, answers: NNNN.request.json and NNNN.request.md are what is asked, and
    NNNN.answer.json (an `Answer`) or NNNN.answer.md (its text) is awaited.

    A request that is sent again while its answer is awaited keeps its number. An answer that cannot be read
    is told in NNNN.problem.txt and may be corrected until the time is over.
    """

    folder: Path
    limit: float = 1800.0
    """Seconds until a request ends as an error. The default is three times as long as a client waits by
    itself, as it sends a request three times."""
    _awaited: dict[str, tuple[int, int]] = field(default_factory=dict)  # key -> its number, threads that wait
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Answer:
        """ApiError 504, which a client does not try again, if nobody answers in time."""
        key = key_of(request)
        with self._lock:
            number, waiting = self._awaited.get(key, (0, 0))
            number = number or self._ask(request)
            self._awaited[key] = (number, waiting + 1)
        try:
            return self._await(number)
        finally:
            with self._lock:
                number, waiting = self._awaited.pop(key)
                if waiting > 1:
                    self._awaited[key] = (number, waiting - 1)

    def _ask(self, request: Request) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name[:4]) for path in self.folder.glob("[0-9][0-9][0-9][0-9].*")]
        number = max(taken, default=0) + 1
        _write(self.folder / f"{number:04}.request.json", json.dumps(request, indent=2, ensure_ascii=False))
        _write(self.folder / f"{number:04}.request.md", readable(request, number))
        return number

    def _await(self, number: int) -> Answer:
        deadline = time.monotonic() + self.limit
        seen: dict[Path, str] = {}
        while time.monotonic() < deadline:
            time.sleep(min(LOOK_EVERY, self.limit))
            for ending in ("json", "md"):
                path = self.folder / f"{number:04}.answer.{ending}"
                text = path.read_text() if path.exists() else ""
                # read when it was the same at two looks: whoever writes it may not be through
                if text.strip() and seen.get(path) == text and (answer := self._read(path, text)):
                    return answer
                seen[path] = text
        raise ApiError(
            504,
            f"nobody answered {self.folder / f'{number:04}.request.md'} within {self.limit:g} seconds",
            {"x-should-retry": "false"},
        )

    def _read(self, path: Path, text: str) -> Answer | None:
        if path.suffix == ".md":
            return Answer.text(text.strip())
        try:
            return Answer.model_validate(json.loads(text))
        except json.JSONDecodeError as error:
            problem = f"{path.name}: not JSON: {error}"
        except ValidationError as error:
            problem = f"{path.name}: {refusal(error, Answer)}"
        _write(self.folder / f"{path.name[:4]}.problem.txt", problem + "\n")
        return None


def _write(path: Path, text: str) -> None:
    """Whole or not at all, for those who watch the folder."""
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(text)
    hidden.replace(path)


def readable(request: Request, number: int) -> str:
    """A request as Markdown, for a person: how to answer, what may be called, what was said."""
    name = f"{number:04}.answer"
    schema = output_schema(request)
    lines = [f"# Request {number:04}: turn {turn(request)} for {request.get('model')}", ""]
    lines += [f"Answer in {name}.md (text) or {name}.json:", "", *_fenced({"content": "text"})]
    if schema is not None:
        lines += ["The text must be JSON of this schema; as a file:", "", *_fenced({"output": {}})]
        lines += _fenced(schema)
    if request.get("tools"):
        call = {"type": "tool_use", "name": tool_names(request)[0], "input": {}}
        lines += [f"Calls of tools in {name}.json:", "", *_fenced({"content": [call]})]
        lines += (
            [f"`tool_choice`: {json.dumps(request['tool_choice'])}", ""] if "tool_choice" in request else []
        )
        for tool in request["tools"]:
            lines += [f"## Tool `{tool.get('name')}`", "", tool.get("description", ""), ""]
            lines += _fenced(tool.get("input_schema"))
    lines += ["## System", "", system_text(request) or "(none)", ""]
    for message in request["messages"]:
        lines += [f"## {message['role'].capitalize()}", "", *_said(blocks(message["content"]))]
    return "\n".join(lines) + "\n"


def _said(content: Iterable[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for block in content:
        if block.get("type") == "text":
            lines += [block["text"], ""]
        elif block.get("type") == "tool_result":
            lines += [f"Result of the call {block.get('tool_use_id')}:", ""]
            lines += _said(blocks(block.get("content")))
        else:
            lines += _fenced({key: value for key, value in block.items() if key != "signature"})
    return lines


def _fenced(value: object) -> list[str]:
    return ["```json", json.dumps(value, indent=2, ensure_ascii=False), "```", ""]
