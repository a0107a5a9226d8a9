"""The account of blanks: how often this lab claims what it planted, and what that says of its real claims.

Blanks that entered confirmation were judged like ideas. The share of them that was claimed is measured, with
its exact interval, in this campaign and in all campaigns of the store whose judge had the same settings. If
every other idea in confirmation were as useless as a blank, so many claims would be false.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mendel.records import VerdictKind
from mendel.store import Campaign, CampaignState, Confirmation, Store
from mendel.verdicts.effects import clopper_pearson

JUDGE = ("alpha", "min_gain", "max_pairs")
"""The settings of the judge; rates of other judges are not pooled with this one's."""
CLAIMS = (VerdictKind.BETTER, VerdictKind.REJECTED)
"""What the numbers claimed and only an audit stopped is a claim of the numbers all the same."""


def blank_account(store: Store, campaign: Campaign) -> dict[str, Any]:
    """Claim rates of blanks in this campaign and `pooled`, and `false_claims`: the real claims of this
    campaign, and how many of them the pooled rate lets expect to be false."""
    alike = _same_judge(store, campaign)
    found = store.confirmations([*alike, campaign.id])
    own = [one for one in found if one.campaign == campaign.id]
    pooled = _rate(found)
    return {
        "campaign": _rate(own),
        "pooled": {"campaigns": 1 + len(alike), **pooled},
        "false_claims": _false_claims(own, pooled),
    }


def _same_judge(store: Store, campaign: Campaign) -> list[str]:
    """Other finished campaigns whose judge had the settings of this one's."""

    def judge(one: Campaign) -> list[Any]:
        return [(one.config.get("policy") or {}).get(key) for key in JUDGE]

    return [
        other.id
        for other in store.campaigns()
        if other.id != campaign.id
        and other.state is CampaignState.FINISHED
        and judge(other) == judge(campaign)
    ]


def _rate(found: Sequence[Confirmation]) -> dict[str, Any]:
    confirmed = {(one.campaign, one.idea) for one in found if one.blank}
    claimed = {(one.campaign, one.idea) for one in found if one.blank and one.kind in CLAIMS}
    counts: dict[str, Any] = {"confirmed": len(confirmed), "claimed": len(claimed)}
    if not confirmed:
        return {**counts, "rate": None, "low": None, "high": None}
    rate = clopper_pearson(len(claimed), len(confirmed))
    return {**counts, "rate": rate.value, "low": rate.low, "high": rate.high}


def _false_claims(own: Sequence[Confirmation], pooled: dict[str, Any]) -> dict[str, Any]:
    """Claim rate of blanks times the other ideas in confirmation: too many, as some of these do gain."""
    others = {one.idea for one in own if not one.blank}
    claims = {one.idea for one in own if not one.blank and one.kind is VerdictKind.BETTER}
    expected = at_most = None
    if pooled["rate"] is not None:
        expected = min(pooled["rate"] * len(others), float(len(claims)))
        at_most = min(pooled["high"] * len(others), float(len(claims)))
    words = _words(len(claims), pooled["confirmed"], expected, at_most)
    counts = {"claims": len(claims), "confirmed": len(others)}
    return {**counts, "expected": expected, "at_most": at_most, "words": words}


def _words(claims: int, blanks: int, expected: float | None, at_most: float | None) -> str:
    if not claims:
        return "No idea was claimed, so no claim can be false."
    if expected is None or at_most is None:
        return "No blank has entered confirmation: nothing is measured of how many claims are false."
    if round(at_most) >= claims:
        count = f"{blanks} blank{'s are' if blanks != 1 else ' is'}"
        return f"{count} too few to say how many of {claims} claims may be false."
    return (
        f"Of {claims} claims, {expected:.1f} are false by the rate of blanks, and at most {at_most:.1f} by "
        "the upper end of its interval: as if every other idea in confirmation did nothing."
    )
