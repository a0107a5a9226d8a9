"""Multipliers of recipes over a baseline against scale, as one JSON object with its words first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.inputs import allowed
from mendel.knowledge.cells import best_by, cells, centre, read
from mendel.knowledge.compare import BASELINE
from mendel.knowledge.fits import Floats
from mendel.knowledge.multiplier import (
    LEAST_TREND,
    Baseline,
    Cell,
    Trend,
    baseline_of,
    multipliers,
    trend_of,
)
from mendel.knowledge.table import Table, TableError
from mendel.verdicts.curve import REACH

NEEDED, MAY, TEXT = ("loss",), ("c", "n", "d", "knob"), "recipe"
CURVE = 60
UNFAIR = 1.5
"""Ratio of the values of a knob that two recipes were tuned over from which on the best of them is luck."""


class Arm:
    """The runs of one recipe: size (NaN where none are given), compute, loss; with a knob, the best value of
    each cell alone."""

    def __init__(self, name: str, size: Floats, compute: Floats, loss: Floats, knob: Floats | None) -> None:
        self.name, self.tried = name, 1.0
        if knob is None:
            self.size, self.compute, self.loss = size, compute, loss
            return
        rows, counts = [], []
        for places in cells([np.nan_to_num(size, nan=1.0), compute]):
            values, losses, _ = best_by(knob[places], loss[places])
            counts.append(len(values))
            rows.append((float(size[places][0]), centre(compute[places]), float(losses.min())))
        self.size, self.compute, self.loss = np.array(rows).T
        self.tried = float(np.mean(counts))


def multiplier_report(
    table: Table, columns: Mapping[str, str], chosen: NDArray[np.bool_], baseline: str | None,
    noise: float | None, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Compare the recipes of the `chosen` rows. TableError and ValueError say what is wrong."""
    if noise is not None and not 0 < noise < 1:
        raise ValueError(f"--noise {noise:g}: must be between 0 and 1, such as 0.005")
    arms, lost = _arms(table, columns, chosen)
    first = _baseline(arms, baseline)
    base = baseline_of(first.size, first.compute, first.loss, noise, seed)
    recipes = [_recipe(base, arm, seed) for arm in arms.values() if arm is not first]
    parameters: dict[str, Any] = {}
    for one in recipes:
        parameters |= _parameters(one)
    warnings = [f"{lost} runs have no number for a loss and are left out."] if lost else []
    warnings += _unfair(first, [arm for arm in arms.values() if arm is not first])
    if len(base.curves) < len({*first.size.tolist()}) and not np.isnan(first.size).all():
        gone = len({*first.size.tolist()}) - len(base.curves)
        warnings.append(f"{gone} sizes of {first.name} have too few computes for a curve and are left out.")
    report = {
        "form": "multiplier",
        "baseline": first.name,
        "noise": base.noise,
        "parameters": parameters,
        "recipes": recipes,
        "curves": _curves(base, first),
        "warnings": warnings,
    }
    words = [line for one in recipes for line in _words(one, first.name)]
    return {**report, "words": [*words, *warnings]}


def _arms(table: Table, columns: Mapping[str, str], chosen: NDArray[np.bool_]) -> tuple[dict[str, Arm], int]:
    found = read(table, "multiplier", columns, NEEDED, MAY, TEXT).take(chosen)
    numbers = dict(found.numbers)
    if "c" not in numbers:
        if not {"n", "d"} <= numbers.keys():
            raise TableError("multiplier needs compute: c=COLUMN, or n=COLUMN and d=COLUMN for 6 n d")
        numbers["c"] = 6 * numbers["n"] * numbers["d"]
    kept = np.isfinite(numbers["loss"])
    labels = np.array(found.labels, dtype=object)
    arms = {}
    for name in dict.fromkeys(found.labels):
        mine = (labels == name) & kept
        if mine.any():
            size = numbers["n"][mine] if "n" in numbers else np.full(int(mine.sum()), np.nan)
            knob = numbers["knob"][mine] if "knob" in numbers else None
            arms[name] = Arm(name, size, numbers["c"][mine], numbers["loss"][mine], knob)
    if len(arms) < 2:
        raise TableError(f"{table.name}: column {columns[TEXT]!r} has one recipe: {', '.join(arms)}")
    return arms, int((~kept).sum())


def _baseline(arms: Mapping[str, Arm], name: str | None) -> Arm:
    if name is not None:
        if name not in arms:
            raise TableError(f"--baseline {name!r}: no such recipe{allowed(name, list(arms)[:20])}")
        return arms[name]
    likely = [one for one in arms if BASELINE.search(one)]
    if len(likely) != 1:
        raise TableError(f"--baseline: say which recipe the others are compared with: {', '.join(arms)}")
    return arms[likely[0]]


def _recipe(base: Baseline, arm: Arm, seed: int) -> dict[str, Any]:
    found = multipliers(base, arm.size, arm.compute, arm.loss, seed)
    trend = trend_of(found)
    computes = [one.compute for one in found if not one.bound]
    return {
        "recipe": arm.name,
        "cells": [_cell(one) for one in found],
        "better": sum(one.log2_cm > 0 for one in found),
        "shown_better": sum(one.low > 0 for one in found),
        "shown_worse": sum(one.high < 0 for one in found),
        "bounds": sum(bool(one.bound) for one in found),
        "trend": None if trend is None else _trend(trend, min(computes), max(computes)),
    }


