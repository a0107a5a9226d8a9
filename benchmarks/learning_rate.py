"""Is the original recipe's learning rate tuned? Sweeps it at one rung, on the validation shard.

    python benchmarks/learning_rate.py [--recipe gpt2] [--rung 0] [--seeds 4] [--json]

A multiplier over an untuned control flatters every idea that happens to tune it. Trains the recipe with its
learning rate times 1/4, 1/2, 1, 2 and 4, at the rung's FLOPs by the trainer's own estimate, with the built-in
trainer as a plain script, and prints the mean validation loss in bits per byte with its standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mendel.records import Shard
from mendel.testbeds import load_testbed
from mendel.yardstick import build_corpus, windows

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
PLAN = """
import sys
from config import RECIPES
config = RECIPES[sys.argv[1]]
print(config.lr, config.at_rung(int(sys.argv[2])).flops_per_token())
"""
SCORE = """
import sys
import numpy as np
from score import load
print(-float(load(sys.argv[1])(np.load(sys.argv[2])).mean()))
"""


def run(root: Path, *command: str) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=root, env=env, check=True, capture_output=True, text=True
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="gpt2")
    parser.add_argument("--rung", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--root", type=Path, default=Path(".mendel"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    testbed = load_testbed("gpt")
    trainer = Path(testbed.root)
    corpus = build_corpus("default", args.root.absolute())
    peak, per_token = map(float, run(trainer, "-c", PLAN, args.recipe, str(args.rung)).split())
    tokens = int(testbed.rungs[args.rung].flops / per_token)

    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "windows.npy"
        np.save(text, windows(np.fromfile(corpus.shard_file(Shard.VALIDATION), np.uint8), 128, 512, seed=0))

        def loss(job: tuple[float, int]) -> float:
            factor, seed = job
            out = Path(folder) / f"{factor}-{seed}"
            told = (
                "--recipe",
                args.recipe,
                "--rung",
                str(args.rung),
                "--seed",
                str(seed),
                "--tokens",
                str(tokens),
            )
            places = ("--data", str(corpus.train_file), "--out", str(out), "--set", f"lr={factor * peak}")
            try:
                run(trainer, "train.py", *told, *places)
            except subprocess.CalledProcessError:
                return math.inf
            return float(run(trainer, "-c", SCORE, str(out), str(text))) / math.log(2)

        jobs = [(factor, seed) for factor in FACTORS for seed in range(args.seeds)]
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            losses = np.array(list(workers.map(loss, jobs))).reshape(len(FACTORS), args.seeds)
    rows = [
        {"lr": factor * peak, "bits_per_byte": x.mean(), "se": x.std(ddof=1) / args.seeds**0.5}
        for factor, x in zip(FACTORS, losses, strict=True)
    ]
    if args.json:
        print(json.dumps({"schema": 1, "recipe": args.recipe, "rung": args.rung, "sweep": rows}))
        return
    for row in rows:
        mark = "  <- the recipe's" if row["lr"] == peak else ""
        print(f"lr {row['lr']:.4g}: {row['bits_per_byte']:.4f} +- {row['se']:.4f} bits per byte{mark}")


if __name__ == "__main__":
    main()
