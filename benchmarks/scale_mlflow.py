"""MLflow's side of scale.py, run by an interpreter that has it: reads commands from standard input, one JSON
object a line, and answers each with the seconds it took."""

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
import numpy as np
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

EXPERIMENT = "scale"


def data(first, count, points, knobs):
    """Runs of the benchmark: the same as scale.py makes."""
    for number in range(first, first + count):
        rng = np.random.default_rng([7, number])
        config = {f"knob{k}": float(value) for k, value in enumerate(rng.random(knobs))}
        steps = np.arange(points)
        lift = 0.2 * config["knob0"] + 0.1 * config["knob1"] ** 2
        yield number, config, 3 * (steps + 1.0) ** -0.1 + lift + rng.normal(0, 0.01, points)


class Side:
    def __init__(self, folder):
        self.file = Path(folder) / "mlflow.db"
        mlflow.set_tracking_uri(f"sqlite:///{self.file}")
        self.client = MlflowClient()
        found = self.client.get_experiment_by_name(EXPERIMENT)
        self.experiment = found.experiment_id if found else self.client.create_experiment(EXPERIMENT)

    def write(self, count, points, knobs):
        """Log runs through the client, a run's points in batches of 1,000, the most that it takes."""
        made = list(data(0, count, points, knobs))
        start = time.perf_counter()
        for number, config, values in made:
            run = self.client.create_run(self.experiment, run_name=f"run-{number}").info.run_id
            self.client.log_batch(run, params=[Param(key, repr(value)) for key, value in config.items()])
            metrics = [Metric("loss", float(v), 1700000000000 + k, k) for k, v in enumerate(values)]
            for at in range(0, points, 1000):
                self.client.log_batch(run, metrics=metrics[at : at + 1000])
            self.client.set_terminated(run)
        return time.perf_counter() - start

    def fill(self, first, count, points, knobs):
        """Put further runs into its tables, past its client."""
        start = time.perf_counter()
        with sqlite3.connect(self.file) as db:
            db.execute("PRAGMA synchronous=OFF")
            for number, config, values in data(first, count, points, knobs):
                run = f"{number:032x}"
                db.execute(
                    "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, "
                    "status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, "
                    "experiment_id) "
                    "VALUES (?, ?, 'UNKNOWN', '', '', 'bench', 'FINISHED', ?, ?, '', 'active', '', ?)",
                    (run, f"run-{number}", 1700000000000 + number, 1700000001000 + number, self.experiment),
                )
                db.executemany(
                    "INSERT INTO params VALUES (?, ?, ?)",
                    [(key, repr(value), run) for key, value in config.items()],
                )
                db.execute("INSERT INTO tags VALUES ('mlflow.runName', ?, ?)", (f"run-{number}", run))
                db.executemany(
                    "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
                    "VALUES ('loss', ?, ?, ?, ?, 0)",
                    [(float(v), 1700000000000 + k, run, k) for k, v in enumerate(values)],
                )
                db.execute(
                    "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
                    "VALUES ('loss', ?, ?, ?, 0, ?)",
                    (float(values[-1]), 1700000000000 + points - 1, points - 1, run),
                )
        return time.perf_counter() - start

    def table(self):
        """All runs with their final loss, sorted, as its search gives them."""
        start = time.perf_counter()
        found = mlflow.search_runs([self.experiment], order_by=["metrics.loss ASC"], max_results=100_000)
        best = found[["run_id", "metrics.loss"]]
        taken = time.perf_counter() - start
        assert len(best) and best["metrics.loss"].is_monotonic_increasing
        return taken

    def some(self, names):
        """Ids of runs by their names."""
        with sqlite3.connect(self.file) as db:
            found = dict(db.execute("SELECT name, run_uuid FROM runs"))
        self.chosen = [found[name] for name in names]
        return 0.0

    def curve(self):
        """Mean curve and band of the chosen runs, through its client."""
        start = time.perf_counter()
        rows = [[m.value for m in self.client.get_metric_history(run, "loss")] for run in self.chosen]
        self.mean = summary(np.array(rows))
        return time.perf_counter() - start

    def curve_sql(self):
        """The same asked of its database directly, which a user of it would have to write."""
        start = time.perf_counter()
        with sqlite3.connect(self.file) as db:
            rows = [
                [
                    row[0]
                    for row in db.execute(
                        "SELECT value FROM metrics WHERE run_uuid=? AND key='loss' ORDER BY step", (r,)
                    )
                ]
                for r in self.chosen
            ]
        self.mean = summary(np.array(rows))
        return time.perf_counter() - start

    def importance(self):
        """What each knob matters, as a user would find out: its table into a study of optuna."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        start = time.perf_counter()
        found = mlflow.search_runs([self.experiment], max_results=100_000)
        knobs = sorted(name for name in found.columns if name.startswith("params."))
        ranges = {name: optuna.distributions.FloatDistribution(0, 1) for name in knobs}
        study = optuna.create_study()
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: float(row[name]) for name in knobs},
                    distributions=ranges,
                    value=row["metrics.loss"],
                )
                for row in found.to_dict("records")
            ]
        )
        optuna.importance.get_param_importances(study)
        return time.perf_counter() - start


def summary(values):
    return values.mean(axis=0), np.quantile(values, (0.1, 0.9), axis=0)


def main():
    side = Side(sys.argv[1])
    print(json.dumps({"mlflow": mlflow.__version__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        seconds = getattr(side, asked.pop("do"))(**asked)
        mean = getattr(side, "mean", None)
        print(json.dumps({"seconds": seconds, "end": float(mean[0][-1]) if mean else None}), flush=True)


if __name__ == "__main__":
    main()
