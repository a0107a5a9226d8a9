"""Rules mend what they know, by values of the configuration alone, and leave the rest to the debugger."""

import pytest

from mendel.patches.repairs import repair_by_rule
from mendel.records import Edit, Patch, RunStatus

EDIT = Edit(path="a.py", search="x", replace="y")


def mended(overrides, status, reason="", knobs=None):
    found = repair_by_rule(Patch(edits=(EDIT,), overrides=overrides), status, reason, knobs)
    return None if found is None else found.patch.overrides


@pytest.mark.parametrize(
    ("overrides", "status", "reason", "knobs", "expected"),
    [
        ({"heads": 5}, RunStatus.CRASHED, "heads = 5 must be divisible by 4", None, {"heads": 4}),
        ({"vocab": 250}, RunStatus.CRASHED, "vocab=250 is not a multiple of 64", None, {"vocab": 256}),
        ({"batch": 64}, RunStatus.OUT_OF_MEMORY, "", None, {"batch": 32}),
        ({"depth": 8, "context": 128}, RunStatus.TIMED_OUT, "", None, {"depth": 8, "context": 64}),
        ({"lr": 1.0}, RunStatus.DIVERGED, "", {"lr": 0.1}, {"lr": 0.5}),
        ({}, RunStatus.DIVERGED, "", {"lr": 0.1}, {"lr": 0.05}),
    ],
)
def test_known_failures_are_mended(overrides, status, reason, knobs, expected):
    assert mended(overrides, status, reason, knobs) == expected


@pytest.mark.parametrize(
    ("overrides", "status", "reason", "knobs"),
    [
        ({"lr": 1.0}, RunStatus.CRASHED, "NameError: x", None),
        ({"batch": 1}, RunStatus.OUT_OF_MEMORY, "", None),
        ({"name": "big"}, RunStatus.OUT_OF_MEMORY, "", {"batch": 64}),
        ({}, RunStatus.DIVERGED, "", None),
        ({"heads": 5}, RunStatus.CRASHED, "width = 7 must be divisible by 4", None),
        ({"heads": 5}, RunStatus.CRASHED, "heads = 5 must be divisible by 0", None),
        ({"heads": True}, RunStatus.OUT_OF_MEMORY, "", None),
    ],
)
def test_what_no_rule_knows_is_left_alone(overrides, status, reason, knobs):
    assert mended(overrides, status, reason, knobs) is None


def test_edits_and_everything_else_of_the_patch_stay():
    patch = Patch(edits=(EDIT,), overrides={"batch": 64}, slot="s")
    found = repair_by_rule(patch, RunStatus.OUT_OF_MEMORY, "", None)
    assert found.patch == patch.model_copy(update={"overrides": {"batch": 32}})
    assert "batch = 32 instead of 64" in found.words
