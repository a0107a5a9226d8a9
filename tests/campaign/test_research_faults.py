"""Researchers who do not answer, cost too much, are killed or replayed: nothing is lost or asked twice."""

import pytest
import team
import toy
from pydantic_ai.exceptions import ModelConnectionError
from pydantic_ai.models.function import FunctionModel
from team import change, proposal, said, settings

from mendel.campaign.forecasts import EARLIER, forecaster_records
from mendel.store import CallState, CampaignState, Store
from mendel.testing.scripted import as_request, response

# --- nobody answers, or too dearly ------------------------------------------------------------------------


def test_ideas_of_the_catalog_go_on_while_the_provider_is_down(research, lab_root):
    def down(messages, info):
        raise ModelConnectionError("scripted", "connection refused")

    file = toy.write_ideas(lab_root / "ideas.toml", [*toy.GOOD, *toy.NULL])
    store, campaign = research(None, file, model=FunctionModel(down, model_name="scripted"))
    assert toy.states(store, campaign)["good-source"][0] == "adopted"
    calls = store.calls(campaign)
    assert calls
    assert {call.state for call in calls} == {CallState.FAILED}
    assert any("goes on without an answer" in message for message in said(store, campaign))


@pytest.mark.parametrize("scope", ["campaign", "day", "seat", "idea"])
def test_a_limit_holds_what_is_in_flight_and_the_campaign_ends_cleanly(research, lab_root, scope):
    file = toy.write_ideas(lab_root / "ideas.toml", [*toy.GOOD, *toy.NULL])
    # An engineer may write 16,000 tokens for 0.24 dollars, and writes 4,000 for 0.06.
    limit = 0.27 if scope == "idea" else 0.30
    limits = {"campaign": {}, "day": {}, "idea": {}, scope: {"usd": limit}}
    people = team.Team()
    people.proposals = [[proposal(f"idea-{n}", "set label") for n in range(4)]] * 9
    people.changes = {f"idea-{n}": change(label=str(n)) for n in range(4)}

    def dear(messages, info):
        answer = response(people.answer(as_request(messages, info)))
        answer.usage.output_tokens = 4_000
        return answer

    model = FunctionModel(dear, model_name="scripted")
    store, campaign = research(people, file, model=model, researchers={"limits": limits})
    assert toy.states(store, campaign)["good-source"][0] == "adopted"
    assert store.usage(campaign).dollars > 0
    if scope in ("campaign", "day"):
        assert store.usage(campaign).dollars <= limit
    for seat in {call.seat for call in store.calls(campaign)} if scope == "seat" else ():
        assert store.usage(campaign, seat=seat).dollars <= limit
    assert any(f"the limit of the {scope} is reached" in message for message in said(store, campaign))
    for name in toy.states(store, campaign) if scope == "idea" else ():
        assert store.usage(campaign, idea=name).dollars <= limit


def test_a_limit_of_tokens_stops_the_next_question(research):
    people = team.Team()
    store, campaign = research(people, researchers={"limits": {"campaign": {"tokens": 1}}})
    assert people.count("proposer") == 1
    assert people.count("engineer") == 0


def test_an_idea_that_the_provider_did_not_write_is_written_in_the_next_round(research, lab_root):
    people, down = team.Team(), []
    people.changes["faster"] = team.GOOD

    def falters(messages, info):
        request = as_request(messages, info)
        if (
            "# Write this idea" in str(request["messages"])
            and "faster" in str(request["messages"])
            and not down
        ):
            down.append(True)
            raise ModelConnectionError("scripted", "connection refused")
        return response(people.answer(request))

    model = FunctionModel(falters, model_name="scripted")
    file = toy.write_ideas(lab_root / "ideas.toml", [toy.GOOD[0], *toy.NULL])
    store, campaign = research(None, file, model=model, budget="300runs", policy={"screen_ideas": 4})
    assert down
    assert toy.states(store, campaign)["faster"][0] == "adopted"


def test_a_name_that_is_taken_while_an_idea_is_written_loses_the_idea_and_not_the_campaign(
    research, toy_data, lab_root
):
    people = team.Team()
    people.changes["faster"] = team.GOOD

    def engineer(question, back, request):
        with Store(lab_root / "lab") as store:
            store.add_ideas(store.campaign().id, [toy.idea("faster", {"gain_c": 1.01})])
        return team.GOOD if "faster" in question else change(label="x")

    people.engineer = engineer
    store, campaign = research(people)
    assert any("faster: lost, its name was taken meanwhile" in message for message in said(store, campaign))
    assert toy.states(store, campaign)["renamed"][0] == "screened"


