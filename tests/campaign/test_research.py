"""A campaign with researchers: what they bring is judged like any idea, nothing is asked twice, and nothing
is lost where nobody answers."""

import pytest
import team
import toy
from team import change, edit, proposal, repair, said, settings

from mendel.campaign.lab import Paused
from mendel.researchers.seats import SEATS
from mendel.store import IdeaState, Store
from mendel.testing.messages_server import Answer
from mendel.testing.team import tool_results

SLOW_START = toy.idea("catalog-knob", {"gain_a": 1.3})


# --- from a proposal to a finding --------------------------------------------------------------------------


def test_an_idea_is_proposed_written_mended_judged_and_explained(research):
    people = team.Team()
    store, campaign = research(people)
    states = toy.states(store, campaign)
    assert states["faster"][0] == "adopted"
    assert states["renamed"][0] not in ("adopted", "claimed")
    assert people.count("debugger") == 1
    (finding,) = store.findings(campaign)
    assert finding.idea.proposer == "scripted"
    told = store.explanations(campaign)["faster"]["effect"]
    assert told == f"Its compute multiplier is {2**finding.log2_cm.value:.2f}."
    assert store.decision(campaign, "0/memory")["works"][0]["evidence"] == ["faster"]


def test_the_next_round_is_told_what_the_last_one_found(research):
    people = team.Team()
    research(people)
    second = [question for seat, question in people.asked if seat == "proposer"][1]
    assert "faster: claimed, CM 1." in second
    assert "faster works. (faster)" in second, "the memory"


def test_every_call_carries_the_version_of_its_prompt(research):
    store, campaign = research(team.Team())
    first = [call for call in store.calls(campaign) if call.step == 0]
    versions = {seat.name: seat.prompt.version for seat in SEATS}
    assert first
    assert all(call.request["prompt"] == versions[call.seat] for call in first)


def test_a_forecast_is_pooled_from_proposer_forecaster_and_base_rate(research):
    store, campaign = research(team.Team())
    kept = {one.forecaster: one for one in store.forecasts(campaign, "faster")}
    assert kept.keys() == {"scripted", "scripted (proposes)", "base rate"}
    (idea,) = [entry.idea for entry in store.ideas(campaign) if entry.idea.name == "faster"]
    means = sorted(one.forecast.mean for one in kept.values())
    assert means[0] < idea.forecast.mean < means[-1]


def test_an_idea_that_cannot_be_mended_has_failed_and_the_others_go_on(research):
    people = team.Team()
    people.repairs["faster"] = repair(change(), "it needs a second machine", broken=True)
    store, campaign = research(people)
    states = toy.states(store, campaign)
    assert states["faster"][0] == "failed"
    assert "the idea itself is broken: it needs a second machine" in states["faster"][1]
    assert states["renamed"][0] == "screened"


def test_repairs_end_after_so_many_attempts(research):
    people = team.Team()
    people.repairs["faster"] = repair(people.changes["faster"], "the same again")
    store, campaign = research(people, researchers={"attempts": 2})
    assert people.count("debugger") == 2
    assert toy.states(store, campaign)["faster"][0] == "failed"
    last = [question for seat, question in people.asked if seat == "debugger"][-1]
    assert "1. smoke run crashed: NameError" in last, "it sees what was tried before"


def test_a_rule_mends_what_it_knows_before_anyone_is_asked(research, lab_root):
    people = team.Team()
    people.proposals = [[proposal("hot", "diverges")]]
    people.changes["hot"] = change(edit('"fail": "",', '"fail": "",\n    "lr": 2.0,'), lr=2.0, fail="")
    hot = 'if knobs["lr"] > 1.0:\n        return misbehave("nan", args.out)\n    kind = knobs["fail"]'
    people.changes["hot"]["edits"].append(edit('kind = knobs["fail"]', hot))
    store, campaign = research(people)
    assert people.count("debugger") == 0
    (idea,) = [entry.idea for entry in store.ideas(campaign)]
    assert idea.patch.overrides["lr"] == 1.0
    assert "after 1 repair" in "\n".join(said(store, campaign))


