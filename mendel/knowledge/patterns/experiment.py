"""The cheapest experiment that could refute a pattern: which settings, how many runs, what would do it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.factors import Factor, short
from mendel.knowledge.patterns.search import Found
from mendel.knowledge.patterns.shapes import Bend, Levels, Product, Step

SIZE = float(norm.ppf(0.975) + norm.ppf(0.8))
"""Standard errors that an effect is to be: shown at 5 % with a chance of 80 %."""
MOST = 1000
"""Runs from which on it is said that a pattern is too small to be refuted by an experiment."""


def repeats(effect: float, sd: float, arms: int) -> int:
    """Runs of each of `arms` settings (2, or 4 for a difference of differences) that show an effect."""
    if not effect or not sd > 0:
        return 2
    return max(2, math.ceil(arms * (SIZE * sd / effect) ** 2))


def refute_main(
    one: Found, factors: Sequence[Factor], effect: float, sd: float, cheap: Mapping[str, str]
) -> dict[str, Any]:
    """Two settings of one knob, all others alike."""
    factor = factors[one.knobs[0]]
    low, high = _two(one, factor)
    runs = repeats(effect, sd, 2)
    settings = [{factor.name: _tried(factor, code)} for code in (low, high)]
    return _experiment(settings, runs, cheap, "lies on the other side of zero")


def refute_pair(
    one: Found, factors: Sequence[Factor], effect: float, sd: float, cheap: Mapping[str, str]
) -> dict[str, Any]:
    """Two settings of each of two knobs."""
    assert isinstance(one.shape, Product)
    acting, on = (factors[place] for place in one.knobs)
    ends = one.shape.ends(one.estimate)
    near, far = ends.near[0], ends.far[0]
    if isinstance(one.shape.other, Step):
        cut = one.shape.other.cut
        near, far = (float(np.median(some)) for some in (on.codes[on.codes <= cut], on.codes[on.codes > cut]))
    settings = [
        {acting.name: _tried(acting, a), on.name: _tried(on, b)}
        for b in (near, far)
        for a in (ends.low[0], ends.high[0])
    ]
    words = (
        f"effect of {acting.name} is the same at both settings of {on.name}, or differs the other way round"
    )
    return _experiment(settings, repeats(effect, sd, 4), cheap, words)


def refute_failure(where: str, share: float, cheap: Mapping[str, str]) -> dict[str, Any]:
    """Runs inside a rule: were it right, so many without a failure would be a chance of 1 in 20."""
    runs = max(2, math.ceil(math.log(0.05) / math.log(1 - min(share, 0.95))))
    said = f"{runs} runs where {where}, none of which fails"
    return {
        "settings": [{"where": where}],
        "runs_each": runs,
        "runs": runs,
        "elsewhere": dict(cheap),
        "refuted_by": said,
    }


def _experiment(
    settings: list[dict[str, str]], each: int, cheap: Mapping[str, str], against: str
) -> dict[str, Any]:
    elsewhere = {name: value for name, value in cheap.items() if name not in settings[0]}
    told = "; ".join(", ".join(f"{name}={value}" for name, value in one.items()) for one in settings)
    at = (
        f", all with {', '.join(f'{name}={value}' for name, value in elsewhere.items())}" if elsewhere else ""
    )
    runs = each * len(settings)
    said = f"{each} runs each of: {told}{at}; refuted if the difference {against}"
    if len(settings) > 2:
        said = f"{each} runs each of: {told}{at}; refuted if the {against}"
    if runs > MOST:
        said = f"too small for an experiment of its own ({runs:,} runs): more runs of a sweep would tell"
    return {"settings": settings, "runs_each": each, "runs": runs, "elsewhere": elsewhere, "refuted_by": said}


def cheapest(factors: Sequence[Factor], scales: Sequence[str]) -> dict[str, str]:
    """The smallest setting of each scale."""
    return {
        one.name: _tried(one, float(one.codes.min()))
        for one in factors
        if one.name in scales and one.is_number
    }


def _two(one: Found, factor: Factor) -> tuple[float, float]:
    shape = one.shape
    if isinstance(shape, Levels):
        counts = np.bincount(factor.codes.astype(int), minlength=shape.count).astype(float)
        level = shape.level(one.estimate)
        counts[level] = -1
        return float(np.argmax(counts)), float(level)
    at = factor.center
    if isinstance(shape, Bend) and (top := shape.top(one.estimate)) is not None:
        ends = shape.features_at(np.array([at.low, at.high])) @ one.estimate.values
        far = (
            at.low
            if abs(ends[0] - _value(shape, top, one)) > abs(ends[1] - _value(shape, top, one))
            else at.high
        )
        return far, top
    return at.low, at.high


def _value(shape: Bend, code: float, one: Found) -> float:
    return float((shape.features_at(np.array([code])) @ one.estimate.values)[0])


def _tried(factor: Factor, code: float) -> str:
    """The setting nearest to a code among those that were tried."""
    if factor.levels:
        return factor.levels[int(code)]
    values: Floats = np.unique(factor.codes)
    return short(float(factor.value(float(values[np.argmin(np.abs(values - code))]))), 6)
