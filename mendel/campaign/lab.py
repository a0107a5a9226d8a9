"""The lab of one campaign: gets runs done on the executor and remembers what came of them.

A campaign is a program that can be killed at any instruction and run again from its first line: whatever it
asks of the lab is looked up before it is done. Runs are found by the hash of their specification, choices
that depended on the clock by their key.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from mendel.campaign.budget import Meter
from mendel.campaign.progress import Progress
from mendel.campaign.scoring import AUDITED, Scoring, Text, has_own_objective
from mendel.patches import read_tree
from mendel.plans.seeds import is_first
from mendel.records import Audit, Recipe, RunResult, RunSpec, RunStatus, Testbed, Verdict
from mendel.runs import Executor, Job, Scorer
from mendel.store import Campaign, RunEntry, RunState, Store, StoreError
from mendel.yardstick import Corpus

SMOKE_TOKENS = 4096
DETERMINISTIC = (RunStatus.DONE, RunStatus.DIVERGED)
"""Outcomes of the recipe and its seed; the others may be the machine's."""
CONTROL_ATTEMPTS = 3
"""Times a control is trained before the campaign gives up: its failure is the lab's fault, not an idea's."""
LEAST_DISK = 1 << 25
"""Bytes of free disk below which no run is begun."""

T = TypeVar("T")


class Interrupted(Exception):
    """The user asked to stop; everything is stored, and the same command continues."""


class OutOfMoney(Exception):
    """The workers have cost what `max_usd` allows."""


CHECKPOINTS = ("*.safetensors", "*.pt")
"""Files that a run may leave for `score.py` to load."""


class LabError(RuntimeError):
    """The lab itself cannot go on, such as a control that does not train."""


@dataclass(frozen=True)
class Request:
    """A run that a stage needs."""

    spec: RunSpec
    stage: str
    idea: str | None = None