def _cell(one: Cell) -> dict[str, Any]:
    return {
        **({} if math.isnan(one.size) else {"n": one.size}),
        "c": one.compute,
        "loss": one.loss,
        "runs": one.runs,
        "log2_cm": one.log2_cm,
        "low": one.low if math.isfinite(one.low) else None,
        "high": one.high if math.isfinite(one.high) else None,
        "cm": 2**one.log2_cm,
        "bound": one.bound,
    }


def _trend(one: Trend, least: float, most: float) -> dict[str, Any]:
    """`least` and `most`: computes between which the trend is told, never beyond."""
    shown = "falls" if one.slope + one.half < 0 else "rises" if one.slope - one.half > 0 else ""
    return {
        "cells": one.cells,
        "middle": 10**one.centre,
        "level": {"value": one.level, "low": one.level - one.level_half, "high": one.level + one.level_half},
        "slope": {"value": one.slope, "low": one.slope - one.half, "high": one.slope + one.half},
        "shown": shown,
        "ends": [{"c": c, "cm": 2 ** one.at(c)} for c in (least, most)],
    }


def _parameters(one: Mapping[str, Any]) -> dict[str, Any]:
    trend, name = one["trend"], one["recipe"]
    if trend is None:
        return {}
    level, slope = trend["level"], trend["slope"]
    quarter = (level["high"] - level["low"]) / 4
    multiplier = {key: 2 ** level[key] for key in ("value", "low", "high")}
    multiplier["se"] = multiplier["value"] * math.log(2) * quarter
    return {
        f"{name}: CM at {trend['middle']:.3g}": {**multiplier, "identified": True},
        f"{name}: log2 CM per decade": {
            **slope, "se": (slope["high"] - slope["low"]) / 4, "identified": bool(trend["shown"]),
        },
    }  # fmt: skip


def _curves(base: Baseline, first: Arm) -> list[dict[str, Any]]:
    rows = []
    for size, curve in base.curves.items():
        x = np.geomspace(base.least[size] / REACH, curve.max_flops * REACH, CURVE)
        if math.isnan(size):
            mine = np.ones(len(first.size), dtype=bool)
        else:
            mine = np.abs(np.log(first.size / size)) < 0.05
        rows.append(
            {
                **({} if math.isnan(size) else {"n": size}),
                "c": first.compute[mine].tolist(),
                "loss": first.loss[mine].tolist(),
                "x": x.tolist(),
                "curve": curve.loss(x).tolist(),
                "measured": [base.least[size], curve.max_flops],
            }
        )
    return rows


def _unfair(first: Arm, others: Sequence[Arm]) -> list[str]:
    return [
        f"{arm.name} was tuned over {arm.tried:.1f} values in a cell, {first.name} over {first.tried:.1f}: "
        "the best of more is better by luck."
        for arm in others
        if max(arm.tried, first.tried) > UNFAIR * min(arm.tried, first.tried)
    ]


# --- words ------------------------------------------------------------------------------------------------


def _words(one: Mapping[str, Any], baseline: str) -> list[str]:
    name, count = one["recipe"], len(one["cells"])
    if not count:
        return [f"{name}: no run at a size that {baseline} has a curve of."]
    words = [
        f"{name} beats {baseline} in {one['better']} of {count} cells; shown, with an interval beyond 1, it "
        f"is better in {one['shown_better']} and worse in {one['shown_worse']}."
    ]
    if one["bounds"]:
        words.append(
            f"Bounds, and no more, are known of {one['bounds']} of its multipliers: the loss lies beyond "
            f"{REACH:g} times what {baseline} was measured at. The trend leaves these out."
        )
    trend = one["trend"]
    if trend is None:
        words.append(f"{name}: a trend takes {LEAST_TREND} multipliers over a factor of 2 of compute.")
        return words
    level, slope = trend["level"], trend["slope"]
    small, large = trend["ends"]
    ends = f"[{slope['low']:+.3f}, {slope['high']:+.3f}]"
    if trend["shown"]:
        gain = level["low"] > 0 and min(small["cm"], large["cm"]) > 1
        moves = {"falls": "shrinks", "rises": "grows"}[trend["shown"]] if gain else trend["shown"]
        words.append(
            f"{'The gain' if gain else 'The multiplier'} {moves} from {small['cm']:.2f}x at {small['c']:.3g} "
            f"to {large['cm']:.2f}x at {large['c']:.3g} FLOPs (log2 CM {slope['value']:+.3f} per tenfold "
            f"compute {ends})."
        )
    else:
        words.append(
            f"No trend over compute is shown (log2 CM {slope['value']:+.3f} per tenfold compute {ends})."
        )
    words.append(
        f"{name} at the middle, {trend['middle']:.3g} FLOPs: CM {2 ** level['value']:.3f} "
        f"[{2 ** level['low']:.3f}, {2 ** level['high']:.3f}]."
    )
    return words
