"""How a run that a stage needs becomes a job of the executor, and what of its report is believed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendel.campaign.ground import Ground
from mendel.campaign.scoring import AUDITED, Scoring, Text, has_own_objective
from mendel.patches import read_tree
from mendel.plans.seeds import is_first
from mendel.records import Currency, Recipe, RunResult, RunSpec, RunStatus, Stopped, Testbed
from mendel.runs import LOG, Job, Scorer
from mendel.store import Campaign, RunFolder, Store, smoke_name
from mendel.yardstick import NoMetric, read_metric

SMOKE_TOKENS = 4096
SMOKE_SHARE = 0.02
"""Of the lowest rung's run, where budgets are in steps or seconds."""

StopCheck = Callable[[Path], Stopped | None]
"""Says by what a run has left in its folder so far whether it may stop."""


@dataclass(frozen=True)
class Request:
    """A run that a stage needs."""

    spec: RunSpec
    stage: str
    idea: str | None = None
    stop: StopCheck | None = None


class Jobs:
    """Makes the jobs of one campaign; each has a folder of its own in the store."""

    def __init__(self, store: Store, campaign: Campaign, ground: Ground) -> None:
        self._store, self._campaign, self._ground, self._testbed = store, campaign, ground, ground.testbed
        corpus = ground.corpus
        self._text = Text(corpus, lambda run: store.open_held_out(campaign.id, run)) if corpus else None
        self._scorings: dict[str, Scoring] = {}
        """By job id, while it is under way."""
        self._outs: dict[str, Path] = {}
        """Likewise, folders of the runs that report their loss."""
        self.rung_tokens: dict[tuple[str, int], int] = {}
        """Tokens of a full run, by recipe id and rung: longer runs get more time."""
        self._own_objectives: dict[str, bool] = {}

    def training(self, request: Request) -> Job:
        """Claims a run and makes its folder."""
        spec, stop = request.spec, request.stop
        self._store.claim(self._campaign.id, spec.id)
        recipe = self._store.recipe(spec.recipe)
        folder = self._store.new_run_folder(
            self._campaign.id, spec.id, {**spec.model_dump(mode="json"), "stage": request.stage}, recipe.tree
        )
        rung = self._testbed.rungs[spec.rung]
        tokens = self.rung_tokens.get((spec.recipe, spec.rung), spec.tokens)
        # One control of a block is audited too: a trunk that cheats would have all ideas on it rejected.
        trusted = request.idea is None and not is_first(spec.seed)
        return Job(
            id=spec.id,
            timeout=rung.timeout * max(1.0, spec.tokens / tokens),
            **self._runs(recipe, spec.rung, spec.seed, spec.tokens, folder),
            stop=None if stop is None else lambda: stop(folder.out) is not None,
            scorer=self._scorer(spec.id, folder.out, spec, request.stage, trusted),
        )

    def smoke(self, recipe_id: str, rung: int) -> Job:
        """A few steps of a recipe, which count its FLOPs."""
        recipe = self._store.recipe(recipe_id)
        name = smoke_name(recipe_id, rung)
        folder = self._store.new_run_folder(
            self._campaign.id, name, {"recipe": recipe_id, "rung": rung}, recipe.tree
        )
        return Job(
            id=name,
            timeout=self._testbed.rungs[0].timeout,
            **self._runs(recipe, rung, 0, smoke_budget(self._testbed, rung), folder),
            count_flops=self._testbed.count_flops,
            scorer=self._scorer(name, folder.out, None, "smoke"),
        )

    def scored(self, job: str, result: RunResult) -> RunResult:
        """What the executor reports of a job, with what was found while it was scored; or with the loss that
        it reported itself."""
        metric = self._testbed.metric
        if metric is None:
            return self._scorings.pop(job).complete(result)
        if result.status is not RunStatus.DONE:
            return result
        out = self._outs.pop(job)
        try:
            loss = read_metric(metric, out, out / LOG)
        except NoMetric as error:
            return crashed(result, str(error))
        if not math.isfinite(loss):
            return crashed(result, f"the loss that it reported is {loss}", RunStatus.DIVERGED)
        return result.model_copy(update={"bits_per_byte": loss})

    def completed(self, request: Request, result: RunResult) -> RunResult:
        """A scored result held against its plan; of a run that was stopped early, with where, and what was
        expected of it."""
        if result.status is not RunStatus.STOPPED or request.stop is None:
            return within(self._testbed, result, request.spec.tokens)
        stopped = request.stop(self._store.run_folder(self._campaign.id, request.spec.id).out)
        if stopped is None:  # its log was changed since
            return crashed(result, "it was stopped early, and its log no longer says why")
        end = f"expected to end at {stopped.expected:.4f} {self._testbed.unit}"
        reason = f"at {stopped.at:.0%} of the run it was {end}"
        return result.model_copy(update={"stopped": stopped, "reason": reason})

    def _runs(self, recipe: Recipe, rung: int, seed: int, budget: int, folder: RunFolder) -> dict[str, Any]:
        """What training jobs have in common: their files, their command, what they may see and use."""
        ground, testbed = self._ground, self._testbed
        values = ground.values(recipe, rung, seed, budget, folder.out)
        ground.furnish(folder.source, values)
        return {
            "source": folder.source,
            "argv": ground.command(recipe, rung, seed, budget, folder.out),
            "out": folder.out,
            "readable": ground.readable,
            "memory": testbed.memory,
            "disk": testbed.disk,
            "cpus": testbed.cpus,
            "gpus": testbed.gpus,
            "env": ground.env(values),
        }

    def _scorer(
        self, job: str, out: Path, spec: RunSpec | None, stage: str, trusted: bool = False
    ) -> tuple[str, tuple[Scorer, ...]] | None:
        """Who scores a job; None where its loss is what it reports."""
        if self._testbed.metric is not None:
            self._outs[job] = out
            return None
        assert self._text is not None
        own = spec is not None and stage in AUDITED and not trusted and self._own_objective(spec.recipe)
        scoring = self._scorings[job] = Scoring(self._text, out, spec, stage, trusted, own)
        return self._testbed.score, scoring.sessions

    def _own_objective(self, recipe: str) -> bool:
        if recipe not in self._own_objectives:
            tree = self._store.load_tree(self._store.recipe(recipe).tree)
            self._own_objectives[recipe] = has_own_objective(tree, read_tree(self._testbed))
        return self._own_objectives[recipe]


def smoke_budget(testbed: Testbed, rung: int) -> int:
    """Compute of a smoke run, as the run is told it: a few steps, which grow with the rung. It is also the
    least that a run can be given."""
    if testbed.budget in (Currency.FLOPS, Currency.TOKENS):
        own = testbed.smoke or SMOKE_TOKENS
    else:
        own = testbed.smoke or SMOKE_SHARE * testbed.rungs[0].compute
    return max(1, int(own * testbed.budget.parts)) << rung


def within(testbed: Testbed, result: RunResult, planned: int) -> RunResult:
    """A run that read more than it was told did not cost what its plan says: it has failed. Where budgets are
    not told in tokens, how many a run has read says nothing of that."""
    told = testbed.budget.told == Currency.TOKENS
    if result.status is not RunStatus.DONE or not told or result.tokens <= planned:
        return result
    return crashed(result, f"it read {result.tokens} tokens, {planned} were planned")


def crashed(result: RunResult, reason: str, status: RunStatus = RunStatus.CRASHED) -> RunResult:
    """The result without its score."""
    changes: dict[str, Any] = {
        "status": status,
        "bits_per_byte": None,
        "skills": {},
        "reason": reason,
    }
    return RunResult.model_validate({**result.model_dump(), **changes})
