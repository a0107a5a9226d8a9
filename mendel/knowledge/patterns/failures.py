"""Which runs fail: rules found on one part of the settings and tested on the other.

A rule is a corner of the table: one knob beyond a value or at a level, two of them together, or the product
or quotient of two positive numbers beyond one (learning rate times width, say). It is chosen by likelihood,
one after the other: the settings that a rule takes are gone before the next is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import xlogy
from scipy.stats import fisher_exact, norm

from mendel.knowledge.fits import Floats, Ints
from mendel.knowledge.patterns.factors import Factor
from mendel.knowledge.patterns.linear import basis, test_feature
from mendel.knowledge.patterns.shapes import smooth
from mendel.knowledge.patterns.units import first_part
from mendel.knowledge.significance import permuted

LEAST = 8
"""Failures below which no rule is looked for."""
RULES = 3
BINS = 12
KNOBS = 12
"""Knobs of which pairs are looked at: those that tell most of failures alone."""
ALONE, PAIR = 9.0, 12.0
"""Twice the log likelihood that a rule has to bring, and that its second knob has to: more than the best of
as many useless ones brings by luck, nearly always."""
POWERS = ((1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (1.0, -1.0), (-1.0, 1.0))
NEEDED = 0.05
"""p on the second part that a rule's knob has to have beside the other one."""


@dataclass(frozen=True)
class Rule:
    """A corner of the table: `holds(factors)` is True inside (settings,)."""

    knobs: tuple[int, ...]
    holds: Callable[[Sequence[Factor]], np.ndarray]
    words: str
    where: tuple[str, ...]
    """The same as a condition on rows of the table; none for products."""
    gain: float
    """Twice the log likelihood that it brings on the first part."""


@dataclass(frozen=True)
class Settings:
    """Settings with how many of their runs failed."""

    factors: tuple[Factor, ...]
    failed: Floats
    runs: Floats
    first: np.ndarray

    @classmethod
    def of(cls, factors: Sequence[Factor], keys: Sequence[bytes], cell: Ints, failed: np.ndarray) -> Settings:
        """`keys` and `cell` (runs,) as `units.settings` gives them; `failed` (runs,)."""
        _, first_row, counts = np.unique(cell, return_index=True, return_counts=True)
        lost = np.bincount(cell, weights=failed.astype(float))
        part = first_part([keys[place] for place in first_row])
        taken = tuple(one.take(first_row) for one in factors)
        return cls(taken, np.asarray(lost), np.asarray(counts, dtype=float), part)

    def take(self, chosen: np.ndarray) -> Settings:
        places = np.flatnonzero(chosen)
        taken = tuple(one.take(places) for one in self.factors)
        return Settings(taken, self.failed[places], self.runs[places], self.first[places])

    @property
    def share(self) -> Floats:
        return np.asarray(self.failed / self.runs)


@dataclass(frozen=True)
class Failing:
    """A rule, and what the second part says of it."""

    rule: Rule
    p: float
    score: float
    """Squared correlation of the rule with failure there."""
    inside: float
    outside: float
    counts: tuple[int, int, int, int]
    """Failed and all, inside; failed and all, outside."""

    def interval(self, level: float) -> tuple[float, float]:
        """Of the difference of the two shares."""
        lost, runs, its_lost, its_runs = self.counts
        return newcombe(lost, runs, its_lost, its_runs, level) if runs and its_runs else (-1.0, 1.0)


def failing(settings: Settings) -> Iterator[Failing]:
    """Rules that the first part shows, tested on the second, the strongest first."""
    left = settings
    for _ in range(RULES):
        if left.failed[left.first].sum() < LEAST / 2 or left.failed[~left.first].sum() < LEAST / 4:
            return
        rule = _best(left.take(left.first), left.take(~left.first))
        if rule is None:
            return
        yield _tested(rule, left.take(~left.first))
        left = left.take(~rule.holds(left.factors))


def likelihood(failed: Floats, runs: Floats) -> Floats:
    """Log likelihood of shares at their best."""
    return np.asarray(
        xlogy(failed, failed / np.maximum(runs, 1)) + xlogy(runs - failed, 1 - failed / np.maximum(runs, 1))
    )


def _gain(inside_failed: Floats, inside: Floats, failed: float, runs: float) -> Floats:
    """What it brings to tell inside from outside, where inside fails more; else 0."""
    whole = float(likelihood(np.array(failed), np.array(runs)))
    brought = 2 * (
        likelihood(inside_failed, inside) + likelihood(failed - inside_failed, runs - inside) - whole
    )
    more = inside_failed * (runs - inside) > (failed - inside_failed) * inside
    return np.where(more & (inside > 0) & (inside < runs), brought, 0.0)


