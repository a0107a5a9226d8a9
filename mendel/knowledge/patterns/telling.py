"""A hypothesis that held, as one JSON object: words, numbers, its runs, and what could refute it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.agreement import Agreement, tau_interval
from mendel.knowledge.patterns.best import Never
from mendel.knowledge.patterns.experiment import refute_failure, refute_main, refute_pair
from mendel.knowledge.patterns.factors import Factor, short
from mendel.knowledge.patterns.failures import Failing
from mendel.knowledge.patterns.linear import free_of
from mendel.knowledge.patterns.search import Found, Search
from mendel.knowledge.patterns.shapes import Levels, Product, Shape, Step
from mendel.knowledge.patterns.units import Units
from mendel.knowledge.patterns.words import (
    agreement_words,
    failure_words,
    main_words,
    never_words,
    pair_words,
)

NIL = 0.25
"""Share of the larger effect below which that on the other side of a value counts as none."""
CELLS = 4
"""Pairs of settings that differ in one knob alone from which it is said in how many it helps."""
SHOWN = 1000
"""Points of a figure."""


@dataclass(frozen=True)
class Tried:
    """A hypothesis that the second part tested."""

    kind: str
    columns: tuple[str, ...]
    p: float
    """Two-sided."""
    score: float
    made_of: Found | Failing | Agreement | Never
    what: str = ""


@dataclass(frozen=True)
class Teller:
    """What every pattern is told with."""

    units: Units
    search: Search | None
    pairs: Sequence[Found]
    target: str
    level: float
    """Of intervals."""
    cheap: dict[str, str]
    """The smallest setting of each scale."""
    higher: bool
    points: bool = False
    """Whether what a figure shows is told, too."""

    def tell(self, tried: Tried, q: float) -> dict[str, Any]:
        """kind, columns, statement, effect with its interval, test_score, p, q, where, refute."""
        one = tried.made_of
        if isinstance(one, Found):
            about = self._effect(tried.kind, one)
        elif isinstance(one, Failing):
            about = {
                "statement": failure_words(one, tried.what), "effect": one.inside - one.outside,
                "rule": one.rule.words, "where": list(one.rule.where),
                "refute": refute_failure(one.rule.words, one.inside, self.cheap),
                "rates": {"inside": list(one.counts[:2]), "outside": list(one.counts[2:])},
            }  # fmt: skip
            about["low"], about["high"] = one.interval(self.level)
        elif isinstance(one, Never):
            low, high = one.interval(self.level)
            about = {"statement": never_words(one), "effect": one.effect, "low": low, "high": high,
                     "where": [one.where]}  # fmt: skip
        else:
            low, high = tau_interval(one.tau, one.count, self.level)
            words = agreement_words(one, low, high)
            about = {"statement": words, "effect": one.tau, "low": low, "high": high}
        scores = {"test_score": tried.score, "p": tried.p, "q": q}
        return {"kind": tried.kind, "columns": list(tried.columns), **about, **scores}

    def _effect(self, kind: str, one: Found) -> dict[str, Any]:
        search, factors = self.search, self.units.factors
        assert search is not None
        sd = self.units.noise if np.isfinite(self.units.noise) and self.units.noise > 0 else search.noise
        if kind == "main":
            bounds = search.interval(one, self.pairs, self.level)
            factor = factors[one.knobs[0]]
            words = main_words(one, factor, self.target, bounds) + self._in_cells(one, factor)
            about: dict[str, Any] = {"statement": words, "form": one.shape.form}
            refute = refute_main(one, factors, bounds[0], sd, self.cheap)
            better = refute["settings"][int((bounds[0] < 0) != self.higher)]
        else:
            one = search.named(one, self.pairs)
            bounds = search.interval(one, self.pairs, self.level)
            sides = search.sides(one, self.pairs, self.level)
            regime = is_regime(one, sides)
            words = pair_words(one, factors, self.target, bounds, sides, regime)
            step = isinstance(one.shape, Product) and isinstance(one.shape.other, Step)
            about = {
                "kind": "regime" if regime else "interaction",
                "columns": [factors[place].name for place in one.knobs],
                "statement": words,
                "form": "step" if step else "product",
            }
            refute = refute_pair(one, factors, bounds[0], sd, self.cheap)
            better = self._better(refute["settings"], bounds[0], sides)
        effect, low, high = bounds
        told = {**about, "effect": effect, "low": low, "high": high, "where": conditions(one, factors)}
        told |= {"try": better, "refute": refute}
        return {**told, "points": self._points(one)} if self.points else told

    def _better(
        self, settings: list[dict[str, str]], effect: float, sides: Sequence[tuple[float, float, float]]
    ) -> dict[str, str]:
        """Of two knobs at two settings each, the acting one's better setting where it acts most."""
        strong = int(abs(sides[1][0]) > abs(sides[0][0])) if sides else 1
        does = sides[strong][0] if sides else effect
        return settings[2 * strong + int((does < 0) != self.higher)]

    def _in_cells(self, one: Found, factor: Factor) -> str:
        """In how many pairs of settings that differ in this knob alone its level is the lower one."""
        if not isinstance(one.shape, Levels):
            return ""
        level = one.shape.level(one.estimate)
        rest = [other.codes for place, other in enumerate(self.units.factors) if place != one.knobs[0]]
        keys = [row.tobytes() for row in np.stack(rest, axis=1) + 0.0] if rest else [b""] * len(factor.codes)
        cells: dict[bytes, dict[bool, list[float]]] = {}
        for key, code, value in zip(keys, factor.codes.tolist(), self.units.target.tolist(), strict=True):
            cells.setdefault(key, {}).setdefault(code == level, []).append(value)
        both = [cell for cell in cells.values() if len(cell) == 2]
        gaps = [gap for cell in both if (gap := np.mean(cell[True]) - np.mean(cell[False]))]
        if len(gaps) < CELLS:
            return ""
        lower = sum(gap < 0 for gap in gaps)
        count, what = (lower, "lower") if 2 * lower >= len(gaps) else (len(gaps) - lower, "higher")
        return f", {what} in {count} of {len(gaps)} pairs of settings that differ in it alone"

    def _points(self, one: Found) -> dict[str, Any]:
        """What the second part's results are beside all other effects: `x` codes, `y`, and for pairs which
        end of the other knob a unit is nearer to."""
        assert self.search is not None
        # Of a pair, what the acting knob does by itself is part of the picture.
        acts = one.knobs[0] if len(one.knobs) == 2 else None
        part, nuisance, y = self.search.beside(one, self.pairs, without=acts)
        places = np.flatnonzero(~self.units.first)  # as the second part has them
        shown = np.argsort(self.units.order[places])[:SHOWN]
        left: Floats = free_of(nuisance, y)[shown]
        acting = part.factors[one.knobs[0]]
        found: dict[str, Any] = {
            "x": acting.codes[shown].tolist(), "y": left.tolist(), "levels": list(acting.levels),
            "scale": acting.scale, "unit": acting.unit,
        }  # fmt: skip
        if isinstance(one.shape, Product):
            on, ends = part.factors[one.knobs[1]], one.shape.ends(one.estimate)
            codes = on.codes[shown]
            if on.is_number:
                step = one.shape.other
                cut = step.cut if isinstance(step, Step) else (ends.near[0] + ends.far[0]) / 2
                found |= {"far": (codes > cut).tolist(), "cut": on.setting(cut)}
            else:
                near, far = ends.near[0], ends.far[0]
                found |= {"far": (codes == far).tolist(), "cut": on.setting(far), "near": on.setting(near)}
                found["used"] = np.isin(codes, (near, far)).tolist()
        return found


