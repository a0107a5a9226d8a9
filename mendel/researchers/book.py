"""The book: every request to a model with its answer and price; what was asked before is looked up, not paid.

It holds the limits, too. A request counts with the most dollars that it may cost from before it is sent until
its answer is there, so that a limit holds for what is in flight; a request that was lost with its process
goes on counting so, because it may have been paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from genai_prices import calc_price
from pydantic_ai.messages import ModelResponse
from pydantic_ai.usage import RequestUsage

from mendel.researchers.settings import Limit, Limits, Price
from mendel.store import CallState, Store, Usage

CHARACTERS = 3
"""Of a token at least, in what is expected of a request."""
MILLION = 1e6


class NoAnswer(Exception):
    """A seat gave no answer that can be used: the provider is down, the answer is wrong to the last, or a
    limit is reached. The lab goes on without it."""

    down = False
    """Whether the provider could not be reached: the same question may be asked again."""


class SpendLimit(NoAnswer):
    """What may be spent is spent. `scope` is campaign, day, idea or seat."""

    def __init__(self, scope: str, words: str) -> None:
        super().__init__(words)
        self.scope = scope


class Later(NoAnswer):
    """The question is in a batch, whose answers come within a day: ask again then."""


class UnknownPrice(ValueError):
    """A model whose price nobody knows: its spending could not be limited."""


@dataclass(frozen=True)
class Asked:
    """One request: its hash, what it is part of, and what is kept of it to be read."""

    id: str
    task: str
    step: int
    seat: str
    idea: str | None
    model: str
    """As in the settings: `provider:model`."""
    request: Any
    characters: int
    most_tokens: int


@dataclass
class Book:
    """Of one campaign."""

    store: Store
    campaign: str
    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=dict)
    replay: str = ""
    """Id of a campaign whose answers are given again; nothing is paid then."""

    def known(self, asked: Asked) -> Any | None:
        """The answer that this campaign has paid for, or that a replayed one has in the same place."""
        call = self.store.call(self.campaign, asked.id)
        if call is not None and call.state is CallState.ANSWERED:
            return call.answer
        if not self.replay:
            return None
        before = self.store.call(self.replay, asked.id)
        found = [before] if before is not None else self._in_place(asked)
        if not found or found[0].state is not CallState.ANSWERED:
            raise NoAnswer(
                f"the transcript of {self.replay} has no answer to step {asked.step} of {asked.task}"
            )
        self._begin(asked, 0.0)
        self.store.answer_call(self.campaign, asked.id, found[0].answer, Usage())
        return found[0].answer

    def begin(self, asked: Asked, share: float = 1.0) -> None:
        """Note that a request goes out, for `share` of its price. Raises SpendLimit where it could pass a
        limit."""
        if asked.model == "external":
            self._begin(asked, 0.0)
            return
        tokens = asked.characters // CHARACTERS
        wrote = RequestUsage(output_tokens=asked.most_tokens, input_tokens=tokens)
        # What is put into the provider's cache for an hour is dearer than what is only read.
        cached = RequestUsage(
            output_tokens=asked.most_tokens,
            input_tokens=tokens,
            cache_write_tokens=tokens,
            cache_write_1h_tokens=tokens,
        )
        expected = share * max(self.dollars(asked.model, wrote), self.dollars(asked.model, cached))
        self._hold(asked, expected)
        self._begin(asked, expected)

    def answered(
        self, asked: Asked, answer: Any, response: ModelResponse, seconds: float, share: float = 1.0
    ) -> None:
        """Keep an answer and what it cost: `share` of the price, for that of a batch is lower."""
        used = response.usage
        usage = Usage(
            input_tokens=used.input_tokens,
            cached_tokens=used.cache_read_tokens,
            written_tokens=used.cache_write_tokens,
            output_tokens=used.output_tokens,
            dollars=0.0 if asked.model == "external" else share * self.dollars(asked.model, used),
            seconds=seconds,
        )
        self.store.answer_call(self.campaign, asked.id, answer, usage)

    def batch(self, asked: Asked) -> Any | None:
        """The handle of the batch that a question was sent in; None if it was sent in none."""
        return self.store.decision(self.campaign, self._batch_key(asked))

    def sent(self, asked: Asked, handle: Any) -> None:
        """Keep the handle of a batch."""
        self.store.decide(self.campaign, self._batch_key(asked), handle)

    def _batch_key(self, asked: Asked) -> str:
        """A question whose batch came to nothing is sent in another."""
        call = self.store.call(self.campaign, asked.id)
        failed = call is None or call.state is CallState.FAILED
        attempts = (0 if call is None else call.attempts) + failed
        return f"batch/{asked.id}/{attempts}"

    def failed(self, asked: Asked, error: str) -> None:
        """No answer came; whether its provider bills it all the same is not known here."""
        self.store.fail_call(self.campaign, asked.id, error[:500])

    def dollars(self, model: str, usage: RequestUsage) -> float:
        """What usage of a model costs: by the user's price list, or the library's. Raises UnknownPrice."""
        provider, _, name = model.partition(":")
        if own := self.prices.get(name):
            fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
            parts = (
                (fresh, own.input),
                (usage.cache_read_tokens, own.cached),
                (usage.cache_write_tokens, own.written),
                (usage.output_tokens, own.output),
            )
            return sum(tokens * price for tokens, price in parts) / MILLION
        try:
            return float(calc_price(usage, name, provider_id=provider).total_price)
        except LookupError:
            raise UnknownPrice(
                f"model {model!r}: its price is not known; give it in [researchers.prices.{name!r}] as "
                "input, output, cached and written, US dollars for a million tokens"
            ) from None

    def _begin(self, asked: Asked, expected: float) -> None:
        self.store.begin_call(
            self.campaign,
            asked.id,
            task=asked.task,
            step=asked.step,
            seat=asked.seat,
            idea=asked.idea,
            model=asked.model,
            request=asked.request,
            expected=expected,
        )

    def _hold(self, asked: Asked, expected: float) -> None:
        """Raise SpendLimit if a request that costs so much could pass a limit."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        scopes: list[tuple[str, Limit, Usage]] = [
            ("campaign", self.limits.campaign, self.store.usage(self.campaign)),
            ("day", self.limits.day, self.store.usage(since=today)),
            ("seat", self.limits.seat, self.store.usage(self.campaign, seat=asked.seat)),
        ]
        if asked.idea is not None:
            scopes.append(("idea", self.limits.idea, self.store.usage(self.campaign, idea=asked.idea)))
        for scope, limit, used in scopes:
            tokens = used.input_tokens + used.output_tokens
            words = f"{asked.seat}: the limit of the {scope} is reached"
            if limit.usd is not None and used.dollars + expected > limit.usd:
                spent = f"{used.dollars:.2f} dollars of {limit.usd:g} are spent or in flight"
                raise SpendLimit(scope, f"{words}: {spent}, the next request may cost {expected:.2f}")
            if limit.tokens is not None and tokens >= limit.tokens:
                raise SpendLimit(scope, f"{words}: {tokens:,} of {limit.tokens:,} tokens")
            if limit.seconds is not None and used.seconds >= limit.seconds:
                raise SpendLimit(scope, f"{words}: {used.seconds:.0f} of {limit.seconds:g} seconds")

    def _in_place(self, asked: Asked) -> list[Any]:
        return [one for one in self.store.calls(self.replay, task=asked.task) if one.step == asked.step]
