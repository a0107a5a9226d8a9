from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """64 kB of Python source: the kind of text that the default corpus holds."""
    import argparse
    import ast
    from pathlib import Path

    text = b"".join(Path(module.__file__).read_bytes() for module in (argparse, ast))
    path = tmp_path_factory.mktemp("corpus") / "train.bin"
    path.write_bytes(text[:65536])
    return path
