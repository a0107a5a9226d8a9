"""Least squares with what is not of interest taken out, robust to heavy tails and to unequal noise.

A feature is tested beside all others: both it and the target are freed of them (Frisch & Waugh 1933),
outliers count by Huber's pseudo-values (Huber 1973), the error of a coefficient is the larger of the usual
one and HC3 (MacKinnon & White 1985), and p the larger of Student's and that of permuted residuals (Freedman &
Lane 1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import t

from mendel.knowledge.fits import Floats, Ints

CLIP = 2.5
"""Residual, in robust standard deviations, from which Huber's loss is linear."""
ROUNDS = 40
OWN = 1e-3
"""Share of a feature's variance that the others must not tell, or its effect cannot be told from theirs."""
PERMUTATIONS = 4000
PERMUTED = 1000
"""Units up to which residuals are permuted; with more the central limit does."""
UNEQUAL = 50
"""Units from which the noise may be measured setting by setting."""


def basis(columns: Floats) -> Floats:
    """An orthonormal basis (units, rank) of columns (units, k), from their Gram matrix: units are many."""
    size = np.sqrt((columns**2).sum(axis=0))
    x = columns[:, size > 0] / size[size > 0]
    values, vectors = np.linalg.eigh(x.T @ x)
    kept = values > 1e-9 * max(x.shape[1], 1)
    return np.asarray(x @ (vectors[:, kept] / np.sqrt(values[kept])))


def free_of(q: Floats, x: Floats) -> Floats:
    """x (units, ...) without its projection on an orthonormal basis (units, rank)."""
    return np.asarray(x - q @ (q.T @ x))


def pseudo_values(y: Floats, q: Floats) -> tuple[Floats, float]:
    """A target whose least squares are Huber's fit of y on a basis, and the robust sd of what is left."""
    freedom = max(len(y) - q.shape[1], 1)
    out, sd, slope = y, 0.0, 1.0
    fitted = q @ (q.T @ y)
    for _ in range(ROUNDS):
        left = y - fitted
        sd = 1.4826 * float(np.median(np.abs(left))) * np.sqrt(len(y) / freedom)
        if sd <= 0:  # more than half is told exactly
            return y, float(np.sqrt((left**2).sum() / freedom))
        clipped = np.clip(left, -CLIP * sd, CLIP * sd)
        slope = max(float((np.abs(left) < CLIP * sd).mean()), 0.5)
        out = fitted + clipped / slope
        before, fitted = fitted, q @ (q.T @ out)
        if float(np.abs(fitted - before).max()) < 1e-4 * sd:
            break
    return out, float(np.sqrt(((out - fitted) ** 2).sum() / freedom))


@dataclass(frozen=True)
class Tested:
    """One feature beside the others."""

    p: float
    """One-sided: that its coefficient is not above zero."""
    score: float
    """Signed square of the partial correlation: the share that it tells of what the others leave."""


def test_feature(y: Floats, feature: Floats, nuisance: Floats, seed: int = 0, freedom: int = 0) -> Tested:
    """Whether the target (units,) rises with a feature (units,), `nuisance` (units, rank) taken out of both.
    `freedom`: at most so many degrees, where units are not independent of each other for this feature."""
    x, left = free_of(nuisance, feature), free_of(nuisance, y)
    size, degrees = float(x @ x), len(y) - nuisance.shape[1] - 1
    if size <= OWN * float(feature.var()) * len(y) or degrees < 2 or not (left @ left) > 0:
        return Tested(1.0, 0.0)
    value = float(x @ left) / size
    error = _error(x, left - value * x, size, nuisance, degrees)
    if error <= 1e-9 * abs(value):  # told to the last digit
        p = 0.0 if value > 0 else 1.0
    else:
        p = float(t.sf(value / error, min(degrees, freedom or degrees)))
    if len(y) <= PERMUTED and p < 0.5 and not freedom:
        p = max(p, _permuted(x, left, seed))
    r = float(x @ left) / np.sqrt(size * float(left @ left))
    return Tested(p, float(r * abs(r)))


def _error(x: Floats, residual: Floats, size: float, nuisance: Floats, degrees: int) -> float:
    usual = np.sqrt(float(residual @ residual) / degrees / size)
    if len(x) < UNEQUAL:
        return float(usual)
    pull = np.clip((nuisance**2).sum(axis=1) + x**2 / size, 0, 0.95)
    unequal = np.sqrt(float(((x * residual / (1 - pull)) ** 2).sum())) / size
    return float(max(usual, unequal))


def _permuted(x: Floats, left: Floats, seed: int) -> float:
    """One-sided p by permutations; the least that they can show counts as shown by Student's t alone."""
    found = float(x @ left)
    above = int((left[_orders(len(left), seed)] @ x >= found * (1 - 1e-12)).sum())
    return 0.0 if above < 3 else (1 + above) / (1 + PERMUTATIONS)


@lru_cache(maxsize=2)
def _orders(count: int, seed: int) -> Ints:
    """The same shuffles (PERMUTATIONS, count) for every feature."""
    return np.argsort(np.random.default_rng(seed).random((PERMUTATIONS, count)), axis=1)


def contrast(
    y: Floats, features: Floats, nuisance: Floats, weights: Floats, level: float, freedom: int = 0
) -> tuple[float, float, float]:
    """Value and interval of weights (k,) times the coefficients of features (units, k)."""
    x, left = free_of(nuisance, features), free_of(nuisance, y)
    inverse = np.linalg.pinv(x.T @ x, rcond=1e-9, hermitian=True)
    coefficients = inverse @ (x.T @ left)
    residual = left - x @ coefficients
    degrees = max(len(y) - nuisance.shape[1] - features.shape[1], 1)
    direction = inverse @ weights
    usual = float(residual @ residual) / degrees * float(weights @ direction)
    along = x @ direction
    error = np.sqrt(max(usual, 0.0))
    if len(y) >= UNEQUAL:
        pull = np.clip((nuisance**2).sum(axis=1) + ((x @ inverse) * x).sum(axis=1), 0, 0.95)
        error = max(error, np.sqrt(float(((along * residual / (1 - pull)) ** 2).sum())))
    value = float(weights @ coefficients)
    half = float(t.ppf((1 + level) / 2, min(degrees, freedom or degrees))) * float(error)
    return value, value - half, value + half
