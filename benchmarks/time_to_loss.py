"""How long `modern` takes to reach what nanoGPT's defaults reach: quality per second of training.

    python benchmarks/time_to_loss.py --reference PATH [--rung 2] [--seeds 2] [--work DIR] [--json]

PATH is a checkout of github.com/karpathy/nanoGPT, whose files are used and not kept. It trains in float32 at
the rung's `gpt2` shape and FLOPs, with the defaults of its `train.py` (AdamW, betas 0.9 and 0.95, decay 0.1,
clip 1, cosine to a tenth after a warmup of 5 %), its learning rate swept by factors of two until the best one
has a worse neighbour on either side. `modern` trains the same rung's shape with shares of the same
FLOPs, each a whole schedule. Both start from the same seeds and are scored on the same validation windows, in
float32.

Seconds are steps times the seconds of one step, and steps of both are timed in turns in one process with one
thread: a busy machine then slows both alike. `time_ratio` is modern's seconds, read off the line through the
two shares around the target in log time, over nanoGPT's. Finished runs are kept in --work under a hash of the
trainer and of the text, so that a stopped benchmark goes on where it was, and a changed trainer starts anew.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import reference

from mendel.patches import read_tree
from mendel.records import Shard, tree_hash
from mendel.testbeds import load_testbed
from mendel.yardstick import build_corpus, windows

SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Of the rung's FLOPs, for `modern`."""
FIRST_LR = 4e-3
ROUNDS = 9


def prepare(path: Path) -> Any:
    """In each worker: one thread, the trainer's modules, and nanoGPT's."""
    import torch

    torch.set_num_threads(1)
    reference.import_trainer()
    return reference.load_reference(path)


def bits_per_byte(log_probabilities: Callable[[Any], Any], context: int, text: Path) -> float:
    """Scores windows of (count, length + 1) bytes; a window starts afresh at each multiple of the context."""
    import torch

    tokens_BT = torch.from_numpy(np.load(text).astype(np.int64))
    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, tokens_BT.shape[1] - 1, context):
            window_BT = tokens_BT[:, start : start + context + 1]
            logits_BTV = log_probabilities(window_BT[:, :-1])
            logp_BT = logits_BTV.log_softmax(-1).gather(2, window_BT[:, 1:, None])[..., 0]
            total -= logp_BT.double().sum().item()
            count += logp_BT.numel()
    return total / count / math.log(2)


