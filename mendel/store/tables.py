"""The tables: one schema for SQLite and PostgreSQL.

Why it looks like this: a record is stored whole, as JSON text, next to the few columns that are queried,
so a new field of a record needs no migration. Rows are never deleted. `seq` gives every list the order in
which it was decided, which a time stamp cannot (two rows may share one).

This file is the schema of today; `migrations/versions/` is how a database got there, and a test keeps the
two equal.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class CampaignState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"


class IdeaState(StrEnum):
    REVIEW = "review"
    """It waits for a person to approve its patch."""
    QUEUED = "queued"
    SCREENED = "screened"
    CONFIRMING = "confirming"
    CLAIMED = "claimed"
    ADOPTED = "adopted"
    CARRIED = "carried"
    """In the trunk, and proved with it but not apart: no claim."""
    DROPPED = "dropped"
    STALE = "stale"
    FAILED = "failed"
    REJECTED = "rejected"


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"


class CallState(StrEnum):
    """Of one request to a language model."""

    WAITING = "waiting"
    """Sent, or handed out; it may have been paid for."""
    ANSWERED = "answered"
    FAILED = "failed"
    """Without an answer, and not paid for. It may be asked again."""


class JsonText(TypeDecorator[Any]):
    """JSON as text. PostgreSQL's JSON type refuses infinities, and the bound of an interval may be one."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC; SQLite forgets the time zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        assert value is None or value.tzinfo is not None, "a time without a time zone"
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _state(states: type[StrEnum]) -> Enum:
    """A state kept as its word, so that the database reads well by itself."""
    return Enum(
        states, native_enum=False, length=16, values_callable=lambda enum: [state.value for state in enum]
    )


class Base(DeclarativeBase):
    # Named constraints can be altered by a later migration; anonymous ones cannot.
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {
        float: Double(),
        Any: JsonText(),
        datetime: UtcTime(),
        str: Text(),
        CampaignState: _state(CampaignState),
        IdeaState: _state(IdeaState),
        RunState: _state(RunState),
        CallState: _state(CallState),
    }


Id = String(64)
CAMPAIGN = "campaigns.id"


class CampaignRow(Base):
    __tablename__ = "campaigns"

    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(Id, unique=True)
    created: Mapped[datetime]
    name: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    testbed: Mapped[str]
    recipe: Mapped[str]
    """Name of the base recipe the campaign starts from."""
    config: Mapped[Any]
    fingerprint: Mapped[Any]
    state: Mapped[CampaignState]


class IdeaRow(Base):
    __tablename__ = "ideas"

    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN), primary_key=True)
    name: Mapped[str] = mapped_column(Id, primary_key=True)
    position: Mapped[int]
    state: Mapped[IdeaState]
    record: Mapped[Any]
    note: Mapped[str]


class BlankRow(Base):
    """Which ideas are planted. A table of its own: whoever reads `ideas` cannot tell."""

    __tablename__ = "blanks"

    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN), primary_key=True)
    name: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str]
    unblinded: Mapped[datetime | None]


class RecipeRow(Base):
    __tablename__ = "recipes"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    record: Mapped[Any]
    label: Mapped[str]


class PlanRow(Base):
    __tablename__ = "plans"
    __table_args__ = (UniqueConstraint("campaign", "id"),)

    seq: Mapped[int] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN))
    id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(16))
    round: Mapped[int]
    idea: Mapped[str | None] = mapped_column(Id)
    record: Mapped[Any]
    created: Mapped[datetime]


class RunRow(Base):
    __tablename__ = "runs"
    # The constraint that no seed of an entry is trained twice: a specification is a row at most once.
    __table_args__ = (UniqueConstraint("campaign", "id"), Index(None, "campaign", "state"))

    seq: Mapped[int] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN))
    id: Mapped[str] = mapped_column(Id)
    spec: Mapped[Any]
    stage: Mapped[str] = mapped_column(String(32))
    idea: Mapped[str | None] = mapped_column(Id)
    state: Mapped[RunState]
    result: Mapped[Any | None]
    attempts: Mapped[int]
    created: Mapped[datetime]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]


