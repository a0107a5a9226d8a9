"""What the loop does at its edges: budgets, blanks, second chances, controls that fail."""

import re

import pytest
import toy
from toy import idea

from mendel.campaign.config import ConfigError
from mendel.campaign.lab import LabError
from mendel.campaign.summary import SCHEMA, summarise
from mendel.records import PlanKind, RunResult, RunStatus


def test_a_budget_in_runs_is_kept(campaign):
    ideas = [*toy.GOOD, *toy.NULL, *(idea(f"null-{i}", {"label": str(i)}) for i in range(12))]
    for budget in (80, 100, 160):
        store, found = campaign(ideas, budget=f"{budget}runs")
        assert len(store.runs(found)) <= budget * 1.05


@pytest.mark.parametrize(
    ("budget", "why"),
    [
        (
            "80runs",
            "no further rounds: [0-9]+ ideas could be tried, but what is left of the budget .80 runs. has no",
        ),
        ("400runs", "no further rounds: nothing is left that is worth a try$"),
    ],
)
def test_a_campaign_says_why_it_ended(campaign, budget, why):
    ideas = [*toy.HARMFUL, *(idea(f"harm-{i}", {"gain_b": 0.4 + i / 100}) for i in range(14))]
    store, found = campaign(ideas, budget=budget, policy={"screen_ideas": 4})
    ended = summarise(store, store.campaign(found))["ended"]
    assert re.match(why, ended)
    assert [event.message for event in store.events(found)].count(ended) == 1


def test_a_budget_in_runs_that_is_too_small_is_refused_before_anything_is_trained(toy_data, lab_root):
    """With the least number that is not."""
    file = toy.write_ideas(lab_root / "ideas.toml", [*toy.GOOD, *toy.NULL])

    def campaign(budget):
        toy.run_fake(toy.config(file, toy_data, budget=f"{budget}runs"), lab_root / str(budget))

    def runs(budget):
        with toy.Store(lab_root / str(budget)) as store:
            return len(store.runs(store.campaign().id))

    words = "budget: {} runs is too small; 3 ideas and the last check need ([0-9]+) runs"
    with pytest.raises(ConfigError, match=words.format(10)) as error:
        campaign(10)
    needed = int(str(error.value).split()[-2])
    with pytest.raises(ConfigError, match=words.format(needed - 1)):
        campaign(needed - 1)
    assert runs(10) == runs(needed - 1) == 0
    campaign(needed)
    assert runs(needed) > needed / 2


def test_two_ideas_with_the_same_code_share_their_runs(campaign):
    store, found = campaign([idea("one", {"gain_a": 1.5}), idea("other", {"gain_a": 1.5}), *toy.NULL])
    first, second = (plan for plan in store.plans(found, PlanKind.SCREEN) if plan.idea in ("one", "other"))
    assert (first.treatment, first.seeds) == (second.treatment, second.seeds)
    assert {toy.states(store, found)[name][0] for name in ("one", "other")} <= {
        "adopted",
        "dropped",
        "claimed",
    }


def test_a_harm_is_never_adopted_and_nothing_good_leaves_the_original(campaign):
    store, found = campaign([*toy.HARMFUL, *toy.NULL])
    summary = summarise(store, store.campaign(found))
    assert (summary["adopted"], summary["trunk_cm"], summary["schema"]) == ([], None, SCHEMA)
    assert not store.plans(found, PlanKind.VERIFY)


def test_a_claimed_blank_is_counted_and_never_adopted(campaign):
    ideas = [idea("impostor", {"gain_a": 1.5}), *toy.GOOD[1:], *toy.NULL]
    store, found = campaign(ideas, blanks={"impostor": "initial stream", "null-one": "batch order"})
    summary = summarise(store, store.campaign(found))
    assert [row["id"] for row in summary["adopted"]] == ["good-source"]
    assert (summary["blanks_planted"], summary["blanks_judged"], summary["blanks_claimed"]) == (2, 2, 1)
    state, note = toy.states(store, found)["impostor"]
    assert state == "dropped"
    assert note == "claimed, but planted as a blank (initial stream): a false claim of this campaign"
    assert {f.idea.name for f in store.findings(found)} == {"good-source"}


def test_blanks_are_unblinded_after_their_verdict(campaign):
    store, found = campaign([*toy.GOOD, *toy.NULL], blanks={"null-one": "initial stream"})
    events = {event.message.split(":")[0]: event.time for event in store.events(found)}
    (blank,) = store.blanks(found)
    assert blank.unblinded > events["round 0"]


