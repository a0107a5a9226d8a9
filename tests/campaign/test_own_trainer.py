"""Trainers that know nothing of Mendel, from the first look at their folder to commits: real runs and git."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mendel.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TESTS = Path(__file__).parent.parent
POLICY = """
[policy]
curve_seeds = 2
max_pairs = 6
estimate_pairs = 3
verify_pairs = 3
recheck_pairs = 3
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """lab(name): a repository of its own with the trainer of that name, and the working folder beside it."""
    monkeypatch.delenv("MENDEL_ROOT", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(name):
        repository = tmp_path / name
        shutil.copytree(TESTS / name, repository, ignore=shutil.ignore_patterns("__pycache__", "data.npy"))
        git(repository, "init", "-q")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "as it was")
        folder = tmp_path / "lab"
        folder.mkdir()
        monkeypatch.chdir(folder)
        return repository

    return make


def git(folder, *arguments):
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, **identity, "GIT_COMMITTER_EMAIL": "a@b"},
    )  # fmt: skip
    return done.stdout


def said(capsys, *arguments):
    """What a command that ends well prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    printed = capsys.readouterr()
    assert not end.value.code, printed.err
    return printed.out


def asked(capsys, *arguments):
    """What a command with --json says."""
    return json.loads(said(capsys, *arguments, "--json"))


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_from_a_repository_to_a_branch_with_a_commit_for_each_change(lab, capsys):
    """In the manner of nanoGPT: options of a configurator, a prepare.py, a loss that it prints."""
    repository = lab("letters")
    before = everything(repository)
    assert "nothing was written into" in said(capsys, "init", "--testbed", str(repository))
    shutil.copy(repository / "ideas.md", "ideas.md")
    Path("mendel.toml").write_text(
        Path("mendel.toml").read_text().split("[policy]")[0].replace('"ideas.toml"', '"ideas.md"') + POLICY
    )
    checked = asked(capsys, "testbed", "check", "--workers", "2")
    assert checked["ok"] and checked["deterministic"], checked["checks"]

    found = asked(capsys, "run", "--budget", "130runs", "--workers", "2")
    assert found["trust"] == "reported" and found["unit"] == "nats per token"
    shown = {entry["id"]: entry for entry in found["adopted"]}
    assert shown or found["carried"], "patches that help much are among them"
    assert not {"another-docstring", "no-op-bias", "tiny-decay"} & shown.keys(), "they do nothing"

    exported = asked(capsys, "export")
    branch, commits = exported["branch"], exported["commits"]
    assert {commit["idea"] for commit in commits} == {*shown, *found["carried"]}
    assert exported["applies_on_head"]
    git(repository, "fetch", "-q", exported["repository"], branch)
    log = git(repository, "log", "--format=%B", "FETCH_HEAD")
    for name, entry in shown.items():
        assert f"Mendel-Idea: {name}" in log and f"{entry['cm']:.2f}" in log
    shutil.rmtree(repository / ".git" / "objects")  # what the fetch brought is not the export's doing
    kept = {path: data for path, data in before.items() if ".git" not in path.parts}
    assert {path: path.read_bytes() for path in kept} == kept


def test_the_common_loop_and_mendel_on_the_same_ideas_of_a_fixed_time(lab, capsys):
    """In the manner of autoresearch: train.py prints val_bpb, prepare.py holds the time budget."""
    repository = lab("autoresearch")
    subprocess.run([sys.executable, "-B", "prepare.py"], cwd=repository, check=True, capture_output=True)
    contract = repository / "lab" / "testbed.toml"
    contract.write_text(contract.read_text().replace("seconds = 0.4", "seconds = 0.25"))
    chosen = ("context-2", "lr-005", "clip-larger", "rename", "seed-7")
    ideas = (repository / "lab" / "ideas.toml").read_text().split("[[idea]]\n")
    few = [one for one in ideas if any(f'name = "{name}"' in one for name in chosen)]
    Path("ideas.toml").write_text("".join(f"[[idea]]\n{one}" for one in few))
    settings = f'testbed = "{repository}/lab"\nideas = "ideas.toml"\nbudget = "90runs"\nworkers = 1\n'
    Path("mendel.toml").write_text(settings + POLICY)
    found = asked(capsys, "run")
    assert found["currency"] == "seconds"
    both = asked(capsys, "bench", "ratchet")
    rows = {row["idea"]: row for row in both["ideas"]}
    assert rows.keys() == {*chosen}
    assert rows["seed-7"]["state"] == "rejected" and rows["seed-7"]["loss"] is None
    assert not any(rows[name]["claimed"] for name in ("clip-larger", "rename", "lr-005"))
    for row in rows.values():  # that is all the loop knows
        assert row["kept"] is (row["loss"] is not None and row["loss"] < row["best"])
    assert both["kept"] == [name for name, row in rows.items() if row["kept"]]
    claimed = {name for name, row in rows.items() if row["claimed"]}
    assert {*both["kept_not_shown"]} == {*both["kept"]} - claimed - {*both["carried"]}
    words = said(capsys, "bench", "ratchet")
    assert "context-2" in words and "The loop started at" in words
