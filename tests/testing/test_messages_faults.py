"""What goes wrong on purpose, as the real clients meet it, and batches."""

import asyncio
import time
from datetime import timedelta

import anthropic
import httpx2
import pytest
from loopback_clients import ASKED, BRNO, City, agent_of, always, client_of, model_of
from pydantic_ai import ModelRequest, NativeOutput, ToolOutput
from pydantic_ai.direct import model_request_batch
from pydantic_ai.exceptions import ContentFilterError, ModelAPIError, UnexpectedModelBehavior
from pydantic_ai.models.batch import BatchRequest

from mendel.testing.messages_faults import RETRIED
from mendel.testing.messages_server import (
    Answer,
    ApiError,
    Fault,
    Folder,
    Match,
    Rule,
    Schedule,
    Scripted,
    paid_twice,
    serve,
)


def told(server):
    return [(entry.status, entry.fault, entry.paid) for entry in server.log]


# --- what a client gets over by itself --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"),
    [("rate_limit", 429), ("overloaded", 529), ("server_error", 500), ("drop", 0), ("cut", 200)],
)
def test_a_client_tries_again_and_pays_once(kind, status):
    with serve(always(BRNO), [Fault(kind=kind, at=1, seconds=0.01)]) as server, client_of(server) as client:
        assert client.messages.create(**ASKED).content[0].text == BRNO.content[0].text
        assert told(server) == [(status, kind, False), (200, "", True)]
        assert server.log[0].key == server.log[1].key
        assert paid_twice(server.log) == []


def test_a_rate_limit_says_when_to_come_back():
    with (
        serve(always(BRNO), [Fault(kind="rate_limit", at=1, seconds=7)]) as server,
        client_of(server, max_retries=0) as client,
        pytest.raises(anthropic.RateLimitError) as raised,
    ):
        client.messages.create(**ASKED)
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.body["error"]["type"] == "rate_limit_error"


def test_a_connection_that_is_cut_before_the_answer_brings_nothing_at_all():
    with (
        serve(always(BRNO), [Fault(kind="drop", at=1)]) as server,
        pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"),
    ):
        httpx2.post(server.url + "/v1/messages", json=ASKED)


@pytest.mark.parametrize("kind", ["rate_limit", "overloaded", "server_error", "drop"])
def test_an_agent_gets_over_the_same(kind):
    with serve(always(BRNO), [Fault(kind=kind, at=1, seconds=0.01)]) as server:
        agent = agent_of(server, output_type=NativeOutput(City))
        assert agent.run_sync("Which city?").output.name == "Brno"
        assert [entry.paid for entry in server.log] == [False, True]


def test_what_was_asked_and_paid_before_is_seen():
    with serve(always(BRNO)) as server, client_of(server) as client:
        client.messages.create(**ASKED)
        with client.messages.stream(**ASKED) as stream:
            stream.until_done()
        assert paid_twice(server.log) == [server.log[0].key]


def test_a_client_that_hung_up_has_paid_nothing():
    with (
        serve(always(BRNO), [Fault(kind="slow", at=1, seconds=0.5)]) as server,
        client_of(server, timeout=0.2) as client,
    ):
        assert client.messages.create(**ASKED).content
        deadline = time.monotonic() + 10
        while len(server.log) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert sorted(told(server)) == [(200, "", True), (200, "client_gone", False)]


def test_a_slow_answer_is_slow():
    with (
        serve(always(BRNO), [Fault(kind="slow", at=1, seconds=0.3)]) as server,
        client_of(server) as client,
    ):
        start = time.monotonic()
        assert client.messages.create(**ASKED).content
        assert time.monotonic() - start >= 0.3
        assert told(server) == [(200, "slow", True)]


# --- what surfaces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_read_surfaces(stream):
    with serve(always(BRNO), [Fault(kind="malformed", at=1)]) as server:
        with client_of(server) as client, pytest.raises(ValueError, match="char"):
            if stream:
                list(client.messages.create(**ASKED, stream=True))
            else:
                client.messages.create(**ASKED)
        assert told(server) == [(200, "malformed", False)]


