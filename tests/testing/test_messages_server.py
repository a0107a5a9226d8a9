"""The loopback Messages API, asked by the real client and by pydantic-ai's model."""

import asyncio

import anthropic
import httpx2
import pytest
from loopback_clients import ASKED, BRNO, MODEL, City, agent_of, always, client_of
from pydantic_ai import Agent, NativeOutput

from mendel.testing.messages_records import events
from mendel.testing.messages_server import (
    Answer,
    ApiError,
    Match,
    Rule,
    Scripted,
    Text,
    Thinking,
    ToolUse,
    serve,
)

# --- what is said ----------------------------------------------------------------------------------------


def test_a_question_is_answered_in_text():
    with serve(always(Answer.text("Brno"))) as server, client_of(server) as client:
        message = client.messages.create(**ASKED)
    assert message.content[0].text == "Brno"
    assert (message.stop_reason, message.model, message._request_id) == ("end_turn", MODEL, "req_00000001")


def test_the_base_url_may_come_from_the_environment(monkeypatch):
    with serve(always(Answer.text("Brno"))) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        assert anthropic.Anthropic().messages.create(**ASKED).content[0].text == "Brno"
        assert Agent(f"anthropic:{MODEL}").run_sync("Which city?").output == "Brno"


def test_a_stream_tells_the_same_as_a_whole_answer():
    said = Answer(
        content=(
            Thinking(thinking="Where do they study? " * 5),
            Text(text="It is a city in Moravia, I will look it up."),
            ToolUse(name="look_up", input={"city": "Brno", "about": ["people", "trams"]}),
        )
    )
    with serve(always(said)) as server, client_of(server) as client:
        whole = client.messages.create(**ASKED)
        with client.messages.stream(**ASKED) as stream:
            kinds = [event.type for event in stream]
            streamed = stream.get_final_message()
    content = [block.to_dict() for block in whole.content]
    for one in (content[2], streamed.content[2]):  # two calls have two ids
        one.update(id="") if isinstance(one, dict) else setattr(one, "id", "")
    signatures = [content[0].pop("signature"), streamed.content[0].signature]
    assert all(signatures)
    assert [block.type for block in streamed.content] == ["thinking", "text", "tool_use"]
    assert streamed.content[0].thinking == content[0]["thinking"]
    assert streamed.content[1].text == content[1]["text"]
    assert streamed.content[2].input == content[2]["input"] == said.content[2].input
    assert streamed.stop_reason == whole.stop_reason == "tool_use"
    assert streamed.usage == whole.usage
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert kinds.count("content_block_delta") > 5


def test_the_events_of_a_stream_come_in_the_order_of_the_api():
    message = {"content": [{"type": "text", "text": "a"}], "usage": {"output_tokens": 1}, "id": "m"}
    message |= dict.fromkeys(("stop_reason", "stop_sequence", "stop_details"))
    assert [event["type"] for event in events(message)] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_an_agent_calls_a_tool_and_goes_on_with_its_result():
    script = Scripted(
        (
            Rule(match=Match(turn=0, tools=("people_of",)), answer=Answer.call("people_of", city="Brno")),
            Rule(match=Match(turn=1, user="400000"), answer=Answer.text("It has 400,000 people.")),
        )
    )
    with serve(script) as server:
        agent = agent_of(server)

        @agent.tool_plain
        def people_of(city: str) -> int:
            return {"Brno": 400_000}[city]

        assert agent.run_sync("How many?").output == "It has 400,000 people."
        call, result = server.log[1].request["messages"][1:]
        assert call["content"][0]["id"] == result["content"][0]["tool_use_id"]


def test_an_agent_gets_native_structured_output():
    with serve(always(BRNO)) as server:
        agent = agent_of(server, output_type=NativeOutput(City))
        assert agent.run_sync("Which city?").output == City(name="Brno", people=400_000)
        schema = server.log[0].request["output_config"]["format"]["schema"]
        assert schema["required"] == ["name", "people"]


async def _streamed(agent):
    async with agent.run_stream("Which city?") as result:
        return await result.get_output()


def test_an_agent_reads_a_stream_with_thinking_in_it():
    said = Answer(content=(Thinking(thinking="Moravia."), Text(text="Brno")))
    with serve(always(said)) as server:
        assert asyncio.run(_streamed(agent_of(server))) == "Brno"
        assert server.log[0].request["stream"] is True


# --- who is answered -------------------------------------------------------------------------------------


def test_the_first_rule_that_fits_answers():
    script = Scripted(
        (
            Rule(match=Match(system="forecaster"), answer=Answer.text("0.7")),
            Rule(match=Match(user="idea.*warmup"), answer=Answer.text("longer warmup")),
            Rule(match=Match(user="idea"), answer=Answer.text("wider")),
        )
    )
    with serve(script) as server, client_of(server) as client:

        def said(user, **more):
            asked = {**ASKED, **more, "messages": [{"role": "user", "content": user}]}
            return client.messages.create(**asked).content[0].text

        assert said("an idea", system="You are the forecaster.") == "0.7"
        assert said("an idea\nfor warmup") == "longer warmup"
        assert said("an idea") == "wider"
        with pytest.raises(anthropic.BadRequestError) as raised:
            said("a poem", system="You rhyme.", tools=[{"name": "rhyme", "input_schema": {"type": "object"}}])
    assert raised.value.body["error"] == {
        "type": "invalid_request_error",
        "message": "none of 3 rules matches: turn 0, system 'You rhyme.', user 'a poem', tools rhyme",
    }


