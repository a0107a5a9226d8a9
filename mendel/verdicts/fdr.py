"""Online e-BH: which of all the ideas that ever entered confirmation may be claimed.

A campaign that tests enough useless ideas will meet a lucky one. e-BH keeps the expected share of false
claims among all claims at most `alpha`, however the e-values depend on each other (shared controls, ideas
bred from earlier ideas) and wherever each of them was stopped. Every idea that enters confirmation is
charged a weight that was fixed before it entered.

Source: Wang and Ramdas, "False discovery rate control with e-values" (2022), weighted e-BH, Theorem 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

PLANNED_SHARE = 0.8
"""Share of the error budget spent on the planned number of ideas; the rest is kept for any that follow."""


def weights(count: int, planned: int) -> NDArray[np.float64]:
    """Weights of the first `count` ideas in order of entry; over endlessly many ideas they sum to one.

    Ideas come in blocks of `planned`, equal within a block. The first block shares 0.8. Blocks 2, 3, 4, ...
    share the other 0.2 as 6 / (pi^2 k^2), k = 1, 2, 3, ...: a campaign may go on for as long as it likes
    and still does not overspend, while the ideas that were planned pay only a factor of 1.25 for that.
    """
    if planned < 1:
        raise ValueError(f"planned is {planned}; it must be at least 1")
    block = np.arange(count) // planned
    later = (1 - PLANNED_SHARE) * 6 / (np.pi * np.maximum(block, 1)) ** 2
    return np.where(block == 0, PLANNED_SHARE, later) / planned


def e_bh(log_e: ArrayLike, planned: int, alpha: float) -> NDArray[np.intp]:
    """Indices of the ideas that may be claimed, ascending.

    `log_e` holds the natural-log e-value of every idea that entered confirmation, in order of entry: frozen
    where it was claimed, current where it runs, -inf where it stopped without a claim. With k claims, each of
    them has `weight * e >= 1 / (alpha k)`, and k is the largest number for which that works out. A claim
    whose e-value is frozen is never lost later, because k only grows.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    log_e = np.asarray(log_e, dtype=float)
    score = log_e + np.log(weights(len(log_e), planned) * alpha)
    ranked = np.sort(score)[::-1]
    enough = np.flatnonzero(ranked >= -np.log(np.arange(1, len(score) + 1)))
    if len(enough) == 0:
        return np.array([], dtype=np.intp)
    return np.flatnonzero(score >= -np.log(enough[-1] + 1))


def log_threshold(index: int, claims: int, planned: int, alpha: float) -> float:
    """Log e-value that idea `index` (order of entry, from 0) needs besides `claims` other claims."""
    return float(-np.log(weights(index + 1, planned)[index] * alpha * (claims + 1)))