class CostRow(Base):
    """Smoke measurements: what a recipe costs per token at a rung."""

    __tablename__ = "costs"

    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN), primary_key=True)
    recipe: Mapped[str] = mapped_column(Id, primary_key=True)
    rung: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    idea: Mapped[str | None] = mapped_column(Id)
    flops_per_token: Mapped[float | None]
    result: Mapped[Any]


class VerdictRow(Base):
    __tablename__ = "verdicts"
    __table_args__ = (UniqueConstraint("campaign", "id"), Index(None, "campaign", "plan"))

    seq: Mapped[int] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN))
    id: Mapped[str] = mapped_column(Id)
    plan: Mapped[str] = mapped_column(Id)
    record: Mapped[Any]


class FindingRow(Base):
    __tablename__ = "findings"
    __table_args__ = (UniqueConstraint("campaign", "id"),)

    seq: Mapped[int] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN))
    id: Mapped[str] = mapped_column(Id)
    idea: Mapped[str] = mapped_column(Id)
    record: Mapped[Any]


class DecisionRow(Base):
    """What a stage decided, written in the transaction of its effects: a restart replays, never redecides."""

    __tablename__ = "decisions"

    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    payload: Mapped[Any]
    time: Mapped[datetime]


class EventRow(Base):
    """The log a person reads."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "campaign", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN))
    time: Mapped[datetime]
    stage: Mapped[str] = mapped_column(String(32))
    idea: Mapped[str | None] = mapped_column(Id)
    message: Mapped[str]


class OpeningRow(Base):
    """Every time the held-out shard was opened, and for which run."""

    __tablename__ = "held_out_openings"
    __table_args__ = (Index(None, "campaign"),)

    seq: Mapped[int] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN))
    run: Mapped[str] = mapped_column(Id)
    time: Mapped[datetime]


class CallRow(Base):
    """One request to a language model and its answer: the transcript, the ledger, and what a campaign that is
    continued looks up before it asks again."""

    __tablename__ = "calls"
    __table_args__ = (UniqueConstraint("campaign", "id"), Index(None, "campaign", "task"))

    seq: Mapped[int] = mapped_column(primary_key=True)
    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN))
    id: Mapped[str] = mapped_column(Id)
    """Content hash of what was asked, and of whom."""
    task: Mapped[str] = mapped_column(String(200))
    """What it is part of, such as `2/propose`; its calls are numbered by `step`."""
    step: Mapped[int]
    seat: Mapped[str] = mapped_column(String(32))
    idea: Mapped[str | None] = mapped_column(Id)
    model: Mapped[str]
    state: Mapped[CallState]
    request: Mapped[Any]
    answer: Mapped[Any | None]
    error: Mapped[str]
    attempts: Mapped[int]
    expected: Mapped[float]
    """Dollars that it may cost at most while it is in flight."""
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    """All that was read, cached or not."""
    cached_tokens: Mapped[int] = mapped_column(BigInteger)
    written_tokens: Mapped[int] = mapped_column(BigInteger)
    """Read and put into the provider's cache."""
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    dollars: Mapped[float]
    seconds: Mapped[float]
    created: Mapped[datetime]
    finished: Mapped[datetime | None]


class ForecastRow(Base):
    """What each forecaster expects of an idea, and why: the idea itself has their combination."""

    __tablename__ = "forecasts"

    campaign: Mapped[str] = mapped_column(Id, ForeignKey(CAMPAIGN), primary_key=True)
    idea: Mapped[str] = mapped_column(Id, primary_key=True)
    forecaster: Mapped[str] = mapped_column(Id, primary_key=True)
    record: Mapped[Any]
    reason: Mapped[str]
    created: Mapped[datetime]
