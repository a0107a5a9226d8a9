"""The control's scaling curve: loss against compute, L(C) = E + A C^-alpha.

A change is worth as much compute as the control would need to catch up with it, so the control is trained at
several budgets and a curve is laid through the scored losses. The curve is read close to where it was
measured, never beyond four times its largest budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

REACH = 4.0
"""A curve may be read up to this many times its largest measured budget."""

ALPHAS: Floats = np.geomspace(0.02, 2.5, 97)
"""Exponents that are tried; the coefficients that go with each are linear and solved exactly."""


@dataclass(frozen=True)
class ScalingCurve:
    """L(C) = floor + scale (C / reference)^-alpha, C in FLOPs, L in bits per byte."""

    floor: float
    scale: float
    alpha: float
    reference: float
    """Geometric mean of the measured budgets; keeps `scale` a loss and not 10^5 of one."""
    max_flops: float
    form: Literal["floor", "power law"]
    """`floor` has a free E >= 0, `power law` has E = 0."""
    residual_sd: float
    """Root mean square of the residuals over the degrees of freedom, bits per byte; 0 if none are left."""

    def loss(self, flops: ArrayLike) -> Floats:
        """Bits per byte at `flops`."""
        relative = np.asarray(flops, dtype=float) / self.reference
        return np.asarray(self.floor + self.scale * relative**-self.alpha)

    def flops_for(self, loss: ArrayLike) -> Floats:
        """FLOPs at which the curve reaches `loss`; infinite at and below the floor."""
        above = np.asarray(loss, dtype=float) - self.floor
        safe = np.where(above > 0, above, 1.0)
        return np.where(above > 0, self.reference * (self.scale / safe) ** (1 / self.alpha), np.inf)

    def slope(self, flops: ArrayLike) -> Floats:
        """-dL / dlog2 C at `flops`: bits per byte gained per doubling of compute."""
        return np.asarray(np.log(2) * self.alpha * (self.loss(flops) - self.floor))


def fit_curve(flops: ArrayLike, bits_per_byte: ArrayLike) -> ScalingCurve:
    """The curve through single runs: `flops` and `bits_per_byte`, both (runs,), several seeds per budget.

    Two distinct budgets fix a power law without a floor; from three on the floor is free, but not negative.
    Relative errors count, as in a fit in log space, and Huber weights keep a stray run from bending the curve
    (Hoffmann et al., "Training compute-optimal large language models", 2022, approach 3). Raises ValueError
    for fewer than two budgets, for values that are not finite and positive, and where loss does not fall.
    """
    c, loss, _ = check_runs(flops, bits_per_byte)
    return _fitted(tuple(c.tolist()), tuple(loss.tolist()))


@lru_cache(maxsize=512)  # every plan of a round asks for the curve of its control
def _fitted(flops: tuple[float, ...], bits_per_byte: tuple[float, ...]) -> ScalingCurve:
    c, loss = np.array(flops), np.array(bits_per_byte)
    budgets = np.unique(c)
    reference = float(np.exp(np.log(budgets).mean()))
    free_floor = len(budgets) >= 3
    weight = 1 / loss**2
    for _ in range(8):
        floor, scale, alpha = fit_batch(c / reference, loss[None], weight, free_floor)
        residual = loss - floor[0] - scale[0] * (c / reference) ** -alpha[0]
        weight = _huber(residual / loss) / loss**2
    falls = float(np.cov(np.log(c), loss)[0, 1]) < 0
    if not falls or scale[0] <= 0:
        raise ValueError("the control's loss does not fall with compute: no compute multiplier can be read")
    freedom = len(loss) - (3 if free_floor else 2)
    return ScalingCurve(
        floor=float(floor[0]),
        scale=float(scale[0]),
        alpha=float(alpha[0]),
        reference=reference,
        max_flops=float(budgets[-1]),
        form="floor" if free_floor else "power law",
        residual_sd=float(np.sqrt((residual**2).sum() / freedom)) if freedom > 0 else 0.0,
    )


def check_runs(flops: ArrayLike, bits_per_byte: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Both as arrays (runs,), and the distinct budgets. ValueError for what no curve can be laid through."""
    c, loss = np.asarray(flops, dtype=float), np.asarray(bits_per_byte, dtype=float)
    if c.shape != loss.shape or c.ndim != 1:
        raise ValueError(f"flops {c.shape} and bits_per_byte {loss.shape} must be two lists of one length")
    if not (np.isfinite(c).all() and np.isfinite(loss).all() and (c > 0).all() and (loss > 0).all()):
        raise ValueError("every run of a curve needs finite, positive flops and bits_per_byte")
    budgets = np.unique(c)
    if len(budgets) < 2:
        raise ValueError(f"a curve needs runs at two budgets at least, found {len(budgets)}")
    return c, loss, budgets


