"""Runs whose result is so far from what their knobs say that they failed, whatever their status is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mendel.knowledge.patterns.factors import Roles
from mendel.knowledge.patterns.failures import LEAST
from mendel.knowledge.patterns.linear import pseudo_values
from mendel.knowledge.patterns.search import Part
from mendel.knowledge.patterns.units import Runs, Units, make_units

FAR = 10.0
"""Result, in robust standard deviations of what knobs leave, from which a run counts as diverged."""
RARE = 0.15
"""Share of the runs that may lie so far off and be failures: more of them are no exception."""


def without_diverged(found: Roles, runs: Runs, units: Units, higher: bool) -> tuple[Runs, Units, int]:
    """The runs with the diverged ones as failures, units without them, and how many there are."""
    part = Part(units, np.arange(len(units.target)), None, [])
    q = part.others(None)
    y, _ = pseudo_values(part.target, q)
    sign = -1.0 if higher else 1.0
    left = (part.target - q @ (q.T @ y)) * sign
    sd = 1.4826 * float(np.median(np.abs(left)))
    off = left > FAR * sd
    if sd <= 0 or off.sum() < LEAST / 2 or off.mean() > RARE:
        return runs, units, 0
    # All that is as bad as the best of them, so that a run's neighbours do not decide what it is called.
    lost = runs.known & ~runs.failed & (sign * runs.target >= (sign * units.target[off]).min())
    if lost.sum() > RARE * runs.known.sum():
        return runs, units, 0
    why = tuple("far from all others" if bad else old for bad, old in zip(lost, runs.why, strict=True))
    runs = replace(runs, failed=runs.failed | lost, target=np.where(lost, np.nan, runs.target), why=why)
    return runs, make_units(found, runs), int(lost.sum())
