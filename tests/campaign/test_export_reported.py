"""A trainer that reports its own loss and has its knobs in nested YAML: what its commits say and change."""

import io
import re
import runpy
from contextlib import redirect_stdout
from dataclasses import replace

import exports
import pytest
import toy
from exports import files_at, git
from rich.console import Console

from mendel.campaign.export import Asked, export
from mendel.campaign.export_changes import held_by, series
from mendel.campaign.export_words import as_argument
from mendel.export_commands import show_export
from mendel.records import RunEdit, RunResult, RunStatus, Trust
from mendel.runs import LOG
from mendel.testbeds.source import Source

TRAINER = '''"""Says the loss that its configuration leads to."""
import argparse
import random
from pathlib import Path

import yaml

parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--steps", type=int)
parser.add_argument("--seed", type=int)
parser.add_argument("--override", action="append", default=[])
FACTOR = 1.0


def main(arguments):
    args = parser.parse_args(arguments)
    config = yaml.safe_load((Path(__file__).parent / args.config).read_text())
    for one in args.override:
        (section, name), value = one.partition("=")[0].split("."), one.partition("=")[2]
        config[section][name] = yaml.safe_load(value)
    luck = random.Random(args.seed).gauss(0, 0.01) + random.Random(str(args)).gauss(0, 0.002)
    speed = FACTOR * config["optim"]["lr"] * config["model"]["gain"] * config["model"]["width"]
    print(f"step {args.steps}: val loss {2 + 8 * (args.steps * speed) ** -0.3 + luck:.5f}")
    return 0
'''
BASE = "# as tuned\r\noptim:\r\n  lr: 1.0   # peak\r\nmodel: {gain: 1.0, width: 1.0, extra: 1.0}\r\n"
CONTRACT = r"""
name = "own"
command = ["train.py", "--config", "configs/{recipe}.yaml", "--steps={steps}", "--seed={seed}"]
override = ["--override", "{key}={value}"]
set = { "model.gain" = 1.0 }
budget = "steps"
editable = ["train.py"]

[metric]
pattern = 'val loss ([0-9.]+)'
unit = "nats per token"

[[rungs]]
steps = 400
timeout = 10
set = { "model.width" = 1.0 }
"""
SLY = r"It helps [red] by \alpha, in C:\new\\"
IDEAS = (
    toy.idea("rate", {"optim.lr": 1.5}, mean=0.9).model_copy(update={"mechanism": "", "citation": " "}),
    toy.idea("gain", {"model.gain": 1.5}, mean=0.8),
    toy.idea("width", {"model.width": 1.5}, mean=0.8),
    toy.idea("source", edits=[("FACTOR = 1.0", "FACTOR = 1.6")], mean=0.7).model_copy(
        update={"hypothesis": SLY}
    ),
)
MISLEADING = re.compile(r"bits per byte|held.out|FLOPs|tokens|by the lab|corpus|validation text", re.I)
"""What no commit of such a campaign may say."""


def say(job):
    """What the executor reports of a run: the trainer is called, its words are its log."""
    said = io.StringIO()
    with redirect_stdout(said):
        runpy.run_path(str(job.source / job.argv[0]))["main"](list(job.argv[1:]))
    (job.out / LOG).write_text(said.getvalue())
    return RunResult(status=RunStatus.DONE, bits_per_byte=0.0, train_seconds=1.0, cpu_seconds=1.0)


def make_bed(folder):
    (folder / "configs").mkdir(parents=True)
    (folder / "train.py").write_text(TRAINER)
    for name in ("base", "other"):
        (folder / "configs" / f"{name}.yaml").write_bytes(BASE.encode())
    (folder / "testbed.toml").write_text(CONTRACT)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory, fast_disk):
    """A finished campaign: (its store, itself, folder of the testbed, what was exported)."""
    lab = tmp_path_factory.mktemp("reported")
    bed = make_bed(lab / "bed")
    exports.make_repository(bed)
    config = toy.config(toy.write_ideas(lab / "ideas.toml", IDEAS), bed, testbed=str(bed))
    store, campaign, _ = toy.run_fake(config, lab / "lab", answer=say)
    with store:
        exports.came_from(store, campaign.id, bed)
        yield store, campaign, bed, export(store, None, Asked())


def messages(found):
    """Idea -> the message of its commit in one line."""
    return {
        row["idea"]: git(found["repository"], "show", "-s", "--format=%B", row["commit"])
        for row in found["commits"]
    }


def test_no_commit_promises_what_a_reported_loss_has_not(done):
    said = messages(done[3])
    assert said.keys() == {"rate", "gain", "width", "source"}
    for text in said.values():
        flat = " ".join(text.split())
        assert not MISLEADING.search(flat), flat
        assert "losses in nats per token reported by the run itself" in flat
        assert f"Caveat: {Trust.REPORTED.caveat}" in flat
        assert not re.search(r"\d+ of \d+ audits", flat)
    claimed = " ".join(said["source"].split())
    assert re.search(r"confirmation: better, \d+ pairs[^;]* on the run's own validation data, gain ", claimed)
    assert re.search(
        r"gain \+[\d.]+ \[\+[\d.]+, \+[\d.]+\] nats per token; audits passed: [a-z, ]+ ", claimed
    )
    assert "times its control's per step, as charged" in claimed


