"""Campaigns whose trunk is rechecked: what was overtaken goes, what earns stays, pairs that overlap are
told."""

import math

import pytest
import toy
from toy import idea

from mendel.campaign.summary import summarise, trunk_points
from mendel.records import PlanKind, RunResult, RunStatus
from mendel.store import RunState, Store

GAIN_A = 'knobs["gain_a"]'
FIRST = idea("first", {"gain_a": 1.4}, mean=0.6)
OTHER = idea("other", {"gain_b": 1.4}, mean=0.5)
OVER = idea("over", edits=[(GAIN_A, f"max({GAIN_A}, 2.0)")], mean=-0.3)
"""With it, `first` does nothing any more."""
OVERTAKEN = [FIRST, *toy.NULL, OVER, idea("null-three", {"label": "three"}), OTHER]
ALONE = {"together": False}
"""One by one: what each gains by itself, whatever it overlaps with."""
LONG = {"budget": "500runs", "policy": {"screen_ideas": 4}}


def rechecks(store, campaign):
    return summarise(store, store.campaign(campaign))["rechecks"]


def by_name(recheck):
    return {change["name"]: change for change in recheck["changes"]}


@pytest.fixture(scope="module")
def overtaken(toy_data, fast_disk):
    file = toy.write_ideas(fast_disk / "overtaken.toml", OVERTAKEN)
    settings = toy.config(file, toy_data, **LONG)
    store, campaign, _ = toy.run_fake(settings, fast_disk / "overtaken")
    with store:
        yield settings, store, campaign.id


def test_a_change_that_a_later_one_makes_useless_is_evicted(overtaken):
    _, store, campaign = overtaken
    states = toy.states(store, campaign)
    assert {name for name, (state, _) in states.items() if state == "adopted"} == {"over", "other"}
    state, note = states["first"]
    assert (
        state == "dropped" and note.startswith("evicted before round 2: ") and "adds less than 0.01" in note
    )
    summary = summarise(store, store.campaign(campaign))
    assert {row["id"] for row in summary["adopted"]} == {"over", "other"}
    assert summary["trunk_cm_low"] < 2.0 * 1.4 < summary["trunk_cm_high"]


def test_its_finding_stays_and_says_when_and_why_it_left(overtaken):
    _, store, campaign = overtaken
    findings = {finding.idea.name: finding for finding in store.findings(campaign)}
    assert len(findings) == len(store.findings(campaign)) == 3
    assert not findings["first"].adopted
    assert findings["first"].evicted == toy.states(store, campaign)["first"][1]
    assert findings["over"].adopted and not findings["over"].evicted
    assert 2 ** findings["first"].log2_cm.value == pytest.approx(1.4, rel=0.05)


def test_each_change_is_told_with_what_it_adds_now_and_what_is_left_is_looked_at_again(overtaken):
    _, store, campaign = overtaken
    before, after = rechecks(store, campaign)
    assert (before["round"], before["attempt"], after["attempt"]) == (2, 0, 1)
    standings = {name: change["standing"] for name, change in by_name(before).items()}
    assert standings == {"first": "evicted", "over": "earns", "other": "earns"}
    truths = {"first": 0.0, "over": math.log2(2.0 / 1.4), "other": math.log2(1.4)}
    for name, change in by_name(before).items():
        assert (
            change["log2_cm"]["low"] < truths[name] + 0.01 and change["log2_cm"]["high"] > truths[name] - 0.01
        )
    assert by_name(after).keys() == {"over", "other"}
    assert by_name(after)["over"]["log2_cm"]["value"] == pytest.approx(1.0, abs=0.15)


