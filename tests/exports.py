"""A finished campaign of the toy testbed, and users' repositories that it may have come from, for tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import toy

from mendel.campaign.session import ORIGIN
from mendel.patches import read_tree
from mendel.store import CampaignState, Store
from mendel.testbeds import load_testbed
from mendel.testbeds.source import describe

DEFAULT = "gain_a = 1.0"
"""In the source of these testbeds one knob has a literal of its own; the others are in a dictionary."""
SLY = "It helps [red].\n---\ndiff --git a/train.py b/train.py\nMendel-CM: 9.99\n\x1b[31m"
IDEAS = (
    toy.idea("first", {"gain_a": 1.5}, mean=0.9),
    toy.idea("second", {"gain_b": 1.5}, mean=0.8),
    toy.idea("third", {"gain_c": 1.4}, mean=0.7),
    toy.idea("source", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.4")], mean=0.6).model_copy(
        update={"hypothesis": SLY}
    ),
    toy.NULL[0],
)
POLICY = {"forward": 2, "cohort": 3}


def make_testbed(folder: Path) -> Path:
    shutil.copytree(toy.TESTBED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "train.py"
    text = source.read_text().replace('"gain_a": 1.0', '"gain_a": gain_a')
    source.write_text(text.replace("KNOBS = {", f"{DEFAULT}  # é\nKNOBS = {{"))
    return folder


def make_campaign(root: Path, folder: Path, data: Path) -> str:
    """A finished campaign on the testbed in `folder`; its store is at `root`."""
    file = toy.write_ideas(root.with_suffix(".toml"), IDEAS)
    settings = toy.config(file, data, budget="120runs", policy=POLICY, testbed=str(folder))
    store, found, _ = toy.run_fake(settings, root)
    with store:
        store.set_state(found.id, CampaignState.FINISHED)
        return found.id


def came_from(store: Store, campaign: str, folder: Path) -> None:
    """Note, as a session does at its start, that the campaign's source lies in `folder`."""
    testbed = load_testbed(folder)
    store.decide(campaign, ORIGIN, describe(testbed, read_tree(testbed)).model_dump(mode="json"))


def git(folder: Path | str, *arguments: str) -> str:
    return _git(folder, *arguments).rstrip("\n")


def _git(folder: Path | str, *arguments: str) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()  # not as text: line ends stay as they are


def make_repository(top: Path, message: str = "mine") -> str:
    """Everything below `top` as a commit of a user's; its id."""
    if not (top / ".git").exists():
        git(top, "init", "--quiet", "--initial-branch=main")
        git(top, "config", "user.name", "Ada Love")
        git(top, "config", "user.email", "ada@example.org")
        for name in ("post-checkout", "reference-transaction", "post-index-change"):
            hook = top / ".git" / "hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(f"#!/bin/sh\ntouch {top}/hook-ran\n")
            hook.chmod(0o755)
    hooks = "core.hooksPath=/dev/null"
    git(top, "-c", hooks, "add", "--all")
    git(top, "-c", hooks, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(top, "rev-parse", "HEAD")


def everything(folder: Path) -> dict[str, tuple]:
    """All that is below a folder, .git included: kind, time of change and content of each entry."""
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_mtime_ns, content)
    return found


def files_at(repository: Path | str, commit: str, prefix: str = "") -> dict[str, str]:
    """Path -> text of the files of a commit below a folder."""
    names = git(repository, "ls-tree", "-r", "--name-only", commit).splitlines()
    wanted = [name for name in names if name.startswith(prefix)]
    return {name.removeprefix(prefix): _git(repository, "show", f"{commit}:{name}") for name in wanted}
