"""Does the best learning rate of a cheap rung hold at a dear one? Sweeps it at several rungs.

    python benchmarks/transfer.py [--recipes gpt2 modern] [--rungs 0 1 2] [--factors 0.25 0.5 1 2 4]
        [--seeds 2] [--work DIR] [--out FILE] [--json]

Trains each recipe with its peak learning rates (those of Muon and AdamW together) times each factor, with
each rung's whole budget by the trainer's own count of FLOPs, and scores it in bits per byte on the validation
shard. The built-in trainer runs as a plain script, one thread each, from a copy, so that it may be edited
meanwhile. Finished points are kept in the work folder under a hash of all they depend on: stopped, the same
command goes on; after a change of the trainer it starts anew. A multiplier over an untuned control flatters
every idea that happens to tune it, so this is also the check that the recipes' own rates are good.

`best_lr` says which rate was best at each rung, as the knob a recipe sets (its value at rung 0's scale: the
trainer's rules carry it upward). A learning rate transfers where that knob is the same at every rung.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mendel.patches import read_tree
from mendel.records import Shard, Testbed, content_hash, tree_hash
from mendel.testbeds import load_testbed
from mendel.yardstick import Corpus, build_corpus, windows

DIVERGED = 3
"""Exit code of the trainer."""
PLAN = """
import json, sys
from config import RECIPES
config = RECIPES[sys.argv[1]]
knobs = ["lr"] + ["muon_lr"] * (config.optimizer == "muon")
at = config.at_rung(int(sys.argv[2]))
names = ("depth", "width", "context", "batch", *knobs)
plan = {"knobs": {knob: getattr(config, knob) for knob in knobs}, "flops_per_token": at.flops_per_token()}
print(json.dumps(plan | {"shape": {name: getattr(at, name) for name in names}}))
"""
SCORE = """
import sys
import numpy as np
from score import load
print(-float(load(sys.argv[1])(np.load(sys.argv[2])).mean()))
"""


@dataclass(frozen=True)
class Point:
    """One run of the sweep."""

    recipe: str
    rung: int
    factor: float
    seed: int
    tokens: int
    knobs: dict[str, float]
    """The learning rates it is given, by knob."""


class Sweep:
    """Where the points of a sweep are trained and kept."""

    def __init__(self, data: str, root: Path, work: Path) -> None:
        self.testbed: Testbed = load_testbed("gpt")
        self.corpus: Corpus = build_corpus(data if data == "default" else Path(data), root.absolute())
        self.work = work
        tree = read_tree(self.testbed)
        self.source = tree_hash(tree)
        self.trainer = work / f"trainer-{self.source}"
        self.trainer.mkdir(parents=True, exist_ok=True)
        for name, text in tree.items():
            _write(self.trainer / name, lambda file, text=text: file.write(text.encode()))
        self.versions = {name: metadata.version(name) for name in ("torch", "numpy")}
        self.text = work / f"windows-{self.corpus.hash}.npy"
        if not self.text.exists():
            validation = self.corpus.shard_text(Shard.VALIDATION)
            _write(self.text, lambda file: np.save(file, windows(validation, 128, 512, seed=0)))
        self.stop = threading.Event()

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [self.testbed.python, *arguments]
        return subprocess.run(command, cwd=self.trainer, env=environment, capture_output=True, text=True)

    def asked(self, *arguments: str) -> str:
        """What a small script prints. RuntimeError with its last words where it fails."""
        done = self.python(*arguments)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
        return done.stdout

    def plan(self, recipe: str, rung: int) -> dict[str, Any]:
        """The recipe's learning rates, its shape at a rung, and the FLOPs of a token there."""
        return dict(json.loads(self.asked("-c", PLAN, recipe, str(rung))))

    def result(self, point: Point) -> dict[str, Any]:
        """Bits per byte (None where it diverged) and how it was computed; trained only if it is not kept."""
        asked = asdict(point) | {"source": self.source, "corpus": self.corpus.hash, **self.versions}
        kept = self.work / f"{content_hash(asked)}.json"
        if kept.exists():
            return dict(json.loads(kept.read_text()))
        if self.stop.is_set():
            raise KeyboardInterrupt
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            found = self.train(point, Path(folder))
        text = json.dumps(asked | found)
        _write(kept, lambda file: file.write(text.encode()))
        return found

    def train(self, point: Point, out: Path) -> dict[str, Any]:
        numbers = {"rung": point.rung, "seed": point.seed, "tokens": point.tokens}
        told = ["--recipe", point.recipe, "--data", str(self.corpus.train_file), "--out", str(out)]
        told += [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
        told += [part for knob, value in point.knobs.items() for part in ("--set", f"{knob}={value!r}")]
        done = self.python("train.py", *told)
        if done.returncode not in (0, DIVERGED):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"train.py {shlex.join(told)}: exit code {done.returncode}: {last}")
        computed = json.loads((out / "run.json").read_text())
        if done.returncode == DIVERGED:
            return {"bits_per_byte": None, "computed": computed}
        nats = float(self.asked("-c", SCORE, str(out), str(self.text)))
        loss = nats / math.log(2) if math.isfinite(nats) else None
        return {"bits_per_byte": loss, "computed": computed}


