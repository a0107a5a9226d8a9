"""The screening stage: stop what does not apply or run, spend a few pairs on the rest, pick a cohort."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from mendel.campaign.claim_audits import any_rejected
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.trunk import Candidate, Pairs, differences, prepare, run_pairs
from mendel.plans.costs import Charge, charge, cpu_intervals, done_once
from mendel.plans.screening import Belief, entering
from mendel.records import Idea, Plan, PlanKind, RunResult, RunStatus, Shard, Verdict, VerdictKind
from mendel.store import IdeaState
from mendel.verdicts.effects import paired_interval, pooled_sd, shrink

Screened = tuple[Candidate, Charge]
"""An idea that enters confirmation, and what it is charged."""


def screen(round: Round, ideas: Sequence[Idea]) -> list[Screened]:
    """Smoke-test and screen; returns the candidates that enter confirmation, best first."""
    policy = round.config.policy
    ready, lost = prepare(round.lab, round.shelf, round.control, ideas, round.rung)
    for name, (state, reason) in lost.items():
        _lose(round, name, IdeaState(state), reason)
    round.measure_curve()
    plans = screening_plans(round, ready)
    found = run_pairs(round.lab, plans, 0, policy.screen_pairs)
    beliefs = _beliefs(round, ready, plans, found)
    if policy.more_screen_pairs:
        doubtful = [p for p in plans if beliefs[p.idea or ""].in_doubt(policy.min_gain, policy.enter)]
        last = policy.screen_pairs + policy.more_screen_pairs
        for plan, more in run_pairs(round.lab, doubtful, policy.screen_pairs, last).items():
            found[plan] += more
        beliefs = _beliefs(round, ready, plans, found)
    rejected = {plan.idea for plan in plans if any_rejected(found[plan.id])}
    hopeful = [belief for name, belief in beliefs.items() if name not in rejected]
    names = entering(hopeful, policy.min_gain, policy.enter, policy.cohort)
    _record(round, plans, found, beliefs, names)
    prices = charges(round, ready, plans, found)
    by_name = {candidate.idea.name: candidate for candidate in ready}
    return [(by_name[name], prices[name]) for name in names]


def screening_plans(round: Round, ready: Sequence[Candidate]) -> list[Plan]:
    """Fix the screening plans of ideas that are ready to run."""
    policy = round.config.policy
    seeds = round.seeds(PlanKind.SCREEN, policy.screen_pairs + policy.more_screen_pairs)
    plans = []
    with round.lab.store.transaction():
        for candidate in ready:
            plan = round.plan(PlanKind.SCREEN, candidate.idea.name, candidate.line, seeds, Shard.VALIDATION)
            round.lab.store.put_plan(round.campaign, plan)
            plans.append(plan)
    return plans


def _beliefs(
    round: Round, ready: Sequence[Candidate], plans: Sequence[Plan], found: Pairs
) -> dict[str, Belief]:
    """Posterior log2 CM of each idea: its forecast, and its pairs with noise pooled over all ideas."""
    if not plans:
        return {}
    slope = round.slope()
    losses = {plan.idea or "": at_bound(differences(found[plan.id]), plan.rule) for plan in plans}
    noise = pooled_sd(losses.values())
    beliefs = {}
    for candidate in ready:
        name, forecast = candidate.idea.name, candidate.idea.forecast
        values = losses[name]
        estimate = sum(values) / len(values) / slope
        mean, sd = shrink(forecast.mean, forecast.sd, estimate, noise / slope / math.sqrt(len(values)))
        beliefs[name] = Belief(name=name, mean=mean, sd=sd)
    return beliefs


def _record(
    round: Round, plans: Sequence[Plan], found: Pairs, beliefs: dict[str, Belief], names: Sequence[str]
) -> None:
    for plan in plans:
        idea, results = plan.idea or "", found[plan.id]
        pairs = differences(results)
        failures = sum(d is None for d in pairs)
        probability = beliefs[idea].probability_above(round.config.policy.min_gain)
        entered = "enters confirmation" if idea in names else "does not enter confirmation"
        kind = VerdictKind.FAILED if failures == len(pairs) else VerdictKind.NO_DIFFERENCE_SHOWN
        if any_rejected(results):
            kind = VerdictKind.REJECTED
        verdict = Verdict(
            plan=plan.id,
            kind=kind,
            pairs=len(pairs),
            failures=failures,
            difference=paired_interval(at_bound(pairs, plan.rule)),
            log2_cm=round.multiplier(pairs, plan.rule),
            reason=f"screened: P(gain) {probability:.2f}, {entered}",
        )
        round.lab.store.put_verdict(round.campaign, verdict)
        if kind is VerdictKind.REJECTED:
            bad = next(t for _, t in results if t.status is RunStatus.REJECTED)
            _lose(round, idea, IdeaState.REJECTED, f"audit {bad.reason}")
        elif kind is VerdictKind.FAILED:
            bad = results[0][1]
            _lose(round, idea, IdeaState.FAILED, f"screening runs {bad.status}: {bad.reason}")
        else:
            state = IdeaState.CONFIRMING if idea in names else IdeaState.SCREENED
            round.move(idea, state, verdict.reason, "screen")
    listed = f": {', '.join(names)}" if names else ""
    round.lab.say(
        f"{round.number}/screen",
        "screen",
        f"round {round.number}: screened {len(plans)}, {len(names)} enter confirmation{listed}",
    )


def _lose(round: Round, name: str, state: IdeaState, reason: str) -> None:
    round.move(name, state, reason, "smoke")
    round.lab.say(f"{round.number}/lost/{name}", "smoke", f"{name}: {state.value}, {reason}", name)


def charges(
    round: Round, ready: Sequence[Candidate], plans: Sequence[Plan], found: Pairs
) -> dict[str, Charge]:
    """Price each candidate by its FLOPs and by the CPU seconds of its screening pairs.

    Seconds per *planned* token: a patch cannot make itself cheap by counting more than it was told to read.
    """
    good = {
        plan.idea or "": [
            (c.cpu_seconds, t.cpu_seconds)
            for c, t in found[plan.id]
            if t.status is c.status is RunStatus.DONE and t.cpu_seconds > 0 and c.cpu_seconds > 0
        ]
        for plan in plans
    }
    seconds = cpu_intervals(
        {
            plan.idea or "": [math.log(t / c * plan.cost_ratio) for c, t in good[plan.idea or ""]]
            for plan in plans
        }
    )
    by_seconds = not round.lab.meter.counts_runs
    prices = {}
    for candidate, plan in zip(ready, plans, strict=True):
        name, ratio = candidate.idea.name, candidate.flops_ratio
        measured = seconds.get(name)
        once = 0.0
        if measured is not None:
            whole = statistics.fmean(control for control, _ in good[name])
            smoke, tokens = _smoke_difference(round, candidate)
            once = done_once(smoke / whole, tokens / plan.control_tokens, measured.value, ratio)
        prices[name] = charge(ratio, measured, by_seconds, once, round.control.fixed)
    return prices


def _smoke_difference(round: Round, candidate: Candidate) -> tuple[float, int]:
    """CPU seconds by which a candidate's smoke run took longer than its control's, and tokens of both."""
    costs = [
        round.lab.store.cost(round.campaign, recipe, round.rung)
        for recipe in (candidate.line.recipe, round.control.recipe)
    ]
    treatment, control = (cost.result if cost else RunResult(status=RunStatus.DONE) for cost in costs)
    return treatment.cpu_seconds - control.cpu_seconds, control.tokens
