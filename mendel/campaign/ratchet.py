"""The common loop, on the ideas of a campaign: keep any single run that beats the best loss so far.

It is what many research loops do, so it is what a campaign's verdicts are read beside. It trains on the
campaign's testbed, with one seed, each idea on top of what it has kept so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mendel.campaign.budget import Budget, Meter
from mendel.campaign.config import CampaignConfig, ConfigError, Settings
from mendel.campaign.factors import adopted_names, check_source
from mendel.campaign.jobs import Request
from mendel.campaign.lab import Lab, LabError
from mendel.campaign.progress import Progress
from mendel.campaign.session import make_fingerprint, prepare, start_workers, stops_on_signal
from mendel.campaign.trunk import Line, Shelf, tokens_at, validation_spec
from mendel.campaign.trunk import prepare as make_ready
from mendel.patches import read_tree
from mendel.plans.seeds import seed_block
from mendel.records import Idea, PlanKind, Recipe, RunStatus, Trunk, Verdict, content_hash, tree_hash
from mendel.store import Campaign, CampaignState, RunState, Store

ENDLESS = Budget(runs=10**9)
FOLDER = "ratchet"
"""Below the store's folder: its runs are no evidence of a campaign."""
STAGE = "greedy"


@dataclass(frozen=True)
class Try:
    """One idea's single run."""

    idea: str
    loss: float | None
    """None where it does not run, or its run failed."""
    best: float
    """The loss to beat."""
    kept: bool
    reason: str = ""


@dataclass
class Ratchet:
    """Where the loop stands."""

    lab: Lab
    shelf: Shelf
    trunk: Line
    rung: int
    seed: int
    """Of all its runs."""
    best: float = float("inf")
    runs: int = 0
    spent: float = 0.0
    """Compute, in the testbed's currency."""

    def begin(self) -> float:
        """Train what it starts from; its loss. LabError where that does not run."""
        self.lab.smoke([(self.trunk.recipe, self.rung, None)])
        self.best, status = self._train(self.trunk, "trunk")
        if status is not RunStatus.DONE:
            raise LabError(f"recipe {self.lab.campaign.recipe} does not train at rung {self.rung}: {status}")
        return self.best

    @property
    def adopted(self) -> tuple[str, ...]:
        """What it holds, in the order in which it was kept."""
        return tuple(idea.name for idea in self.trunk.trunk.adopted)

    def attempt(self, idea: Idea) -> Try:
        """Train the trunk with one more idea, once, and keep it if that is the lowest loss so far."""
        best = self.best
        ready, lost = make_ready(self.lab, self.shelf, self.trunk, [idea], self.rung)
        if not ready:
            return Try(idea.name, None, best, False, lost[idea.name][1])
        loss, status = self._train(ready[0].line, idea.name)
        kept = loss < best
        if kept:
            self.best, self.trunk = loss, ready[0].line
        done = status is RunStatus.DONE
        return Try(idea.name, loss if done else None, best, kept, "" if done else status.value)

    def _train(self, line: Line, name: str) -> tuple[float, RunStatus]:
        lab = self.lab
        spec = validation_spec(lab, line, self.rung, self.seed, tokens_at(lab, line, self.rung))
        self.runs += 1
        self.spent += spec.tokens * lab.flops_per_token(line.recipe, self.rung)
        result = lab.complete([Request(spec, STAGE, name)])[spec.id]
        return (float("inf") if result.bits_per_byte is None else result.bits_per_byte), result.status


def turn(ratchet: Ratchet, ideas: Sequence[Idea], compute: float) -> Iterator[Try]:
    """Try ideas in their order until so much compute is spent; those not held come again at the end of the
    list, and it ends where none of them runs any more."""
    while True:
        before = ratchet.runs
        for idea in ideas:
            if ratchet.spent >= compute:
                return
            if idea.name not in ratchet.adopted:
                yield ratchet.attempt(idea)
        if ratchet.runs == before:
            return


def make_shelf(lab: Lab) -> Shelf:
    """Recipes of a lab's testbed, from its source as it is."""
    tree = read_tree(lab.testbed)
    return Shelf(lab, tree, Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe))


def finished(store: Store, campaign: str | None) -> Campaign:
    """The campaign of this id, or the last finished one with ideas. ConfigError: there is none."""
    if campaign is not None:
        return store.campaign(campaign)
    done = [one for one in store.campaigns() if one.state is CampaignState.FINISHED and store.ideas(one.id)]
    if not done:
        raise ConfigError(f"{store.root}: no finished campaign here; the loop takes the ideas of one")
    return done[-1]


