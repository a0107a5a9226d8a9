"""Tables, one row a run, or one row a point of a run; columns mean what `--columns` says.

DuckDB reads and orders them, and takes to the disk where the memory it is granted does not suffice. All is
read as text, so that no column's kind is guessed from its first rows; what is a number is seen at the end.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mendel.inputs import allowed
from mendel.knowledge.importers.run import Curve, SourceRun, Unread, curve, flat, moment
from mendel.knowledge.states import COLUMNS as STATES
from mendel.knowledge.table import KINDS, MISSING, TableError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "1GB"
"""What DuckDB may take before it goes to the disk."""
BATCH = 200_000
"""Points at a time."""
SEPARATORS = {".csv": ",", ".tsv": "\\t"}
SHOWN = 20
"""Broken lines that are named one by one."""

FACTS = ("name", "status", "started")

Columns = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Meaning:
    """Which column of a table is what; empty for what it does not have."""

    run: str
    step: str
    value: str
    metrics: tuple[str, ...]
    """With `value`: the one column that names the metric of each row."""
    facts: dict[str, str]
    """name, status and started."""
    config: tuple[str, ...]

    @property
    def pointwise(self) -> bool:
        return bool(self.step or self.value)


class Tables:
    """A .csv, .tsv, .jsonl, .ndjson, .json or .parquet file."""

    def recognises(self, source: Path) -> bool:
        return source.is_file() and source.suffix.lower() in KINDS

    def read(self, source: Path, columns: Columns) -> Iterator[SourceRun | Unread]:
        with opened(source) as (connection, names):
            yield from runs_of(source, connection, meaning(source, names, columns))
            yield from rejected(source, connection)


@contextmanager
def opened(source: Path) -> Iterator[tuple[DuckDBPyConnection, list[str]]]:
    """A connection with the table as `source`, all of it text, and its columns. TableError."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="mendel-") as scratch:
        connection = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": scratch})
        try:
            connection.execute(f"CREATE VIEW given AS SELECT * FROM {_reader(source)}")
            told = connection.execute("DESCRIBE given").fetchall()
            names = [str(row[0]) for row in told]
            texts = [_text(name, kind) for name, kind, *_ in told]
            numbered = f'row_number() OVER () AS "_row_", {", ".join(texts)}'
            connection.execute(f"CREATE VIEW source AS SELECT {numbered} FROM given")
            yield connection, names
        except duckdb.Error as error:
            raise TableError(f"{source}: cannot be read: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()


def _reader(source: Path) -> str:
    path, kind = _quoted(str(source)), source.suffix.lower()
    if kind == ".parquet":
        return f"read_parquet({path})"
    if kind in (".jsonl", ".ndjson", ".json"):
        form = "array" if kind == ".json" else "newline_delimited"
        ignore = "false" if kind == ".json" else "true"
        return f"read_json({path}, format='{form}', ignore_errors={ignore}, sample_size=-1, maximum_depth=1)"
    if kind not in SEPARATORS:
        raise TableError(
            f"{source}: {kind or 'a name without an end'} is unknown; allowed are {', '.join(KINDS)}"
        )
    return (
        f"read_csv({path}, all_varchar=true, header=true, delim='{SEPARATORS[kind]}', quote='\"', "
        "ignore_errors=true, store_rejects=true)"
    )


def _text(name: str, kind: str) -> str:
    column = named(name)
    return f"{column} ->> '$' AS {column}" if kind == "JSON" else f"CAST({column} AS VARCHAR) AS {column}"


def named(column: str) -> str:
    """A column in SQL."""
    return '"' + column.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def meaning(source: Path, names: list[str], columns: Columns) -> Meaning:
    """Which column is what. TableError for a column that is not there, and where no metric is named."""
    for key, given in columns.items():
        for name in given:
            if name not in names:
                raise TableError(
                    f"{source}: --columns {key}={name}: no column {name!r}{allowed(name, names)}"
                )
    metrics = tuple(columns.get("metric", ()))
    if not metrics:
        raise TableError(
            f"{source}: which column is a metric? Say it, as in --columns run=ID metric=LOSS, with step=STEP "
            f"where each row is a point; its columns are {', '.join(names)}"
        )
    one = {key: given[0] for key, given in columns.items() if key not in ("metric", "config")}
    if "value" in one and len(metrics) > 1:
        raise TableError(
            f"{source}: --columns value={one['value']}: then one metric= names the column of their names"
        )
    if "status" not in one:  # how a run stands is no setting
        states = [name for name in names if name.lower() in STATES and name not in metrics]
        one |= {"status": states[0]} if states else {}
    used = {*metrics, *one.values()}
    config = tuple(columns.get("config", ())) or tuple(name for name in names if name not in used)
    facts: dict[str, str] = {key: one[key] for key in FACTS if key in one}
    return Meaning(one.get("run", ""), one.get("step", ""), one.get("value", ""), metrics, facts, config)


def runs_of(
    source: Path, connection: DuckDBPyConnection, what: Meaning, single: str = ""
) -> Iterator[SourceRun | Unread]:
    """The runs in the order of their first rows. `single`: all rows are of this run."""
    run = named(what.run) if what.run else _quoted(single) if single else 'CAST("_row_" AS VARCHAR)'
    settings = [*what.config, *what.facts.values()]
    least = "".join(f", min({named(one)}), max({named(one)})" for one in settings)
    connection.execute(
        f'CREATE TEMP TABLE head AS SELECT {run} AS "_run_", min("_row_") AS "_first_", '
        f'count(*) AS "_rows_"{least} FROM source WHERE {run} IS NOT NULL GROUP BY 1'
    )
    rows = connection.execute("SELECT * FROM head ORDER BY 2").fetchall()
    pointwise = what.pointwise or any(row[2] > 1 for row in rows)
    varies = {
        name
        for place, name in enumerate(settings)
        if any(row[3 + 2 * place] != row[4 + 2 * place] for row in rows)
    }
    for name in what.config:
        if name in varies:
            yield Unread(f"column {name!r}", "it changes within a run; to keep it, name it with metric=")
    heads = ({name: row[3 + 2 * place] for place, name in enumerate(settings)} for row in rows)
    points = _points(connection, what, run, pointwise)
    for row, head, (curves, note) in zip(rows, heads, points, strict=True):
        id = str(row[0])
        if curves is None:
            yield Unread(f"run {id}", note)
            continue
        config = {name: head[name] for name in what.config if name not in varies}
        facts = {key: head[name] or "" for key, name in what.facts.items()}
        yield SourceRun(
            id=id,
            name=facts.get("name", id),
            status=facts.get("status", "unknown").strip().lower() or "unknown",
            config=_opened_up(config),
            curves=curves,
            started=written(facts.get("started", "")),
            note=note,
        )


def _points(
    connection: DuckDBPyConnection, what: Meaning, run: str, pointwise: bool
) -> Iterator[tuple[tuple[Curve, ...] | None, str]]:
    """Of each run of `head`, in its order, its curves and what is not whole about them; None in their place,
    and why, where something is no number."""
    numbers = [what.value] if what.value else list(what.metrics)
    if what.step:
        numbers.append(what.step)
    casts = "".join(f", TRY_CAST({named(one)} AS DOUBLE)" for one in numbers)
    wrong = " ".join(
        f"WHEN lower(trim({named(one)})) NOT IN {MISSING} AND TRY_CAST({named(one)} AS DOUBLE) IS NULL THEN "
        f"'row ' || \"_row_\" || ': ' || {_quoted(one)} || ' is no number: ' || left({named(one)}, 40)"
        for one in numbers
    )
    key = named(what.metrics[0]) if what.value else "''"
    reader = connection.sql(
        f'SELECT "_first_", CASE {wrong} END, {key}{casts} FROM source JOIN head ON {run} = "_run_" '
        'ORDER BY "_first_", "_row_"'
    ).to_arrow_reader(BATCH)
    for group in _by_run(reader):
        wrongs = group[1].drop_null()
        if len(wrongs):
            yield None, str(wrongs[0])
            continue
        values = [column.to_numpy(zero_copy_only=False).astype(float) for column in group[3:]]
        steps = values.pop() if what.step else np.arange(len(group[0]), dtype=float) + (1 if pointwise else 0)
        if what.value:
            keys = group[2].to_numpy(zero_copy_only=False)
            pairs = [(str(one), values[0], keys == one) for one in dict.fromkeys(keys) if one is not None]
        else:
            pairs = [
                (name, value, group[3 + place].is_valid().to_numpy(zero_copy_only=False))
                for place, (name, value) in enumerate(zip(what.metrics, values, strict=True))
            ]
        stepless = int(np.isnan(steps).sum())
        kept = ((name, value, there & ~np.isnan(steps)) for name, value, there in sorted(pairs, key=_name))
        curves = (curve(name, steps[there], value[there]) for name, value, there in kept if there.any())
        yield tuple(curves), f"{stepless} rows without a step are left out" if stepless else ""


def _name(pair: tuple[str, Any, Any]) -> str:
    return pair[0]


def _by_run(reader: Any) -> Iterator[list[Any]]:
    """Columns of a stream that is ordered by its first one, cut where that changes."""
    import pyarrow as pa

    waiting: list[Any] = []
    for batch in reader:
        if not batch.num_rows:
            continue
        first = batch.column(0).to_numpy()
        edges = [0, *(np.flatnonzero(np.diff(first)) + 1).tolist(), batch.num_rows]
        for start, stop in zip(edges, edges[1:], strict=False):
            piece = batch.slice(start, stop - start)
            if waiting and waiting[-1].column(0)[0] != piece.column(0)[0]:
                yield [pa.concat_arrays([one.column(k) for one in waiting]) for k in range(batch.num_columns)]
                waiting = []
            waiting.append(piece)
    if waiting:
        yield [pa.concat_arrays([one.column(k) for one in waiting]) for k in range(waiting[0].num_columns)]


def _opened_up(config: Mapping[str, str | None]) -> dict[str, Any]:
    """A configuration whose nested tables, as JSON has them, have keys of their own."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if value and value.startswith("{"):
            try:
                found[key] = json.loads(value)
                continue
            except (ValueError, RecursionError):  # a text that only begins so
                pass
        found[key] = value
    return flat(found)


def rejected(source: Path, connection: DuckDBPyConnection) -> Iterator[Unread]:
    """The lines that are no rows."""
    if source.suffix.lower() in (".jsonl", ".ndjson"):
        names = [row[0] for row in connection.execute("DESCRIBE given").fetchall()]
        empty = " AND ".join(f"{named(name)} IS NULL" for name in names)
        found = connection.execute(
            f"SELECT \"_row_\", 'no JSON object' FROM source WHERE {empty} ORDER BY 1"
        ).fetchall()
    elif source.suffix.lower() in SEPARATORS:
        found = connection.execute(
            "SELECT line, min(error_message) FROM reject_errors GROUP BY 1 ORDER BY 1"
        ).fetchall()
    else:
        return
    for line, why in found[:SHOWN]:
        yield Unread(f"line {line}", str(why))
    if len(found) > SHOWN:
        yield Unread(f"{len(found) - SHOWN} lines more", "as these")


def written(text: str) -> datetime | None:
    """A time as people write it (ISO 8601, or seconds or milliseconds since 1970); None for anything else."""
    try:
        seconds = float(text)
        return moment(seconds / 1000 if seconds > 1e11 else seconds)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
