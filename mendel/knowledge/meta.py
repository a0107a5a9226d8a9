"""Effects of one idea from several studies together: what it is worth on average, and on a testbed that
nobody has tried.

Random effects: each study measures its own true effect, which scatters about a mean by tau. tau^2 is the
restricted maximum-likelihood estimate (Viechtbauer 2005), or Paule and Mandel's (1982) where that does not
converge; the interval of the mean is that of Hartung & Knapp (2001) and Sidik & Jonkman (2002), which holds
for few studies, never narrower than by the errors alone (Knapp & Hartung 2003); that of tau^2 by the profile
of Q (Viechtbauer 2007), and of I^2 from it (Higgins & Thompson 2002). What a new testbed would show takes in
that tau^2 is hardly known (Nagashima, Noma & Furukawa 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm, t

from mendel.knowledge.fits import Floats

LEVEL = 0.95
DRAWS = 4000
ROUNDS = 200
ENOUGH = 1e-10


@dataclass(frozen=True)
class Pooled:
    """What studies say together. With one study nothing is known of how they differ, and what needs it is
    None."""

    studies: int
    mean: float
    se: float
    low: float
    high: float
    tau2: float | None
    tau2_low: float | None
    tau2_high: float | None
    q: float | None
    p_q: float | None
    """That studies which measure one effect would differ so much."""
    i2: float | None
    """Share of their differences that is none of measurement."""
    i2_low: float | None
    i2_high: float | None
    new_low: float | None
    new_high: float | None
    """Effect on a testbed that is like these: needs three studies."""


def pooled(effects: Floats, errors: Floats) -> Pooled:
    """Effects (studies,) with their standard errors, each of a study of its own. ValueError for none, and for
    errors that are none."""
    y, e = np.asarray(effects, dtype=float), np.asarray(errors, dtype=float)
    if not len(y) or len(y) != len(e):
        raise ValueError(f"{len(y)} effects and {len(e)} standard errors")
    if not (np.isfinite(y).all() and np.isfinite(e).all() and (e > 0).all()):
        raise ValueError("each effect needs a finite value and a standard error above 0")
    k, half = len(y), float(norm.ppf((1 + LEVEL) / 2))
    if k == 1:
        one, its = float(y[0]), float(e[0])
        ends = one - half * its, one + half * its
        return Pooled(1, one, its, *ends, *[None] * 10)
    tau2 = reml(y, e)
    weight = 1 / (e**2 + tau2)
    mean = float((weight * y).sum() / weight.sum())
    scale = float((weight * (y - mean) ** 2).sum()) / (k - 1)
    se = (max(1.0, scale) / float(weight.sum())) ** 0.5
    width = float(t.ppf((1 + LEVEL) / 2, k - 1)) * se
    q = _q(0.0, y, e)
    tau2_low, tau2_high = _profile(y, e)
    typical = _typical(e)
    shares = [one / (one + typical) if math.isfinite(one) else 1.0 for one in (tau2, tau2_low, tau2_high)]
    drawn = foreseen(y, e)
    new = (None, None) if drawn is None else np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Pooled(
        k, mean, se, mean - width, mean + width,
        tau2, min(tau2_low, tau2), max(tau2_high, tau2), q, float(chi2.sf(q, k - 1)),
        shares[0], min(shares[1], shares[0]), max(shares[2], shares[0]), *new,
    )  # fmt: skip


def reml(y: Floats, e: Floats) -> float:
    """Variance of the true effects: by Fisher's scoring of the restricted likelihood (Viechtbauer 2005,
    equation 13), by Paule and Mandel's equation where that runs in circles."""
    tau2 = max(0.0, float(y.var(ddof=1) - (e**2).mean()))
    for _ in range(ROUNDS):
        w = 1 / (e**2 + tau2)
        mean = float((w * y).sum() / w.sum())
        slope = float((w**2).sum())
        step = float((w**2 * ((y - mean) ** 2 - e**2)).sum()) / slope + 1 / float(w.sum())
        if abs(step - tau2) < ENOUGH * (1 + tau2):
            return max(0.0, step)
        tau2 = max(0.0, step)
    return paule_mandel(y, e)


def paule_mandel(y: Floats, e: Floats) -> float:
    """The variance at which the weighted squares are as many as they should be."""
    return _where(len(y) - 1.0, y, e)


def foreseen(y: Floats, e: Floats, seed: int = 0) -> Floats | None:
    """Draws of the effect on a new testbed (Nagashima, Noma & Furukawa 2019, algorithm 1): tau^2 by
    its confidence distribution, the mean and the new testbed about it. None for fewer than three studies.

    A Student's t with the estimated tau^2 put in (Higgins, Thompson & Spiegelhalter 2009) takes it for known:
    where it is estimated as 0, by chance, such an interval is too short.
    """
    k = len(y)
    if k < 3:
        return None
    rng = np.random.default_rng(seed)
    spread = max(float(y.var(ddof=1)), float((e**2).min()))
    grid = np.concatenate([[0.0], np.geomspace(1e-6, 1e5, 400) * spread])
    weights = 1 / (e**2 + grid[:, None])
    means = (weights * y).sum(axis=1) / weights.sum(axis=1)
    q = (weights * (y - means[:, None]) ** 2).sum(axis=1)
    tau2 = np.interp(rng.chisquare(k - 1, DRAWS), q[::-1], grid[::-1], right=0.0)
    w = 1 / (e**2 + tau2[:, None])
    mean = (w * y).sum(axis=1) / w.sum(axis=1)
    scale = (w * (y - mean[:, None]) ** 2).sum(axis=1) / (k - 1)
    error = np.sqrt(np.maximum(scale, 1.0) / w.sum(axis=1))
    about = rng.standard_t(k - 1, DRAWS) * error
    return np.asarray(mean + about + rng.standard_normal(DRAWS) * np.sqrt(tau2))


def _profile(y: Floats, e: Floats) -> tuple[float, float]:
    """Interval of tau^2: where Q is no surprise under its chi-squared."""
    freedom = len(y) - 1
    outer = chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], freedom)
    return _where(float(outer[0]), y, e), _where(float(outer[1]), y, e)


def _q(tau2: float, y: Floats, e: Floats) -> float:
    """Cochran's Q, of errors and tau^2."""
    w = 1 / (e**2 + tau2)
    mean = (w * y).sum() / w.sum()
    return float((w * (y - mean) ** 2).sum())


def _where(value: float, y: Floats, e: Floats) -> float:
    """tau^2 at which Q has a value; 0 where it is below that already."""
    if _q(0.0, y, e) <= value:
        return 0.0
    most = max(1e-12, float(y.var(ddof=1)))
    for _ in range(200):
        if _q(most, y, e) < value:
            return float(brentq(lambda tau2: _q(tau2, y, e) - value, 0.0, most))
        most *= 4
    return math.inf


def _typical(e: Floats) -> float:
    """The error variance of a typical study (Higgins & Thompson 2002, equation 9)."""
    w = 1 / e**2
    return float((len(e) - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum()))


def of_study(effects: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Several effects of one study as one: they share controls, seeds and code, so their errors count as
    one and not as many."""
    return float(np.mean(effects)), float(np.mean(errors))


def error_of(low: float, high: float, level: float = LEVEL) -> float:
    """Standard error behind an interval."""
    return (high - low) / 2 / float(norm.ppf((1 + level) / 2))
