"""What became of forecasts, and what that says about whoever made them.

A group is a proposer or an idea class. Its outcomes y_i, measured with standard error e_i, came after
forecasts N(m_i, s_i^2). With a bias b and a dispersion k (the variance of its errors over the one it states),

    y_i - m_i ~ N(b, k s_i^2 + e_i^2),    b ~ N(0, BIAS_SD^2),
    k: scaled inverse chi-squared, worth DISPERSION_WEIGHT outcomes whose squared standardised error is one.

b has the conjugate posterior (Gelman et al., Bayesian Data Analysis, section 2.5) given k. k is its posterior
mode, by expectation-maximisation (Dempster, Laird & Rubin 1977): with r_i = k s_i^2 / (k s_i^2 + e_i^2), the
share of an error that is the forecast's and not the measurement's,

    E[t_i^2] = r_i^2 ((y_i - m_i - b)^2 + Var b) + r_i e_i^2
    k = (DISPERSION_WEIGHT + sum_i E[t_i^2] / s_i^2) / (DISPERSION_WEIGHT + n)

Errors further than CAP standard deviations from b are pulled in to there (Huber 1981, proposal 2), because
one idea that wrecks training says little about the rest; calibrated forecasts then give k = 0.98, not 1.

Outcomes are weighted by selection (`mendel.ideas.stream`), the weights of a group scaled so that they add up
to Kish's effective number of outcomes, (sum w)^2 / sum w^2: an outcome that stands for twenty is still one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mendel.records import Forecast, Record

BIAS_SD = 0.15
"""Prior standard deviation of a forecaster's or a class's bias, in log2 CM."""
DISPERSION_WEIGHT = 10.0
"""Calibrated outcomes that the prior of the dispersion counts for."""
CAP = 2.5
"""Standard deviations beyond which an error counts no more than there."""
NOISE_SD = 0.05
"""Standard error of a measured log2 CM where none is given."""
STEPS, TOLERANCE = 200, 1e-9


class Past(Record):
    """One idea whose outcome is known. `log2_cm` is None when it did not run."""

    proposer: str
    idea_class: str
    forecast: Forecast
    log2_cm: float | None
    se: float = NOISE_SD
    """Standard error of `log2_cm`."""
    weight: float = 1.0
    """Ideas that were proposed for which this one speaks: see `mendel.ideas.stream`."""


class Miss(NamedTuple):
    """The error of a forecast, in log2 CM."""

    value: float
    """Outcome less forecast mean."""
    sd: float
    """Stated."""
    se: float = NOISE_SD
    weight: float = 1.0


class Bias(NamedTuple):
    """Posterior of the mean error of a group's forecasts, in log2 CM."""

    mean: float
    variance: float


class Habit(NamedTuple):
    """How a group's forecasts err."""

    bias: Bias
    dispersion: float
    """Variance of its errors over the stated one; above one: too sure of itself."""


def effective(weights: Sequence[float]) -> float:
    """Kish's effective number of outcomes (Survey Sampling, 1965)."""
    return sum(weights) ** 2 / sum(weight**2 for weight in weights) if weights else 0.0


def as_evidence(weights: Sequence[float]) -> list[float]:
    """The weights, scaled to add up to their effective number."""
    scale = effective(weights) / sum(weights) if weights else 0.0
    return [weight * scale for weight in weights]


def misses(pasts: Iterable[Past]) -> list[Miss]:
    """Errors of the forecasts of ideas that ran, with weights as evidence."""
    ran = [past for past in pasts if past.log2_cm is not None]
    weights = as_evidence([past.weight for past in ran])
    return [
        Miss(past.log2_cm - past.forecast.mean, past.forecast.sd, past.se, weight)
        for past, weight in zip(ran, weights, strict=True)
        if past.log2_cm is not None
    ]


def habit(errors: Sequence[Miss]) -> Habit:
    """Bias and dispersion together. See the module's formulas."""
    bias, dispersion = Bias(0.0, BIAS_SD**2), 1.0
    for _ in range(STEPS):
        near = [_pulled_in(error, bias.mean, dispersion) for error in errors]
        bias, before = posterior_bias(near, dispersion), dispersion
        dispersion = _dispersion(near, bias, dispersion)
        if abs(dispersion - before) < TOLERANCE:
            break
    return Habit(bias, dispersion)


def posterior_bias(errors: Iterable[Miss], dispersion: float = 1.0) -> Bias:
    """Posterior of a bias, given the dispersion."""
    precision, weighted = 1 / BIAS_SD**2, 0.0
    for error in errors:
        weight = error.weight / (dispersion * error.sd**2 + error.se**2)
        precision += weight
        weighted += weight * error.value
    return Bias(weighted / precision, 1 / precision)


def _pulled_in(error: Miss, centre: float, dispersion: float) -> Miss:
    reach = CAP * math.sqrt(dispersion * error.sd**2 + error.se**2)
    return error._replace(value=min(max(error.value, centre - reach), centre + reach))


def _dispersion(errors: Iterable[Miss], bias: Bias, dispersion: float) -> float:
    """One step of expectation and maximisation."""
    squares, count = DISPERSION_WEIGHT, DISPERSION_WEIGHT
    for error in errors:
        own = dispersion * error.sd**2
        share = own / (own + error.se**2)
        square = share**2 * ((error.value - bias.mean) ** 2 + bias.variance) + share * error.se**2
        squares += error.weight * square / error.sd**2
        count += error.weight
    return squares / count
