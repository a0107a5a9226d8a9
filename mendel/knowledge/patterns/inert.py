"""Knobs that do nothing: by how little they can do, or because results do not change in the last digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, ncf

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.factors import Factor
from mendel.knowledge.patterns.linear import basis, free_of, pseudo_values
from mendel.knowledge.patterns.search import Part

SMALL = 0.05
"""Share of the results' variance below which a knob counts as inert."""
LEVEL = 0.95
CLEAR = 500.0
"""Noncentrality from which a bound need not be exact."""
MOST = 0.98
"""Share of such pairs that have to be equal."""
RARE = 0.001
COPIES = 3
"""Pairs of runs that differ in one knob alone and have equal results: more of them are no luck."""


@dataclass(frozen=True)
class Share:
    """How much of the variance of the results a knob can make at most."""

    name: str
    share: float
    low: float
    high: float
    """One-sided 95 % bound, beside all other knobs."""
    most: float
    """The same as a difference of the target between two settings that are as frequent."""


def shares(part: Part, factors: Sequence[Factor]) -> list[Share]:
    """Of each knob, on all units: what it alone explains, and the most that it may."""
    whole = part.others(None)
    y, _ = pseudo_values(part.target, whole)
    total = float((free_of(basis(part.ground), y) ** 2).sum())
    left = float((free_of(whole, y) ** 2).sum())
    degrees = len(y) - whole.shape[1]
    found = []
    for place, factor in enumerate(factors):
        q = part.others(place)
        k = whole.shape[1] - q.shape[1]
        if k < 1 or degrees < 2 or left <= 0 or total <= 0:
            found.append(Share(factor.name, 0.0, 0.0, 1.0, float("inf")))
            continue
        told = float((free_of(q, y) ** 2).sum()) - left
        size = upper_noncentrality(told / k / (left / degrees), k, degrees) * left / degrees
        most = 2 * (size / len(y)) ** 0.5
        found.append(Share(factor.name, told / total, 0.0, min(1.0, size / total), most))
    return found


def upper_noncentrality(f: float, k: int, degrees: int, level: float = LEVEL) -> float:
    """The largest noncentrality of F(k, degrees) that an F as small as `f` leaves possible (Steiger 2004)."""
    if k * f > CLEAR:  # far from inert: no more than its size is of interest
        return float(k * f + 4 * (k * f) ** 0.5)
    f = max(f, 1.0)  # an F below its mean is luck, and bounds no better

    def gap(size: float) -> float:
        return float(ncf.cdf(f, k, degrees, size)) - (1 - level)

    high = 10.0 + 3 * k * f
    while gap(high) > 0:
        high *= 2
    return float(brentq(gap, 0.0, high, xtol=1e-3))


def copies(target: Floats, factors: Sequence[Factor]) -> dict[str, tuple[int, int]]:
    """Knob -> pairs of neighbouring settings that differ in it alone with results equal to the last digit,
    and all such pairs: for each of `factors`, over target (runs,)."""
    rng = np.random.default_rng(0)
    marks = np.zeros((len(factors), len(target)), dtype=np.uint64)
    for place, factor in enumerate(factors):
        _, code = np.unique(factor.codes, return_inverse=True)
        marks[place] = rng.integers(0, 2**63, int(code.max()) + 1, dtype=np.uint64)[code]
    counts = np.unique(target, return_counts=True)[1]
    luck = float(((counts / len(target)) ** 2).sum())  # that two runs have equal results, whatever they set
    whole = marks.sum(axis=0)  # modulo 2**64: settings are equal where their sums are
    found = {}
    for place, factor in enumerate(factors):
        rest = whole - marks[place]
        order = np.lexsort((factor.codes, rest))
        a, b = order[:-1], order[1:]
        pair = (rest[a] == rest[b]) & (factor.codes[a] != factor.codes[b])
        pairs, same = int(pair.sum()), int((pair & (target[a] == target[b])).sum())
        if same >= max(COPIES, MOST * pairs) and float(binom.sf(same - 1, pairs, luck)) < RARE:
            found[factor.name] = (same, pairs)
    return found
