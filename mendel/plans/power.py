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
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, gammaln, ndtr, stdtrit

Floats = NDArray[np.float64]

MOST_SEEDS = 1000
"""Of one block of seeds."""
NODES, TAIL = 300, 1e-13
"""Of the integral over the estimated sd. SciPy's noncentral t is not used: it is not a number where tails are
small."""


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
    freedom = seeds - 1
    edge = float(stdtrit(freedom, 1 - alpha / 2))
    shift = abs(effect) * math.sqrt(seeds) / sd
    # Given the estimated sd, s times the true one, the statistic is normal; s has a chi distribution.
    low, high = np.sqrt(2 * gammaincinv(freedom / 2, [TAIL, 1 - TAIL]) / freedom)
    places, weights = _nodes()
    s = low + (high - low) * (places + 1) / 2
    half = freedom / 2
    log_density = (
        math.log(2) + half * math.log(half) - gammaln(half) + (freedom - 1) * np.log(s) - half * s**2
    )
    found = ndtr(shift - edge * s) + ndtr(-shift - edge * s)
    return float(np.clip((weights * found * np.exp(log_density)).sum() * (high - low) / 2, 0.0, 1.0))


@cache
def _nodes() -> tuple[Floats, Floats]:
    """Nodes and weights of a Gauss-Legendre quadrature."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    return places, weights


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
