"""Calls of language models, and the forecasts of each forecaster."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the two tables."""
    campaign = sa.Column("campaign", sa.String(64), sa.ForeignKey("campaigns.id"), nullable=False)
    tokens = ("input_tokens", "cached_tokens", "written_tokens", "output_tokens")
    op.create_table(
        "calls",
        sa.Column("seq", sa.Integer(), primary_key=True, nullable=False, autoincrement=True),
        campaign,
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("task", sa.String(200), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("seat", sa.String(32), nullable=False),
        sa.Column("idea", sa.String(64), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("expected", sa.Double(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in tokens),
        sa.Column("dollars", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("campaign", "id"),
    )
    op.create_index("ix_calls_campaign_task", "calls", ["campaign", "task"])
    op.create_table(
        "forecasts",
        sa.Column("campaign", sa.String(64), sa.ForeignKey("campaigns.id"), primary_key=True, nullable=False),
        sa.Column("idea", sa.String(64), primary_key=True, nullable=False),
        sa.Column("forecaster", sa.String(64), primary_key=True, nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
