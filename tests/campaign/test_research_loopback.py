"""Whole campaigns through the real client: what goes wrong on the way to a provider changes nothing.

The client is `anthropic`'s, the model pydantic-ai's, the server speaks the Messages API on loopback. The team
behind it proposes, forecasts, writes a first patch with a bug, mends it, and explains.
"""

import pytest
import team
import toy
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from mendel.researchers import recorded
from mendel.researchers.book import Book
from mendel.researchers.models import restored
from mendel.store import CallState
from mendel.testing.messages_faults import KINDS
from mendel.testing.messages_server import Fault, Schedule, paid_twice, serve

NAME = "anthropic:claude-haiku-5-5"
MODELS = {
    **dict.fromkeys(("proposer", "engineer", "debugger", "novelty", "analyst", "librarian"), NAME),
    "forecasters": (NAME,),
}
REQUESTS = 11
"""Of the campaign without a fault."""
SAID = ("broken_schema", "truncated", "refusal")
"""Faults of what was said: it was paid, and another answer has to be."""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(recorded, "FIRST_WAIT", 0.01)


def campaign(server, toy_data, root, policy=None, **seats):
    """The states, verdicts and findings of a campaign, and its store."""
    researchers = {"who": "models", "models": MODELS, "patience": 30.0, **seats}
    config = toy.config("none", toy_data, researchers=researchers, budget="120runs", policy=policy or {})

    def model(name):
        provider = AnthropicProvider(base_url=server.url, api_key="any")
        return AnthropicModel(name.partition(":")[2], provider=provider)

    store, found, _ = toy.run_fake(config, root, make=model)
    end = {
        "states": {name: state for name, (state, _) in toy.states(store, found.id).items()},
        "verdicts": toy.verdict_records(store, found.id),
        "findings": toy.finding_records(store, found.id),
        "explained": store.explanations(found.id),
        "memory": store.decision(found.id, "0/memory"),
        "forecasts": [(one.idea, one.forecaster, one.forecast) for one in store.forecasts(found.id)],
    }
    return end, store, found.id


@pytest.fixture(scope="module")
def undisturbed(toy_data, fast_disk):
    with serve(team.Team(), cache_minimum_tokens=0) as server:
        end, store, found = campaign(server, toy_data, fast_disk / "undisturbed")
        with store:
            return end, server.log, store.usage(found), store.calls(found)


def test_an_idea_goes_from_proposal_to_explanation_through_the_real_client(undisturbed):
    end, log, usage, calls = undisturbed
    assert end["states"] == {"faster": "adopted", "renamed": "screened"}
    assert end["explained"]["faster"]["by"] == NAME
    asked = [call.seat for call in calls if call.step == 0]
    first = ["proposer", "engineer", "debugger", "engineer", "forecaster"]
    assert asked == [*first, "analyst", "analyst", "librarian", "proposer"]
    assert len(log) == REQUESTS
    assert paid_twice(log) == []


def test_what_was_paid_is_what_the_provider_counted(undisturbed):
    _, log, usage, _ = undisturbed
    counted = [entry.usage.as_json() for entry in log]
    assert usage.output_tokens == sum(one["output_tokens"] for one in counted)
    assert usage.cached_tokens == sum(one["cache_read_input_tokens"] for one in counted)
    assert usage.written_tokens == sum(one["cache_creation_input_tokens"] for one in counted)
    read = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert usage.input_tokens == sum(one[key] for one in counted for key in read)
    assert 0 < usage.cached_tokens < usage.input_tokens
    assert usage.dollars > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [1, 3, 7])
def test_one_fault_anywhere_loses_nothing_and_ends_the_same(undisturbed, toy_data, lab_root, kind, at):
    with serve(team.Team(), [Fault(kind=kind, at=at, seconds=0.01)]) as server:
        end, store, found = campaign(server, toy_data, lab_root)
    with store:
        assert end == undisturbed[0]
        assert paid_twice(server.log) == []
        assert {call.state for call in store.calls(found)} == {CallState.ANSWERED}
        again = sum(entry.paid for entry in server.log) - REQUESTS
        # A conversation with tools whose end cannot be used begins anew.
        assert again in ((1, 2) if kind in SAID else (0,))


@pytest.mark.parametrize("seed", range(4))
def test_many_faults_lose_nothing_and_end_the_same(undisturbed, toy_data, lab_root, seed):
    kinds = ("rate_limit", "overloaded", "server_error", "drop", "cut", "malformed", "slow")
    with serve(team.Team(), Schedule(seed=seed, rate=0.5, kinds=kinds)) as server:
        end, store, _ = campaign(server, toy_data, lab_root)
    with store:
        assert sum(bool(entry.fault) for entry in server.log) > 3
        assert end == undisturbed[0]
        assert paid_twice(server.log) == []


def test_a_provider_that_stays_down_is_given_up_and_asked_again_by_the_next_command(
    undisturbed, toy_data, lab_root
):
    faults = [Fault(kind="overloaded", at=number) for number in range(1, 400)]
    with serve(team.Team(), faults) as server:
        _, store, found = campaign(server, toy_data, lab_root, patience=0.5)
    with store:
        assert store.ideas(found) == []
        assert store.usage(found).dollars == 0
        assert any("goes on without an answer" in event.message for event in store.events(found))


def test_forecasts_in_a_batch_cost_half_and_late_ones_join_the_next_round(toy_data, lab_root):
    people = team.Team()
    names = ["second", "third"]
    people.proposals[0] += [team.proposal(name, f"set label {name}", "data") for name in names]
    people.changes |= {name: team.change(label=name) for name in names}
    with serve(people, batch_polls=1) as server:
        end, store, found = campaign(server, toy_data, lab_root, {"screen_ideas": 3}, batch=True)
    with store:
        assert end["states"]["faster"] == "adopted", "nobody waited for the batch"
        (call,) = store.calls(found, task="0/forecast/0")
        assert call.state is CallState.ANSWERED
        whole = Book(store, found).dollars(NAME, restored(call.answer).usage)
        assert call.usage.dollars == pytest.approx(whole / 2)
        told = [event.message for event in store.events(found)]
        assert any("0/forecast/0: sent in a batch" in message for message in told)
        forecast = {one.idea for one in store.forecasts(found) if one.forecaster == "claude-haiku-5-5"}
        assert len(forecast) == 1, "of the one that waited: the others were judged by then"
        assert "faster" not in forecast
