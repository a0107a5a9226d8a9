"""What lies in a folder of imported runs, and how it is replaced whole.

    runs.parquet           one row a run; its key-value metadata names the parts that count, and the sources
    curves/PART.parquet    points: metric, run, step, value, in this order; a group of rows has one metric
    source.json            the same in words, for whoever looks

The rename of runs.parquet is the moment at which an import happens: parts are written before it under new
names, and what is no longer named is removed after it. Killed in between, a folder is what it was before.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mendel.knowledge.importers import Curve
from mendel.knowledge.table import RUNS, TableError

if TYPE_CHECKING:
    import pyarrow as pa

CURVES, SOURCE = "curves", "source.json"
KEY = b"mendel.imports"
"""Under which the metadata of runs.parquet names its parts."""
VERSION = 1
PART = 2**21
"""Points of a part: what is held in memory at a time."""
SMALL = PART // 8
"""A part with fewer is taken up into the next one, so that many small imports do not leave many files."""
GROUP = 2**13
"""Points that are read together at least."""
FACTS = (
    *("run", "id", "name", "source", "kind", "status", "grade", "started", "group", "file", "commit"),
    *("user", "host", "note", "content", "diverged", "last_step"),
)
"""Columns of runs.parquet that every run has."""
NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)
FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class State:
    """What a folder holds: rows of runs by (source, id), the parts that count, what is said of sources."""

    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    """Name of a part -> its points."""
    sources: dict[str, Any] = field(default_factory=dict)


def read_state(folder: Path) -> State:
    """What a folder holds; nothing, where there is none. TableError for one that is damaged."""
    import pyarrow.parquet as pq

    file = folder / RUNS
    if not file.exists():
        return State()
    table = _reading(file, lambda: pq.read_table(file))
    known = known_parts(file, table.schema.metadata)
    rows = {(row["source"], row["id"]): row for row in table.to_pylist()}
    return State(rows, known["parts"], known["sources"])


def known_parts(file: Path, metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What the metadata of a runs.parquet says. TableError where it is none of Mendel's."""
    told = (metadata or {}).get(KEY)
    if told is None:
        raise TableError(f"{file}: was not written by `mendel import`")
    known: dict[str, Any] = json.loads(told)
    if known["version"] > VERSION:
        raise TableError(
            f"{file}: version {known['version']} is of a newer mendel; this one reads up to {VERSION}"
        )
    return known


def _reading(file: Path, read: Any) -> Any:
    import pyarrow as pa

    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None


class Parts:
    """Writes curves into parts, a buffer of them at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / CURVES
        self.written: dict[str, int] = {}
        self._curves: list[tuple[str, str, Curve]] = []
        self._points = 0

    def add(self, run: str, curves: Sequence[Curve]) -> None:
        self._curves += [(curve.metric, run, curve) for curve in curves]
        self._points += sum(len(curve.steps) for curve in curves)
        if self._points >= PART:
            self.flush()

    def take_over(self, part: str, without: set[str]) -> None:
        """Add the points of a part that is there but for some runs."""
        for run, curve in curves_of(self.folder / part):
            if run not in without:
                self.add(run, [curve])

    def flush(self) -> None:
        """Write what was added."""
        if not self._points:
            return
        import pyarrow.parquet as pq

        self._curves.sort(key=lambda one: one[:2])
        name = f"{secrets.token_hex(8)}.parquet"
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("wb") as stream:
            with pq.ParquetWriter(stream, schema(), compression="zstd") as writer:
                for metric, some in _groups(self._curves):
                    writer.write_table(_group(metric, some))
            stream.flush()
            os.fsync(stream.fileno())
        self.written[name] = self._points
        self._curves, self._points = [], 0


def schema() -> pa.Schema:
    """Of a part."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema({"metric": word, "run": word, "step": pa.float64(), "value": pa.float64()})


def _groups(curves: Sequence[tuple[str, str, Curve]]) -> Iterator[tuple[str, list[tuple[str, Curve]]]]:
    """Runs and curves that are written together: whole ones, of one metric."""
    waiting: list[tuple[str, Curve]] = []
    before, points = "", 0
    for metric, run, curve in curves:
        if waiting and (metric != before or points >= GROUP):
            yield before, waiting
            waiting, points = [], 0
        waiting.append((run, curve))
        before, points = metric, points + len(curve.steps)
    if waiting:
        yield before, waiting


def _group(metric: str, some: list[tuple[str, Curve]]) -> pa.Table:
    """A table with a dictionary of its own: one for the whole part would be written again with each group."""
    import pyarrow as pa

    lengths = [len(curve.steps) for _, curve in some]
    codes = pa.array(np.repeat(np.arange(len(some), dtype=np.int32), lengths))
    words = pa.DictionaryArray.from_arrays(codes, pa.array([run for run, _ in some], pa.string()))
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(sum(lengths), np.int32)), pa.array([metric]))
    steps = np.concatenate([curve.steps for _, curve in some])
    values = np.concatenate([curve.values for _, curve in some])
    return pa.table([same, words, steps, values], schema=schema())


