"""Requests to language models, with their answers and what they cost; and forecasts with their reasons.

A call is found by the hash of what is asked, so a campaign that is killed and continued finds the answers
that it has paid for. A call that was under way then stays `waiting`: nobody knows whether it was paid, so it
counts with the most that it may cost until it is asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, func, insert, select, update

from mendel.records import Forecast
from mendel.store.entries import Call, Foreseen, Usage
from mendel.store.queue import RunQueue, now
from mendel.store.tables import CallRow, CallState, ForecastRow

USAGE = tuple(field.name for field in fields(Usage))


class Calls(RunQueue):
    """Every method is one transaction, or part of the surrounding one."""

    def begin_call(
        self,
        campaign: str,
        id: str,
        *,
        task: str,
        step: int,
        seat: str,
        idea: str | None,
        model: str,
        request: Any,
        expected: float,
    ) -> None:
        """A request is about to be sent, or handed out. What failed, or was lost, is asked once more."""
        with self.transaction() as connection:
            self._require(connection, campaign)
            known = connection.scalar(select(CallRow.state).where(*_at(campaign, id)))
            if known is None:
                values: dict[str, Any] = dict.fromkeys(USAGE, 0) | {
                    "campaign": campaign, "id": id, "task": task, "step": step, "seat": seat, "idea": idea,
                    "model": model, "request": request, "error": "", "expected": expected, "attempts": 1,
                    "state": CallState.WAITING, "created": now(),
                }  # fmt: skip
                connection.execute(insert(CallRow).values(values))
            elif known is not CallState.ANSWERED:
                # What was under way may have been paid: it goes on counting.
                lost = {"dollars": CallRow.dollars + CallRow.expected, "created": now()}
                again = {
                    "state": CallState.WAITING,
                    "attempts": CallRow.attempts + 1,
                    "expected": expected,
                    **lost,
                }
                connection.execute(update(CallRow).where(*_at(campaign, id)).values(again))

    def answer_call(self, campaign: str, id: str, answer: Any, usage: Usage) -> None:
        """Keep an answer and what it cost, once: a second answer to one request is not kept."""
        values = {
            "state": CallState.ANSWERED,
            "answer": answer,
            "finished": now(),
            "expected": 0.0,
            "error": "",
        }
        with self.transaction() as connection:
            open_ = (*_at(campaign, id), CallRow.state != CallState.ANSWERED)
            spent = {**asdict(usage), "dollars": CallRow.dollars + usage.dollars}
            connection.execute(update(CallRow).where(*open_).values(**values, **spent))

    def fail_call(self, campaign: str, id: str, error: str) -> None:
        """No answer came, and nothing was paid."""
        values = {"state": CallState.FAILED, "error": error, "finished": now(), "expected": 0.0}
        with self.transaction() as connection:
            connection.execute(update(CallRow).where(*_at(campaign, id)).values(values))

    def call(self, campaign: str, id: str) -> Call | None:
        """The call of this id, None if it was never made."""
        query = select(*CallRow.__table__.c).where(*_at(campaign, id))
        with self._reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _call(row)

    def calls(
        self,
        campaign: str,
        *,
        task: str | None = None,
        idea: str | None = None,
        state: CallState | None = None,
    ) -> list[Call]:
        """Calls in the order in which they were first made, all or those of a task, an idea, a state."""
        query = select(*CallRow.__table__.c).where(CallRow.campaign == campaign).order_by(CallRow.seq)
        for column, wanted in ((CallRow.task, task), (CallRow.idea, idea), (CallRow.state, state)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._reading() as connection:
            self._require(connection, campaign)
            return [_call(row) for row in connection.execute(query).mappings()]

    def usage(
        self,
        campaign: str | None = None,
        *,
        seat: str | None = None,
        idea: str | None = None,
        since: datetime | None = None,
    ) -> Usage:
        """What calls took, of all campaigns or of one; what is in flight is in `dollars`, at the most it
        may cost."""
        dollars = func.sum(CallRow.dollars + CallRow.expected)
        sums = [dollars if name == "dollars" else func.sum(getattr(CallRow, name)) for name in USAGE]
        query = select(*sums)
        for column, wanted in ((CallRow.campaign, campaign), (CallRow.seat, seat), (CallRow.idea, idea)):
            if wanted is not None:
                query = query.where(column == wanted)
        if since is not None:
            query = query.where(CallRow.created >= since)
        with self._reading() as connection:
            found = connection.execute(query).one()
        return Usage(**{name: value or 0 for name, value in zip(USAGE, found, strict=True)})

    def spent_on_calls(self, campaign: str) -> dict[tuple[str, str | None], tuple[int, Usage]]:
        """(seat, idea) -> number of its calls that were answered, and what they took."""
        sums = [func.sum(getattr(CallRow, name)).label(name) for name in USAGE]
        own = (CallRow.campaign == campaign, CallRow.state == CallState.ANSWERED)
        query = select(CallRow.seat, CallRow.idea, func.count().label("calls"), *sums).where(*own)
        query = query.group_by(CallRow.seat, CallRow.idea).order_by(func.min(CallRow.seq))
        with self._reading() as connection:
            self._require(connection, campaign)
            return {
                (row["seat"], row["idea"]): (row["calls"], Usage(**{name: row[name] for name in USAGE}))
                for row in connection.execute(query).mappings()
            }

    def put_forecasts(self, campaign: str, forecasts: Sequence[Foreseen]) -> None:
        """Keep forecasts; those that are there already stay as they are."""
        known = {(one.idea, one.forecaster) for one in self.forecasts(campaign)}
        rows = [
            {
                "campaign": campaign,
                "idea": one.idea,
                "forecaster": one.forecaster,
                "record": one.forecast.model_dump(mode="json"),
                "reason": one.reason,
                "created": now(),
            }
            for one in forecasts
            if (one.idea, one.forecaster) not in known
        ]
        with self.transaction() as connection:
            self._require(connection, campaign)
            if rows:
                connection.execute(insert(ForecastRow), rows)

    def forecasts(self, campaign: str, idea: str | None = None) -> list[Foreseen]:
        """Forecasts of all ideas or of one, by idea and forecaster."""
        query = select(*ForecastRow.__table__.c).where(ForecastRow.campaign == campaign)
        if idea is not None:
            query = query.where(ForecastRow.idea == idea)
        with self._reading() as connection:
            self._require(connection, campaign)
            rows = connection.execute(query.order_by(ForecastRow.idea, ForecastRow.forecaster))
            return [
                Foreseen(row.idea, row.forecaster, Forecast.model_validate(row.record), row.reason)
                for row in rows
            ]


def _at(campaign: str, id: str) -> tuple[Any, Any]:
    return CallRow.campaign == campaign, CallRow.id == id


def _call(row: RowMapping) -> Call:
    names = [field.name for field in fields(Call) if field.name != "usage"]
    usage = Usage(**{name: row[name] for name in USAGE})
    return Call(**{name: row[name] for name in names}, usage=usage)
