"""The forms that the effect of one knob, or of two together, may take.

A form is features of the codes, chosen and fitted on the first part of the units; there it becomes one number
for each unit, the effect that was found, and the other part says whether the target rises with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.factors import Center, Factor


@dataclass(frozen=True)
class Estimate:
    """Coefficients (k,) of a form's features, and the inverse (k, k) of the features' Gram matrix."""

    values: Floats
    inverse: Floats

    def clear(self, weights: Floats) -> float:
        """How clear a contrast is: its size over its error, but for a factor that all share."""
        variance = float(weights @ self.inverse @ weights)
        return abs(float(weights @ self.values)) / variance**0.5 if variance > 0 else 0.0


class Shape(Protocol):
    """A form with everything chosen but its coefficients."""

    @property
    def form(self) -> str: ...

    @property
    def searched(self) -> int:
        """Choices that were made among others, in parameters."""

    def features(self, *factors: Factor) -> Floats:
        """(units, k)"""

    def weights(self, found: Estimate) -> Floats:
        """(k,): what the effect is of the coefficients; `found` are those of the first part."""


@dataclass(frozen=True)
class Line:
    """A number's straight line."""

    at: Center
    form: str = "line"
    searched: int = 0

    def features(self, *factors: Factor) -> Floats:
        return self.at.scaled(factors[0].codes)[:, None]

    def weights(self, found: Estimate) -> Floats:
        return np.array([float(self.at.scaled(self.at.high) - self.at.scaled(self.at.low))])


@dataclass(frozen=True)
class Bend:
    """A number's parabola: an optimum inside, or a gain that flattens."""

    at: Center
    form: str = "bend"
    searched: int = 0

    def features(self, *factors: Factor) -> Floats:
        return self.features_at(factors[0].codes)

    def features_at(self, codes: Floats) -> Floats:
        """(codes, 2)"""
        z = self.at.scaled(codes)
        return np.stack([z, z**2], axis=-1)

    def top(self, found: Estimate) -> float | None:
        """The code of the optimum, where it is inside the ends and clearer than a rise or a fall."""
        slope, curve = (float(one) for one in found.values)
        if curve == 0:
            return None
        code = self.at.middle + self.at.width * (-slope / (2 * curve))
        edge = 0.1 * (self.at.high - self.at.low)
        if not self.at.low + edge < code < self.at.high - edge:
            return None
        return code if found.clear(self._arch(code)) > found.clear(self._rise()) else None

    def _rise(self) -> Floats:
        low, high = self.features_at(np.array([self.at.low, self.at.high]))
        return np.asarray(high - low)

    def _arch(self, top: float) -> Floats:
        low, high, middle = self.features_at(np.array([self.at.low, self.at.high, top]))
        return np.asarray(middle - (low + high) / 2)

    def weights(self, found: Estimate) -> Floats:
        top = self.top(found)
        return self._rise() if top is None else self._arch(top)


@dataclass(frozen=True)
class Step:
    """A number that acts from some value on."""

    cut: float
    form: str = "step"
    searched: int = 1

    def features(self, *factors: Factor) -> Floats:
        return (factors[0].codes > self.cut).astype(float)[:, None]

    def weights(self, found: Estimate) -> Floats:
        return np.ones(1)


@dataclass(frozen=True)
class Levels:
    """A setting for each level: of two, the second against the first; of more, one against all others."""

    count: int
    form: str = "levels"
    searched: int = 0

    def features(self, *factors: Factor) -> Floats:
        return dummies(factors[0])

    def level(self, found: Estimate) -> int:
        """The level that differs most clearly from the others; of two, the second."""
        if self.count == 2:
            return 1
        return max(range(self.count), key=lambda level: found.clear(self._against_others(level)))

    def _against_others(self, level: int) -> Floats:
        out = np.full(self.count, -1.0 / (self.count - 1))
        out[level] = 1.0
        return out[1:]

    def weights(self, found: Estimate) -> Floats:
        return self._against_others(self.level(found)) if self.count > 2 else np.ones(1)


def dummies(factor: Factor) -> Floats:
    """(units, levels - 1)"""
    return np.asarray(factor.codes[:, None] == np.arange(1, len(factor.levels)), dtype=float)


