"""The confirmation stage: a cohort on one fresh block of seeds, scored on the held-out shard.

All plans of the cohort are stored before any run of the block exists. Seeds are consumed in planned order,
in looks; nothing of the next look is run before every decision of this one is made. What the numbers would
call better is audited first, and then unblinded; what an audit rejects and what was planted has an e-value
of zero, so it helps no other idea.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mendel.campaign.looks import Entry, look
from mendel.campaign.rounds import Round
from mendel.campaign.screen import Screened
from mendel.campaign.together import confirm_together
from mendel.campaign.trunk import Candidate, Refused, run_pairs
from mendel.plans.costs import Charge
from mendel.plans.screening import Prospect
from mendel.records import Interval, Plan, PlanKind, Shard, Verdict, VerdictKind
from mendel.store import IdeaState
from mendel.verdicts.halves import as_pairs
from mendel.verdicts.judge import Action
from mendel.verdicts.selection import after_selection

OUT_OF_BUDGET = "undecided: the budget has no room for further pairs"
NO_ROOM = "waits: the budget has no room to confirm it by itself"
AGAIN = "/alone"
"""Ends the name of an e-process that follows one with halves, which were given up."""
FEW = 3
"""Claims of a round that are each measured on fresh pairs; of more, which would cost as much as proving them
did, only the stack is."""
STEP = 2
"""Seeds added at each look after the first."""


@dataclass(frozen=True)
class Claim:
    """An idea judged better, and what it is charged."""

    candidate: Candidate
    charge: Charge
    verdict: Verdict
    entry: Entry
    prospect: Prospect
    """What screening let one expect."""


def confirm(round: Round, screened: Sequence[Screened]) -> list[Claim]:
    """Judge a cohort; returns what may be claimed, blanks among them."""
    if not screened:
        return []
    plans, candidates = cohort(round, [(one.candidate, one.charge) for one in screened])
    if not plans:
        return []
    names = [candidate.idea.name for candidate in candidates]
    # An e-process belongs to an idea on one trunk: another trunk starts another one, charged separately.
    entries = {f"{name}@{round.control.recipe}": Entry(plan) for name, plan in zip(names, plans, strict=True)}
    found = {one.candidate.idea.name: one for one in screened}
    screened = [found[candidate.idea.name]._replace(candidate=candidate) for candidate in candidates]
    both = {name: (entry, one) for (name, entry), one in zip(entries.items(), screened, strict=True)}
    stopped, waiting = confirm_together(round, both)
    alone = {name: entry for name, entry in entries.items() if name not in stopped | waiting.keys()}
    again = {name: f"{name}{AGAIN}" for name in alone if name in round.errors.frozen}
    if stopped or again:  # halves have spent some of what was meant for these
        late = alone.keys() - _that_fit(round, alone)
        waiting |= dict.fromkeys(late, NO_ROOM)
        round.errors.frozen |= dict.fromkeys(late & {*round.errors.entered}, -math.inf)
        alone = {name: entry for name, entry in alone.items() if name not in late}
    if alone:
        _judge(round, {again.get(name, name): entry for name, entry in alone.items()})
    claims = []
    for name, (entry, one) in both.items():
        if name in waiting:
            round.move(one.candidate.idea.name, IdeaState.SCREENED, waiting[name], "confirm")
            continue
        verdict = _record(round, entry, _selected(round, again.get(name, name), entry))
        if verdict.kind is VerdictKind.BETTER:
            claims.append(Claim(one.candidate, one.charge, verdict, entry, one.prospect))
    claimed = ", ".join(claim.candidate.idea.name for claim in claims) or "none"
    message = f"round {round.number}: of {len(plans)} in confirmation, better: {claimed}"
    round.lab.say(f"{round.number}/confirm", "confirm", message)
    return claims


def _judge(round: Round, entries: dict[str, Entry]) -> None:
    """Look after look until every idea has stopped."""
    rule = next(iter(entries.values())).plan.rule
    errors = round.errors
    errors.entered += [name for name in entries if name not in errors.entered]
    live, at = dict(entries), 0
    while live:
        until = rule.min_pairs if at == 0 else min(at + STEP, rule.max_pairs)
        found = run_pairs(round.lab, [entry.plan for entry in live.values()], at, until)
        at = until
        for entry in live.values():
            entry.pairs += found[entry.plan.id]
        looked = look(round, live)
        going = {n for n, decision in looked.decisions.items() if decision.action is Action.CONTINUE}
        live = {name: entry for name, entry in live.items() if name in going}
        if live and not _may_go_on(round, at, live, entries):
            # Stopped by the clock and not by their numbers; they can no longer be claimed.
            errors.frozen |= dict.fromkeys(live, -math.inf)
            for entry in live.values():
                assert entry.judgement is not None
                entry.judgement = replace(entry.judgement, reason=OUT_OF_BUDGET)
            break


def cohort(round: Round, priced: Sequence[tuple[Candidate, Charge]]) -> tuple[list[Plan], list[Candidate]]:
    """Fix the plans of a cohort, each treatment's tokens cut to what it is charged."""
    seeds = round.seeds(PlanKind.CONFIRM, round.config.policy.max_pairs)
    plans, candidates = [], []
    with round.lab.store.transaction():
        for candidate, price in priced:
            excess = round.control.excess * price.ratio / price.flops_ratio
            fixed = round.control.fixed + price.fixed
            candidate = replace(candidate, line=replace(candidate.line, excess=excess, fixed=fixed))
            name = candidate.idea.name
            if price.too_dear:
                round.move(name, IdeaState.FAILED, price.too_dear, "confirm")
                continue
            try:
                plan = round.plan(
                    PlanKind.CONFIRM, name, candidate.line, seeds, Shard.HELD_OUT, candidate.control
                )
            except Refused as error:  # as charged by the clock; FLOPs alone let it through
                round.move(name, IdeaState.FAILED, str(error), "confirm")
                continue
            round.lab.store.put_plan(round.campaign, plan)
            plans.append(plan)
            candidates.append(candidate)
    return plans, candidates


