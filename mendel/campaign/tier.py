"""Whose code may run in which sandbox: what nobody vouches for needs one that just held."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mendel.campaign.config import ConfigError
from mendel.ideas import machine_written
from mendel.records import Idea
from mendel.runs.sandbox.selfcheck import check


def check_tier(ideas: Sequence[Idea], executor: Any, root: Path, seated: bool = False) -> None:
    """Code that nobody vouches for runs only where the sandbox just held; what the user chose by name to run
    without one is the user's word. `seated`: researchers will write some. ConfigError names the wall that
    fell."""
    unread = next((idea for idea in ideas if machine_written(idea)), None)
    if (unread is None and not seated) or executor.sandbox.name == "none":
        return
    fallen = next((one for one in check(executor, near=root) if not one.passed), None)
    if fallen is not None:
        who = "researchers: they write code"
        if unread is not None:
            who = f"idea {unread.name!r}: written by {unread.proposer!r}"
        raise ConfigError(
            f"{who}, so it runs only in a sandbox that passes its self-check; "
            f"{executor.sandbox.name} fails it ({fallen.name}: {fallen.detail})"
        )
