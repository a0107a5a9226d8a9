"""The account of what is planted: how often this lab claims nothing, and how often it loses a gain.

Blanks that entered confirmation were judged like ideas. The share of them that was claimed is measured, with
its exact interval, in this campaign and in all campaigns of the store whose judge had the same settings. If
every other idea in confirmation were as useless as a blank, so many claims would be false.

Positive controls have a known gain. The share of them that is found, of all that stood in the queue, is what
the whole loop finds of such ideas: triage, screening, confirmation and audits together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mendel.campaign.config import Policy
from mendel.ideas.blanks import DESCENDANT
from mendel.records import PlanKind, VerdictKind, known_gain
from mendel.store import Campaign, CampaignState, Confirmation, Planted, Store
from mendel.verdicts.effects import clopper_pearson

JUDGE = ("alpha", "min_gain", "max_pairs")
"""The settings of the judge; rates of other judges are not pooled with this one's."""
CLAIMS = (VerdictKind.BETTER, VerdictKind.REJECTED)
"""What the numbers claimed and only an audit stopped is a claim of the numbers all the same."""


def blank_account(store: Store, campaign: Campaign) -> dict[str, Any]:
    """Claim rates of blanks in this campaign, `pooled` and pooled by kind; `false_claims`: the real claims
    of this campaign, and how many of them the pooled rate lets expect to be false; `controls`: what became
    of positive controls."""
    alike = _same_judge(store, campaign)
    found = store.confirmations([*alike, campaign.id])
    own = [one for one in found if one.campaign == campaign.id]
    pooled = _rate(found)
    kinds: dict[str, list[Confirmation]] = {}
    for one in found:
        if _is_blank(one):
            kinds.setdefault(_kind_of(one), []).append(one)
    return {
        "campaign": _rate(own),
        "pooled": {"campaigns": 1 + len(alike), **pooled},
        "kinds": {kind: _rate(kinds[kind]) for kind in sorted(kinds)},
        "false_claims": _false_claims(own, pooled),
        "controls": _controls(store, campaign, alike),
    }


def _is_blank(one: Confirmation) -> bool:
    return one.blank is not None and not known_gain(one.blank)


def _kind_of(one: Confirmation) -> str:
    """Kind of a blank; all descendants are of one."""
    kind = one.blank or ""
    return DESCENDANT.split()[0] if kind.startswith(DESCENDANT) else kind


def _same_judge(store: Store, campaign: Campaign) -> list[str]:
    """Other finished campaigns whose judge had the settings of this one's."""

    def judge(one: Campaign) -> list[Any]:
        policy = Policy().model_dump() | (one.config.get("policy") or {})  # older ones lack newer settings
        return [policy[key] for key in JUDGE]

    return [
        other.id
        for other in store.campaigns()
        if other.id != campaign.id
        and other.state is CampaignState.FINISHED
        and judge(other) == judge(campaign)
    ]


def _rate(found: Sequence[Confirmation]) -> dict[str, Any]:
    confirmed = {(one.campaign, one.idea) for one in found if _is_blank(one)}
    claimed = {(one.campaign, one.idea) for one in found if _is_blank(one) and one.kind in CLAIMS}
    counts = {"confirmed": len(confirmed), "claimed": len(claimed)}
    return {**counts, **_share(len(claimed), len(confirmed))}


def _share(hits: int, trials: int) -> dict[str, float | None]:
    if not trials:
        return {"rate": None, "low": None, "high": None}
    rate = clopper_pearson(hits, trials)
    return {"rate": rate.value, "low": rate.low, "high": rate.high}


def _controls(store: Store, campaign: Campaign, alike: Sequence[str]) -> dict[str, Any]:
    """What became of positive controls here and `pooled`. Of a campaign that still runs only how many were
    planted is told: its controls are not unblinded, and those that are found are known before the others."""
    ended = [*alike, campaign.id] if campaign.state is CampaignState.FINISHED else list(alike)
    controls = [one for one in store.planted([*alike, campaign.id]) if known_gain(one.kind)]
    pooled = _found_counts(one for one in controls if one.campaign in ended)
    own = [one for one in controls if one.campaign == campaign.id]
    return {
        "planted": len(own),
        "campaign": _found_counts(own) if campaign.id in ended else None,
        "pooled": {"campaigns": len(ended), **pooled},
        "words": _controls_words(len(own), pooled, len(ended)),
    }


def _found_counts(controls: Iterable[Planted]) -> dict[str, Any]:
    """Positive controls that came as far as screening, confirmation and a claim, and the share of these."""
    judged = [set(one.judged) for one in controls]
    confirmed = sum(any(kind is PlanKind.CONFIRM for kind, _ in said) for said in judged)
    screened = sum(any(kind in (PlanKind.SCREEN, PlanKind.CONFIRM) for kind, _ in said) for said in judged)
    found = sum((PlanKind.CONFIRM, VerdictKind.BETTER) in said for said in judged)
    counts = {"planted": len(judged), "screened": screened, "confirmed": confirmed, "found": found}
    return {**counts, **_share(found, len(judged))}


def _controls_words(own: int, pooled: Mapping[str, Any], campaigns: int) -> str:
    if not pooled["planted"]:
        if not own:
            return "No idea with a known gain was planted: nothing is measured of how many gains are lost."
        one = "1 idea" if own == 1 else f"{own} ideas"
        return f"{one} with a known gain planted: what became of that is told when the campaign has ended."
    planted, screened, confirmed, found = (
        pooled[key] for key in ("planted", "screened", "confirmed", "found")
    )
    where = f" in {campaigns} campaigns" if campaigns > 1 else ""
    if not screened:
        return (
            f"{planted} planted with a known gain{where}, and none tried before the budget ended: nothing is "
            "measured of how many gains are lost."
        )
    return (
        f"Of {planted} planted with a known gain{where}, {found} found (Clopper-Pearson 95 %: "
        f"{100 * pooled['low']:.0f} to {100 * pooled['high']:.0f} %); lost before screening "
        f"{planted - screened}, there {screened - confirmed}, in confirmation {confirmed - found}."
    )


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
