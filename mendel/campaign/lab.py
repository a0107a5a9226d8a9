"""The lab of one campaign: gets runs done on the executor and remembers what came of them.

A campaign is a program that can be killed at any instruction and run again from its first line: whatever it
asks of the lab is looked up before it is done. Runs are found by the hash of their specification, choices
that depended on the clock by their key.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from mendel import __version__
from mendel.campaign.budget import Meter, busy_seconds
from mendel.campaign.ground import Ground
from mendel.campaign.jobs import Jobs, Request, crashed, smoke_budget, within
from mendel.campaign.progress import Progress
from mendel.records import (
    Audit,
    Recipe,
    RunResult,
    RunSpec,
    RunStatus,
    Verdict,
    tree_hash,
)
from mendel.runs import Executor, Job
from mendel.store import Campaign, RunState, Store, StoreError

DETERMINISTIC = (RunStatus.DONE, RunStatus.DIVERGED, RunStatus.STOPPED)
"""Outcomes of the recipe and its seed; the others may be the machine's."""
CONTROL_ATTEMPTS = 3
"""Times a control is trained before the campaign gives up: its failure is the lab's fault, not an idea's."""
LEAST_DISK = 1 << 25
"""Bytes of free disk below which no run is begun."""

T = TypeVar("T")


class Interrupted(Exception):
    """The user asked to stop; everything is stored, and the same command continues."""


class Paused(Interrupted):
    """The campaign waits for a person; the message says for what."""


class OutOfMoney(Exception):
    """The workers have cost what `max_usd` allows."""


CHECKPOINTS = ("*.safetensors", "*.pt")
"""Files that a run may leave for `score.py` to load."""


class LabError(RuntimeError):
    """The lab itself cannot go on, such as a control that does not train."""


class Lab:
    """Store, testbed with its ground and executor of one campaign, which this process alone holds."""

    def __init__(
        self,
        store: Store,
        campaign: Campaign,
        ground: Ground,
        executor: Executor,
        meter: Meter,
        progress: Progress,
    ) -> None:
        self.store, self.campaign, self.ground, self.testbed = store, campaign, ground, ground.testbed
        self.executor, self.meter, self.progress = executor, meter, progress
        self.stop = threading.Event()
        self._clock = time.monotonic()
        self._jobs = Jobs(store, campaign, ground)
        self.rung_tokens = self._jobs.rung_tokens
        self.fits: dict[tuple[str, str], bool] = {}
        """(recipe, idea) -> whether the idea was found to fit that recipe."""
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
        jobs = [
            (partial(self._jobs.training, request), request.stage, request.idea, request.spec.rung)
            for request in waiting
        ]
        for place, result in self._work(jobs):
            request = waiting[place]
            result = self._jobs.completed(request, result)
            self._finish(request, result)
            done[request.spec.id] = result
        return done

    def _work(
        self, jobs: Sequence[tuple[Callable[[], Job], str, str | None, int]]
    ) -> Iterator[tuple[int, RunResult]]:
        """Keep the executor busy with jobs in their order; each comes with its stage, idea and rung for the
        display. Yields (place of the job, result) as they finish."""
        waiting, running = list(enumerate(jobs)), dict[str, int]()
        self.progress.begin(len(waiting))
        while waiting or running:
            self._check()
            while waiting and self.executor.free:
                place, (make, stage, idea, rung) = waiting.pop(0)
                job = make()
                self.executor.submit(job)
                running[job.id] = place
                self.progress.start(job.id, stage, idea, rung)
            for run, result in self.executor.wait(0.2):
                if result.status is RunStatus.CRASHED:
                    self._check_disk()
                self.progress.end(run)
                yield running.pop(run), self._jobs.scored(run, result)

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

    def out(self, run: str) -> Path:
        """The folder that a run wrote."""
        return self.store.run_folder(self.campaign.id, run).out

    def try_again(self, specs: Iterable[RunSpec]) -> None:
        """Another chance for runs that an earlier call lost to the machine; what diverged would again."""
        results = self.store.results(self.campaign.id, [spec.id for spec in specs])
        lost = [run for run, result in results.items() if result.status not in DETERMINISTIC]
        self.store.retry(self.campaign.id, lost)

    def made(self, tree: Mapping[str, str]) -> dict[str, Any]:
        """How numbers of the source `tree` came about: enough to get them again."""
        return {
            "mendel": __version__,
            "python": platform.python_version(),
            "fingerprint": self.campaign.fingerprint.model_dump(mode="json"),
            "source": tree_hash(tree),
            "kept": str(self.store.root),
        }

    def smoke(self, recipes: Sequence[tuple[str, int, str | None]]) -> dict[tuple[str, int], RunResult]:
        """A few steps of each (recipe id, rung, idea): does it run and score, and what does it cost?

        Results are kept; `flops_per_token` of one that ran is in the store.
        """
        results: dict[tuple[str, int], RunResult] = {}
        wanted: dict[tuple[str, int], str | None] = {}  # ideas with the same code share a run
        for recipe, rung, idea in recipes:
            known = self.store.cost(self.campaign.id, recipe, rung)
            if known:
                results[recipe, rung] = known.result
            else:
                wanted.setdefault((recipe, rung), idea)
        waiting = list(wanted.items())
        jobs = [(partial(self._jobs.smoke, *key), "smoke", idea, key[1]) for key, idea in waiting]
        for place, result in self._work(jobs):
            (recipe, rung), idea = waiting[place]
            self.progress.smoke_seconds += result.train_seconds + result.score_seconds
            per_token = result.flops / result.tokens if result.flops and result.tokens else None
            result = within(self.testbed, result, self.smoke_budget(rung))
            if self.testbed.count_flops and per_token is None and result.status is RunStatus.DONE:
                # The patch took away what its cost is counted by.
                missing = "tokens in metrics.jsonl" if result.flops else "FLOPs"
                result = crashed(result, f"it ran, but no {missing} were counted")
            self.store.put_cost(self.campaign.id, recipe, rung, per_token, result, idea)
            results[recipe, rung] = result
        return results

    def smoke_budget(self, rung: int) -> int:
        """Compute of a smoke run, as it is told to it; no run can be given less."""
        return smoke_budget(self.testbed, rung)

    def seconds(self, result: RunResult) -> float:
        """What a run took, as it is charged: CPU seconds, or the time that passed where cards did it."""
        return result.train_seconds if self.testbed.gpus else result.cpu_seconds

    def flops_per_token(self, recipe: str, rung: int) -> float:
        """Counted training FLOPs per token of a recipe that passed its smoke run, optimiser included.

        A testbed whose FLOPs are not counted has its budgets in tokens, steps or seconds: each costs one, or
        in the case of seconds each thousandth of one.
        """
        if not self.testbed.count_flops:
            return 1 / self.testbed.budget.parts
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

    def _finish(self, request: Request, result: RunResult) -> None:
        run = request.spec.id
        # The file first: a kill in between leaves a run to be done again, never one without its status.
        self.store.run_folder(self.campaign.id, run).write_status(result.model_dump(mode="json"))
        self.store.finish(self.campaign.id, run, result)
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
            self.meter.runs += result.stopped.at if result.stopped else 1
        full = self.rung_tokens.get((spec.recipe, spec.rung))
        if result.status is RunStatus.DONE and full and spec.rung == self.campaign.config["rungs"][0]:
            seconds = (result.train_seconds + result.score_seconds) * full / spec.tokens
            self.meter.observe(seconds)
