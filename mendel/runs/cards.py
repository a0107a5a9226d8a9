"""Which graphics cards there are, and which of them a run has for itself."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from mendel.runs import Job


def cards() -> tuple[str, ...]:
    """Names of the cards that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return tuple(one.strip() for one in said.split(",") if one.strip() not in ("", "-1"))
    found = [re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*")]
    return tuple(sorted((one[1] for one in found if one), key=int))


def with_cards(job: Job, slot: int) -> Job:
    """The job as a worker runs it, `slot` its number: with cards of its own, if it needs any."""
    if not job.gpus:
        return job
    own = cards()[slot * job.gpus : (slot + 1) * job.gpus]
    return replace(job, env={**job.env, "CUDA_VISIBLE_DEVICES": ",".join(own)})
