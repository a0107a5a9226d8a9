"""The screening stage: stop what does not apply or run, spend a few pairs on the rest, pick a cohort."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mendel.campaign.claim_audits import any_rejected
from mendel.campaign.config import Policy
from mendel.campaign.early_stop import EarlyStop
from mendel.campaign.forecasts import track_record
from mendel.campaign.noise import tell_noise
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.trunk import Candidate, Pairs, differences, run_pairs
from mendel.campaign.tuning import prepare_tuned
from mendel.plans.costs import Charge, charge, cpu_intervals, done_once
from mendel.plans.index import GAINS
from mendel.plans.screening import Outlook, Prospect, Subject, entering, price_of_compute, prospects
from mendel.records import Currency, Idea, Plan, PlanKind, RunResult, RunStatus, Shard, Verdict, VerdictKind
from mendel.store import IdeaState
from mendel.verdicts.effects import paired_interval
from mendel.verdicts.halves import as_pairs
from mendel.verdicts.noise import learn_noise
from mendel.verdicts.power import confirmation, expected_bar


class Screened(NamedTuple):
    """An idea that enters confirmation."""

    candidate: Candidate
    charge: Charge
    prospect: Prospect
    """What is expected of it."""


ENTRY_PAIRS = 2
"""Pairs that an idea has before it enters: its noise and its cost are then measured and not assumed."""

SHARING = 12
"""Ideas whose first pairs share a control: its luck moves all of them. The next so many begin with the next
seed."""


def screen(round: Round, ideas: Sequence[Idea]) -> list[Screened]:
    """Smoke-test and screen; returns the candidates that enter confirmation, best first."""
    policy = round.config.policy
    ready, lost = prepare_tuned(round, ideas)
    for name, (state, reason) in lost.items():
        lose(round, name, IdeaState(state), reason)
    round.measure_curve()
    plans = screening_plans(round, ready)
    early = EarlyStop(round, {candidate.idea.name: candidate.idea.idea_class for candidate in ready})
    found = run_pairs(round.lab, plans, 0, policy.screen_pairs, early.watch)
    said, names = _weigh(round, ready, plans, found, 0)
    for step in itertools.count(1):
        wanted = [plan for plan in plans if _wants_pair(policy, said[plan.idea or ""], found[plan.id], names)]
        if not wanted:
            break
        for have in sorted({len(found[plan.id]) for plan in wanted}):
            level = [plan for plan in wanted if len(found[plan.id]) == have]
            for plan_id, more in run_pairs(round.lab, level, have, have + 1, early.watch).items():
                found[plan_id] += more
        said, names = _weigh(round, ready, plans, found, step)
    early.record(plans, found)
    _record(round, plans, found, said, names)
    prices = charges(round, ready, plans, found)
    by_name = {candidate.idea.name: candidate for candidate in ready}
    return [Screened(by_name[name], prices[name], said[name]) for name in names]


def _wants_pair(
    policy: Policy,
    said: Prospect,
    pairs: Sequence[tuple[RunResult, RunResult]],
    entering: Sequence[str],
) -> bool:
    """Whether an idea gets another screening pair: it is in doubt, it would enter on a single one, or its
    only one failed and nobody knows whether all do."""
    if stopped_early(pairs) or any_rejected(pairs):
        return False
    if len(pairs) < ENTRY_PAIRS and (said.name in entering or None in differences(pairs)):
        return True
    return said.pairs > 0 and len(pairs) < policy.screen_pairs + policy.more_screen_pairs


def stopped_early(pairs: Sequence[tuple[RunResult, RunResult]]) -> str:
    """Why an idea was given up before its runs had ended; empty if none was stopped."""
    return next((treatment.reason for _, treatment in pairs if treatment.stopped is not None), "")


def screening_plans(round: Round, ready: Sequence[Candidate]) -> list[Plan]:
    """Fix the screening plans of ideas that are ready to run."""
    policy = round.config.policy
    most = max(policy.screen_pairs + policy.more_screen_pairs, ENTRY_PAIRS)
    seeds = round.seeds(PlanKind.SCREEN, max(most, math.ceil(len(ready) / SHARING)))
    plans = []
    with round.lab.store.transaction():
        for place, candidate in enumerate(ready):
            name, control = candidate.idea.name, candidate.control
            turned = (seeds + seeds)[place // SHARING :][:most]
            plan = round.plan(PlanKind.SCREEN, name, candidate.line, turned, Shard.VALIDATION, control)
            round.lab.store.put_plan(round.campaign, plan)
            plans.append(plan)
    return plans


def _weigh(
    round: Round, ready: Sequence[Candidate], plans: Sequence[Plan], found: Pairs, step: int
) -> tuple[dict[str, Prospect], list[str]]:
    """What to do with each idea of the round, and which of them enter confirmation by what is known now. It
    depends on the clock and on what waits, so it is kept."""
    if not plans:
        return {}, []
    pairs = {
        plan.idea or "": dict(zip(plan.seeds, at_bound(differences(found[plan.id]), plan.rule), strict=False))
        for plan in plans
    }
    # What was expected of a stopped run is closer to the others than what it would have shown.
    whole = [differences(found[plan.id]) for plan in plans if not stopped_early(found[plan.id])]
    round.noise = learn_noise([d for d in own if d is not None] for own in whole)
    tell_noise(round, whole)

    def weighed() -> dict[str, Any]:
        outlook, slope = outlook_of(round), round.slope()
        mine = [subject(candidate.idea, slope, pairs[candidate.idea.name]) for candidate in ready]
        subjects = mine + others(round, slope, set(pairs))
        price = price_of_compute(subjects, outlook, round.lab.meter.remaining() - round.reserve)
        said = prospects(subjects, outlook, round.config.policy.enter * price)
        return {name: said[name].model_dump() for name in pairs}

    kept = round.lab.once(f"{round.number}/prospects/{step}", weighed)
    said = {name: Prospect.model_validate(one) for name, one in kept.items()}
    policy = round.config.policy
    out = {plan.idea for plan in plans if any_rejected(found[plan.id]) or stopped_early(found[plan.id])}
    able = [one for name, one in said.items() if name not in out]
    return said, entering(able, policy.cohort, everything=policy.enter == 0)


def outlook_of(round: Round) -> Outlook:
    """The noise as screening has shown it, and what a confirmation of this campaign takes and finds."""
    policy, slope = round.config.policy, round.slope()
    sd, alike = round.usual_noise().sd, round.noise.pairs
    min_gain = policy.min_gain * slope
    # Rounded, so that what was simulated for one round serves the next.
    bar = float(f"{expected_bar(policy.alpha):.1f}")
    edge = float(f"{min_gain / sd:.1f}")
    power, pairs = confirmation(GAINS, bar, edge, policy.max_pairs, noise_pairs=alike)
    return Outlook(sd=sd, alike=alike, min_gain=min_gain, power=power, pairs=pairs)


def run_price(round: Round) -> float:
    """log2 CM that a run must bring to be worth more than it is to the ideas that wait; 0 where none does."""
    slope = round.slope()
    subjects = others(round, slope, set())
    if not any(one.open for one in subjects):
        return 0.0
    outlook = outlook_of(round)
    left = round.lab.meter.remaining() - round.reserve
    return price_of_compute(subjects, outlook, left) * outlook.sd / slope


def subject(idea: Idea, slope: float, pairs: Mapping[int, float]) -> Subject:
    """An idea with its clipped differences by seed."""
    return Subject(idea.name, idea.idea_class, idea.proposer, idea.forecast.mean * slope, pairs)


def others(round: Round, slope: float, here: set[str]) -> list[Subject]:
    """What waits and competes for the budget, and what was measured before and teaches what to expect."""
    store, campaign = round.lab.store, round.lab.campaign
    waiting = [entry.idea for entry in store.ideas(campaign.id, IdeaState.QUEUED)]
    record = [past for past in track_record(store, campaign) if past.log2_cm is not None]
    return [subject(idea, slope, {}) for idea in waiting if idea.name not in here] + [
        Subject(
            name=f"past {number}",
            idea_class=past.idea_class,
            proposer=past.proposer,
            forecast=past.forecast.mean * slope,
            known=((past.log2_cm or 0.0) * slope, past.se * slope),
            open=False,
        )
        for number, past in enumerate(record)
    ]


def _record(
    round: Round, plans: Sequence[Plan], found: Pairs, said: dict[str, Prospect], names: Sequence[str]
) -> None:
    for plan in plans:
        idea = plan.idea or ""
        entered = "enters confirmation" if idea in names else "does not enter confirmation"
        state = IdeaState.CONFIRMING if idea in names else IdeaState.SCREENED
        record_screened(round, plan, found[plan.id], said[idea].probability, state, entered)
    listed = f": {', '.join(names)}" if names else ""
    round.lab.say(
        f"{round.number}/screen",
        "screen",
        f"round {round.number}: screened {len(plans)}, {len(names)} enter confirmation{listed}",
    )


def record_screened(
    round: Round,
    plan: Plan,
    results: Sequence[tuple[RunResult, RunResult]],
    probability: float,
    state: IdeaState,
    outcome: str,
) -> None:
    """Store the verdict of an idea's screening pairs, and move the idea to `state` unless all failed."""
    idea, pairs = plan.idea or "", differences(results)
    failures = sum(d is None for d in pairs)
    reason = f"screened: P(gain) {probability:.2f}, {outcome}"
    if stopped := stopped_early(results):
        reason = f"screened and stopped early: {stopped}"
    # One or two pairs have next to no noise of their own: that of the other ideas stands for it.
    noise, gains = round.usual_noise(), at_bound(pairs, plan.rule)
    difference, freedom = paired_interval(gains, noise=noise), len(gains) - 1 + noise.pairs
    kind = VerdictKind.FAILED if failures == len(pairs) else VerdictKind.NO_DIFFERENCE_SHOWN
    if any_rejected(results):
        kind = VerdictKind.REJECTED
    verdict = Verdict(
        plan=plan.id,
        kind=kind,
        pairs=len(pairs),
        failures=failures,
        difference=difference,
        log2_cm=round.in_compute(as_pairs(difference, freedom + 1)),
        freedom=freedom,
        per_bit=1 / round.slope(),
        probability=probability,
        stopped=sum(treatment.stopped is not None for _, treatment in results),
        reason=reason,
    )
    round.lab.store.put_verdict(round.campaign, verdict)
    if kind is VerdictKind.REJECTED:
        bad = next(t for _, t in results if t.status is RunStatus.REJECTED)
        lose(round, idea, IdeaState.REJECTED, f"audit {bad.reason}")
    elif kind is VerdictKind.FAILED:
        bad = results[0][1]
        lose(round, idea, IdeaState.FAILED, f"screening runs {bad.status}: {bad.reason}")
    else:
        round.move(idea, state, verdict.reason, "screen")


