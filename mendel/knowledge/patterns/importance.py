"""How much each knob matters for where a run ends, by two measures.

Permutation importance (Breiman 2001; here for a sum of smooth effects): the share of the results' variance
that is lost when a knob's settings are shuffled, on units that the effects were not fitted to. PED-ANOVA
(Watanabe, Bansal & Hutter 2023): how much the settings of the best runs differ in distribution from all that
were tried, which also sees effects that averages hide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.factors import Factor
from mendel.knowledge.patterns.shapes import smooth

BEST = 0.1
"""Share of the units that count as the best."""
RESAMPLES = 100
BINS = 8
"""Bins of a number's settings, equally full."""
LEVEL = 0.95


@dataclass(frozen=True)
class Importance:
    """One knob's, with 95 % intervals of resampled units."""

    name: str
    variance: float
    low: float
    high: float
    """Share of the variance of the results (of units left out of the fit)."""
    best: float
    best_low: float
    best_high: float
    """Share of PED-ANOVA's sum over the knobs: what sets the best runs apart."""


def importance(
    target: Floats,
    factors: Sequence[Factor],
    first: np.ndarray,
    pairs: Sequence[tuple[tuple[int, ...], Floats]] = (),
    higher: bool = False,
    seed: int = 0,
) -> list[Importance]:
    """Of each factor for target (units,); the effects are fitted on `first` (units,) and told on the rest.
    `pairs`: effects (units,) of two factors together, which count for both."""
    with threadpool_limits(1, "blas"):  # small matrices: threads would wait for each other
        return _importance(target, factors, first, pairs, higher, seed)


def _importance(
    target: Floats,
    factors: Sequence[Factor],
    first: np.ndarray,
    pairs: Sequence[tuple[tuple[int, ...], Floats]],
    higher: bool,
    seed: int,
) -> list[Importance]:
    rng = np.random.default_rng(seed)
    rest = np.flatnonzero(~first)
    single, double = _contributions(target, factors, first, [effect for _, effect in pairs])
    of = np.array([[place in knobs for place in range(len(factors))] for knobs, _ in pairs], dtype=float)
    single, double = single[rest], double[rest]
    left = target[rest] - target[first].mean() - single.sum(axis=1) - double.sum(axis=1)
    parts = single + (double @ of if len(pairs) else 0.0)
    y = target[rest] - target[first].mean()
    draws = [np.arange(len(rest)), *rng.integers(0, len(rest), (RESAMPLES, len(rest)))]
    lost = np.array([_lost(y[one], left[one], parts[one]) for one in draws])
    apart = ped_anova(target, [_binned(one) for one in factors], higher, rng)
    shares = apart / np.maximum(apart.sum(axis=1, keepdims=True), 1e-300)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    ends, its_ends = np.quantile(lost[1:], tails, axis=0), np.quantile(shares[1:], tails, axis=0)
    return [
        Importance(one.name, *(float(v) for v in (lost[0, k], *ends[:, k], shares[0, k], *its_ends[:, k])))
        for k, one in enumerate(factors)
    ]


def _contributions(
    target: Floats, factors: Sequence[Factor], first: np.ndarray, pairs: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """(units, factors) and (units, pairs): the parts of a sum of effects of single knobs and of pairs."""
    columns = [smooth(one, 4 if first.sum() > 40 * len(factors) else 2) for one in factors]
    columns += [one[:, None] for one in pairs]
    columns = [one - one[first].mean(axis=0) for one in columns]
    x = np.concatenate(columns, axis=1)
    coefficients = np.linalg.lstsq(x[first], target[first] - target[first].mean(), rcond=1e-8)[0]
    each = np.split(coefficients, np.cumsum([one.shape[1] for one in columns])[:-1])
    parts = np.stack([one @ its for one, its in zip(columns, each, strict=True)], axis=1)
    return parts[:, : len(factors)], parts[:, len(factors) :]


def _lost(y: Floats, left: Floats, parts: Floats) -> Floats:
    """Share of the variance that shuffling each knob loses, expected over all shuffles; `left` is what the
    model does not tell, and parts (units, factors) what of it hangs on each knob."""
    whole = float(y.var())
    if whole <= 1e-24 * float((y**2).mean()):  # nothing to tell
        return np.zeros(parts.shape[1])
    spread = parts - parts.mean(axis=0)
    # A shuffled effect is independent of the rest: the error grows by twice the effect's variance, and by
    # twice its covariance with what is left.
    more = 2 * (spread**2).mean(axis=0) + 2 * (spread * left[:, None]).mean(axis=0)
    return np.asarray(more / 2 / whole)


def _binned(factor: Factor) -> np.ndarray:
    if factor.levels:
        return factor.codes.astype(int)
    edges = np.unique(np.quantile(factor.codes, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, factor.codes, side="left")


def ped_anova(target: Floats, bins: Sequence[np.ndarray], higher: bool, rng: np.random.Generator) -> Floats:
    """Pearson's divergence (1 + RESAMPLES, factors) of the settings of the best units from all settings, less
    what as few units show by luck; first of the best ones, then of resamples of them."""
    count = max(round(BEST * len(target)), 5)
    chosen = np.argsort(-target if higher else target, kind="stable")[:count]
    draws = np.concatenate([chosen[None], rng.choice(chosen, (RESAMPLES, count))])
    luck = np.array([1.0] + [2.0] * RESAMPLES) * (1 - BEST) / count  # a resample adds as much again
    found = []
    for one in bins:
        _, code = np.unique(one, return_inverse=True)
        size = int(code.max()) + 1
        all_ = np.bincount(code, minlength=size) / len(code)
        among = np.stack([(code[draws] == place).mean(axis=1) for place in range(size)], axis=1)
        found.append(np.maximum(((among - all_) ** 2 / all_).sum(axis=1) - luck * (size - 1), 0.0))
    return np.stack(found, axis=1)