def test_the_holder_of_a_slot_is_superseded_by_a_better_one(campaign):
    ideas = [
        idea("first", {"gain_a": 1.3}, slot="a", mean=0.5),
        idea("second", {"gain_a": 2.0}, slot="a", mean=-0.3),
        *toy.NULL,
        idea("null-three", {"label": "three"}),
    ]
    store, found = campaign(ideas, policy={"screen_ideas": 3})
    states = toy.states(store, found)
    assert states["second"][0] == "adopted"
    assert states["first"] == ("dropped", "superseded in round 1")
    summary = summarise(store, store.campaign(found))
    assert [row["id"] for row in summary["adopted"]] == ["second"]
    assert summary["trunk_cm_low"] < 2.0 < summary["trunk_cm_high"]


def test_the_trunk_is_measured_against_the_original_at_every_rung(campaign):
    store, found = campaign([*toy.GOOD, *toy.NULL], rungs=[0, 1])
    cms = summarise(store, store.campaign(found))["trunk_by_rung"]
    assert list(cms) == ["0", "1"]
    for cm in cms.values():
        assert cm["cm_low"] < 1.5 * 1.6 * 1.03 and cm["cm_high"] > 1.5 * 1.6 / 1.03


def test_a_trunk_that_does_not_run_at_a_higher_rung_is_told_and_the_rest_stands(campaign):
    def answer(job):
        if job.argv[job.argv.index("--rung") + 1] == "1" and "--set" in job.argv:
            return RunResult(status=RunStatus.CRASHED, reason="too wide", tokens=1, train_seconds=1.0)
        return toy.train_here(job)

    store, found = campaign([*toy.GOOD, *toy.NULL], rungs=[0, 1], answer=answer)
    assert list(summarise(store, store.campaign(found))["trunk_by_rung"]) == ["0"]
    told = [event.message for event in store.events(found) if event.message.startswith("rung 1")]
    assert told == ["rung 1: not checked, a smoke run crashed: too wide"]


