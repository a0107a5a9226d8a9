"""What a person sees of researchers, on the command line, and what a person decides there."""

import contextlib
import json

import pytest
import team
import toy
from team import settings

from mendel.campaign.lab import Paused
from mendel.cli import main


def command(monkeypatch, capsys, root, *arguments):
    monkeypatch.setenv("MENDEL_ROOT", str(root))
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.suppress(SystemExit):
        main(list(arguments))
    return capsys.readouterr()


@pytest.fixture
def ended(toy_data, lab_root, monkeypatch, capsys):
    """The command line on a campaign that a team has carried; and its id."""
    store, found, _ = toy.run_fake(settings(toy_data), lab_root, model=team.Team().model())
    store.close()
    return lambda *arguments: command(monkeypatch, capsys, lab_root, *arguments).out, found.id


def test_an_idea_shows_its_forecasters_its_calls_and_its_explanation(ended):
    shown = ended[0]("show", "faster")
    assert "pooled from those below" in shown
    assert "scripted (proposes): +0.30" in shown
    assert "calls: engineer 1, debugger 1, analyst 2" in shown
    assert "Its compute multiplier is 1." in shown


def test_a_transcript_has_the_calls_that_an_idea_shares_with_others(ended):
    seats = [
        call["seat"] for call in json.loads(ended[0]("show", "faster", "--transcript", "--json"))["calls"]
    ]
    shared = ["proposer", "engineer", "debugger", "forecaster", "analyst", "analyst", "librarian"]
    assert seats == shared
    text = ended[0]("show", "faster", "--transcript")
    assert "undefined_name" in text
    assert "a name that does not exist" in text


def test_a_campaigns_transcript_is_all_of_its_calls(ended):
    show, campaign = ended
    assert len(json.loads(show("show", campaign, "--transcript", "--json"))["calls"]) == 11


def test_a_person_reads_approves_and_rejects_patches(toy_data, lab_root, monkeypatch, capsys):
    config = settings(toy_data, researchers={"review": True})
    people = team.Team()
    with pytest.raises(Paused):
        toy.run_fake(config, lab_root, model=people.model())

    def run(*arguments):
        return command(monkeypatch, capsys, lab_root, *arguments).out

    assert run("review").splitlines()[0].startswith("faster: faster helps.")
    assert "undefined_name" in run("review", "faster")
    assert "faster: approved by a person" in run("review", "faster", "--approve")
    assert "rejected by a person: nothing new" in run("review", "renamed", "--reject", "nothing new")
    assert "No patch waits" in run("review")
    refused = command(monkeypatch, capsys, lab_root, "review", "faster", "--approve")
    assert "'faster' does not wait" in refused.err