def beside(
    store: Store, campaign: Campaign, settings: Settings, progress: Progress, changes: dict[str, Any]
) -> dict[str, Any]:
    """Run the loop once over a finished campaign's own ideas, planted ones left out, and say of each what it
    came to in both; as one JSON object. `changes`: settings of workers and sandbox.

    ConfigError where the testbed's source changed since; LabError where it does not train."""
    check_source(store, campaign)
    config = CampaignConfig.model_validate({**campaign.config, **changes})
    planted = {blank.name for blank in store.blanks(campaign.id)}
    ideas = [entry.idea for entry in store.ideas(campaign.id) if entry.idea.name not in planted]
    rung = config.rungs[0]
    ground, recipe = prepare(config, settings, progress)
    fingerprint = make_fingerprint(ground)
    with Store(settings.root / FOLDER, None, settings.database_timeout) as kept:
        name = content_hash([campaign.id, fingerprint.id])
        same = [one for one in kept.campaigns() if one.name == name]
        plain = {"rungs": [rung], "max_usd": None, "usd_per_hour": 0.0}
        entry = same[0] if same else kept.create_campaign(
            name, campaign.seed, config.testbed, recipe, plain, fingerprint
        )  # fmt: skip
        with kept.lock(entry.id):
            executor = start_workers(config, ground, progress)
            try:
                lab = Lab(kept, entry, ground, executor, Meter(ENDLESS, executor.workers), progress)
                with stops_on_signal(lab.stop):
                    ratchet, tries = _run(lab, ideas, rung, campaign.seed)
            finally:
                executor.close()
    return {
        "campaign": campaign.id,
        "testbed": lab.testbed.name,
        "unit": lab.testbed.unit,
        "start": tries[0].best if tries else ratchet.best,
        "end": ratchet.best,
        "runs": ratchet.runs,
        "mendel_runs": len(store.runs(campaign.id, RunState.FINISHED)),
        "kept": list(ratchet.adopted),
        "ideas": [_row(store, campaign, one) for one in tries],
        **_counts(store, campaign, tries),
    }


def _run(lab: Lab, ideas: Iterable[Idea], rung: int, seed: int) -> tuple[Ratchet, list[Try]]:
    """Each idea once, in the order of the campaign's queue."""
    shelf = make_shelf(lab)
    (number,) = seed_block(seed, 0, PlanKind.SCREEN, 1, rung)
    original = shelf.line(Trunk(base=shelf.base), 1.0, shelf.base.base)
    ratchet = Ratchet(lab, shelf, original, rung, number)
    ratchet.begin()
    return ratchet, [ratchet.attempt(idea) for idea in ideas]


def _row(store: Store, campaign: Campaign, one: Try) -> dict[str, Any]:
    """One idea in both: what its single run showed, and what the campaign says."""
    entry = next(entry for entry in store.ideas(campaign.id) if entry.idea.name == one.idea)
    finding = next((found for found in store.findings(campaign.id) if found.idea.name == one.idea), None)
    verdicts = verdicts_of(store, campaign, one.idea)
    last = verdicts[-1] if verdicts else None
    # What screening says of one idea shares its control with all others: no number to put beside another.
    log2_cm = finding.log2_cm if finding else None
    return {
        "idea": one.idea,
        "loss": one.loss,
        "best": one.best,
        "kept": one.kept,
        "reason": one.reason,
        "state": entry.state.value,
        "claimed": finding is not None,
        "verdict": last.kind.value if last else None,
        "note": entry.note,
        "log2_cm": log2_cm.model_dump() if log2_cm else None,
    }


def verdicts_of(store: Store, campaign: Campaign, idea: str) -> list[Verdict]:
    """All verdicts on an idea, in their order."""
    plans = {plan.id for plan in store.plans(campaign.id) if plan.idea == idea}
    return [verdict for verdict in store.verdicts(campaign.id) if verdict.plan in plans]


def _counts(store: Store, campaign: Campaign, tries: Sequence[Try]) -> dict[str, Any]:
    claimed = {finding.idea.name for finding in store.findings(campaign.id)}
    kept, adopted = {one.idea for one in tries if one.kept}, adopted_names(store, campaign)
    carried = {*adopted} - claimed
    return {
        "adopted": adopted,
        "carried": sorted(carried),
        "kept_and_claimed": sorted(kept & claimed),
        "kept_and_carried": sorted(kept & carried),
        "kept_not_shown": sorted(kept - claimed - carried),
        "claimed_not_kept": sorted(claimed - kept),
    }