class Lab:
    """Store, testbed, corpus and executor of one campaign, which this process alone holds."""

    def __init__(
        self,
        store: Store,
        campaign: Campaign,
        testbed: Testbed,
        corpus: Corpus,
        executor: Executor,
        meter: Meter,
        progress: Progress,
    ) -> None:
        self.store, self.campaign, self.testbed = store, campaign, testbed
        self.corpus, self.executor, self.meter, self.progress = corpus, executor, meter, progress
        self.stop = threading.Event()
        self._clock = time.monotonic()
        self._text = Text(corpus, lambda run: store.open_held_out(campaign.id, run))
        self._scorings: dict[str, Scoring] = {}
        """By job id, while it is under way."""
        self.rung_tokens: dict[tuple[str, int], int] = {}
        """Tokens of a full run, by recipe id and rung: longer runs get more time."""
        self._own_objectives: dict[str, bool] = {}
        self._counted: set[str] = set()
        store.requeue_running(campaign.id)
        finished = store.runs(campaign.id, RunState.FINISHED)
        for entry in finished:
            assert entry.result is not None
            self._account(entry.spec, entry.stage, entry.result)
        self._earlier = self.meter.elapsed = busy_seconds(finished)

    # --- runs -----------------------------------------------------------------------------------------

    def recipe(self, recipe: Recipe, tree: dict[str, str], label: str) -> str:
        """Store a recipe with its source; returns its id."""
        self.store.save_tree(tree)
        return self.store.put_recipe(recipe, label)

    def complete(self, requests: Sequence[Request]) -> dict[str, RunResult]:
        """Train and score every requested run that is not finished yet; returns all results by run id.

        The order of `requests` is the order of starting; which run finishes first changes nothing.
        Raises Interrupted, OutOfMoney, or the executor's error; what is finished by then is stored.
        """
        with self.store.transaction():
            for request in requests:
                self.store.enqueue(self.campaign.id, [request.spec], request.stage, request.idea)
        ids = list(dict.fromkeys(request.spec.id for request in requests))
        done = self.store.results(self.campaign.id, ids)
        by_id = {request.spec.id: request for request in requests}
        waiting = [by_id[run] for run in ids if run not in done]
        running: dict[str, Request] = {}
        self.progress.begin(len(waiting))
        while waiting or running:
            self._check()
            while waiting and self.executor.free:
                request = waiting.pop(0)
                self.executor.submit(self._job(request))
                running[request.spec.id] = request
                self.progress.start(request.spec.id, request.stage, request.idea, request.spec.rung)
            for run, result in self.executor.wait(0.2):
                request = running.pop(run)
                if result.status is RunStatus.CRASHED:
                    self._check_disk()
                done[run] = _within(self._scorings.pop(run).complete(result), request.spec.tokens)
                self._finish(request, done[run])
        return done

    def pairs(self, requests: Sequence[tuple[Request, Request]]) -> list[tuple[RunResult, RunResult]]:
        """Complete (control, treatment) pairs. Where a control fails both arms are trained again.

        A control that diverged would only diverge again; `trunk.differences` says what its pair counts for.
        Raises LabError when a control fails in another way every time.
        """
        for attempt in range(CONTROL_ATTEMPTS):
            flat = [request for pair in requests for request in pair]
            results = self.complete(flat)
            failed = [pair for pair in requests if results[pair[0].spec.id].status not in DETERMINISTIC]
            if not failed:
                return [(results[c.spec.id], results[t.spec.id]) for c, t in requests]
            first = results[failed[0][0].spec.id]
            if attempt + 1 < CONTROL_ATTEMPTS:
                again = {request.spec.id for pair in failed for request in pair}
                self.store.retry(self.campaign.id, sorted(again))
        run = failed[0][0].spec.id
        raise LabError(
            f"control run {run} failed {CONTROL_ATTEMPTS} times "
            f"({first.status}: {first.reason}); see {self.store.run_folder(self.campaign.id, run).path}"
        )

    def smoke(self, recipes: Sequence[tuple[str, int, str | None]]) -> dict[tuple[str, int], RunResult]:
        """A few steps of each (recipe id, rung, idea): does it run and score, and what does it cost?

        Results are kept; `flops_per_token` of one that ran is in the store.
        """
        results: dict[tuple[str, int], RunResult] = {}
        waiting: list[tuple[str, int, str | None]] = []
        for recipe, rung, idea in recipes:
            known = self.store.cost(self.campaign.id, recipe, rung)
            if known:
                results[recipe, rung] = known.result
            elif (recipe, rung, idea) not in waiting:
                waiting.append((recipe, rung, idea))
        jobs: dict[str, tuple[str, int, str | None]] = {}
        self.progress.begin(len(waiting))
        while waiting or jobs:
            self._check()
            while waiting and self.executor.free:
                item = waiting.pop(0)
                job = self._smoke_job(item[0], item[1])
                self.executor.submit(job)
                jobs[job.id] = item
                self.progress.start(job.id, "smoke", item[2], item[1])
            for run, result in self.executor.wait(0.2):
                recipe, rung, idea = jobs.pop(run)
                if result.status is RunStatus.CRASHED:
                    self._check_disk()
                self.progress.end(run)
                self.progress.smoke_seconds += result.train_seconds + result.score_seconds
                per_token = result.flops / result.tokens if result.flops and result.tokens else None
                result = _within(self._scorings.pop(run).complete(result), _smoke_tokens(rung))
                if self.testbed.count_flops and per_token is None and result.status is RunStatus.DONE:
                    # The patch took away what its cost is counted by.
                    missing = "tokens in metrics.jsonl" if result.flops else "FLOPs"
                    result = _crashed(result, f"it ran, but no {missing} were counted")
                self.store.put_cost(self.campaign.id, recipe, rung, per_token, result, idea)
                results[recipe, rung] = result
        return results

    def flops_per_token(self, recipe: str, rung: int) -> float:
        """Counted training FLOPs per token of a recipe that passed its smoke run, optimiser included.

        A testbed whose FLOPs are not counted has its budgets in tokens: each costs one.
        """
        if not self.testbed.count_flops:
            return 1.0
        cost = self.store.cost(self.campaign.id, recipe, rung)
        if cost is None or not cost.flops_per_token:
            raise LabError(f"recipe {recipe} has no measured cost at rung {rung}")
        return cost.flops_per_token

    # --- choices ----------------------------------------------------------------------------------------

    def once(self, key: str, choose: Callable[[], T]) -> T:
        """What was chosen under `key`; chosen now, and kept, if this is the first time."""
        chosen = self.store.decision(self.campaign.id, key)
        if chosen is None:
            self.store.decide(self.campaign.id, key, choose())
            chosen = self.store.decision(self.campaign.id, key)
        return cast(T, chosen)

    def keep_audits(self, verdict: Verdict, audits: Sequence[Audit]) -> None:
        """Keep what a verdict was audited for, beside it: clocks and secret questions have a part in that,
        and verdicts repeat."""
        self.once(f"audits/{verdict.id}", lambda: [audit.model_dump(mode="json") for audit in audits])

    def say(self, key: str, stage: str, message: str, idea: str | None = None) -> None:
        """A line of the campaign's log, written once for each key."""
        with self.store.transaction():
            if self.store.decision(self.campaign.id, f"said/{key}") is None:
                self.store.decide(self.campaign.id, f"said/{key}", message)
                self.store.event(self.campaign.id, stage, message, idea)
                self.progress.say(message)

    def time(self) -> float:
        """Seconds the campaign has taken, earlier sessions included."""
        return self._earlier + time.monotonic() - self._clock

    # --- helpers ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        self._check_disk()
        self.meter.elapsed = self.time()
        self.progress.used = self.meter.used()
        if self.stop.is_set():
            raise Interrupted
        config = self.campaign.config
        if config["max_usd"] is not None:
            seconds = self.progress.worker_seconds + self.progress.smoke_seconds
            dollars = seconds / 3600 * config["usd_per_hour"]
            if dollars >= config["max_usd"]:
                raise OutOfMoney(f"{dollars:.2f} dollars of {config['max_usd']:.2f} are spent")

    def _check_disk(self) -> None:
        """A run that cannot write its checkpoint would be blamed for it: end before that."""
        free = shutil.disk_usage(self.store.root).free
        if free < LEAST_DISK:
            raise StoreError(
                f"{self.store.root}: only {free:,} bytes are free on its disk, runs need {LEAST_DISK:,}; "
                "make room and run the same command again, nothing that was recorded is lost"
            )

    def _job(self, request: Request) -> Job:
        spec = request.spec
        self.store.claim(self.campaign.id, spec.id)
        recipe = self.store.recipe(spec.recipe)
        folder = self.store.new_run_folder(
            self.campaign.id, spec.id, {**spec.model_dump(mode="json"), "stage": request.stage}, recipe.tree
        )
        rung = self.testbed.rungs[spec.rung]
        tokens = self.rung_tokens.get((spec.recipe, spec.rung), spec.tokens)
        # One control of a block is audited too: a trunk that cheats would have all ideas on it rejected.
        trusted = request.idea is None and not is_first(spec.seed)
        return Job(
            id=spec.id,
            source=folder.source,
            argv=self._command(recipe, spec.rung, spec.seed, spec.tokens, folder.out),
            out=folder.out,
            readable=(self.corpus.train_folder,),
            timeout=rung.timeout * max(1.0, spec.tokens / tokens),
            memory=self.testbed.memory,
            scorer=self._scorer(spec.id, folder.out, spec, request.stage, trusted),
        )

    def _smoke_job(self, recipe_id: str, rung: int) -> Job:
        recipe = self.store.recipe(recipe_id)
        name = f"smoke-{recipe_id}-{rung}"
        folder = self.store.new_run_folder(
            self.campaign.id, name, {"recipe": recipe_id, "rung": rung}, recipe.tree
        )
        tokens = _smoke_tokens(rung)
        return Job(
            id=name,
            source=folder.source,
            argv=self._command(recipe, rung, 0, tokens, folder.out),
            out=folder.out,
            readable=(self.corpus.train_folder,),
            timeout=self.testbed.rungs[0].timeout,
            memory=self.testbed.memory,
            count_flops=self.testbed.count_flops,
            scorer=self._scorer(name, folder.out, None, "smoke"),
        )

    def _command(self, recipe: Recipe, rung: int, seed: int, tokens: int, out: Path) -> tuple[str, ...]:
        values: dict[str, Any] = {"recipe": recipe.base, "rung": rung, "seed": seed, "tokens": tokens}
        values |= {"data": self.corpus.train_file, "out": out}
        command = [part.format(**values) for part in self.testbed.command]
        for key, value in sorted(recipe.overrides.items()):
            command += [part.format(key=key, value=value) for part in self.testbed.override]
        return tuple(command)

    def _scorer(
        self, job: str, out: Path, spec: RunSpec | None, stage: str, trusted: bool = False
    ) -> tuple[str, tuple[Scorer, ...]]:
        own = spec is not None and stage in AUDITED and not trusted and self._own_objective(spec.recipe)
        scoring = self._scorings[job] = Scoring(self._text, out, spec, stage, trusted, own)
        return self.testbed.score, scoring.sessions

    def _own_objective(self, recipe: str) -> bool:
        if recipe not in self._own_objectives:
            tree = self.store.load_tree(self.store.recipe(recipe).tree)
            self._own_objectives[recipe] = has_own_objective(tree, read_tree(self.testbed))
        return self._own_objectives[recipe]

    def _finish(self, request: Request, result: RunResult) -> None:
        run = request.spec.id
        # The file first: a kill in between leaves a run to be done again, never one without its status.
        self.store.run_folder(self.campaign.id, run).write_status(result.model_dump(mode="json"))
        self.store.finish(self.campaign.id, run, result)
        self.progress.end(run)
        self._account(request.spec, request.stage, result)
        if request.stage != "verify":
            self._drop_checkpoint(run)

    def _drop_checkpoint(self, run: str) -> None:
        """Weights of a run that has its score are not kept, but for those of the checked trunk."""
        out = self.store.run_folder(self.campaign.id, run).out
        for pattern in CHECKPOINTS:
            for file in out.rglob(pattern):
                with contextlib.suppress(OSError):  # a run may leave a folder of that name, or a locked one
                    file.unlink()

    def _account(self, spec: RunSpec, stage: str, result: RunResult) -> None:
        self.progress.account(result)
        if spec.id not in self._counted:  # a control that is trained again was asked for once
            self._counted.add(spec.id)
            self.meter.runs += 1
        full = self.rung_tokens.get((spec.recipe, spec.rung))
        if result.status is RunStatus.DONE and full and spec.rung == self.campaign.config["rungs"][0]:
            seconds = (result.train_seconds + result.score_seconds) * full / spec.tokens
            self.meter.observe(seconds)


def busy_seconds(finished: Sequence[RunEntry]) -> float:
    """Wall-clock time in which runs were under way: what earlier sessions of a campaign took."""
    total, until = 0.0, None
    for entry in sorted(finished, key=lambda entry: entry.started or entry.created):
        if entry.started is None or entry.finished is None:
            continue
        begin = entry.started if until is None else max(entry.started, until)
        total += max(0.0, (entry.finished - begin).total_seconds())
        until = entry.finished if until is None else max(until, entry.finished)
    return total


def _smoke_tokens(rung: int) -> int:
    """Training tokens of a smoke run: a few steps, which grow with the rung."""
    return SMOKE_TOKENS << rung


def _within(result: RunResult, planned: int) -> RunResult:
    """A run that read more than it was told did not cost what its plan says: it has failed."""
    if result.status is not RunStatus.DONE or result.tokens <= planned:
        return result
    return _crashed(result, f"it read {result.tokens} tokens, {planned} were planned")


def _crashed(result: RunResult, reason: str) -> RunResult:
    changes: dict[str, Any] = {
        "status": RunStatus.CRASHED,
        "bits_per_byte": None,
        "skills": {},
        "reason": reason,
    }
    return RunResult.model_validate({**result.model_dump(), **changes})
