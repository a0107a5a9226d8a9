"""The seats: for each its prompt, and the record that its answer must be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Generic, TypeVar

from mendel.records import content_hash
from mendel.researchers.answers import (
    Answer,
    Change,
    Explanation,
    Forecasts,
    Memory,
    Novelty,
    Portfolio,
    Repair,
)

Given = TypeVar("Given", bound=Answer)


@dataclass(frozen=True)
class Prompt:
    """What a seat is told, and its version, which every result carries."""

    text: str
    version: str
    """Number and content hash, such as `1-3f2a9c`: a prompt that was edited is another one."""


@dataclass(frozen=True)
class Seat(Generic[Given]):
    """A typed question."""

    name: str
    answer: type[Given]
    most_tokens: int = 8_000
    """Of one answer, thinking included."""

    @property
    def prompt(self) -> Prompt:
        return load_prompt(self.name)


PROPOSER = Seat("proposer", Portfolio, 16_000)
FORECASTER = Seat("forecaster", Forecasts)
ENGINEER = Seat("engineer", Change, 16_000)
DEBUGGER = Seat("debugger", Repair, 16_000)
NOVELTY = Seat("novelty", Novelty)
ANALYST = Seat("analyst", Explanation)
LIBRARIAN = Seat("librarian", Memory)
SEATS = (PROPOSER, FORECASTER, ENGINEER, DEBUGGER, NOVELTY, ANALYST, LIBRARIAN)


@cache
def load_prompt(name: str) -> Prompt:
    """The prompt of a seat. ValueError for a file without a version."""
    raw = resources.files("mendel.researchers").joinpath("prompts", f"{name}.md").read_text("utf-8")
    head = re.match(r"---\nversion: (\d+)\n---\n", raw)
    if head is None:
        raise ValueError(f"prompts/{name}.md: it does not begin with a version")
    text = raw[head.end() :].strip()
    return Prompt(text, f"{head[1]}-{content_hash(text, 6)}")
