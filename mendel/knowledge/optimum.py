"""The best learning rate or batch size against scale: a minimum in each cell, a power law through them.

In each cell (one size, one number of tokens) the log loss near its least value is a parabola over the log of
the knob, fitted with Huber's weights; the noise is that of all cells together, and so is the skew, for a loss
rises faster on one side. The interval of a vertex is Fieller's (1954; of the vertex of a parabola: Williams
1959), which has no end where the sweep is flat, and wider by what is not known of the skew. A vertex at the
edge of what was tried is no minimum. The line through the log minima weighs each by its
interval and by how far minima scatter about the line besides (random effects: Paule & Mandel 1982); its
intervals are those of Knapp & Hartung (2003), which hold for few cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t

from mendel.knowledge.fits import Floats, Ints

Places = Ints

LEVEL = 0.95
LEAST_VALUES = 4
"""Values of a knob that a parabola and its noise take."""
REACH = 3
"""Values on each side of the best that are fitted at most."""
NEAR = 0.03
"""log loss above the least up to which more than LEAST_VALUES are fitted: the parabola is near its vertex."""
HUBER = 1.5
ROUNDS = 12
LEAST_SKEW = 6
"""Losses beyond three a cell that a common skew takes."""
MOST_SKEW = 0.5
"""In 1 / log knob: at twice the inverse the curve would turn down again."""
FAR = 100.0
"""Times the ends of a sweep beyond which an interval is cut."""
BROKEN = 5.0
"""Noises from its parabola beyond which a loss has no say in the skew."""
SURE = 1e9
"""Degrees of freedom of a noise that is given."""
EDGE, FLAT, SHORT = "edge", "flat", "few"


@dataclass(frozen=True)
class Sweep:
    """What one cell measured: values of the knob in order, and the loss at each."""

    scales: tuple[float, ...]
    knob: Floats
    loss: Floats


@dataclass(frozen=True)
class Minimum:
    """The best value of the knob in a cell."""

    sweep: Sweep
    knob: float
    low: float
    high: float
    se: float
    """Of its logarithm."""
    loss: float
    bend: float
    """Log loss above the least at a distance of 1 in the log of the knob."""
    used: tuple[int, ...]
    """Places of the values that were fitted."""
    shared: float = 0.0
    """What one standard error of the skew moves it by: an error that all cells share."""
    why: str = ""
    """Why it is not used; empty if it is."""

    def cost(self, knob: float) -> float:
        """Relative loss above the least at another value, by the parabola."""
        return float(np.expm1(self.bend * np.log(knob / self.knob) ** 2))


@dataclass(frozen=True)
class Line:
    """log knob = level + exponents . (log scales - centre)."""

    level: float
    exponents: Floats
    centre: Floats
    covariance: Floats
    """Of level and exponents."""
    scatter: float
    """sd of the log of a cell's true minimum about the line."""
    freedom: int

    def at(self, scales: Sequence[float]) -> tuple[float, float]:
        """log knob at a scale, and its variance as a point of the line."""
        x = np.concatenate([[1.0], np.log(scales) - self.centre])
        return float(x @ np.concatenate([[self.level], self.exponents])), float(x @ self.covariance @ x)

    def quantile(self) -> float:
        return float(t.ppf((1 + LEVEL) / 2, self.freedom))


# --- minima -----------------------------------------------------------------------------------------------


def minima(sweeps: Sequence[Sweep], noise: float | None = None) -> tuple[list[Minimum], float]:
    """The minimum of each cell, and the noise of a log loss that their intervals rest on: measured by how far
    losses lie from the parabolas where it is not given. ValueError where no cell has values enough."""
    chosen = [_window(one) for one in sweeps]
    places = {n: places for n, places in enumerate(chosen) if len(places)}
    if not places:
        most = max((len(one.knob) for one in sweeps), default=0)
        raise ValueError(
            f"no cell has {LEAST_VALUES} values of the knob: {most} at most in {len(sweeps)} cells"
        )
    parts = {n: _Part(sweeps[n], some) for n, some in places.items()}
    skew, error = _skew(list(parts.values()), noise)
    sd, freedom = (noise, SURE) if noise else _noise([one.bent(skew) for one in parts.values()])
    if not sd:
        raise ValueError("the losses lie exactly on parabolas: give --noise")
    quantile = float(t.ppf((1 + LEVEL) / 2, freedom))
    return [
        _minimum(parts[n], skew, error, sd, quantile) if n in parts else _short(one)
        for n, one in enumerate(sweeps)
    ], sd


