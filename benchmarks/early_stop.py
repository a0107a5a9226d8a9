"""Early stop on real runs: compute saved and gain thrown away, by idea class, while the rule is learned.

    python benchmarks/early_stop.py [--table FILE.parquet] [--rung 0] [--labs 400] [--json]

The table is that of `benchmarks/real_runs.py`. In each of `labs` made-up campaigns its ideas come in random
order, in rounds of 16; each is screened with two of the table's seeds, drawn anew for each round, under the
rule that the rounds before have taught. Controls are charged to nobody. Columns: screening runs of
treatments; share of them stopped; share of their compute saved; share of the stopped runs that would have
ended above m; gain beyond m thrown away per stopped run (bits per byte, of the idea's mean over all seeds);
share of good ideas (that mean at least half a paired sd) of which a run was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from mendel.bench.replay import MIN_GAIN, Table, read_table
from mendel.campaign.config import Policy
from mendel.plans.early_stop import CHECKS, Course, StopRule, learn
from mendel.yardstick.logs import WINDOW

ROUND, SEEDS = 16, 2
GOOD = 0.5
"""Paired sd from which an idea counts as good."""
BOUND = 1.0
"""Differences are clipped there, bits per byte."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=Path(__file__).parent / "results" / "real_runs.parquet")
    parser.add_argument("--rung", type=int, default=0)
    parser.add_argument("--labs", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    table, classes = read_table(arguments.table, arguments.rung), class_names(arguments.table)
    rows = [row(name, counts) for name, counts in sorted(play(table, classes, arguments.labs).items())]
    if arguments.json:
        print(json.dumps({"schema": 1, "rung": arguments.rung, "labs": arguments.labs, "classes": rows}))
        return
    print(
        f"{'class':16}{'runs':>8}{'stopped':>9}{'saved':>8}{'gained':>9}{'thrown away':>13}{'good ideas':>12}"
    )
    for one in rows:
        gained = "-" if one["gained"] is None else f"{one['gained']:.1%}"
        away = "-" if one["thrown_away"] is None else f"{one['thrown_away']:.5f}"
        good = "-" if one["good_stopped"] is None else f"{one['good_stopped']:.1%}"
        print(
            f"{one['class']:16}{one['runs']:8,}{one['stopped']:9.1%}{one['saved']:8.1%}{gained:>9}{away:>13}"
            f"{good:>12}"
        )


def class_names(path: Path) -> dict[str, str]:
    import pyarrow.parquet as pq

    found = pq.read_table(path, columns=["idea", "class"]).to_pylist()
    return {one["idea"]: one["class"] for one in found}


def play(table: Table, classes: dict[str, str], labs: int) -> dict[str, dict[str, float]]:
    """Counts by class, and under "all"."""
    early, gains = differences(table), np.clip(np.nan_to_num(table.gains, nan=-BOUND), -BOUND, BOUND)
    truth, kinds = gains.mean(axis=1), [classes[name] for name in table.ideas]
    counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for lab in range(labs):
        rng = np.random.default_rng(lab)
        order, seen = rng.permutation(len(table.ideas)), []
        for first in range(0, len(order), ROUND):
            rule, new = learn(seen), []
            seeds = rng.choice(gains.shape[1], SEEDS, replace=False)
            for idea in order[first : first + ROUND]:
                stops = [stop(rule, kinds[idea], early[idea, seed]) for seed in seeds]
                for seed, at in zip(seeds, stops, strict=True):
                    for name in (kinds[idea], "all"):
                        count(counts[name], at, gains[idea, seed], truth[idea])
                    if at is None and np.isfinite(early[idea, seed]).all():
                        course = tuple(early[idea, seed].tolist())
                        new.append(Course(idea_class=kinds[idea], early=course, final=gains[idea, seed]))
                if truth[idea] >= GOOD * table.sd:
                    for name in (kinds[idea], "all"):
                        counts[name]["good"] += 1
                        counts[name]["good_stopped"] += any(at is not None for at in stops)
            seen += new
    return counts


def differences(table: Table) -> np.ndarray:
    """Early differences in bits, (ideas, seeds, CHECKS); nan where a run had ended before."""
    assert table.early is not None
    parts = table.early.shape[-1]
    window = max(1, round(WINDOW * parts))
    gain = np.clip(table.early[-1] - table.early[:-1], -BOUND, BOUND)
    ends = [round(share * parts) for share in CHECKS]
    return np.stack([gain[..., end - window : end].mean(axis=-1) for end in ends], axis=-1)


def stop(rule: StopRule, kind: str, early: np.ndarray) -> float | None:
    """Share of the run at which it is stopped."""
    finite = early[: int(np.isfinite(early).sum())]
    found = rule.hopeless(kind, finite.tolist(), MIN_GAIN, Policy().early_stop)
    return None if found is None else found[0]


def count(counts: dict[str, float], at: float | None, gain: float, truth: float) -> None:
    counts["runs"] += 1
    if at is not None:
        counts["stopped"] += 1
        counts["saved"] += 1 - at
        counts["gained"] += gain > MIN_GAIN
        counts["thrown_away"] += max(0.0, truth - MIN_GAIN)


def row(name: str, counts: dict[str, float]) -> dict[str, Any]:
    runs, stopped = counts["runs"], counts["stopped"]
    return {
        "class": name,
        "runs": int(runs),
        "stopped": stopped / runs,
        "saved": counts["saved"] / runs,
        "gained": counts["gained"] / stopped if stopped else None,
        "thrown_away": counts["thrown_away"] / stopped if stopped else None,
        "good_stopped": counts["good_stopped"] / counts["good"] if counts["good"] else None,
    }


if __name__ == "__main__":
    main()