def train_reference(
    path: Path, config: Any, lr: float, seed: int, steps: int, data: Path, text: Path
) -> float:
    """nanoGPT's bits per byte after `steps` with its schedule (`get_lr` of its train.py)."""
    nanogpt = prepare(path)
    from data import Reader  # type: ignore[import-not-found]

    model = reference.reference_model(nanogpt, config, seed)
    optimizer = reference.reference_optimizer(model, lr)
    step = reference.reference_step(model, optimizer, Reader(data, config, seed))
    warmup = max(1, steps // 20)
    for i in range(steps):
        share = (i - warmup) / max(1, steps - warmup)
        scale = (i + 1) / (warmup + 1) if i < warmup else 0.1 + 0.45 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = lr * scale
        step()
    model.eval()

    def logits(tokens_BT: Any) -> Any:
        return model(tokens_BT.contiguous(), tokens_BT.contiguous())[
            0
        ]  # with targets it gives every position

    return bits_per_byte(logits, config.context, text)


def step_seconds(path: Path, ours: Any, theirs: Any, data: Path) -> dict[str, float]:
    """Median seconds of one step of each, timed in turns."""
    nanogpt = prepare(path)
    from data import Reader  # type: ignore[import-not-found]

    model = reference.reference_model(nanogpt, theirs, 1)
    optimizer = reference.reference_optimizer(model, FIRST_LR)
    steps = {
        "nanogpt": reference.reference_step(model, optimizer, Reader(data, theirs, 1)),
        "modern": reference.own_step(ours, 1, "auto", Reader(data, ours, 1)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(ROUNDS + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(10):
                step()
            if turn:  # the first one warms up
                seconds[name].append((time.perf_counter() - start) / 10)
    return {name: median(values) for name, values in seconds.items()}


class Kept:
    """Losses of finished runs by what was run, in one JSON file."""

    def __init__(self, file: Path):
        self.file = file
        self.losses: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}

    def of(self, jobs: dict[str, Callable[[], float]], pool: Executor) -> list[float]:
        """The losses of `jobs` in order, run where they are not there yet."""
        running = {pool.submit(job): name for name, job in jobs.items() if name not in self.losses}
        for done in as_completed(running):
            self.losses[running[done]] = done.result()
            self.file.write_text(json.dumps(self.losses, indent=1))
        return [self.losses[name] for name in jobs]


def sweep_reference(
    kept: Kept, pool: Executor, train: Callable[..., float], seeds: range
) -> dict[float, float]:
    """Mean loss of nanoGPT by learning rate: factors of two, outwards until the best is inside."""
    losses: dict[float, float] = {}
    todo = [FIRST_LR / 2, FIRST_LR, 2 * FIRST_LR]
    while todo:
        for lr in todo:
            jobs = {f"nanogpt lr {lr:g} seed {seed}": partial(train, lr=lr, seed=seed) for seed in seeds}
            losses[lr] = mean(kept.of(jobs, pool))
        best = min(losses, key=lambda lr: losses[lr])
        todo = [lr for lr in (best / 2, best * 2) if lr not in losses]
    return losses


def measure(args: argparse.Namespace, data: Path, text: Path) -> dict[str, Any]:
    reference.import_trainer()
    from config import RECIPES  # type: ignore[import-not-found]

    theirs, ours = (RECIPES[name].at_rung(args.rung) for name in ("gpt2", "modern"))
    flops = load_testbed("gpt").rungs[args.rung].compute
    steps = int(flops / theirs.flops_per_token() / theirs.batch / theirs.context)
    seeds = range(1, args.seeds + 1)
    source = tree_hash(read_tree(load_testbed("gpt")))
    kept = Kept(args.work / f"rung{args.rung}-{steps}steps-{source}-{data.parent.parent.name}.json")
    train = partial(train_reference, path=args.reference, config=theirs, steps=steps, data=data, text=text)
    with ProcessPoolExecutor(args.processes) as pool:
        sweep = sweep_reference(kept, pool, train, seeds)
        points = []
        for share in SHARES:
            tokens = int(share * flops / ours.flops_per_token())
            own = partial(reference.own_loss, data, text, recipe="modern", rung=args.rung, tokens=tokens)
            jobs = {f"modern {share:g} seed {seed}": partial(own, seed=seed) for seed in seeds}
            points.append((tokens // (ours.batch * ours.context), mean(kept.of(jobs, pool))))
    lr = min(sweep, key=lambda lr: sweep[lr])
    seconds = step_seconds(args.reference, ours, theirs, data)
    needed = steps_to_reach(points, sweep[lr])
    return {
        "command": "python benchmarks/time_to_loss.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "rung": args.rung,
        "nanogpt_sweep": {f"{lr:g}": loss for lr, loss in sorted(sweep.items())},
        "target_bits_per_byte": sweep[lr],
        "nanogpt": {"lr": lr, "steps": steps, "seconds": steps * seconds["nanogpt"]},
        "modern": {"steps": needed, "seconds": needed * seconds["modern"]},
        "modern_curve": [{"steps": n, "bits_per_byte": loss} for n, loss in points],
        "step_seconds": seconds,
        "time_ratio": needed * seconds["modern"] / (steps * seconds["nanogpt"]),
    }


def steps_to_reach(points: list[tuple[int, float]], target: float) -> float:
    """Steps at which the line through the two points around `target` reaches it, in log steps. SystemExit
    when the target is not between the points: nothing is extrapolated."""
    for (few, high), (many, low) in pairwise(points):
        if high >= target >= low:
            return few * (many / few) ** ((high - target) / (high - low))
    raise SystemExit(f"modern's losses {points} do not enclose {target:.4f}: other SHARES are needed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--rung", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--root", type=Path, default=Path(".mendel"), help="where the corpus is kept")
    parser.add_argument("--work", type=Path, default=Path(".mendel/time_to_loss"), help="finished runs")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    reference.load_reference(args.reference)
    corpus = build_corpus("default", args.root.absolute())
    args.work.mkdir(parents=True, exist_ok=True)
    text = args.work.absolute() / "windows.npy"
    np.save(text, windows(corpus.shard_text(Shard.VALIDATION), 128, 512, seed=0))
    report = measure(args, corpus.train_file, text)
    if args.json:
        print(json.dumps(report, indent=1))
        return
    print("nanoGPT by learning rate:", {lr: round(loss, 4) for lr, loss in report["nanogpt_sweep"].items()})
    for who in ("nanogpt", "modern"):
        print(f"{who:<8} {report[who]['steps']:>6.0f} steps  {report[who]['seconds']:>7.1f} s")
    print(f"to {report['target_bits_per_byte']:.4f} bits per byte; time ratio {report['time_ratio']:.3f}")


if __name__ == "__main__":
    main()
