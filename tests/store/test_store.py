"""Whatever is put into the store comes back equal, in order, in this process and in the next."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from mendel.records import Finding, Plan, PlanKind, RunResult, RunStatus, Shard, Verdict, VerdictKind
from mendel.store import CampaignState, IdeaState, Store, StoreError

from .samples import FINGERPRINT, RECIPE, a_result, a_run, an_idea, an_interval, start


def a_plan(round=0, idea="rmsnorm", kind=PlanKind.SCREEN):
    return Plan(
        kind=kind,
        round=round,
        idea=idea,
        control="c",
        treatment="t",
        rung=0,
        seeds=(3, 1, 2),
        control_tokens=1000,
        treatment_tokens=900,
        cost_ratio=1.1,
        shard=Shard.VALIDATION,
    )


def a_verdict(plan="p", kind=VerdictKind.BETTER, **changes):
    return Verdict(plan=plan, kind=kind, pairs=5, difference=an_interval(), log_e_t=4.2, **changes)


def a_finding(idea=None):
    return Finding(
        idea=idea or an_idea(),
        round=1,
        control="c",
        treatment="t",
        rung=0,
        cost_ratio=1.1,
        log2_cm=an_interval(),
        verdicts=("v1", "v2"),
        runs=24,
        adopted=True,
        refuted_by="an interval that reaches 0 at rung 1",
    )


def reopened(store):
    store.close()
    return Store(store.root)


def test_a_campaign_comes_back_as_it_was_created(store):
    before = datetime.now(UTC)
    created = store.create_campaign(
        "trial", 7, "gpt", "gpt2", {"budget": "20m", "rungs": [0, 1]}, FINGERPRINT
    )
    with reopened(store) as later:
        assert later.campaign(created.id) == created
        assert created.created.utcoffset() == timedelta(0) and before <= created.created <= datetime.now(UTC)
        assert created.state is CampaignState.RUNNING
        later.set_state(created.id, CampaignState.STOPPED)
        assert later.campaign(created.id).state is CampaignState.STOPPED


def test_the_latest_campaign_is_the_default(store):
    first, second = start(store, "first"), start(store, "second")
    assert store.campaign().id == second
    assert [campaign.id for campaign in store.campaigns()] == [first, second]


def test_an_unknown_campaign_is_named_together_with_those_that_exist(store):
    with pytest.raises(StoreError, match="has no campaign yet"):
        store.campaign()
    known = start(store)
    calls = [
        lambda: store.campaign("nope"),
        lambda: store.ideas("nope"),
        lambda: store.add_ideas("nope", [an_idea()]),
        lambda: store.put_plan("nope", a_plan()),
        lambda: store.enqueue("nope", [a_run()], "screen"),
        lambda: store.results("nope", []),
        lambda: store.decide("nope", "k", 1),
        lambda: store.event("nope", "screen", "hello"),
        lambda: store.ledger("nope"),
        lambda: store.lock("nope"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=f"'nope': not in .*mendel.db; it has {known}$"):
            call()


def test_ideas_keep_their_order_and_are_queued_once(store, campaign):
    ideas = [an_idea(name) for name in ("zeta", "alpha", "mid")]
    assert store.add_ideas(campaign, ideas[:2]) == ["zeta", "alpha"]
    assert store.add_ideas(campaign, ideas) == ["mid"]
    with reopened(store) as later:
        assert [entry.idea for entry in later.ideas(campaign)] == ideas
        assert [entry.position for entry in later.ideas(campaign)] == [0, 1, 2]


def test_a_name_stands_for_one_idea(store, campaign):
    store.add_ideas(campaign, [an_idea()])
    with pytest.raises(StoreError, match="rmsnorm.*another idea of this name"):
        store.add_ideas(campaign, [an_idea("other"), an_idea(hypothesis="something else")])
    assert len(store.ideas(campaign)) == 1


def test_an_idea_moves_through_its_states(store, campaign):
    store.add_ideas(campaign, [an_idea(), an_idea("muon")])
    store.set_idea_state(campaign, "rmsnorm", IdeaState.DROPPED, "no gain at rung 0")
    store.set_idea_state(campaign, "rmsnorm", IdeaState.STALE)
    (entry,) = store.ideas(campaign, IdeaState.STALE)
    assert (entry.idea.name, entry.note) == ("rmsnorm", "no gain at rung 0")
    with pytest.raises(StoreError, match="'nobody'"):
        store.set_idea_state(campaign, "nobody", IdeaState.FAILED)


def test_nothing_about_an_idea_tells_that_it_is_a_blank(store, campaign):
    store.add_ideas(campaign, [an_idea("honest"), an_idea("planted")])
    before = store.ideas(campaign)
    store.add_blanks(campaign, {"planted": "initial stream"})
    store.add_blanks(campaign, {"planted": "initial stream"})
    assert store.ideas(campaign) == before
    with pytest.raises(StoreError, match="already planted as 'initial stream', now as 'harm'"):
        store.add_blanks(campaign, {"planted": "harm"})


def test_a_blank_is_unblinded_once(store, campaign):
    store.add_blanks(campaign, {"planted": "harm"})
    assert store.blanks(campaign)[0].unblinded is None
    first = store.unblind(campaign, "planted")
    assert first.kind == "harm" and first.unblinded.tzinfo is UTC
    assert store.unblind(campaign, "planted") == first
    assert store.unblind(campaign, "honest") is None


def test_recipes_and_their_first_label(store):
    assert store.put_recipe(RECIPE, "gpt2") == RECIPE.id
    store.put_recipe(RECIPE, "later")
    assert store.recipe(RECIPE.id) == RECIPE
    assert store.labels() == {RECIPE.id: "gpt2"}
    with pytest.raises(StoreError, match="'missing'"):
        store.recipe("missing")


def test_plans_come_back_in_the_order_they_were_fixed(store, campaign):
    plans = [a_plan(round=1), a_plan(round=0, idea=None, kind=PlanKind.CURVE), a_plan(round=0)]
    assert [store.put_plan(campaign, plan) for plan in [*plans, plans[0]]][-1] == plans[0].id
    with reopened(store) as later:
        assert later.plans(campaign) == plans
        assert later.plans(campaign, kind=PlanKind.SCREEN) == [plans[0], plans[2]]
        assert later.plans(campaign, round=0, idea="rmsnorm") == [plans[2]]


def test_verdicts_and_findings_come_back(store, campaign):
    verdicts = [a_verdict(), a_verdict("q", VerdictKind.WORSE, reason="diverged")]
    for verdict in [*verdicts, verdicts[0]]:
        assert store.put_verdict(campaign, verdict) == verdict.id
    store.put_finding(campaign, a_finding())
    with reopened(store) as later:
        assert later.verdicts(campaign) == verdicts
        assert later.verdicts(campaign, plan="q") == verdicts[1:]
        assert later.findings(campaign) == [a_finding()]


def test_the_bound_of_an_interval_may_be_infinite(store, campaign):
    verdict = a_verdict(log2_cm=an_interval(low=-math.inf, high=math.inf))
    store.put_verdict(campaign, verdict)
    assert store.verdicts(campaign) == [verdict]


def test_the_first_measured_cost_stays(store, campaign):
    first, second = a_result(flops=1e9), a_result(flops=2e9)
    assert store.cost(campaign, "r", 0) is None
    kept = store.put_cost(campaign, "r", 0, 1e6, first)
    assert store.put_cost(campaign, "r", 0, 2e6, second) == kept == store.cost(campaign, "r", 0)
    assert (kept.flops_per_token, kept.result) == (1e6, first)
    crashed = RunResult(status=RunStatus.CRASHED, reason="SyntaxError")
    assert store.put_cost(campaign, "r", 1, None, crashed).result == crashed


def test_a_decision_is_made_once(store, campaign):
    assert store.decision(campaign, "screen/0") is None
    store.decide(campaign, "screen/0", {"confirm": ("a", "b")})
    store.decide(campaign, "screen/0", {"confirm": ["a", "b"]})
    with pytest.raises(StoreError, match="'screen/0'.*may not become"):
        store.decide(campaign, "screen/0", {"confirm": []})
    assert store.decision(campaign, "screen/0") == {"confirm": ["a", "b"]}


def test_a_reader_follows_the_log(store, campaign):
    store.event(campaign, "screen", "first")
    (first,) = store.events(campaign)
    store.event(campaign, "confirm", "second", idea="rmsnorm")
    (second,) = store.events(campaign, after=first.id)
    assert (second.stage, second.idea, second.message) == ("confirm", "rmsnorm", "second")


def test_campaigns_do_not_see_each_other(store, campaign):
    other = start(store, "other")
    store.add_ideas(campaign, [an_idea()])
    store.add_blanks(campaign, {"x": "harm"})
    store.put_plan(campaign, a_plan())
    store.put_verdict(campaign, a_verdict())
    store.put_finding(campaign, a_finding())
    store.put_cost(campaign, "r", 0, 1.0, a_result())
    store.decide(campaign, "k", 1)
    store.event(campaign, "screen", "hello")
    store.enqueue(campaign, [a_run()], "screen")
    assert store.cost(other, "r", 0) is None and store.decision(other, "k") is None
    lists = (store.ideas, store.blanks, store.plans, store.verdicts, store.findings, store.events, store.runs)
    assert [read(other) for read in lists] == [[]] * len(lists)
    store.finish(campaign, store.claim(campaign, a_run().id).id, a_result())
    assert store.enqueue(other, [a_run()], "screen") == [a_run().id]
    assert store.result(other, a_run().id) is None


def test_the_readme_of_the_package_works(tmp_path):
    with Store(tmp_path) as store:
        campaign = start(store)
        with store.lock(campaign):
            assert store.requeue_running(campaign) == []
