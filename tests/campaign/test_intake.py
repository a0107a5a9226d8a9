"""Ideas that can never run are found before anything is trained."""

import re

import pytest
import toy
from toy import idea

from mendel.campaign.config import ConfigError
from mendel.ideas_commands import ideas_add
from mendel.records import PlanKind
from mendel.store import CampaignState

KNOBS = "gain_a, gain_b, gain_c, label, init_stream, boast, spin, fail"
UNFIT = {
    "misspelt": (
        idea("misspelt", {"gian_a": 1.5}),
        f"overrides.gian_a: the recipe has no knob 'gian_a'; did you mean gain_a? allowed are {KNOBS}",
    ),
    "odd": (
        idea("odd", {"gain_a": "much"}),
        "overrides.gain_a: 'much' is not allowed; the knob takes numbers",
    ),
    "unparsable": (
        idea("unparsable", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = (1.0")]),
        "train.py:24: '(' was never closed (after the patch)",
    ),
    "absent": (
        idea("absent", edits=[("EFFICIENCY = 2.0", "EFFICIENCY = 3.0")]),
        "train.py: edit 1 of 1: the search text 'EFFICIENCY = 2.0' occurs 0 times, "
        "it must occur exactly once",
    ),
    "twice": (
        idea("twice", edits=[('f"--{name}"', '"--name"')]),
        "train.py: edit 1 of 1: the search text 'f\"--{name}\"' occurs 2 times, it must occur exactly once",
    ),
    "forbidden": (
        idea("forbidden", edits=[("score.py", "-bits_per_byte", "-0.5 * bits_per_byte")]),
        "score.py: edit 1 of 1: this file is not editable; editable files: train.py",
    ),
}
SOUND = [*toy.GOOD, *toy.NULL]
LATER = idea("later", edits=[("EFFICIENCY = 1.6", "EFFICIENCY = 2.4")], mean=0.9)
"""Written for a trunk that holds "good-source"."""


def said(store, campaign, name):
    return [event.message for event in store.events(campaign) if event.idea == name]


@pytest.mark.parametrize("name", UNFIT)
def test_a_file_with_an_idea_that_can_never_run_is_refused_before_anything_is_trained(
    toy_data, lab_root, name
):
    one, words = UNFIT[name]
    file = toy.write_ideas(lab_root / "mine.toml", [*SOUND, one])
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{file}: idea {name!r}: {words}')}$"):
        toy.run_fake(toy.config(file, toy_data), lab_root / "lab")
    with toy.Store(lab_root / "lab") as store:
        assert not store.runs(store.campaign().id)


CRASHING = [idea(f"crashing-{number}", {"fail": "crash"}) for number in range(2)]
"""Of these a testbed that does not tell its knobs finds out in a smoke run."""


def test_where_no_idea_of_a_file_runs_nothing_is_trained(toy_data, lab_root):
    file = toy.write_ideas(lab_root / "mine.toml", CRASHING)
    with pytest.raises(
        ConfigError, match="mine.toml: none of its ideas runs; 'crashing-0': smoke run crashed: "
    ):
        toy.run_fake(toy.config(file, toy_data), lab_root / "lab")
    with toy.Store(lab_root / "lab") as store:
        assert not store.runs(store.campaign().id)


def test_an_idea_of_a_file_that_does_not_run_is_told_before_the_first_run(toy_data, lab_root):
    told = []

    def answer(job):
        if "--tokens" in job.argv and "smoke" not in job.id:
            with toy.Store(lab_root / "lab") as store:
                told.append(dict(toy.states(store, store.campaign().id)).get("crashing-0", ("?",))[0])
        return toy.train_here(job)

    file = toy.write_ideas(lab_root / "mine.toml", [*SOUND, *CRASHING])
    store, found, _ = toy.run_fake(toy.config(file, toy_data), lab_root / "lab", answer=answer)
    with store:
        assert set(told) == {"failed"}
        assert [one.split(",")[0] for one in said(store, found.id, "crashing-0")] == ["crashing-0: failed"]


def test_such_an_idea_of_the_store_is_noted_once_and_the_campaign_goes_on(campaign, toy_data, lab_root):
    store, found = campaign(SOUND, added=[one for one, _ in UNFIT.values()])
    for name, (_, words) in UNFIT.items():
        assert toy.states(store, found)[name] == ("failed", words)
        assert said(store, found, name) == [f"{name}: failed, {words}"]
    assert {row.idea.name for row in store.findings(found)} == {"good-knob", "good-source"}
    before = [event.message for event in store.events(found)]
    settings = toy.config(lab_root / "ideas.toml", toy_data)
    toy.continue_fake(settings, store, store.campaign(found))
    assert [event.message for event in store.events(found)] == before
    spent = {plan.idea for plan in store.plans(found)} | {run.idea for run in store.runs(found)}
    assert not spent & UNFIT.keys()


@pytest.mark.parametrize("dies", [None, 37])
def test_an_idea_for_a_later_trunk_waits_for_it(campaign, toy_data, lab_root, dies):
    """Also where the campaign is killed again and again."""
    calls = []

    def answer(job):
        calls.append(job.id)
        if dies and len(calls) % dies == 0:
            raise KeyboardInterrupt
        return toy.train_here(job)

    file = toy.write_ideas(lab_root / "mine.toml", [LATER, *SOUND])
    settings = toy.config(file, toy_data, budget="400runs")
    if dies:
        with pytest.raises(KeyboardInterrupt):
            toy.run_fake(settings, lab_root / "lab", answer=answer)
    else:
        toy.run_fake(settings, lab_root / "lab", answer=answer)[0].close()
    with toy.Store(lab_root / "lab") as store:
        found = store.campaign().id
        for _ in range(60):
            try:
                toy.continue_fake(settings, store, store.campaign(found), answer=answer)
                break
            except KeyboardInterrupt:
                continue
        assert not dies or len(calls) > 3 * dies, "too few kills"
        joined = {finding.idea.name: finding.round for finding in store.findings(found) if finding.adopted}
        first = store.plans(found, PlanKind.SCREEN, idea="later")[0]
        assert joined["good-source"] < first.round <= joined["later"]
        waits, *_ = said(store, found, "later")
        assert waits.startswith(
            "later: queued, waits for good-source: train.py: edit 1 of 1: the search text"
        )
        assert len([line for line in said(store, found, "later") if "waits for" in line]) == 1


def test_it_waits_to_the_end_where_that_trunk_never_comes(campaign):
    harmful = idea("harmful-source", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 0.5")])
    never = idea("never", edits=[("EFFICIENCY = 0.5", "EFFICIENCY = 2.5")], mean=0.9)
    knob = idea("knob", edits=[('    "gain_a": 1.0,', '    "own": 1.0,\n    "gain_a": 1.0,')])
    sets = idea("sets", {"own": 2.0}, mean=0.9)
    store, found = campaign([harmful, never, knob, sets, *toy.NULL])
    for name, other in (("never", "harmful-source"), ("sets", "knob")):
        state, note = toy.states(store, found)[name]
        assert state == "queued" and note.startswith(f"waits for {other}: ")
        assert not [run for run in store.runs(found) if run.idea == name]


def test_ideas_that_all_wait_are_no_beginning(campaign):
    a = idea("a", edits=[("EFFICIENCY = 7", "EFFICIENCY = 8")])
    b = idea("b", edits=[("EFFICIENCY = 8", "EFFICIENCY = 7")])
    with pytest.raises(ConfigError, match="ideas: .*ideas.toml' holds no idea that can be tried"):
        campaign([a, b])


def test_adding_a_file_refuses_what_can_never_run_and_takes_the_rest(campaign, lab_root, monkeypatch, capsys):
    store, found = campaign(SOUND)
    store.set_state(found, CampaignState.STOPPED)
    monkeypatch.setenv("MENDEL_ROOT", str(lab_root / "lab"))
    for name, (one, words) in UNFIT.items():
        file = toy.write_ideas(lab_root / "more.toml", [idea("fine", {"gain_b": 1.1}), one])
        with pytest.raises(ConfigError, match=f"^{re.escape(f'{file}: idea {name!r}: {words}')}$"):
            ideas_add(file)
    assert len(store.ideas(found)) == len(SOUND)
    ideas_add(toy.write_ideas(lab_root / "more.toml", [idea("fine", {"gain_b": 1.1}), LATER]))
    assert f"Added to {found}: fine, later" in capsys.readouterr().out
