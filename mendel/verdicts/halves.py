"""Many changes proved together: random halves of a cohort against each other, on fresh seeds.

For every seed and every idea a coin is thrown: one run trains the control with the ideas that came up heads,
the other with the rest. Two runs are then evidence on every idea of the cohort, where one idea at a time
takes a run for each.

What idea i is tested on is D, the loss of the run without it minus the loss of the run with it. Its mean is
the gain of adding the idea to a random half of the others. The others' effects are in D too, as noise that a
regression takes out; what the regression is told of them may be wrong, and the test still holds: if the idea
shifted every run by the smallest gain of interest, the sign of what is left would be the coin, whatever the
noise, the other effects and their interactions are. The judge's two e-values are made of these residuals.

Source: Fisher, "The Design of Experiments" (1935), for tests by the randomisation; Satterthwaite, "Random
balance experimentation" (1959), for the design; Lin, "Agnostic notes on regression adjustments" (2013);
Ramdas, Ruf, Larsson and Koolen (2020) for e-values by symmetry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from mendel.records import Interval, Rule
from mendel.verdicts.judge import Judgement, judge_scores
from mendel.verdicts.selection import lowest

Floats = NDArray[np.float64]
Signs = NDArray[np.int8]


@dataclass(frozen=True)
class Gains:
    """What is known of a cohort's gains, jointly normal, in bits per byte."""

    mean: Floats
    """(ideas,)"""
    covariance: Floats
    """(ideas, ideas)"""

    @classmethod
    def apart(cls, means: ArrayLike, errors: ArrayLike) -> Gains:
        """Of ideas that were measured one by one: means and standard errors, (ideas,); one error for all."""
        means = np.asarray(means, dtype=float)
        return cls(means, np.diag(np.broadcast_to(np.square(np.asarray(errors, dtype=float)), means.shape)))

    @property
    def error(self) -> Floats:
        """(ideas,) standard errors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def draw_signs(seed: Sequence[int], seeds: int, running: ArrayLike) -> Signs:
    """(seeds, ideas): 1 where an idea joins a seed's first run, -1 the second, 0 where it no longer runs. The
    coins are a function of `seed` alone."""
    running = np.asarray(running, dtype=bool)
    coins = np.random.default_rng(seed).integers(0, 2, (seeds, len(running)), dtype=np.int8)
    return np.asarray((2 * coins - 1) * running, dtype=np.int8)


@dataclass(frozen=True)
class Contrasts:
    """Pairs of halves that were trained together, one a seed."""

    signs: Signs
    """(seeds, ideas), of `draw_signs`."""
    difference: Floats
    """(seeds,): loss of the second run minus that of the first, bits per byte; -inf where only the first
    failed, inf where only the second did, nan where both did."""


def difference(first: float | None, second: float | None) -> float:
    """Loss of the second run minus that of the first; None is a run that failed."""
    if first is None or second is None:
        return math.nan if first is second else -math.inf if first is None else math.inf
    return second - first


def score(
    found: Contrasts, before: Gains, idea: int, null: float, sd: float, bound: float, trust: float = math.inf
) -> Floats:
    """(seeds,): what pairs of halves say of an idea: nil on average if its gain is `null`, positive if it is
    more, with noise `sd`; all in bits per byte. Seeds in which the idea had no part are left out.

    A score is the coin times what is left of D after `null` and a prediction of the others' part, in units of
    its own standard error. The prediction is the posterior mean of `before`, which must not know these runs,
    and of the contrasts themselves. Where they are off by more than `before` lets one expect, scores are as
    much smaller, whichever way the idea's coins fell; `before` counts for `trust` contrasts there. A failure
    scores `bound` against the ideas of the run that failed and for the others: of an idea that has no part in
    it the coin decides which.
    """
    took_part = found.signs[:, idea] != 0
    signs, d = found.signs[took_part].astype(float), found.difference[took_part]
    good, coins = np.isfinite(d), signs[:, idea]
    others = signs[good]
    others[:, idea] = 0.0
    precision = np.linalg.inv(sd**2 * np.eye(len(others)) + others @ before.covariance @ others.T)
    off = d[good] - coins[good] * null - others @ before.mean
    left = precision @ off
    if math.isfinite(trust):
        left = left / max(1.0, (trust + off @ left) / (trust + len(off))) ** 0.5
    out = np.where(np.isinf(d), bound * coins * np.sign(d), 0.0)
    out[good] = np.clip(sd * coins[good] * left / np.sqrt(np.diag(precision)), -bound, bound)
    return np.asarray(out)


def learned(found: Contrasts, before: Gains, sd: float) -> Gains:
    """`before` after these contrasts, by Bayes' rule; runs that failed teach nothing here."""
    good = np.isfinite(found.difference)
    signs = found.signs[good].astype(float)
    inner = sd**2 * np.eye(len(signs)) + signs @ before.covariance @ signs.T
    gain = np.linalg.solve(inner, signs @ before.covariance).T
    mean = before.mean + gain @ (found.difference[good] - signs @ before.mean)
    covariance = before.covariance - gain @ (signs @ before.covariance)
    return Gains(mean, (covariance + covariance.T) / 2)


