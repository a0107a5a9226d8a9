"""Questions to imported runs: tables of runs, curves with their spread, values early in a run.

A metric's points lie together in the parts, ordered by run, and each group of them says between which runs it
lies: what is not asked for is not read. Short names will do: `lr` is `config.lr`, `loss` is `final.loss`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.inputs import allowed
from mendel.knowledge.import_files import CURVES, known_parts
from mendel.knowledge.table import RUNS, Table, TableError, read_table

Floats = NDArray[np.float64]
POINTS = 100
"""Steps of a mean curve, where nobody says how many."""
BAND = (0.1, 0.9)
"""Quantiles over runs between which the band of a mean curve lies."""


@dataclass(frozen=True)
class Points:
    """One metric of many runs: points in the order of runs and steps; run k has those from start[k] to
    start[k + 1]."""

    runs: list[str]
    start: NDArray[np.int64]
    steps: Floats
    values: Floats

    def __iter__(self) -> Iterator[tuple[str, Floats, Floats]]:
        for run, start, stop in zip(self.runs, self.start, self.start[1:], strict=False):
            yield run, self.steps[start:stop], self.values[start:stop]


@dataclass(frozen=True)
class Mean:
    """A mean curve: what the runs that reach a step show there."""

    steps: Floats
    mean: Floats
    sd: Floats
    low: Floats
    high: Floats
    runs: NDArray[np.int64]
    """How many have a finite value there."""


def metrics_of(folder: str | Path) -> list[str]:
    """Names of all metrics of a folder of imported runs."""
    return [name.removeprefix("final.") for name in read_table(folder).columns if name.startswith("final.")]


def points(folder: str | Path, metric: str, runs: Sequence[str] | None = None) -> Points:
    """The curves of a metric, of all runs or of some; runs without it are left out. TableError for an unknown
    metric."""
    import pyarrow as pa

    place = Path(folder)
    pieces = [
        piece for part in _parts(place) if (piece := _read(place / CURVES / part, metric, runs)) is not None
    ]
    if not pieces:
        known = metrics_of(place)
        if metric not in known:
            raise TableError(f"{folder}: no metric {metric!r}{allowed(metric, known)}")
        return Points([], np.zeros(1, np.int64), np.zeros(0), np.zeros(0))
    table = pa.concat_tables(pieces).unify_dictionaries().combine_chunks()
    column = table.column("run").chunk(0)
    codes = column.indices.to_numpy()
    edges = np.flatnonzero(np.diff(codes)) + 1
    start = np.concatenate([[0], edges, [len(codes)]]).astype(np.int64)
    names = column.dictionary.to_pylist()
    return Points(
        [names[code] for code in codes[start[:-1]]],
        start,
        table.column("step").chunk(0).to_numpy(),
        table.column("value").chunk(0).to_numpy(),
    )


def _parts(folder: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = folder / RUNS
    try:
        return list(known_parts(file, pq.read_schema(file).metadata)["parts"])
    except FileNotFoundError:
        raise TableError(f"{folder}: no imported runs lie there; see `mendel import`") from None
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None


def _read(part: Path, metric: str, runs: Sequence[str] | None) -> Any:
    """What a part has of a metric and some runs, None where that is nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = None if runs is None else sorted(runs)
    try:
        with pq.ParquetFile(part, memory_map=True, read_dictionary=["run"]) as file:
            found = file.metadata
            groups = [k for k in range(found.num_row_groups) if _may_have(found.row_group(k), metric, wanted)]
            if not groups:
                return None
            table = file.read_row_groups(groups, columns=["run", "step", "value"])
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{part}: cannot be read: {str(error).splitlines()[0]}") from None
    if wanted is not None:
        table = table.filter(pc.is_in(table.column("run"), pa.array(wanted, pa.string())))
    return table if table.num_rows else None


