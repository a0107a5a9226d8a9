"""The confirmation stage: a cohort on one fresh block of seeds, scored on the held-out shard.

All plans of the cohort are stored before any run of the block exists. Seeds are consumed in planned order,
in looks; nothing of the next look is run before every decision of this one is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mendel.campaign.rounds import Round
from mendel.campaign.screen import Screened
from mendel.campaign.trunk import Candidate, Refused, differences, run_pairs
from mendel.plans.costs import Charge
from mendel.records import Plan, PlanKind, Shard, Verdict, VerdictKind
from mendel.store import IdeaState
from mendel.verdicts.judge import Action, Judgement, judge_round

OUT_OF_BUDGET = "undecided: the budget has no room for further pairs"
STEP = 2
"""Seeds added at each look after the first."""


@dataclass(frozen=True)
class Claim:
    """An idea judged better, and what it is charged."""

    candidate: Candidate
    charge: Charge
    verdict: Verdict


def confirm(round: Round, screened: Sequence[Screened]) -> list[Claim]:
    """Judge a cohort; returns what may be claimed, blanks among them."""
    if not screened:
        return []
    plans, candidates = _cohort(round, screened)
    if not plans:
        return []
    names = [candidate.idea.name for candidate in candidates]
    # An e-process belongs to an idea on one trunk: another trunk starts another one, charged separately.
    entries = [f"{name}@{round.control.recipe}" for name in names]
    judgements = _judge(round, dict(zip(entries, plans, strict=True)))
    prices = {candidate.idea.name: price for candidate, price in screened}
    claims = []
    for entry, candidate, plan in zip(entries, candidates, plans, strict=True):
        verdict = _record(round, plan, *judgements[entry])
        if verdict.kind is VerdictKind.BETTER:
            claims.append(Claim(candidate, prices[candidate.idea.name], verdict))
    claimed = ", ".join(claim.candidate.idea.name for claim in claims) or "none"
    message = f"round {round.number}: of {len(plans)} in confirmation, better: {claimed}"
    round.lab.say(f"{round.number}/confirm", "confirm", message)
    return claims


def _judge(round: Round, live: dict[str, Plan]) -> dict[str, tuple[Judgement, list[float | None]]]:
    """Look after look until every idea has stopped; each idea's last judgement and its differences."""
    rule = next(iter(live.values())).rule
    errors = round.errors
    errors.entered += live
    losses: dict[str, list[float | None]] = {name: [] for name in live}
    last: dict[str, Judgement] = {}
    at = 0
    while live:
        until = rule.min_pairs if at == 0 else min(at + STEP, rule.max_pairs)
        found = run_pairs(round.lab, list(live.values()), at, until)
        at = until
        for name, plan in live.items():
            losses[name] += differences(found[plan.id])
        looked = judge_round(rule, errors.entered, {name: losses[name] for name in live}, errors.frozen)
        errors.frozen = looked.frozen
        last |= {name: decision.judgement for name, decision in looked.decisions.items()}
        live = {name: plan for name, plan in live.items() if looked.decisions[name].action is Action.CONTINUE}
        if live and not _may_go_on(round, at, len(live), len(losses)):
            # Stopped by the clock and not by their numbers; they can no longer be claimed.
            errors.frozen |= dict.fromkeys(live, -math.inf)
            last |= {name: replace(last[name], reason=OUT_OF_BUDGET) for name in live}
            break
    return {name: (judgement, losses[name]) for name, judgement in last.items()}


def _cohort(round: Round, screened: Sequence[Screened]) -> tuple[list[Plan], list[Candidate]]:
    seeds = round.seeds(PlanKind.CONFIRM, round.config.policy.max_pairs)
    plans, candidates = [], []
    with round.lab.store.transaction():
        for candidate, price in screened:
            excess = round.control.excess * price.ratio / price.flops_ratio
            candidate = replace(candidate, line=replace(candidate.line, excess=excess))
            name = candidate.idea.name
            try:
                plan = round.plan(PlanKind.CONFIRM, name, candidate.line, seeds, Shard.HELD_OUT)
            except Refused as error:  # as charged by the clock; FLOPs alone let it through
                round.move(name, IdeaState.FAILED, str(error), "confirm")
                continue
            round.lab.store.put_plan(round.campaign, plan)
            plans.append(plan)
            candidates.append(candidate)
    return plans, candidates


def _may_go_on(round: Round, at: int, live: int, cohort: int) -> bool:
    """Whether the budget has room for another look, and then for measuring the claims (their stack, the trunk
    and the original beside them) and the last check; what the clock said is kept."""
    meter = round.lab.meter
    price = STEP * (live + 1) + (cohort + 3) * round.config.policy.estimate_pairs + round.reserve
    return round.lab.once(f"{round.number}/look/{at}", lambda: meter.remaining() > price)


def _record(round: Round, plan: Plan, judgement: Judgement, losses: list[float | None]) -> Verdict:
    verdict = Verdict(
        plan=plan.id,
        kind=judgement.kind,
        pairs=judgement.pairs,
        failures=judgement.failures,
        difference=judgement.difference,
        log2_cm=round.multiplier(losses, plan.rule),
        log_e_t=judgement.log_e_t,
        log_e_sign=judgement.log_e_sign,
        reason=judgement.reason,
    )
    round.lab.store.put_verdict(round.campaign, verdict)
    state = IdeaState.CLAIMED if verdict.kind is VerdictKind.BETTER else IdeaState.DROPPED
    note = f"confirmation: {verdict.kind.value} after {verdict.pairs} pairs; {verdict.reason}"
    round.move(plan.idea or "", state, note, "confirm")
    return verdict
