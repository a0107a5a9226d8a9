"""What earlier campaigns of this lab found out on the same testbed, for whoever proposes in a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mendel.campaign.lab import Lab
from mendel.campaign.summary import trunk_points
from mendel.knowledge.memory import Grade, remember
from mendel.knowledge.recall import digest
from mendel.researchers.untrusted import untrusted
from mendel.store import Campaign, CampaignState, Store

MOST = 4_000
"""Characters that are told of it."""


def earlier(lab: Lab) -> str:
    """A digest of what campaigns that have ended found on this testbed; empty where there is none.

    Ideas in this campaign's own queue are not in it: that one of them is missing among what an earlier
    campaign judged would tell that the lab plants it.
    """
    ended = {
        one.id
        for one in lab.store.campaigns()
        if one.testbed == lab.campaign.testbed
        and one.id != lab.campaign.id
        and one.state is CampaignState.FINISHED
        and one.created < lab.campaign.created
    }
    if not ended:
        return ""
    own = {entry.idea.name for entry in lab.store.ideas(lab.campaign.id)}
    found = [
        one
        for one in remember([lab.store], points)
        if one.campaign in ended and one.idea.name not in own and one.grade is not Grade.SCREENED
    ]
    if not found:
        return ""
    return digest(found, MOST, shown=lambda name, words: untrusted(name, words, len(words)))


def points(store: Store, campaign: Campaign) -> Sequence[Mapping[str, Any]]:
    """Where a campaign's trunk stood; nothing of one that was never configured."""
    return trunk_points(store, campaign) if "rungs" in campaign.config else []
