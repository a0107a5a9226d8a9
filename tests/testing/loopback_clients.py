"""What the tests of the loopback Messages API ask it, and with which clients."""

import anthropic
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from mendel.testing.messages_server import Answer, Rule, Scripted

MODEL = "claude-opus-5-5"
ASKED = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Which city?"}]}
BRNO = Answer.output({"name": "Brno", "people": 400_000})


class City(BaseModel):
    name: str
    people: int


def always(answer):
    return Scripted((Rule(answer=answer),))


def client_of(server, **settings):
    return anthropic.Anthropic(base_url=server.url, api_key="any", **settings)


def model_of(server):
    client = anthropic.AsyncAnthropic(base_url=server.url, api_key="any")
    return AnthropicModel(MODEL, provider=AnthropicProvider(anthropic_client=client))


def agent_of(server, **settings):
    return Agent(model_of(server), **settings)
