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

from mendel.knowledge.compare import ENDED
from mendel.knowledge.fits import Floats, Ints
from mendel.knowledge.patterns.factors import Factor, Roles
from mendel.knowledge.states import COLUMNS, FAILED, FLAGS, UNFINISHED, state
from mendel.knowledge.table import FALSE, TRUE, Table

FIRST_PART = 0.45
"""Share of the units on which patterns are found; the others test them."""
FIXED = 4
"""Groups up to which each has a fixed effect of its own."""
SEED = "seed"
HUGE = 1e100
"""Results from which on they count as not finite."""
GRID = 0.5
"""Share of all combinations from which on settings are a grid."""
FEWEST = 8
"""Recipes, or campaigns, below which they are no groups of their own."""
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
    values, words = _results(table, target)
    lower = {name.lower(): name for name in table.columns}
    column = next((lower[one] for one in COLUMNS if one in lower), None)
    said = [one.strip().lower() for one in table.labels(column)] if column else [""] * len(table)
    said = [word or one for word, one in zip(words, said, strict=True)]
    states = np.array([state(one) for one in said])
    lost = ~(np.abs(values) < HUGE)
    unfinished = (states == UNFINISHED) | (_flagged(table, lower, ENDED, FALSE) & ~lost)
    broken = (states == FAILED) & ~unfinished
    for name in FLAGS:
        bad = _flagged(table, lower, (name,), TRUE)
        said = [name if flag and not broken[k] else said[k] for k, flag in enumerate(bad)]
        broken |= bad
        unfinished &= ~bad
    failed = (broken | lost) & ~unfinished
    why = tuple(
        (one if bad else "no result") if lost_ else ""
        for one, bad, lost_ in zip(said, broken, failed, strict=True)
    )
    return Runs(np.where(failed, np.nan, values), failed, ~unfinished, why)


def _results(table: Table, target: str) -> tuple[Floats, list[str]]:
    """The target as numbers, and the words that stand in place of some of them, such as "diverged"."""
    labels = table.labels(target)
    words = [one.strip().lower() if state(one) == FAILED and not _is_number(one) else "" for one in labels]
    if not any(words):
        return table.numbers(target), words
    bad = np.array([bool(one) for one in words])
    values = np.full(len(table), np.nan)
    values[~bad] = table.take(~bad).numbers(target)
    return values, words


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
    order: Ints
    """(units,): place in an order that hangs on settings alone."""
    first: np.ndarray
    """(units,): True for the part on which patterns are found: the first in that order."""
    runs: Ints
    """(units,): a row of the table for each (its first)."""
    noise: float
    """Standard deviation among the runs of one setting; NaN where none was repeated."""
    repeats: float
    """Mean number of runs of a setting."""


def settings(roles: Roles, rows: Ints) -> tuple[list[bytes], Ints]:
    """A key of what each row's knobs were set to, and a number for each."""
    columns = [one.codes[rows] for one in roles.knobs]
    columns += [one.missing[rows].astype(float) for one in roles.knobs if one.missing is not None]
    codes = np.stack(columns, axis=1) + 0.0  # no negative zero
    cells = [labels for name, labels in roles.shared.items() if name.lower() == "cell"]
    keys = [code.tobytes() for code in codes]
    if cells:
        keys = [
            key + repr([cell[row] for cell in cells]).encode()
            for key, row in zip(keys, rows.tolist(), strict=True)
        ]
    number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return keys, np.array([number[key] for key in keys], dtype=int)