@dataclass(frozen=True)
class _Part:
    """The losses of a cell that are fitted."""

    sweep: Sweep
    places: Places

    @property
    def x(self) -> Floats:
        return np.log(self.sweep.knob[self.places])

    @property
    def y(self) -> Floats:
        return np.log(self.sweep.loss[self.places])

    def bent(self, skew: float) -> _Part:
        """The same without what a skew adds to the parabola."""
        y = self.y
        for _ in range(5):
            cubic = self.cubic(y)
            y = self.y if cubic is None else self.y - skew * cubic
        return _Part(
            Sweep(self.sweep.scales, np.exp(self.x), np.exp(y)), np.arange(len(self.places), dtype=np.int64)
        )

    def cubic(self, y: Floats) -> Floats | None:
        """bend (x - vertex)^3 of the parabola through y; None where it has no vertex among the values."""
        x = self.x
        bend, tilt, _ = np.polyfit(x - x.mean(), y, 2)
        vertex = x.mean() - tilt / (2 * bend) if bend > 0 else np.inf
        return np.asarray(bend * (x - vertex) ** 3) if x[0] <= vertex <= x[-1] else None


def _skew(parts: Sequence[_Part], noise: float | None) -> tuple[float, float]:
    """The skew that all cells have in common, and its error: log loss = least + bend (u^2 + skew u^3)
    at u from the vertex. 0 where there are too few losses to tell."""
    if sum(len(one.places) - 3 for one in parts) < LEAST_SKEW:
        return 0.0, 0.0
    skew = square = 0.0
    for _ in range(8):
        bent = [one.bent(skew) for one in parts]
        sd = noise or _noise(bent)[0]
        cross = square = 0.0
        for one, plain in zip(parts, bent, strict=True):
            cubic = one.cubic(plain.y)
            basis = np.vander(one.x - one.x.mean(), 3)
            clear = np.eye(len(basis)) - basis @ np.linalg.pinv(basis)
            # A run that broke bends its own cell alone.
            if cubic is None or np.abs(clear @ plain.y).max() > BROKEN * sd:
                continue
            cubic = clear @ cubic
            cross, square = cross + float(cubic @ one.y), square + float(cubic @ cubic)
        if square <= 0:
            return 0.0, 0.0
        skew = float(np.clip(cross / square, -MOST_SKEW, MOST_SKEW))
    return skew, sd / square**0.5


def _short(sweep: Sweep) -> Minimum:
    best = int(np.argmin(sweep.loss))
    ends = float(sweep.knob[0]), float(sweep.knob[-1])
    return Minimum(sweep, float(sweep.knob[best]), *ends, np.inf, float(sweep.loss[best]), 0.0, (), why=SHORT)


def _window(sweep: Sweep) -> Places:
    """Places around the least loss that are fitted; none where there are too few."""
    count = len(sweep.knob)
    if count < LEAST_VALUES:
        return np.array([], dtype=np.int64)
    # Medians of three: a single lucky run is not where the least loss is.
    ends = np.concatenate([sweep.loss[:1], sweep.loss, sweep.loss[-1:]])
    smooth = np.median([ends[:-2], ends[1:-1], ends[2:]], axis=0)
    best = int(np.argmin(smooth))
    above = np.log(sweep.loss) - np.log(smooth[best])
    near = range(max(0, best - REACH), min(count, best + REACH + 1))
    close = [place for place in near if above[place] <= NEAR]
    first, last = min(close), max(close)
    while last - first + 1 < LEAST_VALUES:
        sides = [place for place in (first - 1, last + 1) if 0 <= place < count]
        place = min(sides, key=lambda one: float(above[one]))
        first, last = min(first, place), max(last, place)
    return np.arange(first, last + 1)


def _noise(parts: Sequence[_Part]) -> tuple[float, float]:
    """sd of a log loss about the parabolas, and its degrees of freedom. A residual over the root of one less
    its leverage has the noise's sd; their median trusts the middle half alone."""
    scaled, freedom = [], 0
    for one in parts:
        basis = np.vander(one.x - one.x.mean(), 3)
        hat = basis @ np.linalg.pinv(basis)
        left = 1 - np.diag(hat)
        residual = np.abs(one.y - hat @ one.y)
        scaled += (residual / np.sqrt(np.maximum(left, 1e-9)))[left > 1e-6].tolist()
        freedom += len(basis) - 3
    return float(np.median(scaled)) / 0.6745, max(1.0, float(freedom))


