"""Message batches of a loopback Messages API: many requests at once, whose answers come later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from mendel.testing.messages_records import ApiError, Request

_GRACE = 1.0
"""Seconds for which a retrieve waits for answers that are due: a script takes far less, a person more."""
_LIFE = timedelta(hours=24)

EntryT = TypeVar("EntryT")


@dataclass
class _Batch(Generic[EntryT]):
    identity: str
    number: int
    """Of the request that created it."""
    requests: dict[str, Request]
    """By custom_id."""
    results_url: str
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    canceled: datetime | None = None
    ended: datetime | None = None
    polls: int = 0
    answers: list[tuple[dict[str, Any], EntryT]] = field(default_factory=list)
    worker: threading.Thread = field(default_factory=threading.Thread)

    def shown(self) -> dict[str, Any]:
        kinds = [result["type"] for result in self.results()]
        counts = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
        unfinished = "in_progress" if self.canceled is None else "canceling"
        return {
            "id": self.identity,
            "type": "message_batch",
            "processing_status": "ended" if self.ended else unfinished,
            "request_counts": {"processing": len(self.requests) - len(kinds), **counts},
            "created_at": self.created.isoformat(),
            "expires_at": (self.created + _LIFE).isoformat(),
            "cancel_initiated_at": self.canceled and self.canceled.isoformat(),
            "ended_at": self.ended and self.ended.isoformat(),
            "archived_at": None,
            "results_url": self.results_url if self.ended else None,
        }

    def results(self) -> list[dict[str, Any]]:
        """One for each request, once the batch ended."""
        if self.ended is None:
            return []
        if self.canceled is not None:
            return [{"type": "canceled"} for _ in self.requests]
        return [result for result, _ in self.answers]


class Batches(Generic[EntryT]):
    """`polls`: the so many-th retrieve of a batch finds that it ended, if its answers are there by then.
    `answer`: number of the creating request, custom_id, request -> result, entry for the log."""

    def __init__(
        self, polls: int, answer: Callable[[int, str, Request], tuple[dict[str, Any], EntryT]]
    ) -> None:
        self._polls = polls
        self._answer = answer
        self._batches: dict[str, _Batch[EntryT]] = {}
        self._lock = threading.Lock()

    def create(self, body: dict[str, Any], number: int, url: str) -> dict[str, Any]:
        """`url`: under which the batch is found by its id."""
        requests = body.get("requests")
        if not isinstance(requests, list) or not requests:
            raise ApiError(400, "requests: at least one request is required")
        named: dict[str, Request] = {}
        for place, one in enumerate(requests):
            if not isinstance(one, dict) or not {"custom_id", "params"} <= one.keys():
                raise ApiError(400, f"requests.{place}: custom_id and params are required")
            if one["custom_id"] in named:
                raise ApiError(400, f"requests.{place}.custom_id: {one['custom_id']!r} is there twice")
            named[one["custom_id"]] = one["params"]
        identity = f"msgbatch_{number:08}"
        batch: _Batch[EntryT] = _Batch(identity, number, named, f"{url}/{identity}/results")
        batch.worker = threading.Thread(target=self._work, args=(batch,), daemon=True)
        with self._lock:
            self._batches[identity] = batch
        batch.worker.start()
        return batch.shown()

    def _work(self, batch: _Batch[EntryT]) -> None:
        for custom_id, request in batch.requests.items():
            batch.answers.append(self._answer(batch.number, custom_id, request))

    def retrieve(self, identity: str) -> tuple[dict[str, Any], list[EntryT]]:
        """The batch, and the entries of its answers when this is the call that finds it ended."""
        batch = self._find(identity)
        with self._lock:
            batch.polls += 1
            due = batch.polls >= self._polls
        if due and batch.canceled is None:
            batch.worker.join(_GRACE)
        with self._lock:
            over = due and not batch.worker.is_alive()
            if batch.ended or not (batch.canceled or over):
                return batch.shown(), []
            if batch.canceled is None and len(batch.answers) < len(batch.requests):
                raise ApiError(500, f"the script failed at a request of {identity}")
            batch.ended = datetime.now(UTC)
            return batch.shown(), [] if batch.canceled else [entry for _, entry in batch.answers]

    def results(self, identity: str) -> list[dict[str, Any]]:
        batch = self._find(identity)
        if batch.ended is None:
            raise ApiError(400, f"{identity} has not ended; its results are not there yet")
        names = zip(batch.requests, batch.results(), strict=True)
        return [{"custom_id": custom_id, "result": result} for custom_id, result in names]

    def cancel(self, identity: str) -> dict[str, Any]:
        """No request of it is answered any more, unless the batch ended already."""
        batch = self._find(identity)
        with self._lock:
            if batch.ended is None and batch.canceled is None:
                batch.canceled = datetime.now(UTC)
            return batch.shown()

    def _find(self, identity: str) -> _Batch[EntryT]:
        with self._lock:
            if identity in self._batches:
                return self._batches[identity]
        raise ApiError(404, f"no batch has the id {identity!r}")
