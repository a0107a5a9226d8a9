"""Odd but fair: research code that no audit of a patch's code may stop."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mendel.ideas.blanks import make_blanks, make_harms
from mendel.ideas.catalog import load_catalog
from mendel.records import Edit
from tests.patches.audited import START, before, edit, violated

ODD = tomllib.loads(Path(__file__).with_name("honest.toml").read_text())["patch"]


@pytest.mark.parametrize("patch", ODD, ids=lambda patch: patch["name"])
def test_odd_but_fair_code_passes(patch):
    assert violated(*(Edit(**edit) for edit in patch["edits"])) == set()


@pytest.mark.parametrize("idea", load_catalog(), ids=lambda idea: idea.name)
def test_every_idea_of_the_catalog_passes(idea):
    assert violated(*idea.patch.edits, **idea.patch.overrides) == set()


@pytest.mark.parametrize("maker", [make_blanks, make_harms])
def test_blanks_and_harms_pass_as_the_ideas_they_hide_among(maker):
    for idea, _ in maker(10, seed=3):
        assert violated(*idea.patch.edits, **idea.patch.overrides) == set()


def test_text_that_is_not_code_is_not_code():
    prose = 'assert tokens, "see run.json and score.py for what is allowed"'
    assert not violated(
        before(START, f"# os.system, open('metrics.jsonl')\n{prose}"),
        before("def train(", 'def note():\n    """run.json"""\n\n\n'),
        edit("loop.py", '"""The training loop', '"""See run.json and /proc/cpuinfo. The training loop'),
    )
