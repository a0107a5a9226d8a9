"""A model whose requests go through the book: looked up, limited, kept.

The key of a request is what is asked and of whom, and not when: a campaign that is killed in the middle of a
conversation finds its first steps answered and goes on with the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.exceptions import ModelAPIError, ModelRequestRejectedError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.batch import Batch, BatchRequest
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from mendel.records import content_hash
from mendel.researchers.book import Asked, Book, Later
from mendel.researchers.models import External, as_kept, restored
from mendel.researchers.seats import Seat

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds before a provider that failed is asked again: doubled each time, up to the longest."""
BATCH_PRICE = 0.5
"""What a batch costs over the same questions asked at once."""
BATCH = TypeAdapter(Batch)
KEPT = ("part_kind", "content", "tool_name", "args")
"""Of a part of a message: what was said. Times, ids and usage are no part of a question."""


class Recorded(WrapperModel):
    """`model` for one task of one seat. `patience`: seconds for which a failing provider is asked again."""

    def __init__(
        self,
        model: Model,
        name: str,
        book: Book,
        *,
        task: str,
        seat: Seat[Any],
        idea: str | None,
        patience: float,
        batched: bool = False,
    ) -> None:
        super().__init__(model)
        self.name, self.book, self.patience, self.batched = name, book, patience, batched
        self.task, self.seat, self.idea = task, seat, idea

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        asked = self._asked(messages, model_settings or {}, model_request_parameters)
        answer = self.book.known(asked)
        if answer is not None:
            return restored(answer)
        if isinstance(self.wrapped, External):
            self.wrapped.find = lambda: self.book.known(asked)
        if self.batched:
            return await self._from_batch(asked, messages, model_settings, model_request_parameters)
        begun = time.monotonic()
        wait = FIRST_WAIT
        while True:
            self.book.begin(asked)
            try:
                response = await self.wrapped.request(messages, model_settings, model_request_parameters)
                break
            except (ModelAPIError, ValueError) as error:  # ValueError: a body that cannot be read
                self.book.failed(asked, f"{type(error).__name__}: {error}")
                out_of_patience = time.monotonic() - begun + wait > self.patience
                if isinstance(error, ModelRequestRejectedError) or out_of_patience:
                    if isinstance(error, ValueError):
                        raise ModelAPIError(
                            self.model_name, f"an answer that cannot be read: {error}"
                        ) from error
                    raise
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        self.book.answered(asked, as_kept(response), response, time.monotonic() - begun)
        return response

    async def _from_batch(
        self,
        asked: Asked,
        messages: list[ModelMessage],
        settings: ModelSettings | None,
        parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The answer out of a batch, which is sent where it was not yet. Raises Later until it has ended."""
        request = BatchRequest(
            custom_id=asked.id,
            messages=messages,
            model_settings=settings,
            model_request_parameters=parameters,
        )
        handle = self.book.batch(asked)
        if handle is None:
            self.book.begin(asked, BATCH_PRICE)
            try:
                batch = await self.wrapped.batch_create([await self.wrapped.batch_encode(request)])
            except ModelAPIError as error:
                self.book.failed(asked, f"batch: {error}")
                raise
            self.book.sent(asked, BATCH.dump_python(batch, mode="json"))
            raise Later(f"{asked.task}: sent in a batch")
        batch = await self.wrapped.batch_status(BATCH.validate_python(handle))
        if batch.status != "ended":
            raise Later(f"{asked.task}: its batch has not ended")
        (result,) = await self.wrapped.batch_results(batch)
        try:
            response = self.wrapped.batch_decode(result, request)
        except ModelAPIError as error:
            self.book.failed(asked, f"batch: {error}")
            raise
        self.book.answered(asked, as_kept(response), response, 0.0, BATCH_PRICE)
        return response

    def _asked(
        self, messages: Sequence[ModelMessage], settings: ModelSettings, parameters: ModelRequestParameters
    ) -> Asked:
        told = [_said(one) for one in ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")]
        steps = [place for place, one in enumerate(told) if one["kind"] == "response"]
        schema = parameters.output_object
        asks = {
            "prompt": self.seat.prompt.version,
            "instructions": told[0].get("instructions"),
            "answer": None if schema is None else schema.json_schema,
            "tools": [tool.name for tool in parameters.function_tools],
        }
        whole = {**asks, "model": self.name, "messages": told, "seat": self.seat.name, "task": self.task}
        # Of a conversation that goes on, what is new: the rest stands in its earlier steps.
        new = told[steps[-1] + 1 :] if steps else told
        return Asked(
            id=content_hash(whole, 24),
            task=self.task,
            step=len(steps),
            seat=self.seat.name,
            idea=self.idea,
            model=self.name,
            request={**(asks if not steps else {}), "messages": new},
            characters=len(str(whole)),
            most_tokens=settings.get("max_tokens", 0),
        )


def _said(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a message says."""
    parts = [{key: part[key] for key in KEPT if part.get(key) is not None} for part in message["parts"]]
    said = {"kind": message["kind"], "parts": parts}
    if message.get("instructions"):
        said["instructions"] = message["instructions"]
    return said
