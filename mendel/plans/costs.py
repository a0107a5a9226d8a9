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
FIXED = 0.2
"""Share of a control's whole run from which on what a treatment does once is told from noise."""
COST_ERROR = 1e-3
"""Chance that an idea is said to cost more than it was charged although it costs no more than the slack."""


class Charge(Record):
    """Cost per token of a treatment over its control's."""

    flops_ratio: float
    cpu_ratio: Interval | None = None
    """Geometric mean of the pairs' CPU seconds per token, with its two-sided 95 % interval."""
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


def cpu_intervals(log_ratios: Mapping[str, Sequence[float]], level: float = 0.95) -> dict[str, Interval]:
    """Interval of the CPU-seconds ratio of each idea, from natural logs of per-token ratios of its pairs.

    The noise is the machine's, not the idea's, so its sd is pooled over ideas (a t interval on the pooled
    degrees of freedom); ideas without pairs are left out.
    """
    values = {name: np.asarray(logs, dtype=float) for name, logs in log_ratios.items() if len(logs)}
    squares = sum(float(((logs - logs.mean()) ** 2).sum()) for logs in values.values())
    freedom = sum(len(logs) - 1 for logs in values.values())
    if not freedom:
        return {}
    sd = math.sqrt(squares / freedom)
    quantile = float(stdtrit(freedom, 0.5 + level / 2))
    intervals = {}
    for name, logs in values.items():
        mean, half = float(logs.mean()), quantile * sd / math.sqrt(len(logs))
        intervals[name] = Interval(
            value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half), level=level
        )
    return intervals


def charge(
    flops_ratio: float,
    cpu_ratio: Interval | None,
    by_seconds: bool,
    once: float = 0.0,
    held: float = 0.0,
) -> Charge:
    """Price a treatment.

    `by_seconds=False` charges FLOPs unless the clock says beyond its interval that they are wrong by more
    than BLIND, for campaigns that must decide the same on any machine; the clock's ratio is always recorded.

    `once` and `held` are seconds that the treatment adds, and that its control has already, whatever the
    number of tokens; the control's whole run takes 1. At equal FLOPs a treatment of v seconds per control
    run's tokens takes `held + once + v / flops_ratio`, so that the measured ratio per token is
    R = v + flops_ratio (held + once); with 1 / ratio of the tokens it is to take 1. The ratio is infinite
    where the control would have ended before the treatment begins.
    """
    margin = 1.0 if by_seconds else BLIND
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

    `seconds` of control and treatment of each pair; `slack` is the ratio that is let through. The bound is a
    one-sided t interval of the mean log ratio, at COST_ERROR.
    """
    logs = [math.log(treatment / control) for control, treatment in seconds if control > 0 and treatment > 0]
    if len(logs) < 2:
        return Audit(name="compute", passed=True, reason=f"not measured: {len(logs)} pairs have CPU times")
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
