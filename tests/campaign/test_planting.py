"""What the lab plants among ideas: known gains are found or told to be lost and help no claim; blanks that
looked good at screening are proposed again; nothing is given away before its time."""

import json
import math

import pytest
import toy
from toy import idea

from mendel.campaign.config import CampaignConfig, Policy
from mendel.campaign.planting import Places, places
from mendel.campaign.session import queue
from mendel.campaign.summary import summarise
from mendel.ideas.blanks import DESCENDANT
from mendel.ideas.catalog import load_catalog
from mendel.records import PlanKind, RunStatus, VerdictKind, known_gain
from mendel.store import CampaignState

# --- what is planted ------------------------------------------------------------------------------------


def test_the_catalog_gets_one_known_gain_and_room_for_two_descendants():
    real = len(load_catalog())
    assert places(real, Policy()) == Places(blanks=13, descendants=2, controls=1)
    ideas, kinds = queue(CampaignConfig(), "gpt")
    assert len(ideas) == real + 14 == real + len(kinds)
    assert sum(known_gain(kind) > 0 for kind in kinds.values()) == 1
    assert [idea.name for idea in ideas] == sorted(idea.name for idea in ideas)


@pytest.mark.parametrize("real", [0, 7, 40, 85, 300])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_descendants_are_of_the_planted_share(real, share):
    number = places(real, Policy(blank_share=share, positive_share=0))
    assert number.blanks + number.descendants == round(real * share / (1 - share))
    assert number.controls == 0


def test_an_a_a_campaign_and_other_testbeds_have_no_known_gain(tmp_path):
    aa = queue(CampaignConfig(ideas="blanks", policy=Policy(positive_share=0.5)), "gpt")[1]
    assert len(aa) == 60 and not any(map(known_gain, aa.values()))
    file = toy.write_ideas(tmp_path / "ideas.toml", toy.GOOD)
    wanted = CampaignConfig(ideas=str(file), policy=Policy(positive_share=0.5, blank_share=0.5))
    assert queue(wanted, "toy") == ([*toy.GOOD], {})


# --- known gains ----------------------------------------------------------------------------------------


def last_verdict(store, campaign, name, kind=PlanKind.CONFIRM):
    plans = {plan.id for plan in store.plans(campaign, kind, idea=name)}
    return [verdict for verdict in store.verdicts(campaign) if verdict.plan in plans][-1]


@pytest.mark.parametrize("gain", [0.25, 0.4])
def test_a_known_gain_is_measured_as_what_it_is_found_and_never_adopted(campaign, gain):
    ideas = [idea("control", {"init_stream": 5}), *toy.NULL]
    store, found = campaign(ideas, blanks={"control": f"gain {gain}"}, policy={"max_pairs": 12})
    cm = last_verdict(store, found, "control").log2_cm
    assert abs(cm.value - gain) < 0.1 and cm.low < gain < cm.high
    note = f"claimed, and planted with a known gain of {gain} log2 CM: found"
    assert toy.states(store, found)["control"] == ("dropped", note)
    summary = summarise(store, store.campaign(found))
    assert summary["adopted"] == [] and not store.findings(found)
    assert not store.plans(found, PlanKind.ESTIMATE)
    assert (summary["blanks_planted"], summary["blanks_claimed"]) == (0, 0)
    assert summary["blanks"]["campaign"]["confirmed"] == 0 and summary["blanks"]["kinds"] == {}


def test_the_patch_and_the_cost_of_a_control_are_those_of_a_blank(campaign):
    """All that is different is how long it trains."""
    store, found = campaign(
        [idea("control", {"label": "c"}), idea("blank", {"label": "b"}), *toy.GOOD],
        blanks={"control": "gain 0.25", "blank": "initial stream"},
        policy={"together": False},
    )
    control, *_ = store.plans(found, PlanKind.SCREEN, idea="control")
    blank, *_ = store.plans(found, PlanKind.SCREEN, idea="blank")
    assert control.treatment_tokens == math.floor(2**0.25 * blank.treatment_tokens)
    assert control.control_tokens == blank.control_tokens == blank.treatment_tokens
    confirmed = store.plans(found, PlanKind.CONFIRM, idea="control")
    assert {plan.treatment_tokens for plan in confirmed} == {control.treatment_tokens}
    others = {plan.treatment_tokens for plan in store.plans(found) if plan.idea != "control"}
    assert others == {blank.treatment_tokens}