def curves_of(part: Path) -> Iterator[tuple[str, Curve]]:
    """The curves of a part with the runs they belong to."""
    import pyarrow.parquet as pq

    table = _reading(part, lambda: pq.read_table(part))
    metric, run = (table.column(name).unify_dictionaries().combine_chunks() for name in ("metric", "run"))
    codes = [one.indices.to_numpy() for one in (metric, run)]
    step, value = (table.column(name).to_numpy() for name in ("step", "value"))
    edges = np.flatnonzero((np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)) + 1
    bounds = [0, *edges.tolist(), len(step)]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        name = metric.dictionary[codes[0][start]].as_py()
        yield run.dictionary[codes[1][start]].as_py(), Curve(name, step[start:stop], value[start:stop])


def holds(folder: Path, part: str, runs: set[str]) -> bool:
    """Whether a part has points of one of these runs."""
    import pyarrow.parquet as pq

    file = folder / CURVES / part
    column = _reading(file, lambda: pq.read_table(file, columns=["run"])).column("run")
    return any(not runs.isdisjoint(chunk.dictionary.to_pylist()) for chunk in column.chunks)


def write_state(folder: Path, state: State) -> None:
    """Make `state` what the folder holds, at once; then remove what no longer counts."""
    import pyarrow.parquet as pq

    sync(folder / CURVES)
    table = runs_table(list(state.rows.values()))
    told = {"version": VERSION, "parts": state.parts, "sources": state.sources}
    unfinished = folder / f".{RUNS}"
    with unfinished.open("wb") as stream:
        pq.write_table(
            table.replace_schema_metadata({KEY: json.dumps(told).encode()}), stream, compression="zstd"
        )
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(folder / RUNS)
    sync(folder)
    describe(folder, state)
    clear(folder, state)


def describe(folder: Path, state: State) -> None:
    """Write source.json, where it does not say so already."""
    told = {"sources": state.sources, "runs": len(state.rows), "points": sum(state.parts.values())}
    text = json.dumps(told, indent=2) + "\n"
    file = folder / SOURCE
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        unfinished = folder / f".{SOURCE}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)


def clear(folder: Path, state: State) -> None:
    """Remove parts that no runs.parquet names: of an import that was killed, or of runs that have grown."""
    for file in (folder / CURVES).glob("*.parquet"):
        if file.name not in state.parts:
            file.unlink()


def sync(folder: Path) -> None:
    """Make what was renamed or made inside a folder survive a power cut."""
    if folder.is_dir():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# --- the table of runs --------------------------------------------------------------------------------------


def runs_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One row a run: facts, then configuration by key, then what is known of each metric."""
    import pyarrow as pa

    keys = dict.fromkeys(name for row in rows for name in row)
    config = sorted(name for name in keys if name.startswith("config."))
    measured = sorted(
        (name for name in keys if name not in FACTS and not name.startswith("config.")),
        key=lambda name: (name.partition(".")[2], name),
    )
    kinds = {"started": pa.timestamp("us", "UTC"), "diverged": pa.bool_(), "last_step": pa.float64()}
    columns: dict[str, Any] = {}
    for name in FACTS:
        columns[name] = pa.array([row.get(name) for row in rows], kinds.get(name, pa.string()))
    for name in config:
        columns[name] = typed([row.get(name) for row in rows])
    for name in measured:
        kind = pa.int64() if name.startswith("points.") else pa.float64()
        columns[name] = pa.array([row.get(name) for row in rows], kind)
    return pa.table(columns)


def typed(values: Sequence[Any]) -> pa.Array:
    """A column of configuration: numbers where all are numbers, flags where all are, else text."""
    import pyarrow as pa

    read = [_read(value) for value in values]
    there = [value for value in read if value is not None]
    flags = [isinstance(value, bool) for value in there]
    if there and all(flags):
        return pa.array(read, pa.bool_())
    if there and not any(flags) and not any(isinstance(value, str) for value in there):
        whole = all(isinstance(value, int) and abs(value) < 2**63 for value in there)
        return pa.array(
            [None if one is None else one if whole else float(one) for one in read],
            pa.int64() if whole else pa.float64(),
        )
    return pa.array([_words(value) for value in values], pa.string())


def _read(value: Any) -> Any:
    """What a value is, also where its source wrote it as text."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.lower() in FLAGS:
        return FLAGS[text.lower()]
    if NUMBER.fullmatch(text):
        number = float(text)
        return int(text) if re.fullmatch(r"[+-]?\d+", text) and len(text) < 20 else number
    return value


def _words(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def measured_of(curves: Sequence[Curve]) -> dict[str, Any]:
    """What a run's row says of its curves."""
    found: dict[str, Any] = {"diverged": False, "last_step": None}
    for curve in curves:
        finite = curve.values[np.isfinite(curve.values)]
        found[f"final.{curve.metric}"] = float(finite[-1]) if len(finite) else None
        found[f"least.{curve.metric}"] = float(finite.min()) if len(finite) else None
        found[f"points.{curve.metric}"] = len(curve.values)
        found["diverged"] |= not math.isfinite(curve.values[-1])
        found["last_step"] = max(found["last_step"] or 0.0, float(curve.steps[-1]))
    return found