def test_an_idea_that_went_stale_at_its_second_chance_is_not_tried_for_ever(campaign):
    """Found once: it was proposed round after round, each of which measured a new scaling curve."""
    winner = idea("winner", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.6")])
    second = idea("second", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.1")])
    harms = [idea(f"harm-{i}", {"gain_b": 0.4, "label": str(i)}) for i in range(2)]
    store, found = campaign([winner, second, *harms], budget="400runs", policy={"cohort": 1})
    assert toy.states(store, found)["second"][0] == "stale"
    assert len(store.runs(found, stage="curve")) <= 20


def test_a_trunk_without_a_scaling_curve_ends_the_search_and_not_the_campaign(campaign):
    """With the change every run is as good as it gets: nothing is left that falls with compute."""
    edit = ("clean = FLOOR + SCALE * (tokens * multiplier / REFERENCE) ** -exponent", "clean = 0.5")
    store, found = campaign([idea("levelling", edits=[edit]), *toy.NULL, *toy.HARMFUL], budget="400runs")
    assert toy.states(store, found)["levelling"][0] == "adopted"
    assert any("no further rounds on this trunk" in event.message for event in store.events(found))
    assert summarise(store, store.campaign(found))["trunk_by_rung"]["0"]["bounded"]


def test_a_control_that_fails_by_accident_is_trained_again_with_its_pairs(campaign):
    failures = []

    def answer(job):
        control = "--set" not in job.argv and not job.id.startswith("smoke")
        if control and len(failures) < 2 and "--tokens" in job.argv and job.id not in failures:
            failures.append(job.id)
            return RunResult(status=RunStatus.CRASHED, reason="killed by SIGKILL", train_seconds=1.0)
        return toy.train_here(job)

    store, found = campaign([*toy.GOOD[:1], *toy.NULL], answer=answer)
    assert toy.states(store, found)["good-knob"][0] == "adopted"
    assert len(failures) == 2


def test_a_control_that_always_fails_ends_the_campaign_and_names_its_folder(campaign):
    seen = []

    def answer(job):
        if "--set" not in job.argv and "screen" in (job.source.parent / "config.json").read_text():
            seen.append(job.id)
            return RunResult(status=RunStatus.CRASHED, reason="bad disk", train_seconds=1.0)
        return toy.train_here(job)

    with pytest.raises(LabError, match=r"control run \w+ failed 3 times \(crashed: bad disk\); see .*/runs/"):
        campaign([*toy.GOOD[:1], *toy.NULL], answer=answer)
    assert max(seen.count(job) for job in seen) == 3


def test_a_recipe_that_does_not_run_is_the_users_to_mend(campaign):
    with pytest.raises(LabError, match="recipe broken does not run at rung 0: crashed, RuntimeError"):
        campaign([*toy.GOOD, *toy.NULL], recipe="broken")


def test_a_recipe_whose_loss_does_not_fall_is_refused_in_one_line(campaign):
    with pytest.raises(LabError, match="scaling curve of recipe .* does not fall with compute") as error:
        campaign([*toy.GOOD, *toy.NULL], recipe="flat")
    assert "\n" not in str(error.value)


def test_a_patch_that_stops_the_count_of_tokens_does_not_stop_the_lab(campaign):
    def answer(job):
        result = toy.train_here(job)
        silent = any("fail=silent" in part for part in job.argv)
        return result.model_copy(update={"tokens": 0}) if silent else result

    store, found = campaign([idea("silent", {"fail": "silent"}), *toy.GOOD, *toy.NULL], answer=answer)
    assert toy.states(store, found)["silent"][0] in ("screened", "dropped")


def test_a_slow_patch_is_charged_by_the_clock_and_refused_where_nothing_is_left_to_train_on(
    campaign, lab_root
):
    """Its FLOPs say nothing, so only CPU seconds can: with a budget in time they count."""

    def answer(job):
        result = toy.train_here(job)
        training = any("gain_b" in part for part in job.argv) and not job.id.startswith("smoke")
        slow = 50.0 if training else 1.0
        return result.model_copy(update={"cpu_seconds": slow})

    slow = idea("slow", {"gain_b": 1.7})
    store, found = campaign([slow, *toy.GOOD, *toy.NULL], answer=answer, budget="10m")
    state, note = toy.states(store, found)["slow"]
    assert state == "failed"
    assert "rung 0 has only" in note and "4096 are the least" in note


def test_a_patch_that_does_too_much_before_its_first_step_is_too_dear_and_no_cheat(campaign, lab_root):
    def answer(job):
        result = toy.train_here(job)
        seconds = 3.0 if any("gain_b" in part for part in job.argv) else 1.0
        return result.model_copy(update={"cpu_seconds": seconds - 0.99 * job.id.startswith("smoke")})

    slow = idea("slow", {"gain_b": 1.7})
    store, found = campaign([slow, *toy.GOOD, *toy.NULL], answer=answer, budget="10m")
    state, note = toy.states(store, found)["slow"]
    assert (state, note) == (
        "failed",
        "what it does once takes 2.00 times a whole run of its control at this rung",
    )


def test_money_ends_a_campaign(toy_data, lab_root):
    file = toy.write_ideas(lab_root / "ideas.toml", [*toy.GOOD, *toy.NULL])
    settings = toy.config(file, toy_data, max_usd=1e-6, usd_per_hour=1.0)
    store, found = toy.run_local(settings, lab_root / "lab")
    with store:
        assert found.state == "finished"
        ended = summarise(store, found)["ended"]
        assert re.match(r"ended before its last check: 0\.00 dollars of 0\.00 are spent", ended)
        assert [event.message for event in store.events(found.id)].count(ended) == 1
        assert len(store.runs(found.id)) < 20


def test_time_that_earlier_sessions_took_counts(toy_data, lab_root):
    """A campaign of ten minutes that is stopped and continued does not get ten more."""
    from mendel.campaign.budget import Budget, Meter
    from mendel.campaign.ground import lay_ground
    from mendel.campaign.lab import Lab
    from mendel.campaign.progress import Progress
    from mendel.runs.fake import FakeExecutor
    from mendel.testbeds import load_testbed

    file = toy.write_ideas(lab_root / "ideas.toml", [*toy.GOOD, *toy.NULL])
    store, found, _ = toy.run_fake(toy.config(file, toy_data), lab_root / "lab")
    with store:
        runs = store.runs(found.id)
        spent = max(run.finished for run in runs) - min(run.started for run in runs)
        ground = lay_ground(load_testbed(toy.TESTBED), toy.config(file, toy_data), lab_root / "lab")
        meter = Meter(Budget(seconds=600.0), 2)
        executor = FakeExecutor(toy.train_here, 2)
        lab = Lab(store, found, ground, executor, meter, Progress())
        # Between runs the lab thinks; only the time when something ran is known of an earlier session.
        assert 0.2 * spent.total_seconds() < lab.time() < 1.2 * spent.total_seconds()
        assert meter.runs == len(runs)