def conditions(one: Found, factors: Sequence[Factor]) -> list[str]:
    """The runs that an effect tells apart, as conditions on rows of the table: of a number without a step its
    lower and its upper third."""
    if not isinstance(one.shape, Product):
        return _sides_of(factors[one.knobs[0]], one.shape, one)
    acting, on = (factors[place] for place in one.knobs)
    return [
        f"{a} and {b}"
        for b in _sides_of(on, one.shape.other, one)
        for a in _sides_of(acting, one.shape.one, one)
    ]


def _sides_of(factor: Factor, shape: Shape, one: Found) -> list[str]:
    if isinstance(shape, Levels):
        if isinstance(one.shape, Product):
            ends = one.shape.ends(one.estimate)
            pair = (ends.low, ends.high) if shape is one.shape.one else (ends.near, ends.far)
            return [f"{factor.name}={factor.levels[int(end[0])]}" for end in pair]
        level = factor.levels[shape.level(one.estimate)]
        return [f"{factor.name}!={level}", f"{factor.name}={level}"]
    low, high = np.quantile(factor.codes, (1 / 3, 2 / 3))
    if isinstance(shape, Step):
        low = high = shape.cut
    below, above = (short(factor.value(float(code)), 6) for code in (low, high))
    return [f"{factor.name}<={below}", f"{factor.name}>{above}"]


def is_regime(one: Found, sides: Sequence[tuple[float, float, float]]) -> bool:
    """Whether a knob acts on one side of a value only: what it does on the other is small, or not shown."""
    if not (sides and isinstance(one.shape, Product) and isinstance(one.shape.other, Step)):
        return False
    little, much = sorted(sides, key=lambda side: abs(side[0]))
    shown = not little[1] < 0 < little[2]
    return abs(little[0]) < NIL * abs(much[0]) or (not shown and abs(little[0]) < 0.6 * abs(much[0]))
