"""An agent takes every seat of a campaign through the store: what it answers is held to the same checks."""

import json
import threading
import time

import pytest
import team
import toy

from mendel.agents.desk import Desk
from mendel.agents.seats import answer, questions
from mendel.campaign.config import ConfigError, Settings
from mendel.store import CallState, Store
from mendel.testing.team import change

TWO_MINUTES = 120


def as_request(question):
    said = [{"role": "user", "content": text} for text in question.asked]
    return {"system": question.instructions, "messages": said}


class Outside(team.Team):
    """Has no tools: the analyst reads its evidence in the question."""

    def analyst(self, question, back, request):
        evidence = json.loads(question.partition("# The evidence\n\n")[2])
        cm = evidence["verdicts"]["verdicts"][-1]["cm"]["value"]
        words = {"what_changed": "Its source.", "effect": f"CM {cm:.2f}.", "where": "At the lowest rung."}
        return {**words, "refuted_by": "No gain.", "next": "More."}


def test_an_agent_takes_every_seat(toy_data, lab_root):
    config = toy.config(
        "none", toy_data, budget="120runs", researchers={"who": "external", "patience": TWO_MINUTES}
    )
    ended = []

    def campaign():
        store, found, _ = toy.run_fake(config, lab_root)
        with store:
            ended.append((toy.states(store, found.id), store.explanations(found.id)))

    running = threading.Thread(target=campaign)
    running.start()
    agent, wrong_first = Outside(), []
    with Store(lab_root) as store:
        desk = Desk(store, Settings(root=lab_root), "claude")
        while running.is_alive():
            waiting = questions(desk) if store.campaigns() else []
            for one in waiting:
                assert one.answer_schema["type"] == "object"
                if one.seat == "engineer" and not wrong_first:
                    wrong_first.append(one)
                    told = answer(desk, one.id, json.dumps(change()))  # an empty change is no patch
                    assert told == "kept as the answer to 0/write/faster, step 0"
                    continue
                if one.step:
                    assert "a patch needs at least one edit" in one.asked[-1]
                    one = wrong_first[0]
                    one = one.model_copy(update={"id": waiting[0].id})
                answer(desk, one.id, agent.answer(as_request(one)).content[0].text)
            time.sleep(0.05)
        running.join()
        campaign_id = store.campaign().id
        calls = store.calls(campaign_id)
        assert {call.state for call in calls} == {CallState.ANSWERED}
        assert store.usage(campaign_id).dollars == 0
        with pytest.raises(ConfigError, match="does not wait"):
            answer(desk, calls[0].id, "{}")
    ((states, explained),) = ended
    assert states["faster"][0] == "adopted"
    assert explained["faster"]["effect"].startswith("CM 1.")
    assert explained["faster"]["by"] == "external"
