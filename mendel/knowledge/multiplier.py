"""The compute multiplier of a recipe over another against scale, from runs at several computes.

The baseline's losses are laid a curve through, L(C) = E + A C^-alpha, one for each size where sizes are
given. At each run of another recipe the curve says how much compute the baseline needs for that loss; that
over what the run took is the multiplier. Beyond REACH times what was measured of the baseline nothing is
read: there the multiplier is a bound.

Two errors are in a trend of log2 multipliers. That of the curve is common to all runs, and drawn by fitting
it again to other draws of the baseline's losses; that of the runs, with whatever makes them differ besides,
is how far they lie from the trend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from mendel.knowledge.cells import cells
from mendel.knowledge.fits import Floats
from mendel.verdicts.curve import REACH, ScalingCurve, fit_batch, fit_curve

LEVEL = 0.95
DRAWS = 400
LEAST_BUDGETS = 3
"""Computes of the baseline that a curve with a floor takes."""
LEAST_TREND = 3
"""Multipliers, bounds not counted, that a trend takes."""
CUT = 16.0
"""log2 multiplier beyond which a draw is cut: a drawn curve may be flat."""


@dataclass(frozen=True)
class Cell:
    """A recipe at one compute, and one size where there are several: the mean of its runs."""

    size: float
    """NaN where no sizes are given."""
    compute: float
    loss: float
    runs: int
    log2_cm: float
    low: float
    high: float
    bound: str = ""
    """">=" or "<=" where the curve does not reach so far."""
    drawn: Floats | None = None
    """log2 multipliers by draws of the baseline's curve alone."""


@dataclass(frozen=True)
class Trend:
    """log2 CM = level + slope (log10 C - centre)."""

    level: float
    level_half: float
    slope: float
    half: float
    """Half the width of its interval."""
    centre: float
    cells: int

    def at(self, compute: float) -> float:
        return self.level + self.slope * (math.log10(compute) - self.centre)


@dataclass(frozen=True)
class Baseline:
    """Curves of the baseline by size, and what its losses lie from them."""

    curves: Mapping[float, ScalingCurve]
    drawn: Mapping[float, tuple[Floats, Floats, Floats]]
    """Floor, scale and exponent of each draw."""
    least: Mapping[float, float]
    """Smallest compute that was measured."""
    noise: float
    """Relative, of a single run."""
    freedom: int

    def needed(self, size: float, loss: float) -> float:
        """Compute at which the baseline has a loss."""
        return float(self.curves[size].flops_for(loss))

    def needed_by_draws(self, size: float, loss: float | Floats) -> Floats:
        floor, scale, alpha = self.drawn[size]
        above = np.asarray(loss) - floor
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            c = self.curves[size].reference * (scale / np.maximum(above, 1e-300)) ** (1 / alpha)
        return np.where(above > 0, np.maximum(c, 1e-300), np.inf)


def baseline_of(size: Floats, compute: Floats, loss: Floats, noise: float | None, seed: int) -> Baseline:
    """Curves through the baseline's runs, each (runs,); `size` is NaN throughout where none are given.
    ValueError where no size has enough computes."""
    curves, least, parts = {}, {}, {}
    most = 0
    for places in _by_size(size):
        count = len(np.unique(compute[places]))
        most = max(most, count)
        if count < LEAST_BUDGETS:
            continue
        key = float(size[places][0])
        curves[key] = fit_curve(compute[places], loss[places])
        parts[key] = compute[places], loss[places]
        least[key] = float(compute[places].min())
    if not curves:
        raise ValueError(
            f"the baseline has {most} computes at most: a curve takes {LEAST_BUDGETS} (of each size)"
        )
    squares = freedom = 0.0
    for key, (c, y) in parts.items():
        squares += float(((y / curves[key].loss(c) - 1) ** 2).sum())
        freedom += len(c) - 3
    if noise is None:
        if freedom < 1:
            raise ValueError(
                f"the baseline has as many runs as its curve has parameters: give --noise, or more than "
                f"{LEAST_BUDGETS} runs of a size"
            )
        noise, left = (squares / freedom) ** 0.5, int(freedom)
    else:
        left = 10**6
    rng = np.random.default_rng(seed)
    drawn = {key: _draws(curves[key], c, noise, left, rng) for key, (c, _) in parts.items()}
    return Baseline(curves, drawn, least, noise, left)


