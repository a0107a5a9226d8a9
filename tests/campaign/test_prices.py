"""Prices that the agenda reckons with, beside what campaigns take."""

from collections import Counter

import toy

from mendel.campaign.agenda import CLAIMED, CONFIRMED, ENTERING, own_control_price, tuning_price
from mendel.campaign.config import Policy
from mendel.campaign.summary import summarise
from mendel.cli import DEMO_BUDGET, DEMO_POLICY
from mendel.records import Edit, Patch, PlanKind, Range


def tuned(name, high, **patch):
    """An idea that tunes a knob of which more is better, so the control tunes it too."""
    tune = {"gain_c": Range(low=0.5, high=high)}
    return toy.idea(name, {"label": "x"}).model_copy(update={"patch": Patch(tune=tune, **patch)})


CODE = tuned(
    "code", 2.0, edits=(Edit(path="train.py", search="EFFICIENCY = 1.0", replace="EFFICIENCY = 1.6"),)
)
WORSE = tuned("worse", 1.5, overrides={"gain_b": 0.3})
KNOB = tuned("knob", 2.0)


def test_the_price_of_tuning_holds_what_a_control_is_trained_for_as_far_as_its_idea_comes(campaign):
    """Counted for an idea that is claimed and for one that screening stops."""
    changes = {"more_screen_pairs": 0, "early_stop": 0.0}
    store, found = campaign([CODE, WORSE, *toy.NULL], budget="400runs", policy=changes)
    policy = Policy.model_validate({**toy.POLICY, **changes})
    trained = {}
    for name in ("code", "worse"):
        (plan,) = store.plans(found, PlanKind.SCREEN, 0, name)
        assert store.recipe(plan.control).overrides, "its control was not tuned"
        runs = [run for run in store.runs(found) if run.spec.recipe == plan.control and run.idea is None]
        trained[name] = Counter(run.stage for run in runs if run.stage != PlanKind.TUNE)
    (plan,) = store.plans(found, PlanKind.CONFIRM, 0, "code")
    (confirmed,) = (verdict.pairs for verdict in store.verdicts(found, plan.id))
    counted = {"code": trained["code"].total() - confirmed + CONFIRMED, "worse": trained["worse"].total()}
    assert trained["code"]["confirm"] == confirmed and trained["code"]["estimate"] == policy.estimate_pairs
    assert counted == {name: own_control_price(policy, far, far) for name, far in (("code", 1), ("worse", 0))}
    expected = 2 * policy.tune_trials + own_control_price(policy, ENTERING, CLAIMED)
    assert tuning_price(policy, CODE.patch) == expected
    assert tuning_price(policy, KNOB.patch) == policy.tune_trials
    assert tuning_price(policy, toy.NULL[0].patch) == 0


def test_the_demo_has_a_full_round_and_a_last_check_however_slow_the_machine(campaign):
    def slow(job):
        return toy.train_here(job).model_copy(update={"train_seconds": 500.0})

    many = [toy.idea(f"null-{number}", {"label": str(number)}, slot="label") for number in range(40)]
    policy = Policy.model_validate(DEMO_POLICY).model_dump()
    store, found = campaign([*toy.GOOD, *many], answer=slow, budget=DEMO_BUDGET, policy=policy)
    assert len(store.plans(found, PlanKind.SCREEN, 0)) > 30
    assert summarise(store, store.campaign(found))["trunk_checked"]
