"""How a run that a stage needs becomes a job of the executor, and what of its report is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendel.campaign.scoring import AUDITED, Scoring, Text, has_own_objective
from mendel.patches import read_tree
from mendel.plans.seeds import is_first
from mendel.records import Recipe, RunResult, RunSpec, RunStatus, Stopped, Testbed
from mendel.runs import Job, Scorer
from mendel.store import Campaign, Store, smoke_name
from mendel.yardstick import Corpus

SMOKE_TOKENS = 4096

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

    def __init__(self, store: Store, campaign: Campaign, testbed: Testbed, corpus: Corpus) -> None:
        self._store, self._campaign, self._testbed, self._corpus = store, campaign, testbed, corpus
        self._text = Text(corpus, lambda run: store.open_held_out(campaign.id, run))
        self._scorings: dict[str, Scoring] = {}
        """By job id, while it is under way."""
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
            source=folder.source,
            argv=self._command(recipe, spec.rung, spec.seed, spec.tokens, folder.out),
            out=folder.out,
            readable=(self._corpus.train_folder,),
            timeout=rung.timeout * max(1.0, spec.tokens / tokens),
            memory=self._testbed.memory,
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
        tokens = smoke_tokens(rung)
        return Job(
            id=name,
            source=folder.source,
            argv=self._command(recipe, rung, 0, tokens, folder.out),
            out=folder.out,
            readable=(self._corpus.train_folder,),
            timeout=self._testbed.rungs[0].timeout,
            memory=self._testbed.memory,
            count_flops=self._testbed.count_flops,
            scorer=self._scorer(name, folder.out, None, "smoke"),
        )

    def scored(self, job: str, result: RunResult) -> RunResult:
        """What the executor reports of a job, with what was found while it was scored."""
        return self._scorings.pop(job).complete(result)

    def completed(self, request: Request, result: RunResult) -> RunResult:
        """A scored result held against its plan; of a run that was stopped early, with where, and what was
        expected of it."""
        if result.status is not RunStatus.STOPPED or request.stop is None:
            return within(result, request.spec.tokens)
        stopped = request.stop(self._store.run_folder(self._campaign.id, request.spec.id).out)
        if stopped is None:  # its log was changed since
            return crashed(result, "it was stopped early, and its log no longer says why")
        end = f"expected to end at {stopped.expected:.4f} bits per byte"
        reason = f"at {stopped.at:.0%} of the run it was {end}"
        return result.model_copy(update={"stopped": stopped, "reason": reason})

    def _command(self, recipe: Recipe, rung: int, seed: int, tokens: int, out: Path) -> tuple[str, ...]:
        values: dict[str, Any] = {"recipe": recipe.base, "rung": rung, "seed": seed, "tokens": tokens}
        values |= {"data": self._corpus.train_file, "out": out}
        command = [part.format(**values) for part in self._testbed.command]
        for key, value in sorted(recipe.overrides.items()):
            command += [part.format(key=key, value=value) for part in self._testbed.override]
        return tuple(command)

    def _scorer(
        self, job: str, out: Path, spec: RunSpec | None, stage: str, trusted: bool = False
    ) -> tuple[str, tuple[Scorer, ...]]:
        own = spec is not None and stage in AUDITED and not trusted and self._own_objective(spec.recipe)
        scoring = self._scorings[job] = Scoring(self._text, out, spec, stage, trusted, own)
        return self._testbed.score, scoring.sessions

    def _own_objective(self, recipe: str) -> bool:
        if recipe not in self._own_objectives:
            tree = self._store.load_tree(self._store.recipe(recipe).tree)
            self._own_objectives[recipe] = has_own_objective(tree, read_tree(self._testbed))
        return self._own_objectives[recipe]


def smoke_tokens(rung: int) -> int:
    """Training tokens of a smoke run: a few steps, which grow with the rung."""
    return SMOKE_TOKENS << rung


def within(result: RunResult, planned: int) -> RunResult:
    """A run that read more than it was told did not cost what its plan says: it has failed."""
    if result.status is not RunStatus.DONE or result.tokens <= planned:
        return result
    return crashed(result, f"it read {result.tokens} tokens, {planned} were planned")


def crashed(result: RunResult, reason: str) -> RunResult:
    """The result without its score."""
    changes: dict[str, Any] = {
        "status": RunStatus.CRASHED,
        "bits_per_byte": None,
        "skills": {},
        "reason": reason,
    }
    return RunResult.model_validate({**result.model_dump(), **changes})