def test_an_agent_tells_an_answer_that_cannot_be_read():
    with serve(always(BRNO), [Fault(kind="malformed", at=1)]) as server:
        with pytest.raises((ModelAPIError, UnexpectedModelBehavior), match="JSON"):
            agent_of(server).run_sync("Which city?")
        assert told(server) == [(200, "malformed", False)]


def test_a_stream_that_is_cut_surfaces_after_its_beginning():
    seen = []
    long = Answer.text("a long answer " * 200)
    with serve(always(long), [Fault(kind="cut", at=1)]) as server, client_of(server) as client:
        with pytest.raises(httpx2.RemoteProtocolError, match="closed connection"):
            for event in client.messages.create(**{**ASKED, "max_tokens": 2000}, stream=True):
                seen.append(event.type)
        assert told(server) == [(200, "cut", False)]
    assert seen[0] == "message_start" and "message_stop" not in seen


@pytest.mark.parametrize("form", [NativeOutput, ToolOutput])
def test_an_agent_asks_again_when_an_output_breaks_its_schema(form):
    said = BRNO if form is NativeOutput else Answer.call("final_result", name="Brno", people=400_000)
    with serve(always(said), [Fault(kind="broken_schema", at=1)]) as server:
        assert agent_of(server, output_type=form(City)).run_sync("Which city?").output.name == "Brno"
        assert told(server) == [(200, "broken_schema", True), (200, "", True)]
        assert "Field required" in str(server.log[1].request["messages"])


def test_plain_text_has_no_schema_to_break():
    with serve(always(Answer.text("Brno")), [Fault(kind="broken_schema", at=1)]) as server:
        assert agent_of(server).run_sync("Which city?").output == "Brno"
        assert told(server) == [(200, "", True)]


def test_half_an_answer_says_that_it_was_cut():
    with serve(always(BRNO), [Fault(kind="truncated", at=1)]) as server, client_of(server) as client:
        message = client.messages.create(**ASKED)
    assert message.stop_reason == "max_tokens"
    assert BRNO.content[0].text.startswith(message.content[0].text)
    assert 0 < len(message.content[0].text) < len(BRNO.content[0].text)


def test_a_refusal_says_so():
    with serve(always(BRNO), [Fault(kind="refusal", at=number) for number in (1, 2)]) as server:
        with client_of(server) as client:
            message = client.messages.create(**ASKED)
        assert (message.stop_reason, message.stop_details.type) == ("refusal", "refusal")
        with pytest.raises(ContentFilterError):
            agent_of(server).run_sync("Which city?")


def test_a_fault_that_did_not_happen_is_not_logged():
    faults = [Fault(kind="truncated", at=number) for number in (1, 2)]
    with serve(Scripted(()), faults) as server, client_of(server) as client:
        assert client.messages.count_tokens(model=ASKED["model"], messages=ASKED["messages"]).input_tokens
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(**ASKED)
        assert told(server) == [(200, "", False), (400, "", False)]


# --- schedules --------------------------------------------------------------------------------------------


def asked_by(client, users):
    for user in users:
        client.messages.create(**{**ASKED, "messages": [{"role": "user", "content": user}]})


def test_a_schedule_brings_the_same_faults_in_any_order():
    users = [str(number) for number in range(12)]
    faults = []
    for order in (users, users[::-1]):
        schedule = Schedule(seed=3, rate=0.5, kinds=("rate_limit",))
        with serve(always(BRNO), schedule) as server, client_of(server) as client:
            asked_by(client, order)
            assert paid_twice(server.log) == []
            assert sum(entry.paid for entry in server.log) == len(users)
            faults.append(sorted(entry.key for entry in server.log if entry.fault))
    assert faults[0] == faults[1] and len(faults[0]) > 3


def test_a_schedule_lets_every_request_through_at_last():
    schedule = Schedule(seed=1, rate=1.0)
    drawn = [schedule.at(1, str(key), sent) for key in range(100) for sent in range(3)]
    assert {fault.kind for fault in drawn if fault} == set(RETRIED)
    assert [fault is None for fault in drawn] == [False, False, True] * 100


