"""Online closed e-BH: which of all the ideas that ever entered confirmation may be claimed.

A campaign that tests enough useless ideas will meet a lucky one. e-BH keeps the expected share of false
claims among all claims at most `alpha`, however the e-values depend on each other (shared controls, ideas
bred from earlier ideas) and wherever each of them was stopped. Every idea that enters confirmation is
charged a weight that was fixed before it entered.

The closure makes claims that are far above their bar pay for those near it. A set R may be claimed if every
set S of ideas, were it the set of all useless ones, would have to have won too much money to be that:

    sum of w_i e_i over S  >=  (sum of w_i over S) |S and R| / (alpha |R|)

With S the useless ideas themselves the left side over the sum of weights is an e-value, worth 1 on average
at most, and so the share |S and R| / |R| of false claims is alpha on average at most: the whole proof.

Source: Wang and Ramdas, "False discovery rate control with e-values" (2022), weighted e-BH; Xu, Solari,
Fischer, de Heide, Ramdas and Goeman, "Bringing closure to false discovery rate control" (2025).
"""

from __future__ import annotations

from collections.abc import Collection

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


def closed_e_bh(
    log_e: ArrayLike, planned: int, alpha: float, standing: Collection[int] = ()
) -> NDArray[np.intp]:
    """Indices of the ideas that may be claimed, ascending.

    `log_e` holds the natural-log e-value of every idea that entered confirmation, in order of entry: frozen
    where it was claimed, current where it runs, -inf where it stopped without a claim. `standing` are the
    claims made before: they come first. Ideas outside the set and ideas that have not entered yet count with
    their weight and without any money, so that what runs or enters later can only help: a claim is never
    lost.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    log_e = np.asarray(log_e, dtype=float)
    weight = weights(len(log_e), planned)
    money = weight * np.exp(np.minimum(log_e, MOST))
    ranked = np.lexsort((-money, ~np.isin(np.arange(len(log_e)), list(standing))))
    money, weight = money[ranked], weight[ranked]
    size = np.arange(1, len(log_e) + 1)
    # What one claim alone must bring, and what makes plain e-BH content: between them lies the answer.
    least = (weight + 1 - np.cumsum(weight)) / (alpha * size)
    lowest = np.minimum.accumulate(money)
    plain = np.flatnonzero(lowest * (1 + ROUNDING) >= 1 / (alpha * size))
    enough = int(plain[-1]) + 1 if len(plain) else 0
    for k in np.flatnonzero(money * (1 + ROUNDING) >= least)[::-1] + 1:
        if k <= enough:
            break
        if _closed(money[:k], weight[:k], alpha):
            enough = int(k)
            break
    return np.sort(ranked[:enough])


MOST = 200.0
"""Log e-values are cut here, so that money can be added up."""
ROUNDING = 1e-12


def _closed(money: NDArray[np.float64], weight: NDArray[np.float64], alpha: float) -> bool:
    """Whether these ideas may be claimed together. The worst S of j claims has the poorest ones, weight
    considered, and all that is not claimed."""
    k = len(money)
    count = np.arange(1, k + 1)
    price = count / (alpha * k)
    # (j, ideas): what each adds to a set of j claims, less what it costs there.
    surplus = np.sort(money * (1 + ROUNDING) - price[:, None] * weight, axis=1)
    poorest = np.cumsum(surplus, axis=1)[np.arange(k), count - 1]
    return bool((poorest >= price * (1 - weight.sum())).all())


def log_threshold(index: int, others: Collection[int], planned: int, alpha: float) -> float:
    """Log e-value that idea `index` (order of entry, from 0) needs at least to be claimed beside `others`."""
    weight = weights(max(index, *others, 0) + 1, planned)
    claimed = weight[index] + weight[list(others)].sum()
    return float(np.log((weight[index] + 1 - claimed) / (weight[index] * alpha * (len(others) + 1))))
