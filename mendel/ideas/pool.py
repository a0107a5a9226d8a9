"""One forecast from several: each corrected by how its maker's forecasts came true, then pooled.

    corrected    m_i = mean_i + bias_i,   v_i = dispersion_i * sd_i^2 + the variance of bias_i
    weights      w_i = (1 / v_i) / sum_j (1 / v_j)
    pooled       mean = sum w_i m_i,   variance = sum w_i v_i + sum w_i (m_i - mean)^2

which is the mean and variance of the linear opinion pool (Stone 1961) with weights by precision. Forecasters
read the same text and share their errors, so their agreement makes nobody surer than they are themselves;
where they disagree the pool is wider. One of them is the base rate of the idea's class, which has no story.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mendel.ideas.track_record import Past, habit, misses
from mendel.records import Forecast

BASE_RATE = "base rate"
PRIOR = Forecast(mean=0.0, sd=0.25, p_runs=0.8)
"""Of an idea of a class of which nothing is known."""
PRIOR_WEIGHT = 4.0
"""Outcomes that this prior counts for."""
RUNS_WEIGHT = 10.0
"""Ideas that a stated probability to run counts for beside a forecaster's record."""


class Pooled(NamedTuple):
    """The forecast that triage goes by, and the weight of each forecaster in it."""

    forecast: Forecast
    weights: dict[str, float]

    @property
    def words(self) -> str:
        parts = (f"{name} {share:.0%}" for name, share in self.weights.items())
        return (
            f"pooled {self.forecast.mean:+.3f} +- {self.forecast.sd:.3f}, runs {self.forecast.p_runs:.0%}; "
            f"weights: {', '.join(parts)}"
        )


def base_rate(idea_class: str, pasts: Sequence[Past]) -> Forecast:
    """What ideas of a class have come to."""
    own = [past for past in pasts if past.idea_class == idea_class]
    gains = [past.log2_cm for past in own if past.log2_cm is not None]
    total = PRIOR_WEIGHT + len(gains)
    mean = (PRIOR_WEIGHT * PRIOR.mean + sum(gains)) / total
    squares = PRIOR_WEIGHT * (PRIOR.sd**2 + (PRIOR.mean - mean) ** 2) + sum((g - mean) ** 2 for g in gains)
    p_runs = (PRIOR_WEIGHT * PRIOR.p_runs + len(gains)) / (PRIOR_WEIGHT + len(own))
    return Forecast(mean=mean, sd=math.sqrt(squares / total), p_runs=p_runs)


def pool(forecasts: Mapping[str, Forecast], records: Mapping[str, Sequence[Past]]) -> Pooled:
    """Several forecasts of one idea as one. `records`: what became of each forecaster's earlier ones.

    ValueError without any forecast.
    """
    if not forecasts:
        raise ValueError("no forecast to pool")
    corrected = {}
    for name, forecast in forecasts.items():
        own = habit(misses(records.get(name, ())))
        variance = own.dispersion * forecast.sd**2 + own.bias.variance
        corrected[name] = forecast.mean + own.bias.mean, variance, _runs(forecast, records.get(name, ()))
    total = sum(1 / variance for _, variance, _ in corrected.values())
    weights = {name: 1 / variance / total for name, (_, variance, _) in corrected.items()}
    mean = sum(weights[name] * m for name, (m, _, _) in corrected.items())
    spread = sum(weights[name] * (v + (m - mean) ** 2) for name, (m, v, _) in corrected.items())
    p_runs = sum(weights[name] * p for name, (_, _, p) in corrected.items())
    return Pooled(Forecast(mean=mean, sd=math.sqrt(spread), p_runs=p_runs), weights)


def _runs(forecast: Forecast, pasts: Sequence[Past]) -> float:
    ran = sum(past.log2_cm is not None for past in pasts)
    return (RUNS_WEIGHT * forecast.p_runs + ran) / (RUNS_WEIGHT + len(pasts))
