"""What the lab remembers of forecasts: every outcome once, from all campaigns, as triage may know it."""

import json

import pytest
import toy
from sqlalchemy import event
from toy import idea

from mendel.campaign.forecasts import EARLIER, earlier_campaigns, forecast_scores, track_record
from mendel.campaign.summary import summarise
from mendel.ideas.stream import MOST, choose
from mendel.records import PlanKind, VerdictKind
from mendel.store import CampaignState, IdeaState
from tests.report.campaigns import Builder
from tests.report.campaigns import idea as written

MANY = [*toy.GOOD, *toy.NULL, *(idea(f"null-{i:02}", {"label": str(i)}, mean=-0.2) for i in range(36))]


def names(pasts):
    return sorted(round(past.log2_cm, 6) for past in pasts if past.log2_cm is not None)


@pytest.fixture
def lab(lab_root):
    builder = Builder(lab_root / "lab")
    yield builder
    builder.store.close()


def measure(builder, name, kind, log2_cm, verdict=VerdictKind.NO_DIFFERENCE_SHOWN, number=0):
    recipe = builder.recipe(f"x = {name!r}\n", {}, name)
    seeds = tuple(range(10 * number + list(PlanKind).index(kind), 10 * number + 12))
    return builder.pairs(builder.plan(kind, name, recipe, seeds), [0.1, 0.1], log2_cm, verdict)


def test_the_outcome_is_the_best_measurement_and_the_newest_of_equals(lab):
    lab.store.add_ideas(lab.id, [written(name) for name in ("one", "two", "three")])
    lab.store.decide(lab.id, "0/ideas", {"one": 1.0, "two": 1.0, "three": 1.0})
    measure(lab, "one", PlanKind.SCREEN, 0.9)
    measure(lab, "one", PlanKind.CONFIRM, 0.6, VerdictKind.BETTER)
    measure(lab, "one", PlanKind.ESTIMATE, 0.4, VerdictKind.BETTER)
    measure(lab, "one", PlanKind.SCREEN, 0.2, number=1)
    measure(lab, "two", PlanKind.SCREEN, 0.3)
    measure(lab, "two", PlanKind.SCREEN, 0.1, number=1)
    assert names(track_record(lab.store, lab.now())) == [0.1, 0.4]


def test_what_did_not_run_counts_and_what_says_nothing_of_the_idea_does_not(lab):
    lab.store.add_ideas(
        lab.id, [written(name) for name in ("broken", "late", "stale", "cheat", "lost", "new")]
    )
    lab.store.decide(lab.id, "0/ideas", dict.fromkeys(("broken", "late", "stale", "cheat", "lost"), 1.0))
    measure(lab, "late", PlanKind.SCREEN, -3.0, VerdictKind.FAILED)
    measure(lab, "cheat", PlanKind.CONFIRM, 2.0, VerdictKind.REJECTED)
    measure(lab, "lost", PlanKind.SCREEN, 0.05)
    for name, state in (
        ("broken", IdeaState.FAILED),
        ("late", IdeaState.FAILED),
        ("stale", IdeaState.STALE),
        ("cheat", IdeaState.REJECTED),
    ):
        lab.store.set_idea_state(lab.id, name, state)
    record = track_record(lab.store, lab.now())
    assert [past.log2_cm for past in record] == [None, None, 0.05]
    assert forecast_scores(lab.store, lab.now())["all"]["runs"]["value"] == pytest.approx(1 / 3)


def test_a_blank_counts_like_any_idea_until_it_is_unblinded(lab):
    lab.store.add_ideas(lab.id, [written("real"), written("planted")])
    lab.store.add_blanks(lab.id, {"planted": "batch order"})
    lab.store.decide(lab.id, "0/ideas", {"real": 1.0, "planted": 1.0})
    for name, gain in (("real", 0.2), ("planted", 0.0)):
        measure(lab, name, PlanKind.SCREEN, gain)
    assert names(track_record(lab.store, lab.now())) == [0.0, 0.2]
    lab.store.unblind(lab.id, "planted")
    assert names(track_record(lab.store, lab.now())) == [0.2]


def test_an_outcome_weighs_by_how_probable_its_run_was(lab):
    lab.store.add_ideas(lab.id, [written("ranked"), written("drawn")])
    lab.store.decide(lab.id, "0/ideas", {"ranked": 1.0, "drawn": 0.05})
    for name in ("ranked", "drawn"):
        measure(lab, name, PlanKind.SCREEN, 0.2)
    assert sorted(past.weight for past in track_record(lab.store, lab.now())) == pytest.approx([1.0, 20.0])


def test_other_campaigns_count_once_they_are_finished_and_an_idea_of_both_counts_once(campaign):
    store, first = campaign(MANY, seed=1, budget="130runs")
    assert earlier_campaigns(store, store.campaign(first)) == []
    store.set_state(first, CampaignState.FINISHED)
    alone = track_record(store, store.campaign(first))
    store, second = campaign(MANY, seed=2, budget="130runs")
    assert store.decision(second, EARLIER) == [first]
    both = track_record(store, store.campaign(second))
    assert len(alone) < len(both) <= len(MANY)
    assert forecast_scores(store, store.campaign(second))["campaigns"] == 2
    store, third = campaign(MANY, seed=3, budget="130runs")
    assert store.decision(third, EARLIER) == [first], "the second one never finished"


def test_the_number_of_queries_does_not_grow_with_the_record(campaign):
    store, first = campaign(MANY, seed=1)
    store.set_state(first, CampaignState.FINISHED)
    found = []
    for seed in (2, 3):
        store, later = campaign(MANY, seed=seed)
        said = []
        listener = lambda connection, cursor, statement, *rest: said.append(statement)  # noqa: B023, E731
        event.listen(store._engine, "before_cursor_execute", listener)
        track_record(store, store.campaign(later))
        event.remove(store._engine, "before_cursor_execute", listener)
        store.set_state(later, CampaignState.FINISHED)
        found.append(sum(statement.startswith("SELECT") for statement in said))
    assert found[0] == found[1] < 12


def test_a_campaign_runs_its_random_stream_and_says_how_probable_each_run_was(campaign):
    store, found = campaign(MANY, seed=2)
    chosen = store.decision(found, "0/ideas")
    ranked = [one.name for one in MANY]  # better forecasts first, and then by name
    assert chosen == choose(ranked, len(MANY), 12, seed=2, round=0)
    drawn = [p for p in chosen.values() if p < 1]
    assert list(chosen)[0] == "good-knob" and drawn == [MOST * 12 / len(MANY)], "the test needs a drawn idea"
    assert {plan.idea for plan in store.plans(found, PlanKind.SCREEN, 0)} == set(chosen)


def test_scores_are_in_the_summary_in_words_and_numbers(campaign):
    store, found = campaign([*toy.GOOD, *toy.NULL, *toy.HARMFUL, idea("broken", {"fail": "crash"})])
    forecasts = summarise(store, store.campaign(found))["forecasts"]
    assert json.loads(json.dumps(forecasts)) == forecasts
    (user,) = forecasts["proposers"]
    assert (user["name"], user["outcomes"], user["tried"]) == ("user", 5, 6)
    assert user["words"].startswith("user: 5 outcomes, ") and "90 % intervals covered " in user["words"]
    assert user["runs"]["value"] == pytest.approx(5 / 6)
    assert [row["name"] for row in forecasts["classes"]] == ["optimiser"]
