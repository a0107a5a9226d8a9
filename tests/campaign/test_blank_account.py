"""The account of blanks: what is pooled, what is not, and what it says of real claims."""

import pytest

from mendel.campaign.blank_account import blank_account
from mendel.records import PlanKind, VerdictKind
from mendel.store import CampaignState
from tests.report.campaigns import FINGERPRINT, Builder, idea

NOTHING = VerdictKind.NO_DIFFERENCE_SHOWN


@pytest.fixture
def lab(lab_root):
    builder = Builder(lab_root / "lab")
    yield builder
    builder.store.close()


def confirm(lab, verdicts, blanks=(), finish=True):
    """Judge the ideas of `verdicts` in confirmation; those of `blanks` are planted."""
    lab.store.add_ideas(lab.id, [idea(name) for name in verdicts])
    lab.store.add_blanks(lab.id, dict.fromkeys(blanks, "batch order"))
    for place, (name, kinds) in enumerate(verdicts.items()):
        for number, kind in enumerate(kinds if isinstance(kinds, tuple) else (kinds,)):
            recipe = lab.recipe(f"x = {name!r}\n", {}, name)
            plan = lab.plan(PlanKind.CONFIRM, name, recipe, (100 * place + 10 * number, 1))
            lab.pairs(plan, [0.1, 0.1], 0.1, kind)
    if finish:
        lab.store.set_state(lab.id, CampaignState.FINISHED)


def another(lab, alpha=0.05):
    """The next campaign of the same store."""
    config = {**lab.campaign.config, "policy": {**lab.campaign.config["policy"], "alpha": alpha}}
    lab.campaign = lab.store.create_campaign("abc", 2, "gpt", "gpt2", config, FINGERPRINT)
    lab.id = lab.campaign.id


def test_an_idea_counts_once_and_what_only_an_audit_stopped_is_a_claim(lab):
    kinds = {"a": (NOTHING, VerdictKind.BETTER), "b": VerdictKind.REJECTED, "c": NOTHING, "real": NOTHING}
    confirm(lab, kinds, blanks="abc")
    own = blank_account(lab.store, lab.now())["campaign"]
    assert (own["confirmed"], own["claimed"], own["rate"]) == (3, 2, pytest.approx(2 / 3))
    assert own["low"] < 0.1 and own["high"] > 0.99


def test_blanks_are_pooled_over_finished_campaigns_with_the_same_judge(lab):
    blanks = [f"blank-{number}" for number in range(9)]
    confirm(lab, dict.fromkeys(blanks, NOTHING), blanks)
    another(lab, alpha=0.2)
    confirm(lab, {"other": VerdictKind.BETTER}, ["other"])
    another(lab)
    confirm(lab, {"unfinished": VerdictKind.BETTER}, ["unfinished"], finish=False)
    another(lab)
    confirm(lab, {"mine": NOTHING, "good": VerdictKind.BETTER}, ["mine"], finish=False)
    found = blank_account(lab.store, lab.now())
    assert found["campaign"]["confirmed"] == 1
    pooled = found["pooled"]
    assert (pooled["campaigns"], pooled["confirmed"], pooled["claimed"]) == (2, 10, 0)
    assert pooled["high"] == pytest.approx(1 - 0.025 ** (1 / 10))


def test_false_claims_are_estimated_by_the_rate_of_blanks(lab):
    verdicts = {f"blank-{number}": NOTHING for number in range(39)} | {"unlucky": VerdictKind.BETTER}
    verdicts |= {f"good-{number}": VerdictKind.BETTER for number in range(4)} | {"dull": NOTHING}
    confirm(lab, verdicts, [name for name in verdicts if name.startswith(("blank", "unlucky"))])
    found = blank_account(lab.store, lab.now())["false_claims"]
    assert (found["claims"], found["confirmed"]) == (4, 5)
    assert found["expected"] == pytest.approx(5 / 40)
    assert found["at_most"] == pytest.approx(5 * 0.1316, abs=0.001)
    assert found["words"].startswith("Of 4 claims, 0.1 are false by the rate of blanks, and at most 0.7 ")


def test_where_blanks_are_too_few_that_is_what_is_said(lab):
    confirm(lab, {"good": VerdictKind.BETTER}, finish=False)
    words = blank_account(lab.store, lab.now())["false_claims"]["words"]
    assert words.startswith("No blank has entered confirmation")
    confirm(lab, {"blank": NOTHING}, ["blank"])
    found = blank_account(lab.store, lab.now())["false_claims"]
    assert found["words"] == "1 blank is too few to say how many of 1 claims may be false."
    assert found["at_most"] == pytest.approx(0.975)


def test_without_claims_none_is_false(lab):
    confirm(lab, {"dull": NOTHING})
    assert blank_account(lab.store, lab.now())["false_claims"]["words"].startswith("No idea was claimed")
