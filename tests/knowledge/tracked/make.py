"""How the files beside this one were made: by the trackers themselves, none of which the tests install.

    python -m venv trackers && trackers/bin/pip install tensorboard==2.21.0 wandb==0.31.0 mlflow==3.17.2
    trackers/bin/python make.py FOLDER

Two runs each: seed 1 ended well, seed 2 ended with a loss that is not finite, and failed.
"""

import math
import os
import re
import sqlite3
import sys
import time
from pathlib import Path

LOSSES = {1: [3.0 / (k + 1) for k in range(10)], 2: [3.5 / (k + 1) for k in range(9)] + [math.nan]}


def wandb_runs(folder):
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(folder))
    import wandb

    for seed, losses in LOSSES.items():
        config = {"lr": 0.003, "seed": seed, "model": {"width": 64, "act": "relu"}, "betas": [0.9, 0.95]}
        settings = wandb.Settings(console="off", x_disable_stats=True)
        run = wandb.init(project="letters", name=f"seed-{seed}", config=config, settings=settings)
        for step, loss in enumerate(losses):
            run.log({"train/loss": loss} | ({"val/loss": loss + 0.1} if step % 5 == 4 else {}))
        run.summary["best"] = min(losses[:9])
        run.finish(exit_code=seed - 1)


def tensorboard_runs(folder):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    for seed, losses in LOSSES.items():
        writer = EventFileWriter(str(folder / f"seed-{seed}"))
        for step, loss in enumerate(losses):
            value = Summary.Value(tag="train/loss", simple_value=loss)
            writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=[value])))
        scalars = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
        for step in (4, 9):  # as TensorFlow 2 writes them
            tensor = make_tensor_proto(losses[step] + 0.1, dtype="float32")
            value = Summary.Value(tag="val/loss", tensor=tensor, metadata=scalars)
            writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=[value])))
        begun, ended = HParamsPluginData(version=0), HParamsPluginData(version=0)
        settings = begun.session_start_info.hparams
        settings["lr"].number_value, settings["seed"].number_value = 0.003, seed
        settings["act"].string_value, settings["bias"].bool_value = "relu", False
        ended.session_end_info.status = STATUS_SUCCESS if seed == 1 else STATUS_FAILURE
        for tag, data in (("session_start_info", begun), ("session_end_info", ended)):
            plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
            value = Summary.Value(tag=f"_hparams_/{tag}", metadata=SummaryMetadata(plugin_data=plugin))
            writer.add_event(Event(wall_time=1.7e9, summary=Summary(value=[value])))
        writer.close()


def mlflow_runs(folder):
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ALLOW_FILE_STORE="true")
    import mlflow

    for uri in (f"file://{folder}/mlruns", f"sqlite:///{folder}/mlflow.db"):
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("letters")
        for seed, losses in LOSSES.items():
            mlflow.start_run(run_name=f"seed-{seed}")
            mlflow.log_params({"lr": 0.003, "seed": seed, "act": "relu", "bias": False})
            mlflow.set_tag("mlflow.source.git.commit", "abc123")
            for step, loss in enumerate(losses):
                mlflow.log_metric("train/loss", loss, step=step)
            mlflow.log_metric("grad", math.inf, step=9)
            mlflow.end_run("FINISHED" if seed == 1 else "FAILED")
            time.sleep(0.01)
    dump(folder / "mlflow.db", folder / "mlflow.sql")


def dump(database, file):
    """The tables that tell of runs, as text: the database has sixty more."""
    wanted = re.compile(
        r'(CREATE TABLE|INSERT INTO) "?(experiments|runs|metrics|latest_metrics|params|tags)"?[ (]'
    )
    with sqlite3.connect(database) as db:
        lines = [line for line in db.iterdump() if wanted.match(line)]
    file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    for name, make in (("wandb", wandb_runs), ("tensorboard", tensorboard_runs), ("mlflow", mlflow_runs)):
        if name in sys.argv[2:] or not sys.argv[2:]:
            (place / name).mkdir(parents=True)
            make(place / name)
