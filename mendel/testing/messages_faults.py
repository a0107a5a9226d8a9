"""What goes wrong on purpose between a client and a loopback Messages API.

Either a list of faults, each at the number of a request, or a seeded schedule.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from mendel.testing.messages_records import Answer, ApiError, Request, Text, ToolUse, output_schema

Kind: TypeAlias = Literal[
    "rate_limit",  # 429, with `seconds` as its retry-after
    "overloaded",  # 529
    "server_error",  # 500
    "drop",  # the connection is cut before the answer
    "cut",  # the connection is cut in the middle of the answer
    "malformed",  # the answer's JSON, or that of an event of its stream, cannot be read
    "broken_schema",  # structured output, or a tool's input, misses a key that its schema requires
    "truncated",  # half of the answer, stop reason max_tokens
    "refusal",  # an empty answer, stop reason refusal
    "slow",  # the answer comes `seconds` later
]
KINDS: tuple[Kind, ...] = get_args(Kind)
RETRIED: tuple[Kind, ...] = ("rate_limit", "overloaded", "server_error", "drop")
"""What a client gets over by itself."""
RETURNED: tuple[Kind, ...] = ("rate_limit", "overloaded", "server_error")
"""An error that the API answers with."""
ANSWERS: tuple[Kind, ...] = ("broken_schema", "truncated", "refusal")
"""Faults of what was said: they happen to requests for a message only."""


class Fault(BaseModel):
    """One fault, at one request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    at: int = Field(ge=1)
    """Number of the request; the first one is 1. Every request counts, except for GET /health."""
    seconds: float = Field(default=1.0, ge=0)
    """Delay of a slow answer, or the retry-after of a rate limit."""


class Schedule(BaseModel):
    """Faults drawn from a seed, for each request and each time it is sent: the order in which requests arrive
    changes nothing. The requests of a batch meet those of `RETURNED` and `ANSWERS` too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    rate: float = Field(ge=0, le=1)
    """Share of requests that meet a fault."""
    kinds: tuple[Kind, ...] = Field(default=RETRIED, min_length=1)
    most: int = Field(default=2, ge=1)
    """Faults that one request meets at most: the default is as often as a client tries again by itself."""
    seconds: float = Field(default=0.01, ge=0)

    def at(self, number: int, key: str, sent: int) -> Fault | None:
        """`sent`: how often the request with that key was sent before."""
        draw = random.Random(f"{self.seed}:{key}:{sent}")
        if sent >= self.most or draw.random() >= self.rate:
            return None
        return Fault(kind=draw.choice(self.kinds), at=number, seconds=self.seconds)


Faults: TypeAlias = Sequence[Fault] | Schedule


def fault_at(faults: Faults, number: int, key: str, sent: int) -> Fault | None:
    if isinstance(faults, Schedule):
        return faults.at(number, key, sent)
    return next((fault for fault in faults if fault.at == number), None)


def raise_error(fault: Fault) -> None:
    """ApiError for the faults that are an answer of the API."""
    if fault.kind == "rate_limit":
        wait = {"retry-after": f"{fault.seconds:g}"}
        raise ApiError(429, "This request would exceed your account's rate limit (injected).", wait)
    if fault.kind == "overloaded":
        raise ApiError(529, "Overloaded (injected)")
    if fault.kind == "server_error":
        raise ApiError(500, "Internal server error (injected)")


def spoilt(answer: Answer, request: Request, kind: Kind) -> Answer:
    """The answer with a fault of `ANSWERS`; itself where there is nothing to spoil."""
    if kind == "refusal":
        return Answer(content=(), stop_reason="refusal")
    if kind == "truncated":
        return answer.truncated(answer.tokens() // 2)
    content = list(answer.content)
    for place, block in enumerate(content):
        if isinstance(block, ToolUse):
            content[place] = ToolUse(name=block.name, input=_without_one(block.input, _tool(request, block)))
        elif isinstance(block, Text) and isinstance(value := _parsed(block.text), dict):
            content[place] = Text(text=json.dumps(_without_one(value, output_schema(request))))
    return Answer(content=tuple(content), stop_reason=answer.stop_reason)


def _without_one(value: dict[str, Any], schema: dict[str, Any] | None) -> dict[str, Any]:
    """Without the first key that is required; where no schema is known, without the first one."""
    required = list(value) if schema is None else schema.get("required", [])
    lost = next((key for key in value if key in required), None)
    return {key: one for key, one in value.items() if key != lost}


def _tool(request: Request, block: ToolUse) -> dict[str, Any] | None:
    schemas: dict[str, dict[str, Any] | None]
    schemas = {tool["name"]: tool.get("input_schema") for tool in request.get("tools") or ()}
    return schemas.get(block.name)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
