"""What the store hands out: records of `mendel.records` together with what the store knows about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Text, type_coerce

from mendel.records import Fingerprint, Forecast, Idea, RunResult, RunSpec, known_gain
from mendel.store.tables import CallState, CampaignState, IdeaRow, IdeaState, RunState

IDEA_TEXT = type_coerce(IdeaRow.record, Text).label("text")
"""The record of an idea as it is stored, for `parsed`."""


@lru_cache(maxsize=2**16)
def parsed(text: str) -> tuple[Idea, str]:
    """The idea of a stored text, and its content hash. Ideas never change, and a campaign reads all of its
    queue again for every round."""
    idea = Idea.model_validate_json(text)
    return idea, idea.id


@dataclass(frozen=True)
class Campaign:
    """One campaign as it was created, and its state. Times are UTC, here and below."""

    id: str
    created: datetime
    name: str
    seed: int
    testbed: str
    recipe: str
    """Name of the base recipe it started from."""
    config: dict[str, Any]
    fingerprint: Fingerprint
    state: CampaignState


@dataclass(frozen=True)
class IdeaEntry:
    """An idea in the queue of a campaign."""

    idea: Idea
    position: int
    state: IdeaState
    note: str


@dataclass(frozen=True)
class Blank:
    """A planted idea: what kind of blank (or control) it is, and when it was unblinded."""

    name: str
    kind: str
    unblinded: datetime | None

    @property
    def gain(self) -> float:
        """log2 CM of a positive control; 0 for a blank."""
        return known_gain(self.kind)


@dataclass(frozen=True)
class RunEntry:
    """A run: who asked for it first, where it stands, and what was measured once it is finished."""

    id: str
    spec: RunSpec
    stage: str
    idea: str | None
    state: RunState
    result: RunResult | None
    attempts: int
    """How many attempts were lost: their process died, or the lab spoiled their pair."""
    created: datetime
    started: datetime | None
    finished: datetime | None


@dataclass(frozen=True)
class Cost:
    """What a recipe costs at a rung, as measured by a smoke run."""

    recipe: str
    rung: int
    flops_per_token: float | None
    """None where FLOPs are not counted, or the smoke run failed."""
    result: RunResult


@dataclass(frozen=True)
class Event:
    """A line of the log; `id` grows, so a reader can ask for what came after."""

    id: int
    time: datetime
    stage: str
    idea: str | None
    message: str


@dataclass(frozen=True)
class Opening:
    """The held-out shard was opened for a run."""

    run: str
    time: datetime


@dataclass(frozen=True)
class LedgerRow:
    """What one idea (None: shared, such as controls) spent in one stage."""

    idea: str | None
    stage: str
    runs: int
    tokens: int
    """Trained on."""
    train_seconds: float
    cpu_seconds: float
    score_seconds: float
    dollars: float


@dataclass(frozen=True)
class Usage:
    """What answers of a language model took."""

    input_tokens: int = 0
    """All that was read, cached or not."""
    cached_tokens: int = 0
    """Of these, read from the provider's cache."""
    written_tokens: int = 0
    """Of these, put into it."""
    output_tokens: int = 0
    dollars: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Call:
    """One request to a language model: who asked what for which idea, and the answer once it is there."""

    id: str
    campaign: str
    task: str
    step: int
    seat: str
    idea: str | None
    model: str
    state: CallState
    request: Any
    answer: Any | None
    error: str
    attempts: int
    expected: float
    usage: Usage
    created: datetime
    finished: datetime | None


@dataclass(frozen=True)
class Foreseen:
    """What one forecaster expects of an idea, and why."""

    idea: str
    forecaster: str
    forecast: Forecast
    reason: str
