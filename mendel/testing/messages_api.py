"""What a loopback Messages API does with a request, apart from the connection it comes over.

Every request is logged with what became of it, so that a test can say: nothing was paid twice.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mendel.testing.messages_batches import Batches
from mendel.testing.messages_faults import (
    ANSWERS,
    RETURNED,
    Fault,
    Faults,
    Schedule,
    fault_at,
    raise_error,
    spoilt,
)
from mendel.testing.messages_records import Answer, ApiError, Request, blocks, events, key_of, message
from mendel.testing.messages_scripts import Script
from mendel.testing.messages_usage import PromptCache, Usage, check_breakpoints, input_tokens

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
BATCHES = "/v1/messages/batches"
ROLES = ("user", "assistant", "system")


class Headers(Protocol):
    """Of a request; `get` does not mind the case of a name."""

    def get(self, name: str) -> str | None: ...


@dataclass(frozen=True)
class Entry:
    """A request and what became of it; a batch has one for itself and, once it ended, one for each answer."""

    number: int
    path: str
    key: str
    """The same for requests that ask the same."""
    status: int = 0
    """HTTP status; 0 where none was sent."""
    fault: str = ""
    """Kind of the injected fault; `client_gone` where the client did not wait."""
    usage: Usage | None = None
    paid: bool = False
    """Answered with a whole message that can be read. (The real API may bill one that was cut on its way.)"""
    custom_id: str = ""
    """Of a request in a batch."""
    request: Request = field(default_factory=dict, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Without what was asked."""
        usage = self.usage and self.usage.as_json()
        row = {name: value for name, value in vars(self).items() if name != "request"}
        return {**row, "usage": usage}


def paid_twice(log: Iterable[Entry]) -> list[str]:
    """Keys of requests whose answers were paid more than once."""
    counts = Counter(entry.key for entry in log if entry.paid)
    return sorted(key for key, count in counts.items() if count > 1)


@dataclass(frozen=True)
class Reply:
    """What is to be sent for a request, and the entry that says so."""

    entry: Entry
    body: dict[str, Any] | list[dict[str, Any]] = field(default_factory=dict)
    """A list is sent as lines of JSON, or as events where it streams."""
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Answer | None = None
    """What the script said."""


