"""The loop: rounds from the queue to the trunk until the budget is spent, then one last check of the trunk.

It is a plain program, run from its first line each time the campaign is started. What was done is looked up
(runs by their hash, choices that depended on the clock by their key), so a campaign may be killed at any
instruction, and continuing it is running it again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mendel.campaign.adopt import adopt_claims, kind_of, record_trunk
from mendel.campaign.audits import failed, full
from mendel.campaign.claim_audits import any_rejected, audit_costs, audit_runs
from mendel.campaign.config import CampaignConfig, ConfigError
from mendel.campaign.confirm import confirm
from mendel.campaign.lab import Lab, LabError
from mendel.campaign.rounds import (
    CURVE,
    SHORT_CURVE,
    CurveError,
    ErrorBudget,
    Points,
    Round,
    at_bound,
    measure_curve,
)
from mendel.campaign.screen import screen
from mendel.campaign.trunk import Line, Refused, Shelf, differences, must_run, run_pairs, tokens_at
from mendel.ideas.triage import Past, rank
from mendel.patches import read_tree
from mendel.plans.seeds import seed_block
from mendel.records import (
    Interval,
    PlanKind,
    Recipe,
    RunStatus,
    Shard,
    Trunk,
    Verdict,
    VerdictKind,
    tree_hash,
)
from mendel.store import IdeaState
from mendel.verdicts.curve import fit_curve
from mendel.verdicts.effects import paired_interval

LEAST_IDEAS = 3
"""A round that could screen fewer is not begun."""
PLANNED_SHARE = 0.4
"""Share of the queue that is planned for confirmation: screening stops most."""
LONGEST = 16.0
"""Longest run of the original, as a multiple of the rung's compute, to read the trunk's multiplier off."""
CURVE_SEEDS = 2
"""Seeds of each point of a curve that is measured for the last check."""
TIMID = 1.1
"""Prices are estimates: a stage begins only if this many times its price is left."""


@dataclass(frozen=True)
class Outcome:
    """How a campaign stands when its loop ends."""

    trunk: Line
    rounds: int
    trunk_cm: dict[int, Interval]
    """log2 CM of the trunk over the original recipe on fresh seeds, by rung."""


def run_campaign(lab: Lab, config: CampaignConfig) -> Outcome:
    """Run or continue a campaign to the end of its budget.

    Raises Interrupted, OutOfMoney, LabError; all that was done until then is stored.
    """
    tree = read_tree(lab.testbed)
    base = Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe)
    shelf = Shelf(lab, tree, base)
    original = trunk = shelf.line(Trunk(base=base), 1.0, base.base)
    rung, errors = config.rungs[0], ErrorBudget()
    must_run(lab, original, rung)
    try:
        epochs = lab.corpus.epochs(tokens_at(lab, original, rung))
    except Refused as error:
        raise LabError(f"recipe {base.base}: {error}") from None
    lab.say("epochs", "start", f"a run of {base.base} at rung {rung} reads {epochs:.2g} epochs of it")
    planned = lab.once("planned", lambda: math.ceil(PLANNED_SHARE * len(lab.store.ideas(lab.campaign.id))))
    # The original's curve comes first of all: it also tells what a run costs on this machine.
    first = Round(lab, shelf, config, errors, 0, original, original, rung, planned)
    first.measure_curve()
    number = 0
    while True:
        names = lab.once(f"{number}/ideas", lambda: _next_ideas(lab, config, number, trunk))  # noqa: B023
        if not names:
            if number == 0:
                raise ConfigError(_too_small(lab, config))
            break
        by_name = {entry.idea.name: entry.idea for entry in lab.store.ideas(lab.campaign.id)}
        reserve = _verify_price(lab, config)
        round = Round(lab, shelf, config, errors, number, trunk, original, rung, planned, reserve)
        try:
            screened = screen(round, [by_name[name] for name in names])
        except CurveError as error:
            if trunk.recipe == original.recipe:
                raise
            lab.say(f"{number}/curve", "screen", f"no further rounds on this trunk: {error}")
            break
        claims = confirm(round, screened)
        trunk = adopt_claims(round, claims, first.points)
        number += 1
    checked = _verify(lab, shelf, config, errors, number, trunk, original, planned, first.points)
    for entry in lab.store.ideas(lab.campaign.id):
        if entry.state is not IdeaState.QUEUED:  # until now it could still have been given another chance
            lab.store.unblind(lab.campaign.id, entry.idea.name)
    return Outcome(trunk, number, checked)


# --- what to do next ------------------------------------------------------------------------------------


def _next_ideas(lab: Lab, config: CampaignConfig, number: int, trunk: Line) -> list[str]:
    """Names of the ideas of the next round, best first; none when the queue or the budget is at its end.

    An idea that was not claimed gets another chance once the trunk has changed and nothing new is left.
    """
    policy = config.policy
    entries = lab.store.ideas(lab.campaign.id)
    spent = Counter(entry.idea.idea_class for entry in entries if entry.state is not IdeaState.QUEUED)
    fresh = [entry.idea for entry in entries if entry.state is IdeaState.QUEUED]
    names = [item.name for item in rank(fresh, track_record(lab), spent)]
    names += second_chances(lab, trunk)
    if not names:
        return []
    count = min(policy.screen_ideas, len(names))
    left = lab.meter.remaining() / TIMID - _verify_price(lab, config)
    least = min(LEAST_IDEAS, len(names))
    while count >= least and _round_price(config, count, number) > left:
        count -= 1
    return names[:count] if count >= least else []


def _too_small(lab: Lab, config: CampaignConfig) -> str:
    count = min(LEAST_IDEAS, len(lab.store.ideas(lab.campaign.id)))
    if not count:
        return f"ideas: {config.ideas!r} holds no idea"
    needed = TIMID * (_round_price(config, count, 0) + _verify_price(lab, config))
    unit = f"{math.ceil(needed) + lab.meter.runs} runs"
    if not lab.meter.counts_runs:
        unit = f"{lab.meter.elapsed + needed * lab.meter.run_seconds / lab.meter.workers:.0f} s here"
    return f"budget: {config.budget} is too small; {count} ideas and the last check need {unit}"


def second_chances(lab: Lab, trunk: Line) -> list[str]:
    """Ideas that may be tried on this trunk although they were judged on an earlier one, best first.

    Left out: what was claimed, what was shown to be worse or not to run, and what the interval of its last
    verdict says is hardly a gain.
    """
    campaign = lab.campaign.id
    plans = {plan.id: plan for plan in lab.store.plans(campaign) if plan.idea is not None}
    last: dict[str, Verdict] = {}
    judged_on: dict[str, set[str]] = {}
    for verdict in lab.store.verdicts(campaign):
        plan = plans.get(verdict.plan)
        if plan is not None and plan.idea is not None:
            last[plan.idea] = verdict
            judged_on.setdefault(plan.idea, set()).add(plan.control)
    chances = []
    for entry in lab.store.ideas(campaign):
        name = entry.idea.name
        found = last.get(name)
        if found is None or found.log2_cm is None or trunk.recipe in judged_on[name]:
            continue
        if entry.state in (IdeaState.STALE, IdeaState.FAILED, IdeaState.REJECTED):
            continue  # it had its second chance, without a verdict, or deserves none
        hopeless = found.kind in (VerdictKind.BETTER, VerdictKind.WORSE, VerdictKind.FAILED)
        if not hopeless and found.log2_cm.high > lab.campaign.config["policy"]["min_gain"]:
            chances.append((-found.log2_cm.value, name))
    return [name for _, name in sorted(chances)]


def _round_price(config: CampaignConfig, ideas: int, number: int) -> float:
    """Expected price of a round in runs of the lowest rung."""
    policy = config.policy
    counted = config.budget.runs is not None
    points = () if number == 0 else SHORT_CURVE  # the original's curve is there before the first round
    curve = len(points) if counted else sum(points)
    screening = (ideas + 1) * policy.screen_pairs + 0.3 * ideas * policy.more_screen_pairs
    entering = min(policy.cohort, max(1.0, ideas / 4))
    confirming = (entering + 1) * 6
    return curve * policy.curve_seeds + screening + confirming + _estimate_price(config)


def _estimate_price(config: CampaignConfig) -> float:
    """Expected price of measuring the claims of a round: half of a full cohort, their stack, two controls."""
    return (config.policy.cohort / 2 + 3) * config.policy.estimate_pairs


def _verify_price(lab: Lab, config: CampaignConfig) -> float:
    """Price of the last check of the trunk in runs of the lowest rung."""
    policy, price = config.policy, 0.0
    for rung in config.rungs:
        scale = 1.0 if lab.meter.counts_runs else rung_scale(lab, config, rung)
        curve = 0.0
        if rung != config.rungs[0]:
            curve = CURVE_SEEDS * (len(CURVE) if lab.meter.counts_runs else sum(CURVE))
        price += scale * (2 * policy.verify_pairs + curve)
    return price + CURVE_SEEDS * (1 if lab.meter.counts_runs else 2 * max(CURVE))


def rung_scale(lab: Lab, config: CampaignConfig, rung: int) -> float:
    """Compute of a rung over that of the campaign's lowest."""
    return lab.testbed.rungs[rung].flops / lab.testbed.rungs[config.rungs[0]].flops