def seconds_by_tokens(job):
    """The toy trainer, taking as long as it trains."""
    result = toy.train_here(job)
    return result.model_copy(update={"cpu_seconds": result.tokens / 1e4})


def test_what_the_lab_grants_is_not_taken_for_a_cheat(campaign):
    """Twice the compute is more than the audit of costs lets through."""
    ideas = [idea("control", {"label": "c"}), *toy.NULL]
    store, found = campaign(ideas, seconds_by_tokens, blanks={"control": "gain 1"})
    assert toy.states(store, found)["control"][1].endswith(": found")
    (audit,) = [
        audit
        for audit in store.decision(found, f"audits/{last_verdict(store, found, 'control').id}")
        if audit["name"] == "compute" and "scoring" not in audit["reason"]
    ]
    assert audit["passed"] and audit["evidence"]["ratio"] == pytest.approx(1, rel=1e-3)


def longer_late(job):
    """The trainer, with twice the CPU seconds for the runs of one patch from confirmation on."""
    result = seconds_by_tokens(job)
    kept = json.loads((job.source.parent / "config.json").read_text())
    if (
        "label=c" not in job.argv
        or kept.get("stage") in (None, "screen")
        or result.status is not RunStatus.DONE
    ):
        return result
    return result.model_copy(update={"cpu_seconds": 2 * result.cpu_seconds})


def test_a_control_that_takes_more_than_it_was_granted_is_rejected_like_any_idea(campaign):
    ideas = [idea("control", {"label": "c"}), *toy.NULL]
    store, found = campaign(ideas, longer_late, blanks={"control": "gain 1"})
    state, note = toy.states(store, found)["control"]
    assert state == "rejected"
    assert note.startswith("planted with a known gain of 1 log2 CM: not found; confirmation: rejected")
    store.set_state(found, CampaignState.FINISHED)
    own = summarise(store, store.campaign(found))["blanks"]["controls"]["campaign"]
    assert (own["confirmed"], own["found"]) == (1, 0)


def test_a_known_gain_that_leaves_on_its_way_is_told_as_not_found_at_the_end(campaign):
    blanks = {"control": "gain 0.01", "null-one": "batch order"}
    store, found = campaign([idea("control", {"label": "c"}), *toy.GOOD, *toy.NULL], blanks=blanks)
    state, note = toy.states(store, found)["control"]
    assert state == "dropped" and note.startswith("planted with a known gain of 0.01 log2 CM: not found; ")
    said = [
        event for event in store.events(found) if event.idea == "control" and "known gain" in event.message
    ]
    (last_check,) = [event for event in store.events(found) if event.message.startswith("last check")]
    assert len(said) == 1 and said[0].id > last_check.id


# --- no claim by the help of what is planted --------------------------------------------------------------

ONE_LOOK = {
    "together": False,
    "max_pairs": 5,
    "screen_ideas": 12,
    "screen_pairs": 4,
    "more_screen_pairs": 0,
    "enter": 0.0,
}
FAINT = idea("faint", {"gain_c": 1.12})


