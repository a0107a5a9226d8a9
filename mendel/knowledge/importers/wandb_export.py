"""What people take out of Weights & Biases: a run's history (columns `_step`, ...), or a chart's table
(`Step`, then `RUN - METRIC` with `__MIN` and `__MAX` beside it)."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mendel.knowledge.importers.run import Curve, SourceRun, Unread, curve
from mendel.knowledge.importers.tables import Meaning, named, opened, rejected, runs_of
from mendel.knowledge.table import KINDS, read_table

STEP = "_step"
RUNS = ("run_id", "run", "run_name", "_run")
"""Columns that say whose row it is, where a file has more than one run."""
CHART = re.compile(r"(?P<run>.+) - (?P<metric>.+)")
BOUNDS = ("__MIN", "__MAX")


def exports(source: Path) -> list[Path]:
    """The files of a source that are exports, by their columns."""
    files = [source] if source.is_file() else sorted(one for one in source.glob("*") if one.is_file())
    return [file for file in files if file.suffix.lower() in KINDS and _names(file)]


def read_exports(source: Path) -> Iterator[SourceRun | Unread]:
    for file in exports(source):
        names = _names(file)
        yield from _history(file, names) if STEP in names else _chart(file)


def _names(file: Path) -> list[str]:
    """Its columns where it is an export; else none. Looks at its beginning only."""
    try:
        names = _columns(file)
    except (OSError, ValueError, RecursionError):
        return []
    chart = names[:1] == ["Step"] and any(CHART.fullmatch(name) for name in names)
    return names if STEP in names or chart else []


def _columns(file: Path) -> list[str]:
    import pyarrow.parquet

    kind = file.suffix.lower()
    if kind == ".parquet":
        return list(pyarrow.parquet.read_schema(file).names)
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        if kind in (".csv", ".tsv"):
            return next(csv.reader(stream, delimiter="\t" if kind == ".tsv" else ","), [])
        first = json.load(stream) if kind == ".json" else json.loads(stream.readline())
    if isinstance(first, list):
        first = first[0] if first else {}
    return list(first) if isinstance(first, dict) else []


def _history(file: Path, names: list[str]) -> Iterator[SourceRun | Unread]:
    run = next((name for name in RUNS if name in names), "")
    with opened(file) as (connection, _):
        own = [name for name in names if not name.startswith("_") and name != run]
        checks = ", ".join(
            f"count(TRY_CAST({named(name)} AS DOUBLE)) > 0 AND count(*) FILTER "
            f"(WHERE trim({named(name)}) != '' AND TRY_CAST({named(name)} AS DOUBLE) IS NULL) = 0"
            for name in own
        )
        numbers = connection.execute(f"SELECT {checks or 'NULL'} FROM source").fetchall()[0]
        metrics = tuple(name for name, number in zip(own, numbers, strict=False) if number)
        if not metrics:
            yield Unread(file.name, "none of its columns holds numbers")
            return
        config = tuple(name for name in own if name not in metrics)
        what = Meaning(run, STEP, "", metrics, {}, config)
        yield from runs_of(file, connection, what, single=file.stem)
        yield from rejected(file, connection)


def _chart(file: Path) -> Iterator[SourceRun | Unread]:
    table = read_table(file)
    steps = table.numbers("Step")
    found: dict[str, list[Curve]] = {}
    for name in table.columns[1:]:
        told = CHART.fullmatch(name)
        if told is None or name.endswith(BOUNDS):
            continue
        values = table.numbers(name)
        there = ~np.isnan(values) & ~np.isnan(steps)
        if there.any():
            found.setdefault(told["run"], []).append(curve(told["metric"], steps[there], values[there]))
    for run, curves in found.items():
        yield SourceRun(id=run, name=run, curves=tuple(curves))