def track_record(lab: Lab) -> list[Past]:
    """Forecast and outcome of everything judged so far: the last verdict on each idea counts."""
    plans = {plan.id: plan.idea for plan in lab.store.plans(lab.campaign.id)}
    last: dict[str, float] = {}
    for verdict in lab.store.verdicts(lab.campaign.id):
        name = plans[verdict.plan]
        if name is not None and verdict.log2_cm is not None:
            last[name] = verdict.log2_cm.value
    return [
        Past(
            proposer=entry.idea.proposer,
            idea_class=entry.idea.idea_class,
            forecast=entry.idea.forecast,
            log2_cm=last.get(entry.idea.name),
        )
        for entry in lab.store.ideas(lab.campaign.id)
        if entry.idea.name in last or entry.state is IdeaState.FAILED
    ]


# --- the last check -------------------------------------------------------------------------------------


def _verify(
    lab: Lab,
    shelf: Shelf,
    config: CampaignConfig,
    errors: ErrorBudget,
    number: int,
    trunk: Line,
    original: Line,
    planned: int,
    points: Points,
) -> dict[int, Interval]:
    """The trunk against the original recipe on fresh seeds, at every rung."""
    checked: dict[int, Interval] = {}
    if trunk.recipe == original.recipe:
        return checked
    for rung in config.rungs:
        round = Round(lab, shelf, config, errors, number, original, original, rung, planned, points=points)
        if rung != config.rungs[0]:
            if not lab.once(f"verify/{rung}", lambda: _affordable(lab, config, rung)):  # noqa: B023
                lab.say(
                    f"verify/{rung}/skip", "verify", f"rung {rung}: not checked, the budget does not reach"
                )
                continue
            smoked = lab.smoke([(original.recipe, rung, None), (trunk.recipe, rung, None)])
            bad = [result for result in smoked.values() if result.status is not RunStatus.DONE]
            if bad:
                why = f"rung {rung}: not checked, a smoke run {bad[0].status}: {bad[0].reason}"
                lab.say(f"verify/{rung}/skip", "verify", why)
                continue
        try:
            if rung != config.rungs[0]:
                seeds = round.seeds(PlanKind.CURVE, CURVE_SEEDS)
                round.points = measure_curve(lab, original, rung, CURVE, seeds)
            checked[rung] = _check(round, trunk)
        except (CurveError, Refused) as error:
            lab.say(f"verify/{rung}/skip", "verify", f"rung {rung}: not checked, {error}")
    return checked