def _may_go_on(round: Round, at: int, live: Mapping[str, Entry], cohort: Mapping[str, Entry]) -> bool:
    """Whether the budget has room for another look; what the clock said is kept."""
    price = _price(round, STEP, live, cohort)
    return round.lab.once(f"{round.number}/look/{at}", lambda: round.lab.meter.remaining() > price)


def _that_fit(round: Round, entries: Mapping[str, Entry]) -> set[str]:
    """The best of these, as many as the budget has room for; what the clock said is kept."""
    names = list(entries)

    def most() -> int:
        left = round.lab.meter.remaining()
        for count in range(len(names), 0, -1):
            some = {name: entries[name] for name in names[:count]}
            if left > _price(round, entries[names[0]].rule.min_pairs, some, some):
                return count
        return 0

    return {*names[: round.lab.once(f"{round.number}/alone", most)]}


def _price(round: Round, pairs: int, live: Mapping[str, Entry], cohort: Mapping[str, Entry]) -> float:
    """Of so many pairs of what is live, of measuring the claims after them (a few, their controls, their
    stack and the original beside them), and of the last check."""
    looks, arms = len(live) + len(_controls(live)), min(len(cohort), FEW) + len(_controls(cohort)) + 2
    return pairs * looks + arms * round.config.policy.estimate_pairs + round.reserve


def _controls(entries: Mapping[str, Entry]) -> set[str]:
    """Recipes that entries are compared with: the trunk, and the tuned controls of some."""
    return {entry.plan.control for entry in entries.values()}


def _selected(round: Round, name: str, entry: Entry) -> Interval | None:
    """The gain of a claim that counts, with an interval that holds although it was claimed."""
    errors = round.errors
    if errors.frozen[name] == -math.inf:
        return None
    claims = sum(log_e > -math.inf for log_e in errors.frozen.values())
    place = errors.entered.index(name)
    if entry.halves is not None:
        return entry.halves.selected(entry.place, place, claims)
    return after_selection(entry.plan.rule, entry.losses, place, claims)


def _record(round: Round, entry: Entry, selected: Interval | None) -> Verdict:
    plan, judgement = entry.plan, entry.judgement
    assert judgement is not None
    verdict = Verdict(
        plan=plan.id,
        kind=judgement.kind,
        pairs=judgement.pairs,
        failures=judgement.failures,
        difference=judgement.difference if entry.halves is None else entry.halves.measured(entry.place),
        log2_cm=_multiplier(round, entry),
        per_bit=1 / round.slope(),
        log_e_t=judgement.log_e_t,
        log_e_sign=judgement.log_e_sign,
        selected=selected,
        together=0 if entry.halves is None else len(entry.halves.gains.mean),
        reason=judgement.reason,
    )
    round.lab.store.put_verdict(round.campaign, verdict)
    round.lab.keep_audits(verdict, entry.audits)
    state = STATES.get(verdict.kind, IdeaState.DROPPED)
    of = " of halves" if verdict.together else ""
    note = f"confirmation: {verdict.kind.value} after {verdict.pairs} pairs{of}; {verdict.reason}"
    round.move(plan.idea or "", state, note, "confirm")
    if verdict.kind is VerdictKind.REJECTED:
        key = f"{round.number}/rejected/{plan.idea}"
        round.lab.say(key, "audit", f"{plan.idea}: rejected, {verdict.reason}", plan.idea)
    return verdict


def _multiplier(round: Round, entry: Entry) -> Interval:
    """log2 CM over the control: of its pairs, or of what its cohort's halves measured."""
    if entry.halves is None:
        return round.multiplier(entry.pairs, entry.plan.rule)
    return in_halves(round, entry, entry.halves.measured(entry.place))


def in_halves(round: Round, entry: Entry, gain: Interval, share: float = 1.0) -> Interval:
    """log2 CM of a gain that an idea's halves show; `share` of it, where screening knows the rest.

    Halves stand further along the control's curve, by half of what the others gain, and a doubling is worth
    less there. The error of that place is not in the interval."""
    assert entry.halves is not None
    gains = entry.halves.gains.mean
    others = float(gains.sum() - gains[entry.place]) / 2
    ahead = round.ahead + share * max(0.0, round.in_compute([others, others]).value)
    return replace(round, ahead=ahead).in_compute(as_pairs(gain, len(entry.pairs)))


STATES = {VerdictKind.BETTER: IdeaState.CLAIMED, VerdictKind.REJECTED: IdeaState.REJECTED}
"""Of ideas after confirmation; all others are dropped."""
