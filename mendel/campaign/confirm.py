"""The confirmation stage: a cohort on one fresh block of seeds, scored on the held-out shard.

All plans of the cohort are stored before any run of the block exists. Seeds are consumed in planned order,
in looks; nothing of the next look is run before every decision of this one is made. What the numbers would
call better is audited first, and then unblinded; what an audit rejects and what was planted has an e-value
of zero, so it helps no other idea.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mendel.campaign.audits import failed, full
from mendel.campaign.claim_audits import any_rejected, audit_claim, audit_runs
from mendel.campaign.rounds import Round
from mendel.campaign.screen import Screened
from mendel.campaign.trunk import Candidate, Refused, differences, run_pairs
from mendel.plans.costs import Charge
from mendel.records import Audit, Interval, Plan, PlanKind, RunResult, Shard, Verdict, VerdictKind
from mendel.store import IdeaState
from mendel.verdicts.judge import Action, Judgement, by_pairs, judge, judge_unaided, strongest_first
from mendel.verdicts.judge import Round as Looked
from mendel.verdicts.selection import after_selection

OUT_OF_BUDGET = "undecided: the budget has no room for further pairs"
STEP = 2
"""Seeds added at each look after the first."""


@dataclass(frozen=True)
class Claim:
    """An idea judged better, and what it is charged."""

    candidate: Candidate
    charge: Charge
    verdict: Verdict


@dataclass
class Entry:
    """An idea in confirmation."""

    plan: Plan
    pairs: list[tuple[RunResult, RunResult]] = field(default_factory=list)
    judgement: Judgement | None = None
    audits: tuple[Audit, ...] = ()
    audited: bool = False
    """As a whole, for a claim."""

    @property
    def losses(self) -> list[float | None]:
        return differences(self.pairs)


def confirm(round: Round, screened: Sequence[Screened]) -> list[Claim]:
    """Judge a cohort; returns what may be claimed, blanks among them."""
    if not screened:
        return []
    plans, candidates = cohort(round, screened)
    if not plans:
        return []
    names = [candidate.idea.name for candidate in candidates]
    # An e-process belongs to an idea on one trunk: another trunk starts another one, charged separately.
    entries = {f"{name}@{round.control.recipe}": Entry(plan) for name, plan in zip(names, plans, strict=True)}
    _judge(round, entries)
    prices = {candidate.idea.name: price for candidate, price in screened}
    claims = []
    for (name, entry), candidate in zip(entries.items(), candidates, strict=True):
        verdict = _record(round, entry, _selected(round, name, entry))
        if verdict.kind is VerdictKind.BETTER:
            claims.append(Claim(candidate, prices[candidate.idea.name], verdict))
    claimed = ", ".join(claim.candidate.idea.name for claim in claims) or "none"
    message = f"round {round.number}: of {len(plans)} in confirmation, better: {claimed}"
    round.lab.say(f"{round.number}/confirm", "confirm", message)
    return claims


def _judge(round: Round, entries: dict[str, Entry]) -> None:
    """Look after look until every idea has stopped."""
    rule = next(iter(entries.values())).plan.rule
    errors = round.errors
    errors.entered += entries
    live, at = dict(entries), 0
    while live:
        until = rule.min_pairs if at == 0 else min(at + STEP, rule.max_pairs)
        found = run_pairs(round.lab, [entry.plan for entry in live.values()], at, until)
        at = until
        for entry in live.values():
            entry.pairs += found[entry.plan.id]
        looked = _look(round, live)
        errors.frozen = looked.frozen
        for name, decision in looked.decisions.items():
            live[name].judgement = decision.judgement
        going = {n for n, decision in looked.decisions.items() if decision.action is Action.CONTINUE}
        live = {name: entry for name, entry in live.items() if name in going}
        if live and not _may_go_on(round, at, live, entries):
            # Stopped by the clock and not by their numbers; they can no longer be claimed.
            errors.frozen |= dict.fromkeys(live, -math.inf)
            for entry in live.values():
                assert entry.judgement is not None
                entry.judgement = replace(entry.judgement, reason=OUT_OF_BUDGET)
            break


def _look(round: Round, live: dict[str, Entry]) -> Looked:
    """Decide on all running ideas. What would be claimed is audited and unblinded; where one does not count,
    the others are decided on again, because a claim depends on how many there are."""
    rule, errors = next(iter(live.values())).plan.rule, round.errors
    for entry in live.values():
        entry.audited = False  # there are more runs now
    rejected = {name for name, entry in live.items() if _reject(entry, _of_runs(entry))}
    losses = {name: entry.losses for name, entry in live.items() if name not in rejected}
    frozen = errors.frozen | dict.fromkeys(rejected, -math.inf)
    running = by_pairs(rule, losses)
    return judge_unaided(rule, errors.entered, running, frozen, lambda claims: _barred(round, live, claims))


def _barred(round: Round, live: dict[str, Entry], claims: Mapping[str, Judgement]) -> Collection[str]:
    """Of what would be claimed: all that audits reject, else the strongest that was planted. Planted ideas
    are taken out one at a time, so that none of them is called claimed for the help of a stronger one."""
    rejected = []
    for name in claims:
        entry = live[name]
        if not entry.audited:
            entry.audited = True
            if _reject(entry, audit_claim(round, entry.plan, entry.pairs)):
                rejected.append(name)
    if rejected:
        return rejected
    for name in strongest_first(claims):
        entry = live[name]
        if round.lab.store.unblind(round.campaign, entry.plan.idea or ""):
            entry.judgement = claims[name]
            return [name]
    return []


def _of_runs(entry: Entry) -> tuple[Audit, ...]:
    """Audits of runs whose scores were rejected, if there are any."""
    return audit_runs(entry.pairs) if any_rejected(entry.pairs) else ()


def _reject(entry: Entry, audits: tuple[Audit, ...]) -> bool:
    """Keep what audits found; True if one found a violation."""
    entry.audits = audits
    violation = failed(audits)
    if violation is None:
        return False
    said = judge(entry.plan.rule, entry.losses)
    entry.judgement = replace(said, kind=VerdictKind.REJECTED, futile=False, reason=full(violation))
    return True


def cohort(round: Round, screened: Sequence[Screened]) -> tuple[list[Plan], list[Candidate]]:
    """Fix the plans of a cohort, each treatment's tokens cut to what it is charged."""
    seeds = round.seeds(PlanKind.CONFIRM, round.config.policy.max_pairs)
    plans, candidates = [], []
    with round.lab.store.transaction():
        for candidate, price in screened:
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
    """Whether the budget has room for another look, and then for measuring the claims (their controls, their
    stack and the original beside them) and the last check; what the clock said is kept."""
    meter = round.lab.meter
    looks, arms = len(live) + len(_controls(live)), len(cohort) + len(_controls(cohort)) + 2
    price = STEP * looks + arms * round.config.policy.estimate_pairs + round.reserve
    return round.lab.once(f"{round.number}/look/{at}", lambda: meter.remaining() > price)


