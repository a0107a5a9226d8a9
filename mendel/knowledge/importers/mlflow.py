"""MLflow: a database (`mlflow.db`), or the folders of its file store (`mlruns/EXPERIMENT/RUN/`).

Both are read as they lie, without MLflow and without its server. Deleted runs are left out, as there.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from mendel.knowledge.importers.run import Points, SourceRun, Unread, moment
from mendel.knowledge.table import TableError

STATUS = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}
"""As the file store counts them."""
TABLES = {"experiments", "runs", "metrics", "params", "tags"}
COMMIT, USER, NAME = "mlflow.source.git.commit", "mlflow.user", "mlflow.runName"
LARGEST = 1.7976931348623157e308
"""Stands for infinity in its database."""
MAGIC = b"SQLite format 3\0"
RUNS = (
    "SELECT r.run_uuid, r.name, r.status, r.start_time, r.user_id, r.source_version, e.name FROM runs r "
    "LEFT JOIN experiments e ON e.experiment_id = r.experiment_id "
    "WHERE r.lifecycle_stage != 'deleted' ORDER BY r.start_time, r.run_uuid"
)
METRICS = "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"


class MLflow:
    """Its database or its mlruns/ folder, or the folder that has one of them."""

    def recognises(self, source: Path) -> bool:
        return _database(source) is not None or _folder(source) is not None

    def read(self, source: Path, columns: object = None) -> Iterator[SourceRun | Unread]:
        database, folder = _database(source), _folder(source)
        if database is not None:
            try:
                yield from _read_database(database)
            except sqlite3.Error as error:
                raise TableError(f"{database}: cannot be read as MLflow's: {error}") from None
        elif folder is not None:
            yield from _read_folder(folder)
        else:
            raise TableError(f"{source}: there is neither a database of MLflow nor an mlruns/ folder")


# --- the database -------------------------------------------------------------------------------------------


def _database(source: Path) -> Path | None:
    file = source / "mlflow.db" if source.is_dir() else source
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return None
    try:
        with closing(_connect(file)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return file if {row[0] for row in found} >= TABLES else None
    except sqlite3.Error:
        return None


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _read_database(file: Path) -> Iterator[SourceRun]:
    with closing(_connect(file)) as connection:
        for id, name, status, start, user, version, experiment in connection.execute(RUNS):
            tags = dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (id,)))
            config = dict(connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", (id,)))
            points = Points()
            for key, step, value, is_nan in connection.execute(METRICS, (id,)):
                found = math.nan if is_nan else value
                points.add(key, step, math.copysign(math.inf, found) if abs(found) == LARGEST else found)
            facts = {"user": user, "commit": version, "experiment": experiment}
            yield _run(id, name, str(status), start, config, points, tags, facts, "")


def _run(
    id: str,
    name: str | None,
    status: str,
    start: Any,
    config: Mapping[str, Any],
    points: Points,
    tags: Mapping[str, str],
    facts: Mapping[str, str | None],
    file: str,
    note: str = "",
) -> SourceRun:
    return SourceRun(
        id=id,
        name=str(tags.get(NAME) or name or id),
        status=status.lower(),
        config=dict(config),
        curves=points.curves(),
        started=moment(start / 1000) if isinstance(start, int | float) else None,
        group=facts.get("experiment") or "",
        file=file,
        commit=str(tags.get(COMMIT) or facts.get("commit") or ""),
        user=str(tags.get(USER) or facts.get("user") or ""),
        note=note,
    )


# --- the folders --------------------------------------------------------------------------------------------


def _folder(source: Path) -> Path | None:
    """mlruns/, or whatever its name: folders of experiments with a meta.yaml each."""
    for folder in (source, source / "mlruns"):
        if folder.is_dir() and next(folder.glob("*/meta.yaml"), None) and _experiments(folder):
            return folder
    return None


def _experiments(folder: Path) -> list[Path]:
    """Folders of experiments; a run has a meta.yaml, too, but one that names the run."""
    found = [meta.parent for meta in sorted(folder.glob("*/meta.yaml"))]
    return [one for one in found if not (one / "metrics").is_dir() and one.name != ".trash"]


def _read_folder(folder: Path) -> Iterator[SourceRun | Unread]:
    for experiment in _experiments(folder):
        label = _meta(experiment / "meta.yaml")
        named = label.get("name") if isinstance(label, dict) else None
        for run in sorted(
            one for one in experiment.iterdir() if (one / "metrics").is_dir() or (one / "params").is_dir()
        ):
            meta = _meta(run / "meta.yaml")
            if isinstance(meta, str):
                yield Unread(f"run {run.name}", meta)
            elif meta.get("lifecycle_stage") != "deleted":
                yield _read_run(folder, run, meta, str(named or experiment.name))


def _meta(file: Path) -> dict[str, Any] | str:
    """What a meta.yaml says, or why it cannot be read."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(file.read_text(encoding="utf-8", errors="replace"), Loader=loader)  # noqa: S506
    except FileNotFoundError:
        return f"{file.name} is missing"
    except (OSError, RecursionError, yaml.YAMLError) as error:
        return f"{file.name} cannot be read: {str(error).splitlines()[0]}"
    return found if isinstance(found, dict) else f"{file.name} says nothing"


def _read_run(folder: Path, run: Path, meta: dict[str, Any], experiment: str) -> SourceRun:
    points, notes = Points(), []
    for file in _files(run / "metrics"):
        key = file.relative_to(run / "metrics").as_posix()
        broken = _metric(file, key, points)
        if broken:
            notes.append(f"{key}: {broken} left out: no time, value and step")
    config = _texts(run / "params")
    tags = _texts(run / "tags")
    status = meta.get("status")
    words = STATUS.get(status, "unknown") if isinstance(status, int) else str(status or "unknown")
    id = run.name
    facts = {"user": meta.get("user_id"), "commit": meta.get("source_version"), "experiment": experiment}
    place = run.relative_to(folder).as_posix()
    name = meta.get("run_name")
    return _run(id, name, words, meta.get("start_time"), config, points, tags, facts, place, "; ".join(notes))


def _metric(file: Path, key: str, points: Points) -> str:
    """Add the points of a file, `timestamp value step` a line; returns which lines are none."""
    broken = []
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        # MLflow ends every line: one without an end was not written to its end, and its number may be cut.
        words = line.split() if number < len(lines) or text.endswith("\n") else []
        try:
            value, step = float(words[1]), float(words[2]) if len(words) > 2 else 0.0
        except (IndexError, ValueError):
            broken.append(number)
            continue
        points.add(key, step, value)
    return f"line {broken[0]}" if len(broken) == 1 else f"{len(broken)} lines" if broken else ""


def _texts(folder: Path) -> dict[str, str]:
    """Files of a folder and what they say."""
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8", errors="replace")
        for file in _files(folder)
    }


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
