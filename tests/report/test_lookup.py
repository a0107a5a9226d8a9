"""`mendel show`: found by name or the beginning of an id, safe to print, helpful where nothing is found."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from mendel.records import PlanKind
from mendel.report.lookup import describe, render
from mendel.store import StoreError
from tests.report.campaigns import GAIN, Builder


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
    assert {"key": "lr", "control": None, "treatment": 0.1} in found["change"]["overrides"]
    assert found["finding"]["adopted"] and found["plans"][0]["cost"]["flops_ratio"] == 1.0
    text = printed(found)
    assert "CM 2.00" in text and "+0.2500" in text and "+x = 2" in text


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