def _affordable(lab: Lab, config: CampaignConfig, rung: int) -> bool:
    scale = 1.0 if lab.meter.counts_runs else rung_scale(lab, config, rung)
    curve = CURVE_SEEDS * (len(CURVE) if lab.meter.counts_runs else sum(CURVE))
    return lab.meter.remaining() >= scale * (2 * config.policy.verify_pairs + curve)


def _check(round: Round, trunk: Line) -> Interval:
    lab, policy = round.lab, round.config.policy
    seeds = seed_block(round.config.seed, round.number, PlanKind.VERIFY, policy.verify_pairs, round.rung)
    plan = round.plan(PlanKind.VERIFY, None, trunk, seeds, Shard.VALIDATION)
    lab.store.put_plan(round.campaign, plan)
    pairs = run_pairs(lab, [plan], 0, len(seeds))[plan.id]
    found = differences(pairs)
    _extend_curve(round, at_bound(found, plan.rule))
    log2_cm = round.multiplier(found, plan.rule)
    audits = (*audit_runs(pairs), *audit_costs(round, plan, pairs))
    violation = failed(audits)
    verdict = Verdict(
        plan=plan.id,
        kind=VerdictKind.REJECTED if violation or any_rejected(pairs) else kind_of(log2_cm),
        pairs=len(found),
        failures=sum(d is None for d in found),
        difference=paired_interval(at_bound(found, plan.rule)),
        log2_cm=log2_cm,
        reason=full(violation) if violation else "the whole trunk against the original recipe",
    )
    lab.store.put_verdict(round.campaign, verdict)
    lab.keep_audits(verdict, audits)
    if violation:
        lab.say(f"verify/{round.rung}/audit", "audit", f"last check of the trunk: {full(violation)}")
    record_trunk(round, trunk, log2_cm, checked=True)
    return log2_cm


def _extend_curve(round: Round, gains: Sequence[float]) -> None:
    """Buy longer runs of the original until its curve reaches the trunk's loss, while the budget lasts: a
    multiplier between measured points is worth more than one beyond them."""
    lab = round.lab
    gain = sum(gains) / len(gains)
    multiple = 2 * max(CURVE)
    while multiple <= LONGEST:
        flops, losses = [c for c, _ in round.points], [loss for _, loss in round.points]
        curve = fit_curve(flops, losses)
        if float(curve.loss(round.flops)) - gain >= float(curve.loss(max(flops))):
            return
        scale = 1.0 if lab.meter.counts_runs else rung_scale(lab, round.config, round.rung) * multiple
        price = CURVE_SEEDS * scale
        key = f"extend/{round.rung}/{multiple:g}"
        if not lab.once(key, lambda: lab.meter.remaining() >= price):  # noqa: B023
            return
        seeds = round.seeds(PlanKind.CURVE, CURVE_SEEDS)
        try:
            round.points += measure_curve(lab, round.original, round.rung, (multiple,), seeds)
        except CurveError:  # too long for the rung's time limit, say: the curve stays as it is
            return
        multiple *= 2
