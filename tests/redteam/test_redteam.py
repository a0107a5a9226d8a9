"""The lab against a few patches of each kind, in real processes: `mendel redteam` tries them all.

Runs are shorter than the command's, so that this takes a minute.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mendel.campaign import redteam
from mendel.campaign.config import CampaignConfig, Settings
from mendel.campaign.progress import Progress
from mendel.ideas.patchfolder import load_suspects
from mendel.patches import read_tree
from mendel.store import Store
from mendel.testbeds import load_testbed

pytestmark = pytest.mark.timeout(900)

CHEATS = {
    "unmasked-attention": "future",
    "peek-at-five-percent": "future",
    "temperature-after": "sums",
    "batch-norm": "batch",
    "dynamic-evaluation": "state",
    "edits-the-scorer": "code",
    "hidden-import": "code",
    "parent-memory": "sandbox",
    "literal-text": "leak",
    "seed-times-zero": "seed",
    "bilinear-for-free": "compute",
    "metrics-by-hand": "numbers",
    "skipped-windows": "fresh",
}
HONEST = ("dropout-when-scored", "focal-loss", "switch-experts")
SHARE = 0.08
"""Of a rung's compute."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("redteam")


@pytest.fixture(scope="module")
def found(root):
    tree = read_tree(load_testbed("gpt"))
    every = {one.idea.name: one for one in load_suspects(Path(__file__).parent, tree)}
    chosen = tuple(every[name] for name in (*CHEATS, *HONEST))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redteam, "SHARE", SHARE)
        patch.setattr(redteam, "PATIENCE", 2.0)  # no patch here is meant to be ended by the clock
        patch.setattr(redteam, "_suspects", lambda folder, testbed: chosen)
        return redteam.judge_patches(CampaignConfig(), None, False, Settings(root=root), Progress())


def rows(found, side):
    return {row["name"]: row for row in found[side]["patches"]}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_stopped_by_the_audit_that_is_meant_to(found, name):
    row = rows(found, "cheats")[name]
    assert row["stopped_by"] == CHEATS[name], row
    assert row["reason"].isprintable() and row["reason"]


@pytest.mark.parametrize("name", HONEST)
def test_an_odd_but_honest_patch_passes_all_audits(found, name):
    row = rows(found, "honest")[name]
    assert row["stopped_by"] is None, row


def test_runs_are_as_short_as_they_were_asked_to_be(found, root):
    rung = load_testbed("gpt").rungs[0].compute
    with Store(root / redteam.FOLDER) as store:
        campaign = store.campaign().id
        specs = [run.spec for run in store.runs(campaign)]
        costs = [store.cost(campaign, spec.recipe, spec.rung) for spec in specs]
    spent = [spec.tokens * cost.flops_per_token for spec, cost in zip(specs, costs, strict=True)]
    assert spent and max(spent) < 2.1 * SHARE * rung, "a curve has runs of twice a rung's compute"


def test_both_sides_are_counted_and_auditing_is_timed(found):
    assert (found["cheats"]["tried"], found["cheats"]["stopped"]) == (len(CHEATS), len(CHEATS))
    assert (found["honest"]["tried"], found["honest"]["stopped"]) == (len(HONEST), 0)
    assert 0 < found["audit_seconds_per_candidate"] < found["seconds"]