def surprise(found: Contrasts, before: Gains, sd: float) -> float:
    """Squared distance of contrasts from what `before` expects of them, in units of its variance and that of
    the noise: one on average for each contrast."""
    good = np.isfinite(found.difference)
    signs = found.signs[good].astype(float)
    left = found.difference[good] - signs @ before.mean
    spread = sd**2 * np.eye(len(signs)) + signs @ before.covariance @ signs.T
    return float(left @ np.linalg.solve(spread, left))


@dataclass
class Halves:
    """A cohort in joint confirmation: what was known before, and the pairs of halves so far."""

    rule: Rule
    """Its `noise` must be known; `max_pairs` are pairs of halves."""
    gains: Gains
    """After screening and all batches so far: shrunk towards what was expected, so not flattering."""
    batches: list[tuple[Contrasts, Gains]] = field(default_factory=list)
    """Each with what was known before it."""

    def add(self, signs: Signs, losses: Sequence[tuple[float | None, float | None]]) -> None:
        """Another batch of pairs of halves: (first run, second run) of each seed, None where one failed."""
        found = Contrasts(signs, np.array([difference(first, second) for first, second in losses]))
        self.batches.append((found, self.gains))
        self.gains = learned(found, self.gains, self.rule.noise)

    @property
    def seeds(self) -> int:
        return sum(len(found.difference) for found, _ in self.batches)

    def judged(self, idea: int, log_threshold: float) -> Judgement:
        """What the runs so far say of an idea, where a claim takes a log e-value of so much."""
        above, below = self.scores(idea, self.rule.min_loss_gain), -self.scores(idea, 0.0)
        return judge_scores(self.rule, above, below, self._failed(idea), self.measured(idea), log_threshold)

    def measured(self, idea: int) -> Interval:
        """Its gain from these runs alone (bits per byte, 95 %): least squares with all ideas, the noise that
        of the rule and of what is left."""
        signs = np.concatenate([found.signs for found, _ in self.batches])
        whole = Contrasts(signs, np.concatenate([found.difference for found, _ in self.batches]))
        rule, count = self.rule, signs.shape[1]
        vague = Gains(np.zeros(count), (VAGUE * rule.bound) ** 2 * np.eye(count))
        found = learned(whole, vague, rule.noise)
        good = np.isfinite(whole.difference)
        left = whole.difference[good] - signs[good] @ found.mean
        spare = max(0, int(good.sum()) - int(signs[good].any(axis=0).sum()))
        freedom = rule.noise_pairs + spare
        usual = rule.noise_pairs * rule.noise**2
        variance = (usual + (float(left @ left) if spare else 0.0)) / freedom
        reach = stdtrit(freedom, 0.975) * found.error[idea] * variance**0.5 / rule.noise
        value = float(found.mean[idea])
        # Where the coins of two ideas fell alike, these runs cannot tell them apart at all.
        low, high = max(value - reach, -rule.bound), min(value + reach, rule.bound)
        return Interval(value=value, low=min(low, value), high=max(high, value))

    def expected(self, idea: int) -> Interval:
        """Its gain (bits per byte, 95 %) by all that is known, screening included: shrunk, and so not
        flattered by having been chosen. Where runs differ more from what was expected of them than noise and
        doubt explain, as where the effects of a half do not add up, all of it is as much less sure."""
        rule = self.rule
        pairs = sum(int(np.isfinite(found.difference).sum()) for found, _ in self.batches)
        freedom = rule.noise_pairs + pairs
        excess = sum(surprise(found, before, rule.noise) for found, before in self.batches)
        wider = max(1.0, (rule.noise_pairs + excess) / freedom) ** 0.5
        value = float(self.gains.mean[idea])
        reach = float(stdtrit(freedom, 0.975) * self.gains.error[idea]) * wider
        return Interval(value=value, low=value - reach, high=value + reach)

    def learnt(self, idea: int) -> float:
        """Share of what is known of it that these runs have shown, 0 to 1."""
        before = self.batches[0][1]
        return float(1 - (self.gains.error[idea] / before.error[idea]) ** 2)

    def selected(self, idea: int, position: int, claims: int) -> Interval:
        """Its gain with the e-BY interval of a claim, as `selection.after_selection`."""
        bound = self.rule.bound
        low = lowest(lambda null: self.scores(idea, null), self.rule, position, claims, -bound)
        high = -lowest(lambda null: -self.scores(idea, -null), self.rule, position, claims, -bound)
        value = min(max(self.measured(idea).value, low), high)
        return Interval(value=value, low=low, high=high, level=1 - self.rule.alpha)

    def scores(self, idea: int, null: float) -> Floats:
        """(pairs,): `score` of all batches, each by what was known before it."""
        rule = self.rule
        parts = [score(found, before, idea, null, rule.noise, rule.bound) for found, before in self.batches]
        return np.concatenate(parts)

    def _failed(self, idea: int) -> NDArray[np.bool_]:
        """(pairs,): whether the run that held the idea failed."""
        parts = []
        for found, _ in self.batches:
            coins = found.signs[:, idea]
            lost = np.isnan(found.difference) | (found.difference == np.where(coins > 0, -np.inf, np.inf))
            parts.append(lost[coins != 0])
        return np.concatenate(parts)


