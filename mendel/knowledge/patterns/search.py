"""Effects of knobs, alone and in pairs: found on the first part of the units, tested on the second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from mendel.knowledge.fits import Floats, Ints
from mendel.knowledge.patterns.factors import Factor
from mendel.knowledge.patterns.linear import (
    OWN,
    Tested,
    basis,
    contrast,
    free_of,
    pseudo_values,
    test_feature,
)
from mendel.knowledge.patterns.shapes import Estimate, Product, Shape, alone, smooth, together
from mendel.knowledge.patterns.units import FIXED, Units, Whitening

PROMISING = 0.05
"""p on the first part from which a pair of knobs is tested on the second."""
FORMS = 3.0
"""Independent choices that the forms of one pair come to."""
NUMBER = 3
"""Independent directions that the forms of a number come to."""
WITHIN = 1e12
"""Variance between groups over that within from which on only differences within groups count."""
EACH = 5
"""Units of a group, on average, from which that is done."""
PAIRS = 12
"""Pairs that are tested at most."""
SEARCHED = 2000
"""Units on which pairs are looked for at most."""
KNOBS = 40
"""Knobs of which pairs are looked for: those that matter most alone."""


class Part:
    """Some of the units, made ready for least squares."""

    def __init__(
        self, units: Units, places: Ints, random: tuple[Ints, float] | None, fixed: list[Ints]
    ) -> None:
        self.factors = tuple(one.take(places) for one in units.factors)
        self.count = len(places)
        self.group = random[0][places] if random else None
        self.white = Whitening(units.weight[places], self.group, random[1] if random else 0.0)
        self.target = self.white(units.target[places])
        labels = [one[places] for one in fixed]
        columns = [np.ones((self.count, 1))]
        columns += [(one[:, None] == np.unique(one)[1:]).astype(float) for one in labels]
        self.ground = self.white(np.concatenate(columns, axis=1))
        # Columns of nothing stand for the means of groups that whitening took, so that they are counted.
        taken = len(np.unique(self.group)) if self.group is not None and random and random[1] >= WITHIN else 0
        self.counted = np.zeros((self.count, taken))
        self.smooth = self._smooth()

    def _smooth(self) -> list[Floats]:
        """What is taken out for each knob: the more units there are, the finer."""
        room = self.count / 4
        for freedom in (4, 2, 1):
            found = [self.white(smooth(one, freedom)) for one in self.factors]
            if sum(one.shape[1] for one in found) <= room:
                return found
        # More knobs than the units can bear: those go that tell least of the target by themselves.
        q = basis(self.ground)
        left = free_of(q, self.target)
        told = [float((basis(free_of(q, one)).T @ left) @ (basis(free_of(q, one)).T @ left)) for one in found]
        spent = 0.0
        for place in np.argsort(told)[::-1].tolist():
            spent += found[place].shape[1]
            if spent > 2 * room:
                found[place] = np.zeros((self.count, 0))
        return found

    def others(self, place: int | None, more: Sequence[Floats] = ()) -> Floats:
        """A basis of everything but one knob."""
        kept = [one for number, one in enumerate(self.smooth) if number != place]
        return np.concatenate(
            [basis(np.concatenate([self.ground, *kept, *more], axis=1)), self.counted], axis=1
        )

    def freedom(self, feature: Floats) -> int:
        """Degrees of freedom of a feature that differs between groups only: the groups'. 0: no such limit."""
        if self.group is None or not feature.std():
            return 0
        counts = np.bincount(self.group)
        means = np.bincount(self.group, weights=feature) / np.maximum(counts, 1)
        inside = float(((feature - means[self.group]) ** 2).mean())
        return max(int((counts > 0).sum()) - 2, 1) if inside < OWN * float(feature.var()) else 0


@dataclass(frozen=True)
class Found:
    """An effect with its form and coefficients from the first part, and what the second says of it."""

    knobs: tuple[int, ...]
    """Places of the factors, in the order that the shape takes them."""
    shape: Shape
    estimate: Estimate
    tested: Tested = Tested(1.0, 0.0)
    freedom: int = 0

    def feature(self, factors: Sequence[Factor]) -> Floats:
        """(units,): the effect that was found first."""
        return np.asarray(self.features(factors) @ self.estimate.values)

    def features(self, factors: Sequence[Factor]) -> Floats:
        return self.shape.features(*(factors[place] for place in self.knobs))

    @property
    def weights(self) -> Floats:
        return self.shape.weights(self.estimate)


