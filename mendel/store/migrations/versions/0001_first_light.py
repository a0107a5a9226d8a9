"""The first schema.

A migration is history: it spells its tables out instead of importing `tables.py`, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    _campaigns_and_ideas()
    _plans_and_runs()
    _judgements()
    _logs()


def _id(name: str, key: bool = False, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), primary_key=key, nullable=null)


def _text(name: str, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _integer(name: str, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), primary_key=key, nullable=False, autoincrement=name != "rung")


def _time(name: str, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _campaign(key: bool = False) -> sa.Column[str]:
    return sa.Column(
        "campaign", sa.String(64), sa.ForeignKey("campaigns.id"), primary_key=key, nullable=False
    )


def _state() -> sa.Column[str]:
    return sa.Column("state", sa.String(16), nullable=False)


def _campaigns_and_ideas() -> None:
    op.create_table(
        "campaigns",
        _integer("seq", key=True),
        _id("id"),
        _time("created"),
        _text("name"),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        _text("testbed"),
        _text("recipe"),
        _text("config"),
        _text("fingerprint"),
        _state(),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "ideas",
        _campaign(key=True),
        _id("name", key=True),
        _integer("position"),
        _state(),
        _text("record"),
        _text("note"),
    )
    op.create_table(
        "blanks", _campaign(key=True), _id("name", key=True), _text("kind"), _time("unblinded", null=True)
    )
    op.create_table("recipes", _id("id", key=True), _text("record"), _text("label"))


def _plans_and_runs() -> None:
    op.create_table(
        "plans",
        _integer("seq", key=True),
        _campaign(),
        _id("id"),
        sa.Column("kind", sa.String(16), nullable=False),
        _integer("round"),
        _id("idea", null=True),
        _text("record"),
        _time("created"),
        sa.UniqueConstraint("campaign", "id"),
    )
    op.create_table(
        "runs",
        _integer("seq", key=True),
        _campaign(),
        _id("id"),
        _text("spec"),
        sa.Column("stage", sa.String(32), nullable=False),
        _id("idea", null=True),
        _state(),
        _text("result", null=True),
        _integer("attempts"),
        _time("created"),
        _time("started", null=True),
        _time("finished", null=True),
        sa.UniqueConstraint("campaign", "id"),
    )
    op.create_index("ix_runs_campaign_state", "runs", ["campaign", "state"])
    op.create_table(
        "costs",
        _campaign(key=True),
        _id("recipe", key=True),
        _integer("rung", key=True),
        _id("idea", null=True),
        sa.Column("flops_per_token", sa.Double(), nullable=True),
        _text("result"),
    )


def _judgements() -> None:
    op.create_table(
        "verdicts",
        _integer("seq", key=True),
        _campaign(),
        _id("id"),
        _id("plan"),
        _text("record"),
        sa.UniqueConstraint("campaign", "id"),
    )
    op.create_index("ix_verdicts_campaign_plan", "verdicts", ["campaign", "plan"])
    op.create_table(
        "findings",
        _integer("seq", key=True),
        _campaign(),
        _id("id"),
        _id("idea"),
        _text("record"),
        sa.UniqueConstraint("campaign", "id"),
    )
    op.create_table(
        "decisions",
        _campaign(key=True),
        sa.Column("key", sa.String(200), primary_key=True, nullable=False),
        _text("payload"),
        _time("time"),
    )


def _logs() -> None:
    op.create_table(
        "events",
        _integer("id", key=True),
        _campaign(),
        _time("time"),
        sa.Column("stage", sa.String(32), nullable=False),
        _id("idea", null=True),
        _text("message"),
    )
    op.create_index("ix_events_campaign_id", "events", ["campaign", "id"])
    op.create_table("held_out_openings", _integer("seq", key=True), _campaign(), _id("run"), _time("time"))
    op.create_index("ix_held_out_openings_campaign", "held_out_openings", ["campaign"])