def alone(factor: Factor) -> list[Shape]:
    """The forms of one knob."""
    if factor.levels:
        return [Levels(len(factor.levels))]
    at = factor.center
    distinct = len(np.unique(factor.codes))
    return [Line(at), *([Bend(at)] if distinct > 2 else []), *(Step(cut) for cut in at.cuts)]


def smooth(factor: Factor, freedom: int) -> Floats:
    """What is taken out for a knob that is not looked at: (units, at most freedom)."""
    if factor.levels:
        return dummies(factor)
    z = factor.center.scaled(factor.codes)
    columns = [z, z**2]
    if len(np.unique(z)) > 4:
        columns += [np.maximum(z - cut, 0.0) for cut in np.quantile(z, (1 / 3, 2 / 3))]
    columns = columns[: min(freedom, len(np.unique(z)) - 1)]
    return np.stack(columns + ([] if factor.missing is None else [factor.missing.astype(float)]), axis=1)


# --- two knobs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Product:
    """The effect of the first, a line or its levels, depends on the second, along a line or by its levels."""

    one: Shape
    other: Shape
    form: str = "product"
    searched: int = 0

    def features(self, *factors: Factor) -> Floats:
        a, b = self.parts(*factors)
        # About their means, so that what a knob does by itself does not look like an effect of both.
        return _products(a - a.mean(axis=0), b - b.mean(axis=0))

    def parts(self, *factors: Factor) -> tuple[Floats, Floats]:
        """What each knob does by itself, in this form: (units, j) and (units, k)."""
        return self.one.features(factors[0]), self.other.features(factors[1])

    def acting(self, *factors: Factor) -> Floats:
        """The effect of the first by itself, then as it depends on the second: (units, j + j k)."""
        a, b = self.parts(*factors)
        return np.concatenate([a, _products(a, b)], axis=1)

    def ends(self, found: Estimate) -> Ends:
        """The settings between which the first one's effect depends on the second most clearly."""
        a, b = _points(self.one), _points(self.other)
        options = [
            Ends(x, y, u, v)
            for k, x in enumerate(a)
            for y in a[k + 1 :]
            for m, u in enumerate(b)
            for v in b[m + 1 :]
        ]
        return max(options, key=lambda one: found.clear(one.weights))

    def weights(self, found: Estimate) -> Floats:
        """The effect of the first at the far end of the second, less that at the near end."""
        return self.ends(found).weights


def _products(a: Floats, b: Floats) -> Floats:
    return np.asarray((a[:, :, None] * b[:, None, :]).reshape(len(a), -1))


Point = tuple[float, Floats]
"""A code with its features (k,)."""


@dataclass(frozen=True)
class Ends:
    """Two settings of the acting knob, and two of the one that its effect depends on."""

    low: Point
    high: Point
    near: Point
    far: Point

    @property
    def weights(self) -> Floats:
        return np.outer(self.high[1] - self.low[1], self.far[1] - self.near[1]).ravel()


def _points(shape: Shape) -> list[Point]:
    if isinstance(shape, Levels):
        full = np.vstack([np.zeros(shape.count - 1), np.eye(shape.count - 1)])
        return [(float(code), row) for code, row in enumerate(full)]
    if isinstance(shape, Step):
        return [(shape.cut, np.zeros(1)), (shape.cut, np.ones(1))]
    assert isinstance(shape, Line)
    return [(code, np.array([float(shape.at.scaled(code))])) for code in (shape.at.low, shape.at.high)]


LEVELS = 6
"""Levels of a knob from which it is not looked at in pairs."""


def together(a: Factor, b: Factor, fine: bool = False) -> list[tuple[Product, bool]]:
    """The forms of two knobs; True where the second is to be handed over first (b modulates, or a does).
    `fine`: all steps, and not every other one, which tells nearly the same."""
    if len(a.levels) > LEVELS or len(b.levels) > LEVELS:
        return []
    found: list[tuple[Product, bool]] = [(Product(_plain(a), _plain(b)), False)]
    for acting, on, turned in ((a, b, False), (b, a, True)):
        if on.is_number:
            steps = [Step(cut) for cut in on.center.cuts[:: 1 if fine else 2]]
            found += [(Product(_plain(acting), step, "regime", 1), turned) for step in steps]
    return found


def _plain(factor: Factor) -> Shape:
    return Levels(len(factor.levels)) if factor.levels else Line(factor.center)
