"""The built-in trainer's speed beside nanoGPT's, at equal shape, batch and data, interleaved in one run.

    python benchmarks/trainer_speed.py --reference PATH [--rungs 0 1 2 3] [--widths 64 128 256]
                                       [--threads 1 2] [--seeds 8] [--compile] [--json]

PATH is a checkout of github.com/karpathy/nanoGPT, whose files are used and not kept. Both train the `gpt2`
recipe's shape: at rungs of the ladder, and at widths above it with depth 4 and 16 sequences of 128 tokens.
Blocks of steps alternate between the two; a ratio is the median over rounds of our tokens per second over
nanoGPT's, with the lowest and highest round beside it.

`peak_fraction` is the trainer's model FLOPs (6 per weight and token, and attention) per second over the
rate of bfloat16 matrix products of the MLP's shape, measured in the same process. `precision` trains rung 0
in bfloat16 and in float32 from the same seeds and compares their validation losses: the difference should
be lost in what a seed does. `--compile` measures torch.compile on top: what it gains, what it costs, and
from how many seconds of training on it pays.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import reference

from mendel.records import Shard
from mendel.testbeds import load_testbed
from mendel.yardstick import build_corpus, windows

WIDE = {"depth": 4, "context": 128, "batch": 16, "head_dim": 32}
ROUNDS = 7


def config_of(shape: str) -> Any:
    """The `gpt2` recipe at "rung 2" or "width 256". Width 64 is rung 0."""
    from config import RECIPES  # type: ignore[import-not-found]

    kind, value = shape.split()
    base = RECIPES["gpt2"]
    if kind == "rung":
        return base.at_rung(int(value))
    if int(value) == base.width:
        return base.at_rung(0)
    return type(base)(**{**vars(base), **WIDE, "heads": int(value) // WIDE["head_dim"]})


def seconds_per_step(step: reference.Step, seconds: float) -> float:
    """Mean over about `seconds` of steps."""
    start, steps = time.perf_counter(), 0
    while steps < 3 or time.perf_counter() - start < seconds:
        step()
        steps += 1
    return (time.perf_counter() - start) / steps


def matrix_rate(config: Any) -> float:
    """FLOPs per second of a bfloat16 (float32 without it) product of the MLP's shape; the best of several."""
    import torch
    from device import choose_device  # type: ignore[import-not-found]

    dtype = torch.bfloat16 if choose_device().precision == "bfloat16" else torch.float32
    tokens, width = config.batch * config.context, config.width
    x, w = torch.randn(tokens, width).to(dtype), torch.randn(4 * width, width).to(dtype)

    def product() -> float:
        torch.nn.functional.linear(x, w)
        return 0.0

    return 2 * tokens * width * 4 * width / min(seconds_per_step(product, 0.1) for _ in range(5))


def compare(args: argparse.Namespace, shape: str, train: Path) -> dict[str, Any]:
    """One shape in this process."""
    import torch
    from data import Reader  # type: ignore[import-not-found]

    config = config_of(shape)
    nanogpt = reference.load_reference(args.reference)
    theirs_model = reference.reference_model(nanogpt, config, seed=1)
    optimizer = reference.reference_optimizer(theirs_model, 1e-3)
    steps = {
        "theirs": reference.reference_step(theirs_model, optimizer, Reader(train, config, 1)),
        "ours": reference.own_step(config, 1, "auto", Reader(train, config, 1)),
    }
    cold = 0.0
    if args.compile:
        start = time.perf_counter()
        steps["compiled"] = reference.own_step(config, 1, "auto", Reader(train, config, 1), compiled=True)
        steps["compiled"]()
        cold = time.perf_counter() - start
    for step in steps.values():
        seconds_per_step(step, 0.5)
    seconds = {name: [] for name in steps}  # type: dict[str, list[float]]
    for _ in range(ROUNDS):
        for name, step in steps.items():
            seconds[name].append(seconds_per_step(step, args.seconds))
    rate, tokens = matrix_rate(config), config.batch * config.context
    ratios = [t / o for t, o in zip(seconds["theirs"], seconds["ours"], strict=True)]
    ours = median(seconds["ours"])
    result = {
        "width": config.width,
        "threads": torch.get_num_threads(),
        "ratio": median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "tokens_per_second": tokens / ours,
        "reference_tokens_per_second": tokens / median(seconds["theirs"]),
        "matrix_flops_per_second": rate,
        "peak_fraction": config.flops_per_token() * tokens / ours / rate,
    }
    if args.compile:
        gain = [o / c for o, c in zip(seconds["ours"], seconds["compiled"], strict=True)]
        saved = 1 - 1 / median(gain)
        result["compile"] = {
            "speedup": median(gain),
            "cold_seconds": cold,
            "break_even_seconds": cold / saved if saved > 0 else None,
        }
    return result


