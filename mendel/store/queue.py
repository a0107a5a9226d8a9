"""The queue of runs, their results, and the ledger that follows from them.

Why a run is a row at most once: its id is the hash of its specification, so asking again for the same
recipe, rung, seed, tokens and shard finds the run that is already there. The states only go forward,
queued -> running -> finished, with two ways back: `requeue_running` for what a dead process left running,
and `retry` for pairs that the lab itself spoiled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from mendel.records import RunResult, RunSpec, Shard
from mendel.store.database import Database
from mendel.store.entries import LedgerRow, Opening, RunEntry
from mendel.store.errors import StoreError
from mendel.store.tables import CampaignRow, CostRow, OpeningRow, RunRow, RunState

SMOKE = "smoke"
"""The stage under which the ledger shows the runs that measured costs."""


class RunQueue(Database):
    """The runs of each campaign. Every method is one transaction, or part of the surrounding one."""

    def __init__(self, root: Path, url: str | None = None, timeout: float = 30.0) -> None:
        super().__init__(root, url, timeout)
        self._there: set[str] = set()
        """Campaigns that are known to exist."""

    def enqueue(
        self, campaign: str, specs: Iterable[RunSpec], stage: str, idea: str | None = None
    ) -> list[str]:
        """Queue the runs that are not there yet; returns their ids, in order.

        A run that exists, in whatever state, stays as it is and keeps the stage and idea that first asked.
        """
        wanted = {spec.id: spec for spec in specs}
        with self.transaction() as connection:
            self._require(connection, campaign)
            known = {row.id for row in self._runs_by_id(connection, campaign, list(wanted), (RunRow.id,))}
            new = [run for run in wanted if run not in known]
            if new:
                common: dict[str, Any] = {"campaign": campaign, "stage": stage, "idea": idea}
                common |= {"state": RunState.QUEUED, "attempts": 0, "created": now()}
                rows = [{"id": run, "spec": wanted[run].model_dump(mode="json"), **common} for run in new]
                connection.execute(insert(RunRow), rows)
        return new

    def claim(self, campaign: str, run: str) -> RunSpec:
        """Mark a queued run as running and return what to run. Raises StoreError if it is not queued."""
        with self.transaction() as connection:
            self._move(
                connection, campaign, run, RunState.QUEUED, {"state": RunState.RUNNING, "started": now()}
            )
            return self.run(campaign, run).spec

    def finish(self, campaign: str, run: str, result: RunResult) -> None:
        """Record the result of a running run, once. Raises StoreError if it is in another state."""
        values = {"state": RunState.FINISHED, "result": result.model_dump(mode="json"), "finished": now()}
        with self.transaction() as connection:
            self._move(connection, campaign, run, RunState.RUNNING, values)

    def requeue_running(self, campaign: str) -> list[str]:
        """Queue again what was running when the process died (or was stopped); returns the ids.

        Only the process that holds the campaign's lock may call it.
        """
        running = (RunRow.campaign == campaign, RunRow.state == RunState.RUNNING)
        with self.transaction() as connection:
            self._require(connection, campaign)
            runs = list(connection.scalars(select(RunRow.id).where(*running).order_by(RunRow.seq)))
            connection.execute(
                update(RunRow)
                .where(*running)
                .values(state=RunState.QUEUED, started=None, attempts=RunRow.attempts + 1)
            )
        return runs

    def retry(self, campaign: str, runs: Sequence[str]) -> None:
        """Queue finished runs again, their results forgotten: for pairs whose *control* failed, which is
        the lab's fault and says nothing about the idea. Never for a treatment's failure."""
        with self.transaction() as connection:
            for run in runs:
                values = {"state": RunState.QUEUED, "result": None, "attempts": RunRow.attempts + 1}
                values |= {"started": None, "finished": None}
                self._move(connection, campaign, run, RunState.FINISHED, values)

    def run(self, campaign: str, run: str) -> RunEntry:
        """One run. Raises StoreError if there is none of this id."""
        with self._reading() as connection:
            self._require(connection, campaign)
            query = select(*RunRow.__table__.c).where(RunRow.campaign == campaign, RunRow.id == run)
            row = connection.execute(query).mappings().first()
        if row is None:
            raise StoreError(f"run {run!r}: campaign {campaign} has no run of this id")
        return _run_entry(row)

    def runs(
        self,
        campaign: str,
        state: RunState | None = None,
        stage: str | None = None,
        idea: str | None = None,
    ) -> list[RunEntry]:
        """The runs in the order in which they were queued, all or those of a state, stage or idea."""
        query = select(*RunRow.__table__.c).where(RunRow.campaign == campaign).order_by(RunRow.seq)
        for column, wanted in ((RunRow.state, state), (RunRow.stage, stage), (RunRow.idea, idea)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._reading() as connection:
            self._require(connection, campaign)
            return [_run_entry(row) for row in connection.execute(query).mappings()]

    def result(self, campaign: str, run: str) -> RunResult | None:
        """The result of a run, None unless it is finished."""
        return self.results(campaign, [run]).get(run)

    def results(self, campaign: str, runs: Sequence[str]) -> dict[str, RunResult]:
        """The results of those runs that are finished, in the order of `runs`."""
        with self._reading() as connection:
            self._require(connection, campaign)
            rows = self._runs_by_id(connection, campaign, runs, (RunRow.id, RunRow.result))
            found = {row.id: RunResult.model_validate(row.result) for row in rows if row.result is not None}
        return {run: found[run] for run in runs if run in found}

    def open_held_out(self, campaign: str, run: str) -> None:
        """Log that the held-out shard is opened to score `run`; call it before opening.

        Raises StoreError for a run that is not planned on the held-out shard.
        """
        with self.transaction() as connection:
            shard = self.run(campaign, run).spec.shard
            if shard is not Shard.HELD_OUT:
                raise StoreError(f"run {run}: planned on the {shard} shard, may not open {Shard.HELD_OUT}")
            connection.execute(insert(OpeningRow).values(campaign=campaign, run=run, time=now()))

    def held_out_openings(self, campaign: str) -> list[Opening]:
        """Every opening of the held-out shard, oldest first."""
        query = select(OpeningRow.run, OpeningRow.time).where(OpeningRow.campaign == campaign)
        with self._reading() as connection:
            self._require(connection, campaign)
            return [Opening(row.run, row.time) for row in connection.execute(query.order_by(OpeningRow.seq))]

    def ledger(self, campaign: str, usd_per_hour: float = 0.0) -> list[LedgerRow]:
        """What was spent, by idea and stage, in the order of first spending; smoke runs included.

        Derived from the results, so it cannot disagree with them. Dollars are training and scoring
        seconds at `usd_per_hour`, the price of one worker. The time of lost attempts is not in it.
        """
        spent: dict[tuple[str | None, str], list[RunResult]] = defaultdict(list)
        costs = select(CostRow.idea, CostRow.result).where(CostRow.campaign == campaign)
        runs = select(RunRow.idea, RunRow.stage, RunRow.result).where(
            RunRow.campaign == campaign, RunRow.result.is_not(None)
        )
        with self._reading() as connection:
            self._require(connection, campaign)
            for row in connection.execute(costs.order_by(CostRow.recipe, CostRow.rung)):
                spent[row.idea, SMOKE].append(RunResult.model_validate(row.result))
            for row in connection.execute(runs.order_by(RunRow.seq)):
                spent[row.idea, row.stage].append(RunResult.model_validate(row.result))
        return [_ledger_row(idea, stage, results, usd_per_hour) for (idea, stage), results in spent.items()]

    def _move(
        self, connection: Connection, campaign: str, run: str, expected: RunState, values: dict[str, Any]
    ) -> None:
        """Change a run that is in the state `expected`; the check and the change are one statement."""
        wanted = (RunRow.campaign == campaign, RunRow.id == run, RunRow.state == expected)
        if connection.execute(update(RunRow).where(*wanted).values(values)).rowcount != 1:
            found = self.run(campaign, run).state
            raise StoreError(f"run {run}: it is {found}, only a {expected} run can become {values['state']}")

    def _runs_by_id(
        self, connection: Connection, campaign: str, runs: Sequence[str], columns: Sequence[Any]
    ) -> Iterator[Any]:
        # In portions: older SQLite allows 999 parameters in a statement.
        for start in range(0, len(runs), 900):
            portion = RunRow.id.in_(runs[start : start + 900])
            yield from connection.execute(select(*columns).where(RunRow.campaign == campaign, portion))

    def _require(self, connection: Connection, campaign: str) -> None:
        """Raise StoreError, with the known ids, unless the campaign exists. One that does is never removed,
        but what this very transaction made may be taken back with it."""
        if campaign in self._there:
            return
        if connection.scalar(select(CampaignRow.seq).where(CampaignRow.id == campaign)) is None:
            known = list(connection.scalars(select(CampaignRow.id).order_by(CampaignRow.seq)))
            listed = f"it has {', '.join(known)}" if known else "it has none yet"
            raise StoreError(f"campaign {campaign!r}: not in {self.place}; {listed}")
        if self._current() is None:
            self._there.add(campaign)


def now() -> datetime:
    """The time in UTC, as every table keeps it."""
    return datetime.now(UTC)


def _run_entry(row: RowMapping) -> RunEntry:
    fields = {key: row[key] for key in ("id", "stage", "idea", "state", "attempts")}
    fields |= {key: row[key] for key in ("created", "started", "finished")}
    result = None if row["result"] is None else RunResult.model_validate(row["result"])
    return RunEntry(spec=RunSpec.model_validate(row["spec"]), result=result, **fields)


def _ledger_row(idea: str | None, stage: str, results: list[RunResult], usd_per_hour: float) -> LedgerRow:
    train = sum(result.train_seconds for result in results)
    score = sum(result.score_seconds for result in results)
    return LedgerRow(
        idea=idea,
        stage=stage,
        runs=len(results),
        tokens=sum(result.tokens for result in results),
        train_seconds=train,
        cpu_seconds=sum(result.cpu_seconds for result in results),
        score_seconds=score,
        dollars=(train + score) / 3600 * usd_per_hour,
    )
