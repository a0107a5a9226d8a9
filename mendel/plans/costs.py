"""What a treatment is charged, against its control, per token.

Two instruments: counted FLOPs (exact, but blind to what no operator formula covers) and CPU seconds of the
interleaved screening pairs (sees everything, noisily). FLOPs are the currency; where the seconds say, beyond
their interval, that a treatment costs more than its FLOPs, the upper bound of the seconds is charged.
Campaigns that must decide the same on any machine go by the clock only where the FLOPs are plainly wrong:
work in NumPy, in a scan or in products written as sums counts as nothing.

What a run does once, such as learning its tokenizer, does not shrink with its tokens; the smoke run shows it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit

from mendel.records import Audit, Interval, Record

BLIND = 1.5
"""CPU seconds per FLOP over the control's beyond which FLOPs are no longer believed by anyone."""

COST_SLACK = 1.2
"""CPU seconds over what was charged that are still a matter of the machine."""
NOISE = 0.25
"""CPU seconds by which runs of the same work differ on a busy machine, however short they are."""
FIXED = 0.2
"""Share of a control's whole run from which on what a treatment does once is told from noise."""
COST_ERROR = 1e-3
"""Chance that an idea is said to cost more than it was charged although it costs no more than the slack."""


class Charge(Record):
    """Cost per token of a treatment over its control's."""

    flops_ratio: float
    cpu_ratio: Interval | None = None
    """Of CPU seconds per token, with its two-sided 95 % interval."""
    fixed: float = 0.0
    """CPU seconds that it takes once per run, over those of a whole run of its control."""
    ratio: float
    """What is charged."""

    def excess(self, held: float) -> float:
        """CPU seconds per token beyond its FLOPs, over a control that spends `held` of its run once."""
        return self.ratio * (1 - held - self.fixed) / (1 - held) / self.flops_ratio

    @property
    def by(self) -> str:
        """Which instrument set the price."""
        return "CPU seconds" if self.ratio > self.flops_ratio else "FLOPs"

    @property
    def too_dear(self) -> str:
        """Why it cannot be compared at equal cost at all; empty where it can."""
        if math.isfinite(self.ratio):
            return ""
        return f"what it does once takes {self.fixed:.2f} times a whole run of its control at this rung"


def cpu_intervals(
    logs: Mapping[tuple[str, int], float], pairs: Mapping[str, tuple[str, str]], level: float = 0.95
) -> dict[str, Interval]:
    """Interval of the CPU-seconds ratio of each idea, given its (treatment, control) recipes.

    `logs` has the natural log of the seconds per token of each (recipe, seed). Ideas share the runs of their
    control, so that its luck moves all of them; and a seed's runs share the hour. Hence the table of recipes
    by seeds is fitted as a sum of both (two-way analysis of variance, ordinary least squares), and the noise,
    which is the machine's and not an idea's, is what is left: a t interval on its degrees of freedom. Ideas
    without a pair are left out, and all are where nothing is left to know the noise by.
    """
    recipes, seeds = (sorted(set(axis)) for axis in zip(*logs, strict=True)) if logs else ([], [])
    design = np.zeros((len(logs), len(recipes) + len(seeds)))
    for row, (recipe, seed) in enumerate(logs):
        design[row, recipes.index(recipe)] = design[row, len(recipes) + seeds.index(seed)] = 1
    seconds = np.fromiter(logs.values(), dtype=float, count=len(logs))
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    effects = inverse @ design.T @ seconds
    freedom = len(logs) - int(np.linalg.matrix_rank(design)) if logs else 0
    if not freedom:
        return {}
    sd = math.sqrt(float(((seconds - design @ effects) ** 2).sum()) / freedom)
    quantile = float(stdtrit(freedom, 0.5 + level / 2))
    intervals = {}
    for name, both in pairs.items():
        if not set.intersection(*({s for r, s in logs if r == recipe} for recipe in both)):
            continue
        contrast = np.zeros(design.shape[1])
        contrast[recipes.index(both[0])] += 1
        contrast[recipes.index(both[1])] -= 1
        mean = float(contrast @ effects)
        half = quantile * sd * math.sqrt(max(0.0, float(contrast @ inverse @ contrast)))
        intervals[name] = Interval(
            value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half), level=level
        )
    return intervals


