"""Planning ahead where ideas are proved together: how many to screen first, which to train, how many at once.

An idea in random halves costs a share of two runs, so what limits a campaign is the evidence that each seed
brings, and evidence is shared: the more ideas run beside each other whose gains are unknown, the less each
learns. Screening singles out those worth a place; places go to the ideas that a pair is expected to bring
most of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mendel.plans.index import GRID
from mendel.verdicts.halves import worth_in_pairs
from mendel.verdicts.together import GROWTH, LEAVES, MOST, Hopes

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

PAIRS: Floats = np.array([5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 220], dtype=float)
"""Lengths of a confirmation that are weighed against each other, in pairs."""
HURDLES = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5)
"""Gains above the null (paired sd) for which a confirmation is set up; smaller ones are given up."""
GIVEN_UP = 4.0
"""Pairs after which a useless idea is given up, at most; where the hurdle is high it takes fewer."""
SIZES = (3, 4, 6, 8, 12, MOST)
"""Numbers of ideas that run beside each other."""
LEAST_DOUBT = 0.02
"""Variance of a gain (paired sd) that no measurement leaves less of."""
TYPICAL_DOUBT = 0.5
"""Variance of a gain (paired sd) after one pair, about."""
FIRST = (8, 24, 60, 120, 240, 480, 960)
"""Numbers of first pairs that are weighed against each other."""
DRAWS = 24
"""Simulated outcomes of these."""
CONTENDERS = 200
"""Of more ideas than this only the best compete for a place in a simulated outcome."""
LEAST_SEEDS = 26
"""Seeds of halves that a plan keeps at least: it takes the model of what few seeds tell of many ideas for
better than it is, and spends too much on first pairs where budgets are scarce."""
OUTCOMES: Floats = np.linspace(-4.0, 8.0, 33)
"""What a first pair may show, paired sd."""
BETTER = 1.01
"""First pairs are bought where they are expected to bring so many times what comes without them."""
NEARLY = 0.99
"""Of numbers of ideas that bring nearly as much as the best the largest runs: what is learned of others
counts later."""
HORIZON = 60
"""Seeds that the number of ideas beside each other is chosen for, at most: later there will be others."""


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
            futile = np.minimum(needed[:, ~up], min(GIVEN_UP, 1.5 + hurdle**-2))
            spent = (self.posterior[:, up] * needed[:, up]).sum(axis=1)
            spent += (self.posterior[:, ~up] * futile).sum(axis=1)
            best = np.maximum(best, value[:, up].sum(axis=1) / np.maximum(spent, 1e-9))
        return np.asarray(best / self.cost)


def side_by_side(ranked: Hopes, seeds: int) -> int:
    """How many of ideas, the best first, should run beside each other when so many seeds are left."""
    until = np.array([min(seeds, HORIZON)])
    counts = sorted({min(size, len(ranked.mean)) for size in (1, 2, *SIZES)})
    gains = []
    for count in counts:
        some = Hopes(ranked.mean[:count], ranked.doubt[:count], ranked.need[:count], ranked.null)
        gains.append(float(some.found(some.worth(until))[0].sum()))
    return counts[int(np.flatnonzero(np.array(gains) >= NEARLY * max(gains))[-1])]


def first_pairs(contest: Contest, unseen: Ints, seen: Ints, left: float) -> int:
    """How many of the ideas that were never measured (`unseen`, the best first) get a pair now, for what can
    be found with the rest of a budget of `left` control runs; 0 where the others should be confirmed.

    What they may show is simulated, and with it the gain that the best plan for what is left of the budget
    then finds: compute that the pairs took is no longer there.
    """
    rng = np.random.default_rng((7, len(unseen), len(seen)))
    have = contest.of(seen).hopes
    order = np.argsort(-have.mean, kind="stable")[:CONTENDERS]
    have = Hopes(have.mean[order], have.doubt[order], have.need[order], have.null)
    # A pair of halves costs two runs, and a first pair one: its control is shared by many.
    best, most = 0, BETTER * _value(_both(have, None), left / 2)
    for count in sorted({min(count, len(unseen)) for count in FIRST if count < 2 * len(unseen)}):
        some = contest.of(unseen[:count])
        seeds = (left - float(some.cost.sum())) / 2
        value = _value(_both(have, _imagined(some, rng)), seeds)
        if value > most:
            best, most = count, value
    return best


def _imagined(some: Contest, rng: np.random.Generator) -> Hopes:
    """(DRAWS, ideas): what may be thought of ideas after a pair of each."""
    density = np.exp(-0.5 * (OUTCOMES - GRID[:, None]) ** 2)
    chance = np.maximum(some.posterior @ density, 1e-12)
    mean = (some.posterior * GRID) @ density / chance
    doubt = _variance((some.posterior * GRID**2) @ density / chance, mean)
    upto = np.cumsum(chance / chance.sum(axis=1, keepdims=True), axis=1)
    pick = (rng.random((DRAWS, len(mean), 1)) > upto).sum(axis=-1).clip(0, len(OUTCOMES) - 1)
    ideas = np.arange(len(mean))
    means, doubts = mean[ideas, pick], doubt[ideas, pick]
    best = np.argsort(-means, axis=1, kind="stable")[:, :CONTENDERS]
    means, doubts = np.take_along_axis(means, best, axis=1), np.take_along_axis(doubts, best, axis=1)
    return Hopes(means, doubts, np.broadcast_to(some.need[0], means.shape), some.null)


def _both(have: Hopes, new: Hopes | None) -> Hopes:
    """Ideas that are known beside imagined ones, (draws, ideas)."""
    if new is None:
        return Hopes(have.mean[None], have.doubt[None], have.need[None], have.null)
    shape = (len(new.mean), len(have.mean))
    mean, doubt, need = (
        np.concatenate([np.broadcast_to(ours, shape), theirs], axis=1)
        for ours, theirs in ((have.mean, new.mean), (have.doubt, new.doubt), (have.need, new.need))
    )
    return Hopes(mean, doubt, need, have.null)


def _value(hopes: Hopes, seeds: float) -> float:
    """Gain above the null that so many seeds of halves are expected to find, mean over draws (draws,
    ideas)."""
    if seeds < LEAST_SEEDS or not hopes.mean.shape[1]:
        return 0.0
    gain, chance = hopes.found(PAIRS[:, None, None])  # (pairs, draws, ideas)
    price = PAIRS[:, None, None] * (chance + (1 - chance) * LEAVES)
    best = 0.0
    for size in SIZES:
        each = float(worth_in_pairs(np.full(size, TYPICAL_DOUBT), seeds)[..., 0])
        within = each + 1 >= PAIRS
        if not within.any():
            continue
        pick = (gain[within] / price[within]).argmax(axis=0)[None]
        gained = np.take_along_axis(gain[within], pick, axis=0)[0]
        paid = np.take_along_axis(price[within], pick, axis=0)[0]
        order = np.argsort(-gained / paid, axis=1, kind="stable")
        gained, paid = np.take_along_axis(gained, order, axis=1), np.take_along_axis(paid, order, axis=1)
        found = (gained * (np.cumsum(paid, axis=1) <= each * size)).sum(axis=1)
        best = max(best, float(found.mean()))
    return best


def _variance(square: Floats, mean: Floats) -> Floats:
    """From a mean square, with the least that any measurement leaves."""
    return np.asarray(np.maximum(square - mean**2, LEAST_DOUBT))
