"""The desk: asks a seat, checks what comes back, and says why where nothing did.

    answer = desk.ask(FORECASTER, "2/forecast/0", context=context, question=question)

A question has two parts. `context` (the goal, the code) is the same for many questions and stands first, so
that the provider can cache it; `question` is what changes. Validation errors, and what `check` finds wrong,
are sent back at most twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pydantic_ai import Agent, ModelRetry, NativeOutput
from pydantic_ai.exceptions import (
    AgentRunError,
    ContentFilterError,
    ModelAPIError,
    ModelRequestRejectedError,
    OutputTokenLimitExceeded,
)
from pydantic_ai.models import Model
from pydantic_ai.settings import CacheConfig, ModelSettings
from pydantic_ai.usage import RequestUsage, UsageLimits

from mendel.researchers.book import Book, NoAnswer
from mendel.researchers.models import External, MakeModel, make_model
from mendel.researchers.recorded import Recorded
from mendel.researchers.seats import FORECASTER, SEATS, Given, Seat
from mendel.researchers.settings import EXTERNAL, Researchers

SENT_BACK = 2
"""Times that an answer is sent back with what is wrong with it."""
UNUSABLE = (ContentFilterError, OutputTokenLimitExceeded)
"""A refusal, or an answer that was cut off: the question is asked once more."""
ONCE_MORE = "\n\n(An earlier answer to this was empty or cut off. Answer once more, and shorter.)"
STEPS = 16
"""Most requests of one question, reading with tools included."""
LOOK = 0.2
"""Seconds between looks whether the user wants to stop."""


class Stopped(Exception):
    """The user wants to stop; what was answered is kept."""


class Desk:
    """The seats of one campaign. `stop` says whether the user wants to stop; `asking` is told the seat that
    is asked now. A context manager."""

    def __init__(
        self,
        settings: Researchers,
        book: Book,
        stop: Callable[[], bool] = lambda: False,
        make: MakeModel = make_model,
        asking: Callable[[str], None] = lambda seat: None,
    ) -> None:
        self.settings, self.book, self.stop, self._make = settings, book, stop, make
        self.asking = asking
        self._models: dict[str, Model] = {}
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def check(self) -> None:
        """Raise NoModel or UnknownPrice for a seat whose model cannot be asked, before anything is spent."""
        for seat in SEATS:
            number = 0
            while name := self.settings.model(seat.name, number):
                number += 1
                if name != EXTERNAL and not self.book.replay:
                    self._model(name)
                    self.book.dollars(name, RequestUsage())
                if seat is not FORECASTER:
                    break

    def takes(self, seat: Seat[Any], number: int = 0) -> bool:
        """Whether somebody sits there; of forecasters, whether there is one of this number."""
        return bool(self.settings.model(seat.name, number))

    def ask(
        self,
        seat: Seat[Given],
        task: str,
        *,
        context: str,
        question: str,
        idea: str | None = None,
        check: Callable[[Given], None] | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        number: int = 0,
        batched: bool = False,
    ) -> Given:
        """The answer of a seat. `task` is unique in the campaign; asked again, it is looked up.

        `check` raises ValueError with what is wrong. `batched`: nothing waits for it, so it is sent in a
        batch; asked again later, the same question finds its answer. Raises NoAnswer, Later, or Stopped.
        """
        self.asking(seat.name)
        name = self.settings.model(seat.name, number)
        agent = self._agent(seat, task, name, context, idea, check, tools, batched)
        try:
            try:
                return self._runner.run(self._asked(agent, question))
            except UNUSABLE:
                return self._runner.run(self._asked(agent, question + ONCE_MORE))
        except AgentRunError as error:
            words = f"{seat.name} ({name}): {type(error).__name__}: {str(error)[:300]}"
            none = NoAnswer(words)
            none.down = isinstance(error, ModelAPIError) and not isinstance(error, ModelRequestRejectedError)
            raise none from error

    def _agent(
        self,
        seat: Seat[Given],
        task: str,
        name: str,
        context: str,
        idea: str | None,
        check: Callable[[Given], None] | None,
        tools: Sequence[Callable[..., Any]],
        batched: bool,
    ) -> Agent[None, Given]:
        patience = self.settings.patience
        model = self._model(name)
        batched = batched and model.batch_max_requests is not None
        recorded = Recorded(
            model, name, self.book, task=task, seat=seat, idea=idea, patience=patience, batched=batched
        )
        native = model.profile.get("supports_json_schema_output") or isinstance(model, External)
        # The context comes back within minutes for the next idea, and within a round for the next seat.
        cache = CacheConfig(retention="1h", messages=bool(tools))
        # An announcement in front of the prompt, once an answer is sent back, would make it another prefix.
        settings = ModelSettings(max_tokens=seat.most_tokens, cache=cache, framing_announcement="never")
        agent: Agent[None, Given] = Agent(
            recorded,
            output_type=NativeOutput(seat.answer) if native else seat.answer,
            instructions=f"{seat.prompt.text}\n\n{context}",
            deps_type=type(None),
            model_settings=settings,
            retries={"tools": SENT_BACK, "output": SENT_BACK},
            tools=list(tools),
        )
        if check is not None:

            @agent.output_validator
            def checked(answer: Given) -> Given:
                try:
                    check(answer)
                except ValueError as error:
                    raise ModelRetry(str(error)) from None
                return answer

        return agent

    async def _asked(self, agent: Agent[None, Given], question: str) -> Given:
        limits = UsageLimits(request_limit=STEPS)
        asking = asyncio.ensure_future(agent.run(question, usage_limits=limits))
        while not asking.done():
            await asyncio.wait([asking], timeout=LOOK)
            if self.stop() and not asking.done():
                asking.cancel()
                await asyncio.wait([asking])
                raise Stopped
        return asking.result().output

    def _model(self, name: str) -> Model:
        if name == EXTERNAL or self.book.replay:
            return External(self.settings.patience)
        if name not in self._models:
            self._models[name] = self._make(name)
        return self._models[name]