# --- batches ----------------------------------------------------------------------------------------------


def batched(*users):
    return [
        {"custom_id": user, "params": {**ASKED, "messages": [{"role": "user", "content": user}]}}
        for user in users
    ]


def test_a_batch_ends_after_its_polls_and_is_paid_then():
    script = Scripted((Rule(match=Match(user="known"), answer=BRNO),))
    with serve(script, batch_polls=3) as server, client_of(server) as client:
        batches = client.messages.batches
        batch = batches.create(requests=batched("known-1", "strange", "known-2"))
        states = [batches.retrieve(batch.id).processing_status for _ in range(2)]
        assert (batch.processing_status, states) == ("in_progress", ["in_progress"] * 2)
        assert not any(entry.paid for entry in server.log)
        ended = batches.retrieve(batch.id)
        results = {one.custom_id: one.result for one in batches.results(batch.id)}
        assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 2)
        assert ended.request_counts.errored == 1
        assert results["known-1"].message.content[0].text == BRNO.content[0].text
        assert results["known-1"].message.usage.service_tier == "batch"
        assert "none of 1 rules" in results["strange"].error.error.message
        assert sorted(entry.custom_id for entry in server.log if entry.paid) == ["known-1", "known-2"]


def test_a_batch_that_has_not_ended_has_no_results():
    with serve(always(BRNO), batch_polls=9) as server, client_of(server) as client:
        batch = client.messages.batches.create(requests=batched("a"))
        with pytest.raises(anthropic.AnthropicError, match="Has it finished"):
            client.messages.batches.results(batch.id)
        with pytest.raises(anthropic.NotFoundError, match="no batch has the id 'other'"):
            client.messages.batches.retrieve("other")


def test_a_canceled_batch_pays_nothing(tmp_path):
    with serve(Folder(tmp_path, limit=5), batch_polls=1) as server, client_of(server) as client:
        batches = client.messages.batches
        batch = batches.create(requests=batched("a", "b"))
        assert batches.cancel(batch.id).processing_status == "canceling"
        assert batches.retrieve(batch.id).request_counts.canceled == 2
        assert {one.result.type for one in batches.results(batch.id)} == {"canceled"}
        assert not any(entry.paid for entry in server.log)


async def _through_batches(server, users):
    requests = [
        BatchRequest(custom_id=user, messages=[ModelRequest.user_text_prompt(user)]) for user in users
    ]
    at_once = timedelta(milliseconds=10)
    return await model_request_batch(model_of(server), requests, poll_interval=at_once)


class Tired:
    """Fails at the first request of the user with the number 1."""

    def __init__(self):
        self.failed = False

    def answer(self, request):
        if "1" in str(request["messages"]) and not self.failed:
            self.failed = True
            raise ApiError(500, "tired")
        return BRNO


def test_pydantic_ai_sends_batches_and_sends_again_what_failed_in_them():
    with serve(Tired(), batch_polls=2) as server:
        responses = asyncio.run(_through_batches(server, ["0", "1", "2"]))
        assert [response.text for response in responses] == [BRNO.content[0].text] * 3
        told = [(entry.custom_id, entry.status) for entry in server.log if entry.custom_id]
        assert told == [("0", 200), ("1", 500), ("2", 200), ("1", 200)]
        assert sum(entry.paid for entry in server.log) == 3
        assert paid_twice(server.log) == []


@pytest.mark.parametrize(("kind", "types"), [("broken_schema", "succeeded"), ("overloaded", "errored")])
def test_a_schedule_reaches_the_requests_in_a_batch(kind, types):
    schedule = Schedule(seed=1, rate=1.0, kinds=(kind,), most=1)
    with serve(always(BRNO), schedule) as server, client_of(server) as client:
        batch = client.messages.batches.create(requests=batched("a", "b"))
        results = [one.result for one in client.messages.batches.results(batch.id)]
        assert [result.type for result in results] == [types] * 2
        assert [entry.fault for entry in server.log if entry.custom_id] == [kind] * 2
