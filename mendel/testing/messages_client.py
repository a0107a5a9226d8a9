"""The client that researchers really use, pointed at a loopback Messages API."""

from __future__ import annotations

from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider


def loopback_model(url: str, name: str) -> Model:
    """The model `provider:name` of Anthropic as the server at `url` gives it; no key of the environment has a
    part in it."""
    provider = AnthropicProvider(base_url=url, api_key="loopback")
    return AnthropicModel(name.partition(":")[2], provider=provider)
