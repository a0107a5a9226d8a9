"""Does a gain survive scale? The trend of log2 CM over compute, and what past ideas say of it.

With x = log2(C / C0) doublings of compute above the lowest rung, the gain of an idea is a straight line,

    theta(x) = a + b x,   b = a k,   k ~ N(mu, tau^2),   a ~ N(0, GAIN_SD^2),

and a rung r shows it as y_r ~ N(theta(x_r), e_r^2 + WOBBLE^2). k is the change of the gain per doubling of
compute in proportion to it, so 1 + k x is the share of the gain that is left x doublings on: its *retention*.
Given a this is Bayesian linear regression with known variances (Gelman et al., Bayesian Data Analysis,
section 14.8); a is summed over a grid. mu and tau are learned from the ideas that were measured at several
rungs (empirical Bayes with a grid for both); the ideas of a class add to what those of the others have shown.

The prior of mu says that a gain shrinks modestly. The same optimiser is told both ways: 1.4 times cheaper at
0.1 B parameters and 1.1 times at 1.2 B (Wen et al. 2025, "Fantastic pretraining optimizers and where to find
them"), which is k = -0.10 where compute grows with the square of the parameters, and about 2 times cheaper at
every scale that was tried (Liu et al. 2025, "Muon is scalable for LLM training"), which is k = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import hypot
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mendel.records import Interval, Transfer
from mendel.verdicts.effects import paired_interval
from mendel.verdicts.prediction import mixture

Floats = NDArray[np.float64]

SHRINKS, SHRINKS_SD = -0.05, 0.05
"""Prior of mu, per doubling of compute."""
SCATTER, SCATTER_SPREAD = 0.12, 0.6
"""Prior of tau, the sd of k between ideas: log-normal, median and sd of its logarithm. At the median one idea
in eight loses three quarters of its gain within two rungs of four times the compute each."""
CLASS_SD = 0.03
"""Sd of mu between classes of ideas."""
GAIN_SD = 0.5
"""Prior sd of a gain, log2 CM."""
WOBBLE = 0.01
"""Sd by which the true gain at a rung lies off its line, log2 CM: shapes and steps are whole numbers."""
MUS: Floats = np.linspace(-0.4, 0.3, 71)
TAUS: Floats = np.geomspace(0.01, 1.0, 15)
REACH, STEPS = 5.0, 61
"""The grid of a gain: standard errors on both sides of what the lowest rung shows, and points."""
NORMAL = 1.959964
"""Standard deviations in half of a normal 95 % interval."""


class Effect(NamedTuple):
    """A gain as one rung shows it."""

    doublings: float
    """Of compute, above the lowest rung."""
    log2_cm: float
    se: float


class Climbed(NamedTuple):
    """A past idea that was measured at several rungs, lowest first."""

    idea_class: str
    effects: tuple[Effect, ...]


def effect_of(doublings: float, log2_cm: Interval) -> Effect:
    """A measured interval as a normal one of the same width: the few pairs behind it have Student's tails."""
    half = max(log2_cm.high - log2_cm.value, log2_cm.value - log2_cm.low)
    return Effect(doublings, log2_cm.value, half / NORMAL)


def transfer_of(log2_cm: Interval, least: float) -> Transfer:
    """What the interval at a higher rung says of a gain of at least `least` log2 CM. That a gain is gone
    takes an upper bound below it: an interval that is merely wide shows nothing."""
    if log2_cm.low > least:
        return Transfer.TRANSFERS
    if log2_cm.high < least and not log2_cm.high_bounded:
        return Transfer.DOES_NOT
    return Transfer.NOT_SHOWN


