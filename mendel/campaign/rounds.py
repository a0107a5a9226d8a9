"""What the stages of one round share: the control, its scaling curve, the rule that follows from it.

Everything in a round is a function of stored results, so a round that is run again after a kill comes to the
same decisions without training anything twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mendel.campaign.config import CampaignConfig
from mendel.campaign.lab import Lab, LabError
from mendel.campaign.trunk import (
    Line,
    Refused,
    Shelf,
    by_window,
    curve_requests,
    differences,
    tokens_at,
)
from mendel.plans.seeds import seed_block
from mendel.records import Interval, Plan, PlanKind, Rule, RunResult, Shard
from mendel.store import IdeaState
from mendel.verdicts.curve import REACH, fit_curve
from mendel.verdicts.effects import compute_multiplier, run_noise
from mendel.verdicts.noise import UNKNOWN, Noise

BOUND_DOUBLINGS = 3.0
"""Differences are clipped at what this many doublings of the control's compute are worth."""
CURVE = (0.5, 1.0, 2.0, 4.0)
"""Multiples of a rung's compute at which the original's scaling curve is measured."""
SHORT_CURVE = (0.5, 1.0, 2.0)
"""The same for later trunks, which are compared with smaller effects."""
LEAST_SLOPE = 1e-3
"""Bits per byte per doubling below which a curve is called flat: effects in compute are then meaningless."""
LEAST_NOISE_PAIRS = 2
"""Pairs that the noise of the control's runs counts for in that of a pair."""
LEAST_NOISE = 0.01
"""Paired sd in doublings of compute, below which no control's runs let one expect it."""
LEAST_POINTS = 4
"""Runs that a curve is read from at least: its three parameters, and one to tell their noise."""

Points = list[tuple[float, float]]
"""(FLOPs, bits per byte) of single runs."""


class CurveError(LabError):
    """A control without a scaling curve: nothing compared with it can be told as compute."""


@dataclass
class ErrorBudget:
    """Every idea that ever entered confirmation is charged, whatever became of it."""

    entered: list[str] = field(default_factory=list)
    """In order of entry."""
    frozen: dict[str, float] = field(default_factory=dict)
    """Log e-values of those that stopped."""


