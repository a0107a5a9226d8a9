"""Planning ahead where ideas are proved together: which to train, and how many side by side.

An idea in random halves costs a share of two runs, so what limits a campaign is the evidence that each seed
brings, and evidence is shared: the more ideas run side by side whose gains are unknown, the less is learned
of each. Places go to the ideas that a pair is expected to bring most of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mendel.plans.index import GIVEN_UP, GRID
from mendel.verdicts.together import GROWTH, MOST, Hopes

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

HURDLES = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5)
"""Gains above the null (paired sd) for which a confirmation is set up; smaller ones are given up."""
SIZES = (1, 2, 3, 4, 6, 8, 12, MOST)
"""Numbers of ideas side by side."""
LEAST_DOUBT = 0.02
"""Variance of a gain (paired sd) that no measurement leaves less of."""
NEARLY = 0.99
"""Of numbers of ideas that bring nearly as much as the best the largest runs: what is learned of others
counts later."""
HORIZON = 60
"""Seeds that the number of ideas side by side is chosen for, at most: later there will be others."""


@dataclass(frozen=True)
class Contest:
    """Ideas before a decision. Gains in paired sd."""

    posterior: Floats
    """(ideas, GRID)"""
    need: Floats
    """(ideas,) log e-value that a claim still takes."""
    pairs: Floats
    """(ideas,) pairs of confirmation so far."""
    cost: Floats
    """(ideas,) compute of a run, in control runs."""
    null: float
    """Smallest gain of interest."""

    def of(self, some: Ints) -> Contest:
        """These of the ideas."""
        return Contest(self.posterior[some], self.need[some], self.pairs[some], self.cost[some], self.null)

    @property
    def hopes(self) -> Hopes:
        """The same by mean and variance."""
        mean = self.posterior @ GRID
        return Hopes(mean, _variance(self.posterior @ GRID**2, mean), self.need, self.null)

    def rates(self, min_pairs: int) -> Floats:
        """(ideas,): gain above the null, in paired sd, that a unit of compute brings when an idea is
        confirmed up to the best of HURDLES, where a claim takes `min_pairs` at least."""
        excess = GRID - self.null
        needed = self.need[:, None] / (GROWTH * np.maximum(excess, 1e-3) ** 2)
        needed = np.maximum(needed, np.maximum(min_pairs - self.pairs, 1)[:, None])
        value = self.posterior * np.maximum(excess, 0.0)
        best = np.zeros(len(self.need))
        for hurdle in HURDLES:
            up = excess >= hurdle
            # A useless idea is given up the sooner the higher the hurdle.
            futile = np.minimum(needed[:, ~up], min(GIVEN_UP, 1.5 + hurdle**-2))
            spent = (self.posterior[:, up] * needed[:, up]).sum(axis=1)
            spent += (self.posterior[:, ~up] * futile).sum(axis=1)
            best = np.maximum(best, value[:, up].sum(axis=1) / np.maximum(spent, 1e-9))
        return np.asarray(best / self.cost)


def side_by_side(ranked: Contest, left: float, most: int) -> int:
    """How many of ideas, the best first and `most` at most, should run side by side with `left` compute: that
    buys the fewer seeds the more they cost together."""
    hopes = ranked.hopes
    counts = sorted({min(size, most, len(hopes.mean)) for size in SIZES})
    # A half holds each idea with even odds, and what ideas cost multiplies.
    prices = np.cumprod((1 + ranked.cost) / 2)
    gains = []
    for count in counts:
        some = Hopes(hopes.mean[:count], hopes.doubt[:count], hopes.need[:count], hopes.null)
        seeds = np.array([min(left / (2 * prices[count - 1]), HORIZON)])
        gains.append(float(some.found(some.worth(seeds))[0].sum()))
    return counts[int(np.flatnonzero(np.array(gains) >= NEARLY * max(gains))[-1])]


def _variance(square: Floats, mean: Floats) -> Floats:
    """From a mean square, with the least that any measurement leaves."""
    return np.asarray(np.maximum(square - mean**2, LEAST_DOUBT))