def _minimum(part: _Part, skew: float, error: float, sd: float, quantile: float) -> Minimum:
    sweep, used = part.sweep, tuple(part.places.tolist())
    tried = float(np.log(sweep.knob[0])), float(np.log(sweep.knob[-1]))
    best = int(np.argmin(sweep.loss))
    (level, tilt, bend), inverse = _robust(part.bent(skew), sd)
    ends = _fieller(tilt, bend, np.asarray(sd**2 * inverse[1:, 1:]), quantile)
    if ends is None:
        known = float(sweep.knob[best]), float(sweep.knob[0]), float(sweep.knob[-1]), np.inf
        return Minimum(sweep, *known, float(sweep.loss[best]), bend, used, why=FLAT)
    middle = float(part.x.mean())
    vertex = middle - tilt / (2 * bend)
    shared = 0.0
    if error:
        (_, other, its), _ = _robust(part.bent(skew + error), sd)
        shared = middle - other / (2 * its) - vertex if its > 0 else 0.0
    inside = tried[0] < vertex < tried[1] and 0 < best < len(sweep.loss) - 1
    low, high = (vertex + side * np.hypot(end + middle - vertex, quantile * shared)
                 for side, end in zip((-1, 1), ends, strict=True))  # fmt: skip
    wide = high - low > tried[1] - tried[0]
    low, high = max(low, tried[0] - np.log(FAR)), min(high, tried[1] + np.log(FAR))
    return Minimum(
        sweep,
        float(np.exp(vertex)),
        float(np.exp(low)),
        float(np.exp(high)),
        (ends[1] - ends[0]) / 2 / quantile,
        float(np.exp(level - tilt**2 / (4 * bend))),
        bend,
        used,
        shared,
        EDGE if not inside else FLAT if wide else "",
    )


def _robust(part: _Part, sd: float) -> tuple[tuple[float, float, float], Floats]:
    """Level, tilt and bend about the middle of the values by Huber's weights, and the inverse that goes with
    them."""
    x, y = part.x - part.x.mean(), part.y
    basis = np.vander(x, 3)[:, ::-1]
    weight = np.ones(len(x))
    for _ in range(ROUNDS):
        inverse = np.linalg.inv(basis.T @ (weight[:, None] * basis))
        value = inverse @ (basis.T @ (weight * y))
        weight = 1 / np.maximum(np.abs(y - basis @ value) / (HUBER * sd), 1.0)
    level, tilt, bend = map(float, value)
    return (level, tilt, bend), np.asarray(inverse, dtype=np.float64)


def _fieller(tilt: float, bend: float, spread: Floats, quantile: float) -> tuple[float, float] | None:
    """Where tilt + 2 bend x may be 0; None where that has no end, or is a greatest value."""
    square = quantile**2
    a = 4 * (bend**2 - square * spread[1, 1])
    b = 4 * (tilt * bend - square * spread[0, 1])
    c = tilt**2 - square * spread[0, 0]
    root = b**2 - 4 * a * c
    if bend <= 0 or a <= 0 or root < 0:
        return None
    return (-b - root**0.5) / (2 * a), (-b + root**0.5) / (2 * a)


# --- the line through them --------------------------------------------------------------------------------


def line_through(found: Sequence[Minimum]) -> Line:
    """The power law through minima that are used. ValueError for too few cells."""
    scales = np.log([one.sweep.scales for one in found])
    need = scales.shape[1] + 3 if scales.ndim == 2 else 4
    if len(found) < need:
        raise ValueError(
            f"{len(found)} cells have a minimum with worse values on both sides; a law of "
            f"{need - 3} scale{'s' * (need > 4)} takes {need}"
        )
    middle = scales.mean(axis=0)
    basis = np.column_stack([np.ones(len(found)), scales - middle])
    if np.linalg.cond(basis) > 1e6:
        raise ValueError(
            "the scales move together over the cells, or one of them does not move: give one, or c alone"
        )
    y, errors = np.log([one.knob for one in found]), np.array([one.se for one in found])
    freedom = len(found) - int(basis.shape[1])

    def beyond(scatter: float) -> float:
        """Paule and Mandel's: how much larger the weighted squares are than they should be."""
        value, weight = _weighted(basis, y, errors, scatter)
        return float((weight * (y - basis @ value) ** 2).sum()) - freedom

    scatter = 0.0
    if beyond(0.0) > 0:
        most = 10 * float(np.var(y)) + 1e-6
        scatter = float(brentq(beyond, 0.0, most)) if beyond(most) < 0 else most
    value, weight = _weighted(basis, y, errors, scatter)
    left = float((weight * (y - basis @ value) ** 2).sum()) / freedom
    inverse = np.linalg.inv(basis.T @ (weight[:, None] * basis))
    shared = inverse @ (basis.T @ (weight * np.array([one.shared for one in found])))
    covariance = np.asarray(inverse * max(1.0, left) + np.outer(shared, shared))
    return Line(float(value[0]), value[1:], middle, covariance, scatter**0.5, freedom)


def _weighted(basis: Floats, y: Floats, errors: Floats, scatter: float) -> tuple[Floats, Floats]:
    weight = np.asarray(1 / (errors**2 + scatter))
    inside = basis.T @ (weight[:, None] * basis)
    return np.asarray(np.linalg.solve(inside, basis.T @ (weight * y)), dtype=np.float64), weight
