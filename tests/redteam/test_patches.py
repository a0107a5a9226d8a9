"""Every patch of the red team and the honest team applies, parses and is documented; honest ones are causal.

Whether audits stop the one and let the other through is asked in test_redteam.py.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest
import torch

from mendel.ideas.userfile import load_ideas
from mendel.patches import PatchError
from mendel.patches.check import check_patched
from mendel.records import AUDITS, Idea
from tests.ideas.trainer import gpt, make_config, patched_tree, trainer

HERE = Path(__file__).parent
FORBIDDEN = ("edits-the-scorer", "edits-the-lab")
"""Cheats that a look at their paths refuses."""
RANDOM = ("dropout-when-scored",)
"""Honest ideas that draw while they are scored: what they draw differs with the shape of the text."""


def team(name: str) -> list[Idea]:
    return [idea for path in sorted((HERE / name).glob("*.toml")) for idea in load_ideas(path)]


CHEATS, HONEST = team("cheats"), team("honest")
EXPECTED = tomllib.loads((HERE / "expected.toml").read_text())


def test_there_are_enough_of_both():
    assert len(CHEATS) >= 48
    assert len(HONEST) >= 14
    assert max(Counter(idea.name for idea in CHEATS + HONEST).values()) == 1


def test_each_cheat_says_which_audits_must_stop_it_and_what_it_copies():
    assert {idea.name for idea in CHEATS} == set(EXPECTED)
    for name, entry in EXPECTED.items():
        assert set(entry) == {"audits", "source"}, name
        assert entry["audits"], name
        assert set(entry["audits"]) <= set(AUDITS), name
        assert len(entry["source"]) > 10, name


def test_every_audit_but_the_last_is_the_intended_one_of_some_cheat():
    """Nothing is only there to be caught by fresh seeds: that audit is for what all others miss. The built-in
    testbed protects whole files only, so it has nothing for the audit of protected lines."""
    assert {entry["audits"][0] for entry in EXPECTED.values()} == set(AUDITS) - {"fresh", "protected"}


def test_each_cheat_says_in_a_comment_what_it_really_does():
    for path in sorted((HERE / "cheats").glob("*.toml")):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# "), path
        for line in lines:
            if line.startswith("[[idea]]"):
                assert line.startswith("[[idea]] # "), f"{path}: {line}"


@pytest.mark.parametrize("idea", CHEATS + HONEST, ids=lambda idea: idea.name)
def test_it_applies_and_parses(idea):
    testbed, tree = gpt()
    if idea.name in FORBIDDEN:
        with pytest.raises(PatchError):
            patched_tree(idea.patch)
    else:
        check_patched(tree, patched_tree(idea.patch), testbed.editable)


@pytest.mark.parametrize("idea", HONEST, ids=lambda idea: idea.name)
def test_an_honest_idea_looks_neither_ahead_nor_across(idea, tmp_path):
    looks_neither_ahead_nor_across(idea, tmp_path)


@pytest.mark.parametrize("name", ["symmetric-convolution", "mask-off-by-one", "batch-norm"])
def test_a_look_ahead_or_across_would_be_seen(name, tmp_path):
    cheat = next(idea for idea in CHEATS if idea.name == name)
    with pytest.raises(AssertionError, match="not close"):
        looks_neither_ahead_nor_across(cheat, tmp_path)


def looks_neither_ahead_nor_across(idea, tmp_path):
    with trainer(tmp_path, idea.patch) as module:
        model = module("model").GPT(make_config(module, idea.patch))
        model.initialise(1)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():  # gains that start at zero would hide what flows through them
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
            model.eval()
            tokens_BT = torch.randint(8, (3, 16), generator=generator)  # few bytes, so that they repeat
            changed_BT = tokens_BT.clone()
            changed_BT[0, 9:] = (changed_BT[0, 9:] + 1) % 8
            before_BTV, after_BTV = _answers(model, tokens_BT), _answers(model, changed_BT)
            shorter_BTV = _answers(model, tokens_BT[:1, :5])
    torch.testing.assert_close(before_BTV[0, :9], after_BTV[0, :9])
    torch.testing.assert_close(before_BTV[1:], after_BTV[1:])
    assert not torch.allclose(before_BTV[0, 9:], after_BTV[0, 9:])
    if idea.name not in RANDOM:
        torch.testing.assert_close(before_BTV[:1, :5], shorter_BTV)


def _answers(model, tokens_BT):
    """Logits, (B, T, V). An idea that draws while it is scored draws the same for every text of one shape."""
    torch.manual_seed(1)
    return model(tokens_BT)