def let_through(margin: float, control: float) -> float:
    """Ratio of seconds that is still a matter of the machine: `margin`, and in short runs what NOISE is of
    the `control`'s seconds."""
    return max(margin, 1 + NOISE / control) if control > 0 else math.inf


def charge(
    flops_ratio: float,
    cpu_ratio: Interval | None,
    by_seconds: bool,
    once: float = 0.0,
    held: float = 0.0,
    control: float = math.inf,
) -> Charge:
    """Price a treatment, whose control takes `control` seconds.

    `by_seconds=False` charges FLOPs unless the clock says beyond its interval that they are wrong by more
    than BLIND, for campaigns that must decide the same on any machine; the clock's ratio is always recorded.

    `once` and `held` are seconds that the treatment adds, and that its control has already, whatever the
    number of tokens; the control's whole run takes 1. At equal FLOPs a treatment of v seconds per control
    run's tokens takes `held + once + v / flops_ratio`, so that the measured ratio per token is
    R = v + flops_ratio (held + once); with 1 / ratio of the tokens it is to take 1. The ratio is infinite
    where the control would have ended before the treatment begins.
    """
    margin = let_through(1.0 if by_seconds else BLIND, control)
    if cpu_ratio is None or cpu_ratio.low <= margin * flops_ratio:
        return Charge(flops_ratio=flops_ratio, cpu_ratio=cpu_ratio, ratio=flops_ratio)
    once = once if once > FIXED else 0.0
    left = 1 - held - once
    ratio = (cpu_ratio.high - flops_ratio * (held + once)) / left if left > 0 else math.inf
    return Charge(flops_ratio=flops_ratio, cpu_ratio=cpu_ratio, fixed=once, ratio=max(flops_ratio, ratio))


def done_once(smoke: float, share: float, cpu_ratio: float, flops_ratio: float) -> float:
    """Seconds that a treatment takes whatever the number of tokens, more than its control, in control runs.

    `smoke` is by how much its smoke run took longer, in control runs, with `share` of a control run's
    tokens. Of that, `share (v - 1)` are steps, and v = cpu_ratio - flops_ratio F (see `charge`).
    """
    return max(0.0, (smoke - share * (cpu_ratio - 1)) / max(1 - share * flops_ratio, FIXED))


def audit_cost(seconds: Sequence[tuple[float, float]], slack: float) -> Audit:
    """Whether treatments took more CPU seconds than their controls, both at equal charged cost.

    `seconds` of control and treatment of each pair; `slack` is the ratio that is let through, more in runs
    so short that it is less than NOISE. The bound is a one-sided t interval of the mean log ratio, at
    COST_ERROR.
    """
    seconds = [(control, treatment) for control, treatment in seconds if control > 0 and treatment > 0]
    if len(seconds) < 2:
        return Audit(name="compute", passed=True, reason=f"not measured: {len(seconds)} pairs have CPU times")
    logs = [math.log(treatment / control) for control, treatment in seconds]
    slack = let_through(slack, float(np.mean([control for control, _ in seconds])))
    error = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    mean = float(np.mean(logs))
    low = math.exp(mean - float(stdtrit(len(logs) - 1, 1 - COST_ERROR)) * error)
    return Audit(
        name="compute",
        passed=low <= slack,
        reason=f"{math.exp(mean):.2f} times the control's CPU seconds at equal charged cost, at least "
        f"{low:.2f}; up to {slack:.2f} is let through",
        evidence={"ratio": math.exp(mean), "low": low, "slack": slack, "pairs": len(logs)},
    )
