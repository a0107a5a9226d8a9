"""The tool that waits: what was logged since an event, and what became of ideas."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field

from mendel.agents.desk import PAGE, CampaignId, Desk
from mendel.agents.reading import finding_words
from mendel.agents.seen import Outcome, VerdictSeen, Watched
from mendel.agents.sight import Sight, look
from mendel.campaign.config import ConfigError
from mendel.store import CampaignState, IdeaEntry

LONGEST = 50
"""Seconds: clients give up on a call that takes a minute."""
POLL = 1.0
EVENTS = 2 * PAGE
IDEAS = 20


def watch(
    desk: Desk,
    after: Annotated[int, Field(ge=0, description="Event number; 0 for the whole log.")] = 0,
    ideas: Annotated[list[str], Field(max_length=IDEAS, description="Names of ideas to report on.")] = [],  # noqa: B006
    seconds: Annotated[float, Field(ge=0, le=LONGEST, description="How long to wait for news.")] = 0,
    campaign: CampaignId = "",
) -> Watched:
    """Wait for news of a campaign: log lines after an event number, and what became of the named ideas.

    Returns at once where there are newer events, where the campaign does not run, or after `seconds`. Call it
    again with `after` set to `last`. An idea's way: queued, screened, confirming, claimed, adopted; or
    dropped, failed, stale, rejected. A verdict takes minutes to hours, and nothing runs unless a person runs
    the campaign.
    """
    found = desk.campaign(campaign)
    deadline = time.monotonic() + seconds
    while not desk.store.events(found.id, after) and time.monotonic() < deadline:
        if desk.store.campaign(found.id).state is not CampaignState.RUNNING:
            break
        time.sleep(min(POLL, max(0.0, deadline - time.monotonic())))
    sight = look(desk.store, desk.store.campaign(found.id))
    entries = {entry.idea.name: entry for entry in sight.facts.ideas}
    missing = [name for name in ideas if name not in entries]
    if missing:
        raise ConfigError(f"ideas: campaign {found.id} has no idea {missing[0]!r:.80}; `ideas` lists them")
    newest = max((event.id for event in desk.store.events(found.id, after)), default=after)
    events = [event for event in sight.events(after) if event.id <= newest]
    shown, more = events[:EVENTS], len(events) > EVENTS
    return Watched(
        campaign=found.id,
        state=sight.facts.campaign.state.value,
        events=shown,
        last=shown[-1].id if more else newest,  # lines that are not told count, too
        more=more,
        ideas=[_outcome(sight, entries[name]) for name in ideas],
    )


def _outcome(sight: Sight, entry: IdeaEntry) -> Outcome:
    seen = sight.idea(entry)
    return Outcome(
        name=seen.name,
        state=seen.state,
        note=seen.note,
        planted=seen.planted,
        verdicts=[verdict_words(verdict) for verdict in sight.verdicts(seen.name)],
        finding=finding_words(sight, seen.name),
    )


def verdict_words(verdict: VerdictSeen) -> str:
    """`confirm: better after 5 pairs; gain above 0.004 bits per byte shown`."""
    cm = "" if verdict.log2_cm is None else f", log2 CM {verdict.log2_cm:+.3f}"
    pairs = f"{verdict.pairs} pair{'s'[: verdict.pairs != 1]}"
    reason = f"; {verdict.reason}" if verdict.reason else ""
    return f"{verdict.stage}: {verdict.verdict} after {pairs}{cm}{reason}"
