"""A real SQLite file for every test of the store."""

import pytest

from mendel.store import Store

from .samples import start


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "lab", timeout=0.2) as opened:
        yield opened


@pytest.fixture
def campaign(store):
    return start(store)