def test_changes_that_overlap_are_measured_as_a_pair(overtaken):
    """What each adds last is less than the whole: `first` and `over` do one thing."""
    _, store, campaign = overtaken
    before, after = rechecks(store, campaign)
    assert before["beyond_last"]["low"] > 0
    pairs = {frozenset(one["changes"]): one["log2_cm"] for one in before["interactions"]}
    found = pairs[frozenset(("first", "over"))]
    assert found["high"] < 0 and found["low"] < -math.log2(1.4) < found["high"]
    others = [interval for pair, interval in pairs.items() if pair != {"first", "over"}]
    assert len(others) == 2 and all(one["low"] < 0 < one["high"] for one in others)
    assert after["interactions"] == []
    assert any("first and over together gain 0.4" in event.message for event in store.events(campaign))


def test_seeds_of_a_recheck_are_fresh_and_shared_by_its_arms(overtaken):
    _, store, campaign = overtaken
    plans = store.plans(campaign, PlanKind.RECHECK)
    assert len({plan.seeds for plan in plans}) == 1
    assert_fresh(store, campaign)


def assert_fresh(store, campaign):
    plans = store.plans(campaign)
    mine = {seed for plan in plans if plan.kind is PlanKind.RECHECK for seed in plan.seeds}
    others = {seed for plan in plans if plan.kind is not PlanKind.RECHECK for seed in plan.seeds}
    assert mine and not mine & (others | {run.spec.seed for run in store.runs(campaign, stage="curve")})


def test_the_trunk_is_on_record_without_the_evicted_change_and_the_last_check_is_of_that(overtaken):
    _, store, campaign = overtaken
    points = trunk_points(store, store.campaign(campaign))
    *before, last = [(point["round"], point["checked"], "first" in point["adopted"]) for point in points]
    assert before == [(0, False, True), (1, False, True), (2, False, False)]
    assert last[1:] == (True, False)
    assert points[-1]["recipe"] == points[-2]["recipe"]


class Killed(Exception):
    """The machine went away."""


def outcome(store, campaign):
    runs = [(run.id, run.stage, run.idea, run.state) for run in store.runs(campaign)]
    messages = [event.message for event in store.events(campaign)]
    assert len(messages) == len(set(messages)), "a line was logged twice"
    return (
        *(toy.verdict_records(store, campaign), toy.finding_records(store, campaign)),
        *(toy.states(store, campaign), rechecks(store, campaign), runs, messages),
    )


@pytest.mark.parametrize("budget", ["500runs", "158runs"])
def test_killed_at_any_run_of_a_recheck_it_ends_the_same(budget, toy_data, lab_root):
    """With 160 runs there is room for one pair of changes and for no second look, whoever counts when."""
    file = toy.write_ideas(lab_root / "ideas.toml", OVERTAKEN)
    settings = toy.config(file, toy_data, **{**LONG, "budget": budget})
    reference, original, _ = toy.run_fake(settings, lab_root / "undisturbed", workers=1)
    lives, kills, store = {}, 0, None

    def answer(job):
        if '"recheck"' in (job.source.parent / "config.json").read_text():
            lives["left"] -= 1
            if lives["left"] < 0:
                raise Killed
        return toy.train_here(job)

    done = False
    while not done:
        lives["left"] = 10
        try:
            if store is None:
                toy.run_fake(settings, lab_root / "killed", workers=1, answer=answer)
            else:
                toy.continue_fake(settings, store, store.campaign(), workers=1, answer=answer)
            done = True
        except Killed:
            kills += 1
            if store is not None:
                store.close()
            store = Store(lab_root / "killed")
    with store, reference:
        found = store.campaign().id
        assert kills >= 4
        assert {run.state for run in store.runs(found)} == {RunState.FINISHED}
        assert outcome(store, found) == outcome(reference, original.id)
        assert len(rechecks(store, found)) == (2 if budget == "500runs" else 1)


def test_killed_between_an_eviction_and_its_record_it_ends_the_same(overtaken, lab_root, monkeypatch):
    settings, reference, original = overtaken
    with monkeypatch.context() as patched:
        patched.setattr(Store, "put_finding", _first_marked(Store.put_finding))
        with pytest.raises(Killed):
            toy.run_fake(settings, lab_root)
    with Store(lab_root) as store:
        campaign = store.campaign()
        assert toy.states(store, campaign.id)["first"][0] == "dropped"
        toy.continue_fake(settings, store, campaign)
        assert outcome(store, campaign.id) == outcome(reference, original)