def lose(round: Round, name: str, state: IdeaState, reason: str) -> None:
    """Take an idea that cannot be screened out of the race, and say so."""
    round.move(name, state, reason, "smoke")
    round.lab.say(f"{round.number}/lost/{name}", "smoke", f"{name}: {state.value}, {reason}", name)


def charges(
    round: Round, ready: Sequence[Candidate], plans: Sequence[Plan], found: Pairs
) -> dict[str, Charge]:
    """Price each candidate by its FLOPs and by the CPU seconds of its screening pairs.

    Seconds per *planned* token: a patch cannot make itself cheap by counting more than it was told to read.
    """
    clock = round.lab.seconds
    logs: dict[tuple[str, int], float] = {}
    whole: dict[str, float] = {}
    for plan in plans:
        good = {
            seed: (clock(control), clock(treatment))
            for seed, (control, treatment) in zip(plan.seeds, found[plan.id], strict=False)
            if control.status is treatment.status is RunStatus.DONE
            and clock(control) > 0
            and clock(treatment) > 0
        }
        for seed, (control, treatment) in good.items():
            logs[plan.control, seed] = math.log(control / plan.control_tokens)
            logs[plan.treatment, seed] = math.log(treatment / plan.treatment_tokens)
        if good:
            whole[plan.idea or ""] = statistics.fmean(control for control, _ in good.values())
    seconds = cpu_intervals(logs, {plan.idea or "": (plan.treatment, plan.control) for plan in plans})
    by_seconds = round.lab.by_clock
    prices = {}
    for candidate, plan in zip(ready, plans, strict=True):
        name, ratio = candidate.idea.name, candidate.flops_ratio
        measured, control = seconds.get(name), whole.get(name, math.inf)
        once = 0.0
        if measured is not None:
            smoke, tokens = _smoke_difference(round, candidate)
            once = done_once(smoke / control, tokens / plan.control_tokens, measured.value, ratio)
        prices[name] = charge(ratio, measured, by_seconds, once, round.control.fixed, control)
    return prices


def _smoke_difference(round: Round, candidate: Candidate) -> tuple[float, int]:
    """CPU seconds by which a candidate's smoke run took longer than its control's, and tokens of both."""
    costs = [
        round.lab.store.cost(round.campaign, recipe, round.rung)
        for recipe in (candidate.line.recipe, candidate.control.recipe)
    ]
    treatment, control = (cost.result if cost else RunResult(status=RunStatus.DONE) for cost in costs)
    clock = round.lab.seconds
    read = control.tokens if round.lab.testbed.budget.told == Currency.TOKENS else 0
    return clock(treatment) - clock(control), read or round.lab.smoke_budget(round.rung)