def make_units(roles: Roles, runs: Runs) -> Units:
    """The units of a table's finished runs. ValueError where none finished."""
    rows = np.flatnonzero(runs.known & ~runs.failed)
    if not len(rows):
        raise ValueError("no run has a result")
    keys, cell = settings(roles, rows)
    y = runs.target[rows]
    for (
        labels
    ) in roles.shared.values():  # what a seed or a campaign does to settings that were tried in several
        y = _without_shared(y, cell, np.array(labels, dtype=object)[rows])
    names, first_row, counts = np.unique(cell, return_index=True, return_counts=True)
    mean = np.bincount(cell, weights=y) / counts
    left = y - mean[cell]
    spare = len(y) - len(names)
    noise = float(np.sqrt((left**2).sum() / spare)) if spare > 0 else float("nan")
    unit_rows = rows[first_row]
    factors = tuple(one for one in (knob.take(unit_rows) for knob in roles.knobs) if np.ptp(one.codes) > 0)
    groups = [
        _numbered(labels, unit_rows)
        for name, labels in roles.shared.items()
        if name.lower() != "cell" and SEED not in name.lower()
    ]
    if counts.max() == 1:  # nothing was repeated: seeds can be told from settings by what they have in common
        seeds = [
            _numbered(labels, unit_rows) for name, labels in roles.shared.items() if SEED in name.lower()
        ]
        groups += [one for one in seeds if one.max() < len(one) / 4]
    recipe, marks = _recipes(factors)
    if recipe is not None:
        groups.append(recipe)
    order = places([keys[place] for place in first_row] if marks is None else marks)
    weight = np.sqrt(_precision(mean, counts, noise))
    first = order < round(FIRST_PART * len(order))
    if recipe is not None:  # a recipe is in one part as a whole
        first = np.isin(recipe, np.unique(recipe[first]))
    return Units(
        mean, weight, factors, tuple(groups), order, first, unit_rows, noise, float(counts.mean())
    )  # fmt: skip


def _recipes(factors: Sequence[Factor]) -> tuple[Ints | None, list[bytes] | None]:
    """Where few recipes were tried at several settings of one more knob (a width, an epoch), the number of
    each unit's recipe: its runs share what the recipe does beyond all effects that are modelled. A full grid
    is no such store."""
    codes = np.stack([one.codes for one in factors], axis=1) if factors else np.zeros((0, 0))
    best: tuple[int, Ints, np.ndarray] | None = None
    for knob in range(codes.shape[1] if codes.shape[1] > 1 else 0):
        rest = np.delete(codes, knob, axis=1)
        number = np.unique(rest, axis=0, return_inverse=True)[1].ravel()
        count = int(number.max()) + 1
        if FEWEST <= count <= len(codes) / 2 and (best is None or count < best[0]):
            best = count, number, rest
    if best is None:
        return None, None
    grid = float(np.prod([len(np.unique(column)) for column in best[2].T], dtype=float))
    if best[0] >= GRID * grid:
        return None, None
    return best[1], [row.tobytes() for row in best[2] + 0.0]


def _numbered(labels: Sequence[str], rows: Ints) -> Ints:
    return np.unique(np.array(labels, dtype=object)[rows].astype(str), return_inverse=True)[1]


def _without_shared(y: Floats, cell: Ints, seeds: np.ndarray) -> Floats:
    """Results without what a seed does to all settings that were tried with several."""
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
    if not noise > 0 or counts.max() == counts.min():
        return np.ones(len(mean))
    between = max(float(mean.var()) - noise**2 * float((1 / counts).mean()), 0.1 * noise**2)
    found = 1 / (between / 4 + noise**2 / counts)  # a model explains some of what lies between settings
    return np.asarray(found / found.mean())


def places(keys: Sequence[bytes]) -> Ints:
    """A place for each unit, by a hash of its setting: the order of rows says nothing."""
    marks = [hashlib.sha256(key).hexdigest() for key in keys]
    found = np.empty(len(keys), dtype=int)
    found[np.argsort(marks, kind="stable")] = np.arange(len(keys))
    return found


def first_part(keys: Sequence[bytes]) -> np.ndarray:
    """Which units belong to the first part."""
    return places(keys) < round(FIRST_PART * len(keys))


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
        counts = np.bincount(self._group)
        theta = (1 - 1 / np.sqrt(1 + counts * self._share))[self._group]
        columns = out.reshape(len(out), -1)
        means = [
            np.bincount(self._group, weights=one)[self._group] / counts[self._group] for one in columns.T
        ]
        return np.asarray((columns - theta[:, None] * np.stack(means, axis=1)).reshape(out.shape))
