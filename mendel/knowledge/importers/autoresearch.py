"""The log of an autoresearch loop: results.tsv with commit, val_bpb, memory_gb, status, description."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from mendel.knowledge.importers.run import Points, SourceRun, Unread
from mendel.knowledge.table import TableError

NEEDED = ("commit", "val_bpb", "status", "description")
METRICS = ("val_bpb", "memory_gb")


class Autoresearch:
    """One row an experiment, in the order of the loop."""

    def recognises(self, source: Path) -> bool:
        file = _file(source)
        return file is not None and set(NEEDED) <= set(_head(file))

    def read(self, source: Path, columns: object = None) -> Iterator[SourceRun | Unread]:
        file = _file(source)
        if file is None:
            raise TableError(f"{source}: there is no results.tsv")
        head = _head(file)
        if missing := [name for name in NEEDED if name not in head]:
            raise TableError(f"{file}: no column {missing[0]!r}; there are {', '.join(head)}")
        taken: dict[str, int] = {}
        with file.open(encoding="utf-8", errors="replace", newline="") as stream:
            rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows)
            for number, cells in enumerate(rows, 1):
                if not any(cells):
                    continue
                row = dict(zip(head, cells, strict=False))
                commit = row.get("commit", "") or f"row {number}"
                taken[commit] = taken.get(commit, 0) + 1
                id = commit if taken[commit] == 1 else f"{commit}#{taken[commit]}"
                yield (
                    _run(number, id, row)
                    if len(cells) >= len(head)
                    else Unread(f"row {number}", f"it has {len(cells)} of {len(head)} columns")
                )


def _run(number: int, id: str, row: dict[str, str]) -> SourceRun | Unread:
    points = Points()
    for metric in METRICS:
        words = row.get(metric, "").strip()
        try:
            value = float(words) if words else math.nan
        except ValueError:
            return Unread(f"row {number}", f"{metric} {words!r:.40} is no number")
        # A crash is logged with zeros.
        if not math.isnan(value) and not (value == 0 and row["status"].strip().lower() == "crash"):
            points.add(metric, number, value)
    others = {key: value for key, value in row.items() if key not in ("commit", "status", *METRICS)}
    return SourceRun(
        id=id,
        name=row["description"],
        status=row["status"].strip().lower(),
        config=others,
        curves=points.curves(),
        commit=row["commit"],
    )


def _file(source: Path) -> Path | None:
    file = source / "results.tsv" if source.is_dir() else source
    return file if file.suffix.lower() == ".tsv" and file.is_file() else None


def _head(file: Path) -> list[str]:
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        return [name.strip() for name in stream.readline().rstrip("\r\n").split("\t")]
