"""Campaigns that climb: gains that fade at the next rung leave the trunk, the others are extrapolated."""

import math
import shutil
from io import StringIO

import pytest
import toy
from rich.console import Console
from toy import idea

from mendel.campaign.agenda import curve_key
from mendel.campaign.summary import summarise, trunk_points
from mendel.campaign.transfers import past_climbs
from mendel.records import PlanKind, RunResult, RunStatus, Transfer
from mendel.report import write_report
from mendel.report.lookup import describe, render
from mendel.store import CampaignState, RunState, Store
from mendel.testbeds import load_testbed

MULTIPLIER = "multiplier = EFFICIENCY"
STAYS = idea("stays", {"gain_a": 1.5}, mean=0.6)
FADES = idea("fades", edits=[(MULTIPLIER, f"{MULTIPLIER} * (1.5 if tokens < 100_000 else 1.0)")], mean=0.5)
"""Its gain is gone at rung 1."""
FALLS = "multiplier = EFFICIENCY * (tokens / 40_000) ** -0.1"
SHRINKS = idea("shrinks", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.6"), (MULTIPLIER, FALLS)])
"""Per doubling of compute it loses 0.1 of its log2 CM."""
TWO = {"rungs": (0, 1), "budget": "400runs"}
CLIMB = "climb"


@pytest.fixture(scope="session")
def ladder(fast_disk):
    """The toy testbed with a rung more."""
    folder = shutil.copytree(toy.TESTBED, fast_disk / "ladder")
    with (folder / "testbed.toml").open("a") as file:
        file.write("\n[[rungs]]\ntokens = 640_000\ntimeout = 4\n")
    load_testbed(str(folder))
    return folder


@pytest.fixture
def campaign(toy_data, lab_root):
    stores = []

    def run(ideas, name="lab", answer=None, **changes):
        file = toy.write_ideas(lab_root / f"{name}.toml", ideas)
        store, found, _ = toy.run_fake(
            toy.config(file, toy_data, **{**TWO, **changes}), lab_root / name, answer=answer
        )
        stores.append(store)
        return store, found.id

    yield run
    for store in stores:
        store.close()


def findings(store, campaign):
    return {finding.idea.name: finding for finding in store.findings(campaign)}


def climbed(store, campaign):
    return summarise(store, store.campaign(campaign))[CLIMB]


@pytest.fixture(scope="module")
def both(toy_data, fast_disk):
    file = toy.write_ideas(fast_disk / "both.toml", [STAYS, FADES, *toy.NULL])
    settings = toy.config(file, toy_data, **TWO)
    store, found, outcome = toy.run_fake(settings, fast_disk / "both")
    with store:
        yield settings, store, found.id, outcome


def test_a_gain_that_is_gone_at_the_next_rung_does_not_transfer_and_leaves_the_trunk(both):
    _, store, campaign, outcome = both
    fades = findings(store, campaign)["fades"]
    assert fades.transfer is Transfer.DOES_NOT and not fades.adopted
    lowest, higher = fades.by_rung
    assert lowest.log2_cm.low > 0.3 and higher.log2_cm.high < 0.01 and higher.log2_cm.low > -0.3
    state, note = toy.states(store, campaign)["fades"]
    assert state == "dropped" and "does not transfer to rung 1" in note and fades.evicted == note
    assert outcome.trunk.names == ("stays",)
    assert any("fades does not transfer to rung 1" in event.message for event in store.events(campaign))


def test_a_gain_that_stays_is_kept_with_an_extrapolation_near_the_truth(both):
    _, store, campaign, _ = both
    stays = findings(store, campaign)["stays"]
    assert stays.transfer is Transfer.TRANSFERS and stays.adopted and not stays.evicted
    truth, ahead = math.log2(1.5), stays.extrapolation
    assert ahead.log2_cm.low < truth < ahead.log2_cm.high and ahead.flops == 160_000
    assert ahead.log2_cm.value == pytest.approx(truth, abs=0.1) and ahead.probability > 0.99
    assert ahead.band[-1][1:] == (ahead.log2_cm.value, ahead.log2_cm.low, ahead.log2_cm.high)


def test_the_trunk_without_it_is_on_record_and_the_last_check_is_of_that(both):
    _, store, campaign, outcome = both
    points = trunk_points(store, store.campaign(campaign))
    without = next(point for point in points if point["adopted"] == ["stays"])
    assert not without["checked"] and without["log2_cm"]["low"] < math.log2(1.5) < without["log2_cm"]["high"]
    assert all(point["adopted"] == ["stays"] for point in points if point["checked"])
    assert outcome.trunk_cm.keys() == {0, 1}


def test_climbs_are_forecast_before_they_are_run_and_scored_after(both):
    _, store, campaign, _ = both
    found = climbed(store, campaign)
    assert {one["id"]: one["transfer"] for one in found["ideas"]} == {
        "stays": "transfers",
        "fades": "does not transfer",
    }
    scores = found["forecasts"]
    assert scores["outcomes"] == 2 and scores["transferred"]["value"] == 0.5
    assert 0.5 < scores["said"]["value"] <= 1 and scores["brier"]["value"] > 0.3
    kept = store.decisions([campaign], "/climb")[campaign]
    assert all(isinstance(step, dict) for step in kept.values())
    first = min(store.plans(campaign, PlanKind.CLIMB), key=lambda plan: plan.idea)
    assert any(step.get("idea") == first.idea and 0 < step["probability"] <= 1 for step in kept.values())


def test_what_climbed_teaches_how_much_of_a_gain_is_kept(both):
    _, store, campaign, _ = both
    assert len(past_climbs(store, store.campaign(campaign))) == 2
    retention = climbed(store, campaign)["retention"]["all"]
    assert retention["ideas"] == 2 and retention["per_rung"] < 0.9 and retention["per_rung_sd"] > 0.2


def test_seeds_are_fresh_and_the_curve_of_a_rung_is_trained_once(both):
    _, store, campaign, _ = both
    plans = store.plans(campaign)
    mine = {seed for plan in plans if plan.kind is PlanKind.CLIMB for seed in plan.seeds}
    others = {seed for plan in plans if plan.kind is not PlanKind.CLIMB for seed in plan.seeds}
    assert mine and not mine & others
    curves = [run for run in store.runs(campaign, stage="curve") if run.spec.rung == 1]
    assert len({(run.spec.tokens, run.spec.seed) for run in curves}) == len(curves)
    assert len([run for run in curves if run.spec.tokens <= 4 * 160_000]) == 8
    assert store.decision(campaign, curve_key(1))


def test_changes_on_one_control_share_its_runs(both):
    _, store, campaign, _ = both
    first, second = store.plans(campaign, PlanKind.CLIMB)
    assert (first.control, first.seeds, first.rung) == (second.control, second.seeds, 1)
    assert len(store.runs(campaign, stage=CLIMB)) == 3 * len(first.seeds)


def test_the_second_change_on_a_control_costs_half_as_much(both):
    _, store, campaign, _ = both
    kept = store.decisions([campaign], "/climb")[campaign]
    steps = [kept[key] for key in sorted(kept) if "idea" in kept[key]]
    assert [step["price"] for step in steps] == [12, 6]


def test_what_joined_a_later_trunk_is_measured_against_that_and_read_off_the_originals_curve(campaign):
    other = idea("other", {"gain_b": 1.4}, mean=-0.3)
    ideas = [STAYS, *toy.NULL, other, idea("null-three", {"label": "three"})]
    store, found = campaign(ideas, budget="600runs", policy={"screen_ideas": 3})
    later = findings(store, found)["other"]
    plan = next(plan for plan in store.plans(found, PlanKind.CLIMB) if plan.idea == "other")
    assert later.round > 0 and plan.control == later.control and plan.treatment == later.treatment
    assert later.by_rung[1].log2_cm.value == pytest.approx(math.log2(1.4), abs=0.04)


def test_a_trend_over_three_rungs_is_found(campaign, ladder):
    store, found = campaign([SHRINKS, *toy.NULL], testbed=str(ladder), rungs=(0, 1, 2))
    shrinks = findings(store, found)["shrinks"]
    assert [one.rung for one in shrinks.by_rung] == [0, 1, 2]
    ahead = shrinks.extrapolation
    assert ahead.slope.low < -0.1 < ahead.slope.high < 0
    assert ahead.log2_cm.value == pytest.approx(math.log2(1.6) - 0.4, abs=0.1)


def test_a_target_beyond_the_rungs_is_extrapolated_to_and_none_above_it_is_climbed(campaign, ladder):
    far = {"target_flops": 2_560_000}
    store, found = campaign([STAYS, *toy.NULL], testbed=str(ladder), policy=far)
    ahead = findings(store, found)["stays"].extrapolation
    assert ahead.flops == 2_560_000 and len(findings(store, found)["stays"].by_rung) == 2
    assert ahead.log2_cm.low < math.log2(1.5) < ahead.log2_cm.high
    near = {"target_flops": 100_000}
    store, found = campaign([FADES, *toy.NULL], "near", testbed=str(ladder), policy=near)
    fades = findings(store, found)["fades"]
    assert fades.transfer is Transfer.NOT_MEASURED and fades.adopted and not fades.by_rung


def test_with_one_rung_nothing_climbs(campaign):
    store, found = campaign([STAYS, FADES, *toy.NULL], rungs=(0,))
    assert {one.transfer for one in findings(store, found).values()} == {Transfer.NOT_MEASURED}
    assert not store.plans(found, PlanKind.CLIMB) and not store.decisions([found], "/climb")[found]
    assert {run.spec.rung for run in store.runs(found)} == {0}
    assert climbed(store, found)["ideas"] == []


def test_a_budget_without_room_is_told_and_the_last_check_is_made(campaign):
    policy = {"climb_pairs": 60}
    store, found = campaign([STAYS, *toy.NULL], budget="140runs", policy=policy)
    assert not store.plans(found, PlanKind.CLIMB)
    said = [event.message for event in store.events(found) if event.stage == CLIMB]
    assert len(said) == 1
    assert "stays: not measured at rung 1, that takes 120 runs and the budget has room for" in said[0]
    checked = {point["rung"] for point in trunk_points(store, store.campaign(found)) if point["checked"]}
    assert checked == {0, 1} and len(store.runs(found)) <= 140


def test_rounds_to_come_are_worth_more_than_a_climb_unless_it_is_asked_for_at_once(campaign):
    """With ideas waiting, a change that is surely kept does not climb before the last round."""
    ideas = [STAYS, *toy.NULL, *(idea(f"null-{n}", {"label": f"n{n}"}, mean=-0.1) for n in range(6))]

    def waited(name, climb):
        store, found = campaign(ideas, name, policy={"screen_ideas": 3, "climb": climb})
        (plan,) = store.plans(found, PlanKind.CLIMB)
        return plan.round - findings(store, found)["stays"].round

    assert waited("at-once", 0.0) == 1 and waited("later", 1e9) > 1


def test_what_does_not_run_at_the_next_rung_is_told_and_stays(campaign):
    def answer(job):
        rung = job.argv[job.argv.index("--rung") + 1]
        if rung == "1" and "1.5 if" in (job.source / "train.py").read_text():
            return RunResult(status=RunStatus.CRASHED, reason="too wide", tokens=1, train_seconds=1.0)
        return toy.train_here(job)

    store, found = campaign([FADES, *toy.NULL], answer=answer)
    fades = findings(store, found)["fades"]
    assert fades.transfer is Transfer.NOT_MEASURED and fades.adopted
    assert any("fades: not measured at rung 1, a smoke run crashed: too wide" in event.message
               for event in store.events(found))  # fmt: skip


def test_an_audit_of_the_higher_rung_takes_a_change_out_of_the_trunk(campaign):
    def answer(job):
        result = toy.train_here(job)
        slow = job.argv[job.argv.index("--rung") + 1] == "1" and any("gain_a=1.5" in arg for arg in job.argv)
        if result.status is not RunStatus.DONE or not slow or job.id.startswith("smoke"):
            return result
        return RunResult.model_validate({**result.model_dump(), "cpu_seconds": 3.0})

    store, found = campaign([STAYS, *toy.NULL], answer=answer)
    stays = findings(store, found)["stays"]
    assert stays.transfer is Transfer.NOT_MEASURED and not stays.adopted and not stays.by_rung
    assert stays.evicted.startswith("evicted before round 1: at rung 1 ") and "compute" in stays.evicted


def test_finished_campaigns_teach_what_is_kept_and_their_forecasts_are_scored(campaign):
    store, first = campaign([FADES, *toy.NULL])
    store.set_state(first, CampaignState.FINISHED)
    store, second = campaign([STAYS, *toy.NULL], seed=2)
    found = store.campaign(second)
    assert [len(climb.effects) for climb in past_climbs(store, found)] == [2, 2]
    assert climbed(store, second)["forecasts"]["outcomes"] == 2
    assert [one["id"] for one in climbed(store, second)["ideas"]] == ["stays"]
    (step,) = [kept for kept in store.decisions([second], "/climb")[second].values() if "idea" in kept]
    (before,) = [kept for kept in store.decisions([first], "/climb")[first].values() if "idea" in kept]
    assert step["sd"] > 1.2 * before["sd"] and step["mean"] < before["mean"]


class Killed(Exception):
    """The machine went away."""


def outcome(store, campaign):
    runs = [(run.id, run.stage, run.idea, run.state) for run in store.runs(campaign)]
    messages = [event.message for event in store.events(campaign)]
    assert len(messages) == len(set(messages)), "a line was logged twice"
    return (
        *(toy.verdict_records(store, campaign), toy.finding_records(store, campaign)),
        *(toy.states(store, campaign), climbed(store, campaign), runs, messages),
    )


def test_killed_at_any_run_of_a_climb_or_after_it_ends_the_same(both, lab_root):
    settings, store, campaign, _ = both
    reference = outcome(store, campaign)
    stages = (CLIMB, PlanKind.VERIFY.value)  # later, what was climbed is on record already
    wanted = {run.id for stage in stages for run in store.runs(campaign, stage=stage)}
    killed = set()

    def answer(job):
        if job.id in wanted and job.id not in killed:
            killed.add(job.id)
            raise Killed
        return toy.train_here(job)

    with pytest.raises(Killed):
        toy.run_fake(settings, lab_root, workers=1, answer=answer)
    while True:
        with Store(lab_root) as again:
            try:
                toy.continue_fake(settings, again, again.campaign(), workers=1, answer=answer)
            except Killed:
                continue
            assert killed == wanted
            assert sorted(outcome(again, again.campaign().id)[4]) == sorted(reference[4])
            assert [*outcome(again, again.campaign().id)[:4]] == [*reference[:4]]
            assert not again.runs(again.campaign().id, RunState.RUNNING)
            return


def test_the_report_shows_it_in_words_and_as_a_picture(both, lab_root):
    _, store, campaign, _ = both
    found = store.campaign(campaign)
    path = lab_root / "report.html"
    write_report(store, found, summarise(store, found), trunk_points(store, found), path)
    page = path.read_text()
    assert "fades does not transfer to rung 1: CM " in page and "stays transfers to rung 1: CM " in page
    assert page.count(": compute multiplier against compute") >= 4 and "measured: does not transfer" in page
    assert "Climbs: of 2 steps 50 %" in page and "target scale of 1.6e+05 tokens" in page


def test_show_tells_it(both):
    _, store, campaign, _ = both
    found = describe(store, store.campaign(campaign), "fades")
    console = Console(file=StringIO(), width=400)
    render(console, found)
    assert "fades does not transfer to rung 1" in console.file.getvalue()
    assert found["finding"]["transfer"] == "does not transfer" and len(found["finding"]["by_rung"]) == 2
