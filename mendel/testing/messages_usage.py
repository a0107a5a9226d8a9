"""Tokens of a request and what a prompt cache makes of them, counted as the Messages API counts.

The cache keeps the prefixes (tools, then system, then messages) that ended at a `cache_control` breakpoint. A
later request reads the longest kept prefix that ends at one of its own breakpoints, or at most `LOOKBACK`
blocks before it; what lies between there and its last breakpoint is written, the rest is plain input:
https://platform.claude.com/docs/en/build-with-claude/prompt-caching

Left out: one cache serves all API keys, and changes of `tool_choice` or `thinking` do not invalidate.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mendel.testing.messages_records import Answer, ApiError, Request, blocks, tokens

MAX_BREAKPOINTS = 4
LOOKBACK = 20
SECONDS = {"5m": 300.0, "1h": 3600.0}
"""`ttl` of a breakpoint -> how long its prefix is kept after its last use."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one answered request."""

    input_tokens: int
    """Neither read from the cache nor written to it."""
    cache_read_input_tokens: int
    written: dict[str, int]
    """`ttl` -> tokens written to the cache."""
    output_tokens: int
    thinking_tokens: int

    @property
    def cache_creation_input_tokens(self) -> int:
        return sum(self.written.values())

    def as_json(self, tier: str = "standard") -> dict[str, Any]:
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_creation_input_tokens,
            "cache_read_input_tokens": self.cache_read_input_tokens,
            "cache_creation": {f"ephemeral_{ttl}_input_tokens": n for ttl, n in self.written.items()},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"thinking_tokens": self.thinking_tokens},
            "service_tier": tier,
        }


@dataclass(frozen=True)
class _Prefix:
    """A request up to the end of one of its blocks."""

    digest: str
    tokens: int
    ttl: str | None
    """Set at a breakpoint."""


class PromptCache:
    """`minimum_tokens`: a shorter prefix is not cached, breakpoint or not. `clock`: seconds."""

    def __init__(self, minimum_tokens: int = 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._minimum = minimum_tokens
        self._clock = clock
        self._kept: dict[str, tuple[float, str]] = {}  # digest -> when it expires, its ttl
        self._lock = threading.Lock()

    def use(self, request: Request, answer: Answer) -> Usage:
        """Counts an answered request and keeps its prefixes."""
        prefixes = list(_prefixes(request))
        breaks = [
            place
            for place, prefix in enumerate(prefixes)
            if prefix.ttl is not None and prefix.tokens >= self._minimum
        ]
        with self._lock:
            hit = self._longest(prefixes, breaks)
            read = prefixes[hit].tokens if hit is not None else 0
            if hit is not None:
                self._keep(prefixes[hit].digest, self._kept[prefixes[hit].digest][1])
            covered, written = read, dict.fromkeys(SECONDS, 0)
            for place in breaks:
                end, ttl = prefixes[place].tokens, prefixes[place].ttl or "5m"
                written[ttl] += max(0, end - covered)
                covered = max(covered, end)
                self._keep(prefixes[place].digest, ttl)
        total = prefixes[-1].tokens
        return Usage(total - covered, read, written, answer.tokens(), answer.thinking_tokens())

    def _longest(self, prefixes: list[_Prefix], breaks: list[int]) -> int | None:
        """Place of the longest prefix that is still kept."""
        now = self._clock()
        near = {at for end in breaks for at in range(max(0, end - LOOKBACK), end + 1)}
        live = [at for at in near if self._kept.get(prefixes[at].digest, (now, ""))[0] > now]
        return max(live, default=None)

    def _keep(self, digest: str, ttl: str) -> None:
        self._kept[digest] = (self._clock() + SECONDS[ttl], ttl)


def input_tokens(request: Request) -> int:
    """All tokens of the input, cached or not."""
    return list(_prefixes(request))[-1].tokens


def check_breakpoints(request: Request) -> None:
    """ApiError 400 where there are too many breakpoints, or one of them has a `ttl` that does not exist."""
    ttls = [prefix.ttl for prefix in _prefixes(request) if prefix.ttl is not None]
    if len(ttls) > MAX_BREAKPOINTS:
        raise ApiError(
            400,
            f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(ttls)}.",
        )
    for ttl in ttls:
        if ttl not in SECONDS:
            raise ApiError(400, f"cache_control.ttl: {ttl!r} is not one of {', '.join(SECONDS)}")


def _prefixes(request: Request) -> Iterator[_Prefix]:
    parts = list(_parts(request))
    digest = json.dumps([request.get("model"), (request.get("output_config") or {}).get("format")])
    total = 0
    for place, (role, part) in enumerate(parts):
        mark = part.get("cache_control")
        if place == len(parts) - 1:  # a breakpoint of the whole request is one on its last block
            mark = mark or request.get("cache_control")
        bare = {key: value for key, value in part.items() if key != "cache_control"}
        digest = hashlib.sha256(f"{digest}{role}{json.dumps(bare)}".encode()).hexdigest()
        total += tokens(bare["text"] if bare.get("type") == "text" else json.dumps(bare))
        yield _Prefix(digest, total, mark.get("ttl", "5m") if mark else None)


def _parts(request: Request) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything a model reads, in the order in which it is cached."""
    yield from (("tools", tool) for tool in request.get("tools") or ())
    yield from (("system", block) for block in blocks(request.get("system")))
    for message in request["messages"]:
        yield from ((message["role"], block) for block in blocks(message["content"]))
