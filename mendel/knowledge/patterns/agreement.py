"""Whether columns rank runs alike: another metric, the same recipes at another scale, a curve's start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.stats import kendalltau, norm

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.factors import Factor
from mendel.knowledge.patterns.units import first_part

LEAST = 12
"""Units from which ranks are compared."""
BEST = 0.1
"""Share of the runs that end best, of which it is said how many an early look would keep."""
SCALES = 12
"""Settings of a scale up to which it is a ladder."""


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau of two rankings, tested on the second part in the direction of the first."""

    kind: str
    columns: tuple[str, ...]
    what: str
    tau: float
    p: float
    count: int
    more: str = ""
    """What else is said of it."""


def ranked(
    kind: str, columns: Sequence[str], what: str, x: Floats, y: Floats, first: np.ndarray
) -> Agreement | None:
    """Of x and y (units,), NaN where there is nothing. None where too few have both, or one never differs."""
    known = np.isfinite(x) & np.isfinite(y)
    here, there = known & first, known & ~first
    if here.sum() < LEAST / 2 or there.sum() < LEAST / 2 or known.sum() < LEAST:
        return None
    if not all(one[part].std() > 0 for one in (x, y) for part in (here, there)):
        return None
    sign = float(np.sign(kendalltau(x[here], y[here]).statistic)) or 1.0
    found = kendalltau(x[there], y[there], alternative="greater" if sign > 0 else "less")
    count = int(there.sum())
    return Agreement(kind, tuple(columns), what, float(found.statistic), float(found.pvalue), count)


def tau_interval(tau: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """By Fisher's z with the variance of Fieller, Hartley & Pearson (1957), 0.437 / (n - 4)."""
    half = float(norm.ppf((1 + level) / 2)) * (0.437 / max(count - 4, 1)) ** 0.5
    z = float(np.arctanh(np.clip(tau, -0.999999, 0.999999)))
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def between_metrics(
    target: Floats, measured: Mapping[str, Floats], first: np.ndarray, name: str
) -> Iterator[Agreement]:
    """Every other metric beside the target; all (units,)."""
    for column, values in measured.items():
        found = ranked("agreement", (column, name), f"{column} and {name}", values, target, first)
        if found:
            yield found


def early(
    target: Floats, at: Mapping[str, Floats], first: np.ndarray, name: str, higher: bool
) -> Iterator[Agreement]:
    """Values (units,) that curves had reached at parts of their way, beside the end."""
    sign = -1.0 if higher else 1.0
    for column, values in at.items():
        found = ranked("early", (column, name), f"{column} and {name}", values, target, first)
        if not found:
            continue
        known = np.isfinite(values) & ~first
        x, y = sign * values[known], sign * target[known]
        best = y <= np.quantile(y, BEST)
        kept = int((best & (x <= np.median(x))).sum())
        more = f"; the better half then has {kept} of the {int(best.sum())} that end best"
        yield replace(found, more=more)


def between_scales(
    target: Floats, factors: Sequence[Factor], scales: Sequence[str], name: str
) -> Iterator[Agreement]:
    """The same settings of all other knobs at neighbouring scales, and at the two ends."""
    for place, scale in enumerate(factors):
        values = np.unique(scale.codes)
        if scale.name not in scales or not 2 <= len(values) <= SCALES:
            continue
        rest = [one for number, one in enumerate(factors) if number != place]
        codes = np.stack([one.codes for one in rest], axis=1) if rest else np.zeros((len(target), 0))
        keys = [row.tobytes() for row in codes + 0.0]
        at: dict[bytes, dict[float, float]] = {}
        for key, code, value in zip(keys, scale.codes.tolist(), target.tolist(), strict=True):
            at.setdefault(key, {})[code] = value
        ends = [(float(values[0]), float(values[-1]))] if len(values) > 2 else []
        for small, large in [*((float(a), float(b)) for a, b in pairwise(values)), *ends]:
            both = [key for key, found in at.items() if small in found and large in found]
            if not both:
                continue
            x, y = (np.array([at[key][code] for key in both]) for code in (small, large))
            what = f"{name} at {scale.name}={scale.setting(small)} and at {scale.setting(large)}"
            found = ranked("scales", (scale.name, name), what, x, y, first_part(both))
            if found:
                yield found
