"""How long the next decision takes in a large lab: 10,000 ideas in the queue, 100,000 runs in the store.

    python benchmarks/next_item.py [--ideas 10000] [--runs 100000] [--json]

Builds a store with so many ideas, a tenth of them screened, and so many finished runs, and times what a
campaign does to find out what to do next, each the best of five:

  queue    take a queued run, mark it running, finish it
  choose   the best next step of all ideas at the standing price of compute, from what is in memory
  price    the price of compute anew, after something was learned
  beliefs  the posterior of all ideas anew
  round    all of a round's choice, everything read from the store
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mendel.campaign.agenda import next_ideas
from mendel.campaign.budget import Budget, Meter
from mendel.campaign.config import CampaignConfig
from mendel.campaign.trunk import Line
from mendel.ideas.catalog import load_catalog
from mendel.plans.index import GAINS, Evidence, allocate, beliefs, foresee, next_item
from mendel.records import (
    Fingerprint,
    Idea,
    Interval,
    Plan,
    PlanKind,
    Recipe,
    Rule,
    RunResult,
    RunSpec,
    RunStatus,
    Shard,
    Trunk,
    Verdict,
    VerdictKind,
)
from mendel.store import Campaign, IdeaState, Store
from mendel.verdicts.power import confirmation, expected_bar

BEST_OF = 5
SCREENED = 0.1
"""Share of the ideas that were screened, two pairs each."""
FINGERPRINT = Fingerprint(
    device="cpu", instruction_set="any", threads=1, precision="float32", libraries={}, corpus="none"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ideas", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = in_memory(arguments.ideas)
    with tempfile.TemporaryDirectory() as folder:
        found |= in_store(Path(folder), arguments.ideas, arguments.runs)
    if arguments.json:
        print(json.dumps({"schema": 1, "ideas": arguments.ideas, "runs": arguments.runs, "seconds": found}))
        return
    for name, seconds in found.items():
        print(f"{name:8} {1000 * seconds:8.1f} ms")


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of BEST_OF."""
    times = []
    for _ in range(BEST_OF):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def in_memory(ideas: int) -> dict[str, float]:
    """What needs no store."""
    rng = np.random.default_rng(0)
    gains = np.full((ideas, 16), np.nan)
    gains[: int(SCREENED * ideas), :2] = rng.standard_normal((int(SCREENED * ideas), 2))
    evidence = Evidence(gains, rng.integers(8, size=ideas), rng.integers(3, size=ideas), rng.random(ideas))
    power, pairs = confirmation(GAINS, round(expected_bar(0.05), 1), 0.2, 12, noise_pairs=8)
    posterior, cost = beliefs(evidence), np.ones(ideas)
    prospects = foresee(posterior, power, pairs)
    price = allocate(posterior, power, pairs, cost, 2.0 * ideas).price
    return {
        "choose": best(lambda: next_item(prospects.at(cost, price), cost)),
        "price": best(lambda: allocate(posterior, power, pairs, cost, 2.0 * ideas, near=price)),
        "beliefs": best(lambda: beliefs(evidence)),
    }


def in_store(root: Path, ideas: int, runs: int) -> dict[str, float]:
    """What reads the store."""
    with Store(root) as store:
        campaign = fill(store, ideas, runs)
        meter = Meter(Budget(runs=10 * runs), 1)
        # A lab without its executor and its data: choosing takes neither. Whether an idea fits the original
        # was found out when the session began.
        fits = {(BASE.id, entry.idea.name): True for entry in store.ideas(campaign.id)}
        lab = SimpleNamespace(
            store=store, campaign=campaign, meter=meter, fits=fits, once=lambda key, work: work()
        )
        nowhere = Line(Trunk(base=BASE), BASE.id)
        numbers = iter(range(runs))

        def queue() -> None:
            (run,) = store.enqueue(campaign.id, [spec(next(numbers), 10**6)], "screen")
            store.claim(campaign.id, run)
            store.finish(campaign.id, run, DONE)

        return {
            "queue": best(queue),
            "round": best(lambda: next_ideas(lab, CampaignConfig(budget=meter.budget), 1, nowhere)),
        }


BASE = Recipe(testbed="gpt", tree="0", base="gpt2")
DONE = RunResult(status=RunStatus.DONE, bits_per_byte=2.0, tokens=1)


def spec(number: int, seed: int) -> RunSpec:
    return RunSpec(
        recipe=f"{number:08x}",
        rung=0,
        seed=seed,
        tokens=1,
        shard=Shard.VALIDATION,
        fingerprint=FINGERPRINT.id,
    )


def fill(store: Store, ideas: int, runs: int) -> Campaign:
    """A campaign in the middle of its work."""
    config = CampaignConfig().model_dump(mode="json")
    campaign = store.create_campaign("bench", 0, "gpt", "gpt2", config, FINGERPRINT)
    catalog = load_catalog()
    queue = [catalog[n % len(catalog)].model_copy(update={"name": f"idea-{n}"}) for n in range(ideas)]
    store.add_ideas(campaign.id, queue)
    with store.transaction():
        for idea in queue[: int(SCREENED * ideas)]:
            store.set_idea_state(campaign.id, idea.name, IdeaState.SCREENED, "")
            screened(store, campaign, idea)
        for run in store.enqueue(campaign.id, [spec(n, 0) for n in range(runs)], "screen"):
            store.claim(campaign.id, run)
            store.finish(campaign.id, run, DONE)
    return campaign


def screened(store: Store, campaign: Campaign, idea: Idea) -> None:
    """A verdict on the idea."""
    effect = Interval(value=idea.forecast.mean, low=idea.forecast.mean - 0.1, high=idea.forecast.mean + 0.1)
    plan = Plan(
        kind=PlanKind.SCREEN,
        round=0,
        idea=idea.name,
        control=BASE.id,
        treatment=idea.id,
        rung=0,
        seeds=(1, 2),
        control_tokens=1,
        treatment_tokens=1,
        cost_ratio=1.0,
        shard=Shard.VALIDATION,
        rule=Rule(),
    )
    store.put_plan(campaign.id, plan)
    verdict = Verdict(
        plan=plan.id,
        kind=VerdictKind.NO_DIFFERENCE_SHOWN,
        pairs=2,
        failures=0,
        difference=effect,
        log2_cm=effect,
        reason="",
    )
    store.put_verdict(campaign.id, verdict)


if __name__ == "__main__":
    main()