def test_an_own_script_may_answer_or_fail():
    class Own:
        def answer(self, request):
            if request["max_tokens"] == 1:
                raise ApiError(404, "model: gone")
            return Answer.text(request["messages"][-1]["content"].upper())

    with serve(Own()) as server, client_of(server) as client:
        assert client.messages.create(**ASKED).content[0].text == "WHICH CITY?"
        with pytest.raises(anthropic.NotFoundError, match="model: gone"):
            client.messages.create(**{**ASKED, "max_tokens": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_tokens": 0}, "max_tokens: must be a whole number"),
        ({"messages": []}, "messages: at least one"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages.0.role: must be one of user"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content: must not be empty"),
    ],
)
def test_what_the_api_would_refuse_is_refused(change, said):
    with serve(always(BRNO)) as server, client_of(server) as client:
        with pytest.raises(anthropic.BadRequestError, match=said):
            client.messages.create(**{**ASKED, **change})
        assert (server.log[0].status, server.log[0].paid) == (400, False)


def test_errors_have_the_form_of_the_api():
    with serve(always(BRNO)) as server:
        asked = {"content": b"{", "headers": {"x-api-key": "any", "anthropic-version": "2023-06-01"}}
        broken = httpx2.post(server.url + "/v1/messages", **asked)
        assert (broken.status_code, broken.json()["type"]) == (400, "error")
        assert "not valid JSON" in broken.json()["error"]["message"]
        assert broken.headers["request-id"] == broken.json()["request_id"] == "req_00000001"
        unknown = httpx2.get(server.url + "/v1/models", headers=asked["headers"])
        assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
        without = httpx2.post(server.url + "/v1/messages", json=ASKED)
        assert (without.status_code, without.json()["error"]["type"]) == (401, "authentication_error")
        assert httpx2.get(server.url + "/health").json() == {"status": "ok", "requests": 3}


def test_a_closed_server_answers_no_more_not_even_on_an_open_connection():
    with serve(always(BRNO)) as server:
        client = client_of(server, max_retries=0)
        client.messages.create(**ASKED)
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**ASKED)


# --- what it costs ---------------------------------------------------------------------------------------


def cached(text, ttl=None):
    mark = {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})
    return {"type": "text", "text": text, "cache_control": mark}


def test_a_marked_prefix_is_written_once_and_then_read():
    asked = {**ASKED, "system": [cached("s" * 8000)]}
    with serve(always(Answer.text("a" * 41))) as server, client_of(server) as client:
        first, second = (client.messages.create(**asked).usage for _ in range(2))
        other = client.messages.create(**{**asked, "system": [cached("t" * 8000)]}).usage
    question = 3  # 11 characters
    assert (first.cache_creation_input_tokens, first.cache_read_input_tokens) == (2000, 0)
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, 2000)
    assert (first.input_tokens, second.input_tokens) == (question, question)
    assert (first.output_tokens, other.cache_read_input_tokens) == (11, 0)


def test_a_growing_conversation_reads_what_the_last_turn_wrote():
    turns = [{"role": "user", "content": [cached("u" * 8000)]}]
    with serve(always(Answer.text("b" * 40))) as server, client_of(server) as client:
        client.messages.create(**{**ASKED, "messages": turns})
        turns[0]["content"][0].pop("cache_control")  # a client marks its last block only
        turns += [
            {"role": "assistant", "content": "b" * 40},
            {"role": "user", "content": [cached("v" * 400)]},
        ]
        usage = client.messages.create(**{**ASKED, "messages": turns}).usage
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (2000, 110)
    assert usage.input_tokens == 0


def test_a_short_prefix_is_not_cached_and_the_hours_cache_is_told_apart():
    with serve(always(BRNO)) as server, client_of(server) as client:
        short = client.messages.create(**{**ASKED, "system": [cached("s" * 400)]}).usage
        system = [cached("s" * 8000, "1h"), cached("t" * 400)]
        long = client.messages.create(**{**ASKED, "system": system}).usage
        with pytest.raises(anthropic.BadRequestError, match="maximum of 4 blocks"):
            client.messages.create(**{**ASKED, "system": [cached(str(number)) for number in range(5)]})
    assert (short.cache_creation_input_tokens, short.input_tokens) == (0, 103)
    assert long.cache_creation.ephemeral_1h_input_tokens == 2000
    assert long.cache_creation.ephemeral_5m_input_tokens == 100


def test_an_agent_sees_its_prompt_read_from_the_cache():
    with serve(always(Answer.text("Brno"))) as server:
        settings = {"anthropic_cache_instructions": True}
        agent = agent_of(server, instructions="s" * 8000, model_settings=settings)
        first, second = agent.run_sync("a").usage, agent.run_sync("b").usage
    assert (first.cache_write_tokens, first.cache_read_tokens) == (2000, 0)
    assert (second.cache_write_tokens, second.cache_read_tokens) == (0, 2000)


def test_counted_tokens_are_those_of_the_answered_request():
    with serve(always(BRNO)) as server, client_of(server) as client:
        asked = {**ASKED, "system": "s" * 400, "tools": [{"name": "t", "input_schema": {"type": "object"}}]}
        usage = client.messages.create(**asked).usage
        del asked["max_tokens"]
        assert client.messages.count_tokens(**asked).input_tokens == usage.input_tokens > 103


def test_an_answer_longer_than_asked_for_is_cut_to_its_length():
    with serve(always(Answer.text("a" * 4000))) as server, client_of(server) as client:
        message = client.messages.create(**ASKED)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 100)
    assert message.content[0].text == "a" * 400
