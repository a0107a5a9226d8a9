"""`mendel show`: found by name or the beginning of an id, safe to print, helpful where nothing is found."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mendel.campaign.summary import summarise
from mendel.records import Patch, PlanKind, Range
from mendel.report import write_report
from mendel.report.lookup import describe, render
from mendel.store import TUNED, CampaignState, StoreError, smoke_name
from tests.report.campaigns import GAIN, TOKENS, Builder, idea, whole_campaign


def printed(found: dict[str, object]) -> str:
    out = StringIO()
    render(Console(file=out, width=160), found)
    return out.getvalue()


def test_an_idea_comes_with_all_that_was_found(finished: Builder) -> None:
    found = describe(finished.store, finished.now(), "good")
    assert found["type"] == "idea" and found["state"] == "adopted"
    assert [plan["plan"]["kind"] for plan in found["plans"]] == ["screen", "confirm", "estimate"]
    pair = found["plans"][2]["pairs"][0]
    assert pair["seed"] == 21 and pair["difference"] == pytest.approx(GAIN)
    assert pair["treatment"] in {run.id for run in finished.store.runs(finished.id)}
    assert "+x = 2" in found["change"]["diff"] and "-x = 1" in found["change"]["diff"]
    lr = {"key": "lr", "control": None, "treatment": 0.1, "recipe": None}
    assert lr in found["change"]["overrides"]
    assert found["finding"]["adopted"] and found["plans"][0]["cost"]["flops_ratio"] == 1.0
    text = printed(found)
    assert "CM 2.00" in text and "+0.2500" in text and "+x = 2" in text


def test_what_an_idea_changes_comes_with_the_number_that_the_recipe_has(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    out = b.store.run_folder(b.id, smoke_name(b.original, 0)).out
    out.mkdir(parents=True)
    for written, told in (
        ('{"lr": 0.006}', "0.006 as in the recipe"),
        ("[1, 2", "as in the recipe"),
        ("[]", "as in the recipe"),
    ):
        (out / "config.json").write_text(written)
        text = printed(describe(b.store, b.now(), "good"))
        assert re.search(rf"^lr +{told} -> 0\.1$", text, re.MULTILINE)
    (out / "config.json").write_text('{"lr": 0.006}')
    write_report(b.store, b.now(), summarise(b.store, b.now()), [], tmp_path / "r.html")
    assert "<td>0.006 as in the recipe</td>" in (tmp_path / "r.html").read_text()


def test_an_idea_whose_knobs_were_tuned_says_what_was_found(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    words = "tuned: lr 0.1 (8 trials; control 0.2)"
    one = {"values": {"lr": 0.1}, "control": "c", "lost": "", "words": words}
    b.store.decide(b.id, f"0{TUNED}", {"on": b.original, "ideas": {"good": one}})
    text = printed(describe(b.store, b.now(), "good"))
    assert f"{words}; compared with the trunk whose knobs were searched as long" in text
    assert words not in printed(describe(b.store, b.now(), "dropped"))
    patch = Patch(tune={"lr": Range(low=0.001, high=0.02, log=True)})
    b.store.add_ideas(b.id, [idea("to-tune").model_copy(update={"patch": patch})])
    text = printed(describe(b.store, b.now(), "to-tune"))
    assert re.search(r"^tunes +lr from 0\.001 to 0\.02, by its logarithm$", text, re.MULTILINE)


def test_a_name_and_what_is_said_of_it_do_not_run_together(finished: Builder) -> None:
    assert "\nat higher rungs not measured\n" in printed(describe(finished.store, finished.now(), "good"))


def test_no_charge_gives_a_known_gain_away_before_it_is_unblinded(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    b.store.set_state(b.id, CampaignState.RUNNING)
    b.store.add_blanks(b.id, {"screened": "gain 0.25"})
    granted = b.plan(PlanKind.CONFIRM, "screened", b.original, (41, 42)).model_copy(
        update={"treatment_tokens": round(TOKENS * 2**0.25), "cost_ratio": 2**-0.25}
    )
    b.store.put_plan(b.id, granted)

    def told(name: str) -> str:
        return printed(describe(b.store, b.now(), name))

    for name in ("screened", "dropped", granted.id):
        assert "0.841" not in told(name) and " charged" not in told(name)
        assert "the charge is told when the campaign has ended" in told(name)
    assert "1.000 charged" in told("good"), "a finding is of no planted idea"
    b.store.unblind(b.id, "screened")
    assert "0.841 charged" in told("screened") and " charged" not in told("dropped")
    b.store.set_state(b.id, CampaignState.FINISHED)
    assert "1.000 charged" in told("dropped")


def test_a_rejected_idea_comes_with_what_its_audits_saw(finished: Builder) -> None:
    text = printed(describe(finished.store, finished.now(), "peeking"))
    assert "audit future" in text and "VIOLATION: 12 of 12 answers" in text
    assert "audit code" in printed(describe(finished.store, finished.now(), "good"))


def test_an_idea_that_never_ran_comes_with_its_patch(finished: Builder) -> None:
    found = describe(finished.store, finished.now(), "failing")
    assert found["change"] is None and found["idea"]["patch"]
    text = printed(found)
    assert "sets" in text or ("edits" in text and "\n+" in text)


def test_everything_can_be_shown_and_is_json(finished: Builder) -> None:
    store, campaign = finished.store, finished.now()
    plans = store.plans(campaign.id)
    ids = {plan.id: "plan" for plan in plans}
    ids |= {run.id: "run" for run in store.runs(campaign.id)}
    ids |= {verdict.id: "verdict" for verdict in store.verdicts(campaign.id)}
    ids |= {finding.id: "finding" for finding in store.findings(campaign.id)}
    ids |= {plans[0].control: "recipe", plans[0].treatment: "recipe"}
    ids |= {entry.idea.name: "idea" for entry in store.ideas(campaign.id)}
    for id, kind in ids.items():
        found = describe(store, campaign, id)
        assert found["type"] == kind and found["id"] == id
        assert json.loads(json.dumps(found)) == found
        text = printed(found)
        assert id in text and not set("\x1b\x07\u202e") & set(text)


def test_a_run_shows_its_log_without_control_characters(finished: Builder) -> None:
    plan = finished.store.plans(finished.id, PlanKind.CONFIRM, idea="dropped")[0]
    failed = plan.runs(plan.seeds[1], finished.now().fingerprint.id)[1]
    found = describe(finished.store, finished.now(), failed.id[:9])
    assert (
        found["result"]["status"] == "diverged" and found["log"][0] == "first" and found["log"][2] == "last"
    )
    assert found["log"][1].startswith('<script>alert("x")</script> & red')
    assert "\x1b" not in "".join(found["log"])
    command = found["repeat"]
    assert f"--seed {failed.seed} --tokens {failed.tokens}" in command and command.startswith(
        "OMP_NUM_THREADS=1 "
    )


def test_the_command_that_repeats_a_run_carries_its_overrides(finished: Builder) -> None:
    plan = finished.store.plans(finished.id, PlanKind.ESTIMATE)[0]
    treatment = plan.runs(plan.seeds[0], finished.now().fingerprint.id)[1]
    command = describe(finished.store, finished.now(), treatment.id)["repeat"]
    assert "--set lr=0.1" in command and "--set 'note=<i>'" in command


def test_what_is_not_there_is_named_with_what_is_near(finished: Builder) -> None:
    with pytest.raises(StoreError, match=r"'dropt'.*near it: dropped"):
        describe(finished.store, finished.now(), "dropt")
    with pytest.raises(StoreError, match=r"'screen'.*near it: screened"):
        describe(finished.store, finished.now(), "screen")
    with pytest.raises(StoreError, match="no idea of this name"):
        describe(finished.store, finished.now(), "")


def test_an_ambiguous_beginning_lists_the_candidates(finished: Builder) -> None:
    ids = [run.id for run in finished.store.runs(finished.id)]
    first = max("0123456789abcdef", key=lambda digit: sum(id.startswith(digit) for id in ids))
    with pytest.raises(
        StoreError, match=rf"'{first}': the beginning of several ids: .*\(run\).*give more of it"
    ):
        describe(finished.store, finished.now(), first)