# --- what past ideas say ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Retention:
    """The posterior of mu and tau, (MUS, TAUS), from so many ideas."""

    weights: Floats
    ideas: int = 0

    @property
    def mean(self) -> float:
        """Of k for a new idea."""
        return float(self.weights.sum(axis=1) @ MUS)

    @property
    def sd(self) -> float:
        """Of k for a new idea: ideas differ, and what is usual is not known exactly."""
        square = self.weights.sum(axis=1) @ MUS**2 + self.weights.sum(axis=0) @ TAUS**2
        return float(max(square - self.mean**2, 0.0) ** 0.5)

    def after(self, climbs: Sequence[Climbed]) -> Retention:
        """With these ideas learned from."""
        log = np.log(np.maximum(self.weights, 1e-300))
        for climb in climbs:
            log = log + _log_likelihood(climb.effects)
        return replace(self, weights=_normalised(log), ideas=self.ideas + len(climbs))

    def widened(self) -> Retention:
        """Of another class of ideas: its mu may be another."""
        kernel = np.exp(-0.5 * ((MUS[:, None] - MUS) / CLASS_SD) ** 2)
        weights = (kernel / kernel.sum(axis=0)) @ self.weights
        return replace(self, weights=weights / weights.sum())


@cache
def usual() -> Retention:
    """Before any idea was measured at two rungs."""
    log = -0.5 * ((MUS - SHRINKS) / SHRINKS_SD) ** 2
    return Retention(_normalised(log[:, None] - 0.5 * (np.log(TAUS / SCATTER) / SCATTER_SPREAD) ** 2))


def learn(climbs: Sequence[Climbed], idea_class: str | None = None) -> Retention:
    """What these ideas say of another one; for one of `idea_class` its own class says more."""
    if idea_class is None:
        return usual().after(climbs)
    others = [climb for climb in climbs if climb.idea_class != idea_class]
    own = [climb for climb in climbs if climb.idea_class == idea_class]
    return replace(usual().after(others).widened().after(own), ideas=len(climbs))


def _normalised(log: Floats) -> Floats:
    weights = np.exp(log - log.max())
    return np.asarray(weights / weights.sum())


def _log_likelihood(effects: Sequence[Effect]) -> Floats:
    """Of mu and tau, (MUS, TAUS): the idea's gain and its k are summed over."""
    gains = _gains(effects)
    log, _, _ = _given_gain(effects, gains[:, None, None], MUS[:, None], TAUS)
    most = log.max(axis=0)
    return np.asarray(most + np.log(np.exp(log - most).mean(axis=0)))


def _gains(effects: Sequence[Effect]) -> Floats:
    lowest = effects[0]
    half = REACH * hypot(lowest.se, WOBBLE)
    return np.linspace(lowest.log2_cm - half, lowest.log2_cm + half, STEPS)


def _given_gain(
    effects: Sequence[Effect], gain: Floats, mean: Floats | float, sd: Floats | float
) -> tuple[Floats, Floats, Floats]:
    """Log evidence, and mean and variance of k, for a gain at the lowest rung and k ~ N(mean, sd^2)
    beforehand. All broadcast."""
    precision = 1 / np.square(sd) + 0 * gain
    pull = mean / np.square(sd) + 0 * gain
    misfit = (gain / GAIN_SD) ** 2 + np.square(mean / sd)
    for effect in effects:
        variance = effect.se**2 + WOBBLE**2
        slope, left = gain * effect.doublings, effect.log2_cm - gain
        precision = precision + slope**2 / variance
        pull = pull + slope * left / variance
        misfit = misfit + left**2 / variance
    log = -0.5 * (misfit - pull**2 / precision) - 0.5 * np.log(precision * np.square(sd))
    return log, pull / precision, 1 / precision


# --- one idea -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """What is believed of a gain at one scale, in log2 CM: a mixture of normals."""

    means: Floats
    sds: Floats
    weights: Floats

    @property
    def mean(self) -> float:
        return float(self.weights @ self.means)

    @property
    def sd(self) -> float:
        return float((self.weights @ (self.sds**2 + self.means**2) - self.mean**2) ** 0.5)

    def above(self, least: float) -> float:
        """Probability that the gain is larger."""
        return float(self.weights @ ndtr((self.means - least) / self.sds))

    def value(self, least: float) -> float:
        """E[gain; gain > least]: probability that it transfers times what is expected of it then."""
        z = (self.means - least) / self.sds
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        return float(self.weights @ (self.means * ndtr(z) + self.sds * density))

    def interval(self, level: float = 0.95) -> Interval:
        """Its median, with the central interval."""
        return mixture(self.means, self.sds, self.weights, level)


