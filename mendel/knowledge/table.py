"""Tables of experiments that somebody measured: CSV, TSV, JSON lines and Parquet, read as they are; and the
runs that `mendel import` took over.

Nothing is guessed of a file: a column is named by whoever asks, and what cannot be a number is refused with
its row. Conditions such as `group=baseline and n<1e9 or n>1e10` choose rows.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mendel.inputs import allowed

if TYPE_CHECKING:  # it takes longer to load than most commands take
    import pyarrow as pa

Floats = NDArray[np.float64]
KINDS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
IMPORTS = "imports"
"""Folder of a lab where imported runs lie, by the names that they were given."""
RUNS = "runs.parquet"
"""In a folder of imported runs, the table of them."""
SHORT = ("config.", "final.")
"""What may be left out before the name of such a table's column."""
MISSING = ("", "na", "n/a", "null", "none", "-")
"""What stands where there is no number."""
TRUE, FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0", "")
CONDITION = re.compile(r"\s*(?P<column>.+?)\s*(?P<how><=|>=|!=|=|<|>)\s*(?P<value>.*?)\s*")
ORDERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class TableError(ValueError):
    """A table that cannot be used; says which file, column and row, and what is allowed."""


class Table:
    """Rows of one file with the number that each has there (1 is the first after the head)."""

    def __init__(self, name: str, data: pa.Table, rows: NDArray[np.int64] | None = None) -> None:
        self.name, self._data = name, data
        self.rows = np.arange(1, data.num_rows + 1) if rows is None else rows

    def __len__(self) -> int:
        return int(self._data.num_rows)

    @property
    def columns(self) -> list[str]:
        return list(self._data.column_names)

    groups: tuple[str, ...] = ()
    """Columns that say which runs belong together, where that is known."""

    def full(self, column: str) -> str:
        """The whole name of a column, where a table knows short ones."""
        return column

    def lower(self) -> dict[str, str]:
        """Names in lower case, short ones where a table knows them, and the columns they mean."""
        return {name.lower(): name for name in self.columns}

    def labels(self, column: str) -> list[str]:
        """A column as text; empty where nothing is there."""
        return ["" if value is None else str(value) for value in self._column(column)]

    def numbers(self, column: str) -> Floats:
        """A column as numbers (rows,), NaN where nothing is there. TableError for what is no number."""
        found = np.empty(len(self))
        for place, value in enumerate(self._column(column)):
            try:
                found[place] = np.nan if _is_missing(value) else float(value)
            except (TypeError, ValueError):
                raise TableError(
                    f"{self.name}: column {column!r}, row {self.rows[place]}: {value!r:.60} is no number"
                ) from None
        return found

    def values(self, column: str) -> list[Any]:
        """A column as it is; None where nothing is there."""
        return self._column(column)

    def take(self, chosen: NDArray[Any]) -> Table:
        """The rows of these places, or where a mask is true."""
        import pyarrow as pa

        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return type(self)(self.name, self._data.take(pa.array(places)), self.rows[places])

    def where(self, conditions: Sequence[str]) -> Table:
        """The rows for which all conditions hold. TableError where one cannot be read, or nothing is left."""
        mask = self.mask(conditions)
        if not mask.any():
            raise TableError(f"{self.name}: no row has {' and '.join(conditions)}")
        return self.take(mask)

    def mask(self, conditions: Sequence[str]) -> NDArray[np.bool_]:
        """For which rows all conditions hold."""
        mask = np.ones(len(self), dtype=bool)
        for condition in conditions:
            either = [part.split(" and ") for part in condition.split(" or ")]
            mask &= np.any([np.all([self._holds(one) for one in every], axis=0) for every in either], axis=0)
        return mask

    def having(self, values: Mapping[str, str]) -> Table:
        """The rows whose columns have exactly these texts."""
        mask = np.ones(len(self), dtype=bool)
        for column, value in values.items():
            mask &= np.array([one == value for one in self.labels(column)], dtype=bool)
        return self.take(mask)

    def _holds(self, condition: str) -> NDArray[np.bool_]:
        found = CONDITION.fullmatch(condition)
        if found is None:
            raise TableError(f"condition {condition!r}: write COLUMN=VALUE, or one of != < <= > >= for =")
        column, how, value = found["column"], found["how"], found["value"]
        if how in ORDERS:
            try:
                edge = float(value)
            except ValueError:
                raise TableError(f"condition {condition!r}: {value!r} is no number") from None
            return np.asarray(ORDERS[how](self.numbers(column), edge), dtype=bool)
        equal = np.array([_same(one, value) for one in self.labels(column)], dtype=bool)
        return equal if how == "=" else ~equal

    def _column(self, column: str) -> list[Any]:
        if column not in self.columns:
            raise TableError(f"{self.name}: no column {column!r}{allowed(column, self.columns)}")
        return list(self._data.column(column).to_pylist())


class Runs(Table):
    """Imported runs, whose columns have short names, too: `lr` for `config.lr`, `loss` for `final.loss`."""

    groups = ("group",)

    def full(self, column: str) -> str:
        """The name of a column. TableError where it may be two."""
        if column in self.columns:
            return column
        found = [name for name in (f"{before}{column}" for before in SHORT) if name in self.columns]
        if len(found) > 1:
            raise TableError(f"{self.name}: {column!r} may be {' or '.join(found)}; write which")
        return found[0] if found else column

    def lower(self) -> dict[str, str]:
        whole = super().lower()
        parts = [(name, before) for before in SHORT for name in whole if name.startswith(before)]
        return {name.removeprefix(before): whole[name] for name, before in reversed(parts)} | whole

    def _column(self, column: str) -> list[Any]:
        return super()._column(self.full(column))


def read_table(path: str | Path) -> Table:
    """Read a file by the end of its name, or a folder that `mendel import` wrote. Raises TableError."""
    import pyarrow as pa

    file = Path(path)
    imported = file.is_dir() and (file / RUNS).is_file()
    if imported:
        file = file / RUNS
    try:
        data = _read(file)
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TableError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if not data.num_rows:
        raise TableError(f"{path}: it has no rows")
    twice = sorted({name for name in data.column_names if data.column_names.count(name) > 1})
    if twice:
        raise TableError(f"{path}: more than one column is called {', '.join(map(repr, twice))}")
    return Runs(str(path), data) if imported else Table(str(path), data)


def _read(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    kind = file.suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"{kind or 'a name without an end'} is unknown; allowed are {', '.join(KINDS)}")
    if kind == ".parquet":
        return _flat(pa.parquet.read_table(file))
    if kind == ".json":
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise ValueError("it must be a list of objects, one for each run")
        names = dict.fromkeys(name for row in found for name in row)
        return _flat(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in found]))
    if kind in (".jsonl", ".ndjson"):
        return _flat(pa.json.read_json(file))
    parse = pa.csv.ParseOptions(delimiter="\t" if kind == ".tsv" else ",", newlines_in_values=True)
    return pa.csv.read_csv(file, parse_options=parse)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING)


def _flat(data: pa.Table) -> pa.Table:
    """Nested columns as columns of their own, with dots: config.lr."""
    import pyarrow as pa

    while any(pa.types.is_struct(field.type) for field in data.schema):
        data = data.flatten()
    return data


def _same(one: str, value: str) -> bool:
    if one == value:
        return True
    try:
        return float(one) == float(value)
    except ValueError:
        return one.lower() == value.lower() and value.lower() in (*TRUE, *FALSE)
