"""How long Mendel's questions to 10,000 imported runs of 1,000 points and 20 knobs take.

    python benchmarks/patterns_speed.py [--runs 10000] [--json FILE]

As whole commands, each a process of its own with Python's start and all imports, and as calls of a process
that is warm; medians of three. The runs are those of `scale.py`, which asks MLflow the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mendel.knowledge.patterns.report import patterns
from mendel.knowledge.table import read_table
from mendel.patterns_commands import curves_of

REPEATS = 3
BATCH = 500
"""Runs that are written at a time."""


def write(file: Path, runs: int, points: int, knobs: int) -> None:
    """A row for each point, with the run's knobs."""
    steps, writer = np.arange(points), None
    for first in range(0, runs, BATCH):
        rng = np.random.default_rng([7, first])
        set_ = rng.random((BATCH, knobs))
        lift = 0.2 * set_[:, 0] + 0.1 * set_[:, 1] ** 2 + 0.1 * set_[:, 2] * (set_[:, 3] > 0.5)
        loss = 3 * (steps + 1.0) ** -0.1 + lift[:, None] + rng.normal(0, 0.03, (BATCH, 1))
        loss = loss + rng.normal(0, 0.01, (BATCH, points))
        names = pa.array([f"run-{first + k:05d}" for k in range(BATCH)])
        columns = {
            "run": pa.DictionaryArray.from_arrays(np.repeat(np.arange(BATCH, dtype=np.int32), points), names),
            "step": np.tile(steps, BATCH),
            "loss": loss.ravel(),
        }
        columns |= {f"knob{k}": np.repeat(set_[:, k].round(6), points) for k in range(knobs)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def seconds(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def command(*arguments: object) -> Callable[[], object]:
    whole = [sys.executable, "-m", "mendel", *map(str, arguments), "--json"]
    return lambda: subprocess.run(whole, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--knobs", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("patterns-work"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    file, folder = given.work / "points.parquet", given.work / "imports" / "all"
    write(file, given.runs, given.points, given.knobs)
    start = time.perf_counter()
    columns = ("run=run", "step=step", "metric=loss")
    command("import", file, "--into", "all", "--store", given.work, "--columns", *columns)()
    taken = time.perf_counter() - start
    table = read_table(folder)
    found = {
        "command": " ".join(["python", "benchmarks/patterns_speed.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "runs": given.runs,
        "points": given.points,
        "import": taken,
        "mendel runs": seconds(command("runs", "--data", folder, "--metric", "loss", "--top", 0)),
        "mendel curves": seconds(
            command("curves", "--data", folder, "--metric", "loss", "--where", "knob19<0.01")
        ),
        "mendel patterns": seconds(command("patterns", "--data", folder, "--target", "loss")),
        "patterns, warm": seconds(lambda: patterns(table, "loss")),
        "patterns with curves, warm": seconds(
            lambda: patterns(table, "loss", curves=curves_of(table, "loss"))
        ),
    }
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
