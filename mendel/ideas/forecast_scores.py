"""Scores of forecasts: how far each proposer, and each class of ideas, came true.

A forecast N(m, s^2) of log2 CM is scored against a measured y of standard error e, so what it says of y is
N(m, s^2 + e^2): nobody is blamed for the lab's noise. All means are weighted by selection (Hajek 1971: sum of
w x over sum of w), and so are their standard errors,

    SE = sqrt(n / (n - 1) sum_i w_i^2 (x_i - mean)^2) / sum_i w_i   (linearised; Sarndal et al. 1992, 5.6-5.7)

The logarithmic score, ln p(y), is strictly proper: nobody gains by saying what they do not believe (Gneiting
& Raftery 2007). It is told as `skill`, too: by how much it beats the climatology, N(mean, variance) of all
*other* outcomes, which knows what ideas are worth on average and nothing about any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

from mendel.ideas.track_record import Past, effective, habit, misses
from mendel.records import Record

BINS = 10
"""Of the histogram of where outcomes fell in their forecasts."""
LEAST_SPREAD = 0.01
"""Standard deviation of true effects, in log2 CM, that climatology assumes at least."""
P_LEAST = 0.01
"""A forecast of P(runs) is scored as if it had left this much room for the opposite."""
LEAST_OTHERS = 2
"""Outcomes that climatology is made from at least."""


class Mean(Record):
    """A mean weighted by selection, and its standard error (None from fewer than two outcomes)."""

    value: float
    se: float | None


class Scores(Record):
    """Of one group of forecasts. What needs an outcome is None where there is none."""

    name: str
    outcomes: int
    """Ideas with a measured log2 CM."""
    effective: float
    """Outcomes that the weighted ones are worth (Kish)."""
    bias: Mean | None
    """Outcome less forecast, in log2 CM: below zero, too hopeful."""
    spread: float
    """Standard deviation of its errors over the stated one, shrunken towards 1: above, too sure."""
    log_score: Mean | None
    """ln of the density that the forecast gave to what was measured (log2 CM)."""
    skill: Mean | None
    """The same less that of climatology."""
    within_50: Mean | None
    within_90: Mean | None
    """Share of outcomes inside the central intervals."""
    pit: tuple[float, ...]
    """Share of outcomes by where they fell in their forecast, from its lower to its upper end in BINS equal
    steps of probability (probability integral transform): equal shares from a calibrated forecaster."""
    tried: int
    """Ideas of which it is known whether they run."""
    runs: Mean | None
    """Share of them that ran."""
    said_runs: Mean | None
    """What was forecast of it."""
    brier: Mean | None
    """Mean (P(runs) - ran)^2."""
    runs_log_score: Mean | None
    """ln of the probability that was given to what happened."""


class Marked(NamedTuple):
    """A past idea with the scores of its forecast."""

    past: Past
    pit: float
    log_score: float
    skill: float | None


def score(pasts: Sequence[Past]) -> tuple[list[Scores], list[Scores]]:
    """Scores by proposer and by class, each by name. Climatology is that of all of `pasts`."""
    marked = _mark(pasts)
    by_proposer = _grouped(pasts, marked, lambda past: past.proposer)
    return by_proposer, _grouped(pasts, marked, lambda past: past.idea_class)


def overall(pasts: Sequence[Past], name: str = "all") -> Scores:
    """Scores of all these forecasts together."""
    return _scores(name, pasts, _mark(pasts))


def _grouped(pasts: Sequence[Past], marked: Sequence[Marked], key: Callable[[Past], str]) -> list[Scores]:
    return [
        _scores(name, [p for p in pasts if key(p) == name], [m for m in marked if key(m.past) == name])
        for name in sorted({key(past) for past in pasts})
    ]


def _scores(name: str, pasts: Sequence[Past], marked: Sequence[Marked]) -> Scores:
    weights = [mark.past.weight for mark in marked]
    ran = [float(past.log2_cm is not None) for past in pasts]
    said = [past.forecast.p_runs for past in pasts]
    given = [min(max(p if r else 1 - p, P_LEAST), 1 - P_LEAST) for p, r in zip(said, ran, strict=True)]
    errors = misses(mark.past for mark in marked)
    skills = [(mark.skill, mark.past.weight) for mark in marked if mark.skill is not None]

    def mean(values: Sequence[float]) -> Mean | None:
        return weighted_mean(values, weights)

    def mean_of_all(values: Sequence[float]) -> Mean | None:
        return weighted_mean(values, [past.weight for past in pasts])

    return Scores(
        name=name,
        outcomes=len(marked),
        effective=effective(weights),
        bias=mean([error.value for error in errors]),
        spread=math.sqrt(habit(errors).dispersion),
        log_score=mean([mark.log_score for mark in marked]),
        skill=weighted_mean([value for value, _ in skills], [weight for _, weight in skills]),
        within_50=mean([float(abs(mark.pit - 0.5) <= 0.25) for mark in marked]),
        within_90=mean([float(abs(mark.pit - 0.5) <= 0.45) for mark in marked]),
        pit=_histogram(marked),
        tried=len(pasts),
        runs=mean_of_all(ran),
        said_runs=mean_of_all(said),
        brier=mean_of_all([(p - r) ** 2 for p, r in zip(said, ran, strict=True)]),
        runs_log_score=mean_of_all([math.log(p) for p in given]),
    )


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> Mean | None:
    """The Hajek mean with its linearised standard error; None of nothing."""
    if not values:
        return None
    n, total = len(values), sum(weights)
    mean = sum(w * x for w, x in zip(weights, values, strict=True)) / total
    if n < 2:
        return Mean(value=mean, se=None)
    squares = sum((w * (x - mean)) ** 2 for w, x in zip(weights, values, strict=True))
    return Mean(value=mean, se=math.sqrt(n / (n - 1) * squares) / total)


def _mark(pasts: Sequence[Past]) -> list[Marked]:
    measured = [past for past in pasts if past.log2_cm is not None]
    sums = [sum(column) for column in zip(*map(_moments, measured), strict=True)]
    marked = []
    for past in measured:
        assert past.log2_cm is not None
        said = NormalDist(past.forecast.mean, math.hypot(past.forecast.sd, past.se))
        log_score, skill = _log_density(said, past.log2_cm), None
        if len(measured) > LEAST_OTHERS:
            others = [total - own for total, own in zip(sums, _moments(past), strict=True)]
            skill = log_score - _log_density(_climatology(others, past.se), past.log2_cm)
        marked.append(Marked(past, said.cdf(past.log2_cm), log_score, skill))
    return marked


def _moments(past: Past) -> tuple[float, float, float, float, float]:
    """Of one outcome y: w, w^2, w y, w y^2, w e^2."""
    w, y = past.weight, past.log2_cm or 0.0
    return w, w * w, w * y, w * y * y, w * past.se**2


def _climatology(sums: Sequence[float], se: float) -> NormalDist:
    """What outcomes with these sums of moments say of another, measured with standard error `se`: their mean,
    and the variance that their own measurement errors do not explain, which is that of true effects."""
    total, squares, first, second, noise = sums
    worth = total**2 / squares
    mean = first / total
    variance = max(second / total - mean**2, 0.0)
    unbiased = variance * worth / max(worth - 1, 0.5)
    true = max(unbiased - noise / total, LEAST_SPREAD**2)
    return NormalDist(mean, math.sqrt(true + se**2 + unbiased / worth))


def _log_density(law: NormalDist, value: float) -> float:
    """ln of the density, also far out where the density itself is zero in floating point."""
    z = (value - law.mean) / law.stdev
    return -z * z / 2 - math.log(law.stdev * math.sqrt(2 * math.pi))


def _histogram(marked: Sequence[Marked]) -> tuple[float, ...]:
    shares = [0.0] * BINS
    total = sum(mark.past.weight for mark in marked)
    for mark in marked:
        shares[min(int(mark.pit * BINS), BINS - 1)] += mark.past.weight / total
    return tuple(shares)
