"""Screening: one pair of every idea, and more where that is worth it."""

import json
import math
from collections import Counter

import pytest
import toy
from cohorts import CLEAR, GAINS, said, verdicts
from toy import idea

from mendel.campaign.forecasts import track_record
from mendel.records import PlanKind, RunResult, RunStatus, VerdictKind

MANY = [*toy.GOOD, *toy.HARMFUL, *(idea(f"null-{i:02}", {"label": str(i)}) for i in range(41))]


@pytest.fixture(scope="module")
def many(toy_data, fast_disk):
    """A campaign whose first round screens 44 ideas."""
    file = toy.write_ideas(fast_disk / "many.toml", MANY)
    settings = toy.config(file, toy_data, policy={"screen_ideas": 44, "early_stop": 0.0})
    store, campaign, _ = toy.run_fake(settings, fast_disk / "many")
    with store:
        yield store, campaign.id


def screens(store, campaign, round=0):
    """(plan, verdict) of every idea that was screened in a round."""
    plans = {p.id: p for p in store.plans(campaign, PlanKind.SCREEN) if p.round == round}
    return [(plans[v.plan], v) for v in store.verdicts(campaign) if v.plan in plans]


def test_every_idea_has_one_pair_and_what_enters_has_two(many):
    store, campaign = many
    entered = {plan.idea for plan in store.plans(campaign, PlanKind.CONFIRM) if plan.round == 0}
    assert {"good-knob", "good-source"} <= entered
    pairs = {plan.idea: verdict.pairs for plan, verdict in screens(store, campaign)}
    assert len(pairs) == 44 and min(pairs[name] for name in entered) >= 2
    assert Counter(pairs.values())[1] >= 20


def test_at_most_twelve_first_pairs_share_a_control_and_seconds_use_the_same_controls(many):
    store, campaign = many
    plans = [plan for plan, _ in screens(store, campaign)]
    shared = Counter(plan.seeds[0] for plan in plans)
    assert max(shared.values()) == 12 and len(shared) == 4
    assert {seed for plan in plans for seed in plan.seeds} == set(shared)


def test_a_single_pair_has_an_interval_from_the_noise_of_the_others(many):
    store, campaign = many
    single = [verdict for _, verdict in screens(store, campaign) if verdict.pairs == 1]
    widths = {round(v.difference.high - v.difference.low, 9) for v in single}
    assert len(widths) == 1, "its own pair says nothing of its noise"
    for verdict in single:
        cm = verdict.log2_cm
        assert cm.low < cm.value < cm.high and math.isfinite(cm.high - cm.low)


def test_a_screen_says_how_likely_a_gain_is_and_that_decides_on_second_chances(many):
    store, campaign = many
    likely = {plan.idea: verdict.probability for plan, verdict in screens(store, campaign)}
    assert likely["good-knob"] > 0.99 and likely["harmful"] < 0.01
    again = {plan.idea for plan, _ in screens(store, campaign, round=1)}
    assert again and "harmful" not in again


def test_what_failed_once_is_tried_once_more(campaign):
    failed = []

    def answer(job):
        stage = json.loads((job.source.parent / "config.json").read_text()).get("stage")
        if stage == "screen" and "gain_a=1.5" in job.argv and not failed:
            failed.append(job.id)
            return RunResult(status=RunStatus.DIVERGED, reason="by accident", tokens=0)
        return toy.train_here(job)

    store, found = campaign([*toy.GOOD, *toy.NULL], answer)
    (verdict,) = (v for plan, v in screens(store, found) if plan.idea == "good-knob")
    assert (verdict.failures, verdict.kind) == (1, VerdictKind.NO_DIFFERENCE_SHOWN)
    assert verdict.pairs >= 2


def test_of_many_claims_only_the_stack_is_trained_once_more(campaign):
    policy = {"enter": 0.0, "together": False}
    store, found = campaign(CLEAR, budget="250runs", policy=policy)
    assert {name for name, one in verdicts(store, found).items() if one.kind is VerdictKind.BETTER} == set(
        GAINS
    )
    plans = [plan for plan in store.plans(found, PlanKind.ESTIMATE) if plan.round == 0]
    assert [plan.idea for plan in plans] == [None]
    for finding in store.findings(found):
        cm, truth = finding.log2_cm, math.log2(GAINS[finding.idea.name])
        assert finding.shrunk and finding.measured == "by screening and confirmation, shrunk"
        assert cm.low < truth < cm.high and cm.high - cm.low < 0.3
        assert finding.runs == 2 * verdicts(store, found)[finding.idea.name].pairs
    (line,) = said(store, found, "a: adopted")
    assert line.endswith("by screening and confirmation, shrunk")
    record = track_record(store, store.campaign(found))
    shrunk = {one.idea.name: one.log2_cm.value for one in store.findings(found)}
    assert len(record) == len(CLEAR) and {past.log2_cm for past in record} == set(shrunk.values())