@pytest.mark.parametrize("kind", ["gain 0.25", "initial stream"])
def test_a_claim_that_stands_only_beside_a_planted_one_is_not_made(campaign, kind):
    """`planned` sets the bar: above what the idea shows, below what that is worth beside another claim."""
    ideas = [idea("strong", {"gain_a": 1.6}), FAINT, *toy.NULL]

    def outcome(planned, blanks):
        store, found = campaign(ideas, blanks=blanks, policy={**ONE_LOOK, "planned": planned})
        return {name: last_verdict(store, found, name) for name in ("strong", "faint")}

    log_e = outcome(4, {"strong": kind})["faint"].log_e_t
    planned = round(1.4 * math.exp(log_e) * 0.8 * 0.05)
    assert planned > 10, "the idea shows too little for this test"
    beside = outcome(planned, {})
    alone = outcome(planned, {"strong": kind})
    assert alone["faint"].log_e_t == log_e <= beside["faint"].log_e_t < log_e + math.log(1.4)
    assert beside["faint"].kind is VerdictKind.BETTER and beside["faint"].selected is not None
    assert alone["faint"].kind is VerdictKind.NO_DIFFERENCE_SHOWN
    assert alone["strong"].kind is VerdictKind.BETTER, "of the planted one the judge's claim is kept"
    assert alone["strong"].selected is None, "it is no claim of the campaign"
    both = outcome(planned, {"strong": kind, "faint": "batch order"})
    assert both["strong"].kind is VerdictKind.BETTER
    assert both["faint"].kind is VerdictKind.NO_DIFFERENCE_SHOWN, "a blank is judged like any idea"


# --- descendants ------------------------------------------------------------------------------------------

MANY = [
    *toy.GOOD,
    *(idea(f"null-{i:02}", {"init_stream": i + 1}, mean=0.2 - i / 1000) for i in range(24)),
]
BLANKS = {f"null-{i:02}": "initial stream" for i in range(12)}
SHARE = {"blank_share": 0.45, "screen_ideas": 6, "screen_pairs": 2, "cohort": 3}


@pytest.fixture(scope="module")
def bred(toy_data, fast_disk):
    """A campaign that plants descendants."""
    file = toy.write_ideas(fast_disk / "bred.toml", MANY)
    settings = toy.config(file, toy_data, budget="250runs", policy=SHARE)
    store, campaign, _ = toy.run_fake(settings, fast_disk / "bred", blanks=BLANKS)
    with store:
        yield store, campaign.id, settings


def descendants(store, campaign):
    return {b.name: b.kind.removeprefix(DESCENDANT) for b in store.blanks(campaign) if b.name not in BLANKS}


def test_the_best_looking_blank_is_proposed_again_for_what_it_showed(bred):
    store, campaign, _ = bred
    plans = {plan.id: plan for plan in store.plans(campaign) if plan.idea in BLANKS}
    entries = {entry.idea.name: entry for entry in store.ideas(campaign)}
    parents = []
    for number in range(20):
        confirmed = {p.idea for p in plans.values() if p.kind is PlanKind.CONFIRM and p.round <= number}
        shown = {
            plans[verdict.plan].idea: verdict.log2_cm.value
            for verdict in store.verdicts(campaign)
            if verdict.plan in plans and plans[verdict.plan].round <= number
        }
        left = {name: cm for name, cm in shown.items() if name not in [*confirmed, *parents] and cm > 0.005}
        made = store.decision(campaign, f"{number}/descendant")
        if not left or len(parents) == 2:
            assert not made
        if not made:
            continue
        parent, child = made["of"], entries[made["idea"]["name"]]
        assert left[parent] == max(left.values())
        assert child.idea.forecast.mean == round(left[parent], 2)
        assert child.idea.patch == entries[parent].idea.patch
        assert child.idea.hypothesis != entries[parent].idea.hypothesis
        assert child.position == len(MANY) + len(parents)
        parents.append(parent)
    assert set(parents) == set(descendants(store, campaign).values())
    assert len(parents) == 2


def test_a_descendant_is_tried_like_any_idea_on_fresh_seeds(bred):
    store, campaign, _ = bred
    tried = 0
    for name, parent in descendants(store, campaign).items():
        old = store.plans(campaign, PlanKind.SCREEN, idea=parent)[0]
        for plan in store.plans(campaign, PlanKind.SCREEN, idea=name):
            tried += 1
            assert plan.round > old.round and not set(plan.seeds) & set(old.seeds)
    assert tried > 0, "the test looks at nothing"