def test_a_patch_that_does_not_apply_is_sent_back_with_the_nearest_lines(research):
    people = team.Team()
    wrong, right = change(edit("EFFICIENCY = 2.0", "EFFICIENCY = 3.0")), team.GOOD

    def engineer(question, back, request):
        people.sent_back = back
        return right if back else wrong

    people.proposals, people.engineer = [[proposal("faster", "raise it")]], engineer
    store, campaign = research(people)
    assert "EFFICIENCY = 1.0" in people.sent_back[0]
    assert toy.states(store, campaign)["faster"][0] == "adopted"


def test_protected_files_cannot_be_edited_whatever_the_engineer_answers(research):
    people = team.Team()
    people.proposals = [[proposal("cheat", "score better")]]
    people.changes["cheat"] = change(edit("self.log_p_V[LETTERS] = -bits_per_byte", "x = 1", "score.py"))
    store, campaign = research(people)
    assert store.ideas(campaign) == []
    assert any("cheat: no patch" in message for message in said(store, campaign))


def test_an_engineer_reads_the_recipe_and_nothing_else(research):
    people = team.Team()
    reads = (
        ("list_files", {}),
        ("search", {"pattern": "^EFFICIENCY"}),
        ("read_file", {"path": "/etc/passwd"}),
    )

    def engineer(question, back, request):
        done = len(tool_results(request))
        return Answer.call(reads[done][0], **reads[done][1]) if done < len(reads) else team.GOOD

    people.engineer = engineer
    people.proposals = [[proposal("faster", "raise it")]]
    store, campaign = research(people)
    returned = [
        part["content"]
        for call in store.calls(campaign, task="0/write/faster")
        for message in call.request["messages"]
        for part in message["parts"]
        if part["part_kind"] != "user-prompt"
    ]
    assert [line.partition(":")[0] for line in returned[0].splitlines()] == ["score.py", "train.py"]
    assert [line.endswith("(editable)") for line in returned[0].splitlines()] == [False, True]
    assert "train.py:24:EFFICIENCY = 1.0" in returned[1]
    assert "the recipe has no such file" in str(returned[2])
    assert "root:" not in str(returned)


# --- what was there before -----------------------------------------------------------------------------


def test_an_idea_that_the_judge_knows_costs_no_compute(research, lab_root):
    people = team.Team()
    earlier = toy.idea("old-knob", {"gain_a": 1.01}, mean=0.1)
    people.proposals = [[proposal("new-knob", "old-knob helps. By its knob.", hypothesis="old-knob helps.")]]
    people.novelty = lambda *_: {
        "judged": [{"idea": "new-knob", "same_as": "old-knob", "reason": "the same knob"}]
    }
    store, campaign = research(people, toy.write_ideas(lab_root / "ideas.toml", [earlier]))
    assert "new-knob" not in toy.states(store, campaign)
    assert people.count("engineer") == 0
    assert any("it is old-knob again: the same knob" in message for message in said(store, campaign))


