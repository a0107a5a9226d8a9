"""Units of evidence: the runs of one setting are one, whatever their seeds; parts for finding and testing.

Runs that share all knobs differ by noise alone, so their mean is one unit and not many. What seeds do to
every setting alike is taken off first. Campaigns, sweeps and the like shift all their runs together: a few
are fixed effects, many are random ones (Fuller & Battese 1973: each mean is taken off by a share that the two
variances give).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mendel.knowledge.compare import BROKEN, ENDED, STATES
from mendel.knowledge.fits import Floats, Ints
from mendel.knowledge.patterns.factors import Factor, Roles
from mendel.knowledge.table import FALSE, TRUE, Table

FIRST_PART = 0.45
"""Share of the units on which patterns are found; the others test them."""
FIXED = 4
"""Groups up to which each has a fixed effect of its own."""
SEED = "seed"
UNFINISHED = (
    "running",
    "queued",
    "pending",
    "preempted",
    "cancelled",
    "canceled",
    "interrupted",
    "unfinished",
)
"""States of a run that neither ended nor failed."""
FLAGS = ("failed", "crashed", "diverged", "oom", "nan")
"""Columns of yes and no that say that a run failed."""
ADJUST = 20
"""Rounds of taking off the means of settings and of seeds in turn."""


@dataclass(frozen=True)
class Runs:
    """A table's runs, split into what ended, what failed, and neither."""

    target: Floats
    """(runs,): NaN where there is none."""
    failed: np.ndarray
    """(runs,): True where a run failed or its result is not finite."""
    known: np.ndarray
    """(runs,): True where it ended or failed."""
    why: tuple[str, ...]
    """Status of each run, "no result" where it ended without."""


def read_runs(table: Table, target: str) -> Runs:
    """What became of each run, by its status or flags where columns tell, and by its result."""
    values = table.numbers(target)
    lower = {name.lower(): name for name in table.columns}
    column = next((lower[one] for one in STATES if one in lower), None)
    states = [one.strip().lower() for one in table.labels(column)] if column else [""] * len(table)
    lost = ~np.isfinite(values)
    unfinished = np.array([one in UNFINISHED for one in states])
    unfinished |= _flagged(table, lower, ENDED, FALSE) & ~lost
    broken = np.array([bool(BROKEN.fullmatch(one)) for one in states]) & ~unfinished
    for name in FLAGS:
        bad = _flagged(table, lower, (name,), TRUE)
        states = [name if flag and not old else old for flag, old in zip(bad, states, strict=True)]
        broken |= bad
        unfinished &= ~bad
    why = tuple(
        state if bad else ("no result" if nothing else "")
        for state, bad, nothing in zip(states, broken, lost, strict=True)
    )
    failed = (broken | lost) & ~unfinished
    return Runs(np.where(failed, np.nan, values), failed, ~unfinished, why)


def _flagged(table: Table, lower: dict[str, str], names: Sequence[str], said: Sequence[str]) -> np.ndarray:
    """Where a column of yes and no says so; nowhere, where there is none."""
    found = np.zeros(len(table), dtype=bool)
    for name in names:
        labels = [one.strip().lower() for one in table.labels(lower[name])] if name in lower else []
        if labels and {*labels} <= {*TRUE, *FALSE}:
            found |= np.array([one in said for one in labels])
    return found


@dataclass(frozen=True)
class Units:
    """Settings with their mean result."""

    target: Floats
    weight: Floats
    """(units,): relative precision of the mean, about 1."""
    factors: tuple[Factor, ...]
    groups: tuple[Ints, ...]
    """Labels (units,) of each campaign-like column, as numbers."""
    first: np.ndarray
    """(units,): True for the part on which patterns are found."""
    runs: Ints
    """(units,): a row of the table for each (its first)."""
    noise: float
    """Standard deviation among the runs of one setting; NaN where none was repeated."""
    repeats: float
    """Mean number of runs of a setting."""


def settings(roles: Roles, rows: Ints) -> tuple[list[bytes], Ints]:
    """A key of what each row's knobs were set to, and a number for each."""
    codes = np.stack([one.codes[rows] for one in roles.knobs], axis=1) + 0.0  # no negative zero
    cells = [labels for name, labels in roles.shared.items() if name.lower().endswith("cell")]
    keys = [code.tobytes() for code in codes]
    if cells:
        keys = [
            key + repr([cell[row] for cell in cells]).encode()
            for key, row in zip(keys, rows.tolist(), strict=True)
        ]
    number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return keys, np.array([number[key] for key in keys])