def _write(path: Path, fill: Any) -> None:
    """Under a temporary name first: what is kept is whole."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as file:
        fill(file)
    Path(file.name).replace(path)


# --- what the points say ----------------------------------------------------------------------------------


def summarise_rung(points: Sequence[tuple[float, Sequence[float | None]]]) -> dict[str, Any]:
    """The sweep at one rung from (factor, losses of its seeds): means, best factor, the parabola's vertex.

    A factor with which any seed diverged has no mean. The vertex is of the parabola through the best three
    neighbours in log2(factor); None where the best lies at the edge of the sweep.
    """
    rows, means = [], {}
    for factor, losses in sorted(points):
        finite = [loss for loss in losses if loss is not None]
        row: dict[str, Any] = {"factor": factor, "losses": list(losses), "bits_per_byte": None, "se": None}
        if len(finite) == len(losses):
            means[factor] = row["bits_per_byte"] = statistics.fmean(finite)
            row["se"] = statistics.stdev(finite) / len(finite) ** 0.5 if len(finite) > 1 else None
        rows.append(row)
    if not means:
        return {"sweep": rows, "best_factor": None, "vertex_factor": None}
    best = min(means, key=lambda factor: means[factor])
    factors = [row["factor"] for row in rows]
    place = factors.index(best)
    near = [means.get(factor) for factor in factors[max(0, place - 1) : place + 2]]
    vertex = None
    if 0 < place < len(factors) - 1 and None not in near:
        x = np.log2(factors[place - 1 : place + 2])
        bend, slope, _ = np.polyfit(x - x[1], np.array(near, dtype=float), 2)
        vertex = float(2 ** (x[1] - slope / (2 * bend))) if bend > 0 else best
    return {"sweep": rows, "best_factor": best, "vertex_factor": vertex}


def steps_apart(rungs: Sequence[dict[str, Any]], key: str) -> float | None:
    """Factors of two between what was best (`key`) at the first rung and at the last one; None if unknown."""
    first, last = rungs[0][key], rungs[-1][key]
    return math.log2(last / first) if first and last else None


def sweep_recipe(sweep: Sweep, recipe: str, args: argparse.Namespace, workers: ThreadPoolExecutor) -> Any:
    """A function that waits for the recipe's runs, which start at once, and returns what they say."""
    jobs = []
    for rung in sorted(args.rungs, reverse=True):  # the longest first
        plan = sweep.plan(recipe, rung)
        tokens = int(args.share * sweep.testbed.rungs[rung].compute / plan["flops_per_token"])
        for factor in args.factors:
            knobs = {knob: factor * value for knob, value in plan["knobs"].items()}
            points = [Point(recipe, rung, factor, seed, tokens, knobs) for seed in range(args.seeds)]
            jobs.append((rung, plan, factor, points, [workers.submit(sweep.result, p) for p in points]))

    def wait() -> dict[str, Any]:
        rungs = []
        for rung in sorted(args.rungs):
            own = [job for job in jobs if job[0] == rung]
            losses = [(job[2], [future.result()["bits_per_byte"] for future in job[4]]) for job in own]
            found = summarise_rung(losses)
            plan, tokens = own[0][1], own[0][3][0].tokens
            for name in ("best", "vertex"):
                factor = found[f"{name}_factor"]
                found[f"{name}_lr"] = factor and {k: factor * value for k, value in plan["knobs"].items()}
            about = {"rung": rung, "tokens": tokens, "flops": tokens * plan["flops_per_token"]}
            rungs.append({**about, "shape": plan["shape"], "knobs": plan["knobs"], **found})
        apart = steps_apart(rungs, "best_factor")
        return {
            "rungs": rungs,
            "steps_apart": apart,
            "vertex_steps_apart": steps_apart(rungs, "vertex_factor"),
            "within_one_factor_of_two": None if apart is None else abs(apart) <= 1.0,
            "computed": jobs[0][4][0].result()["computed"],
        }

    return wait


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["gpt2", "modern"])
    parser.add_argument("--rungs", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--factors", nargs="+", type=float, default=[0.25, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--share", type=float, default=1.0, help="of each rung's budget, for a quick trial")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", default="default", help="or a folder of text, as for mendel run")
    parser.add_argument("--root", type=Path, default=Path(".mendel"), help="where the corpus is kept")
    parser.add_argument("--work", type=Path, default=Path(".mendel/transfer"), help="where points are kept")
    parser.add_argument(
        "--out", type=Path, help="also write the result here (benchmarks/results/transfer.json)"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    sweep = Sweep(args.data, args.root, args.work.absolute())
    with ThreadPoolExecutor(args.workers) as workers:
        try:
            waits = {recipe: sweep_recipe(sweep, recipe, args, workers) for recipe in args.recipes}
            recipes = {recipe: wait() for recipe, wait in waits.items()}
        except BaseException:
            sweep.stop.set()  # what runs comes to its end and is kept, nothing new begins
            raise
    result = {
        "schema": 1,
        "best_lr": {
            recipe: {str(row["rung"]): row["best_lr"] for row in found["rungs"]}
            for recipe, found in recipes.items()
        },
        "recipes": recipes,
        "made": {
            "command": shlex.join(["python", "benchmarks/transfer.py", *(arguments or sys.argv[1:])]),
            "source": sweep.source,
            "corpus": sweep.corpus.hash,
            "python": platform.python_version(),
            **sweep.versions,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        },
    }
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if args.json else "\n".join(_lines(recipes)))


def _lines(recipes: dict[str, Any]) -> list[str]:
    """The sweeps as text: a line for each rate, the best of each rung marked."""
    lines = []
    for recipe, found in recipes.items():
        for row in found["rungs"]:
            for point in row["sweep"]:
                rates = ", ".join(f"{k} {point['factor'] * v:.4g}" for k, v in row["knobs"].items())
                loss = "diverged" if point["bits_per_byte"] is None else f"{point['bits_per_byte']:.4f}"
                se = "" if point["se"] is None else f" +- {point['se']:.4f}"
                mark = "  <- best" if point["factor"] == row["best_factor"] else ""
                lines.append(f"{recipe} rung {row['rung']}, {rates}: {loss}{se} bits per byte{mark}")
        if found["steps_apart"] is not None:
            first, last = found["rungs"][0]["rung"], found["rungs"][-1]["rung"]
            apart = f"{found['steps_apart']:+g} factors of two"
            lines.append(
                f"{recipe}: from rung {first} to rung {last} the best learning rate moves by {apart}"
            )
    return lines


if __name__ == "__main__":
    main()