def _best(part: Settings, other: Settings) -> Rule | None:
    singles = [_single(part, knob) for knob in range(len(part.factors))]
    singles.sort(key=lambda one: -one.gain)
    if not singles:
        return None
    alone = singles[0]
    pair = max(
        _pairs(part, [one.knobs[0] for one in singles[:KNOBS]]), key=lambda one: one.gain, default=None
    )
    if pair and pair.gain > alone.gain + PAIR and _both_needed(pair, other):
        return pair
    return alone if alone.gain > ALONE else None


def _bins(factor: Factor) -> tuple[Ints, Floats]:
    """A bin for each setting, and the codes that part them (numbers), or the levels."""
    if factor.levels:
        return factor.codes.astype(int), np.arange(len(factor.levels), dtype=float)
    values = np.unique(factor.codes)
    middle = (values[1:] + values[:-1]) / 2
    if len(middle) > BINS:
        wanted = np.quantile(factor.codes, np.linspace(0, 1, BINS + 2)[1:-1])
        middle = np.unique(middle[np.clip(np.searchsorted(middle, wanted), 0, len(middle) - 1)])
    return np.searchsorted(middle, factor.codes), middle


Side = tuple[str, float]
"""How a knob bounds a corner: "above", "below", "is" or "not", and the code."""


def _sides(factor: Factor, edges: Floats) -> list[tuple[Side, np.ndarray]]:
    """Each corner of one knob with the bins inside."""
    if factor.levels:
        places = np.arange(len(edges))
        found: list[tuple[Side, np.ndarray]] = [(("is", float(one)), places == one) for one in places]
        return found + ([(("not", float(one)), places != one) for one in places] if len(places) > 2 else [])
    places = np.arange(len(edges) + 1)
    above: list[tuple[Side, np.ndarray]] = [(("above", float(e)), places > k) for k, e in enumerate(edges)]
    return above + [(("below", float(e)), places <= k) for k, e in enumerate(edges)]


def _inside(side: Side, codes: Floats) -> np.ndarray:
    how, edge = side
    tests = {"above": codes > edge, "below": codes <= edge, "is": codes == edge, "not": codes != edge}
    return np.asarray(tests[how])


def _said(side: Side, factor: Factor) -> str:
    how = {"above": ">", "below": "<=", "is": "=", "not": "!="}[side[0]]
    return f"{factor.name}{how}{factor.setting(side[1])}"


def _single(part: Settings, knob: int) -> Rule:
    factor = part.factors[knob]
    if factor.is_number:
        options = [_cut(part, factor.codes, sign) for sign in (1.0, -1.0)]
        gain, edge, sign = max((*one, sign) for one, sign in zip(options, (1.0, -1.0), strict=True))
        side: Side = ("above", edge) if sign > 0 else ("below", -edge)
    else:
        bins, edges = _bins(factor)
        lost, runs = (
            np.bincount(bins, weights=one, minlength=len(edges)) for one in (part.failed, part.runs)
        )
        sides = _sides(factor, edges)
        mask = np.array([inside for _, inside in sides], dtype=float)
        gains = _gain(mask @ lost, mask @ runs, float(lost.sum()), float(runs.sum()))
        side, gain = sides[int(np.argmax(gains))][0], float(gains.max())
    said = _said(side, factor)
    return Rule((knob,), lambda factors: _inside(side, factors[knob].codes), said, (said,), gain)


def _cut(part: Settings, values: Floats, sign: float = 1.0) -> tuple[float, float]:
    """The gain of the best value (times a sign) above which settings fail more, and that value."""
    v = sign * values
    order = np.argsort(v, kind="stable")
    lost, runs = part.failed[order].cumsum(), part.runs[order].cumsum()
    gains = _gain(lost[-1] - lost, runs[-1] - runs, float(lost[-1]), float(runs[-1]))
    gains[:-1][v[order][1:] <= v[order][:-1]] = 0.0  # a cut lies between two values
    best = int(np.argmax(gains))
    return float(gains[best]), float((v[order][best] + v[order][min(best + 1, len(v) - 1)]) / 2)


def _pairs(part: Settings, knobs: Sequence[int]) -> Iterator[Rule]:
    varied = [knob for knob in knobs if np.ptp(part.factors[knob].codes) > 0]
    binned = {knob: _bins(part.factors[knob]) for knob in varied}
    for a, b in combinations(sorted(varied), 2):
        yield _corner(part, a, b, binned)
        if all(_positive(part.factors[knob]) for knob in (a, b)):
            yield from (_power(part, a, b, powers) for powers in POWERS)