class Search:
    """Both parts of the units, what the first shows, and the tests of it on the second."""

    def __init__(self, units: Units) -> None:
        self.units = units
        fixed = [one for one in units.groups if one.max() < FIXED]
        many = sorted((one for one in units.groups if one.max() >= FIXED), key=lambda one: -int(one.max()))
        fixed += [one for one in many[1:] if one.max() < len(one) / 10]
        random = mixed = (many[0], _share(units, many[0], fixed)) if many else None
        if random and int(random[0].max()) < len(random[0]) / EACH:
            # Knobs that differ within groups are told by that alone: a few groups' means say little, and
            # what they say is as much the groups' as the knobs'.
            random = (random[0], WITHIN)
        self._random, self._fixed = random, fixed
        self._whole: Part | None = None
        self._beyond: tuple[Floats, dict[tuple[int, Shape], Floats]] | None = None
        self.first = Part(units, np.flatnonzero(units.first), random, fixed)
        self.second = Part(units, np.flatnonzero(~units.first), random, fixed)
        self._between = self.second
        if mixed is not random:
            self._between = Part(units, np.flatnonzero(~units.first), mixed, fixed)

    def run(self) -> tuple[list[Found], list[Found]]:
        """Effects of single knobs, all of them, and of the pairs that look promising; tested."""
        mains, pairs = self.mains(), self.pairs()
        return self.test(mains, pairs)

    def mains(self) -> list[Found]:
        """The best form of each knob on the first part."""
        part = self.first
        y, _ = pseudo_values(part.target, part.others(None))
        found = []
        for place, factor in enumerate(part.factors):
            nuisance = part.others(place)
            left = free_of(nuisance, y)
            options = []
            for shape in alone(self.units.factors[place]):
                x = free_of(nuisance, part.white(shape.features(factor)))
                options.append((*_fitted(x, left, shape.searched), shape))
            _, estimate, _, shape = min(options, key=lambda one: one[0])
            found.append(Found((place,), shape, estimate))
        return found

    def pairs(self) -> list[Found]:
        """Pairs of knobs whose effects are not a sum, as the first part has it, the strongest first."""
        part = self.first
        if part.count > SEARCHED:
            order = np.argsort(self.units.order)  # by the hash, so that the rows' order says nothing
            some = order[self.units.first[order]][:SEARCHED]
            part = Part(self.units, some, self._random, self._fixed)
        q = part.others(None)
        y, _ = pseudo_values(part.target, q)
        left = free_of(q, y)
        known = self._looked_at(part)
        open_ = {pair: self._pair(part, pair, q, left) for pair in combinations(known, 2)}
        found: list[Found] = []
        while open_ and len(found) < PAIRS:
            ranked = [(one[0], pair) for pair, one in open_.items() if one]
            if not ranked or min(ranked)[0] > PROMISING:
                break
            best = open_[min(ranked)[1]]
            assert best is not None
            found.append(best[1])
            q = basis(np.concatenate([q, part.white(best[1].features(part.factors))], axis=1))
            left = free_of(q, y)
            again = [pair for p, pair in ranked if p <= 0.1 and pair != min(ranked)[1]]
            open_ = {pair: self._pair(part, pair, q, left) for pair in again}
        return found

    def _looked_at(self, part: Part) -> list[int]:
        if len(part.factors) <= KNOBS:
            return list(range(len(part.factors)))
        q = basis(part.ground)
        left = free_of(q, part.target)
        told = [float(((basis(free_of(q, one)).T @ left) ** 2).sum()) for one in part.smooth]
        return sorted(np.argsort(told)[::-1][:KNOBS].tolist())

    def _pair(
        self, part: Part, pair: tuple[int, int], q: Floats, left: Floats, fine: bool = False
    ) -> tuple[float, Found] | None:
        """The best form of a pair with its p; None where its settings say nothing of one."""
        one, other = (self.units.factors[place] for place in pair)
        options = together(one, other, fine)
        if not options:
            return None
        knobs = [pair[::-1] if turned else pair for _, turned in options]
        each = [
            shape.features(*(part.factors[one] for one in both))
            for (shape, _), both in zip(options, knobs, strict=True)
        ]
        cuts = np.cumsum([one.shape[1] for one in each])[:-1]
        features = part.white(np.concatenate(each, axis=1))
        whole, free = np.split(features, cuts, axis=1), np.split(free_of(q, features), cuts, axis=1)
        ranked = []
        for place, (x, old) in enumerate(zip(free, whole, strict=True)):
            own = self._alone(part, options[place][0], knobs[place], q)
            x = free_of(own, x)
            if float((x**2).sum()) > OWN * float((old**2).sum()):
                taken = q.shape[1] + own.shape[1]
                ranked.append((*_fitted(x, free_of(own, left), options[place][0].searched, taken), place))
        if not ranked:
            return None
        _, estimate, p, place = min(ranked, key=lambda one: one[0])
        found = Found(knobs[place], options[place][0], estimate)
        return min(1.0, p * (FORMS if len(options) > 1 else 1)), found

    def _alone(self, part: Part, shape: Product, knobs: tuple[int, ...], q: Floats) -> Floats:
        """A basis of what each knob of a pair does by itself, in the pair's very form, beyond `q`."""
        if self._beyond is None or self._beyond[0] is not q:
            self._beyond = q, {}
        known, parts = self._beyond[1], []
        for knob, form in zip(knobs, (shape.one, shape.other), strict=True):
            if (knob, form) not in known:
                x = free_of(q, part.white(form.features(part.factors[knob])))
                known[knob, form] = x[:, (x**2).sum(axis=0) > 1e-8 * len(x)]
            parts.append(known[knob, form])
        own = np.concatenate(parts, axis=1)
        if own.shape[1] == 1:
            return np.asarray(own / np.sqrt((own**2).sum()))
        return basis(own) if own.shape[1] else own

    def test(self, mains: Sequence[Found], pairs: Sequence[Found]) -> tuple[list[Found], list[Found]]:
        """What the second part says of each, beside all others."""
        self._pairs = list(pairs)
        self._ready: dict[int, tuple[Floats, list[Floats]]] = {}
        self.noise = 0.0
        for part in (self._between, self.second):
            scores = [part.white(one.feature(part.factors))[:, None] for one in pairs]
            target, self.noise = pseudo_values(part.target, part.others(None, scores))
            self._ready[id(part)] = target, scores
        return [self._tested(one) for one in mains], [self._tested(one) for one in pairs]

    def _part_of(self, one: Found) -> Part:
        """The second part as it is ready for an effect: of what differs between groups only, or within."""
        return self._between if one.freedom else self.second

    def but(self, knob: int, part: Part) -> Floats:
        """A basis of all but one knob's effect on the second part: of pairs that it is in, only what they do
        beyond their two knobs, so that its own effect is not taken out with them."""
        more = []
        for score, pair in zip(self._ready[id(part)][1], self._pairs, strict=True):
            if knob in pair.knobs:
                own = np.concatenate([part.ground, *(part.smooth[one] for one in pair.knobs)], axis=1)
                score = free_of(basis(own), score)
            more.append(score)
        return part.others(knob, more)

    def _tested(self, one: Found) -> Found:
        freedom = self.second.freedom(one.feature(self.second.factors))
        one = replace(one, freedom=freedom)
        part, nuisance, y = self.beside(one, self._pairs)
        tested = test_feature(y, part.white(one.feature(part.factors)), nuisance, freedom=freedom)
        if freedom and tested.p < 0.5:
            tested = replace(tested, p=_all_directions(tested.p, freedom, one, self.units))
        return replace(one, tested=tested)

    def also_beside(self, knob: int, inside: np.ndarray, best: np.ndarray) -> float:
        """One-sided p that units of the second part which are `inside` are as often among the best as others,
        beside all other knobs and groups."""
        part = self.second
        feature = part.white(-inside.astype(float))
        return test_feature(part.white(best.astype(float)), feature, self.but(knob, part)).p

    def interval(self, one: Found, pairs: Sequence[Found], level: float) -> tuple[float, float, float]:
        """An effect with its interval, on the second part."""
        part, nuisance, y = self.beside(one, pairs)
        features = part.white(one.features(part.factors))
        return contrast(y, features, nuisance, one.weights, level, one.freedom)

    def sides(self, one: Found, pairs: Sequence[Found], level: float) -> list[tuple[float, float, float]]:
        """The acting knob's effect, with its interval, at the near and at the far end of the other one; none
        where it cannot be told apart from the others' by itself."""
        part, nuisance, y = self.beside(one, pairs, without=one.knobs[0])
        assert isinstance(one.shape, Product)
        ends = one.shape.ends(one.estimate)
        both = [part.factors[place] for place in one.knobs]
        features = part.white(one.shape.acting(*both))
        alone_ = features[:, : one.shape.parts(*both)[0].shape[1]]
        own = (free_of(nuisance, alone_) ** 2).sum(axis=0)
        if (own < OWN * alone_.var(axis=0) * len(y)).any():
            return []
        change = ends.high[1] - ends.low[1]
        weights = [np.concatenate([change, np.outer(change, at[1]).ravel()]) for at in (ends.near, ends.far)]
        return [contrast(y, features, nuisance, one_, level) for one_ in weights]

    def beside(
        self, one: Found, pairs: Sequence[Found], without: int | None = None
    ) -> tuple[Part, Floats, Floats]:
        """The second part, a basis of all but one effect, and its target."""
        part = self._part_of(one)
        target = self._ready[id(part)][0]
        if len(one.knobs) == 1:
            return part, self.but(one.knobs[0], part), target
        rest = [other for other in pairs if {*other.knobs} != {*one.knobs}]
        scores = [part.white(other.feature(part.factors))[:, None] for other in rest]
        return part, part.others(without, [*scores, *self._own(one, part)[without is not None :]]), target

    def named(self, pair: Found, pairs: Sequence[Found]) -> Found:
        """A pair that was tested, in the form that all units together show best: along a line, or from a
        value on. The test is that of the form that was found first."""
        if self._whole is None:
            self._whole = Part(self.units, np.arange(len(self.units.target)), self._random, self._fixed)
        part = self._whole
        q = part.others(
            None, [part.white(one.feature(part.factors))[:, None] for one in pairs if one is not pair]
        )
        y, _ = pseudo_values(part.target, q)
        best = self._pair(part, (pair.knobs[0], pair.knobs[1]), q, free_of(q, y), fine=True)
        if best is None:
            return pair
        named = replace(pair, knobs=best[1].knobs, shape=best[1].shape, estimate=best[1].estimate)
        part, nuisance, _ = self.beside(named, pairs)
        features = part.white(named.features(part.factors))
        own = float((free_of(nuisance, features) ** 2).sum())
        _, low, high = self.interval(named, pairs, 0.95)
        # A form that the second part cannot tell from others, or does not show, is no better name.
        return named if own > OWN * float((features**2).sum()) and not low < 0 < high else pair

    @staticmethod
    def _own(pair: Found, part: Part) -> list[Floats]:
        """What each knob of a pair does by itself, in the pair's form: the acting one's first."""
        assert isinstance(pair.shape, Product)
        both = [part.factors[place] for place in pair.knobs]
        return [part.white(one) for one in pair.shape.parts(*both)]


