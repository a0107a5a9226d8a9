"""`mendel import`: runs that others tracked become one folder of Parquet files that can be asked.

The same source again adds nothing, a run that has grown is replaced, another source adds. What a source no
longer has is kept, and so is a run of which it has fewer points than before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mendel.knowledge.import_files import (
    SMALL,
    Parts,
    State,
    clear,
    describe,
    holds,
    measured_of,
    read_state,
    write_state,
)
from mendel.knowledge.importers import SourceRun, Unread, importer, recognise
from mendel.knowledge.table import IMPORTS, TableError
from mendel.store.folders import file_lock

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MEASURED = "mendel"
"""The kind whose runs were measured here; all others are `imported`."""


@dataclass
class Tally:
    """What came of a source."""

    source: str
    kind: str
    new: int = 0
    grown: int = 0
    unchanged: int = 0
    points: int = 0
    unread: list[Unread] = field(default_factory=list)
    notes: list[Unread] = field(default_factory=list)
    """Runs that are kept and not whole."""
    statuses: dict[str, int] = field(default_factory=dict)
    config: dict[str, None] = field(default_factory=dict)
    metrics: dict[str, None] = field(default_factory=dict)

    seen: set[str] = field(default_factory=set)

    def see(self, run: SourceRun, state: State) -> str:
        """Count a run; returns its content where there is anything to write, else nothing."""
        if run.id in self.seen:
            self.unread.append(Unread(run.id, "another run of this source has the same id"))
            return ""
        self.seen.add(run.id)
        self.statuses[run.status] = self.statuses.get(run.status, 0) + 1
        self.config |= dict.fromkeys(run.config)
        self.metrics |= dict.fromkeys(curve.metric for curve in run.curves)
        self.points += sum(len(curve.steps) for curve in run.curves)
        if run.note:
            self.notes.append(Unread(run.id, run.note))
        before, content = state.rows.get((self.source, run.id)), run.content()
        if before is not None and before["content"] == content:
            self.unchanged += 1
            return ""
        if before is None:
            self.new += 1
            return content
        now, kept = sum(len(curve.steps) for curve in run.curves), points_of(before)
        if now < kept:  # a damaged copy takes nothing away
            self.notes.append(
                Unread(run.id, f"it has {now:,} points now; the {kept:,} imported before are kept")
            )
            self.unchanged += 1
            return ""
        self.grown += 1
        return content

    @property
    def runs(self) -> int:
        return self.new + self.grown + self.unchanged

    def told(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "source": self.source,
            "kind": self.kind,
            "runs": self.runs,
            "new": self.new,
            "grown": self.grown,
            "unchanged": self.unchanged,
            "points": self.points,
            "config": sorted(self.config),
            "metrics": sorted(self.metrics),
            "statuses": self.statuses,
            "unread": [vars(one) for one in self.unread],
            "notes": [vars(one) for one in self.notes],
        }


def points_of(row: Mapping[str, Any]) -> int:
    """How many points of a run are kept."""
    return sum(count or 0 for name, count in row.items() if name.startswith("points."))


def folder_of(root: Path, name: str) -> Path:
    """Where imports of a name lie. TableError for a name that is none."""
    if not NAME.fullmatch(name):
        raise TableError(f"--into {name!r}: must be letters, digits, dots, dashes and underscores")
    return root / IMPORTS / name


def preview(
    source: Path, folder: Path, kind: str | None, columns: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What `import_runs` would write; writes nothing. TableError where nothing of the source can be read."""
    kind = kind or recognise(source)
    state = read_state(folder)
    tally = Tally(str(source.resolve()), kind)
    for run in importer(kind).read(source, columns):
        if isinstance(run, Unread):
            tally.unread.append(run)
        else:
            tally.see(run, state)
    _refuse_nothing(source, tally)
    return {**tally.told(), "folder": str(folder), "written": False}


def import_runs(
    source: Path, folder: Path, kind: str | None, columns: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Import a source into a folder; returns what came of it. TableError where nothing of it can be read,
    StoreError while another process imports into the same folder."""
    kind = kind or recognise(source)
    with file_lock(folder.parent / f".{folder.name}.lock", busy=f"import into {folder.name}"):
        state = read_state(folder)
        tally = Tally(str(source.resolve()), kind)
        rows, parts, stale = dict(state.rows), Parts(folder), set[str]()
        taken = {row["run"] for row in rows.values()}
        for run in importer(kind).read(source, columns):
            if isinstance(run, Unread):
                tally.unread.append(run)
                continue
            content = tally.see(run, state)
            if not content:
                continue
            key = (tally.source, run.id)
            if key in state.rows:
                name = state.rows[key]["run"]
                stale.add(name)
            else:
                name = _free(run.id, source, taken)
                taken.add(name)
            parts.add(name, run.curves)
            rows[key] = _row(name, tally, run, content)
        _refuse_nothing(source, tally)
        if tally.new or tally.grown:
            _write(folder, state, tally, rows, parts, stale)
        else:
            describe(folder, state)
            clear(folder, state)
    return {**tally.told(), "folder": str(folder), "written": bool(tally.new or tally.grown)}


def _write(
    folder: Path,
    state: State,
    tally: Tally,
    rows: dict[tuple[str, str], dict[str, Any]],
    parts: Parts,
    stale: set[str],
) -> None:
    kept = {}
    for part, points in state.parts.items():
        if points < SMALL or (stale and holds(folder, part, stale)):
            parts.take_over(part, stale)
        else:
            kept[part] = points
    parts.flush()
    summary = {"kind": tally.kind, "runs": sum(key[0] == tally.source for key in rows)}
    unread = {"unread": [vars(one) for one in tally.unread]} if tally.unread else {}
    sources = {**state.sources, tally.source: summary | unread}
    write_state(folder, State(rows, kept | parts.written, sources))


def _row(name: str, tally: Tally, run: SourceRun, content: str) -> dict[str, Any]:
    facts = {
        "run": name,
        "id": run.id,
        "name": run.name,
        "source": tally.source,
        "kind": tally.kind,
        "status": run.status,
        "grade": "measured" if tally.kind == MEASURED else "imported",
        "started": run.started,
        "group": run.group,
        "file": run.file,
        "commit": run.commit,
        "user": run.user,
        "host": run.host,
        "note": run.note,
        "content": content,
    }
    return facts | {f"config.{key}": value for key, value in run.config.items()} | measured_of(run.curves)


def _free(id: str, source: Path, taken: set[str]) -> str:
    """The name of a run among all of a folder: its id, unless another source has one of the same."""
    name, number = id, 1
    while name in taken:
        number += 1
        name = f"{id}@{source.stem}" if number == 2 else f"{id}@{source.stem}-{number}"
    return name


def _refuse_nothing(source: Path, tally: Tally) -> None:
    if not tally.runs:
        first = f": {tally.unread[0].name}: {tally.unread[0].reason}" if tally.unread else ""
        raise TableError(f"{source}: no run of kind {tally.kind} can be read from it{first}")
