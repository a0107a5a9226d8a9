"""Climbing: adopted changes are measured at the next rung, where what that says is worth its price.

A change is compared with the control that it was claimed on, at equal charged cost, on a fresh block of seeds
and on validation text; gains are read off the original's scaling curve at that rung, which the last check of
the trunk needs, too. `mendel.verdicts.transfer` reads the trend over compute, and what past ideas say of it.

The next step is chosen by what is expected of the change at the target scale for the price of measuring it:

    value = E[gain at the target; gain > m] = P(transfer) E[gain at the target | it transfers],   log2 CM.

In a round it is taken only where it may change what the trunk holds, and that is worth more than the same
runs are to the ideas that wait (policy `climb`, `mendel.verdicts.transfer.Trend.worth`):

    E max(0, gain at the target | what is measured) - max(0, E gain at the target)  >=  climb * runs * price.

After the last round nothing else can use the runs: then the price is zero, and what there is room for climbs.
A change that is shown not to transfer leaves the trunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mendel.campaign.adopt import evict, put_measured, record_trunk
from mendel.campaign.agenda import CURVE_SEEDS, climb_price, climbable, curve_key, verify_price
from mendel.campaign.claim_audits import audit_costs, audit_runs
from mendel.campaign.rounds import CURVE, CurveError, Points, Round, measure_curve
from mendel.campaign.screen import run_price
from mendel.campaign.transfers import STEP_KEY, Step, effects_of, past_climbs
from mendel.campaign.trunk import Line, Refused, Share, differences, run_pairs
from mendel.knowledge.findings import cm, transfer_words
from mendel.plans.seeds import seed_block
from mendel.records import (
    Extrapolation,
    Finding,
    Interval,
    Plan,
    PlanKind,
    RungEffect,
    RunResult,
    RunStatus,
    Shard,
    Transfer,
    Verdict,
    VerdictKind,
)
from mendel.verdicts.recheck import against_sum
from mendel.verdicts.transfer import Trend, learn, transfer_of, trend

BAND_POINTS = 13
"""Scales at which an extrapolation is told, for whoever draws it."""


def original_curve(round: Round) -> Points:
    """The original's scaling curve at a higher rung, for climbs and for the last check: on one block of
    seeds, so that it is trained once."""
    seeds = seed_block(round.config.seed, 0, PlanKind.CURVE, CURVE_SEEDS, round.rung)
    points = measure_curve(round.lab, round.original, round.rung, CURVE, seeds)
    round.lab.once(curve_key(round.rung), lambda: True)
    return points


@dataclass
class Climber:
    """How far each adopted change has come. `first` is the campaign's round 0."""

    first: Round
    measured: dict[tuple[str, int], tuple[RungEffect, ...]] = field(default_factory=dict)
    """By idea and round of its finding: its rungs so far, the lowest first."""
    closed: set[tuple[str, int]] = field(default_factory=set)
    """What cannot be measured any higher."""
    number: int = -1
    steps: int = 0
    evicted: int = 0
    """Before the round `number`."""

    @property
    def target(self) -> float:
        """FLOPs of the run that the campaign is for."""
        rungs = self.first.lab.testbed.rungs
        return self.first.config.policy.target_flops or rungs[self.first.config.rungs[-1]].compute

    def climb(self, number: int, trunk: Line, last: bool = False) -> Line:
        """The trunk to go on with, before round `number`, or before the last check."""
        if len(climbable(self.first.lab, self.first.config)) < 2:
            return trunk
        if number != self.number:
            self.number, self.steps, self.evicted = number, 0, 0
        while True:
            key = f"{number}/{self.steps}{STEP_KEY}"
            kept = self.first.lab.once(key, lambda: self.choose(trunk, last))  # noqa: B023
            self.steps += 1
            if "idea" not in kept:
                for name, why in kept["skipped"].items():
                    self.first.lab.say(f"climb/skip/{name}", "climb", why, name)
                return trunk
            trunk = self.take(Step.model_validate(kept), key, trunk)

    # --- which one ----------------------------------------------------------------------------------------

    def choose(self, trunk: Line, last: bool) -> dict[str, Any]:
        """The best step as JSON. Where there is none: by idea why it stays unmeasured, at the end."""
        lab, config = self.first.lab, self.first.config
        steps = [step for name in trunk.names if (step := self.step(name)) is not None]
        reserve = verify_price(lab, config)
        room = lab.meter.remaining() - reserve
        price = 0.0
        if steps and not last:
            price = config.policy.climb * run_price(replace(self.first, reserve=reserve))
        fit = [step for step in steps if step.price <= room and step.worth >= price * step.price]
        if fit:
            best = max(fit, key=lambda step: (step.value / step.price, step.idea))
            return best.model_dump(mode="json")
        why = "that takes {:.0f} runs and the budget has room for {:.0f} beside the last check"
        skipped = {
            step.idea: f"{step.idea}: not measured at rung {step.rung}, "
            + why.format(step.price, max(0.0, room))
            for step in steps
            if last
        }
        return {"skipped": skipped}

    def step(self, name: str) -> Step | None:
        """An adopted change's next rung, and what is expected there."""
        share = self.first.shelf.shares[name]
        finding = self.finding(name, share.round)
        if finding is None or (name, share.round) in self.closed:
            return None
        by_rung = self.rungs_of(finding)
        effects, rung = effects_of(by_rung), self.next_rung(by_rung)
        if rung is None or not effects:
            return None
        lab, policy = self.first.lab, self.first.config.policy
        line = self.trend_of(finding, by_rung)
        here, there = self.doublings(lab.testbed.rungs[rung].compute), self.doublings(self.target)
        expected, wanted = line.at(here), line.at(there)
        return Step(
            idea=name,
            idea_class=finding.idea.idea_class,
            round=share.round,
            rung=rung,
            mean=expected.mean,
            sd=expected.sd,
            probability=expected.above(policy.min_gain),
            least=policy.min_gain,
            target_flops=self.target,
            target_mean=wanted.mean,
            target_probability=wanted.above(policy.min_gain),
            value=wanted.value(policy.min_gain),
            worth=line.worth(here, effects[-1].se, there),
            price=climb_price(lab, self.first.config, rung, 1 if self.has_control(share, rung) else 2),
        )

    def next_rung(self, by_rung: Sequence[RungEffect]) -> int | None:
        rungs = climbable(self.first.lab, self.first.config)
        return next((rung for rung in rungs if rung > by_rung[-1].rung), None)

    def has_control(self, share: Share, rung: int) -> bool:
        """Whether another change on the same control has climbed to this rung on this block of seeds."""
        plans = self.first.lab.store.plans(self.first.campaign, PlanKind.CLIMB)
        return any(
            (plan.round, plan.rung, plan.control) == (self.number, rung, share.control.recipe)
            for plan in plans
        )

    def rungs_of(self, finding: Finding) -> tuple[RungEffect, ...]:
        """Where a change has been measured, the lowest rung first."""
        last = finding.verdicts[-1]
        measured = self.first.lab.store.verdicts(self.first.campaign)
        lowest = RungEffect(
            rung=finding.rung,
            flops=self.first.flops,
            pairs=next(one.pairs for one in measured if one.id == last),
            log2_cm=finding.log2_cm,
            verdict=last,
        )
        return self.measured.get((finding.idea.name, finding.round), (lowest,))

    def finding(self, name: str, number: int) -> Finding | None:
        """None for a change that was adopted without fresh pairs of its own."""
        findings = self.first.lab.store.findings(self.first.campaign)
        return next((one for one in findings if (one.idea.name, one.round) == (name, number)), None)

    def trend_of(self, finding: Finding, by_rung: Sequence[RungEffect]) -> Trend:
        """What the idea's own rungs and the climbs of others say."""
        past = past_climbs(self.first.lab.store, self.first.lab.campaign, without=finding.idea.name)
        return trend(effects_of(by_rung), learn(past, finding.idea.idea_class))

    def doublings(self, flops: float) -> float:
        """Of compute, above the lowest rung."""
        return math.log2(flops / self.first.flops)

    # --- one step -----------------------------------------------------------------------------------------

    def take(self, step: Step, key: str, trunk: Line) -> Line:
        """Measure, write down, and evict what does not transfer; returns the trunk that is left."""
        share = self.first.shelf.shares[step.idea]
        control = share.control
        round = replace(
            self.first, number=self.number, control=control, ahead=control.ahead, rung=step.rung, points=[]
        )
        try:
            plan = self.plan(round, step.idea, share)
        except (CurveError, Refused) as error:
            self.closed.add((step.idea, step.round))
            why = f"{step.idea}: not measured at rung {step.rung}, {error}"
            round.lab.say(f"climb/skip/{step.idea}", "climb", why, step.idea)
            return trunk
        pairs = run_pairs(round.lab, [plan], 0, len(plan.seeds))[plan.id]
        verdict = self.judge(round, plan, pairs)
        if verdict.kind is VerdictKind.REJECTED:
            self.closed.add((step.idea, step.round))
            return self.evict(step, f"at rung {step.rung} {verdict.reason}", trunk)
        finding = self.record(step, key, verdict)
        round.lab.say(f"{key}/told", "climb", finding.transfer_words, step.idea)
        assert verdict.log2_cm is not None
        if transfer_of(verdict.log2_cm, step.least) is not Transfer.DOES_NOT:
            return trunk
        why = f"it does not transfer to rung {step.rung}, where its CM is {cm(verdict.log2_cm)}"
        return self.evict(step, why, trunk)

    def plan(self, round: Round, name: str, share: Share) -> Plan:
        """Fix the pairs of a step. Raises CurveError or Refused where it cannot be measured."""
        recipes = (round.original.recipe, round.control.recipe, share.line.recipe)
        smoked = round.lab.smoke(
            [(recipe, round.rung, name if recipe == share.line.recipe else None) for recipe in recipes]
        )
        for result in smoked.values():
            if result.status is not RunStatus.DONE:
                raise Refused(f"a smoke run {result.status}: {result.reason}")
        round.points = original_curve(round)
        seeds = round.seeds(PlanKind.CLIMB, round.config.policy.climb_pairs)
        plan = round.plan(PlanKind.CLIMB, name, share.line, seeds, Shard.VALIDATION)
        round.lab.store.put_plan(round.campaign, plan)
        return plan

    def judge(self, round: Round, plan: Plan, pairs: Sequence[tuple[RunResult, RunResult]]) -> Verdict:
        found = differences(pairs)
        log2_cm = round.multiplier(pairs, plan.rule)
        audits = (*audit_runs(pairs), *audit_costs(round, plan, pairs))
        said = transfer_of(log2_cm, plan.rule.min_gain).value
        return put_measured(round, plan, found, log2_cm, f"rung {round.rung}: {said}", audits)

    def record(self, step: Step, key: str, verdict: Verdict) -> Finding:
        """The finding with one rung more. It is put once: when a campaign is continued, what came later is on
        record already."""
        assert verdict.log2_cm is not None
        flops = self.first.lab.testbed.rungs[step.rung].compute
        effect = RungEffect(
            rung=step.rung, flops=flops, pairs=verdict.pairs, log2_cm=verdict.log2_cm, verdict=verdict.id
        )
        store, campaign = self.first.lab.store, self.first.campaign
        with store.transaction():
            finding = self.finding(step.idea, step.round)
            assert finding is not None, "without it there is no step"
            self.measured[step.idea, step.round] = (*self.rungs_of(finding), effect)
            if store.decision(campaign, f"{key}/finding") is None:
                store.decide(campaign, f"{key}/finding", verdict.id)
                finding = self.climbed(finding, step)
                store.put_finding(campaign, finding)
        return finding

    def climbed(self, finding: Finding, step: Step) -> Finding:
        by_rung = self.measured[step.idea, step.round]
        line, top = self.trend_of(finding, by_rung), self.doublings(self.target)
        law = line.at(top)
        scales = [top * place / (BAND_POINTS - 1) for place in range(BAND_POINTS)]
        band = []
        for x in scales:
            at = line.at(x).interval()
            band.append((self.first.flops * 2**x, at.value, at.low, at.high))
        changes = {
            "transfer": transfer_of(by_rung[-1].log2_cm, step.least),
            "by_rung": by_rung,
            "extrapolation": Extrapolation(
                flops=self.target,
                currency=self.first.lab.testbed.budget.words,
                log2_cm=law.interval(),
                probability=law.above(step.least),
                slope=line.slope(),
                band=tuple(band),
            ),
        }
        grown = finding.model_copy(update=changes)
        return grown.model_copy(update={"transfer_words": transfer_words(grown, step.least)})

    def evict(self, step: Step, why: str, trunk: Line) -> Line:
        """Take a change out of the trunk. Where that stands then is known by difference only: nothing was
        trained for it at the lowest rung."""
        round = replace(self.first, number=self.number, control=trunk)
        label = f"trunk before round {self.number} without {step.idea}"
        line = round.shelf.without(trunk, (step.idea,), label)
        gone = tuple(name for name in trunk.names if name not in line.names)
        gone = (step.idea, *(name for name in gone if name != step.idea))
        shares, whole = round.shelf.shares, round.lab.progress.trunk_cm
        if line.recipe == round.original.recipe:
            line, log2_cm = round.original, Interval(value=0.0, low=0.0, high=0.0)
        else:
            assert whole is not None, "a trunk has been measured when it was adopted"
            findings = [self.finding(name, shares[name].round) for name in gone]
            _, log2_cm = against_sum(whole, [[finding.log2_cm for finding in findings if finding]])
        evict(round, gone, f"evicted before round {self.number}: {why}", f"climb/{self.evicted}")
        what = f"trunk without {', '.join(gone)}, by difference"
        record_trunk(round, line, log2_cm, checked=False, key=f"/climb/{self.evicted}", what=what)
        self.evicted += 1
        return replace(line, ahead=log2_cm.value)
