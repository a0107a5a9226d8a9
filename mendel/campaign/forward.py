"""Forward screening: each idea is tried on top of what the round has kept so far.

Effects do not add up: what gains alone may add nothing to the others, and the other way round. So the first
pair of an idea is the *working line* and the idea on top of it, on one seed for the whole round; what gains
more than the noise lets one doubt joins the line at once. A few are tried at a time, and where several of
them gain, their stack is trained to see whether they do so together.

Nothing is claimed from it and no error budget is spent: the line is proved as a whole, on fresh seeds, before
the trunk takes it up (`mendel.campaign.carry`). Its best changes go to confirmation, as they would from
`screen`, on the trunk that the round began with.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

from mendel.campaign.claim_audits import any_rejected
from mendel.campaign.config import Policy
from mendel.campaign.early_stop import EarlyStop
from mendel.campaign.jobs import Request
from mendel.campaign.noise import tell_noise
from mendel.campaign.planting import grant
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.screen import (
    ENTRY_PAIRS,
    Screened,
    charges,
    lose,
    others,
    outlook_of,
    record_screened,
    stopped_early,
    subject,
)
from mendel.campaign.trunk import (
    Candidate,
    Line,
    Pairs,
    affords,
    differences,
    prepare,
    run_pairs,
    tokens_at,
    validation_spec,
)
from mendel.campaign.tuning import prepare_tuned
from mendel.plans.costs import BLIND, COST_SLACK, Charge, let_through
from mendel.plans.screening import Prospect, entering, price_of_compute, prospects
from mendel.records import Idea, Plan, PlanKind, RunResult, RunStatus, Shard
from mendel.store import IdeaState
from mendel.verdicts.noise import UNKNOWN, Noise, learn_noise
from mendel.verdicts.together import LEAST

MARGIN = 0.5
"""An idea joins the working line where it gains more than so many times the noise, and than `min_gain`. One
too many costs the line next to nothing; what all are worth together is proved."""
SPARSE = 8
"""Ideas from which on the median size of their differences tells the noise: as most do little it is no less
(Donoho & Johnstone 1994). The noise of the first pairs, on the trunk, is mostly that of large effects."""
ENTERS = 1 / 8
"""Share of the tried ideas that enters confirmation at most, where it is enough for a cohort: to prove one
takes as many runs as to try two or three others."""
BESIDES = 2
"""Runs of a step beside those of its ideas, at most: the line as charged, and the stack of what gains."""


def cohort_of(tried: int, policy: Policy) -> int:
    """Most ideas that enter confirmation."""
    return min(policy.cohort, max(LEAST, int(ENTERS * tried)))


@dataclass(frozen=True)
class Working:
    """What forward screening ends with."""

    line: Line
    """The round's control with all that was kept."""
    tried: tuple[str, ...]
    """Names of the ideas that were trained."""
    noise: Noise = UNKNOWN
    """Of pairs on the line."""


def forward(
    round: Round, ideas: Sequence[Idea], proof: float, confirms: bool = True
) -> tuple[list[Screened], Working]:
    """Try ideas in their order; returns those that enter confirmation, best first, and the working line.

    `proof`: runs to leave for what comes after, beside the round's reserve. Without `confirms` none enters.
    A round that has no curve yet measures it once an idea is ready; raises CurveError as that does.
    """
    walk = _Walk(round, proof)
    walk.run(ideas)
    if not walk.plans:  # nothing fits, and there may be no curve to read anything off
        walk.record(set())
        return [], Working(walk.line, ())
    screened = walk.cohort() if confirms else []
    walk.record({one.candidate.idea.name for one in screened})
    return screened, Working(walk.line, tuple(plan.idea or "" for plan in walk.plans), walk.noise())


