"""One campaign in real processes with everything planted that happens to ideas."""

import pytest
import toy
from toy import idea

from mendel.campaign.summary import summarise
from mendel.records import PlanKind, RunStatus, Shard
from mendel.store import RunState

FAILING = {
    "crashing": ({"fail": "crash"}, "smoke run crashed: RuntimeError: shapes (3, 4) and (5, 6) do not match"),
    "exiting-late": ({"fail": "late_exit"}, "screening runs crashed: exit code 7"),
    "diverging": ({"fail": "nan"}, "smoke run diverged: loss is nan at step 3"),
    "diverging-late": ({"fail": "late_nan"}, "screening runs diverged: loss is nan at step 3"),
    "hanging": ({"fail": "hang"}, "smoke run timed out: still running after 4 s"),
    "hungry": ({"fail": "hog"}, "smoke run out of memory: used more than 250 MB"),
    "mute": ({"fail": "mute"}, "smoke run crashed: scoring: FileNotFoundError"),
}
LATER = {"mean": -0.5, "sd": 0.1}
"""A forecast that puts an idea into the second round."""
IDEAS = [
    *(*toy.GOOD, *toy.NULL, *toy.HARMFUL),
    *(idea(name, overrides) for name, (overrides, _) in FAILING.items()),
    idea("boasting", {"boast": True}),
    idea("silent", {"fail": "silent"}),
    idea("overtaken", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.2")], **LATER),
]


@pytest.fixture(scope="module")
def planted(toy_data, fast_disk):
    file = toy.write_ideas(fast_disk / "planted.toml", IDEAS)
    store, campaign = toy.run_local(
        toy.config(file, toy_data, policy={"screen_ideas": 10, "together": False}), fast_disk / "planted"
    )
    with store:
        yield store, campaign.id


@pytest.fixture(scope="module")
def states(planted):
    return toy.states(*planted)


def test_the_campaign_ends(planted):
    store, campaign = planted
    assert store.campaign(campaign).state == "finished"
    assert store.decision(campaign, "loop")["seconds"] > 0


@pytest.mark.parametrize(("name", "truth"), [("good-knob", 1.5), ("good-source", 1.6)])
def test_a_good_idea_is_adopted_with_an_interval_about_its_true_multiplier(planted, states, name, truth):
    store, campaign = planted
    assert states[name][0] == "adopted"
    found = next(finding for finding in store.findings(campaign) if finding.idea.name == name)
    # Ten standard errors wide would also hold: planted gains must not be off by more than a few percent.
    assert 2**found.log2_cm.low < truth * 1.03 and 2**found.log2_cm.high > truth / 1.03
    assert 2**found.log2_cm.high / 2**found.log2_cm.low < 1.2


@pytest.mark.parametrize("name", ["null-one", "null-two", "harmful", "boasting", "silent"])
def test_an_idea_without_a_gain_is_not_claimed(states, name):
    refused = {"rejected"} if name == "boasting" else set()  # where it is looked at closely enough
    assert states[name][0] in {"screened", "dropped"} | refused


@pytest.mark.parametrize("name", FAILING)
def test_a_patch_that_does_not_run_has_failed_with_its_reason(states, name):
    state, note = states[name]
    assert state == "failed"
    assert note.startswith(FAILING[name][1]) and "\n" not in note


def test_a_patch_whose_lines_the_trunk_changed_is_stale(states):
    state, note = states["overtaken"]
    assert state == "stale"
    assert note.startswith("idea 'overtaken': train.py: the trunk and the patch both change the base")
    assert note.endswith("(also edited by: good-source)")


def test_findings_have_their_evidence(planted):
    store, campaign = planted
    verdicts = {verdict.id: verdict for verdict in store.verdicts(campaign)}
    plans = {plan.id: plan for plan in store.plans(campaign)}
    findings = store.findings(campaign)
    assert {finding.idea.name for finding in findings} == {"good-knob", "good-source"}
    for finding in findings:
        kinds = [plans[verdicts[one].plan].kind for one in finding.verdicts]
        assert kinds == [PlanKind.CONFIRM, PlanKind.ESTIMATE]
        assert all(plans[verdicts[one].plan].idea == finding.idea.name for one in finding.verdicts)
        assert finding.runs == 2 * sum(verdicts[one].pairs for one in finding.verdicts)
        claimed, fresh = (verdicts[one] for one in finding.verdicts)
        assert claimed.selected.low < claimed.difference.low < claimed.difference.high < claimed.selected.high
        assert fresh.selected is None
        assert finding.refuted_by


def test_the_held_out_shard_is_opened_for_confirmation_only_and_each_time_is_recorded(planted):
    store, campaign = planted
    runs = {run.id: run for run in store.runs(campaign)}
    opened = [opening.run for opening in store.held_out_openings(campaign)]
    assert len(opened) == len(set(opened))
    scored = [
        run.id
        for run in runs.values()
        if run.spec.shard is Shard.HELD_OUT and run.result.status in (RunStatus.DONE, RunStatus.REJECTED)
    ]
    assert sorted(opened) == sorted(scored)
    assert {runs[run].stage for run in opened} == {"confirm"}
    stages = {run.stage for run in runs.values() if run.spec.shard is Shard.VALIDATION}
    assert stages == {"curve", "screen", "estimate", "recheck", "verify"}
    summary = summarise(store, store.campaign(campaign))
    assert summary["held_out_reads"] == summary["confirmation_runs"] == len(opened) > 0


def test_no_run_is_trained_twice_and_each_folder_tells_the_whole_story(planted):
    store, campaign = planted
    runs = store.runs(campaign)
    assert {run.state for run in runs} == {RunState.FINISHED}
    assert {run.attempts for run in runs} == {0}
    assert len({run.spec.id for run in runs}) == len(runs)
    for run in runs:
        folder = store.run_folder(campaign, run.id)
        assert folder.read_status()["status"] == run.result.status
        assert (folder.source / "train.py").is_file() and folder.config.is_file()


def test_seeds_of_confirmations_and_estimates_are_fresh(planted):
    store, campaign = planted
    plans = store.plans(campaign)
    used = {kind: {seed for p in plans if p.kind is kind for seed in p.seeds} for kind in PlanKind}
    for kind, seeds in used.items():
        for other, others in used.items():
            assert kind is other or not seeds & others


def test_plans_of_a_cohort_are_fixed_before_any_of_its_runs_exists(planted):
    store, campaign = planted
    for kind in (PlanKind.CONFIRM, PlanKind.ESTIMATE):
        plans = store.plans(campaign, kind, 0)
        runs = [run.created for run in store.runs(campaign, stage=kind.value)]
        assert len(plans) >= 2 and runs
        assert max(_created(store, campaign, plans)) < min(runs)


def _created(store, campaign, plans):
    from sqlalchemy import select

    from mendel.store.tables import PlanRow

    ids = [plan.id for plan in plans]
    with store.transaction() as connection:
        rows = connection.execute(select(PlanRow.created).where(PlanRow.id.in_(ids)))
        return [row.created for row in rows]
