"""Testbeds whose runs report their own loss, in a unit and a currency of their own: every page says so, and
nothing speaks of what only Mendel's own scores have."""

import io
import json
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
from rich.console import Console

from mendel.agents.desk import Desk
from mendel.agents.reading import finding_words, findings, idea, runs
from mendel.agents.sight import look
from mendel.campaign.config import Settings
from mendel.campaign.summary import summarise, trunk_points
from mendel.records import Currency, Fingerprint, PlanKind, RunResult, RunStatus, Trust
from mendel.report import write_report
from mendel.report.lookup import describe, render
from mendel.runs import LOG
from mendel.terminal import show_summary
from tests import toy

TRAINER = '''"""Says the loss that its arguments lead to."""
import argparse
import random

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int)
parser.add_argument("--seed", type=int)
parser.add_argument("--rate", type=float, default=1.0)
parser.add_argument("--label", default="")


def main(arguments):
    args = parser.parse_args(arguments)
    luck = random.Random(args.seed).gauss(0, 0.01) + random.Random(f"{args.seed}{args.label}").gauss(0, 0.002)
    speed = args.rate
    print(f"step {args.steps}: val loss {2 + 8 * (args.steps * speed) ** -0.3 + luck:.5f}")
    return 0


if __name__ == "__main__":
    main(None)
'''
CONTRACT = r"""
name = "own"
command = ["train.py", "--steps={steps}", "--seed={seed}"]
override = ["--{key}={value}"]
budget = "steps"
editable = ["train.py"]

[metric]
pattern = 'val loss ([0-9.]+)'
unit = "nats per token"

[[rungs]]
steps = 400
timeout = 10
"""
IDEAS = (
    toy.idea("good-knob", {"rate": 1.5}),
    toy.idea("good-source", edits=[("speed = args.rate", "speed = 1.6 * args.rate")]),
    toy.idea("harmful", {"rate": 0.6}),
    toy.idea("null", {"label": "other"}),
)
MISLEADING = re.compile(r"bits per byte|held.out|FLOPs|tokens", re.IGNORECASE)
"""What no page of such a campaign may say."""


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    """The trainer's folder."""
    folder = tmp_path_factory.mktemp("bed")
    (folder / "train.py").write_text(TRAINER)
    (folder / "testbed.toml").write_text(CONTRACT)
    toy.write_ideas(folder / "ideas.toml", IDEAS)
    return folder


def settings(bed, **changes):
    return toy.config(bed / "ideas.toml", bed, testbed=str(bed), **changes)


def say(job):
    """What the executor reports of a run: the trainer is called, its words are its log."""
    said = io.StringIO()
    with redirect_stdout(said):
        runpy.run_path(str(job.source / job.argv[0]))["main"](list(job.argv[1:]))
    (job.out / LOG).write_text(said.getvalue())
    return RunResult(status=RunStatus.DONE, bits_per_byte=0.0, train_seconds=1.0, cpu_seconds=1.0)


@pytest.fixture(scope="module")
def done(bed, tmp_path_factory):
    """A finished campaign: its store and itself."""
    store, campaign, _ = toy.run_fake(settings(bed), tmp_path_factory.mktemp("lab"), answer=say)
    yield store, campaign
    store.close()


def printed(show, *what):
    text = io.StringIO()
    show(Console(file=text, width=200), *what)
    return text.getvalue()


def test_good_changes_are_claimed_and_null_and_harmful_ones_are_not(done):
    store, campaign = done
    assert {finding.idea.name for finding in store.findings(campaign.id)} == {"good-knob", "good-source"}


def test_the_campaign_keeps_unit_trust_and_currency(done):
    fingerprint = done[1].fingerprint
    assert fingerprint.losses == {"unit": "nats per token", "trust": "reported", "currency": "steps"}


def test_the_usual_fingerprint_is_as_old_ones_were():
    usual = {"device": "cpu", "instruction_set": "any", "threads": 1, "precision": "auto", "libraries": {}}
    one = Fingerprint(**usual, corpus="abc")
    assert one.model_dump(mode="json") == {**usual, "corpus": "abc"}
    assert one.trust is Trust.SCORED and one.currency is Currency.FLOPS


def test_the_summary_and_the_screen_say_who_reports_the_losses(done):
    summary = summarise(*done)
    told = {"trust": "reported", "unit": "nats per token", "currency": "steps"}
    assert summary.items() >= told.items() and all(row.items() >= told.items() for row in summary["adopted"])
    assert summary["held_out_reads"] is None and summary["audit_fraction"] is None
    text = printed(show_summary, summary)
    assert "losses reported by the run itself" in text and "in nats per token" in text
    assert not MISLEADING.search(text)


@pytest.mark.parametrize("name", [one.name for one in IDEAS])
def test_what_is_shown_of_an_idea_has_its_unit_and_no_shard(done, name):
    found = describe(*done, name)
    text = printed(render, found)
    assert "nats per token" in text and "shard" not in text and not MISLEADING.search(text)
    assert "held_out" not in json.dumps(found["plans"])
    if found["finding"]:
        assert "reported by the run itself" in text and found["finding"]["trust"] == "reported"


def test_a_run_is_shown_in_steps(done):
    store, campaign = done
    plan = store.plans(campaign.id, PlanKind.CONFIRM)[0]
    run = plan.runs(plan.seeds[0], campaign.fingerprint.id)[1].id
    text = printed(render, describe(store, campaign, run))
    assert "400 steps" in text and not MISLEADING.search(text)


def test_the_report_says_it_of_every_finding_and_promises_nothing_else(done, tmp_path):
    store, campaign = done
    path = tmp_path / "report.html"
    write_report(store, campaign, summarise(store, campaign), trunk_points(store, campaign), path)
    page = re.sub(r"<(style|svg).*?</\1>", "", path.read_text(), flags=re.DOTALL)
    page = page.partition("<summary>Settings</summary>")[0]
    assert page.count('class="badge reported"') == 2 and Trust.REPORTED.caveat in page
    assert "nats per token" in page and "Cost per step" in page and "Training text" not in page
    assert not MISLEADING.search(page)


def test_agents_are_told_the_trust_of_a_finding_and_no_loss_of_a_confirmation(done):
    store, campaign = done
    desk = Desk(store, Settings(root=store.root))
    found = findings(desk, campaign.id).findings
    assert {one.trust for one in found} == {"reported by the run itself"}
    assert {one.unit for one in found} == {"nats per token"}
    assert idea(desk, "good-knob", campaign.id).finding.trust == "reported by the run itself"
    assert "reported by the run itself" in finding_words(look(store, campaign), "good-knob")
    confirming = runs(desk, campaign.id, stage="confirm").runs or runs(desk, campaign.id, stage="halves").runs
    assert confirming and {(one.shard, one.bits_per_byte) for one in confirming} == {("", None)}


def test_in_real_processes_the_command_that_is_shown_repeats_a_run(bed, tmp_path):
    few = settings(bed, budget="46runs", policy={"verify_pairs": 3, "max_pairs": 5, "estimate_pairs": 3})
    store, campaign = toy.run_local(few, tmp_path)
    with store:
        screened = [run for run in store.runs(campaign.id) if run.idea and run.result]
        found = describe(store, campaign, screened[0].id)
    command = found["repeat"].replace(" python ", f" {sys.executable} ")
    again = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    assert float(again.split()[-1]) == found["result"]["bits_per_byte"]