@dataclass
class _Walk:
    """One working line as it grows."""

    round: Round
    proof: float
    line: Line = field(init=False)
    tuned: dict[str, Candidate] = field(default_factory=dict)
    """Ideas whose knobs were tuned, on the round's control."""
    ready: list[Candidate] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    found: Pairs = field(default_factory=dict)
    at: dict[str, Round] = field(default_factory=dict)
    """By plan: the round with the line of that time as its control."""
    said: dict[str, Prospect] = field(default_factory=dict)
    """By idea, as seen when it was tried."""
    prices: dict[str, Charge] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)
    """By idea: why it could not join the line when it was tried."""

    def __post_init__(self) -> None:
        self.line = self.round.control

    def run(self, ideas: Sequence[Idea]) -> None:
        """Step after step until all are tried, or the budget has no room for more."""
        round = self.round
        waiting = self._with_knobs(ideas)
        early = EarlyStop(round, {idea.name: idea.idea_class for idea in waiting})
        for step in itertools.count():
            batch = self._next(waiting, step)
            if not batch:
                break
            waiting = [idea for idea in waiting if idea not in batch]
            self._try(batch, step, early)
        if self.plans:
            early.record(self.plans, self.found)

    def _with_knobs(self, ideas: Sequence[Idea]) -> list[Idea]:
        """The ideas with values for the knobs that they leave open, tuned on the round's control."""
        open_ = [idea for idea in ideas if idea.patch.tune]
        ready, lost = prepare_tuned(self.round, open_) if open_ else ([], {})
        for name, (state, reason) in lost.items():
            lose(self.round, name, IdeaState(state), reason)
        self.tuned = {one.idea.name: one for one in ready}
        tuned = [self.tuned[idea.name].idea if idea.name in self.tuned else idea for idea in ideas]
        return [idea for idea in tuned if idea.name not in lost]

    def _next(self, waiting: Sequence[Idea], step: int) -> list[Idea]:
        """The ideas of a step. Alternatives to what the line holds come last, and never two of a slot at
        once: most that are tried beside their like add nothing."""
        meter, policy = self.round.lab.meter, self.round.config.policy
        left = meter.remaining() - self.round.reserve - self.proof - BESIDES
        room = self.round.lab.once(f"{self.round.number}/forward/{step}/room", lambda: max(0, int(left)))
        pairs = 1 if self.round.noise.pairs else ENTRY_PAIRS
        most = min(policy.forward, room // pairs)
        held = {idea.patch.slot for idea in self.line.trunk.adopted if idea.patch.slot}
        chosen: list[Idea] = []
        for idea in [one for one in waiting if one.patch.slot not in held] or waiting:
            beside = {one.patch.slot for one in chosen if one.patch.slot}
            if len(chosen) < most and idea.patch.slot not in beside:
                chosen.append(idea)
        return chosen

    # --- one step -----------------------------------------------------------------------------------------

    def _try(self, batch: Sequence[Idea], step: int, early: EarlyStop) -> None:
        """Train ideas on top of the line, and let it take up what gains."""
        ahead = self.round.ahead + self._lead()
        now = replace(self.round, control=self.line, ahead=ahead)
        ready, lost = prepare(now.lab, now.shelf, self.line, batch, now.rung)
        for name, (state, reason) in lost.items():
            self._lose(next(idea for idea in batch if idea.name == name), state, reason)
        if not ready:
            return
        if not self.round.points:
            self.round.measure_curve()
            now.points = self.round.points
        plans = self._plan(now, ready)
        found = run_pairs(now.lab, plans, 0, 1, early.watch)
        if not self.round.noise.pairs:  # of the first ideas: what the noise is, and how exact the clock
            again = [plan for plan in plans if not stopped_early(found[plan.id])]
            for plan, more in run_pairs(now.lab, again, 1, ENTRY_PAIRS, early.watch).items():
                found[plan] += more
        self.ready += ready
        self.plans += plans
        self.found |= found
        self.at |= {plan.id: now for plan in plans}
        priced = charges(now, self.ready, self.plans, self.found)
        self.prices |= {one.idea.name: priced[one.idea.name] for one in ready}
        self._weigh(now, [one.idea.name for one in ready], step)
        out = {p.idea for p in plans if any_rejected(found[p.id]) or stopped_early(found[p.id])}
        gains = self._means()
        least = max(now.rule().min_loss_gain, MARGIN * self.noise().sd)
        self.short |= {plan.idea or "": self._short(plan, least) for plan in plans}
        good = [one for one in ready if one.idea.name not in out and not self.short[one.idea.name]]
        good.sort(key=lambda one: (-gains[one.idea.name], one.idea.name))
        if good:
            self._keep(good)

    def noise(self) -> Noise:
        """Of a pair on the line, bits per byte."""
        known, gains = self.round.usual_noise(), self._means().values()
        if len(gains) < SPARSE:
            return known
        median = statistics.median(abs(gain) for gain in gains)
        return replace(known, sd=min(known.sd, median / NormalDist().inv_cdf(0.75)))

    def _short(self, plan: Plan, least: float) -> str:
        """Why an idea is not worth a place on the line, by what its pairs show; empty if it is."""
        name = plan.idea or ""
        price, gain = self.prices[name], self._means()[name]
        if price.too_dear:
            return price.too_dear
        if gain > least:
            return ""
        raw = statistics.fmean(at_bound(differences(self.found[plan.id]), plan.rule))
        if raw > least:
            dearer = price.ratio / price.flops_ratio
            return f"it takes {dearer:.2f} times as long as it counts, which eats its gain"
        return "it gains less than noise would"

    def _means(self) -> dict[str, float]:
        """Mean of each idea's gains so far."""
        return {name: statistics.fmean(own.values()) for name, own in self._gains().items()}

    def _lose(self, idea: Idea, state: str, reason: str) -> None:
        """What does not go with the line may go with the next one; what could go with none is lost."""
        round = self.round
        if self.line.recipe == round.control.recipe or state == "rejected" or round.shelf.flaw(idea):
            lose(round, idea.name, IdeaState(state), reason)
            return
        words = f"{idea.name}: waits, it does not go with what round {round.number} has kept: {reason}"
        round.lab.say(f"{round.number}/waits/{idea.name}", "smoke", words, idea.name)

    def _plan(self, now: Round, ready: Sequence[Candidate]) -> list[Plan]:
        seeds, plans = now.seeds(PlanKind.SCREEN, ENTRY_PAIRS), []
        with now.lab.store.transaction():
            for one in ready:
                plan = now.plan(
                    PlanKind.SCREEN, one.idea.name, one.line, seeds, Shard.VALIDATION, one.control
                )
                now.lab.store.put_plan(now.campaign, plan)
                plans.append(plan)
        return plans

    def _weigh(self, now: Round, names: Sequence[str], step: int) -> None:
        """What is expected of ideas by what all have shown so far. It depends on the clock and on what waits,
        so it is kept."""
        round, gains = self.round, self._gains()
        if not round.noise.pairs:
            whole = [differences(self.found[p.id]) for p in self.plans if not stopped_early(self.found[p.id])]
            round.noise = now.noise = learn_noise([d for d in own if d is not None] for own in whole)
            tell_noise(round, whole)

        def weighed() -> dict[str, Any]:
            outlook, slope = outlook_of(now), now.slope()
            mine = [subject(one.idea, slope, gains[one.idea.name]) for one in self.ready]
            subjects = mine + others(now, slope, set(gains))
            price = price_of_compute(subjects, outlook, now.lab.meter.remaining() - now.reserve)
            said = prospects(subjects, outlook, now.config.policy.enter * price)
            return {name: said[name].model_copy(update={"beside": True}).model_dump() for name in names}

        kept = now.lab.once(f"{now.number}/forward/{step}", weighed)
        self.said |= {name: Prospect.model_validate(one) for name, one in kept.items()}

    def _gains(self) -> dict[str, dict[int, float]]:
        """By idea and seed: the gain, less what the clock says that it costs beyond what it was granted."""
        gains = {}
        for plan in self.plans:
            price, slope = self.prices[plan.idea or ""], self.at[plan.id].slope()
            dearer = 0.0 if price.too_dear else slope * math.log2(price.ratio / price.flops_ratio)
            own = at_bound(differences(self.found[plan.id]), plan.rule)
            gains[plan.idea or ""] = dict(zip(plan.seeds, [gain - dearer for gain in own], strict=False))
        return gains

    # --- the line -----------------------------------------------------------------------------------------

    def _keep(self, good: Sequence[Candidate]) -> None:
        """The line goes on with the best of these, or with as many as compose if they do better together."""
        round, before = self.round, self.line
        lines = {one.idea.name: one.line for one in good}
        round.shelf.adopted(round.number, dict.fromkeys(lines, before), lines, self.prices)
        best = self._longer([good[0].idea])
        stack = self._longer([one.idea for one in good]) if len(good) > 1 else best
        able = [line for line in (best, stack) if line.recipe != before.recipe and self._runs(line)]
        if not able:
            return
        self.line = self._as_charged(min(able, key=lambda line: self._train(line).bits_per_byte or math.inf))
        new = [name for name in self.line.names if name not in before.names]
        words = (
            f"round {round.number}: keeps {', '.join(new)} on the working line, {len(self.line.names)} in all"
        )
        round.lab.say(f"{round.number}/keeps/{self.line.recipe}", "screen", words)

    def _longer(self, ideas: Sequence[Idea]) -> Line:
        label = f"working line of round {self.round.number} with {ideas[0].name}"
        line = self.round.shelf.stack(self.line, ideas, self.prices, label)
        return replace(line, grant=math.prod(grant(self.round.lab, name) for name in line.names))

    def _runs(self, line: Line) -> bool:
        lab, rung = self.round.lab, self.round.rung
        smoked = lab.smoke([(line.recipe, rung, None)])[line.recipe, rung]
        return smoked.status is RunStatus.DONE and affords(lab, line, rung)

    def _as_charged(self, line: Line) -> Line:
        """The line, charged what all its changes take together beyond what is let through for one: each may
        be as dear as its FLOPs, and many of them still take several times the original's seconds."""
        lab = self.round.lab
        original, own = (lab.seconds(self._train(one)) for one in (self.round.original, line))
        slack = let_through(COST_SLACK if lab.by_clock else BLIND, original)
        if not original or own <= slack * original:
            return line
        ratio = own / original / slack
        dearer = replace(line, excess=line.excess * ratio)
        if affords(lab, dearer, self.round.rung):
            self.round.shelf.surplus.append((frozenset(line.names), ratio))
            return dearer
        return line

    def _train(self, line: Line) -> RunResult:
        """The run of a line on the round's first seed."""
        lab, rung = self.round.lab, self.round.rung
        seed = self.round.seeds(PlanKind.SCREEN, 1)[0]
        spec = validation_spec(lab, line, rung, seed, tokens_at(lab, line, rung))
        return lab.complete([Request(spec, PlanKind.SCREEN.value)])[spec.id]

    def _lead(self) -> float:
        """log2 CM of the line over the round's control, as its one seed shows it."""
        if self.line.recipe == self.round.control.recipe:
            return 0.0
        losses = [self._train(line).bits_per_byte for line in (self.round.control, self.line)]
        if losses[0] is None or losses[1] is None:
            return 0.0
        return max(0.0, self.round.in_compute([losses[0] - losses[1]] * 2).value)

    # --- what comes of it ---------------------------------------------------------------------------------

    def cohort(self) -> list[Screened]:
        """The best of what was kept, made ready on the round's own control."""
        round, policy = self.round, self.round.config.policy
        kept = {one.idea.name: one for one in self.ready if one.idea.name in self.line.names}
        names = entering([self.said[name] for name in kept], cohort_of(len(self.ready), policy))
        plain = [kept[name].idea for name in names if name not in self.tuned]
        ready, _ = prepare(round.lab, round.shelf, round.control, plain, round.rung)
        able = {one.idea.name: one for one in ready} | self.tuned
        return [
            Screened(able[name], _on_control(self.prices[name], able[name]), self.said[name])
            for name in names
            if name in able
        ]

    def record(self, enters: set[str]) -> None:
        """Store the verdicts, and say how it went."""
        round = self.round
        for plan in self.plans:
            name = plan.idea or ""
            short = self.short[name] or "the line does better without it, or did not run with it"
            kept = "kept on the working line" if name in self.line.names else f"not kept, {short}"
            kept += ", enters confirmation" if name in enters else ""
            state = IdeaState.CONFIRMING if name in enters else IdeaState.SCREENED
            now = replace(self.at[plan.id], noise=round.noise)
            record_screened(now, plan, self.found[plan.id], self.said[name].probability, state, kept)
        new = [name for name in self.line.names if name not in round.control.names]
        message = (
            f"round {round.number}: tried {len(self.plans)} on top of each other, kept {len(new)}, "
            f"{len(enters)} enter confirmation"
        )
        round.lab.say(f"{round.number}/screen", "screen", message)


def _on_control(price: Charge, candidate: Candidate) -> Charge:
    """A charge that was found on the working line, over the candidate's own control: what it takes beyond its
    FLOPs is the same."""
    ratio = candidate.flops_ratio
    return price.model_copy(update={"flops_ratio": ratio, "ratio": ratio * price.ratio / price.flops_ratio})
