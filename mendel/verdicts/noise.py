"""What earlier pairs teach about the noise of the next ones.

A screen has two or three pairs per idea, too few to know the idea's noise; all ideas together show what
noise is usual and how much it differs between ideas. Each idea's variance is taken to be drawn from a scaled
inverse chi-squared distribution, which the variances of a screen are enough to fit.

Source: Smyth, "Linear models and empirical Bayes methods for assessing differential expression" (2004).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, logsumexp

from mendel.records import Rule

Floats = NDArray[np.float64]

PAIRS = (2, 4, 8, 16, 32)
"""Numbers of pairs that knowledge of the noise may count for."""
SCALES: Floats = np.geomspace(0.1, 10.0, 121)
"""Usual noise that is considered, over the root mean square of what was measured."""


@dataclass(frozen=True)
class Noise:
    """What is known about the sd of differences before the first pair."""

    sd: float = 0.0
    """Usual sd, in the unit of the differences."""
    pairs: int = 0
    """Pairs that this counts for: degrees of freedom of the prior. 0: nothing is known."""


UNKNOWN = Noise()


def noise_of(rule: Rule) -> Noise:
    """What a rule knows of the noise."""
    return Noise(rule.noise, rule.noise_pairs)


def learn_noise(differences: Iterable[ArrayLike]) -> Noise:
    """The noise that the paired differences of other ideas, each (pairs,), let one expect.

    Variances s^2 with d degrees of freedom are s0^2 times F(d, d0). The posterior of d0, all of PAIRS equally
    likely before and s0 flat in its logarithm, gives its geometric mean, rounded down to one of PAIRS and to
    the degrees of freedom of all: in doubt ideas are taken to differ. Ideas without variance (a change that
    changes nothing) say nothing about the others; where no idea has two pairs that differ, nothing is known.
    """
    groups = [d[np.isfinite(d)] for d in (np.asarray(one, dtype=float) for one in differences)]
    groups = [d for d in groups if len(d) > 1 and np.ptp(d) > 0]
    if not groups:
        return UNKNOWN
    variance = np.array([d.var(ddof=1) for d in groups])
    freedom = np.array([len(d) - 1.0 for d in groups])
    unit = float((variance * freedom).sum() / freedom.sum())
    log_f = np.array([_log_f(variance / unit, freedom, pairs) for pairs in PAIRS])
    weight = np.exp(log_f - logsumexp(log_f))
    by_pairs = weight.sum(axis=1)
    expected = float(np.exp(by_pairs @ np.log(PAIRS)))
    place = int(np.searchsorted(PAIRS, expected, side="right")) - 1
    log_scale = float(weight[place] @ np.log(SCALES) / by_pairs[place])
    # What a few pairs have shown is worth no more than they are.
    known = min(PAIRS[place], int(freedom.sum()))
    return Noise(sd=float(unit**0.5 * np.exp(log_scale)), pairs=known)


def _log_f(variance: Floats, d1: Floats, d2: int) -> Floats:
    """Log density of all log variances by scale (SCALES,), where each variance over scale^2 is F(d1, d2)."""
    z = d1 / d2 * variance / SCALES[:, None] ** 2
    each = d1 / 2 * np.log(z) - (d1 + d2) / 2 * np.log1p(z) - betaln(d1 / 2, d2 / 2)
    return np.asarray(each.sum(axis=1))
