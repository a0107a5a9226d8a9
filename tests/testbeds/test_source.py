"""Where a source lay is told: commit, folder in it, and what was not committed; nothing is written."""

import shutil
import subprocess

import exports
import pytest
from exports import everything, git, make_repository

from mendel.patches import read_tree
from mendel.records import tree_hash
from mendel.testbeds import load_testbed
from mendel.testbeds.source import describe


@pytest.fixture
def folder(tmp_path):
    return exports.make_testbed(tmp_path / "user" / "toy")


def told(folder):
    testbed = load_testbed(folder)
    return describe(testbed, read_tree(testbed))


def test_a_folder_in_a_repository_is_told_by_commit_and_prefix(folder):
    commit = make_repository(folder.parent)
    before = everything(folder.parent)
    found = told(folder)
    assert (found.repository, found.commit, found.prefix) == (str(folder.parent), commit, "toy/")
    assert (found.folder, found.dirty, found.reason) == (str(folder), (), "")
    assert found.tree == tree_hash(read_tree(load_testbed(folder))) and found.editable == ("train.py",)
    assert everything(folder.parent) == before


def test_what_the_testbed_sets_and_protects_is_told_and_no_hash_knows_the_names(folder):
    contract = folder / "testbed.toml"
    before = load_testbed(folder)
    contract.write_text(contract.read_text().replace("editable", 'protected = ["score*"]\neditable', 1))
    testbed, found = load_testbed(folder), told(folder)
    assert found.protected_files == testbed.protected_files == ("score.py",)
    assert (found.override, found.set) == (testbed.override, testbed.set)
    assert found.rung_sets == tuple(rung.set for rung in testbed.rungs)
    assert testbed.model_dump() == before.model_dump(), "older campaigns go on"


def test_what_differs_is_listed_whatever_git_is_told_to_ignore(folder):
    make_repository(folder)
    (folder / "train.py").write_text((folder / "train.py").read_text() + "# é\n")
    (folder / "notes.txt").write_text("not of the testbed")
    git(folder, "update-index", "--assume-unchanged", "train.py")
    git(folder, "rm", "--quiet", "--cached", "score.py")
    git(folder, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "without")
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "exclude").write_text("score.py\n")
    before = everything(folder)
    found = told(folder)
    assert (found.prefix, found.dirty) == ("", ("train.py", "score.py"))
    assert everything(folder) == before


def test_without_a_repository_there_is_a_reason(folder, monkeypatch):
    assert "not a git repository" in told(folder).reason
    git(folder, "init", "--quiet")
    found = told(folder)
    assert (found.repository, found.commit) == (None, None) and "has no commit yet" in found.reason
    (folder / ".git").rename(folder.parent / ".git")
    (folder.parent / "mine.txt").write_text("")
    git(folder.parent, "add", "mine.txt")
    git(folder.parent, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "mine")
    assert "none of its files is in the git repository" in told(folder).reason, (
        "as in an environment below it"
    )
    monkeypatch.setenv("PATH", str(folder))
    assert "git is not installed" in told(folder).reason


def test_the_environment_of_the_caller_does_not_lead_elsewhere(folder, tmp_path, monkeypatch):
    commit = make_repository(folder)
    other = exports.make_testbed(tmp_path / "other")
    make_repository(other, "another")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert (told(folder).commit, told(folder).repository) == (commit, str(folder))


def test_a_linked_worktree_and_a_repository_of_longer_ids(folder, tmp_path):
    commit = make_repository(folder)
    git(folder, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", str(tmp_path / "linked"))
    found = told(tmp_path / "linked")
    assert (found.repository, found.commit, found.dirty) == (str(tmp_path / "linked"), commit, ())
    shutil.rmtree(folder / ".git")
    made = subprocess.run(["git", "init", "-q", "--object-format=sha256", str(folder)], capture_output=True)
    if made.returncode == 0:
        git(folder, "add", "--all")
        git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "long")
        assert len(told(folder).commit) == 64 and told(folder).dirty == ()
