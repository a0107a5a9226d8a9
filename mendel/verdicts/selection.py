"""Intervals that hold after selection: of effects that are shown because they were claimed.

A claim stops at a high point of its path, so the usual interval at that moment is wrong more often than it
says. The e-BY interval holds every mean that the idea's own e-value does not refute at the bar of its claim:
of all intervals that are shown for claims, the expected share that misses the truth is at most `alpha`,
whatever the selection and whenever the pairs stopped.

Source: Xu, Wang and Ramdas, "Post-selection inference for e-value based confidence intervals" (2024), the
e-BY procedure, here with the weights of the campaign's e-BH.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mendel.records import Interval, Rule
from mendel.verdicts.evalues import log_t_final
from mendel.verdicts.fdr import weights
from mendel.verdicts.judge import clipped
from mendel.verdicts.noise import noise_of

STEPS = 60


def after_selection(rule: Rule, differences: Sequence[float | None], position: int, claims: int) -> Interval:
    """Mean clipped difference (bits per byte) with its e-BY interval.

    `position` of the idea in order of entry, from 0; `claims` made by the campaign, this one included. Two
    one-sided bounds at half the level each. A bound that the pairs cannot give, such as with two pairs, is
    that of the clipped differences themselves.
    """
    x, _ = clipped(rule, differences)
    return Interval(
        value=float(x.mean()),
        low=lowest(lambda mean: x - mean, rule, position, claims, -rule.bound),
        high=-lowest(lambda mean: -x - mean, rule, position, claims, -rule.bound),
        level=1 - rule.alpha,
    )


def lowest(
    against: Callable[[float], NDArray[np.float64]], rule: Rule, position: int, claims: int, least: float
) -> float:
    """The largest mean up to which all are refuted by the idea's e-value, `least` if that is none.

    `against` gives what each pair says against "the gain is at most so much"; it falls as that grows. By
    bisection between `least` and its mirror image.
    """
    bar = -math.log(float(weights(position + 1, rule.planned)[position]) * rule.alpha / 2 * claims)
    noise = noise_of(rule)

    def refuted(mean: float) -> bool:
        return log_t_final(against(mean), noise) >= bar

    low, high = least, -least
    if not refuted(low):
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