def _huber(relative: Floats) -> Floats:
    """Weights that bound the pull of a residual beyond 2.5 robust standard deviations."""
    spread = 2.5 * 1.4826 * float(np.median(np.abs(relative)))
    if spread == 0:
        return np.ones(len(relative))
    return np.asarray(spread / np.maximum(np.abs(relative), spread))


def fit_batch(
    relative_flops: Floats, losses: Floats, weight: Floats, free_floor: bool
) -> tuple[Floats, Floats, Floats]:
    """Weighted least squares of many loss vectors at once: (floor, scale, alpha), each of shape (batch,).

    `losses` is (batch, runs), the other two (runs,). For each exponent the best non-negative floor and scale
    have a closed form (variable projection, Golub and Pereyra 1973); the exponent comes from a grid and two
    parabolas, through its three best points and through three close to their vertex.
    """
    log_c = np.log(relative_flops)
    _, _, cost = _solve(np.exp(-ALPHAS[:, None] * log_c)[None], losses, weight, free_floor)
    best = np.clip(np.argmin(cost, axis=1), 1, len(ALPHAS) - 2)
    step = float(np.log(ALPHAS[1] / ALPHAS[0]))
    alpha = ALPHAS[best] * np.exp(
        step * _vertex(cost[np.arange(len(losses))[:, None], best[:, None] + _THREE])
    )
    near = alpha[:, None] * np.exp(step / 8 * _THREE)
    _, _, cost = _solve(np.exp(-near[:, :, None] * log_c), losses, weight, free_floor)
    alpha = alpha * np.exp(step / 8 * _vertex(cost))
    floor, scale, _ = _solve(np.exp(-alpha[:, None, None] * log_c), losses, weight, free_floor)
    return floor[:, 0], scale[:, 0], alpha


_THREE = np.array([-1, 0, 1])


def _vertex(cost: Floats) -> Floats:
    """Where the parabola through `cost` (batch, 3) at -1, 0 and 1 is lowest, within -1 to 1."""
    left, middle, right = cost.T
    bend = left - 2 * middle + right
    vertex = 0.5 * (left - right) / np.where(bend > 0, bend, 1.0)
    return np.asarray(np.where(bend > 0, np.clip(vertex, -1.0, 1.0), 0.0))


def _solve(basis: Floats, losses: Floats, weight: Floats, free_floor: bool) -> tuple[Floats, Floats, Floats]:
    """Floor and scale of loss = floor + scale * basis, and the cost, each (batch, exponents).

    `basis` is (batch or 1, exponents, runs).
    """
    w = weight / weight.sum()
    weighted = losses * w
    mean = weighted.sum(axis=1, keepdims=True)
    basis_mean, basis_square = basis @ w, basis**2 @ w
    if basis.shape[0] == 1:
        cross = weighted @ basis[0].T
    else:
        cross = np.einsum("bkr,br->bk", basis, weighted)
    square = (weighted * losses).sum(axis=1, keepdims=True)
    scale = cross / basis_square
    floor = np.zeros_like(scale)
    if free_floor:
        free_scale = (cross - mean * basis_mean) / (basis_square - basis_mean**2)
        free = mean - free_scale * basis_mean
        scale = np.where(free > 0, free_scale, scale)
        floor = np.where(free > 0, free, 0.0)
    cost = square - 2 * (floor * mean + scale * cross)
    cost = cost + floor**2 + 2 * floor * scale * basis_mean + scale**2 * basis_square
    rising = scale < 0  # the best curve that does not rise is then a flat line
    return (
        np.where(rising, mean, floor),
        np.where(rising, 0.0, scale),
        np.where(rising, square - mean**2, cost),
    )