def compare_precisions(seeds: int, train: Path, text: Path) -> dict[str, Any]:
    """bfloat16 against float32 at rung 0, paired by seed."""
    config = config_of("rung 0")
    tokens = int(load_testbed("gpt").rungs[0].compute / config.flops_per_token())
    losses = {
        precision: [
            reference.own_loss(train, text, precision=precision, seed=seed, tokens=tokens)
            for seed in range(1, seeds + 1)
        ]
        for precision in ("float32", "auto")
    }
    differences = [b - f for f, b in zip(losses["float32"], losses["auto"], strict=True)]
    return {
        "seeds": seeds,
        "float32_mean": mean(losses["float32"]),
        "float32_seed_sd": stdev(losses["float32"]),
        "difference_mean": mean(differences),
        "difference_standard_error": stdev(differences) / math.sqrt(seeds),
    }


def _env(threads: int) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--rungs", type=int, nargs="*", default=[0, 1, 2, 3])
    parser.add_argument("--widths", type=int, nargs="*", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.6, help="length of a block of steps")
    parser.add_argument("--seeds", type=int, default=8, help="for bfloat16 against float32; 0 skips it")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile as well")
    parser.add_argument("--root", type=Path, default=Path(".mendel"), help="where the corpus is kept")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    reference.load_reference(args.reference)
    reference.import_trainer()
    corpus = build_corpus("default", args.root.absolute())
    if args.one:
        print(json.dumps(compare(args, args.one, corpus.train_file)))
        return
    report = measure(args, corpus)
    if args.json:
        print(json.dumps(report, indent=1))
        return
    print("shape      threads  tokens/s     nanoGPT  ratio  (rounds)       of bf16 matrix rate")
    for shape, by_threads in report["shapes"].items():
        for threads, r in by_threads.items():
            low, high = r["ratio_range"]
            ours, theirs = r["tokens_per_second"], r["reference_tokens_per_second"]
            print(
                f"{shape:<10} {threads:>7} {ours:>9,.0f} {theirs:>11,.0f}"
                f"  {r['ratio']:>5.2f}  ({low:.2f} to {high:.2f})  {r['peak_fraction']:>8.0%}"
            )
            if "compile" in r:
                print(f"{'':<18} torch.compile: {r['compile']}")
    if report["precision"]:
        p = report["precision"]
        print(
            f"bfloat16 - float32, {p['seeds']} pairs: {p['difference_mean']:+.4f} +- "
            f"{p['difference_standard_error']:.4f} bits per byte; seed sd {p['float32_seed_sd']:.4f}"
        )


def measure(args: argparse.Namespace, corpus: Any) -> dict[str, Any]:
    """Every shape and number of threads, each in a process of its own."""
    import torch

    shapes = [f"rung {rung}" for rung in args.rungs] + [f"width {width}" for width in args.widths]
    results: dict[str, dict[str, Any]] = {}
    for shape in shapes:
        for threads in args.threads:
            done = subprocess.run(
                [sys.executable, *sys.argv, "--one", shape],
                env=_env(threads), check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            results.setdefault(shape, {})[str(threads)] = json.loads(done.stdout)
    precision = None
    if args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "windows.npy"
            np.save(text, windows(corpus.shard_text(Shard.VALIDATION), 128, 512, seed=0))
            precision = compare_precisions(args.seeds, corpus.train_file, text)
    return {
        "command": "python benchmarks/trainer_speed.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "ratio": {kind: _table(results, kind, "ratio") for kind in ("rung", "width")},
        "peak_fraction": {kind: _table(results, kind, "peak_fraction") for kind in ("rung", "width")},
        "shapes": results,
        "precision": precision,
    }


def _table(results: dict[str, dict[str, Any]], kind: str, key: str) -> dict[str, dict[str, float]]:
    """{value of the shape: {threads: number}}"""
    return {
        shape.split()[1]: {threads: r[key] for threads, r in by_threads.items()}
        for shape, by_threads in results.items()
        if shape.startswith(kind)
    }


if __name__ == "__main__":
    main()