def test_a_blank_with_a_descendant_is_not_tried_again_itself(bred):
    """On one trunk the two would share their runs, and count as two blanks all the same."""
    store, campaign, _ = bred
    again = descendants(store, campaign)
    made = [store.decision(campaign, f"{number}/descendant") or {} for number in range(20)]
    since = {one["of"]: number for number, one in enumerate(made) if one}
    plans = store.plans(campaign)
    assert any(plan.idea in again for plan in plans) and set(since) == set(again.values())
    assert not [plan for plan in plans if plan.idea in since and plan.round > since[plan.idea]]
    others = {plan.idea for plan in plans if plan.kind is PlanKind.SCREEN and plan.idea in BLANKS}
    twice = [name for name in others if len(store.plans(campaign, PlanKind.SCREEN, idea=name)) > 1]
    assert twice, "no other blank had a second chance either"


def test_a_campaign_that_is_killed_plants_the_same(bred, lab_root):
    """Killed in the middle of a run again and again, it ends with the same ideas, blanks and verdicts."""
    store, campaign, settings = bred
    calls = []

    def dying(job):
        calls.append(job.id)
        if len(calls) % 53 == 0:
            raise KeyboardInterrupt
        return toy.train_here(job)

    with pytest.raises(KeyboardInterrupt):
        toy.run_fake(settings, lab_root, answer=dying, blanks=BLANKS)
    again = toy.Store(lab_root)
    with again:
        found = again.campaign()
        for _ in range(100):
            try:
                toy.continue_fake(settings, again, found, answer=dying)
                break
            except KeyboardInterrupt:
                continue
        assert len(calls) >= 5 * 53, "too few kills"
        toy.continue_fake(settings, again, found)  # all of it once more, from the first line
        assert descendants(again, found.id) == descendants(store, campaign)
        assert toy.states(again, found.id) == toy.states(store, campaign)
        assert toy.verdict_records(again, found.id) == toy.verdict_records(store, campaign)


@pytest.mark.parametrize(
    ("ideas", "policy"),
    [(MANY[2:], {"blank_share": 0.05}), (MANY[2:16], {"screen_ideas": 12, "blank_share": 0.85})],
)
def test_a_short_queue_and_few_blanks_have_no_descendants(campaign, ideas, policy):
    known = {one.name: "initial stream" for one in ideas if one.name in BLANKS}
    store, found = campaign(ideas, blanks=known, budget="180runs", seed=5, policy={**SHARE, **policy})
    assert len(store.plans(found, PlanKind.SCREEN)) >= 12
    assert len(store.blanks(found)) == len(known)


# --- the account ------------------------------------------------------------------------------------------


def test_of_a_campaign_that_runs_nothing_is_told_but_how_many_were_planted(campaign):
    blanks = {"control": "gain 0.4", "lost": "gain 0.01"}
    ideas = [idea("control", {"init_stream": 5}), idea("lost", {"label": "l"}), *toy.NULL]
    store, found = campaign(ideas, blanks=blanks)
    store.set_state(found, CampaignState.RUNNING)
    running = summarise(store, store.campaign(found))["blanks"]["controls"]
    assert (running["planted"], running["campaign"], running["pooled"]["planted"]) == (2, None, 0)
    assert running["words"].startswith("2 ideas with a known gain planted: what became of that is told when")
    store.set_state(found, CampaignState.FINISHED)
    ended = summarise(store, store.campaign(found))["blanks"]["controls"]
    own = ended["campaign"]
    assert (own["planted"], own["screened"], own["found"], own["rate"]) == (2, 2, 1, 0.5)
    assert own == {key: value for key, value in ended["pooled"].items() if key != "campaigns"}
    assert "Of 2 planted with a known gain, 1 found (Clopper-Pearson 95 %: 1 to 99 %)" in ended["words"]
