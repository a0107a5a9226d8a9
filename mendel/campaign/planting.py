"""Planting: ideas of the lab's own among those of a campaign, and what it says of them once they are judged.

Blanks measure how often nothing is claimed. Positive controls have a known gain and measure how often it is
lost: their patches are blanks, but the lab grants their runs more compute than their cost permits, so that
no patch, plan or verdict tells them apart. Descendants are blanks that looked best at screening and are
proposed again for it, as an adaptive proposer would: they measure whether fresh seeds undo that selection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mendel.campaign.config import CampaignConfig, Policy
from mendel.campaign.lab import Lab
from mendel.ideas.blanks import DESCENDANT, make_blanks, make_descendant
from mendel.records import Forecast, Idea, PlanKind, Verdict, VerdictKind
from mendel.store import Blank, IdeaState
from mendel.verdicts.effects import standard_errors

MAX_DESCENDANTS = 2
"""Of a campaign."""
HANDFUL = 5
"""Blanks of which one is planted later, as a descendant; and ideas that must wait for one to be planted."""
LEAST_SD = 0.01
"""Of a descendant's forecast, log2 CM."""


class Places(NamedTuple):
    """How many ideas a campaign plants."""

    blanks: int
    """From the start."""
    descendants: int
    """At most, later."""
    controls: int


def places(real: int, policy: Policy) -> Places:
    """What is planted among so many ideas: `blank_share` of the queue are blanks, descendants included,
    `positive_share` positive controls."""
    share, positive = policy.blank_share, policy.positive_share
    blanks = round(real * share / (1 - share))
    descendants = min(MAX_DESCENDANTS, blanks // HANDFUL)
    return Places(blanks - descendants, descendants, round((real + blanks) * positive / (1 - positive)))


def plant(ideas: Sequence[Idea], config: CampaignConfig) -> tuple[list[Idea], dict[str, str]]:
    """The ideas with blanks and positive controls among them, and the kind of each of these by name."""
    number = places(len(ideas), config.policy)
    made = make_blanks(number.blanks, config.seed, like=ideas, controls=number.controls)
    mixed = sorted([*ideas, *(idea for idea, _ in made)], key=lambda idea: idea.name)
    return mixed, {idea.name: kind for idea, kind in made}


def grant(lab: Lab, name: str | None) -> float:
    """How many times its compute the runs of an idea are granted: more than 1 for a positive control. For
    what is trained and what that may take, never for a judge."""
    gain = next((one.gain for one in lab.store.blanks(lab.campaign.id) if one.name == name), 0.0)
    return float(2**gain)


# --- descendants ----------------------------------------------------------------------------------------


def plant_descendant(lab: Lab, config: CampaignConfig, number: int) -> None:
    """After round `number`: where there is room for it, queue a descendant of the best-looking blank."""
    key = f"{number}/descendant"
    made: dict[str, Any] = lab.once(key, lambda: _descendant(lab, config))
    if made:
        idea = Idea.model_validate(made["idea"])
        with lab.store.transaction():
            lab.store.add_ideas(lab.campaign.id, [idea])
            lab.store.add_blanks(lab.campaign.id, {idea.name: f"{DESCENDANT}{made['of']}"})


def proposed_again(lab: Lab) -> set[str]:
    """Blanks that have a descendant. That is their second chance: on one trunk both would be the same runs,
    and one luck would be counted as two blanks."""
    kinds = (blank.kind for blank in lab.store.blanks(lab.campaign.id))
    return {kind.removeprefix(DESCENDANT) for kind in kinds if kind.startswith(DESCENDANT)}


def _descendant(lab: Lab, config: CampaignConfig) -> dict[str, Any]:
    """The next descendant and of which blank it is one, as JSON; empty where there is none."""
    entries = {entry.idea.name: entry for entry in lab.store.ideas(lab.campaign.id)}
    blanks = lab.store.blanks(lab.campaign.id)
    parents = proposed_again(lab)
    waiting = sum(entry.state is IdeaState.QUEUED for entry in entries.values())
    allowed = places(len(entries) - len(blanks), config.policy).descendants
    if len(parents) >= allowed or waiting < HANDFUL:
        return {}
    left = {
        blank.name
        for blank in blanks
        if not blank.gain and entries[blank.name].state is IdeaState.SCREENED and blank.name not in parents
    }
    shown = {name: cm for name, cm in _screened(lab).items() if name in left}
    best = max(sorted(shown), key=lambda name: shown[name][0], default="")
    mean, se = (round(value, 2) for value in shown.get(best, (0.0, 0.0)))
    if mean <= 0:
        return {}
    forecast = Forecast(mean=mean, sd=max(LEAST_SD, se))
    idea = make_descendant(entries[best].idea, forecast, entries, config.seed)
    return {"idea": idea.model_dump(mode="json"), "of": best}


def _screened(lab: Lab) -> dict[str, tuple[float, float]]:
    """What screening last showed of each idea that never entered confirmation: log2 CM, standard error."""
    plans = {plan.id: plan for plan in lab.store.plans(lab.campaign.id)}
    confirmed = {plan.idea for plan in plans.values() if plan.kind is PlanKind.CONFIRM}
    last: dict[str, Verdict] = {}
    for verdict in lab.store.verdicts(lab.campaign.id):
        plan = plans[verdict.plan]
        if plan.idea and plan.kind is PlanKind.SCREEN and verdict.kind is VerdictKind.NO_DIFFERENCE_SHOWN:
            last[plan.idea] = verdict
    usable = {name: verdict for name, verdict in last.items() if name not in confirmed and _finite(verdict)}
    errors = standard_errors(list(usable.values()))
    return {
        name: (verdict.log2_cm.value, se)
        for (name, verdict), se in zip(usable.items(), errors, strict=True)
        if verdict.log2_cm is not None
    }


def _finite(verdict: Verdict) -> bool:
    cm = verdict.log2_cm
    return cm is not None and all(map(math.isfinite, (cm.value, cm.low, cm.high)))


# --- unblinding -----------------------------------------------------------------------------------------


def claimed_words(blank: Blank) -> str:
    """What is said of a planted idea that was claimed."""
    if blank.gain:
        return f"claimed, and planted with a known gain of {blank.gain:g} log2 CM: found"
    return f"claimed, but planted as a blank ({blank.kind}): a false claim of this campaign"


def unblind_all(lab: Lab) -> None:
    """At the end of a campaign, unblind all that was judged, and say which known gains were not found. What
    still waits could have been given a chance."""
    store, campaign = lab.store, lab.campaign.id
    for entry in store.ideas(campaign):
        name = entry.idea.name
        blank = None if entry.state is IdeaState.QUEUED else store.unblind(campaign, name)
        if blank is None or not blank.gain or _is_found(lab, name):
            continue
        note = lab.once(f"end/{name}", lambda: entry.note)  # noqa: B023
        words = f"planted with a known gain of {blank.gain:g} log2 CM: not found"
        state = IdeaState.DROPPED if entry.state in LEFT else entry.state
        store.set_idea_state(campaign, name, state, f"{words}; {note}")
        lab.say(f"end/{name}", "adopt", f"{name}: {words}", name)


LEFT = (IdeaState.SCREENED, IdeaState.CONFIRMING)
"""Of ideas that came no further; other states say more."""


def _is_found(lab: Lab, name: str) -> bool:
    plans = {plan.id for plan in lab.store.plans(lab.campaign.id, PlanKind.CONFIRM, idea=name)}
    verdicts = (verdict for verdict in lab.store.verdicts(lab.campaign.id) if verdict.plan in plans)
    return any(verdict.kind is VerdictKind.BETTER for verdict in verdicts)