def make_units(roles: Roles, runs: Runs) -> Units:
    """The units of a table's finished runs."""
    rows = np.flatnonzero(runs.known & ~runs.failed)
    keys, cell = settings(roles, rows)
    y = runs.target[rows]
    for name, labels in roles.shared.items():
        if SEED in name.lower():
            y = _without_seeds(y, cell, np.array(labels, dtype=object)[rows])
    names, first_row, counts = np.unique(cell, return_index=True, return_counts=True)
    mean = np.bincount(cell, weights=y) / counts
    left = y - mean[cell]
    spare = len(y) - len(names)
    noise = float(np.sqrt((left**2).sum() / spare)) if spare > 0 else float("nan")
    unit_rows = rows[first_row]
    factors = tuple(one.take(unit_rows) for one in roles.knobs)
    groups = [
        _numbered(labels, unit_rows)
        for name, labels in roles.shared.items()
        if not name.lower().endswith(("seed", "cell"))
    ]
    if counts.max() == 1:  # nothing was repeated: seeds can be told from settings by what they have in common
        seeds = [
            _numbered(labels, unit_rows) for name, labels in roles.shared.items() if SEED in name.lower()
        ]
        groups += [one for one in seeds if one.max() < len(one) / 4]
    weight = np.sqrt(_precision(mean, counts, noise))
    part = first_part([keys[place] for place in first_row])
    return Units(mean, weight, factors, tuple(groups), part, unit_rows, noise, float(counts.mean()))


def _numbered(labels: Sequence[str], rows: Ints) -> Ints:
    return np.unique(np.array(labels, dtype=object)[rows].astype(str), return_inverse=True)[1]


def _without_seeds(y: Floats, cell: Ints, seeds: np.ndarray) -> Floats:
    """Results without what a seed does to all settings: only where most seeds are shared."""
    _, seed, counts = np.unique(seeds.astype(str), return_inverse=True, return_counts=True)
    if len(counts) > len(y) / 3 or len(counts) < 2 or len(np.unique(cell)) == len(y):
        return y
    effect = np.zeros(len(counts))
    size = np.bincount(cell)
    for _ in range(ADJUST):
        inside = y - effect[seed]
        inside = inside - (np.bincount(cell, weights=inside) / size)[cell] + effect[seed]
        effect = np.bincount(seed, weights=inside) / counts
    return np.asarray(y - effect[seed] + effect.mean())


def _precision(mean: Floats, counts: Ints, noise: float) -> Floats:
    """Relative precision of each mean: noise falls with the runs, what the model misses does not."""
    if not np.isfinite(noise) or counts.max() == counts.min():
        return np.ones(len(mean))
    between = max(float(mean.var()) - noise**2 * float((1 / counts).mean()), 0.1 * noise**2)
    found = 1 / (between / 4 + noise**2 / counts)  # a model explains some of what lies between settings
    return np.asarray(found / found.mean())


def first_part(keys: Sequence[bytes]) -> np.ndarray:
    """Which units belong to the first part: by a hash of their setting, so the order of rows says nothing."""
    marks = [hashlib.sha256(key).hexdigest() for key in keys]
    found = np.zeros(len(keys), dtype=bool)
    found[np.argsort(marks, kind="stable")[: round(FIRST_PART * len(keys))]] = True
    return found


class Whitening:
    """Rows scaled to equal variance, and freed of the random effects of one grouping."""

    def __init__(self, weight: Floats, group: Ints | None = None, share: float = 0.0) -> None:
        self._weight, self._group, self._share = weight, group, share

    def __call__(self, x: Floats) -> Floats:
        """x (units, ...) as ordinary least squares may see it."""
        w = self._weight.reshape(-1, *([1] * (x.ndim - 1)))
        out = w * x
        if self._group is None or self._share <= 0:
            return out
        for number in range(int(self._group.max()) + 1):
            mine = self._group == number
            if mine.any():
                count = int(mine.sum())
                theta = 1 - 1 / np.sqrt(1 + count * self._share)
                out[mine] -= theta * out[mine].mean(axis=0)
        return out