def _may_have(group: Any, metric: str, wanted: list[str] | None) -> bool:
    """Whether a group has this metric, of which it has one, and may have one of these runs."""
    if group.column(0).statistics.min != metric:
        return False
    if wanted is None:
        return True
    runs = group.column(1).statistics
    if not runs.has_min_max:
        return True
    place = bisect_left(wanted, runs.min)
    return place < len(wanted) and wanted[place] <= runs.max


def at_steps(curves: Points, steps: Floats) -> Floats:
    """The value of each run (rows) at each step (columns), straight between its points; NaN outside of them
    and where a neighbour is not finite."""
    found = np.empty((len(curves.runs), len(steps)))
    for row, (_, own, values) in enumerate(curves):
        found[row] = np.interp(steps, own, values, left=np.nan, right=np.nan)
    return found


def mean_curve(curves: Points, steps: Floats | None = None, count: int = POINTS) -> Mean:
    """Mean, sd and band over runs, on given steps or on `count` of their own."""
    grid = grid_of(curves, count) if steps is None else steps
    values = at_steps(curves, grid)
    values[~np.isfinite(values)] = np.nan
    there = (~np.isnan(values)).sum(axis=0)
    shown = there > 0
    grid, values, there = grid[shown], values[:, shown], there[shown]
    mean = np.nanmean(values, axis=0) if len(grid) else np.zeros(0)
    squares = np.nansum((values - mean) ** 2, axis=0)
    sd = np.sqrt(squares / np.maximum(there - 1, 1))
    sd[there < 2] = np.nan
    low, high = np.nanquantile(values, BAND, axis=0) if len(grid) else (np.zeros(0), np.zeros(0))
    return Mean(grid, mean, sd, low, high, there)


def grid_of(curves: Points, count: int) -> Floats:
    """Steps at which runs are compared: those they all logged, thinned out, or else evenly spaced ones."""
    if not curves.runs:
        return np.zeros(0)
    first = curves.steps[: curves.start[1]]
    lengths = np.diff(curves.start)
    if (lengths == len(first)).all() and (curves.steps.reshape(len(curves.runs), -1) == first).all():
        chosen = np.unique(np.linspace(0, len(first) - 1, min(count, len(first))).round().astype(int))
        return np.asarray(first[chosen], float)
    grid = np.linspace(float(curves.steps.min()), float(curves.steps.max()), count)
    return np.unique(grid.round()) if (curves.steps == curves.steps.round()).all() else grid


def early_values(
    folder: str | Path,
    metric: str,
    fractions: Sequence[float],
    runs: Sequence[str] | None = None,
    horizon: float | None = None,
) -> tuple[list[str], Floats]:
    """Run ids, and the values (runs, fractions) that runs had last logged at fractions of their way.

    The way of a run is to its own last step of the metric, or to `horizon` for all; NaN before the first
    point, and where a run did not come so far.
    """
    curves = points(folder, metric, runs)
    shares = np.asarray(fractions, float)
    found = np.full((len(curves.runs), len(shares)), np.nan)
    for row, (_, steps, values) in enumerate(curves):
        edges = shares * (steps[-1] if horizon is None else horizon)
        place = np.searchsorted(steps, edges, side="right") - 1
        there = (place >= 0) & (edges <= steps[-1])
        found[row, there] = values[place[there]]
    return curves.runs, found


def select(
    table: Table,
    columns: Sequence[str],
    sort: str | None = None,
    descending: bool = False,
    top: int | None = None,
) -> list[dict[str, Any]]:
    """Rows with some columns, sorted by one of numbers or of text; where that is missing they come last."""
    places = np.arange(len(table))
    if sort is not None:
        try:
            keys: NDArray[Any] = table.numbers(sort)
            missing = np.isnan(keys)
        except TableError:
            keys = np.array(table.labels(sort), dtype=object)
            missing = keys == ""
        there = np.flatnonzero(~missing)
        order = there[np.argsort(keys[there], kind="stable")]
        places = np.concatenate([order[::-1] if descending else order, np.flatnonzero(missing)])
    chosen = table.take(places[:top])
    values = [chosen.values(column) for column in columns]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