def _corner(part: Settings, a: int, b: int, binned: dict[int, tuple[Ints, Floats]]) -> Rule:
    one, other = part.factors[a], part.factors[b]
    (bins, edges), (its_bins, its_edges) = binned[a], binned[b]
    sides, its_sides = _sides(one, edges), _sides(other, its_edges)
    rows, columns = len(sides[0][1]), len(its_sides[0][1])
    flat = bins * columns + its_bins
    x, y = (np.array([inside for _, inside in some], dtype=float) for some in (sides, its_sides))
    tables = [np.bincount(flat, weights=w, minlength=rows * columns) for w in (part.failed, part.runs)]
    lost, runs = (x @ table.reshape(rows, columns) @ y.T for table in tables)
    gains = _gain(lost, runs, float(part.failed.sum()), float(part.runs.sum()))
    first, second = np.unravel_index(int(np.argmax(gains)), gains.shape)
    side, its = sides[int(first)][0], its_sides[int(second)][0]
    words = f"{_said(side, one)} and {_said(its, other)}"
    return Rule(
        (a, b),
        lambda factors: _inside(side, factors[a].codes) & _inside(its, factors[b].codes),
        words,
        (words,),
        float(gains.max()),
    )


def _positive(factor: Factor) -> bool:
    return factor.is_number and (
        factor.scale == "log" or (factor.scale == "linear" and factor.codes.min() > 0)
    )


def _logs(factor: Factor) -> Floats:
    return factor.codes if factor.scale == "log" else np.log2(np.maximum(factor.codes, 1e-300))


def _power(part: Settings, a: int, b: int, powers: tuple[float, float]) -> Rule:
    def value(factors: Sequence[Factor]) -> Floats:
        return np.asarray(powers[0] * _logs(factors[a]) + powers[1] * _logs(factors[b]))

    gain, cut = _cut(part, value(part.factors))
    words = f"{_term(part.factors[a], part.factors[b], powers)}>{2.0**cut:.3g}"
    return Rule((a, b), lambda factors: value(factors) > cut, words, (), gain)


def _term(a: Factor, b: Factor, powers: tuple[float, float]) -> str:
    def raised(factor: Factor, power: float) -> str:
        return factor.name if abs(power) == 1 else f"{factor.name}^{abs(power):g}"

    if powers[0] < 0:
        return f"{raised(b, powers[1])}/{raised(a, powers[0])}"
    return f"{raised(a, powers[0])}{'/' if powers[1] < 0 else '*'}{raised(b, powers[1])}"


def _both_needed(rule: Rule, part: Settings) -> bool:
    """Whether on the second part the corner tells more than either knob by itself."""
    inside = rule.holds(part.factors).astype(float)
    ones = np.ones((len(inside), 1))
    for knob in rule.knobs:
        taken = basis(np.concatenate([ones, smooth(part.factors[knob], 4)], axis=1))
        if test_feature(part.share, inside, taken).p > NEEDED:
            return False
    return True


def _tested(rule: Rule, part: Settings) -> Failing:
    inside = rule.holds(part.factors)
    lost, runs = float(part.failed[inside].sum()), float(part.runs[inside].sum())
    its_lost, its_runs = float(part.failed[~inside].sum()), float(part.runs[~inside].sum())
    if not runs or not its_runs:
        return Failing(rule, 1.0, 0.0, 0.0, 0.0, (0, int(runs), int(its_lost), int(its_runs)))
    here, there = lost / runs, its_lost / its_runs
    if part.runs.max() == 1:
        p = float(fisher_exact([[lost, runs - lost], [its_lost, its_runs - its_lost]], "greater").pvalue)
    else:  # runs of one setting fail together: settings are what is shuffled
        p = permuted(part.share[inside], part.share[~inside]) / 2 if here > there else 1.0
    spread = float(inside.std()) * float(part.share.std())
    r = float(np.corrcoef(inside, part.share)[0, 1]) if spread > 0 else 0.0
    counts = (int(lost), int(runs), int(its_lost), int(its_runs))
    return Failing(rule, p, r * abs(r), here, there, counts)


def newcombe(a: float, n: float, b: float, m: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a / n - b / m from Wilson's of each (Newcombe 1998, method 10)."""
    z = float(norm.ppf((1 + level) / 2))

    def wilson(k: float, of: float) -> tuple[float, float]:
        middle, half = k + z * z / 2, z * (k * (1 - k / of) + z * z / 4) ** 0.5
        return (middle - half) / (of + z * z), (middle + half) / (of + z * z)

    (l1, u1), (l2, u2), d = wilson(a, n), wilson(b, m), a / n - b / m
    return d - ((a / n - l1) ** 2 + (u2 - b / m) ** 2) ** 0.5, d + (
        (u1 - a / n) ** 2 + (b / m - l2) ** 2
    ) ** 0.5
