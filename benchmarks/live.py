"""Live: greedy ratchet and Mendel with equal compute on the real trainer, both trunks measured again.

    python benchmarks/live.py [--seeds 5] [--runs 150] [--fresh 10] [--root .mendel/live] [--json]

For each seed Mendel runs a campaign from `gpt2` with a budget in runs. The greedy ratchet then gets the same
queue in the same first order, planted blanks included, and as many FLOPs: it trains an idea on top of its
trunk, once, always with the same seed, and keeps what beats the best loss so far. Both trunks and the
original are then trained with `fresh` seeds that nobody has seen and scored on the held-out shard, and their
log2 CM is read off the original's scaling curve: at equal FLOPs, and at equal CPU seconds, where a trunk gets
as many tokens as take the original's time on this machine. What the comparison itself trains is charged to
nobody. Each seed has a store of its own below --root, so that no campaign learns from another; the
command can be stopped and given again. What happens is told on standard error.

With fewer than five seeds the output calls itself an illustration.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mendel.campaign.budget import Budget, Meter
from mendel.campaign.config import CampaignConfig, Policy, Settings
from mendel.campaign.jobs import Request
from mendel.campaign.lab import Interrupted, Lab
from mendel.campaign.progress import Progress
from mendel.campaign.ratchet import ENDLESS, Ratchet, make_shelf, turn
from mendel.campaign.rounds import CURVE, measure_curve
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.session import queue as ideas_of
from mendel.campaign.session import run as run_campaign
from mendel.campaign.summary import summarise, trunk_points
from mendel.campaign.trunk import Line, tokens_at, validation_spec
from mendel.ideas.triage import rank
from mendel.plans.seeds import seed_block
from mendel.records import Interval, PlanKind, RunResult, Shard, Trunk
from mendel.store import Campaign, IdeaEntry, Store
from mendel.verdicts.effects import compute_multiplier, paired_interval

RUNG = 0
CURVE_SEEDS = 3
LONG_CURVE = (*CURVE, 8.0)
"""Multiples of the rung's compute at which the original is trained: good trunks lie on its curve then."""
POLICY = Policy(positive_share=0)
"""Their gain is Mendel's own to give."""
LEAST_SEEDS = 5
EQUAL = ("FLOPs", "CPU seconds")
"""What a trunk and the original are given alike."""