def _controls(entries: Mapping[str, Entry]) -> set[str]:
    """Recipes that entries are compared with: the trunk, and the tuned controls of some."""
    return {entry.plan.control for entry in entries.values()}


def _selected(round: Round, name: str, entry: Entry) -> Interval | None:
    """The gain of a claim that counts, with an interval that holds although it was claimed."""
    errors = round.errors
    if errors.frozen[name] == -math.inf:
        return None
    claims = sum(log_e > -math.inf for log_e in errors.frozen.values())
    return after_selection(entry.plan.rule, entry.losses, errors.entered.index(name), claims)


def _record(round: Round, entry: Entry, selected: Interval | None) -> Verdict:
    plan, judgement = entry.plan, entry.judgement
    assert judgement is not None
    verdict = Verdict(
        plan=plan.id,
        kind=judgement.kind,
        pairs=judgement.pairs,
        failures=judgement.failures,
        difference=judgement.difference,
        log2_cm=round.multiplier(entry.pairs, plan.rule),
        per_bit=1 / round.slope(),
        log_e_t=judgement.log_e_t,
        log_e_sign=judgement.log_e_sign,
        selected=selected,
        reason=judgement.reason,
    )
    round.lab.store.put_verdict(round.campaign, verdict)
    round.lab.keep_audits(verdict, entry.audits)
    state = STATES.get(verdict.kind, IdeaState.DROPPED)
    note = f"confirmation: {verdict.kind.value} after {verdict.pairs} pairs; {verdict.reason}"
    round.move(plan.idea or "", state, note, "confirm")
    if verdict.kind is VerdictKind.REJECTED:
        key = f"{round.number}/rejected/{plan.idea}"
        round.lab.say(key, "audit", f"{plan.idea}: rejected, {verdict.reason}", plan.idea)
    return verdict


STATES = {VerdictKind.BETTER: IdeaState.CLAIMED, VerdictKind.REJECTED: IdeaState.REJECTED}
"""Of ideas after confirmation; all others are dropped."""