class Api:
    """`batch_polls`: the so many-th retrieve of a batch finds that it ended."""

    def __init__(
        self,
        script: Script,
        faults: Faults = (),
        *,
        batch_polls: int = 1,
        cache_minimum_tokens: int = 1024,
    ) -> None:
        self.log: list[Entry] = []
        self._script = script
        self._faults = faults
        self._cache = PromptCache(cache_minimum_tokens)
        self._batches = Batches(batch_polls, self._batched)
        self._lock = threading.Lock()
        self._requests = 0
        self._sent: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._undelivered: dict[str, Answer] = {}  # by key

    def reply(self, method: str, path: str, headers: Headers, body: bytes, url: str) -> Reply:
        """`url`: where this server is reached."""
        request, problem = _parsed(body)
        key = key_of({"method": method, "path": path, **request} if path != MESSAGES else request)
        with self._lock:
            self._requests += 1
            entry = Entry(self._requests, path, key, request=request)
            fault = fault_at(self._faults, entry.number, key, self._sent[key])
            self._sent[key] += 1
        try:
            if fault is not None and fault.kind not in ANSWERS:
                entry = replace(entry, fault=fault.kind)
                raise_error(fault)
                if fault.kind == "drop":
                    return Reply(entry)
                if fault.kind == "slow":
                    time.sleep(fault.seconds)
            _check_headers(headers)
            if problem:
                raise ApiError(400, problem)
            if (method, path) == ("POST", MESSAGES):
                return self._message(request, replace(entry, status=200), fault)
            return Reply(replace(entry, status=200), self._other(method, path, request, entry.number, url))
        except ApiError as error:
            entry = replace(entry, status=error.status)
            return Reply(entry, error.body(request_id(entry.number)), headers=error.headers)

    def _other(
        self, method: str, path: str, request: Request, number: int, url: str
    ) -> dict[str, Any] | list[dict[str, Any]]:
        if (method, path) == ("POST", COUNT):
            check(request, {"model", "messages"})
            return {"input_tokens": input_tokens(request)}
        if (method, path) == ("POST", BATCHES):
            return self._batches.create(request, number, f"{url}{BATCHES}")
        if path.startswith(BATCHES + "/"):
            identity, _, action = path.removeprefix(BATCHES + "/").partition("/")
            if (method, action) == ("GET", ""):
                shown, entries = self._batches.retrieve(identity)
                for entry in entries:
                    self.record(entry)
                return shown
            if (method, action) == ("GET", "results"):
                return self._batches.results(identity)
            if (method, action) == ("POST", "cancel"):
                return self._batches.cancel(identity)
        raise ApiError(404, f"{method} {path} is not served here")

    def _message(self, request: Request, entry: Entry, fault: Fault | None) -> Reply:
        check(request, {"model", "messages", "max_tokens"})
        with self._lock:
            kept = self._undelivered.pop(entry.key, None)
        said = kept or self._script.answer(request)
        answer, entry = _spoilt(said, request, entry, fault)
        whole, usage = self._composed(request, answer, entry.key, "standard")
        entry = replace(entry, usage=usage, paid=entry.fault not in ("cut", "malformed"))
        stream = bool(request.get("stream"))
        return Reply(entry, list(events(whole)) if stream else whole, stream, answer=said)

    def keep(self, reply: Reply) -> None:
        """Keeps an answer that did not reach its client, for when it asks again: a person who answered is not
        asked twice."""
        key, number = reply.entry.key, reply.entry.number
        with self._lock:
            later = any(one.paid and one.key == key and one.number > number for one in self.log)
            if reply.answer is not None and not later:
                self._undelivered[key] = reply.answer

    def _batched(self, number: int, custom_id: str, request: Request) -> tuple[dict[str, Any], Entry]:
        """The result of one request of a batch, and its entry."""
        entry = Entry(number, BATCHES, key_of(request), 200, custom_id=custom_id, request=request)
        with self._lock:  # a list names requests by their numbers, which those of a batch do not have
            scheduled = self._faults if isinstance(self._faults, Schedule) else ()
            fault = fault_at(scheduled, number, entry.key, self._sent[entry.key])
            self._sent[entry.key] += 1
        try:
            if fault is not None and fault.kind in RETURNED:
                entry = replace(entry, fault=fault.kind)
                raise_error(fault)
            check(request, {"model", "messages", "max_tokens"})
            answer, entry = _spoilt(self._script.answer(request), request, entry, fault)
            whole, usage = self._composed(request, answer, entry.key, "batch")
        except ApiError as error:
            result = {"type": "errored", "error": error.body(request_id(number))}
            return result, replace(entry, status=error.status)
        return {"type": "succeeded", "message": whole}, replace(entry, usage=usage, paid=True)

    def _composed(
        self, request: Request, answer: Answer, key: str, tier: str
    ) -> tuple[dict[str, Any], Usage]:
        answer = answer.truncated(request["max_tokens"])
        usage = self._cache.use(request, answer)
        with self._lock:
            identity = f"{key}{self._answered[key]:02}"
            self._answered[key] += 1
        return message(request, answer, usage.as_json(tier), identity), usage

    def record(self, entry: Entry) -> None:
        """Logs what became of a request; a second time for the same one corrects it."""
        names = (entry.number, entry.custom_id)
        with self._lock:
            if entry.paid:
                self._undelivered.pop(entry.key, None)
            kept = [(one.number, one.custom_id) for one in self.log]
            if names in kept:
                self.log[kept.index(names)] = entry
            else:
                self.log.append(entry)


def request_id(number: int) -> str:
    return f"req_{number:08}"


def check(request: Request, needed: set[str]) -> None:
    """ApiError 400 that names the first key that the API would refuse."""
    for key in sorted(needed - request.keys()):
        raise ApiError(400, f"{key}: Field required")
    limit = request.get("max_tokens", 1)
    if not isinstance(limit, int) or limit < 1:
        raise ApiError(400, f"max_tokens: must be a whole number above 0 (found {limit!r})")
    if not isinstance(request["messages"], list) or not request["messages"]:
        raise ApiError(400, "messages: at least one message is required")
    for place, one in enumerate(request["messages"]):
        if not isinstance(one, dict) or one.get("role") not in ROLES:
            raise ApiError(400, f"messages.{place}.role: must be one of {', '.join(ROLES)}")
        if not blocks(one.get("content")):
            raise ApiError(400, f"messages.{place}.content: must not be empty")
    check_breakpoints(request)


def _spoilt(answer: Answer, request: Request, entry: Entry, fault: Fault | None) -> tuple[Answer, Entry]:
    """With a fault of what was said; one that spoils nothing did not happen."""
    if fault is None or fault.kind not in ANSWERS:
        return answer, entry
    changed = spoilt(answer, request, fault.kind)
    return changed, replace(entry, fault="" if changed == answer else fault.kind)


def _check_headers(headers: Headers) -> None:
    if not (headers.get("x-api-key") or headers.get("authorization")):
        raise ApiError(401, "x-api-key header is required")
    if not headers.get("anthropic-version"):
        raise ApiError(400, "anthropic-version: header is required")


def _parsed(body: bytes) -> tuple[Request, str]:
    """The JSON object of a request, empty where there is none, and what is wrong with it."""
    if not body:
        return {}, ""
    try:
        request = json.loads(body)
    except ValueError as error:
        return {}, f"the request body is not valid JSON: {error}"
    return (request, "") if isinstance(request, dict) else ({}, "the request body is not a JSON object")
