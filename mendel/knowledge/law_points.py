"""What a fitted law looks like: its runs with what the law says of them, and its curve with a band.

Plain numbers, for JSON and for whoever draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.knowledge.fits import Floats, Ints
from mendel.knowledge.laws import Law, Runs

POINTS = 60
"""Of a curve."""
BEYOND = 2.0
"""How far beyond the smallest and the largest run a curve is told."""
FITTED, LEFT_OUT, PREDICTED = "fitted", "left out", "predicted"


def points_of(
    law: Law,
    optimum: Floats,
    whole: Runs,
    near: NDArray[np.bool_],
    far: NDArray[np.bool_],
    kept: Ints,
    compute: Floats | None,
) -> dict[str, Any]:
    """The runs that were fitted, left out or predicted, column by column: row, loss, what the law says."""
    state = np.full(len(whole), "", dtype=object)
    state[far] = PREDICTED
    places = np.flatnonzero(near)
    state[places] = LEFT_OUT
    state[places[kept]] = FITTED
    used = np.flatnonzero(state != "")
    runs = whole.take(used)
    columns = {name: runs.x[:, place].tolist() for place, name in enumerate(law.columns)}
    if compute is not None:
        columns["c"] = compute[used].tolist()
    return {
        "rows": runs.rows.tolist(),
        **columns,
        "loss": runs.loss.tolist(),
        "law": np.exp(law.log_loss(optimum, runs.x)).tolist(),
        "used": state[used].tolist(),
    }


def curve_of(law: Law, optimum: Floats, drawn: Floats, points: Mapping[str, Any]) -> dict[str, Any]:
    """The law along one axis: for one column over that, for sizes and tokens the least loss at a compute. The
    band holds 95 % of the resamples at each place, not of runs."""
    one = len(law.columns) == 1
    over = np.array(points[law.columns[0]]) if one else np.array(points["c"])
    x = np.geomspace(over.min() / BEYOND, over.max() * BEYOND, POINTS)
    read = _along if one else _least
    spread = np.array([read(law, parameters, x) for parameters in drawn])
    middle = read(law, optimum, x)
    told = {
        "over": law.columns[0] if one else "c",
        "what": "the law" if one else "the least loss of any size at a compute",
    }
    spread = spread[np.isfinite(spread).all(axis=1)]
    if not np.isfinite(middle).all() or not len(spread):  # such a law has no best size
        return {**told, "x": [], "loss": [], "low": [], "high": []}
    low, high = np.quantile(spread, [0.025, 0.975], axis=0)
    return {
        **told,
        "x": x.tolist(),
        "loss": middle.tolist(),
        "low": np.minimum(low, middle).tolist(),
        "high": np.maximum(high, middle).tolist(),
    }


def _along(law: Law, inside: Floats, x: Floats) -> Floats:
    return np.asarray(np.exp(law.log_loss(inside, x[:, None])))


def _least(law: Law, inside: Floats, compute: Floats) -> Floats:
    """E + A n^-alpha + B d^-beta at the n that is best for each compute (Hoffmann et al. 2022, equation 4),
    all tokens unique."""
    plain = law.natural(inside)
    a, b, floor = plain[:3]
    alpha, beta = plain[3], plain[3 + len(law.exponents) - 1]
    if alpha <= 0 or beta <= 0:
        return np.full(len(compute), np.nan)
    log_n = (np.log(alpha * a / (beta * b)) + beta * np.log(compute / 6)) / (alpha + beta)
    log_d = np.log(compute / 6) - log_n
    return np.asarray(floor + a * np.exp(-alpha * log_n) + b * np.exp(-beta * log_d))
