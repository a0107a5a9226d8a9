"""Effects of a designed ablation: contrasts within seeds, their intervals over seeds, corrected for their
number.

Every cell of a design is trained with the same seeds. A contrast of cells is computed within each seed, where
what the seed does to all cells alike cancels; its values over seeds give Student's t interval. Nothing is
assumed about how the noise of one cell relates to that of another, only that a contrast's values over seeds
are independent and about normal.

A family of effects (all main effects; all interactions) is corrected together: p-values by Holm (1979, "A
simple sequentially rejective multiple test procedure"), and beside the interval of each effect by itself a
simultaneous one by Bonferroni: all of a family hold at once with the stated probability, whatever their
dependence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from mendel.verdicts.curve import REACH, fit_curve
from mendel.verdicts.effects import FINITE, draw_curves, log2_cm_of

Floats = NDArray[np.float64]

LEAST_P = 1e-16
"""No smaller p-value is told."""
DRAWS = 2000
"""Curves that could as well have been measured."""
NORMAL = 1.959964
"""Half the width of a 95 % interval in standard deviations."""


@dataclass(frozen=True)
class Effect:
    """An estimate with its interval by itself, its simultaneous one, and its p-values."""

    value: float
    low: float
    high: float
    all_low: float
    all_high: float
    """All of the family lie in theirs at once, at the same level."""
    p: float
    """Two-sided, that the effect is zero."""
    p_holm: float
    """The same, corrected for the family."""
    sd: float
    """Of the contrast within a seed."""


@dataclass(frozen=True)
class Share:
    """A part of a whole with Fieller's interval; without ends where the whole is not told from zero."""

    value: float | None
    low: float | None
    high: float | None


def gains(
    losses: Sequence[Sequence[float | None]], reference: int, bound: float
) -> tuple[Floats, list[tuple[int, int]]]:
    """Minus the losses (seeds, cells) in bits per byte, and the (seed, cell) of those that stand at the
    bound.

    A failed run (None) scores `bound` worse than the reference cell of its seed, and no run scores worse than
    that. Where the reference itself failed, it counts as the mean of the seed's other runs. ValueError where
    every run of a seed failed.
    """
    table = np.array([[np.nan if loss is None else loss for loss in row] for row in losses], dtype=float)
    if table.ndim != 2 or not np.isfinite(table).any(axis=1).all():
        raise ValueError("every seed needs the same cells, and one run that ended well")
    base = np.where(np.isfinite(table[:, reference]), table[:, reference], np.nanmean(table, axis=1))
    edge = (base + bound)[:, None]
    cut = ~(table < edge)
    cut[:, reference] = ~np.isfinite(table[:, reference])
    return -np.where(cut, edge, table), [(int(seed), int(cell)) for seed, cell in np.argwhere(cut)]


def within_seeds(values: ArrayLike, weights: ArrayLike) -> Floats:
    """Contrasts (seeds, effects) of `values` (seeds, cells) by `weights` (effects, cells)."""
    return np.asarray(np.asarray(values, dtype=float) @ np.asarray(weights, dtype=float).T)


def estimate(contrasts: ArrayLike, level: float = 0.95, extra: ArrayLike = 0.0) -> list[Effect]:
    """One family of effects from its contrasts (seeds, effects).

    `extra` (effects,) are standard errors from elsewhere, normal and independent of the seeds (a curve's).
    The two half widths are added in quadrature, each with its own quantile (MOVER: Zou and Donner 2008,
    "Construction of confidence limits about effect measures: a general approach"); a p-value is the level
    at which the interval ends at zero. Contrasts without variance give intervals without width. ValueError
    below two seeds.
    """
    found = np.asarray(contrasts, dtype=float)
    seeds, count = found.shape
    if seeds < 2:
        raise ValueError(f"an interval needs two seeds at least, found {seeds}")
    mean, sd = found.mean(axis=0), found.std(axis=0, ddof=1)
    other = np.broadcast_to(np.asarray(extra, dtype=float), (count,))

    def half(p: ArrayLike) -> Floats:
        """Half width of an interval that misses with probability `p`."""
        tail = np.asarray(p, dtype=float) / 2
        return np.asarray(np.hypot(stdtrit(seeds - 1, tail) * sd / seeds**0.5, ndtri(tail) * other))

    single, joint = half(1 - level), half((1 - level) / max(1, count))
    p = _level_of_zero(np.abs(mean), half)
    columns = (mean, mean - single, mean + single, mean - joint, mean + joint, p, holm(p), sd)
    return [Effect(*map(float, row)) for row in zip(*columns, strict=True)]


