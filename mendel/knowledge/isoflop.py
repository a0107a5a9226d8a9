"""isoFLOP minima: at each compute the model size of the lowest loss, and how it grows with compute.

Within a compute the log loss is interpolated over log n (Akima 1970, which follows points without
overshooting and assumes no parabola); a minimum at an end of the sizes that were tried is no minimum and is
left out. The exponent is that of a line through log n* against log C. Its interval is from losses with their
noise drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from mendel.knowledge.fits import Floats

GRID = 25
"""Points between two sizes at which the interpolated loss is looked up."""
APART = 0.05
"""log C apart from which on two runs are of different computes: some budgets are met nearly."""
LEAST_SIZES = 4
"""Sizes at a compute, for a minimum with others on both sides."""
LEAST_BUDGETS = 3
DRAWS = 1000
LEAST_INSIDE = 0.5
"""Share of the draws that must have a minimum inside, or the compute is left out of the draws' fits."""


@dataclass(frozen=True)
class Minimum:
    """The optimum at one compute, FLOPs."""

    compute: float
    size: float
    loss: float
    sizes: int
    inside: bool
    """Whether larger and smaller models were tried and did worse."""


@dataclass(frozen=True)
class Growth:
    """n* = coefficient C^exponent."""

    exponent: float
    coefficient: float
    se: float
    low: float
    high: float
    noise: float
    """Relative noise of a loss that was drawn."""
    minima: tuple[Minimum, ...]


def growth(compute: Floats, size: Floats, loss: Floats, noise: float | None = None, seed: int = 0) -> Growth:
    """Fit minima to runs, each (runs,). `noise`: sd of a loss from seed to seed, relative; measured by how
    far losses lie from their neighbours' where it is not given. ValueError: too few minima are inside."""
    for name, values in (("c", compute), ("n", size), ("loss", loss)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name}: must be a number above 0 in every row")
    if noise is not None and not 0 < noise < 1:
        raise ValueError(f"--noise {noise:g}: must be between 0 and 1, such as 0.005")
    groups = [lowest(size[g], loss[g]) for g in budgets(compute)]
    centres = [float(np.exp(np.log(compute[g]).mean())) for g in budgets(compute)]
    used = [(c, g) for c, g in zip(centres, groups, strict=True) if len(g[0]) >= LEAST_SIZES]
    minima = tuple(_minimum(c, *g) for c, g in used)
    inside = [one for one in minima if one.inside]
    if len(inside) < LEAST_BUDGETS:
        raise ValueError(
            f"{len(inside)} of {len(groups)} computes have a minimum with larger and smaller models beside "
            f"it; an exponent takes {LEAST_BUDGETS}"
        )
    exponent, level = _line([one.compute for one in inside], [one.size for one in inside])
    sd = roughness([g for _, g in used]) if noise is None else noise
    if not sd:
        raise ValueError("too few sizes at each compute to measure the noise of a loss: give --noise")
    rng = np.random.default_rng(seed)
    drawn = _drawn([(c, g) for (c, g), one in zip(used, minima, strict=True) if one.inside], sd, rng)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Growth(
        exponent,
        float(np.exp(level)),
        float(drawn.std(ddof=1)),
        float(min(low, exponent)),
        float(max(high, exponent)),
        sd,
        minima,
    )


def budgets(compute: Floats) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Places of the runs of each compute, from small to large."""
    order = np.argsort(compute, kind="stable")
    cuts = np.flatnonzero(np.diff(np.log(compute[order])) > APART) + 1
    return list(np.split(order, cuts))


def roughness(groups: list[tuple[Floats, Floats]]) -> float:
    """Noise of a log loss, from how far each lies from the parabola through its four neighbours in log size:
    the median, so that bends of the curve itself count little."""
    ratios = []
    squares, freedom = 0.0, 0
    for size, loss in groups:
        x, y = np.log(size), np.log(loss)
        for place in range(2, len(x) - 2):
            near = [place - 2, place - 1, place + 1, place + 2]
            basis = np.vander(x[near] - x[place], 3)
            weights = np.linalg.pinv(basis)[2]  # of the neighbours, in the parabola's value here
            ratios.append(abs(y[place] - weights @ y[near]) / (1 + weights @ weights) ** 0.5)
        if len(x) > 3:
            left = y - np.polyval(np.polyfit(x - x.mean(), y, 2), x - x.mean())
            squares, freedom = squares + float(left @ left), freedom + len(x) - 3
    if ratios:
        return float(np.median(ratios)) / 0.6745
    return (squares / freedom) ** 0.5 if freedom else 0.0  # few sizes: from the parabola through them all


def lowest(size: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """The best run of each size, by size."""
    sizes, place = np.unique(size, return_inverse=True)
    best = np.full(len(sizes), np.inf)
    np.minimum.at(best, place, loss)
    return sizes, best


def _minimum(compute: float, size: Floats, loss: Floats) -> Minimum:
    place, value, inside = _best(np.log(size), np.log(loss))
    return Minimum(compute, float(np.exp(place)), float(np.exp(value)), len(size), inside)


def _best(x: Floats, y: Floats) -> tuple[float, float, bool]:
    grid = np.linspace(x[0], x[-1], GRID * (len(x) - 1))
    curve = Akima1DInterpolator(x, y)(grid)
    at = int(curve.argmin())
    return float(grid[at]), float(curve[at]), 0 < at < len(grid) - 1


def _line(compute: list[float], size: list[float]) -> tuple[float, float]:
    slope, level = np.polyfit(np.log(compute), np.log(size), 1)
    return float(slope), float(level)


def _drawn(
    groups: list[tuple[float, tuple[Floats, Floats]]], noise: float, rng: np.random.Generator
) -> Floats:
    """Exponents of losses with other noise (draws,), computes drawn with replacement: noise is of a run, and
    how far the minima scatter about a line is of the law."""
    found = np.full((DRAWS, len(groups)), np.nan)
    for column, (_, (size, loss)) in enumerate(groups):
        x, y = np.log(size), np.log(loss)
        for draw in range(DRAWS):
            place, _, inside = _best(x, y + noise * rng.standard_normal(len(x)))
            found[draw, column] = place if inside else np.nan
    steady = np.isfinite(found).mean(axis=0) >= LEAST_INSIDE
    logs = np.log([compute for compute, _ in groups])[steady]
    found = found[:, steady]
    exponents = []
    for row in found:
        chosen = rng.integers(0, len(logs), len(logs))
        chosen = chosen[np.isfinite(row[chosen])]
        if len(np.unique(logs[chosen])) >= 2:
            exponents.append(float(np.polyfit(logs[chosen], row[chosen], 1)[0]))
    if len(exponents) < DRAWS / 2:
        raise ValueError("with its noise, most draws have no minimum at two computes: no exponent shows")
    return np.array(exponents)
