"""The table of real runs that decisions are replayed on: many ideas, many seeds, two rungs, with curves.

    python benchmarks/real_runs.py [--seeds 16] [--rungs 0-1] [--ideas 52] [--out FILE.parquet]

Every idea of the catalog that fits the original recipe, every kind of blank and a few harms are trained with
the same seeds, each with a rung's whole compute by counted FLOPs, and scored on validation text. Runs are
kept in a store below --root: the command can be stopped and given again. A run takes about 3 seconds of one
core at rung 0 and 11 at rung 1.

The file has a row for each run: `idea` ("control" among them), `kind` (control, idea, blank, harm), `class`,
`slot` (alternatives to the same thing share one), `proposer`, `forecast_mean` and `forecast_sd` (log2 CM),
`rung`, `seed`, `tokens`, `flops` (counted), `cpu_seconds` (of training), `status`, `loss` (bits per byte of
validation text, null where the run failed) and `curve` (mean training loss in nats over each of CURVE equal
parts of the run).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mendel import __version__
from mendel.campaign.budget import Budget, Meter
from mendel.campaign.config import CampaignConfig, Settings
from mendel.campaign.jobs import Request
from mendel.campaign.lab import DETERMINISTIC, Interrupted, Lab
from mendel.campaign.progress import Progress
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.trunk import Candidate, Line, Refused, Shelf, tokens_at, validation_spec
from mendel.campaign.trunk import prepare as make_ready
from mendel.ideas.blanks import make_blanks, make_harms
from mendel.ideas.catalog import load_catalog
from mendel.patches import read_tree
from mendel.plans.seeds import seed_block
from mendel.records import Idea, PlanKind, Recipe, RunResult, RunSpec, Trunk, tree_hash
from mendel.store import Campaign, Store

STAGE = "table"
CURVE = 32
BLANKS, HARMS = 6, 4
NEVER_ENDS = Budget(runs=10**9)


@dataclass(frozen=True)
class Arm:
    """One recipe of the table."""

    name: str
    kind: str
    idea: Idea | None
    line: Line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--rungs", default="0-1")
    parser.add_argument("--ideas", type=int, default=52, help="of the catalog; blanks and harms come on top")
    parser.add_argument("--root", type=Path, default=Path(".mendel/table"))
    parser.add_argument("--out", type=Path, default=Path("real_runs.parquet"))
    args = parser.parse_args()
    first, _, last = args.rungs.partition("-")
    rungs = tuple(range(int(first), int(last or first) + 1))
    make_table(rungs, args.seeds, args.ideas, args.root, args.out)


def make_table(rungs: Sequence[int], seeds: int, ideas: int, root: Path, out: Path) -> None:
    config, progress = CampaignConfig(), Progress()
    settings = Settings(root=root)
    ground, recipe = prepare(config, settings, progress)
    with Store(root, None, settings.database_timeout) as store:
        kept = open_campaign(store, config, recipe, make_fingerprint(ground))
        with store.lock(kept.id):
            executor = start_workers(config, ground, progress)
            try:
                lab = Lab(store, kept, ground, executor, Meter(NEVER_ENDS, executor.workers), progress)
                with stops_on_signal(lab.stop):
                    rows = [row for rung in rungs for row in train(lab, rung, seeds, ideas)]
            finally:
                executor.close()
        write(out, rows, lab)


def open_campaign(store: Store, config: CampaignConfig, recipe: str, fingerprint) -> Campaign:
    for campaign in store.campaigns():
        if campaign.fingerprint == fingerprint:
            return campaign
    settings = {"rungs": [0], "max_usd": None, "usd_per_hour": 0.0}
    return store.create_campaign("table", 0, config.testbed, recipe, settings, fingerprint)


def train(lab: Lab, rung: int, seeds: int, ideas: int) -> list[dict]:
    """The rows of a rung. All arms of a seed are trained before the next seed, so that a change of the
    machine's speed meets all arms alike."""
    arms = ready(lab, rung, ideas)
    tokens = {arm.name: tokens_at(lab, arm.line, rung) for arm in arms}
    wanted = [
        (arm, validation_spec(lab, arm.line, rung, seed, tokens[arm.name]))
        for seed in seed_block(0, 0, PlanKind.SCREEN, seeds, rung)
        for arm in arms
    ]
    lost = lab.store.results(lab.campaign.id, [spec.id for _, spec in wanted])
    lab.store.retry(lab.campaign.id, [run for run, one in lost.items() if one.status not in DETERMINISTIC])
    lab.progress.say(f"rung {rung}: {len(arms)} arms x {seeds} seeds, {len(wanted)} runs")
    results = lab.complete([Request(spec, STAGE, arm.name) for arm, spec in wanted])
    return [row(lab, arm, spec, results[spec.id]) for arm, spec in wanted]


