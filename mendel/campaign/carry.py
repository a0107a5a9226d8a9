"""What the trunk holds and what is claimed are two things.

Forward screening ends with a working line of changes, of which few are claimed. The line is measured on fresh
seeds as a whole, without what was planted and without what its confirmation rejects; where that proves a
gain, the trunk takes it up. A change that comes with it and has no claim of its own is *carried*: proved with
the trunk, not apart. No finding is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from mendel.campaign.confirm import Claim
from mendel.campaign.forward import Working, forward
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.tier import check_tier
from mendel.campaign.trunk import Line, affords, differences
from mendel.records import Plan, PlanKind, RunResult, RunStatus, VerdictKind
from mendel.store import CARRIES, IdeaState
from mendel.verdicts.effects import paired_interval

CARRIED = "carried: proved with the trunk, not apart"
LINE_PAIRS = 3
"""Fresh pairs that prove a working line where nothing else is measured beside it: it is taken up for a gain
that is many times their noise, or not at all."""


def to_carry(round: Round, working: Working | None, claims: Sequence[Claim]) -> Line | None:
    """The working line without what must go; None where nothing is left that the claims do not hold."""
    if working is None:
        return None
    new = [name for name in working.line.names if name not in round.control.names]
    planted = [name for name in new if round.lab.store.unblind(round.campaign, name)]
    blanks = {blank.name for blank in round.lab.store.blanks(round.campaign)}
    round.lab.once(
        f"{round.number}{CARRIES}",
        lambda: {
            "tried": len(working.tried),
            "kept": new,
            "planted": planted,
            "planted_tried": len(blanks & {*working.tried}),
        },
    )
    confirmed = {p.idea for p in _confirmations(round)}
    for name in planted:
        if name not in confirmed:  # else its verdict says more
            round.move(name, IdeaState.DROPPED, "kept on the working line, and planted: taken out", "carry")
    if planted:
        words = f"round {round.number}: {len(planted)} of {len(new)} changes that the working line kept were "
        round.lab.say(f"{round.number}/planted", "blank", f"{words}planted and are taken out")
    gone = {*planted, *_bad(round, new)}
    if not {*new} - gone - {claim.candidate.idea.name for claim in claims}:
        return None
    if not gone:
        return working.line
    line = round.shelf.without(working.line, gone, f"working line of round {round.number} without planted")
    return None if line.recipe == round.control.recipe else line


def _bad(round: Round, names: Collection[str]) -> set[str]:
    """What this round's confirmation showed to be worse, or rejected."""
    plans = {plan.id: plan.idea or "" for plan in _confirmations(round) if plan.idea in names}
    bad = (VerdictKind.WORSE, VerdictKind.REJECTED)
    return {
        plans[verdict.plan]
        for verdict in round.lab.store.verdicts(round.campaign)
        if verdict.plan in plans and verdict.kind in bad
    }


def _confirmations(round: Round) -> list[Plan]:
    plans = round.lab.store.plans(round.campaign, PlanKind.CONFIRM)
    return [plan for plan in plans if plan.round == round.number]


def with_pairs(round: Round, pairs: int) -> Round:
    """The round with so many fresh pairs behind what it measures."""
    config = round.config
    policy = config.policy.model_copy(update={"estimate_pairs": min(pairs, config.policy.estimate_pairs)})
    return replace(round, config=config.model_copy(update={"policy": policy}))


def is_proved(plan: Plan, pairs: Sequence[tuple[RunResult, RunResult]]) -> bool:
    """Whether fresh pairs show that a line gains: their interval lies above zero."""
    return paired_interval(at_bound(differences(pairs), plan.rule)).low > 0


def record_carried(round: Round, new: Line) -> None:
    """Mark what a new trunk holds and nothing was claimed of."""
    # Findings of later rounds are on record when a campaign is continued.
    findings = [f for f in round.lab.store.findings(round.campaign) if f.round <= round.number]
    claimed = {finding.idea.name for finding in findings}
    for name in new.names:
        if name not in round.control.names and name not in claimed:
            round.move(name, IdeaState.CARRIED, f"{CARRIED}; round {round.number}", "carry")
    carried = [name for name in new.names if name not in claimed]
    if carried:
        words = (
            f"the trunk carries {len(carried)} changes, proved with it and not apart: {', '.join(carried)}"
        )
        round.lab.say(f"{round.number}/carry", "adopt", words)


def last_line(round: Round, choose: Callable[[], list[str]]) -> Line:
    """The trunk for the last check: what is left of the budget goes into further tries on top of it, which
    that check proves along with the rest (`settle`)."""
    lab = round.lab
    names = lab.once(f"{round.number}/last tries", choose)
    if not names:
        return round.control
    by_name = {entry.idea.name: entry.idea for entry in lab.store.ideas(lab.campaign.id)}
    ideas = [by_name[name] for name in names]
    check_tier(ideas, lab.executor, lab.store.root)
    _, working = forward(round, ideas, 0.0, confirms=False)
    line = to_carry(round, working, ())
    if line is None:
        return round.control
    # Without what was planted it is another recipe, which nobody has run yet.
    smoked = lab.smoke([(line.recipe, round.rung, None)])[line.recipe, round.rung]
    if smoked.status is not RunStatus.DONE or not affords(lab, line, round.rung):
        return round.control
    return replace(line, ahead=round.control.ahead)


def settle(round: Round, tried: Line, checked: Line, stands: bool) -> bool:
    """Write down what became of the line that was `tried` last, of which the last check saw what was left
    after a recheck; returns whether it is the trunk."""
    if stands:
        drop_superseded(round, tried)
        record_carried(round, checked)
    else:
        words = "the last check did not prove the trunk with what was tried last: it stays as it was"
        round.lab.say(f"{round.number}/back", "verify", words)
    return stands


def drop_superseded(round: Round, new: Line) -> None:
    """Mark what a new trunk has given up for an alternative."""
    for held in round.control.trunk.adopted:
        if held.name not in new.names:
            round.move(held.name, IdeaState.DROPPED, f"superseded in round {round.number}", "adopt")
