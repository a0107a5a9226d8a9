"""`mendel testbed check`: prove a `testbed.toml` with few runs, through the machinery of a campaign.

A smoke run, three seeds, one of them again, half and twice the budget, one run of the rung above. They are
kept in a store of their own below the lab's folder: a check that was stopped continues, and one that is asked
again trains nothing again. `testbed_findings` says what they show.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mendel.campaign.budget import Budget, Meter
from mendel.campaign.config import CampaignConfig, Settings
from mendel.campaign.ground import Ground
from mendel.campaign.jobs import Request
from mendel.campaign.lab import Lab
from mendel.campaign.progress import Progress
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.testbed_findings import result
from mendel.campaign.testbed_seen import Above, Seen
from mendel.campaign.trunk import Line, Refused, Shelf, tokens_at, validation_spec
from mendel.patches import read_tree
from mendel.plans.seeds import seed_block
from mendel.records import (
    Fingerprint,
    PlanKind,
    Recipe,
    RunResult,
    RunSpec,
    RunStatus,
    Trunk,
    content_hash,
    tree_hash,
)
from mendel.store import Campaign, Store, smoke_name
from mendel.testbeds import check_rung, load_testbed

FOLDER = "checks"
STAGE = "check"
SEEDS = 3
"""Of which one is trained twice, or all where the first shows that runs do not repeat."""
MULTIPLES = (0.5, 2.0)
"""Budgets beside the rung's own."""
MOST_MINUTES = 10.0
"""Of a run at the rung above; a dearer one is left out."""
_LIMITS = {"name", "root", "folder", "files", "editable", "protected", "memory", "disk", "recipes", "rungs"}
"""What of a testbed no loss depends on: who mends a limit keeps the runs that were within it."""
SPOILED = "spoiled"
"""Under this key an entry says that its smoke run failed: a later check begins another."""