def as_pairs(estimate: Interval, pairs: int) -> list[float]:
    """So many differences that have this mean and, by Student's t, this 95 % interval."""
    pattern = np.linspace(-1, 1, pairs)
    error = (estimate.high - estimate.low) / 2 / stdtrit(pairs - 1, 0.975)
    spread = error * pairs**0.5 / pattern.std(ddof=1)
    return [float(value) for value in estimate.value + spread * pattern]


VAGUE = 10.0
"""Prior sd of a gain where runs speak for themselves, in units of the largest difference that counts."""


def worth_in_pairs(doubt: Floats, seeds: ArrayLike, tangle: float = 0.0) -> Floats:
    """(..., ideas): single pairs that tell as much of each idea as `seeds` (...) pairs of halves do.

    `doubt` (ideas,) is each idea's variance before, over that of a pair: the others' effects, as far as the
    pairs leave them unknown, are noise, and so is `tangle`, the variance of what does not add up. A fixed
    point, exact for many ideas (Guo and Verdu, "Randomly spread CDMA", 2005); with few seeds each tells
    little of many ideas, and once they outnumber the ideas nearly what a single pair does.
    """
    count = np.asarray(seeds, dtype=float)[..., None]
    known = np.zeros(np.broadcast_shapes(count.shape, doubt.shape))
    for _ in range(60):
        left = doubt / (1 + doubt * known)
        known = (known + count / (1 + tangle + left.sum(axis=-1, keepdims=True) - left)) / 2
    return np.asarray(known)
