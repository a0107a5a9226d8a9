"""Where a joint confirmation cannot go on, or must not: halves that fail, alternatives, budgets."""

import json
import math
import random

import pytest
import toy
from cohorts import ALL, BUDGET, CLEAR, IDLE, cohort, halves, holds, said, verdicts
from toy import idea

from mendel.campaign import loop
from mendel.campaign.rounds import ErrorBudget
from mendel.plans.seeds import seed_block
from mendel.records import PlanKind, RunResult, RunStatus, VerdictKind
from mendel.verdicts.together import MOST, most_together

# --- where it cannot go on --------------------------------------------------------------------------------


@pytest.fixture
def errors(monkeypatch):
    """The error budget of the campaign that is run next."""
    kept = ErrorBudget()
    monkeypatch.setattr(loop, "ErrorBudget", lambda: kept)
    return kept


def accounted(errors, together, later):
    """Every e-process that entered has ended, and so has each that was given up: at nothing."""
    assert len(set(errors.entered)) == len(errors.entered) and set(errors.frozen) == set(errors.entered)
    names = [one.partition("@")[0] for one in errors.entered]
    assert names[: len(together)] == together
    again = [one for one in errors.entered if one.endswith("/alone")]
    assert [one.partition("@")[0] for one in again] == later
    for one in again:
        assert errors.frozen[one.removesuffix("/alone")] == -math.inf


def blanks(number):
    return [idea(f"blank-{i}", {"label": str(i)}) for i in range(number)]


def stage_of(job):
    return json.loads((job.source.parent / "config.json").read_text()).get("stage")


def held(job):
    """How many of the four gains a job's recipe holds."""
    return sum(f"gain_{knob}=" in " ".join(job.argv) for knob in "abc") + (
        "EFFICIENCY = 1.0" not in source_of(job)
    )


def test_halves_that_do_not_run_leave_the_ideas_to_be_confirmed_one_by_one(campaign, errors):
    """Two changes that run alone and not together: nothing was trained, so nothing is charged twice."""

    def answer(job):
        if held(job) > 1:
            return RunResult(status=RunStatus.CRASHED, reason="too deep", tokens=1, train_seconds=1.0)
        return toy.train_here(job)

    store, found = campaign(CLEAR, answer, budget=BUDGET, policy=ALL)
    (line,) = said(store, found, "one by one")
    assert line == "one by one from here on: a smoke run of half of them crashed: too deep"
    assert not store.runs(found, stage="halves")
    told = verdicts(store, found)
    assert {one.kind for one in told.values()} == {VerdictKind.BETTER}
    assert {one.together for one in told.values()} == {0}
    accounted(errors, cohort(store, found), [])
    assert len(store.runs(found)) <= 130 * 1.05


def peeking(job):
    """The trainer; an audit rejects halves that hold most of the gains."""
    result = toy.train_here(job)
    if stage_of(job) != "halves" or held(job) < 3:
        return result
    said = {"status": RunStatus.REJECTED, "bits_per_byte": None, "reason": "window: it looks ahead"}
    return result.model_copy(update=said)


def test_a_rejected_half_gives_up_what_its_cohort_showed(campaign, errors):
    store, found = campaign(CLEAR, peeking, budget="160runs", policy=ALL)
    (line,) = said(store, found, "one by one")
    assert line.startswith(
        "one by one from here on: an audit rejected a run of half of them, window: it looks"
    )
    assert store.runs(found, stage="halves")
    told = verdicts(store, found)
    assert {one.together for one in told.values()} == {0}
    assert {one.kind for one in told.values()} == {VerdictKind.BETTER}
    fresh = {spec.seed for run in store.runs(found, stage="confirm") for spec in [run.spec]}
    assert not fresh & {plan.seeds[0] for plan in halves(store, found)}
    accounted(errors, cohort(store, found), cohort(store, found))


def test_what_the_budget_has_no_room_for_after_halves_waits(campaign, errors):
    """Found once: all were confirmed one by one after all, at 104 of 92 runs."""
    store, found = campaign([*CLEAR, *blanks(4)], peeking, budget="92runs", policy=ALL)
    told, members = verdicts(store, found), cohort(store, found)
    late = [name for name in members if "no room to confirm it" in toy.states(store, found)[name][1]]
    assert late and told and not {*late} & {*told} and len(told) + len(late) == len(members)
    assert members[-len(late) :] == late, "the best go first"
    assert len(store.runs(found)) <= 92 * 1.05
    accounted(errors, members, [name for name in members if name not in late])


def test_alternatives_of_members_wait_and_get_their_chance_on_the_next_trunk(campaign):
    rival = idea("rival", {"gain_c": 1.18})
    ideas = [
        *(one.model_copy(update={"patch": one.patch.model_copy(update={"slot": one.name})}) for one in CLEAR)
    ]
    rival = rival.model_copy(update={"patch": rival.patch.model_copy(update={"slot": "c"})})
    store, found = campaign([*ideas, rival], budget="200runs", policy=ALL)
    members = cohort(store, found)
    (waits,) = {"c", "rival"} - set(members)
    assert {"c", "rival"} & set(members)
    assert waits not in verdicts(store, found)
    assert not [
        run
        for run in store.runs(found, stage="confirm")
        if run.idea == waits
        and run.spec.rung == 0
        and run.spec.seed in store.plans(found, PlanKind.CONFIRM, idea=waits)[0].seeds
    ]
    assert [p.round for p in store.plans(found, PlanKind.SCREEN, idea=waits)][:2] == [0, 1]