def check(
    config: CampaignConfig, rung: int, fresh: bool, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Check `config`'s testbed from `rung` on; the result as one JSON object (docs/testbed.md).

    Of `config` the testbed, recipe, data, workers and sandbox count. `fresh` measures anew what was measured.
    Raises what `session.prepare` raises, before any run; ExecutorError where runs cannot be started.
    """
    check_rung(load_testbed(config.testbed), rung)
    ground, recipe = prepare(config.model_copy(update={"rungs": (rung,)}), settings, progress)
    fingerprint, tree = make_fingerprint(ground), read_tree(ground.testbed)
    with Store(settings.root / FOLDER, None, settings.database_timeout) as store:
        name = _key(ground, recipe, fingerprint, tree)
        first = _entry(store, name, config, recipe, rung, fingerprint, fresh)
        second = _entry(store, f"{name} again", config, recipe, rung, fingerprint, fresh)
        with store.lock(first.id):
            executor = start_workers(config, ground, progress)
            try:
                labs = [
                    Lab(store, entry, ground, executor, Meter(Budget(runs=64), executor.workers), progress)
                    for entry in (first, second)
                ]
                labs[1].stop = labs[0].stop
                with stops_on_signal(labs[0].stop):
                    seen = _Check(labs[0], labs[1], rung, tree, config.seed).gather()
                return {**result(seen), "made": labs[0].made(tree)}
            finally:
                executor.close()


def _key(ground: Ground, recipe: str, fingerprint: Fingerprint, tree: dict[str, str]) -> str:
    """Content of all that losses depend on."""
    rests_on = ground.testbed.model_dump(mode="json", exclude=_LIMITS)
    rungs = [rung.set for rung in ground.testbed.rungs]
    return content_hash([rests_on, rungs, recipe, fingerprint.id, tree_hash(tree)])


def _entry(
    store: Store,
    name: str,
    config: CampaignConfig,
    recipe: str,
    rung: int,
    fingerprint: Fingerprint,
    fresh: bool,
) -> Campaign:
    """The newest entry that holds earlier runs of the same check, or a new one. It has no campaign's loop."""
    known = [one for one in store.campaigns() if one.name == name]
    if known and not fresh and store.decision(known[-1].id, SPOILED) is None:
        return known[-1]
    settings = {"rungs": [rung], "max_usd": None, "usd_per_hour": 0.0}
    return store.create_campaign(name, config.seed, config.testbed, recipe, settings, fingerprint)


class _Check:
    """The runs of a check, in an order in which a bad contract costs the fewest."""

    def __init__(self, lab: Lab, again: Lab, rung: int, tree: dict[str, str], seed: int) -> None:
        self.lab, self.again, self.rung = lab, again, rung
        base = Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe)
        self.line: Line = Shelf(lab, tree, base).line(Trunk(base=base), 1.0, base.base)
        # As large as those of a campaign: some generators take small seeds only.
        self.seeds = seed_block(seed, 0, PlanKind.SCREEN, SEEDS, rung)

    def gather(self) -> Seen:
        lab, rung = self.lab, self.rung
        smoke, out = self._smoke(rung)
        sandbox = lab.executor.sandbox  # type: ignore[attr-defined]
        seen = Seen(
            testbed=lab.testbed, fingerprint=lab.campaign.fingerprint, recipe=lab.campaign.recipe, rung=rung,
            sandbox=sandbox.name, warning=sandbox.warning, workers=lab.executor.workers, seeds=self.seeds,
            smoke=smoke, smoke_budget=self._told(lab.smoke_budget(rung)), out=out,
        )  # fmt: skip
        if smoke.status is not RunStatus.DONE:
            lab.once(SPOILED, lambda: smoke.reason)
            return seen
        try:
            seen.budgets[1.0] = self._told(tokens_at(lab, self.line, rung))
        except Refused as error:
            seen.refused = str(error)
            return seen
        for multiple in MULTIPLES:
            with contextlib.suppress(Refused):  # half of it is less than a smoke run
                seen.budgets[multiple] = self._told(tokens_at(lab, self.line, rung, multiple))
        self._train(seen, [(1.0, seed) for seed in self.seeds])
        if any(result.status is RunStatus.DONE for result in seen.runs.values()):
            self._repeat(seen)
            first = self.seeds[0]
            self._train(seen, [(one, first) for one in sorted(seen.budgets, reverse=True) if one != 1.0])
            seen.above = self._look_above(seen)
        return seen

    def _smoke(self, rung: int) -> tuple[RunResult, Path]:
        result = self.lab.smoke([(self.line.recipe, rung, None)])[self.line.recipe, rung]
        return result, self.lab.out(smoke_name(self.line.recipe, rung))

    def _train(self, seen: Seen, wanted: Sequence[tuple[float, int]]) -> None:
        specs = {
            key: validation_spec(self.lab, self.line, self.rung, key[1], self._whole(seen.budgets[key[0]]))
            for key in wanted
        }
        results = _complete(self.lab, list(specs.values()))
        for key, spec in specs.items():
            seen.runs[key], seen.outs[key] = results[spec.id], self.lab.out(spec.id)

    def _repeat(self, seen: Seen) -> None:
        """The first seed once more, and the others where it ends elsewhere."""
        done = [one for one in self.seeds if seen.runs[1.0, one].status is RunStatus.DONE]
        for seeds in (done[:1], done[1:]):
            specs = {
                seed: validation_spec(self.lab, self.line, self.rung, seed, self._whole(seen.budgets[1.0]))
                for seed in seeds
            }
            results = _complete(self.again, list(specs.values()))
            seen.again |= {seed: results[spec.id] for seed, spec in specs.items()}
            if all(seen.again[s].bits_per_byte == seen.runs[1.0, s].bits_per_byte for s in seeds):
                return

    def _look_above(self, seen: Seen) -> Above | None:
        """A smoke run of the next rung, and a whole one if it does not take too long."""
        rung, lab = self.rung + 1, self.lab
        if rung >= len(lab.testbed.rungs):
            return None
        smoke, out = self._smoke(rung)
        above = Above(rung, smoke, out)
        if smoke.status is not RunStatus.DONE:
            return above
        try:
            budget = tokens_at(lab, self.line, rung)
        except Refused as error:
            return replace(above, refused=str(error))
        above.estimate = self._estimate(seen, smoke, lab.smoke_budget(rung), budget)
        if above.estimate > MOST_MINUTES * 60:
            return above
        spec = validation_spec(lab, self.line, rung, self.seeds[0], budget)
        return replace(above, result=_complete(lab, [spec])[spec.id], out=lab.out(spec.id))

    def _told(self, budget: int) -> float:
        """A run's budget as it is told to the run."""
        parts = self.lab.testbed.budget.parts
        return budget // parts if budget % parts == 0 else budget / parts

    def _whole(self, told: float) -> int:
        return round(told * self.lab.testbed.budget.parts)

    def _estimate(self, seen: Seen, smoke: RunResult, smoke_budget: int, budget: int) -> float:
        """Seconds of a run at the next rung: by compute, and by its smoke run less what a start takes."""
        own = seen.runs[1.0, self.seeds[0]].train_seconds
        rungs = self.lab.testbed.rungs
        by_compute = own * rungs[self.rung + 1].compute / rungs[self.rung].compute
        start = max(0.0, seen.smoke.train_seconds - own * seen.smoke_budget / seen.budgets[1.0])
        by_smoke = start + max(0.0, smoke.train_seconds - start) * budget / smoke_budget
        return max(by_compute, by_smoke)


def _complete(lab: Lab, specs: Sequence[RunSpec]) -> dict[str, RunResult]:
    """The results of runs; those that an earlier check lost to the machine or to a limit are tried again."""
    lab.try_again(specs)
    return lab.complete([Request(spec, STAGE) for spec in specs])
