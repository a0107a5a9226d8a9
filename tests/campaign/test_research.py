"""A campaign with researchers: what they bring is judged like any idea, and nothing is asked twice."""

import pytest
import team
import toy

PRICE = {"input": 3.0, "output": 15.0, "cached": 0.3, "written": 6.0}
NAME = "test:scripted"
MODELS = {
    **dict.fromkeys(("proposer", "engineer", "debugger", "novelty", "analyst", "librarian"), NAME),
    "forecasters": (NAME,),
}


@pytest.fixture
def research(toy_data, lab_root):
    """research(team, **changes): a campaign with the team in every seat; (store, campaign id)."""
    opened = []

    def run(people, ideas="none", root="lab", **changes):
        seats = {"who": "models", "models": MODELS, "prices": {"scripted": PRICE}, "patience": 0.01}
        seats |= changes.pop("researchers", {})
        changes = {"budget": "120runs", **changes}
        settings = toy.config(ideas, toy_data, researchers=seats, **changes)
        store, found, _ = toy.run_fake(settings, lab_root / root, model=people.model())
        opened.append(store)
        return store, found.id

    yield run
    for store in opened:
        store.close()


def test_an_idea_is_proposed_written_mended_judged_and_explained(research):
    people = team.Team()
    store, campaign = research(people)
    states = toy.states(store, campaign)
    assert states["faster"][0] == "adopted"
    assert states["renamed"][0] not in ("adopted", "claimed")
    assert people.count("debugger") == 1
    assert "CM" in store.explanations(campaign)["faster"]["effect"]
