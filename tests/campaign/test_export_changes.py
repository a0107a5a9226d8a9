"""Which changes are exported, which stay out, and what is said where nothing can be."""

import shutil
from dataclasses import replace

import exports
import pytest
import toy
from exports import git, make_repository

from mendel.campaign.config import ConfigError
from mendel.campaign.export import Asked, export
from mendel.campaign.export_changes import _ideas, chosen_campaign, held_by, only_claimed, series
from mendel.campaign.summary import summarise
from mendel.records import Patch, Range
from mendel.store import TUNED, Store

# --- only what is claimed -----------------------------------------------------------------------------


def test_what_is_not_claimed_can_be_left_out(taken):
    store, id, _, _ = taken()
    found = export(store, None, Asked(claimed=True))
    carried = summarise(store, store.campaign(id))["carried"]
    assert found["left_out"] == carried and len(found["commits"]) == 3
    assert all(row["claimed"] for row in found["commits"]) and found["branch"] == f"mendel/{id}-claimed"
    assert any("not measured as a whole" in note for note in found["notes"])


def test_what_a_claim_is_built_on_stays_and_is_named(taken):
    store, _, _, _ = taken()
    held = held_by(store, chosen_campaign(store, None))
    below = toy.idea("below", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.1")])
    above = toy.idea("above", edits=[("EFFICIENCY = 1.1", "EFFICIENCY = 1.2")])
    beside = toy.idea("beside", {"gain_a": 2.0})
    finding = next(iter(held.findings.values())).model_copy(update={"idea": above})
    trunk = held.trunk.model_copy(update={"adopted": (below, beside, above)})
    ideas, stay, gone = only_claimed(replace(held, trunk=trunk, findings={"above": finding}))
    assert ([idea.name for idea in ideas], gone) == (["below", "above"], ["beside"])
    assert "above" in stay["below"]
    with pytest.raises(ConfigError, match="nothing that its trunk holds is claimed.*below, beside, above"):
        only_claimed(replace(held, trunk=trunk, findings={}))


def test_a_default_that_a_later_change_makes_ambiguous_is_not_written_at_all(taken):
    store, _, _, _ = taken()
    held = held_by(store, chosen_campaign(store, None))
    knob = toy.idea("knob", {"gain_a": 2.0})
    twice = toy.idea("twice", edits=[("TEMPERATURE = 1.0", "TEMPERATURE = 1.0\nother = dict(gain_a=3.0)")])
    first, second = series(held, (knob, twice))
    assert first.left["gain_a"].startswith("gain_a gets a value in more than one place (train.py:")
    assert first.tree == held.base and exports.DEFAULT in second.tree["train.py"]
    (first,) = series(held, (knob,))
    assert not first.left and "gain_a = 2.0" in first.tree["train.py"]


def test_a_carried_change_has_the_values_that_the_search_found_last(taken):
    store, id, _, _ = taken()
    ranges = {"gain_a": Range(low=0.5, high=2.0)}
    open_ = toy.idea("open", {"gain_a": 1.0, "label": "x"})
    patch = Patch(overrides=open_.patch.overrides, tune=ranges)
    store.add_ideas(id, [open_.model_copy(update={"patch": patch})])
    for round, value in ((9, 1.1), (10, 1.3), (2, 1.7)):
        store.decide(id, f"{round}{TUNED}", {"on": "", "ideas": {"open": {"values": {"gain_a": value}}}})
    (found,) = _ideas(store, store.campaign(id), ["open"], {})
    assert (found.patch.overrides, found.patch.tuned) == ({"gain_a": 1.3, "label": "x"}, ("gain_a",))


# --- what it refuses ----------------------------------------------------------------------------------


def test_what_cannot_be_exported_is_said_with_what_is_there(taken, lab_root, toy_data, monkeypatch):
    store, id, top, _ = taken()
    (lab_root / "full").mkdir()
    (lab_root / "full" / "x").write_text("")
    (lab_root / "file").write_text("")
    for asked, message in (
        (Asked(to=lab_root / "full"), "full: it is not empty; --to takes a folder"),
        (Asked(to=lab_root / "full", patches=True), "full: it is not empty; --to takes a folder"),
        (Asked(to=lab_root / "file"), "file: it is a file; --to takes a folder"),
        (Asked(branch="a b"), "branch: 'a b' is no name of a branch; allowed are"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(store, id, asked)
    with Store(lab_root / "empty") as empty, pytest.raises(ConfigError, match="no campaign here yet"):
        export(empty, None, Asked())
    ideas = toy.write_ideas(lab_root / "null.toml", toy.NULL)
    other, idle, _ = toy.run_fake(toy.config(ideas, toy_data, budget="60runs"), lab_root / "idle")
    with other:
        with pytest.raises(ConfigError, match=f"adopted anything; the latest: {idle.id} .*1 dropped"):
            export(other, None, Asked())
        with pytest.raises(ConfigError, match=f"campaign {idle.id} adopted nothing: .*ideas: 1 dropped"):
            export(other, idle.id, Asked())
    monkeypatch.setenv("PATH", str(lab_root))
    with pytest.raises(ConfigError, match="git is not installed"):
        export(store, id, Asked())
    assert not (store.root / "exports").exists()


def test_a_commit_or_a_repository_that_is_gone_is_named(taken):
    store, id, top, _ = taken()
    commit = git(top, "rev-parse", "HEAD")
    shutil.rmtree(top / ".git")
    make_repository(top, "begun anew")
    with pytest.raises(ConfigError, match=f"user: commit {commit} is gone from it"):
        export(store, id, Asked())
    shutil.rmtree(top)
    with pytest.raises(ConfigError, match="user: the repository is gone; the campaign began on commit"):
        export(store, id, Asked())