def test_words_are_said_as_they_were_written_and_none_where_there_are_none(done):
    said = messages(done[3])
    assert f"Hypothesis: {SLY}" in said["source"] and "Mechanism: By its knob." in said["source"]
    assert "Source: made up" in said["source"]
    assert "Mechanism" not in said["rate"] and "Source" not in said["rate"]
    assert "Proposed by: user" in said["rate"] and ": -" not in said["rate"]
    out = io.StringIO()
    show_export(Console(file=out, width=200), done[3])
    assert f"Adopt source: {SLY}" in out.getvalue()


def test_a_knob_in_nested_yaml_is_changed_in_the_file_that_the_command_names(done):
    store, _, _, found = done
    rows = {row["idea"]: row for row in found["commits"]}
    shown = git(found["repository"], "show", "--format=", "-U0", rows["rate"]["commit"])
    assert shown.splitlines()[-2:] == ["-  lr: 1.0   # peak", "+  lr: 1.5   # peak"]
    assert (rows["rate"]["override"], rows["rate"]["empty"]) == ({}, False)
    last = files_at(found["repository"], found["branch"])
    assert last["configs/base.yaml"] == BASE.replace("lr: 1.0", "lr: 1.5")
    assert last["configs/other.yaml"] == BASE
    assert "Defaults changed here: optim.lr = 1.5 (" in messages(found)["rate"]


def test_a_knob_that_the_testbed_sets_stays_on_the_command_line_in_the_trainers_form(done):
    found, said = done[3], messages(done[3])
    for name, where in (("gain", "set"), ("width", "set of rung 0")):
        flat, key = " ".join(said[name].split()), f"model.{name}"
        assert (
            f"To be set on the command line: --override {key}=1.5 (the testbed's {where} gives {key} a value)"
        ) in flat
        assert f"Mendel-Override: {key}=1.5" in said[name]
        note = f"{name} needs --override {key}=1.5 on the command line; its commit is empty"
        assert note in found["notes"]
    rows = {row["idea"]: row for row in found["commits"]}
    assert rows["gain"]["override"] == {"model.gain": 1.5}


# --- what a campaign noted of its testbed -----------------------------------------------------------------


def refused(done, key="optim.lr", **noted):
    """Why a knob's value is not written where the campaign noted other things of its testbed."""
    store, campaign, _, _ = done
    held = held_by(store, campaign)
    held = replace(held, source=held.source.model_copy(update=noted))
    idea = toy.idea("one", {key: 1.5})
    (change,) = series(held, (idea,))
    assert (change.tree == held.base) is (key in change.left)
    return change.left.get(key, "")


def test_a_file_that_may_not_be_edited_is_written_unless_it_is_protected(done):
    assert refused(done) == ""
    path = "configs/base.yaml"
    assert refused(done, protected_files=(path,)) == f"optim.lr is in {path}, which is protected"
    edit = RunEdit(path=path, search="lr: 1.0", replace="lr: {seed}")
    assert "the testbed protects its place: configs/base.yaml: 'lr: 1.0'" in refused(done, edits=(edit,))
    assert refused(done, edits=(edit.model_copy(update={"search": "# as tuned"}),)) == ""


@pytest.mark.parametrize(
    ("noted", "where"),
    [
        ({"set": {"optim.lr": 2.0}}, "set"),
        ({"rung_sets": ({}, {"optim.lr": 2.0})}, "set of rung 1"),
        ({"command": ("train.py", "configs/base.yaml", "--override", "optim.lr=2")}, "command"),
        ({"command": ("train.py", "configs/base.yaml", "--optim.lr=2")}, "command"),
    ],
)
def test_what_the_testbed_gives_a_value_is_not_written(done, noted, where):
    assert refused(done, **noted) == f"the testbed's {where} gives optim.lr a value"


def test_another_knob_of_a_name_that_begins_alike_is_no_value_of_this_one(done):
    command = ("train.py", "configs/base.yaml", "--override", "optim.lr_min=2", "optim.lr_min")
    assert refused(done, command=command, override=("--set", "{key}", "{value}")) == ""


def test_what_an_older_campaign_noted_is_enough(done, tmp_path):
    store, campaign, _, _ = done
    now = held_by(store, campaign).source
    kept = now.model_dump(mode="json", include={"folder", "tree", "editable", "command", "repository"})
    old = Source.model_validate(kept)
    said = refused(done, **{name: getattr(old, name) for name in Source.model_fields if name not in kept})
    assert said.endswith("is not editable, and the campaign did not note whether it is protected")
    assert as_argument(old, "optim.lr", 1e-05) == "optim.lr=1e-05"
    assert as_argument(now, "path", "a b\\c") == "--override 'path=a b\\c'"