def _by_size(size: Floats) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    if np.isnan(size).all():
        return [np.arange(len(size))]
    return list(cells([size]))


def _draws(
    curve: ScalingCurve, compute: Floats, noise: float, freedom: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Curves through other draws of the losses: normal noise, whose size is as unsure as its freedom says."""
    middle = curve.loss(compute)
    scale = noise * np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, 1)))
    losses = middle * (1 + scale * rng.standard_normal((DRAWS, len(compute))))
    return fit_batch(compute / curve.reference, losses, 1 / middle**2, curve.form == "floor")


def multipliers(base: Baseline, size: Floats, compute: Floats, loss: Floats, seed: int = 0) -> list[Cell]:
    """The multiplier of each cell of a recipe; sizes that the baseline has no curve of are left out."""
    sizes = np.full(len(size), np.nan)
    known = np.array(list(base.curves))
    for place, one in enumerate(size):
        if not np.isnan(one):
            near = known[np.argmin(np.abs(np.log(known / one)))]
            sizes[place] = near if abs(math.log(near / one)) < 0.05 else -1.0
    found = []
    rng = np.random.default_rng(seed)
    every = [np.nan_to_num(sizes, nan=1.0) + 2.0, compute]  # those without a curve are a size of their own
    for places in cells(every):
        key = float(sizes[places][0])
        if key == -1.0:
            continue
        key = next(iter(base.curves)) if math.isnan(key) else key
        found.append(_cell(base, key, size[places], compute[places], loss[places], rng))
    return found


def _cell(
    base: Baseline, key: float, size: Floats, compute: Floats, loss: Floats, rng: np.random.Generator
) -> Cell:
    c, y, runs = float(np.exp(np.log(compute).mean())), float(loss.mean()), len(loss)
    ends = base.least[key] / REACH, base.curves[key].max_flops * REACH
    needed = base.needed(key, y)
    bound = ">=" if needed > ends[1] else "<=" if needed < ends[0] else ""
    needed = min(max(needed, ends[0]), ends[1])
    cut = (math.log2(c) - CUT, math.log2(c) + CUT)
    by_curve = np.clip(np.log2(base.needed_by_draws(key, y)), *cut) - math.log2(c)
    noise = base.noise * y / runs**0.5 * rng.standard_t(base.freedom, DRAWS)
    both = np.clip(np.log2(base.needed_by_draws(key, y + noise)), *cut) - math.log2(c)
    low, high = np.quantile(both, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = math.log2(needed / c)
    if bound == ">=":
        high = math.inf
    if bound == "<=":
        low = -math.inf
    return Cell(float(size[0]), c, y, runs, value, min(float(low), value), max(float(high), value), bound,
                by_curve)  # fmt: skip


def trend_of(found: Sequence[Cell]) -> Trend | None:
    """The trend of multipliers that are no bounds; None for too few, or computes that hardly differ."""
    told = [one for one in found if not one.bound]
    if len(told) < LEAST_TREND:
        return None
    x = np.log10([one.compute for one in told])
    if np.ptp(x) < math.log10(2):
        return None
    y, centre = np.array([one.log2_cm for one in told]), float(x.mean())
    basis = np.column_stack([np.ones(len(x)), x - centre])
    pull = np.linalg.pinv(basis)
    level, slope = map(float, pull @ y)
    left = y - basis @ np.array([level, slope])
    freedom = len(x) - 2
    own = float(left @ left) / freedom * np.linalg.inv(basis.T @ basis)
    shared = np.cov(pull @ np.array([one.drawn for one in told]))
    total = own + shared
    quantile = float(t.ppf((1 + LEVEL) / 2, freedom))
    halves = quantile * np.sqrt(np.diag(total))
    return Trend(level, float(halves[0]), slope, float(halves[1]), centre, len(told))