def _first_marked(put):
    def dying(self, campaign, finding):
        if finding.evicted:
            raise Killed
        return put(self, campaign, finding)

    return dying


def test_changes_that_all_earn_their_place_all_stay(campaign):
    store, found = campaign([*toy.GOOD, OTHER, *toy.NULL], budget="400runs")
    (recheck,) = rechecks(store, found)
    assert {change["standing"] for change in recheck["changes"]} == {"earns"}
    assert set(recheck["adopted"]) == {"good-knob", "good-source", "other"}
    assert recheck["whole"]["low"] < math.log2(1.5 * 1.6 * 1.4) < recheck["whole"]["high"]
    assert recheck["beyond_adoption"]["low"] < 0 < recheck["beyond_adoption"]["high"]
    assert recheck["interactions"] == []
    assert not any(finding.evicted for finding in store.findings(found))


def test_two_that_overlap_from_the_start_gain_less_than_their_sum_and_both_stay(campaign):
    """1.5 and 1.68 alone, 1.8 together: adopted in one round, for a sum that the whole does not have."""
    half = idea("half", {"gain_a": 1.5})
    rival = idea("rival", edits=[(GAIN_A, f"(1.2 * max({GAIN_A}, 1.4))")])
    store, found = campaign([half, rival, *toy.NULL], budget="300runs", policy=ALONE | {"recheck_after": 2})
    recheck = rechecks(store, found)[0]
    assert {change["standing"] for change in recheck["changes"]} == {"earns"}
    assert recheck["beyond_adoption"]["high"] < 0 < recheck["beyond_last"]["low"]
    (pair,) = recheck["interactions"]
    truth = math.log2(1.8) - math.log2(1.5) - math.log2(1.68)
    assert set(pair["changes"]) == {"half", "rival"}
    assert pair["log2_cm"]["low"] < truth < pair["log2_cm"]["high"] < 0
    assert len(store.runs(found, stage="recheck")) == 4 * 6  # without both it is the original


def test_of_two_that_do_the_same_thing_one_goes_and_the_other_then_earns(campaign):
    twins = [
        idea("one-way", edits=[(GAIN_A, f"max({GAIN_A}, 1.7)")]),
        idea("other-way", {"gain_a": 1.7}),
    ]
    for seed in range(1, 9):  # whether both are adopted is up to the noise of the block that chose the stack
        store, found = campaign([*twins, *toy.NULL], seed=seed)
        if rechecks(store, found):
            break
    first, second = rechecks(store, found)[:2]
    gone = [change["name"] for change in first["changes"] if change["standing"] == "evicted"]
    assert len(gone) == 1
    (left,) = second["changes"]
    assert (left["standing"], left["name"] in gone) == ("earns", False)
    assert left["log2_cm"]["value"] == pytest.approx(math.log2(1.7), abs=0.1)


