"""How many seeds an ablation needs: power of Student's t on within-seed contrasts.

A contrast is computed within each seed, so that what a seed does to all cells alike cancels, and tested by
the t of its values over seeds. With `n` seeds, an effect `e` and a contrast of standard deviation `s` the
statistic has a noncentral t distribution with n - 1 degrees of freedom and noncentrality e sqrt(n) / s
(Johnson and Welch 1940). `alpha` is that of a single test: of a family of m effects, each is tested at
alpha / m at least (Holm's procedure starts there, so it rejects at least as often).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import nctdtr, stdtrit

MOST_SEEDS = 1000
"""Of one block of seeds."""


def contrast_sd(weights: Sequence[float], residual_sd: float) -> float:
    """Standard deviation within a seed of a contrast with `weights` (cells,) of runs with independent
    residuals."""
    return residual_sd * math.sqrt(sum(weight * weight for weight in weights))


def power(effect: float, sd: float, seeds: int, alpha: float = 0.05) -> float:
    """Probability that a two-sided t test over `seeds` finds an effect whose contrast has this `sd`."""
    if seeds < 2:
        return 0.0
    if sd <= 0:
        return 1.0 if effect else alpha
    edge = float(stdtrit(seeds - 1, 1 - alpha / 2))
    shift = min(abs(effect) * math.sqrt(seeds) / sd, 300.0)  # beyond, the function loses its digits
    upper = 1 - float(nctdtr(seeds - 1, shift, edge))
    return min(1.0, upper + float(nctdtr(seeds - 1, shift, -edge)))


def seeds_needed(effect: float, sd: float, alpha: float = 0.05, wanted: float = 0.8) -> int | None:
    """The fewest seeds with which the power is at least `wanted`; None where MOST_SEEDS are too few."""
    low, high = 1, 2
    while power(effect, sd, high, alpha) < wanted:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, sd, middle, alpha) >= wanted else (middle, high)
    return high if high <= MOST_SEEDS else None


def detectable(sd: float, seeds: int, alpha: float = 0.05, wanted: float = 0.8) -> float:
    """The smallest effect that `seeds` show with probability `wanted`, in the unit of `sd`."""
    if sd <= 0:
        return 0.0
    low, high = 0.0, sd
    while power(high, sd, seeds, alpha) < wanted:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, sd, seeds, alpha) >= wanted else (middle, high)
    return high