@dataclass
class Round:
    """One round on one rung: `control` is the trunk, `original` the recipe the campaign started from."""

    lab: Lab
    shelf: Shelf
    config: CampaignConfig
    errors: ErrorBudget
    number: int
    control: Line
    original: Line
    rung: int
    planned: int
    """Ideas the campaign plans to confirm."""
    reserve: float = 0.0
    """Budget that confirmation must leave for the last check, in runs of the lowest rung."""
    points: Points = field(default_factory=list)
    """The control's scaling curve."""
    noise: Noise = UNKNOWN
    """Of pairs, bits per byte, as the round's screen has shown it: plans made after it are judged by it."""
    ahead: float = 0.0
    """log2 CM of the control over the recipe that `points` are of: 0 where they are its own."""

    @property
    def flops(self) -> float:
        return self.lab.testbed.rungs[self.rung].compute

    @property
    def campaign(self) -> str:
        return self.lab.campaign.id

    def seeds(self, kind: PlanKind, count: int) -> tuple[int, ...]:
        """This round's fresh block for a stage."""
        return seed_block(self.config.seed, self.number, kind, count, self.rung)

    def measure_curve(self) -> None:
        """Train the control at several budgets."""
        multiples = CURVE if self.control.recipe == self.original.recipe else SHORT_CURVE
        seeds = self.seeds(PlanKind.CURVE, self.config.policy.curve_seeds)
        self.points = measure_curve(self.lab, self.control, self.rung, multiples, seeds)

    @property
    def place(self) -> float:
        """Compute with which the original does as well as the control: where the curve is read. A doubling
        within its reach at most; a control that is farther ahead has its gains told by the slope there."""
        end = max((compute for compute, _ in self.points), default=self.flops)
        return min(self.flops * 2**self.ahead, max(self.flops, REACH * end / 2))

    def slope(self) -> float:
        """Bits per byte that a doubling of the control's compute is worth at this rung. Raises CurveError."""
        try:
            if len(self.points) < LEAST_POINTS:
                raise ValueError(f"{len(self.points)} runs succeeded, a curve needs {LEAST_POINTS}")
            curve = fit_curve([c for c, _ in self.points], [loss for _, loss in self.points])
        except ValueError as error:
            what = f"scaling curve of recipe {self.control.recipe} at rung {self.rung}"
            raise CurveError(f"{what}: {error}") from None
        return max(float(curve.slope(self.place)), LEAST_SLOPE)

    def plan(
        self,
        kind: PlanKind,
        idea: str | None,
        treatment: Line,
        seeds: tuple[int, ...],
        shard: Shard,
        control: Line | None = None,
    ) -> Plan:
        """Control (the round's, unless another is given) and `treatment` at equal charged compute. Raises
        Refused as `tokens_at` does."""
        control = control or self.control
        control_tokens = tokens_at(self.lab, control, self.rung)
        treatment_tokens = tokens_at(self.lab, treatment, self.rung)
        return Plan(
            kind=kind,
            round=self.number,
            idea=idea,
            control=control.recipe,
            treatment=treatment.recipe,
            rung=self.rung,
            seeds=seeds,
            control_tokens=control_tokens,
            treatment_tokens=treatment_tokens,
            cost_ratio=control_tokens / treatment_tokens,
            shard=shard,
            rule=self.rule(),
        )

    def move(self, name: str, state: IdeaState, note: str, stage: str) -> None:
        """Move an idea to a state, once: a replay after a kill must not take back what came later."""
        store = self.lab.store
        with store.transaction():
            key = f"{self.number}/{stage}/state/{name}"
            if store.decision(self.campaign, key) is None:
                store.decide(self.campaign, key, state.value)
                store.set_idea_state(self.campaign, name, state, note)

    def rule(self) -> Rule:
        policy, slope = self.config.policy, self.slope()
        return Rule(
            alpha=policy.alpha,
            planned=policy.planned or self.planned,
            min_gain=policy.min_gain,
            min_loss_gain=policy.min_gain * slope,
            bound=BOUND_DOUBLINGS * slope,
            noise=self.noise.sd,
            noise_pairs=self.noise.pairs,
            max_pairs=policy.max_pairs,
            unit=self.lab.testbed.unit,
        )

    def usual_noise(self) -> Noise:
        """Of pairs, bits per byte: as the screen has shown it or, where no idea has two pairs yet, as if a
        pair were as noisy as a run of the control."""
        if self.noise.pairs:
            return self.noise
        sd = run_noise(self.points, self.place)
        return Noise(max(sd, LEAST_NOISE * self.slope()), LEAST_NOISE_PAIRS)

    def multiplier(self, pairs: Sequence[tuple[RunResult, RunResult]], rule: Rule) -> Interval:
        """log2 CM over the control that pairs show at this rung's compute."""
        return self.in_compute(at_bound(differences(pairs), rule), by_window(pairs))

    def in_compute(self, gains: Sequence[float], windows: list[list[float]] | None = None) -> Interval:
        """log2 CM over the control of paired gains, which may be known window by window of the text, too."""
        seed = self.config.seed
        return compute_multiplier(self.points, self.place, gains, rng_seed=seed, by_window=windows)


def measure_curve(
    lab: Lab, line: Line, rung: int, multiples: Sequence[float], seeds: Sequence[int]
) -> Points:
    """Points of a recipe's scaling curve, failed runs left out. CurveError where none is left."""
    what = f"scaling curve of recipe {line.recipe} at rung {rung}"
    try:
        wanted = curve_requests(lab, line, rung, multiples, seeds)
    except Refused as error:
        raise CurveError(f"{what}: {error}") from None
    results = lab.complete([request for _, request in wanted])
    losses = [(flops, results[request.spec.id]) for flops, request in wanted]
    points = [(flops, result.bits_per_byte) for flops, result in losses if result.bits_per_byte is not None]
    failed = [result for _, result in losses if result.bits_per_byte is None]
    if not points:
        raise CurveError(f"{what}: all {len(failed)} runs failed: {failed[0].status}, {failed[0].reason}")
    return points


def at_bound(found: Sequence[float | None], rule: Rule) -> list[float]:
    """Differences with a failed treatment at the clipping bound: no pair is dropped by its outcome."""
    return [-rule.bound if d is None else d for d in found]
