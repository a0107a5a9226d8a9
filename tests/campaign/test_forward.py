"""Ideas that are tried on top of each other: what the trunk holds, and what is claimed."""

import math
from io import StringIO

import pytest
import toy
from cohorts import holds, said
from rich.console import Console

from mendel.campaign.summary import summarise, trunk_points
from mendel.plans.seeds import seed_block
from mendel.records import PlanKind, VerdictKind
from mendel.report import write_report
from mendel.store import CARRIES
from mendel.terminal import show_summary

SEVERAL = [
    toy.idea("first", {"gain_a": 1.5}, mean=0.9),
    toy.idea("second", {"gain_b": 1.5}, mean=0.8),
    toy.idea("third", {"gain_c": 1.4}, mean=0.7),
    toy.idea("source", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.4")], mean=0.6),
    toy.idea("again", {"gain_a": 1.5, "label": "again"}, mean=0.2),
    toy.NULL[0],
]
"""Gains that add up, one that is within another, and one that does nothing. Tried in this order."""
FORWARD = {"forward": 2, "cohort": 3}
REAL = {"first", "second", "third", "source"}
GAIN = math.log2(1.5 * 1.5 * 1.4 * 1.4)


@pytest.fixture(scope="module")
def tried(toy_data, fast_disk):
    """A campaign of these ideas: (store, id)."""
    file = toy.write_ideas(fast_disk / "several.toml", SEVERAL)
    settings = toy.config(file, toy_data, budget="120runs", policy=FORWARD)
    store, found, _ = toy.run_fake(settings, fast_disk / "several")
    with store:
        yield store, found.id


def screens(store, found, round=0):
    return {p.idea: p for p in store.plans(found, PlanKind.SCREEN) if p.round == round}


def trunk(store, found):
    summary = summarise(store, store.campaign(found))
    return {row["id"] for row in summary["adopted"]}, set(summary["carried"]), summary


# --- screening --------------------------------------------------------------------------------------------


def test_ideas_are_tried_on_top_of_what_was_kept_before_them(tried):
    store, found = tried
    plans = screens(store, found)
    held = {name: holds(store, plan.control, SEVERAL) for name, plan in plans.items()}
    assert held["first"] == held["second"] == set()
    assert held["third"] == {"first", "second"}, "both of the first step gain, and do so together"
    assert held["again"] == held["null-one"] == REAL
    assert {plan.seeds[0] for plan in plans.values()} == {plans["first"].seeds[0]}


def test_an_idea_costs_one_run_more_and_the_first_ones_show_the_noise(tried):
    store, found = tried
    runs = store.runs(found, stage="screen")
    second = [run for run in runs if run.spec.seed != screens(store, found)["first"].seeds[0]]
    assert len(second) == 1 + 2, "the trunk and the ideas of the first step"
    stacks = 2  # of the first two steps, in which both ideas gain
    assert len(runs) == len(second) + 1 + len(SEVERAL) + stacks


def test_what_adds_nothing_to_what_is_held_is_not_kept(tried, campaign):
    store, found = tried
    assert "not kept" in toy.states(store, found)["again"][1]
    alone, other = campaign(SEVERAL, budget="120runs", policy={"forward": 0})
    (verdict,) = [v for v in alone.verdicts(other) if v.plan == screens(alone, other)["again"].id]
    assert verdict.difference.value > 0.05, "on the trunk it gains as much as the first"


def test_what_does_not_go_with_the_line_waits_for_another(campaign):
    clash = toy.idea("clash", {"gain_a": 0.9}, mean=0.1)
    store, found = campaign([*SEVERAL[:4], clash], budget="90runs", policy=FORWARD)
    assert said(store, found, "clash: waits, it does not go with what round 0 has kept")
    assert toy.states(store, found)["clash"][0] == "stale", "the next trunk holds the same"
    assert len(store.runs(found, stage="curve")) == 8, "for nothing to compare no curve is trained"


# --- what the trunk holds and what is claimed -------------------------------------------------------------


def test_the_trunk_holds_the_line_and_claims_only_what_was_proved_apart(tried):
    store, found = tried
    adopted, carried, summary = trunk(store, found)
    confirmed = {p.idea for p in store.plans(found, PlanKind.CONFIRM)}
    assert len(confirmed) == FORWARD["cohort"] and adopted == confirmed
    assert adopted | carried == REAL and carried
    assert {finding.idea.name for finding in store.findings(found)} == adopted
    states = toy.states(store, found)
    assert {name for name, (state, _) in states.items() if state == "carried"} == carried
    assert all("proved with the trunk, not apart" in states[name][1] for name in carried)
    assert summary["trunk_checked"] and summary["trunk_cm_low"] > 1
    assert abs(math.log2(summary["trunk_cm"]) - GAIN) < 0.15


def test_the_line_is_proved_on_seeds_that_nothing_was_chosen_by(tried):
    store, found = tried
    fresh = [p for p in store.plans(found) if p.kind in (PlanKind.ESTIMATE, PlanKind.VERIFY)]
    used = {seed for p in store.plans(found) if p not in fresh for seed in p.seeds}
    assert not used & {seed for plan in fresh for seed in plan.seeds}
    assert all(holds(store, plan.treatment, SEVERAL) == REAL for plan in fresh)


def test_pages_tell_a_carried_change_from_a_claim(tried):
    store, found = tried
    adopted, (carried,), summary = trunk(store, found)
    shown = Console(file=StringIO(), width=400)
    show_summary(shown, summary)
    assert f"Carried, proved with the trunk and not apart: {carried}" in shown.file.getvalue()
    page, whole = store.root / "report.html", store.campaign(found)
    write_report(store, whole, summary, trunk_points(store, whole), page)
    html = page.read_text()
    assert f"{carried} (carried)" in html and "no claim is made of one" in html
    assert "With 3 changes adopted and 1 carried" in html
    assert not any(f"{name} (carried)" in html for name in adopted)


def test_a_planted_change_is_taken_out_of_the_line_and_counted(campaign):
    blanks = {"third": "noop", "null-one": "noop"}
    store, found = campaign(SEVERAL, blanks=blanks, budget="120runs", policy={**FORWARD, "cohort": 1})
    adopted, carried, summary = trunk(store, found)
    assert adopted | carried == REAL - {"third"}
    kept = store.decision(found, f"0{CARRIES}")
    assert kept["planted"] == ["third"] and kept["planted_tried"] == 2
    assert summary["forward"]["planted_kept"] == 1 and summary["forward"]["tried"] >= len(SEVERAL)
    assert toy.states(store, found)["third"][0] != "carried"
    (check,) = store.plans(found, PlanKind.VERIFY)
    assert "third" not in holds(store, check.treatment, SEVERAL)


def spoiled(kind, round):
    """A trainer whose seeds of this block show a loss for whatever is not the original."""
    block = set(seed_block(1, round, kind, 20))

    def answer(job):
        result = toy.train_here(job)
        seed = int(job.argv[job.argv.index("--seed") + 1])
        changed = "--set" in job.argv or "EFFICIENCY = 1.0" not in (job.source / "train.py").read_text()
        if seed in block and changed and result.bits_per_byte is not None:
            result = result.model_copy(update={"bits_per_byte": result.bits_per_byte + 1.0})
        return result

    return answer


def test_a_line_that_fresh_seeds_do_not_prove_is_not_taken_up(campaign):
    answer = spoiled(PlanKind.ESTIMATE, 0)
    store, found = campaign(SEVERAL, answer, budget="75runs", policy=FORWARD)
    assert said(store, found, "the working line is not taken up")
    assert not [p for p in store.plans(found, PlanKind.VERIFY) if p.round == 0]
    assert all(state != "carried" for state, note in toy.states(store, found).values() if "round 0" in note)


# --- the end of the budget --------------------------------------------------------------------------------

IDLE = [toy.idea(f"idle-{n}", {"label": f"idle {n}"}, mean=0.1, slot="label") for n in range(20)]


@pytest.fixture
def short(campaign):
    """short(answer): a campaign whose budget is at its end before its queue is."""

    def run(answer=None, blanks=None):
        late = toy.idea("late", {"gain_c": 1.8}, mean=0.01)
        ideas = [SEVERAL[0], SEVERAL[1], SEVERAL[3], *IDLE, late]
        return campaign(ideas, answer, blanks=blanks, budget="75runs", policy={**FORWARD, "screen_ideas": 6})

    return run


def test_the_last_runs_go_into_tries_that_the_last_check_proves(short):
    store, found = short()
    last = [p.idea for p in store.plans(found, PlanKind.SCREEN) if p.round == 1]
    assert "late" in last and not [p for p in store.plans(found, PlanKind.CONFIRM) if p.round == 1]
    adopted, carried, _ = trunk(store, found)
    assert "late" in carried and "late" not in adopted
    (check,) = store.plans(found, PlanKind.VERIFY)
    assert store.verdicts(found)[-1].plan == check.id
    assert store.verdicts(found)[-1].kind is VerdictKind.BETTER
    assert 75 - 4 <= len(store.runs(found)) <= 75


def test_what_was_planted_is_taken_out_of_the_last_line_too(short):
    store, found = short(blanks={f"idle-{n}": "noop" for n in range(20)})
    last = store.decision(found, f"1{CARRIES}")
    assert "late" in last["kept"] and last["planted"]
    adopted, carried, summary = trunk(store, found)
    assert "late" in carried and not {name for name in adopted | carried if name.startswith("idle")}
    assert summary["trunk_checked"]


def test_what_the_last_check_does_not_prove_is_put_back(short):
    store, found = short(spoiled(PlanKind.VERIFY, 1))
    assert said(store, found, "the last check did not prove the trunk with what was tried last")
    adopted, carried, summary = trunk(store, found)
    assert "late" not in adopted | carried
    assert toy.states(store, found)["late"][0] == "screened"
    assert not summary["trunk_checked"], "for another check there are no runs left"


# --- it may be killed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "order"), [(1, None), (5, 3)])
def test_the_order_of_finishing_and_the_workers_change_nothing(toy_data, lab_root, tried, workers, order):
    file = toy.write_ideas(lab_root / "several.toml", SEVERAL)
    settings = toy.config(file, toy_data, budget="120runs", workers=workers, policy=FORWARD)
    store, found, _ = toy.run_fake(settings, lab_root / "lab", workers, order)
    with store:
        whole, other = tried
        assert toy.verdict_records(store, found.id) == toy.verdict_records(whole, other)
        assert toy.states(store, found.id) == toy.states(whole, other)


@pytest.mark.parametrize("after", [1, 9, 14, 17, 21, 28, 44, 52, 60])
def test_stopped_at_any_run_it_ends_the_same(toy_data, lab_root, tried, after):
    runs = []

    def stopping(job):
        runs.append(job.id)
        if len(runs) == after:
            raise KeyboardInterrupt
        return toy.train_here(job)

    file = toy.write_ideas(lab_root / "several.toml", SEVERAL)
    settings = toy.config(file, toy_data, budget="120runs", policy=FORWARD)
    with pytest.raises(KeyboardInterrupt):
        toy.run_fake(settings, lab_root / "lab", answer=stopping)
    with toy.Store(lab_root / "lab") as store:
        toy.continue_fake(settings, store, store.campaign())
        found, (whole, other) = store.campaign().id, tried
        assert toy.verdict_records(store, found) == toy.verdict_records(whole, other)
        assert toy.finding_records(store, found) == toy.finding_records(whole, other)
        assert toy.states(store, found) == toy.states(whole, other)
        assert len(store.runs(found)) == len(whole.runs(other))
        messages = [event.message for event in store.events(found)]
        assert len(messages) == len(set(messages)), "a line was logged twice"
