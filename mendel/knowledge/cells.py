"""Runs sorted into cells of equal scale: size, tokens or compute, up to how exactly these are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mendel.knowledge.fits import Floats, Ints
from mendel.knowledge.isoflop import budgets
from mendel.knowledge.table import Table, TableError


@dataclass(frozen=True)
class Columns:
    """Numbers of a table by the names of a form, and one column of text where there is one."""

    numbers: Mapping[str, Floats]
    labels: tuple[str, ...] = ()

    def take(self, chosen: NDArray[np.bool_] | Ints) -> Columns:
        labels = tuple(np.array(self.labels, dtype=object)[chosen].tolist()) if self.labels else ()
        return Columns({name: values[chosen] for name, values in self.numbers.items()}, labels)


def read(
    table: Table, form: str, columns: Mapping[str, str], needed: Sequence[str], may: Sequence[str],
    text: str = "",
) -> Columns:  # fmt: skip
    """The columns of a form: those that are `needed`, those that `may` be there, and one of text. TableError
    for what is missing, unknown, or no number above 0 (a loss may be missing: NaN)."""
    known = (*needed, *may, *((text,) if text else ()))
    for name in columns:
        if name not in known:
            raise TableError(f"column {name!r} is none of {form}'s; allowed are {', '.join(known)}")
    missing = [name for name in (*needed, *((text,) if text else ())) if name not in columns]
    if missing:
        raise TableError(f"{form} needs the columns {', '.join(missing)}: write NAME=COLUMN for each")
    numbers = {name: table.numbers(column) for name, column in columns.items() if name != text}
    for name, values in numbers.items():
        bad = ~(values > 0) | np.isinf(values)
        if name == "loss":
            bad &= np.isfinite(values)
        if bad.any():
            where = f"column {columns[name]!r}, row {table.rows[bad][0]}"
            raise TableError(f"{table.name}: {where}: {values[bad][0]:g} must be a number above 0")
    return Columns(numbers, tuple(table.labels(columns[text])) if text else ())


def cells(scales: Sequence[Floats]) -> list[Ints]:
    """Places of the runs of each cell, from small to large by the first scale, then by the next. Values that
    are nearly equal are one, as some budgets are met nearly."""
    marks = np.zeros((len(scales[0]), len(scales)), dtype=np.int64)
    for column, values in enumerate(scales):
        for number, places in enumerate(budgets(values)):
            marks[places, column] = number
    _, place = np.unique(marks, axis=0, return_inverse=True)
    place = place.reshape(-1)
    return [np.flatnonzero(place == number) for number in range(int(place.max()) + 1)]


def best_by(knob: Floats, loss: Floats, other: Floats | None = None) -> tuple[Floats, Floats, Ints]:
    """Of one cell: each value of a knob, the mean loss of its runs, and how many values of another knob were
    tried with it; of these the best counts."""
    values, place = np.unique(knob, return_inverse=True)
    best, tried = np.empty(len(values)), np.ones(len(values), dtype=np.int64)
    for number in range(len(values)):
        mine = place == number
        if other is None:
            best[number] = loss[mine].mean()
            continue
        settings = np.unique(other[mine])
        best[number] = min(float(loss[mine & (other == one)].mean()) for one in settings)
        tried[number] = len(settings)
    return values, best, tried


def centre(values: Floats) -> float:
    """Geometric mean: where a cell is."""
    return float(np.exp(np.log(values).mean()))