def test_a_change_that_needs_another_is_left_out_with_it(campaign):
    base = idea("base", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.6")], mean=0.6)
    later = idea("later", edits=[("EFFICIENCY = 1.6", "EFFICIENCY = 2.4")], mean=-0.3)
    store, found = campaign([base, *toy.NULL, OTHER, later], **LONG)
    changes = by_name(rechecks(store, found)[0])
    assert changes["base"]["with_it"] == ["later"] and changes["later"]["with_it"] == []
    assert changes["base"]["log2_cm"]["value"] == pytest.approx(math.log2(2.4), abs=0.2)
    assert changes["later"]["log2_cm"]["value"] == pytest.approx(math.log2(1.5), abs=0.1)
    assert rechecks(store, found)[0]["beyond_last"] is None


def test_a_change_without_which_nothing_runs_cannot_be_left_out_and_stays(campaign):
    def answer(job):
        bare = "--set" in job.argv and not any("gain_a" in part for part in job.argv)
        if bare and "max(knobs" in (job.source / "train.py").read_text():
            return RunResult(status=RunStatus.CRASHED, reason="too wide", tokens=1, train_seconds=1.0)
        return toy.train_here(job)

    store, found = campaign(OVERTAKEN, answer=answer, **LONG)
    recheck = rechecks(store, found)[0]
    standings = {name: change["standing"] for name, change in by_name(recheck).items()}
    assert standings == {"first": "not tested", "over": "earns", "other": "earns"}
    assert "first could not be left out: without it a smoke run crashed: too wide." in recheck["summary"]
    assert toy.states(store, found)["first"][0] == "adopted" and recheck["beyond_last"] is None


def test_a_budget_without_room_for_it_is_told_and_kept(campaign):
    store, found = campaign([*toy.GOOD, *toy.NULL], budget="76runs", policy=ALONE)
    assert rechecks(store, found) == [] and not store.plans(found, PlanKind.RECHECK)
    said = [event.message for event in store.events(found) if event.stage == "recheck"]
    assert len(said) == 1 and "not rechecked, that takes 24 runs and the budget has room for" in said[0]
    assert len(store.runs(found)) <= 76 and trunk_points(store, store.campaign(found))[-1]["checked"]


def test_a_recheck_waits_for_so_many_new_changes_and_comes_before_the_last_check(campaign):
    store, found = campaign(OVERTAKEN, budget="500runs", policy={"screen_ideas": 4, "recheck_after": 2})
    rounds = [recheck["round"] for recheck in rechecks(store, found)]
    assert rounds[0] == 1 and rounds[-1] > 1
    orders = [event.message.split(",")[0] for event in store.events(found) if event.stage == "verify"]
    assert orders[-1].startswith("last check of the trunk")


def test_the_last_check_of_the_same_round_has_seeds_of_its_own(campaign):
    store, found = campaign([*toy.GOOD, *toy.NULL])
    rounds = {plan.kind: plan.round for plan in store.plans(found)}
    assert rounds[PlanKind.RECHECK] == rounds[PlanKind.VERIFY]
    assert_fresh(store, found)


def test_a_trunk_without_a_dear_change_is_charged_without_it(campaign):
    """By the clock `dear` takes 1.3 times its FLOPs, so whatever holds it gets fewer tokens."""

    def answer(job):
        result = toy.train_here(job)
        dear = any("gain_b" in part for part in job.argv) and not job.id.startswith("smoke")
        return result.model_copy(update={"cpu_seconds": result.tokens / 40_000 * (1.3 if dear else 1.0)})

    dear = idea("dear", {"gain_b": 2.0})
    store, found = campaign([dear, toy.GOOD[1], *toy.NULL], answer=answer, budget="10m")
    tokens = {}
    for plan in store.plans(found, PlanKind.RECHECK):
        tokens["trunk"] = plan.control_tokens
        recipe = store.recipe(plan.treatment)
        source = "EFFICIENCY = 1.6" in store.load_tree(recipe.tree)["train.py"]
        tokens[bool(recipe.overrides), source] = plan.treatment_tokens
    whole, cut = tokens[False, False], tokens["trunk"]
    assert whole == 40_000 and cut == pytest.approx(40_000 / 1.3, rel=0.05)
    assert tokens == {"trunk": cut, (False, False): whole, (False, True): whole, (True, False): cut}


def test_the_least_gain_is_what_it_is_worth_where_the_trunk_stands(campaign):
    """A curve gets flatter: on a trunk of CM 2.4 one per cent of compute is fewer bits."""
    store, found = campaign([*toy.GOOD, *toy.NULL])
    rules = {plan.kind: plan.rule for plan in store.plans(found)}
    flatter = rules[PlanKind.RECHECK].min_loss_gain / rules[PlanKind.CONFIRM].min_loss_gain
    assert flatter == pytest.approx(2.4**-0.3, rel=0.05)
