"""What campaigns on the toy testbed share."""

import os
import tempfile
from pathlib import Path

import pytest
import toy


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    """A folder with the smallest corpus that can be used."""
    return toy.corpus_folder(tmp_path_factory.mktemp("toy") / "data")


@pytest.fixture(scope="session")
def fast_disk():
    """A folder in memory where there is one: a store syncs each commit, and tests have many."""
    memory = Path("/dev/shm")
    inside = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mendel-test-", dir=inside) as folder:
        yield Path(folder)


@pytest.fixture
def lab_root(fast_disk):
    """A fresh root folder for a store."""
    return Path(tempfile.mkdtemp(dir=fast_disk))
