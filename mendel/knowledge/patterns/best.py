"""Settings that the best runs never have: what does not work, whatever else is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.factors import Factor
from mendel.knowledge.patterns.failures import newcombe

BEST = 0.1
"""Share of the units that count as the best."""
EXPECTED = 3.0
"""Best ones that a setting as good as any would have on the first part; with fewer, none is no news."""


@dataclass(frozen=True)
class Never:
    """A setting without best units on the first part, and how many the second has there."""

    knob: int
    where: str
    found: int
    """Of the best units of the second part, those with the setting."""
    inside: int
    expected: float
    p: float
    score: float
    best: int
    units: int
    """The best ones, and all, of the second part."""

    @property
    def effect(self) -> float:
        """Share of the best ones there less that elsewhere."""
        return self.found / self.inside - (self.best - self.found) / (self.units - self.inside)

    def interval(self, level: float) -> tuple[float, float]:
        return newcombe(self.found, self.inside, self.best - self.found, self.units - self.inside, level)


Beside = Callable[[int, np.ndarray, np.ndarray], float]
"""p of (knob, inside, best) on the second part beside all other knobs."""


def never(
    target: Floats, factors: Sequence[Factor], first: np.ndarray, higher: bool, beside: Beside | None = None
) -> Iterator[Never]:
    """For each knob the most frequent setting (a level, an end of a number) that no best unit of the first
    part has."""
    order = -target if higher else target
    best = order <= np.quantile(order, BEST)
    for knob, factor in enumerate(factors):
        options = [
            (float(mask[first].sum()), where, mask)
            for where, mask in _settings(factor, best & first)
            if not (mask & best & first).any()
        ]
        size, where, mask = max(options, key=lambda one: one[0], default=(0.0, "", best))
        if size * float(best[first].mean()) >= EXPECTED:
            yield from _tested(knob, where, mask[~first], best[~first], beside)


def _settings(factor: Factor, best: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    codes = factor.codes
    if factor.levels:
        for code, level in enumerate(factor.levels):
            yield f"{factor.name}={level}", codes == code
    elif best.any():
        low, high = float(codes[best].min()), float(codes[best].max())
        yield f"{factor.name}<{factor.setting(low)}", codes < low
        yield f"{factor.name}>{factor.setting(high)}", codes > high


def _tested(
    knob: int, where: str, inside: np.ndarray, best: np.ndarray, beside: Beside | None
) -> Iterator[Never]:
    n, k, m, found = len(best), int(best.sum()), int(inside.sum()), int((inside & best).sum())
    if not (0 < m < n and k):
        return
    p = float(hypergeom.cdf(found, n, k, m))
    if beside is not None:  # or it is another knob that keeps the best away, or a campaign
        p = max(p, beside(knob, inside, best))
    r = float(np.corrcoef(inside, best)[0, 1])
    yield Never(knob, where, found, m, k * m / n, p, -r * abs(r), k, n)
