"""Tests of measured runs: Student's t, flips of signs, permutations, and one that may be looked at early."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from mendel.knowledge.fits import Floats
from mendel.verdicts.evalues import log_t_final, log_t_mixture
from mendel.verdicts.factorial import holm

EXACT = 15
"""Runs up to which all sign flips are tried."""
FLIPS = 20_000
MANY = 1000
"""Runs from which on the sum of flipped signs is as good as normal."""
FULL, LOOKS = 200, 40
"""Runs up to which an e-process is looked at after each, and looks at longer ones."""


def one_sided(gains: Floats, seed: int = 0, step: float = 0.0) -> dict[str, float]:
    """One-sided p that the mean of gains (runs,), two at least, is not above zero: Student's; by flips of
    signs; and that of an e-process in the order of the runs, which holds whenever one stopped. `step`: what
    values are rounded to, which no spread is smaller than."""
    n, mean = len(gains), float(gains.mean())
    error = max(float(gains.std(ddof=1)), step / 12**0.5) / n**0.5
    p = float(t.sf(mean / error, n - 1)) if error > 0 else 1.0
    if n <= FULL:
        most = float(log_t_mixture(gains).max())
    else:  # fewer looks are as valid
        looks = np.unique(np.geomspace(2, n, LOOKS).astype(int))
        most = max(log_t_final(gains[:look]) for look in looks)
    return {"p": p, "p_sign_flip": flips(gains, seed), "p_sequential": math.exp(-max(0.0, most))}


def flips(gains: Floats, seed: int = 0) -> float:
    """One-sided p by flips of signs, which trusts the noise to be symmetric and no more: exact for few."""
    n, found = len(gains), float(gains.sum())
    slack = 1e-9 * float(np.abs(gains).sum())
    if n <= EXACT:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((signs @ gains >= found - slack).mean())
    if n > MANY:
        return float(norm.sf(found / max(float(np.sqrt((gains**2).sum())), 1e-300)))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (FLIPS, n))
    return float((1 + (signs @ gains >= found - slack).sum()) / (1 + FLIPS))


def permuted(x: Floats, y: Floats, seed: int = 0) -> float:
    """Two-sided p of a difference of means by permutations of the labels."""
    rng, both = np.random.default_rng(seed), np.concatenate([x, y])
    found = abs(float(x.mean() - y.mean()))
    count = 0
    for _ in range(FLIPS // 4):
        rng.shuffle(both)
        count += abs(both[: len(x)].mean() - both[len(x) :].mean()) >= found * (1 - 1e-12)
    return float((1 + count) / (1 + FLIPS // 4))


def adjusted(values: Sequence[float | None]) -> list[float | None]:
    """p adjusted for how many there are, by Holm; None stays."""
    known = {place: p for place, p in enumerate(values) if p is not None}
    found: list[float | None] = [None] * len(values)
    for place, p in zip(known, holm(list(known.values())).tolist(), strict=True):
        found[place] = p
    return found


def resolution(x: Floats) -> float:
    """The last decimal that values are written to."""
    most = max((len(repr(float(one)).partition(".")[2].rstrip("0")) for one in x), default=0)
    return float(10.0**-most)
