from __future__ import annotations

import pytest

from tests.report.campaigns import Builder, whole_campaign


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """A finished campaign that no test changes."""
    return whole_campaign(tmp_path_factory.mktemp("lab"))
