"""From the name of a model to the model: any provider of pydantic-ai, or whoever works through the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pydantic_ai.exceptions import ModelConnectionError, UserError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, TextPart
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.settings import ModelSettings

from mendel.researchers.settings import EXTERNAL

MakeModel = Callable[[str], Model]
POLL = 0.5
"""Seconds between looks for an external answer."""


class NoModel(ValueError):
    """A model that cannot be asked: its name is unknown, or its key is missing."""


def make_model(name: str) -> Model:
    """The model of a name such as `anthropic:claude-haiku-5-5`. Raises NoModel."""
    try:
        return infer_model(name)
    except (UserError, ImportError) as error:
        why = str(error).split("\n")[0]
        raise NoModel(f"researchers: model {name!r}: {why}") from None
    except ValueError as error:
        raise NoModel(f"researchers: model {name!r}: {error}; allowed are provider:model") from None


def as_kept(response: ModelResponse) -> Any:
    """An answer as the book keeps it."""
    (kept,) = ModelMessagesTypeAdapter.dump_python([response], mode="json")
    return kept


def restored(answer: Any) -> ModelResponse:
    """An answer that the book kept."""
    (found,) = ModelMessagesTypeAdapter.validate_python([answer])
    assert isinstance(found, ModelResponse)
    return found


def from_outside(text: str) -> dict[str, Any]:
    """The text of an answer from outside, as the book keeps those of models."""
    found: dict[str, Any] = as_kept(ModelResponse(parts=[TextPart(text)], model_name=EXTERNAL))
    return found


class External(Model):
    """A seat taken from outside: `Recorded` has put the request into the store, and here its answer is waited
    for. `find` returns it, as the book keeps it, once it is there."""

    find: Callable[[], Any | None]

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.patience = patience

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        deadline = time.monotonic() + self.patience
        while (answer := self.find()) is None:
            if time.monotonic() > deadline:
                raise ModelConnectionError(EXTERNAL, f"nobody answered within {self.patience:g} seconds")
            await asyncio.sleep(POLL)
        return restored(answer)

    @property
    def model_name(self) -> str:
        return EXTERNAL

    @property
    def system(self) -> str:
        return EXTERNAL