def test_a_round_that_is_over_is_not_asked_about_again(research, toy_data, lab_root):
    people, silent = team.Team(), [True]
    file = toy.write_ideas(lab_root / "ideas.toml", [*toy.GOOD, *toy.NULL])

    def falters(messages, info):
        if silent:
            raise ModelConnectionError("scripted", "connection refused")
        return response(people.answer(as_request(messages, info)))

    model = FunctionModel(falters, model_name="scripted")
    config = settings(toy_data, file)
    store, found, _ = toy.run_fake(config, lab_root / "lab", model=model)
    silent.clear()
    with store:
        before = toy.states(store, found.id)
        toy.continue_fake(config, store, found, model=model)
        assert toy.states(store, found.id) == before
        assert not [question for seat, question in people.asked if "for round 0" in question]


def test_a_forecast_of_what_is_known_already_does_not_count(research):
    people, silent = team.Team(), [True]

    def falters(messages, info):
        request = as_request(messages, info)
        if silent and "# Forecast these ideas" in str(request["messages"]):
            raise ModelConnectionError("scripted", "connection refused")
        return response(people.answer(request))

    def librarian(question, back, request):
        silent.clear()
        return team.Team.librarian(people, question, back, request)

    people.librarian = librarian
    store, campaign = research(None, model=FunctionModel(falters, model_name="scripted"))
    assert not silent
    assert "scripted" not in forecaster_records(store, store.campaign(campaign))
    assert people.count("forecaster") == 0


# --- stopped, continued, replayed -------------------------------------------------------------------------


class Killed(BaseException):
    """What a kill does to a process."""


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 6, 8, 9])
def test_a_campaign_that_is_killed_asks_nothing_twice(toy_data, lab_root, after):
    config = settings(toy_data)
    whole, there, _ = toy.run_fake(config, lab_root / "whole", model=team.Team().model())
    people, killed = team.Team(), []

    def dies(messages, info):
        if len(people.asked) == after and not killed:
            killed.append(True)
            raise Killed
        return response(people.answer(as_request(messages, info)))

    model = FunctionModel(dies, model_name="scripted")
    with pytest.raises(Killed):
        toy.run_fake(config, lab_root / "killed", model=model)
    with whole, Store(lab_root / "killed") as store:
        campaign = store.campaign()
        toy.continue_fake(config, store, campaign, model=model)
        assert len(people.asked) == len(whole.calls(there.id)), "an answer was paid for twice"
        assert [c.id for c in store.calls(campaign.id)] == [c.id for c in whole.calls(there.id)]
        assert toy.states(store, campaign.id) == toy.states(whole, there.id)
        assert toy.verdict_records(store, campaign.id) == toy.verdict_records(whole, there.id)


def test_a_campaign_is_run_again_from_its_transcript_without_a_model(toy_data, lab_root):
    config = settings(toy_data)
    store, first, _ = toy.run_fake(config, lab_root / "lab", model=team.Team().model())

    def nobody(messages, info):
        raise AssertionError("a model was asked")

    with store:
        store.set_state(first.id, CampaignState.FINISHED)
        again = config.model_copy(
            update={"researchers": config.researchers.model_copy(update={"replay": first.id})}
        )
        other, second, _ = toy.run_fake(again, lab_root / "lab", model=FunctionModel(nobody))
        with other:
            assert toy.states(store, second.id) == toy.states(store, first.id)
            assert toy.finding_records(store, second.id) == toy.finding_records(store, first.id)
            assert first.id not in store.decision(second.id, EARLIER), "it knows nothing beforehand"
            assert store.usage(second.id).dollars == 0


def test_the_judge_sees_no_patch_that_could_give_a_blank_away(research, lab_root):
    people = team.Team()
    earlier = toy.idea("old-knob", {"gain_a": 1.01})
    people.proposals = [[proposal("new-knob", "By its knob.", hypothesis="old-knob helps.")]]
    people.changes["new-knob"] = team.GOOD
    research(people, toy.write_ideas(lab_root / "ideas.toml", [earlier]))
    (question,) = [question for seat, question in people.asked if seat == "novelty"]
    assert "The earlier idea old-knob" in question
    assert "gain_a" not in question