@dataclass(frozen=True)
class Arm:
    """What a policy arrived at."""

    adopted: tuple[str, ...]
    recipe: str
    tokens: int
    """Of a run at the rung's compute, as charged."""
    runs: int
    flops: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1, help="the first of these seeds")
    parser.add_argument("--runs", type=int, default=150, help="Mendel's budget")
    parser.add_argument("--fresh", type=int, default=10, help="fresh seeds behind each trunk's gain")
    parser.add_argument("--root", type=Path, default=Path(".mendel/live"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = [compare(seed, arguments) for seed in range(arguments.first, arguments.first + arguments.seeds)]
    label = "comparison" if len(found) >= LEAST_SEEDS else "illustration"
    if arguments.json:
        print(json.dumps({"schema": 1, "label": label, "fresh": arguments.fresh, "campaigns": found}))
        return
    print(f"{label} of {len(found)} campaigns each")
    for one in found:
        for name in ("mendel", "greedy"):
            arm = one[name]
            said = [
                f"{what} {cm.value:+.2f} [{cm.low:+.2f}, {cm.high:+.2f}]"
                for what in EQUAL
                for cm in [Interval.model_validate(arm["log2_cm"][what])]
            ]
            print(
                f"seed {one['seed']} {name:7} {arm['runs']:4d} runs {arm['flops']:.3g} FLOPs, "
                f"{len(arm['adopted']):2d} adopted ({arm['blanks']} blanks), "
                f"{arm['cpu_ratio']:.2f} times the CPU; log2 CM at equal {', '.join(said)}"
            )


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def compare(seed: int, arguments: argparse.Namespace) -> dict[str, object]:
    """Both policies with one campaign seed."""
    settings = Settings(root=arguments.root / f"seed-{seed}")
    tell(f"seed {seed}: Mendel, {arguments.runs} runs")
    config = CampaignConfig(
        recipe="gpt2", budget=Budget(runs=arguments.runs), seed=seed, rungs=(RUNG,), policy=POLICY
    )
    store, campaign = run_campaign(config, settings, Progress(listener=tell))
    store.close()
    with laboratory(f"live-{seed}", seed, config, settings) as lab:
        shelf = make_shelf(lab)
        original = shelf.line(Trunk(base=shelf.base), 1.0, shelf.base.base)
        theirs = of_mendel(lab, campaign, original)
        queue = lab.store.ideas(campaign.id)[: len(ideas_of(config, lab.testbed.name)[0])]  # as it began
        tell(f"seed {seed}: greedy, {theirs.flops:.3g} FLOPs as Mendel had with {theirs.runs} runs")
        ours = greedy(lab, original, queue, theirs.flops, seed)
        tell(f"seed {seed}: greedy kept {len(ours.adopted)} of {ours.runs} runs; measuring both")
        planted = {blank.name for blank in lab.store.blanks(campaign.id)}
        told = summarise(lab.store, campaign)
        gains = measure(lab, original, {"mendel": theirs, "greedy": ours}, seed, arguments.fresh)
    arms = {
        name: {
            "adopted": arm.adopted,
            "blanks": len(planted & set(arm.adopted)),
            "runs": arm.runs,
            "flops": arm.flops,
            **gains[name],
        }
        for name, arm in (("mendel", theirs), ("greedy", ours))
    }
    return {"seed": seed, **arms, "claimed": len(told["adopted"]), "forward": told["forward"]}


@contextmanager
def laboratory(name: str, seed: int, config: CampaignConfig, settings: Settings) -> Iterator[Lab]:
    """A lab without a budget, for what the comparison trains itself."""
    progress = Progress(listener=tell)
    ground, recipe = prepare(config, settings, progress)
    fingerprint = make_fingerprint(ground)
    with Store(settings.root, None, settings.database_timeout) as store:
        same = [one for one in store.campaigns() if one.name == name and one.fingerprint == fingerprint]
        kept = {"rungs": [RUNG], "max_usd": None, "usd_per_hour": 0.0}
        campaign = (
            same[0] if same else store.create_campaign(name, seed, config.testbed, recipe, kept, fingerprint)
        )
        with store.lock(campaign.id):
            executor = start_workers(config, ground, progress)
            try:
                meter = Meter(ENDLESS, executor.workers)
                lab = Lab(store, campaign, ground, executor, meter, progress)
                with stops_on_signal(lab.stop):
                    yield lab
            finally:
                executor.close()


def of_mendel(lab: Lab, campaign: Campaign, original: Line) -> Arm:
    """Where a finished campaign stands, and what it spent on runs, scaling curves and last check included."""
    points = trunk_points(lab.store, campaign)
    runs = [run for run in lab.store.runs(campaign.id) if run.result is not None]
    lab.smoke([(recipe, RUNG, None) for recipe in {run.spec.recipe for run in runs}])
    flops = sum(run.spec.tokens * lab.flops_per_token(run.spec.recipe, RUNG) for run in runs)
    if not points or points[-1]["recipe"] == original.recipe:
        return Arm((), original.recipe, tokens_at(lab, original, RUNG), len(runs), flops)
    # As charged in the last check, or where what was tried last did not hold, when it was adopted.
    plans = [plan for plan in lab.store.plans(campaign.id) if plan.treatment == points[-1]["recipe"]]
    tokens = [plan.treatment_tokens for plan in plans if plan.kind in (PlanKind.ESTIMATE, PlanKind.VERIFY)][
        -1
    ]
    return Arm(tuple(points[-1]["adopted"]), points[-1]["recipe"], tokens, len(runs), flops)


def greedy(lab: Lab, original: Line, queue: list[IdeaEntry], flops: float, seed: int) -> Arm:
    """Keep any single run that beats the best loss so far; ideas come again when the queue is at its end."""
    (number,) = seed_block(seed, 0, PlanKind.SCREEN, 1, RUNG)
    ideas = [entry.idea for entry in queue]
    by_name = {idea.name: idea for idea in ideas}
    ratchet = Ratchet(lab, make_shelf(lab), original, RUNG, number)
    ratchet.begin()
    for one in turn(ratchet, [by_name[item.name] for item in rank(ideas, [], {})], flops):
        if one.kept:
            spent = f"greedy, run {ratchet.runs}, {ratchet.spent / flops:.0%}"
            tell(f"{spent}: keeps {one.idea}, {one.best:.4f} to {one.loss:.4f}")
    tokens = tokens_at(lab, ratchet.trunk, RUNG)
    return Arm(ratchet.adopted, ratchet.trunk.recipe, tokens, ratchet.runs, ratchet.spent)


def measure(
    lab: Lab, original: Line, arms: dict[str, Arm], seed: int, fresh: int
) -> dict[str, dict[str, object]]:
    """Gain of each trunk over the original on fresh seeds and held-out text, and CPU seconds over its."""
    curve_seeds = seed_block(seed, 0, PlanKind.CURVE, CURVE_SEEDS, RUNG)
    points = measure_curve(lab, original, RUNG, LONG_CURVE, curve_seeds)
    block = seed_block(seed, 0, PlanKind.VERIFY, fresh, RUNG)

    def train(recipe: str, tokens: int) -> list[RunResult]:
        specs = [
            validation_spec(lab, original, RUNG, one, tokens).model_copy(
                update={"recipe": recipe, "shard": Shard.HELD_OUT}
            )
            for one in block
        ]
        results = lab.complete([Request(spec, "live", "measure") for spec in specs])
        return [results[spec.id] for spec in specs]

    def cpu_of(runs: list[RunResult]) -> float:
        return statistics.fmean(run.cpu_seconds for run in runs)

    def loss(run: RunResult) -> float:
        return float("inf") if run.bits_per_byte is None else run.bits_per_byte

    base = train(original.recipe, tokens_at(lab, original, RUNG))
    found: dict[str, dict[str, object]] = {}
    for name, arm in arms.items():
        runs = {"FLOPs": train(arm.recipe, arm.tokens)}
        ratio = cpu_of(runs["FLOPs"]) / cpu_of(base)
        # The seconds were taken while other runs went on: rounded, so that the same command finds its runs.
        kept = lab.once(f"tokens/{name}", lambda: round(arm.tokens / ratio, -3))  # noqa: B023
        runs["CPU seconds"] = train(arm.recipe, int(kept))
        log2_cm, difference = {}, {}
        for what, trained in runs.items():
            gains = [loss(o) - loss(t) for o, t in zip(base, trained, strict=True)]
            multiplier = compute_multiplier(points, lab.testbed.rungs[RUNG].compute, gains)
            log2_cm[what] = multiplier.model_dump()
            difference[what] = paired_interval(gains).model_dump()
        again = cpu_of(runs["CPU seconds"]) / cpu_of(base)
        found[name] = {"log2_cm": log2_cm, "difference": difference, "cpu_ratio": ratio, "cpu_again": again}
    return found


if __name__ == "__main__":
    try:
        main()
    except Interrupted:
        raise SystemExit("stopped; everything is stored. Continue with the same command.") from None
