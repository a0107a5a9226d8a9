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
from numpy.typing import NDArray
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
ALONE = 0.6
"""Share of its pairs that a confirmation one by one takes: useless ideas leave early."""
GROWTH = 0.9 / 2
"""Log e-value a pair gathers, over the squared gain (paired sd) above the null."""
HOPE = 0.05
"""An idea whose chance to be claimed is below this is given up."""
LEAST_NEED = 0.2
"""Log e-value that a claim still takes, at least: of an idea that has enough for one if others join it."""
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

    def among(self, keep: NDArray[np.bool_]) -> Hopes:
        return Hopes(self.mean[keep], self.doubt[keep], self.need[keep], self.null)

    def found(self, pairs: Floats) -> tuple[Floats, Floats]:
        """(expected gain above the null of what is claimed, chance of a claim) after so many single pairs'
        worth of evidence (ideas,)."""
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


def still_needed(
    rule: Rule, places: Sequence[int], standing: Collection[int], mean: Floats, log_e: Floats
) -> Floats:
    """(ideas,): log e-value that claims still take of ideas at these places in the order of entry, if all
    whose expected gain `mean` (bits per byte) is worth having are claimed beside those `standing`."""
    promising = {place for place, gain in zip(places, mean, strict=True) if gain > rule.min_loss_gain}
    in_sight = promising | set(standing)
    bars = [log_threshold(place, in_sight - {place}, rule.planned, rule.alpha) for place in places]
    return np.asarray(np.maximum(np.array(bars) - np.maximum(log_e, 0.0), LEAST_NEED))


def next_look(hopes: Hopes, done: int, most: int, min_pairs: int = 5, price: float = 0.0) -> Look:
    """Seeds for the next look, `done` behind and at most `most` to come, where a run costs `price` (paired
    sd)."""
    first, nothing = max(1, min_pairs - done), Look(0, 0.0, np.zeros(len(hopes.mean)))
    if most < first or not len(hopes.mean):
        return nothing
    seeds = np.arange(first, most + 1)
    found = [hopes.found(worth_in_pairs(hopes.doubt, int(n))) for n in seeds]
    gains = np.array([gain.sum() for gain, _ in found])
    last = int((gains - 2 * price * seeds).argmax())
    if gains[last] <= 2 * price * seeds[last]:
        return nothing
    enough = int(np.argmax(gains >= ENOUGH * gains[last]))
    return Look(int(seeds[enough]), float(gains[enough]), found[last][1])


def longest(doubt: Floats, max_pairs: int) -> int:
    """Seeds after which pairs of halves tell as much of an idea, on average, as `max_pairs` of its own."""
    seeds = max_pairs
    while worth_in_pairs(doubt, seeds).mean() < max_pairs and seeds < max_pairs + 2 * len(doubt):
        seeds += 1
    return seeds


def together(hopes: Hopes, max_pairs: int, most: int, min_pairs: int = 5) -> bool:
    """Whether halves of at most `most` seeds find more per run than up to `max_pairs` pairs of each idea do,
    and nearly as much in the end."""
    count = len(hopes.mean)
    if count < LEAST:
        return False
    halves = next_look(hopes, 0, min(most, longest(hopes.doubt, max_pairs)), min_pairs)
    pairs = np.arange(min_pairs, max(max_pairs, min_pairs) + 1)
    alone = np.array([hopes.found(np.full(count, float(n)))[0].sum() for n in pairs])
    enough = int(np.argmax(alone >= ENOUGH * alone[-1]))
    one_by_one = alone[enough] / (ALONE * pairs[enough] * (count + 1))
    if not halves.seeds or halves.gain < ENOUGH * alone[enough]:
        return False
    return bool(halves.gain / (2 * halves.seeds) > one_by_one)


def joint(ranked: NDArray[np.intp], slots: NDArray[np.intp], failing: float) -> NDArray[np.intp]:
    """Of ideas ranked best first, those that can be confirmed together: one of each slot, and no more than
    lets a run of half of them fail in FAILING of the cases, where single runs fail in `failing`."""
    most = MOST if failing <= 0 else int(min(MOST, 2 * FAILING / failing))
    taken: set[int] = set()
    kept: list[int] = []
    for idea in ranked.tolist():
        if int(slots[idea]) not in taken and len(kept) < most:
            taken.add(int(slots[idea]))
            kept.append(idea)
    return np.array(kept, dtype=np.intp)
