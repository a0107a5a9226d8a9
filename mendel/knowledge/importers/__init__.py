"""Reading runs that others tracked: one strategy for each kind of source, asked in order, the surest first.

A source is only read. What of it cannot be read comes back as `Unread`, with its reason, among the runs that
can: one damaged run costs no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from mendel.inputs import allowed
from mendel.knowledge.importers.run import Curve, Points, SourceRun, Unread, flat
from mendel.knowledge.table import TableError

KINDS = {
    "mendel": "mendel.knowledge.importers.mendel_store:MendelStore",
    "mlflow": "mendel.knowledge.importers.mlflow:MLflow",
    "wandb": "mendel.knowledge.importers.wandb:WandB",
    "tensorboard": "mendel.knowledge.importers.tensorboard:TensorBoard",
    "autoresearch": "mendel.knowledge.importers.autoresearch:Autoresearch",
    "table": "mendel.knowledge.importers.tables:Tables",
}
"""Kind of source -> who reads it."""
COLUMNS = ("run", "name", "status", "started", "step", "metric", "value", "config")
"""What `--columns` can name in a table."""

Columns = Mapping[str, Sequence[str]]
"""What a column is -> the columns of that meaning."""


class Importer(Protocol):
    """Reads one kind of source."""

    def recognises(self, source: Path) -> bool:
        """Whether a file or folder is of this kind, by what lies there."""
        ...

    def read(self, source: Path, columns: Columns) -> Iterator[SourceRun | Unread]:
        """The runs, one at a time and in a fixed order. TableError where nothing can be read at all."""
        ...


def importer(kind: str) -> Importer:
    """Who reads a kind of source. TableError for an unknown kind."""
    if kind not in KINDS:
        raise TableError(f"--kind: {kind!r} is unknown{allowed(kind, KINDS)}")
    module, _, name = KINDS[kind].partition(":")
    made: Importer = getattr(import_module(module), name)()
    return made


def recognise(source: Path) -> str:
    """The kind of a file or folder. TableError where none knows it."""
    if not source.exists():
        raise TableError(f"{source}: no such file or folder")
    for kind in KINDS:
        if importer(kind).recognises(source):
            return kind
    raise TableError(
        f"{source}: nothing in it is known. Known are a results.tsv, a table (.csv, .tsv, .jsonl, .json, "
        ".parquet), TensorBoard's event files, an mlflow.db or mlruns/, a wandb/ folder with .wandb files, "
        "and a store of Mendel"
    )


def read_columns(given: Sequence[str]) -> dict[str, list[str]]:
    """What was written after --columns, such as run=COLUMN metric=COLUMN. TableError for anything else."""
    found: dict[str, list[str]] = {}
    for one in given:
        key, equals, column = one.partition("=")
        if not equals or not column:
            raise TableError(f"--columns {one!r}: write MEANING=COLUMN; meanings are {', '.join(COLUMNS)}")
        if key not in COLUMNS:
            raise TableError(f"--columns {one!r}: {key!r} is no meaning{allowed(key, COLUMNS)}")
        if key not in ("metric", "config") and key in found:
            raise TableError(
                f"--columns {one!r}: {key} is {found[key][0]!r} already; only metric and config repeat"
            )
        found.setdefault(key, []).append(column)
    return found


__all__ = [
    "COLUMNS",
    "KINDS",
    "Columns",
    "Curve",
    "Importer",
    "Points",
    "SourceRun",
    "Unread",
    "flat",
    "importer",
    "read_columns",
    "recognise",
]