def _fitted(x: Floats, left: Floats, searched: int, taken: int = 0) -> tuple[float, Estimate, float]:
    """Schwarz's criterion, coefficients and p of features (units, k) that are free of everything else."""
    n, k = x.shape
    inverse = np.linalg.pinv(x.T @ x, rcond=1e-9, hermitian=True)
    coefficients = inverse @ (x.T @ left)
    before = max(float(left @ left), 1e-300)
    told = float(coefficients @ (x.T @ left))
    after = max(before - told, 1e-12 * before)
    degrees = max(n - taken - k, 1)
    p = float(f_distribution.sf(told / k / (after / degrees), k, degrees))
    return n * math.log(after) + (k + searched) * math.log(n), Estimate(coefficients, np.asarray(inverse)), p


def _all_directions(p: float, freedom: int, one: Found, units: Units) -> float:
    """p of a feature that differs between groups only. The first part saw the same groups, and chose the
    direction by what they have in common with the second: it counts as the best of all (Scheffe 1953)."""
    factor, k = units.factors[one.knobs[0]], len(one.estimate.values)
    if len(one.knobs) == 1:
        k = len(factor.levels) - 1 if factor.levels else NUMBER
    left = freedom - k + 1
    size = float(t_distribution.isf(p, freedom)) ** 2
    return min(0.5, float(f_distribution.sf(size / k, k, left)) / 2) if left >= 1 else 0.5


def _share(units: Units, group: Ints, fixed: list[Ints]) -> float:
    """Variance between groups over that within, by analysis of variance of what knobs leave."""
    part = Part(units, np.arange(len(units.target)), None, fixed)
    q = part.others(None)
    left = free_of(q, part.target)
    counts = np.bincount(group).astype(float)
    means = np.bincount(group, weights=left) / counts
    degrees = max(len(left) - len(counts) - q.shape[1] + 1, 1)
    within = float(((left - means[group]) ** 2).sum()) / degrees
    between = float((counts * means**2).sum()) / max(len(counts) - 1, 1)
    size = (counts.sum() - float((counts**2).sum()) / counts.sum()) / max(len(counts) - 1, 1)
    return max(0.0, (between - within) / (size * within)) if within > 0 else 0.0
