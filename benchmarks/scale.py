"""Large collections of runs: Mendel's imported runs beside MLflow on SQLite, same runs, same machine.

    python -m venv mlflow-venv && mlflow-venv/bin/pip install mlflow optuna
    python benchmarks/scale.py --mlflow mlflow-venv/bin/python [--runs 10000] [--points 1000] [--json FILE]

10,000 runs of 1,000 points and 20 knobs. MLflow's client writes `--written` runs into a database of their own
and is timed; the 10,000 go straight into its tables, past its client, which would take a quarter of an hour
and more. With --reuse they are those of the last time. Then, in turns, `--repeats` times each:

  table       all runs with their final loss, sorted (MLflow: search_runs)
  curve       mean curve and band of 100 runs drawn at random (MLflow: get_metric_history for each)
  curve, SQL  the same, MLflow's database asked directly, as nobody should have to
  importance  of 20 knobs for the final loss (MLflow has none, and is asked once: search_runs, then optuna's
              default, PED-ANOVA without intervals; here two measures with intervals). Optuna's fANOVA is no
              choice: it took two minutes for 500 runs

Both sides are warm processes and answer from files; the first repetition is a cold one and counts. Mendel's
import is `mendel import`, a process of its own, reading MLflow's database, and a table of the points.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CHOSEN = 100
LOSS = "final.loss"


class MLflow:
    """The other side, in a process of its own."""

    def __init__(self, python, folder):
        command = [python, str(HERE / "scale_mlflow.py"), str(folder)]
        quiet = open(os.devnull, "w")  # noqa: SIM115, PTH123
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": quiet}
        self.process = subprocess.Popen(command, text=True, **pipes)
        self.version = json.loads(self.process.stdout.readline())["mlflow"]

    def ask(self, do, **arguments):
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"MLflow's side ended at {do}: run it by hand to see why")
        return json.loads(answer)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mlflow", required=True, help="an interpreter that has mlflow and optuna")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--knobs", type=int, default=20)
    parser.add_argument("--written", type=int, default=50, help="runs that MLflow's client writes")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("scale-work"))
    parser.add_argument("--reuse", action="store_true", help="ask the database of the last time")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    size = {"points": given.points, "knobs": given.knobs}
    for folder in ("client", "imports") if given.reuse else ("",):
        shutil.rmtree(given.work / folder, ignore_errors=True)
    (given.work / "client").mkdir(parents=True)
    written = MLflow(given.mlflow, given.work / "client").ask("write", count=given.written, **size)["seconds"]
    say(f"MLflow's client wrote {given.written} runs in {written:.1f} s")
    other = MLflow(given.mlflow, given.work)
    if not given.reuse:
        filled = other.ask("fill", first=0, count=given.runs, **size)["seconds"]
        say(f"{given.runs} went into its tables in {filled:.0f} s")
    imports = imported(given.work)
    for name, one in imports.items():
        say(f"mendel import, {name}: {one['seconds']:.1f} s, {one['peak_mb']:.0f} MB")
    found = {
        "command": " ".join(["python", "benchmarks/scale.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {"python": platform.python_version(), "mlflow": other.version} | versions(),
        "runs": given.runs,
        **size,
        "write": {
            "mlflow_seconds_per_run": written / given.written,
            "mlflow_seconds_of_all": written / given.written * given.runs,
            "mlflow_measured_runs": given.written,
            "mendel_import": imports,
            "ratio": written / given.written * given.runs / imports["of MLflow's database"]["seconds"],
        },
        "queries": queries(given, other),
    }
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def versions():
    import duckdb
    import pyarrow

    return {"pyarrow": pyarrow.__version__, "duckdb": duckdb.__version__, "numpy": np.__version__}


def imported(work):
    """`mendel import` of MLflow's database, then of a table of its points."""
    import pyarrow.parquet as pq

    from mendel.knowledge.collection import points

    found = {"of MLflow's database": run_import(work, "mlflow.db", "runs")}
    curves = points(work / "imports" / "runs", "loss")
    import pyarrow as pa

    codes = np.repeat(np.arange(len(curves.runs), dtype=np.int32), np.diff(curves.start))
    names = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(curves.runs))
    table = pa.table({"run": names, "step": curves.steps, "loss": curves.values})
    pq.write_table(table, work / "points.parquet")
    columns = ["--columns", "run=run", "step=step", "metric=loss"]
    return found | {"of a Parquet table": run_import(work, "points.parquet", "table", *columns)}


def run_import(work, source, into, *more):
    command = [sys.executable, "-m", "mendel", "import", str(work / source), "--into", into, *more]
    command += ["--store", str(work), "--json"]
    start = time.perf_counter()
    with (work / "said.json").open("w+") as stream:
        process = subprocess.Popen(command, stdout=stream)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        stream.seek(0)
        said = json.load(stream)
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in (work / "imports" / into).rglob("*") if file.is_file())
    told = {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime}
    told |= {"peak_mb": usage.ru_maxrss / 1024, "runs": said["runs"], "points": said["points"]}
    return told | {"mb_on_disk": size / 1e6, "mb_of_source": (work / source).stat().st_size / 1e6}


def queries(given, other):
    from mendel.knowledge.collection import mean_curve, points, select
    from mendel.knowledge.table import read_table

    folder = given.work / "imports" / "runs"
    table = read_table(folder)
    ids, names = table.labels("run"), table.labels("name")
    drawn = np.random.default_rng(1).choice(len(ids), min(CHOSEN, len(ids)), replace=False)
    other.ask("some", names=[names[place] for place in drawn])
    chosen, every = [ids[place] for place in drawn], np.arange(given.points, dtype=float)

    def sort():
        assert len(select(read_table(folder), ["run", LOSS], LOSS)) == given.runs

    def curve():
        return mean_curve(points(folder, "loss", chosen), steps=every).mean[-1]

    asked = [("table", sort, "table"), ("curve", curve, "curve"), ("curve, SQL", curve, "curve_sql")]
    times = {name: {"mendel": [], "mlflow": []} for name, *_ in asked}
    for turn in range(given.repeats):
        for name, own, theirs in asked:
            start = time.perf_counter()
            end = own()
            times[name]["mendel"].append(time.perf_counter() - start)
            answer = other.ask(theirs)
            times[name]["mlflow"].append(answer["seconds"])
            assert end is None or abs(end - answer["end"]) < 1e-9, "the two sides disagree"
        say(f"turn {turn + 1}: " + "; ".join(words(name, one) for name, one in times.items()))
    knobs = importance(folder, given.repeats)
    times["importance"] = {"mendel": knobs, "mlflow": [other.ask("importance")["seconds"]]}
    say(words("importance", times["importance"]))
    return {name: one | {"ratio": ratio(one)} for name, one in times.items()}


def importance(folder, repeats):
    """Seconds that the importance of all knobs takes, by two measures with intervals."""
    from mendel.knowledge.patterns.factors import roles
    from mendel.knowledge.patterns.importance import importance as told
    from mendel.knowledge.table import read_table

    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        table = read_table(folder)
        knobs = roles(table, LOSS, [name for name in table.columns if name.startswith("config.")]).knobs
        first = np.random.default_rng(0).random(len(table)) < 0.5
        found = told(table.numbers(LOSS), knobs, first)
        times.append(time.perf_counter() - start)
        assert max(found, key=lambda one: one.variance).name.endswith("knob0")
    return times


def ratio(one):
    return statistics.median(one["mlflow"]) / statistics.median(one["mendel"])


def words(name, one):
    return f"{name} {one['mendel'][-1]:.3f} s beside {one['mlflow'][-1]:.2f} s"


def say(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