@dataclass(frozen=True)
class Trend:
    """The gain of one idea over compute, for each gain that it may have at the lowest rung."""

    gains: Floats
    weights: Floats
    k_mean: Floats
    k_variance: Floats

    def at(self, doublings: float) -> Law:
        """The true gain so many doublings of compute above the lowest rung."""
        means = self.gains * (1 + self.k_mean * doublings)
        sds = np.sqrt((self.gains * doublings) ** 2 * self.k_variance + WOBBLE**2)
        return Law(means, sds, self.weights)

    def slope(self) -> Interval:
        """b: log2 CM per doubling of compute."""
        sds = np.abs(self.gains) * np.sqrt(self.k_variance)
        return mixture(self.gains * self.k_mean, sds, self.weights)

    def worth(self, measured: float, se: float, target: float) -> float:
        """What measuring the gain at `measured` doublings with standard error `se` is worth, in log2 CM at
        `target` doublings.

        The idea stays in the trunk while its expected gain at the target is above zero. The posterior mean
        there will move by s = Cov(theta(target), y) / sd(y); a decision that is right on average gains

            EVSI = E max(0, N(M, s^2)) - max(0, M) = s phi(M / s) - |M| Phi(-|M| / s),

        the expected value of sample information of two actions (Raiffa and Schlaifer 1961, section 5.5).
        """
        here, there = self.at(measured), self.at(target)
        shared = self.gains**2 * measured * target * self.k_variance
        covariance = self.weights @ (shared + here.means * there.means) - here.mean * there.mean
        moves = abs(float(covariance)) / hypot(here.sd, se)
        z = abs(there.mean) / moves if moves else np.inf
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        return float(moves * density - abs(there.mean) * ndtr(-z))


def trend(effects: Sequence[Effect], retention: Retention) -> Trend:
    """The line through what an idea's rungs show, drawn towards what past ideas did."""
    gains = _gains(effects)
    log, k_mean, k_variance = _given_gain(effects, gains, retention.mean, retention.sd)
    return Trend(gains, _normalised(log), k_mean, k_variance)


# --- what the intervals are worth ---------------------------------------------------------------------


def coverage(
    mean: float, scatter: float, past: int, target: float, rungs: Sequence[float] = (0.0, 2.0),
    trials: int = 1000, noise: float = 0.04, pairs: int = 6, seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """Share of simulated campaigns whose 95 % interval at `target` doublings holds the true gain there, and
    the mean width of these intervals.

    Ideas have gains of 0.05 to 0.5 log2 CM and k ~ N(mean, scatter^2); each campaign learns from `past` of
    them and extrapolates another. `noise` is the sd of a pair, log2 CM; standard errors are estimated.
    """
    rng = np.random.default_rng(seed)

    def planted() -> tuple[Climbed, float]:
        gain, k = rng.uniform(0.05, 0.5), rng.normal(mean, scatter)
        line = gain * (1 + k * np.array([*rungs, target])) + rng.normal(0, WOBBLE, len(rungs) + 1)
        shown = [paired_interval(rng.normal(true, noise, pairs)) for true in line[:-1]]
        effects = (effect_of(x, one) for x, one in zip(rungs, shown, strict=True))
        return Climbed("optimiser", tuple(effects)), float(line[-1])

    hits, width = 0, 0.0
    for _ in range(trials):
        retention = learn([planted()[0] for _ in range(past)])
        climb, truth = planted()
        found = trend(climb.effects, retention).at(target).interval()
        hits += found.low <= truth <= found.high
        width += found.high - found.low
    return hits / trials, width / trials
