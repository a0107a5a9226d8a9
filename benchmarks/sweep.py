"""A random sweep of the built-in trainer: a real store to read patterns from (docs/knowledge.md).

    python benchmarks/sweep.py --runs 400 --data train.bin --out sweep      # about 2 core seconds a run

Knobs are drawn at random, each run with one of four seeds; rung 0, half its tokens. DIR gets a folder for
each run, and `points.parquet`: a row for each tenth step with the run's knobs, status and training loss.
`loss` is the mean of the last tenth of the steps; the text is seen once, so it is a loss on new text. The
command can be stopped and given again.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TRAINER = Path(__file__).parents[1] / "mendel/testbeds/gpt"
TOKENS = 120_000
EVERY = 10
"""Steps between rows of `points.parquet`."""
LAST = 0.1


def knobs(seed: int) -> dict[str, object]:
    """What run number `seed` sets."""
    rng = np.random.default_rng([20261130, seed])
    return {
        "lr": float(f"{10 ** rng.uniform(-3.3, -0.2):.3g}"),
        "optimizer": str(rng.choice(["adamw", "muon"])),
        "depth": int(rng.choice([1, 2, 3])),
        "heads": int(rng.choice([2, 4, 6])),
        "batch": int(rng.choice([16, 32, 64])),
        "warmup": float(rng.choice([0.0, 0.05, 0.2])),
        "schedule": str(rng.choice(["cosine", "wsd", "linear", "constant"])),
        "activation": str(rng.choice(["gelu", "relu2"])),
        "qk_norm": bool(rng.choice([True, False])),
        "positions": str(rng.choice(["learned", "rope", "none"])),
        "weight_decay": float(rng.choice([0.0, 0.1, 0.3])),
        "beta2": float(rng.choice([0.9, 0.95, 0.99, 0.999])),
        "clip": float(rng.choice([0.0, 1.0])),
        "eps": float(rng.choice([1e-8, 1e-6])),
    }


def run(number: int, data: Path, out: Path) -> None:
    """Train one run, unless it is there."""
    sys.path.insert(0, str(TRAINER))
    import torch
    import train

    torch.set_num_threads(1)
    folder = out / f"run-{number:04d}"
    if (folder / "done.json").exists():
        return
    set_ = [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in knobs(number).items()
    ]
    args = ["--seed", str(number % 4), "--data", str(data), "--out", str(folder), "--compile", "off"]
    args += ["--tokens", str(TOKENS)]
    status = "finished"
    try:
        train.start(train.parse_arguments([*args, *(part for one in set_ for part in ("--set", one))]))
    except train.Diverged:
        status = "diverged"
    for heavy in folder.glob("*.safetensors"):
        heavy.unlink()
    (folder / "done.json").write_text(json.dumps({"status": status}))


def points(out: Path, runs: int) -> None:
    """All runs' steps as one table."""
    rows = []
    for number in range(runs):
        folder = out / f"run-{number:04d}"
        status = json.loads((folder / "done.json").read_text())["status"]
        losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        same = {"run": folder.name, "status": status, "seed": number % 4, **knobs(number)}
        last = max(1, round(LAST * len(losses)))
        for step, loss in enumerate(losses):
            end = step == len(losses) - 1
            if step % EVERY == 0 or end:
                mean = float(np.mean(losses[-last:])) if end and status == "finished" else None
                rows.append({**same, "step": step, "train_loss": loss, "loss": mean})
    pq.write_table(pa.Table.from_pylist(rows), out / "points.parquet", compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--data", type=Path, required=True, help="training text, as raw bytes")
    parser.add_argument("--out", type=Path, default=Path("sweep"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.workers) as pool:
        list(pool.map(partial(run, data=options.data, out=options.out), range(options.runs)))
    points(options.out, options.runs)


if __name__ == "__main__":
    main()
