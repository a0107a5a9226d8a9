"""Stacked runs beside runs one at a time: runs per second, and how near their results are.

    python benchmarks/stacked.py [--members 1 2 4 8 16 32] [--rung 0] [--recipe gpt2] [--device auto]
                                 [--precision auto] [--sweep] [--compile] [--agreement SEEDS] [--json]

Members differ in their seeds; with --sweep, each also has a learning rate of its own, so that no two share an
optimiser. Each round trains all members for --steps steps one at a time, then stacked, through the trainer's
own code with all its files; `ratio` is the median over rounds of the first time over the second: how many
times more runs per second. On a CPU, time is the processor's, which neighbours on the machine disturb less;
on a GPU it is the clock's, once everything is done.

`--agreement 8` trains whole runs of 8 seeds both ways, in float32 and in bfloat16, and compares the curves,
and the losses on validation text: their difference beside what another seed changes, and beside what a
millionth off each initial weight changes in a run alone (`nudged`).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, stdev
from typing import Any

import numpy as np

from mendel.records import Shard
from mendel.testbeds import load_testbed
from mendel.yardstick import build_corpus, windows


def members_of(recipe: str, rung: int, count: int, sweep: bool) -> list[Any]:
    """`count` members with seeds of their own, sorted as the trainer sorts them."""
    from config import RECIPES  # type: ignore[import-not-found]
    from stacked import Member  # type: ignore[import-not-found]

    config = RECIPES[recipe].at_rung(rung)
    scales = [2 ** (i / count - 0.5) if sweep else 1.0 for i in range(count)]
    configs = [replace(config, lr=config.lr * s, muon_lr=config.muon_lr * s) for s in scales]
    return [Member(f"m{seed}", config, seed) for seed, config in enumerate(configs, 1)]


def alone(members: list[Any], tokens: int, corpus: Path, out: Path, device: Any) -> None:
    import loop  # type: ignore[import-not-found]
    from run import Run  # type: ignore[import-not-found]

    for member in members:
        (out / member.name).mkdir(parents=True, exist_ok=True)
        loop.train(member.config, tokens, member.seed, Run(corpus, out / member.name, device))


def nudged(members: list[Any], tokens: int, corpus: Path, out: Path, device: Any) -> None:
    """Alone, each initial weight about a millionth off."""
    import loop
    import torch
    from run import Run

    class Nudged(Run):  # type: ignore[misc]
        def place(self, model):
            generator = torch.Generator().manual_seed(5)
            with torch.no_grad():
                for p in model.parameters():
                    p.mul_(1 + 1e-6 * torch.randn(p.shape, generator=generator))
            return super().place(model)

    for member in members:
        (out / member.name).mkdir(parents=True, exist_ok=True)
        loop.train(member.config, tokens, member.seed, Nudged(corpus, out / member.name, device))


def stacked(members: list[Any], tokens: int, corpus: Path, out: Path, device: Any) -> None:
    from stacked import MemberRun, train_stack  # type: ignore[import-not-found]

    for member in members:
        (out / member.name).mkdir(parents=True, exist_ok=True)
    plain = replace(device, compile=False)
    runs = [MemberRun(corpus, out / member.name, plain, {}) for member in members]
    train_stack(members, tokens, device, True, runs)


def seconds(function: Any, device: Any) -> float:
    import torch

    if device.kind == "cpu":
        start = time.process_time()
        function()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def speed(args: argparse.Namespace, corpus: Path, out: Path, device: Any) -> list[dict[str, Any]]:
    """One row per number of members."""
    rows = []
    for count in args.members:
        members = members_of(args.recipe, args.rung, count, args.sweep)
        tokens = args.steps * members[0].config.batch * members[0].config.context
        plain = replace(device, compile=False)
        one = partial(alone, members, tokens, corpus, out, plain)
        all_of_them = partial(stacked, members, tokens, corpus, out, device)
        alone(members[:1], tokens, corpus, out, plain)
        all_of_them()  # warm, and compiled where it compiles
        times = [(seconds(one, device), seconds(all_of_them, device)) for _ in range(args.rounds)]
        ratios = sorted(a / b for a, b in times)
        row = {"members": count, "ratio": median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
        for name, column in zip(("alone", "stacked"), zip(*times, strict=True), strict=True):
            row[f"{name}_ms_per_run_and_step"] = 1e3 * median(column) / count / args.steps
        rows.append(row)
        if not args.json:
            print(
                f"{count:3} members: {row['ratio']:.2f}x the runs per second "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f}); "
                f"{row['alone_ms_per_run_and_step']:.2f} ms a step alone, "
                f"{row['stacked_ms_per_run_and_step']:.2f} stacked",
                flush=True,
            )
    return rows


def agreement(args: argparse.Namespace, corpus: Any, out: Path, device: Any) -> list[dict[str, Any]]:
    """Whole runs both ways, one row per precision."""
    from score import load  # type: ignore[import-not-found]

    text = windows(corpus.shard_text(Shard.VALIDATION), 128, 512, seed=0)
    members = members_of(args.recipe, args.rung, args.agreement, args.sweep)
    tokens = int(load_testbed("gpt").rungs[args.rung].compute / members[0].config.flops_per_token())
    rows = []
    for precision in ("float32", "bfloat16"):
        curves, scores = {}, {}
        for way in (alone, stacked, nudged):
            folder = out / precision / way.__name__
            way(members, tokens, corpus.train_file, folder, replace(device, precision=precision))
            logs = [(folder / m.name / "metrics.jsonl").read_text().splitlines() for m in members]
            curves[way] = np.array([[json.loads(line)["loss"] for line in log] for log in logs])
            scores[way] = np.array([-load(folder / m.name)(text).mean() / math.log(2) for m in members])
        apart = np.abs(curves[stacked] / curves[alone] - 1)
        row = {
            "precision": precision,
            "steps": curves[alone].shape[1],
            "largest_relative_difference_50_steps": float(apart[:, :50].max()),
            "largest_relative_difference": float(apart.max()),
            "validation_rms_difference": float(np.sqrt(np.mean((scores[stacked] - scores[alone]) ** 2))),
            "validation_rms_difference_nudged": float(
                np.sqrt(np.mean((scores[nudged] - scores[alone]) ** 2))
            ),
            "validation_mean_difference": float(np.mean(scores[stacked] - scores[alone])),
            "validation_seed_sd": stdev(scores[alone].tolist()),
        }
        rows.append(row)
        if not args.json:
            print(
                f"{precision}, {args.agreement} seeds, {row['steps']} steps: loss within "
                f"{row['largest_relative_difference_50_steps']:.1e} over 50 steps and "
                f"{row['largest_relative_difference']:.1e} over all; validation bits per byte differ by "
                f"{row['validation_rms_difference']:.5f} (rms), "
                f"{row['validation_mean_difference']:+.5f} (mean); "
                f"nudged {row['validation_rms_difference_nudged']:.5f} (rms); "
                f"sd over seeds {row['validation_seed_sd']:.5f}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--recipe", default="gpt2")
    parser.add_argument("--rung", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--agreement", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--root", type=Path, default=Path(".mendel"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    sys.path.insert(0, load_testbed("gpt").root)
    warnings.filterwarnings("ignore", "There is a performance drop")
    from device import choose_device  # type: ignore[import-not-found]

    device = choose_device(args.device, args.precision, "on" if args.compile else "off")
    corpus = build_corpus("default", args.root.absolute())
    with tempfile.TemporaryDirectory() as folder:
        rows = [] if args.agreement else speed(args, corpus.train_file, Path(folder), device)
        near = agreement(args, corpus, Path(folder), device) if args.agreement else []
    if args.json:
        made = device.record() | {"machine": platform.processor() or platform.machine()}
        settings = {"recipe": args.recipe, "rung": args.rung, "sweep": args.sweep}
        print(json.dumps({"schema": 1, **settings, "made": made, "ratio": rows, "agreement": near}))


if __name__ == "__main__":
    main()
