"""Whether a cohort is confirmed together, in random halves, and with how many seeds.

A pair of halves costs two runs and says something of every idea; one idea at a time, a seed costs a run for
each of them and one for the control. Together is cheaper where gains stand out of the noise, or where more
seeds are wanted than there are ideas; a few pairs of many ideas whose gains are as small as the noise are
better bought one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from mendel.records import Rule
from mendel.verdicts.fdr import log_threshold
from mendel.verdicts.halves import worth_in_pairs

Floats = NDArray[np.float64]

LEAST, MOST = 3, 16
"""Ideas that are confirmed together. More would put more than eight changes into a run: effects of that many
need not add up, and what breaks one run breaks it for all of them."""
ENOUGH = 0.9
"""Share of what all seeds that are worth their price could find for which the next look is bought."""
LEAVES = 0.5
"""Share of the pairs of a claim after which an idea leaves that is confirmed one by one and not claimed."""
GROWTH = 0.9 / 2
"""Log e-value a pair gathers, over the squared gain (paired sd) above the null."""
HOPE = 0.05
"""An idea whose chance to be claimed is below this is given up."""
LEAST_NEED = 0.2
"""Log e-value that a claim still takes, at least: of an idea that has enough for one if others join it."""
LEAST_DOUBT = 1e-3
"""Least variance of a gain, paired sd."""
LEAST_ERROR = 0.1
"""Standard error of a gain (paired sd) that no screening leaves less of."""
BESIDE, APART = 0.35, 0.35
"""Share of its gain on the control alone that an idea has beside random halves of others, on average, and its
standard deviation between ideas; `benchmarks/beside.py` reads it off campaigns (docs/decisions.md)."""
TANGLE = 0.2
"""Standard deviation of a pair of halves by effects that do not add up, over the root of the summed squares
of the gains beside others; from there, too."""
SPARE = 3
"""Seeds of a first look, more than ideas: with fewer seeds than ideas none can be told from the others."""
FAILING = 0.05
"""Largest share of runs of halves that may be expected to fail."""


@dataclass(frozen=True)
class Hopes:
    """Ideas before another look, arrays by idea; gains in paired sd."""

    mean: Floats
    doubt: Floats
    """Posterior variance."""
    need: Floats
    """Log e-value that a claim still takes."""
    null: float
    """Smallest gain of interest."""
    tangle: float = 0.0
    """Variance of a pair of halves by effects that do not add up, over that of a pair."""

    def worth(self, seeds: ArrayLike) -> Floats:
        """(..., ideas): single pairs that so many (...) pairs of halves are worth."""
        return worth_in_pairs(self.doubt, seeds, self.tangle)

    def found(self, pairs: Floats) -> tuple[Floats, Floats]:
        """(expected gain above the null of what is claimed, chance of a claim) after so many single pairs'
        worth of evidence (..., ideas)."""
        least = self.null + np.sqrt(self.need / GROWTH / np.maximum(pairs, 1e-9))
        error = np.sqrt(self.doubt)
        z = (self.mean - least) / error
        chance = ndtr(z)
        gain = chance * (self.mean - self.null) + error * np.exp(-(z**2) / 2) / (2 * np.pi) ** 0.5
        return gain, chance


@dataclass(frozen=True)
class Look:
    """The next pairs of halves."""

    seeds: int
    """0 where none are worth it."""
    gain: float
    """Expected gain above the null of what they let claim, in paired sd."""
    chance: Floats
    """(ideas,) to be claimed by the time that more seeds are not worth their price."""


def hopes_of(
    rule: Rule,
    places: Sequence[int],
    standing: Collection[int],
    means: ArrayLike,
    errors: ArrayLike,
    log_e: ArrayLike,
) -> Hopes:
    """Ideas at these places in the order of entry, by the means and standard errors of their gains (bits per
    byte) and their log e-values so far, (ideas,).

    What a claim takes depends on how many there are: all whose expected gain is worth having are taken to be
    claimed, beside those `standing`.
    """
    means, sd = np.asarray(means, dtype=float), rule.noise
    promising = {place for place, gain in zip(places, means, strict=True) if gain > rule.min_loss_gain}
    in_sight = promising | set(standing)
    bars = [log_threshold(place, in_sight - {place}, rule.planned, rule.alpha) for place in places]
    need = np.maximum(np.array(bars) - np.maximum(np.asarray(log_e), 0.0), LEAST_NEED)
    doubt = np.maximum((np.asarray(errors) / sd) ** 2, LEAST_DOUBT)
    tangle = TANGLE**2 * float(((means / sd) ** 2).sum())
    return Hopes(means / sd, doubt, need, rule.min_loss_gain / sd, tangle)


def beside_others(mean: ArrayLike, error: ArrayLike, noise: float) -> tuple[Floats, Floats]:
    """Means and standard errors of gains beside random halves of other ideas, (ideas,), where these are on
    the control alone, in the unit of `noise`: of a share and a gain, both uncertain, multiplied."""
    mean, error = np.asarray(mean, dtype=float), np.asarray(error, dtype=float)
    spread = np.sqrt((BESIDE**2 + APART**2) * error**2 + APART**2 * mean**2)
    return BESIDE * mean, np.maximum(spread, LEAST_ERROR * noise)


def next_look(hopes: Hopes, done: int, most: int, min_pairs: int = 5, price: float = 0.0) -> Look:
    """Seeds for the next look, `done` behind and at most `most` to come, where a run costs `price` (paired
    sd)."""
    first, nothing = max(1, min_pairs - done), Look(0, 0.0, np.zeros(len(hopes.mean)))
    if most < first or not len(hopes.mean):
        return nothing
    if not done:
        first = min(max(first, len(hopes.mean) + SPARE), most)
    seeds = np.arange(first, most + 1)
    each, chance = hopes.found(hopes.worth(seeds))
    gains = each.sum(axis=1)
    worth = gains - 2 * price * seeds
    last = int(worth.argmax())
    if worth[last] <= 0:
        return nothing
    enough = int(np.argmax(gains >= ENOUGH * gains[last]))
    return Look(int(seeds[enough]), float(gains[enough]), chance[last])


def longest(hopes: Hopes, max_pairs: int) -> int:
    """Seeds after which pairs of halves tell as much of an idea, on average, as `max_pairs` of its own."""
    seeds = np.arange(max_pairs, max_pairs + 2 * len(hopes.mean) + 1)
    enough = hopes.worth(seeds).mean(axis=1) >= max_pairs
    return int(seeds[enough.argmax() if enough.any() else -1])


def together(beside: Hopes, alone: Hopes, max_pairs: int, most: int, min_pairs: int = 5) -> bool:
    """Whether halves of at most `most` seeds find more per run than up to `max_pairs` pairs of each idea do,
    and nearly as much in the end. The same ideas `beside` each other and `alone` on the control: there they
    have more to gain, but what they add to the trunk is what they gain beside each other."""
    count = len(beside.mean)
    if count < LEAST:
        return False
    halves = next_look(beside, 0, min(most, longest(beside, max_pairs)), min_pairs)
    pairs = np.arange(min_pairs, max(max_pairs, min_pairs) + 1)
    each, chances = alone.found(np.repeat(pairs[:, None], count, axis=1))
    gains = BESIDE * each.sum(axis=1)
    enough = int(np.argmax(gains >= ENOUGH * gains[-1]))
    chance = chances[enough]
    runs = pairs[enough] * (1 + (chance + (1 - chance) * LEAVES).sum())
    if not halves.seeds or halves.gain < ENOUGH * gains[enough]:
        return False
    return bool(halves.gain / (2 * halves.seeds) > gains[enough] / runs)


def most_together(failing: float) -> int:
    """Most ideas of a joint confirmation where single runs fail in a share `failing`: a run of half of them
    fails in FAILING of the cases then."""
    return MOST if failing <= 0 else int(min(MOST, 2 * FAILING / failing))
