"""Which graphics cards there are, and which of them a run has for itself."""

from __future__ import annotations

import os
import re
from pathlib import Path


def cards() -> tuple[str, ...]:
    """Names of the cards that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return tuple(one.strip() for one in said.split(",") if one.strip() not in ("", "-1"))
    found = [re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*")]
    return tuple(sorted((one[1] for one in found if one), key=int))


def visible(slot: int, count: int) -> str:
    """Value of CUDA_VISIBLE_DEVICES for a run of `count` cards in a worker's slot; empty: it sees none."""
    found = cards()
    return ",".join(found[slot * count : (slot + 1) * count])
