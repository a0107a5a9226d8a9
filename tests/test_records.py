"""The nouns: identity is content, values are frozen, and a type enforces its state."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy import idea

from mendel import records
from mendel.records import (
    Edit,
    Finding,
    Forecast,
    Idea,
    Interval,
    Patch,
    Plan,
    PlanKind,
    Range,
    Recipe,
    Record,
    RunResult,
    RunStatus,
    Shard,
    content_hash,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SCALARS = st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=5)
RECIPES = st.builds(
    Recipe,
    testbed=st.just("toy"),
    tree=st.text("abc", max_size=3),
    base=st.just("plain"),
    overrides=st.dictionaries(st.text("ab", max_size=2), SCALARS, max_size=3),
)


def a_plan(**changes):
    fields = {"kind": PlanKind.CONFIRM, "round": 0, "idea": "a", "control": "c", "treatment": "t", "rung": 1}
    fields |= {"seeds": (5, 6), "control_tokens": 100, "treatment_tokens": 90, "cost_ratio": 100 / 90}
    return Plan(**(fields | {"shard": Shard.HELD_OUT} | changes))


@given(JSON)
def test_a_hash_is_that_of_the_content_and_not_of_its_order(value):
    assert content_hash({"a": value, "b": 1}) == content_hash({"b": 1, "a": value})
    assert len(content_hash(value)) == 12 and int(content_hash(value), 16) >= 0


@given(RECIPES)
def test_what_is_stored_and_read_again_is_the_same_record(recipe):
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert (again, again.id) == (recipe, recipe.id)


@given(RECIPES, RECIPES)
def test_records_have_one_id_exactly_when_they_are_written_alike(one, other):
    assert (one.id == other.id) == (one.model_dump_json() == other.model_dump_json())


def test_kinds_of_numbers_are_different_settings():
    ids = {Recipe(testbed="t", tree="x", base="b", overrides={"k": v}).id for v in (1, 1.0, True, "1")}
    assert len(ids) == 4


def test_a_changed_copy_has_an_id_of_its_own():
    plan = a_plan()
    assert plan.model_copy(update={"round": 1}).id == a_plan(round=1).id != plan.id


def test_a_record_is_frozen_and_takes_no_unknown_key():
    plan = a_plan()
    with pytest.raises(ValidationError):
        plan.round = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        a_plan(rnd=3)


def test_every_record_forbids_what_it_does_not_know():
    kinds = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Record)]
    assert len(kinds) > 12
    for kind in kinds:
        assert kind.model_config["frozen"] and kind.model_config["extra"] == "forbid", kind


@pytest.mark.parametrize("status", RunStatus)
def test_a_run_has_a_score_exactly_when_it_is_done(status):
    scored = {"status": status, "bits_per_byte": 2.5}
    bare = {"status": status}
    good, bad = (scored, bare) if status is RunStatus.DONE else (bare, scored)
    assert RunResult(**good).status is status
    with pytest.raises(ValidationError, match="exactly when its status is done"):
        RunResult(**bad)


def test_a_pair_shares_everything_but_recipe_and_tokens():
    control, treatment = a_plan().runs(5, "print")
    assert (control.recipe, control.tokens) == ("c", 100)
    assert (treatment.recipe, treatment.tokens) == ("t", 90)
    shared = {"seed", "rung", "shard", "fingerprint"}
    assert control.model_dump(include=shared) == treatment.model_dump(include=shared)
    assert control.id != treatment.id


def test_a_patch_does_something():
    with pytest.raises(ValidationError, match="at least one edit or one override"):
        Patch(slot="norm")
    with pytest.raises(ValidationError):
        Edit(path="a.py", search="", replace="x")


NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000) | st.sampled_from([0.0, math.inf, math.nan])


@given(low=NUMBERS, high=NUMBERS, log=st.booleans(), integer=st.booleans())
def test_a_range_holds_numbers_that_can_be_searched_as_it_says(low, high, log, integer):
    able = math.isfinite(low) and math.isfinite(high) and low < high
    able = (
        able
        and (low > 0 or not log)
        and (float(low).is_integer() and float(high).is_integer() or not integer)
    )
    fields = {"low": low, "high": high, "log": log, "integer": integer}
    if not able:
        with pytest.raises(ValidationError):
            Range(**fields)
        return
    found = Range(**fields)
    assert Range.model_validate_json(found.model_dump_json()) == found
    assert (
        low <= found.middle <= high or found.middle == pytest.approx(low) or math.isclose(found.middle, high)
    )
    assert isinstance(found.middle, int) or not integer


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_a_range_takes_nothing_for_a_number_that_is_none(value):
    with pytest.raises(ValidationError):
        Range(low=value, high=3)


def test_a_patch_without_tuned_knobs_has_the_id_that_it_always_had():
    patch = Patch(overrides={"lr": 1.0}, edits=(Edit(path="a.py", search="x", replace="y"),))
    edits = [{"path": "a.py", "search": "x", "replace": "y"}]
    assert patch.id == content_hash({"edits": edits, "overrides": {"lr": 1.0}, "slot": None})
    tuned = Patch(tune={"lr": Range(low=1, high=2)})
    assert Patch.model_validate_json(tuned.model_dump_json()) == tuned
    assert tuned.id != Patch(tune={"lr": Range(low=1, high=3)}).id


def test_a_patch_that_tunes_all_that_it_sets_would_compare_a_knob_with_itself():
    lr = {"lr": Range(low=1, high=2)}
    with pytest.raises(
        ValidationError, match="lr: tuned, and nothing else is changed: leave out the overrides"
    ):
        Patch(overrides={"lr": 1.5}, tune=lr)
    with pytest.raises(ValidationError, match="lr = 'high': a tuned knob starts at a number"):
        Patch(overrides={"lr": "high", "beta": 0.9}, tune=lr)
    with pytest.raises(ValidationError, match="tuned: 'beta' is not one of the overrides"):
        Patch(overrides={"lr": 1.5}, tuned=("beta",))
    assert Patch(tune=lr).only_tunes
    assert not Patch(overrides={"lr": 1.5, "beta": 0.9}, tune=lr).only_tunes


@pytest.mark.parametrize("name", ["", "Upper", "-dash", "with space", "a" * 61, "ü"])
def test_a_name_can_be_typed_everywhere(name):
    with pytest.raises(ValidationError):
        idea(name, {"gain_a": 2.0})


def test_an_unknown_class_is_told_with_those_that_are_known():
    with pytest.raises(ValidationError, match="'magic' is not one of architecture, attention"):
        idea("a", {"gain_a": 2.0}, idea_class="magic")


@pytest.mark.parametrize("fields", [{"mean": 0.1, "sd": 0.0}, {"mean": 0.1, "sd": 1.0, "p_runs": 1.1}])
def test_a_forecast_is_a_distribution(fields):
    with pytest.raises(ValidationError):
        Forecast(**fields)


def test_a_finding_carries_its_whole_idea():
    found = Finding(
        idea=idea("a", {"gain_a": 2.0}),
        round=0,
        control="c",
        treatment="t",
        rung=0,
        cost_ratio=1.0,
        log2_cm=Interval(value=1.0, low=0.9, high=1.1),
        verdicts=("v",),
        runs=4,
        adopted=True,
        refuted_by="fresh pairs",
    )
    again = Finding.model_validate_json(found.model_dump_json())
    assert isinstance(again.idea, Idea) and again == found
