"""What the tests of imports share: the files of real trackers, and runs written by hand."""

import sqlite3
from pathlib import Path

from mendel.knowledge.import_runs import import_runs
from mendel.knowledge.importers import importer, read_columns, recognise
from mendel.knowledge.importers.run import SourceRun, Unread

TRACKED = Path(__file__).parent / "tracked"
"""Made by the trackers themselves; see make.py there."""


def read(source, kind=None, columns=()):
    """The runs of a source by name, and what of it is unread."""
    found = list(importer(kind or recognise(source)).read(source, read_columns(columns)))
    runs = {one.name: one for one in found if isinstance(one, SourceRun)}
    return runs, [one for one in found if isinstance(one, Unread)]


def take(source, folder, *columns, kind=None):
    return import_runs(Path(source), Path(folder), kind, read_columns(columns))


def points(run, metric):
    """A curve as (step, value) pairs."""
    curve = next(one for one in run.curves if one.metric == metric)
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def metrics(run):
    return [curve.metric for curve in run.curves]


def mlflow_database(folder):
    """A database of MLflow from its dump."""
    file = folder / "mlflow.db"
    with sqlite3.connect(file) as db:
        db.executescript((TRACKED / "mlflow" / "mlflow.sql").read_text())
    return file


def write_csv(file, head, rows):
    file.write_text("\n".join(",".join(map(str, row)) for row in [head, *rows]) + "\n")
    return file