def test_a_patch_that_the_judge_knows_is_not_run(research, lab_root):
    people = team.Team()
    earlier = toy.idea("old-source", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.0\nUNUSED = 1\nIDLE = 2")])
    people.proposals = [[proposal("zebra", "stripes")]]
    people.changes["zebra"] = change(
        edit("EFFICIENCY = 1.0", "EFFICIENCY = 1.0\nUNUSED = 1\nIDLE = 2\nMORE = 3")
    )
    people.novelty = lambda *_: {
        "judged": [{"idea": "zebra", "same_as": "old-source", "reason": "the same lines"}]
    }
    store, campaign = research(people, toy.write_ideas(lab_root / "ideas.toml", [earlier, *toy.NULL]))
    assert people.count("novelty") == 1
    state, note = toy.states(store, campaign)["zebra"]
    assert state == "dropped"
    assert note.startswith("its patch is old-source again: the same lines")
    assert not [run for run in store.runs(campaign) if run.idea == "zebra"]


def test_the_same_patch_under_another_name_is_not_run(research, lab_root):
    people = team.Team()
    people.proposals = [[proposal("quicker", "an unlike text about nothing")]]
    people.changes["quicker"] = change(gain_a=1.3)
    store, campaign = research(people, toy.write_ideas(lab_root / "ideas.toml", [SLOW_START]))
    assert toy.states(store, campaign)["quicker"] == ("dropped", "the same patch as catalog-knob")


def test_a_name_that_is_taken_gets_a_number(research, lab_root):
    people = team.Team()
    people.proposals = [[proposal("catalog-knob", "something else")]]
    people.changes["catalog-knob-2"] = team.GOOD
    store, campaign = research(people, toy.write_ideas(lab_root / "ideas.toml", [SLOW_START]))
    assert toy.states(store, campaign)["catalog-knob-2"][0] == "adopted"


# --- the trunk moves on ----------------------------------------------------------------------------------


def test_a_stale_patch_is_written_anew_for_the_trunk(research, lab_root):
    first = toy.idea("first", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.5 * 1.0")], mean=0.5)
    late = toy.idea(
        "late", edits=[("EFFICIENCY = 1.0\nTEMP", "EFFICIENCY = 1.0 * 1.4\nTEMP")], mean=-0.5, sd=0.01
    )
    people = team.Team()
    people.proposals = []
    people.changes["late-rebased"] = change(edit("EFFICIENCY = 1.5 * 1.0", "EFFICIENCY = 1.5 * 1.4"))
    file = toy.write_ideas(lab_root / "ideas.toml", [first, late, *toy.NULL])
    store, campaign = research(people, file, policy={"screen_ideas": 3}, budget="250runs")
    states = toy.states(store, campaign)
    assert states["first"][0] == "adopted"
    assert states["late"][0] == "stale"
    assert states["late-rebased"][0] == "adopted"
    (question,) = [question for seat, question in people.asked if seat == "engineer"]
    assert "+EFFICIENCY = 1.0 * 1.4" in question, "its own side"
    assert "+EFFICIENCY = 1.5 * 1.0" in question, "the trunk's side"


def test_a_planted_patch_that_went_stale_is_shown_to_nobody(research, lab_root):
    first = toy.idea("first", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.5 * 1.0")], mean=0.5)
    late = toy.idea(
        "late", edits=[("EFFICIENCY = 1.0\nTEMP", "EFFICIENCY = 1.0 * 1.4\nTEMP")], mean=-0.5, sd=0.01
    )
    people = team.Team()
    people.proposals = []
    config = settings(
        research.data, toy.write_ideas(lab_root / "ideas.toml", [first, late, *toy.NULL]),
        policy={"screen_ideas": 3}, budget="250runs",
    )  # fmt: skip
    store, found, _ = toy.run_fake(config, lab_root / "lab", model=people.model(), blanks={"late": "noop"})
    with store:
        assert toy.states(store, found.id)["late"][0] == "stale"
        assert people.count("engineer") == 0


# --- a person --------------------------------------------------------------------------------------------


def test_patches_that_a_person_must_approve_wait_and_never_run_before(research, toy_data, lab_root):
    people = team.Team()
    people.changes["faster"] = team.GOOD
    with pytest.raises(Paused, match="faster, renamed: waiting for a person"):
        research(people, researchers={"review": True})
    with Store(lab_root / "lab") as store:
        campaign = store.campaign()
        assert {state for state, _ in toy.states(store, campaign.id).values()} == {"review"}
        assert not store.runs(campaign.id)
        store.set_idea_state(campaign.id, "faster", IdeaState.QUEUED, "approved by a person")
        config = settings(toy_data, researchers={"review": True})
        with pytest.raises(Paused, match="renamed: waiting"):
            toy.continue_fake(config, store, campaign, model=people.model())
        assert toy.states(store, campaign.id)["faster"][0] == "adopted"


def test_the_guidance_file_is_read(research, tmp_path):
    file = tmp_path / "guidance.md"
    file.write_text("Try less data, never more.")
    people = team.Team()
    research(people, researchers={"guidance": str(file)})
    assert "Try less data, never more." in next(q for seat, q in people.asked if seat == "proposer")