def ready(lab: Lab, rung: int, ideas: int) -> list[Arm]:
    """The control, and what runs on top of it at this rung."""
    tree = read_tree(lab.testbed)
    base = Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe)
    shelf = Shelf(lab, tree, base)
    control = shelf.line(Trunk(base=base), 1.0, base.base)
    named = [*((idea, "idea") for idea in load_catalog())]
    planted = [*((idea, "blank") for idea, _ in make_blanks(BLANKS, 0))]
    planted += [(idea, "harm") for idea, _ in make_harms(HARMS, 0)]
    kinds = {idea.name: kind for idea, kind in (*named, *planted)}
    found, lost = make_ready(lab, shelf, control, [idea for idea, _ in (*named, *planted)], rung)
    for name, (state, reason) in sorted(lost.items()):
        lab.progress.say(f"left out: {name}: {state}, {reason}")
    chosen = [one for one in found if kinds[one.idea.name] == "idea" and affordable(lab, one, rung)][:ideas]
    chosen += [one for one in found if kinds[one.idea.name] != "idea"]
    return [Arm("control", "control", None, control)] + [
        Arm(one.idea.name, kinds[one.idea.name], one.idea, one.line) for one in chosen
    ]


def affordable(lab: Lab, one: Candidate, rung: int) -> bool:
    try:
        tokens_at(lab, one.line, rung)
    except Refused:
        return False
    return True


def row(lab: Lab, arm: Arm, spec: RunSpec, result: RunResult) -> dict:
    out = lab.store.run_folder(lab.campaign.id, spec.id).out
    return {
        "idea": arm.name,
        "kind": arm.kind,
        "class": arm.idea.idea_class if arm.idea else "",
        "slot": arm.idea.patch.slot if arm.idea else "",
        "proposer": arm.idea.proposer if arm.idea else "",
        "forecast_mean": arm.idea.forecast.mean if arm.idea else None,
        "forecast_sd": arm.idea.forecast.sd if arm.idea else None,
        "rung": spec.rung,
        "seed": spec.seed,
        "tokens": spec.tokens,
        "flops": spec.tokens * lab.flops_per_token(arm.line.recipe, spec.rung),
        "cpu_seconds": result.cpu_seconds,
        "status": result.status.value,
        "loss": result.bits_per_byte,
        "curve": curve(out / "metrics.jsonl"),
    }


def curve(path: Path) -> list[float]:
    """Mean training loss over each of CURVE equal parts of the steps; shorter where there are fewer steps."""
    lines = path.read_text().splitlines() if path.is_file() else []
    losses = np.array([json.loads(line)["loss"] for line in lines if '"loss"' in line])
    return [float(part.mean()) for part in np.array_split(losses, CURVE) if len(part)]


def write(out: Path, rows: Iterable[dict], lab: Lab) -> None:
    rows = list(rows)
    table = pa.Table.from_pylist(rows)
    place = table.schema.get_field_index("curve")
    table = table.set_column(place, "curve", table["curve"].cast(pa.list_(pa.float32())))
    made = {
        "command": "python benchmarks/real_runs.py",
        "mendel": __version__,
        "python": platform.python_version(),
        "fingerprint": lab.campaign.fingerprint.model_dump(mode="json"),
        "runs": len(rows),
        "cpu_hours": sum(one["cpu_seconds"] for one in rows) / 3600,
        "written": time.strftime("%Y-%m-%d"),
    }
    table = table.replace_schema_metadata({"made": json.dumps(made)})
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out, compression="zstd")
    print(f"{out}: {len(rows)} runs, {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except Interrupted:
        raise SystemExit("stopped; everything is stored. Continue with the same command.") from None