# --- failures now and then --------------------------------------------------------------------------------


def test_the_more_runs_fail_the_fewer_ideas_share_one():
    assert most_together(0.0) == MOST
    assert most_together(0.02) == 5
    assert most_together(0.05) == 2


def sometimes(share):
    """The trainer, a share of whose halves diverge, by their seed and knobs."""

    def answer(job):
        if stage_of(job) == "halves" and held(job) and toy_number(job) < share:
            return RunResult(status=RunStatus.DIVERGED, reason="loss is nan", tokens=1, train_seconds=1.0)
        return toy.train_here(job)

    return answer


def source_of(job):
    return (job.source / "train.py").read_text()


def toy_number(job):
    """A number from 0 to 1 that follows from what a job trains."""
    argv = [word for word in job.argv if "/" not in word]
    return random.Random(" ".join(argv)).random()


def test_ideas_that_fail_now_and_then_are_confirmed_one_by_one(campaign):
    def answer(job):
        first = job.argv[job.argv.index("--seed") + 1].endswith("00")
        if stage_of(job) == "screen" and first and "gain_a=1.3" in job.argv:
            return RunResult(status=RunStatus.DIVERGED, reason="loss is nan", tokens=1, train_seconds=1.0)
        return toy.train_here(job)

    store, found = campaign(CLEAR, answer, budget=BUDGET, policy=ALL)
    screens = {plan.id for plan in store.plans(found, PlanKind.SCREEN)}
    assert sum(one.failures for one in store.verdicts(found) if one.plan in screens) == 1
    assert not halves(store, found) and len(verdicts(store, found)) == 4


def test_a_half_that_fails_counts_against_the_ideas_it_holds(campaign):
    store, found = campaign(CLEAR, sometimes(0.2), budget=BUDGET, policy=ALL)
    told, ideas = verdicts(store, found), CLEAR
    results = {run.id: run.result for run in store.runs(found, stage="halves")}
    fingerprint = store.campaign(found).fingerprint.id
    lost = dict.fromkeys(told, 0)
    for plan in halves(store, found):
        for spec in plan.runs(plan.seeds[0], fingerprint):
            if results[spec.id].status is RunStatus.DIVERGED:
                for name in holds(store, spec.recipe, ideas):
                    lost[name] += 1
    assert sum(lost.values()) and {name: one.failures for name, one in told.items()} == lost


@pytest.mark.parametrize("budget", [70, 85, 100, 130])
def test_a_budget_in_runs_is_kept(campaign, budget):
    store, found = campaign([*CLEAR, IDLE, *toy.NULL], budget=f"{budget}runs", policy=ALL)
    assert len(store.runs(found)) <= budget * 1.05
    if budget >= 100:
        assert halves(store, found)


def test_failures_of_later_rounds_do_not_change_what_was_confirmed_together(toy_data, lab_root):
    """Found once: a campaign that was continued counted the failures of screens that were to come."""
    late = [idea(f"late-{i}", {"label": str(i)}, mean=-0.5) for i in range(4)]
    fine = seed_block(1, 0, PlanKind.SCREEN, 10)

    def answer(job):
        seed = int(job.argv[job.argv.index("--seed") + 1])
        changed = any(word.startswith("label=") for word in job.argv)
        if stage_of(job) == "screen" and changed and seed not in fine and seed % 2:
            return RunResult(status=RunStatus.DIVERGED, reason="loss is nan", tokens=1, train_seconds=1.0)
        return toy.train_here(job)

    file = toy.write_ideas(lab_root / "ideas.toml", [*CLEAR, *late])
    settings = toy.config(file, toy_data, budget="220runs", policy={**ALL, "screen_ideas": 5})
    store, campaign, _ = toy.run_fake(settings, lab_root / "lab", answer=answer)
    with store:
        rounds = {plan.id: plan.round for plan in store.plans(campaign.id, PlanKind.SCREEN)}
        assert any(one.failures and rounds.get(one.plan) for one in store.verdicts(campaign.id))
        assert halves(store, campaign.id)
        before = toy.verdict_records(store, campaign.id), [run.id for run in store.runs(campaign.id)]
        toy.continue_fake(settings, store, campaign, answer=answer)
        after = toy.verdict_records(store, campaign.id), [run.id for run in store.runs(campaign.id)]
        assert after == before


def test_a_stack_that_is_not_better_leaves_the_claims_to_be_measured_one_by_one(campaign):
    """Only the stack was trained after a joint claim: where it fails, each is trained by itself."""

    def answer(job):
        result = toy.train_here(job)
        if stage_of(job) == "estimate" and held(job) > 1 and result.bits_per_byte is not None:
            return result.model_copy(update={"bits_per_byte": result.bits_per_byte + 0.5})
        return result

    store, found = campaign(CLEAR, answer, budget="160runs", policy=ALL)
    claimed = {name for name, one in verdicts(store, found).items() if one.kind is VerdictKind.BETTER}
    assert len(claimed) >= 3 and {one.together for one in verdicts(store, found).values()} == {4}
    plans = [plan for plan in store.plans(found, PlanKind.ESTIMATE) if plan.round == 0]
    assert {plan.idea for plan in plans} == {None, *claimed}
    first = [one for one in store.findings(found) if one.round == 0]
    assert [one.idea.name for one in first if one.adopted] == ["a"]
    assert {one.measured for one in first} == {"on fresh pairs"}
