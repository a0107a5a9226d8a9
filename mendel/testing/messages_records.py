"""What a loopback Messages API is asked and what it answers, as small records.

A request stays the JSON object that came over the wire; the functions here read out of it what a script
decides by. An `Answer` is what a model would say; `message` and `events` put it into the API's own form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

CHARACTERS_PER_TOKEN = 4
"""Tokens are counted as characters over this, rounded up: near enough for English text and JSON."""
PIECE = 24
"""Characters in one delta of a stream."""

Request: TypeAlias = dict[str, Any]
StopReason: TypeAlias = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"
]

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""HTTP status -> `error.type`, as the API's documentation pairs them."""


class ApiError(Exception):
    """An answer that is an error. `status` is one of `ERROR_TYPES`; a script may raise it too."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> dict[str, Any]:
        error = {"type": ERROR_TYPES[self.status], "message": str(self)}
        return {"type": "error", "error": error, "request_id": request_id}


# --- answers ---------------------------------------------------------------------------------------------


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True)  # other keys are ignored: blocks of a real answer can be pasted


class Text(_Block):
    type: Literal["text"] = "text"
    text: str


class Thinking(_Block):
    type: Literal["thinking"] = "thinking"
    thinking: str


class ToolUse(_Block):
    type: Literal["tool_use"] = "tool_use"
    name: str
    input: dict[str, Any]


Block: TypeAlias = Annotated[Text | Thinking | ToolUse, Field(discriminator="type")]


class Answer(BaseModel):
    """What a model says in one turn. In JSON also short: `"text"`, `{"content": "text"}`, or
    `{"output": {...}}` for structured output, which is text that holds JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: tuple[Block, ...]
    stop_reason: StopReason | None = None
    """None: `tool_use` where a tool is called, else `end_turn`."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"content": [{"type": "text", "text": given}]}
        if not isinstance(given, dict):
            return given
        if "output" in given and "content" not in given:
            rest = {key: value for key, value in given.items() if key != "output"}
            return {"content": [{"type": "text", "text": json.dumps(given["output"])}], **rest}
        if isinstance(given.get("content"), str):
            return {**given, "content": [{"type": "text", "text": given["content"]}]}
        return given

    @classmethod
    def text(cls, text: str) -> Answer:
        return cls(content=(Text(text=text),))

    @classmethod
    def output(cls, value: Any) -> Answer:
        """Structured output: a value that JSON can hold."""
        return cls.text(json.dumps(value))

    @classmethod
    def call(cls, tool: str, **arguments: Any) -> Answer:
        return cls(content=(ToolUse(name=tool, input=arguments),))

    @property
    def reason(self) -> StopReason:
        calls = any(isinstance(block, ToolUse) for block in self.content)
        return self.stop_reason or ("tool_use" if calls else "end_turn")

    def tokens(self) -> int:
        return sum(tokens(written(block)) for block in self.content)

    def thinking_tokens(self) -> int:
        return sum(tokens(written(block)) for block in self.content if isinstance(block, Thinking))

    def truncated(self, limit: int) -> Answer:
        """The answer as far as `limit` output tokens reach; itself if it is no longer."""
        if self.tokens() <= limit:
            return self
        left, kept = limit * CHARACTERS_PER_TOKEN, []
        for block in self.content:
            if left <= 0:
                break
            kept.append(_shortened(block, left))
            left -= len(written(block))
        return Answer(content=tuple(kept), stop_reason="max_tokens")


def written(block: Text | Thinking | ToolUse) -> str:
    """What a model wrote to give this block."""
    if isinstance(block, Text):
        return block.text
    return block.thinking if isinstance(block, Thinking) else json.dumps(block.input)


def _shortened(block: Text | Thinking | ToolUse, limit: int) -> Text | Thinking | ToolUse:
    if len(written(block)) <= limit:
        return block
    if isinstance(block, Text):
        return Text(text=block.text[:limit])
    if isinstance(block, Thinking):
        return Thinking(thinking=block.thinking[:limit])
    whole = list(block.input.items())[:-1]  # arguments come one by one, the last one is lost
    return ToolUse(name=block.name, input=dict(whole))


# --- requests --------------------------------------------------------------------------------------------


def tokens(text: str) -> int:
    """Approximate number of tokens."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def key_of(request: Request) -> str:
    """The same for two requests that ask the same, streamed or not."""
    asked = {key: value for key, value in request.items() if key != "stream"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def blocks(content: object) -> list[dict[str, Any]]:
    """Content in its long form: a bare string is one text block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def text_of(content: object) -> str:
    """The text in it, that of tool results too."""
    return "\n".join(
        block["text"] if block.get("type") == "text" else text_of(block.get("content"))
        for block in blocks(content)
        if block.get("type") in ("text", "tool_result")
    )


def system_text(request: Request) -> str:
    return text_of(request.get("system"))


def last_user_text(request: Request) -> str:
    """Of the last message of the user, whose tool results count as text."""
    said = [message["content"] for message in request["messages"] if message["role"] == "user"]
    return text_of(said[-1]) if said else ""


def tool_names(request: Request) -> tuple[str, ...]:
    return tuple(str(tool.get("name", "")) for tool in request.get("tools") or ())


def turn(request: Request) -> int:
    """Answers of the model that the conversation holds already; 0 for its first question."""
    return sum(message["role"] == "assistant" for message in request["messages"])


def output_schema(request: Request) -> dict[str, Any] | None:
    """JSON schema that the answer's text must follow; None where any text will do."""
    form = (request.get("output_config") or {}).get("format") or {}
    return form.get("schema")


# --- the API's own form ----------------------------------------------------------------------------------


def message(request: Request, answer: Answer, usage: dict[str, Any], identity: str) -> dict[str, Any]:
    """A whole answer. The same `identity` gives the same ids, so that a conversation can be repeated."""
    content = []
    for place, block in enumerate(answer.content):
        one = block.model_dump()
        if isinstance(block, Text):
            one["citations"] = None
        elif isinstance(block, Thinking):
            one["signature"] = f"loopback-{identity}-{place}"
        else:
            one["id"] = f"toolu_{identity}{place}"
        content.append(one)
    refused = {"type": "refusal", "category": None, "explanation": "declined by the loopback server"}
    return {
        "id": f"msg_{identity}",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": content,
        "stop_reason": answer.reason,
        "stop_sequence": None,
        "stop_details": refused if answer.reason == "refusal" else None,
        "usage": usage,
    }


def events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same answer as a stream: the events in their order."""
    usage = message["usage"]
    start: dict[str, Any] = {
        "content": [],
        "stop_reason": None,
        "stop_details": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": {**message, **start}}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        empty, deltas = _as_deltas(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}
    counts = {key: value for key, value in usage.items() if key.endswith(("_tokens", "_details"))}
    yield {"type": "message_delta", "delta": ended, "usage": counts}
    yield {"type": "message_stop"}


def _as_deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The block before anything was written, and what is written to it."""
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
        return {**block, "text": ""}, deltas
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    written = ["", *_pieces(json.dumps(block["input"]))]
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in written]
    return {**block, "input": {}}, deltas


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