def _level_of_zero(distance: Floats, half: Callable[[Floats], Floats]) -> Floats:
    """The p at which an interval of half width `half(p)` reaches as far as `distance` (effects,), by
    bisection."""
    low, high = np.full(len(distance), np.log(LEAST_P)), np.zeros(len(distance))
    for _ in range(60):
        middle = (low + high) / 2
        wider = half(np.exp(middle)) > distance
        low, high = np.where(wider, middle, low), np.where(wider, high, middle)
    exact = half(np.full(len(distance), 0.5)) == 0  # there is no noise at all
    return np.where(exact, np.where(distance > 0, 0.0, 1.0), np.exp(high))


def holm(p: ArrayLike) -> Floats:
    """Holm's adjusted p-values: reject those at most alpha, and the chance of any false rejection is at most
    alpha."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def shares(parts: ArrayLike, whole: ArrayLike, level: float = 0.95) -> list[Share]:
    """Parts (seeds, effects) of a whole (seeds,), as fractions, by Fieller (1954, "Some problems in interval
    estimation"): all s for which the mean of part - s whole is not told from zero over the seeds."""
    part, total = np.asarray(parts, dtype=float), np.asarray(whole, dtype=float)
    seeds = len(total)
    if seeds < 2:
        raise ValueError(f"an interval needs two seeds at least, found {seeds}")
    q = float(stdtrit(seeds - 1, (1 + level) / 2)) ** 2 / seeds
    mean = float(total.mean())
    a = mean**2 - q * float(total.var(ddof=1))
    found = []
    for one in part.T:
        if mean == 0 or a <= 0:
            found.append(Share(float(one.mean()) / mean if mean else None, None, None))
            continue
        b = float(one.mean()) * mean - q * float(np.cov(one, total)[0, 1])
        c = float(one.mean()) ** 2 - q * float(one.var(ddof=1))
        root = max(0.0, b * b - a * c) ** 0.5
        found.append(Share(float(one.mean()) / mean, (b - root) / a, (b + root) / a))
    return found


@dataclass(frozen=True)
class ComputeScale:
    """The gains of a design's cells as log2 compute multipliers over the reference cell."""

    cells: Floats
    """(seeds, cells) on the fitted curve."""
    draws: Floats
    """(DRAWS, cells): means over seeds on curves that could as well have been measured."""
    bounded: tuple[int, ...]
    """Cells beyond what the curve may be read to; their values are bounds."""

    def estimate(self, weights: ArrayLike, level: float = 0.95) -> list[Effect]:
        """One family of contrasts (effects, cells), with the curve's own uncertainty."""
        spread = np.quantile(within_seeds(self.draws, weights), [0.025, 0.975], axis=0)
        return estimate(within_seeds(self.cells, weights), level, (spread[1] - spread[0]) / 2 / NORMAL)


def in_compute(
    curve_points: Sequence[tuple[float, float]], flops: float, values: ArrayLike, reference: int
) -> ComputeScale:
    """`values` (seeds, cells), minus losses in bits per byte, on the scale on which gains multiply.

    log2 CM adds up over changes that do not interact; bits per byte do not, because a curve gets flatter. So
    each cell is read off the reference cell's scaling curve (`curve_points`: FLOPs and bits per byte of
    single runs) at its distance from the reference, after what a seed does to all its cells was taken out.
    Contrasts of the result differ by seed as before; curves are drawn as in `compute_multiplier`.
    ValueError as there.
    """
    points = np.asarray(curve_points, dtype=float).reshape(-1, 2)
    curve = fit_curve(points[:, 0], points[:, 1])
    cap = float(np.log2(REACH * curve.max_flops / flops))
    if cap <= 0:
        raise ValueError(
            f"the curve ends at {curve.max_flops:.3g} FLOPs, too far below {flops:.3g} to be read"
        )
    found = np.asarray(values, dtype=float)
    centred = found - found.mean(axis=1, keepdims=True)
    over = centred - centred[:, reference].mean()
    removable = float(curve.loss(flops) - curve.floor)
    cells = np.clip(log2_cm_of(over, removable, curve.alpha), -FINITE, cap)
    left, alpha = draw_curves(curve, points, flops, DRAWS, np.random.default_rng(0))
    drawn = log2_cm_of(over.mean(axis=0), left[:, None], alpha[:, None])
    bounded = tuple(int(cell) for cell in np.flatnonzero((cells >= cap).any(axis=0)))
    return ComputeScale(cells, np.clip(drawn, -FINITE, cap), bounded)
