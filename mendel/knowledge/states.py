"""What a status says of a run: it failed, it neither ended nor failed, or it ended."""

from __future__ import annotations

import re

COLUMNS = ("status", "state")
"""Columns that say how a run stands."""
FLAGS = ("failed", "crashed", "diverged", "oom", "nan")
"""Columns of yes and no that say that it failed."""
FAILED, UNFINISHED, FINISHED = "failed", "unfinished", "finished"
BAD = re.compile(
    r"(^|[^a-z])(fail(ed|ure|s)?|crash(ed|es)?|killed|diverg(ed|ing|ence)|explod(ed|ing)|nan|oom|out.of.memory|"
    r"error(ed|s)?|time.?(d.?)?out|node.?fail|abort(ed)?)([^a-z]|$)"
)
OPEN = re.compile(
    r"(^|[^a-z])(running|queued|pending|scheduled|waiting|paused|preempted|cancell?ed|interrupted|unfinished|"
    r"incomplete|pruned|(?<!early[ _-])stopped)([^a-z]|$)"
)


ENDED = frozenset(
    (
        "finished",
        "done",
        "complete",
        "completed",
        "success",
        "succeeded",
        "successful",
        "ok",
        "ended",
        "converged",
    )
)


def is_state(said: str) -> bool:
    """Whether a text is a word for how a run stands."""
    text = said.strip().lower()
    return not text or text in ENDED or state(text) != FINISHED


def state(said: str) -> str:
    """FAILED, UNFINISHED or FINISHED. A word of failure beside one of stopping counts: "cancelled: oom"."""
    text = said.strip().lower()
    if BAD.search(text):
        return FAILED
    return UNFINISHED if OPEN.search(text) else FINISHED
