"""A claim that was confirmed together with others is told as that, in every place that tells of claims."""

from __future__ import annotations

import json
from io import StringIO

import pytest
import toy
from cohorts import ALL, BUDGET, CLEAR, GAINS, IDLE, cohort, halves, holds
from rich.console import Console

from mendel.campaign.summary import summarise
from mendel.records import PlanKind
from mendel.report import write_report
from mendel.report.facts import gather
from mendel.report.lookup import describe, render
from mendel.store import CampaignState
from mendel.terminal import where_measured

IDEAS = [*CLEAR, IDLE]


@pytest.fixture(scope="module")
def joint(toy_data, fast_disk):
    """A finished campaign that confirmed five ideas together, four of them gains: (store, campaign)."""
    file = toy.write_ideas(fast_disk / "told.toml", IDEAS)
    settings = toy.config(file, toy_data, budget=BUDGET, policy=ALL)
    store, campaign, _ = toy.run_fake(settings, fast_disk / "told")
    store.set_state(campaign.id, CampaignState.FINISHED)
    with store:
        yield store, store.campaign(campaign.id)


def shown(store, campaign, name: str) -> str:
    out = StringIO()
    render(Console(file=out, width=200), describe(store, campaign, name))
    return out.getvalue()


def test_an_idea_is_shown_with_the_pairs_of_halves_without_it_and_with_it(joint) -> None:
    store, campaign = joint
    facts = gather(store, campaign)
    (plan,) = [one for one in facts.plans_of("b", PlanKind.CONFIRM) if one.round == 0]
    pairs, runs = facts.pairs(plan), {run.id: run for run in store.runs(campaign.id)}
    assert [pair.seed for pair in pairs] == [one.seeds[0] for one in halves(store, campaign.id)][: len(pairs)]
    for pair in pairs:
        assert "b" in holds(store, runs[pair.treatment].spec.recipe, IDEAS)
        assert "b" not in holds(store, runs[pair.control].spec.recipe, IDEAS)
        assert pair.treatment_loss == runs[pair.treatment].result.bits_per_byte
    assert facts.verdicts_of(plan.id)[0].pairs == len(pairs)


def test_show_says_what_it_was_confirmed_with_and_nothing_of_fresh_pairs(joint) -> None:
    store, campaign = joint
    text = shown(store, campaign, "b")
    assert "confirmed together with 4 others: a, c, idle, source; the pairs are random halves" in text
    assert "beside random halves of 4 others, shrunk" in text and "fresh pairs\n" not in text
    assert "without it" in text and "with it" in text and "pairs of halves; CM" in text
    found = json.loads(json.dumps(describe(store, campaign, "b")))
    (confirm,) = [one for one in found["plans"] if one["plan"]["kind"] == "confirm"]
    assert confirm["together"] == ["a", "c", "idle", "source"]
    assert confirm["verdicts"][0]["together"] == found["finding"]["together"] == 5
    assert len(confirm["pairs"]) == confirm["verdicts"][0]["pairs"]


def test_a_plan_of_halves_says_what_each_half_holds(joint) -> None:
    store, campaign = joint
    for plan in halves(store, campaign.id):
        found = describe(store, campaign, plan.id)
        assert set(found["held"]["treatment"]) == holds(store, plan.treatment, IDEAS)
        assert set(found["held"]["control"]) == holds(store, plan.control, IDEAS)
        assert not found["together"] and len(found["pairs"]) == 1
    text = shown(store, campaign, halves(store, campaign.id)[0].id)
    assert "treatment holds" in text and "control holds" in text
    assert cohort(store, campaign.id)


def test_the_report_tells_a_joint_claim_with_its_halves(joint, tmp_path) -> None:
    store, campaign = joint
    write_report(store, campaign, summarise(store, campaign), [], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert text.count("<h4>Pairs of halves</h4>") == len(GAINS)
    assert text.count(" beside random halves of 4 others, shrunk") == len(GAINS)
    assert "</b> on fresh pairs" not in text and "train the first fresh pair" not in text
    assert "together with 4 others: a, c, idle, source" in text


def test_the_forest_shows_the_effect_that_is_published(joint) -> None:
    store, campaign = joint
    judged = {row.name: row.log2_cm for row in gather(store, campaign).judged()}
    for finding in store.findings(campaign.id):
        assert judged[finding.idea.name] == finding.log2_cm


def closing(*rows: tuple[str, int]) -> str:
    return where_measured([{"id": name, "together": size} for name, size in rows])


def test_the_terminal_says_which_multipliers_are_of_halves() -> None:
    of_halves = (
        "with and without it beside random halves of the others, shrunk: alone it may be worth more or less"
    )
    assert closing(("a", 0)) == "Each over the trunk it joined, on fresh seeds."
    assert closing(("a", 5), ("b", 5)) == f"Each over the trunk it joined, {of_halves}."
    mixed = f"Each over the trunk it joined, on fresh seeds; a and c {of_halves}."
    assert closing(("a", 5), ("b", 0), ("c", 5)) == mixed


def test_the_summary_says_how_many_were_confirmed_with_an_adopted_change(joint) -> None:
    adopted = summarise(*joint)["adopted"]
    assert {row["id"]: row["together"] for row in adopted} == dict.fromkeys(GAINS, 5)
