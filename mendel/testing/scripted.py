"""A model in this process that answers by a script, for tests that are not about the network.

    Agent(scripted_model(Team()), ...)

The script is the one that the loopback server takes: it sees the same request and gives the same answer.
"""

from __future__ import annotations

from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from mendel.testing.messages_records import Answer, Request, Text, ToolUse
from mendel.testing.messages_scripts import Script

NAME = "scripted"


def scripted_model(script: Script) -> FunctionModel:
    """A model named `scripted`."""

    def told(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return response(script.answer(as_request(messages, info)))

    return FunctionModel(told, model_name=NAME)


def as_request(messages: list[ModelMessage], info: AgentInfo) -> Request:
    """A conversation as the Messages API has it, as far as scripts look."""
    told: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if isinstance(message, ModelResponse) else "user"
        told.append({"role": role, "content": [_block(part) for part in message.parts]})
    tools = [{"name": tool.name, "description": tool.description} for tool in info.function_tools]
    return {"model": NAME, "system": info.instructions or "", "messages": told, "tools": tools}


def response(answer: Answer) -> ModelResponse:
    """An answer as pydantic-ai has it; thoughts are left out."""
    parts: list[TextPart | ToolCallPart] = []
    for block in answer.content:
        if isinstance(block, Text):
            parts.append(TextPart(block.text))
        elif isinstance(block, ToolUse):
            parts.append(ToolCallPart(block.name, dict(block.input)))
    return ModelResponse(parts=parts)


def _block(part: Any) -> dict[str, Any]:
    if isinstance(part, ToolCallPart):
        return {"type": "tool_use", "name": part.tool_name, "input": part.args_as_dict()}
    if isinstance(part, ToolReturnPart):
        return {"type": "tool_result", "content": str(part.content)}
    if isinstance(part, UserPromptPart | TextPart):
        return {"type": "text", "text": str(part.content)}
    return {"type": "tool_result", "content": part.model_response()}  # a call that was sent back
