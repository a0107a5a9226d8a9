"""A small campaign in a real store, and one agent's desk on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mendel.agents.desk import Desk
from mendel.campaign.config import Settings
from mendel.store import CampaignState
from tests.report.campaigns import Builder, whole_campaign


@pytest.fixture
def built(lab_root: Path) -> Iterator[Builder]:
    """A finished campaign; one blank is unblinded, one never had its turn."""
    found = whole_campaign(lab_root / "lab")
    yield found
    found.store.close()


@pytest.fixture
def going(built: Builder) -> Builder:
    """The same while it runs."""
    built.store.set_state(built.id, CampaignState.RUNNING)
    return built


@pytest.fixture
def desk(built: Builder) -> Desk:
    return Desk(built.store, Settings(root=built.store.root), "claude")
