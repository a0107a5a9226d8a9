"""Folders appear complete or not at all, and one campaign belongs to one process."""

import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mendel.records import tree_hash
from mendel.store import Store, StoreError
from mendel.store.folders import read_tree, write_tree

from .samples import start

TREE = {"train.py": "import model\n", "nets/model.py": "x = 'é'\r\n"}


# --- source trees -----------------------------------------------------------------------------------


def test_a_tree_is_kept_under_its_hash_and_written_once(store):
    name = store.save_tree(TREE)
    assert name == tree_hash(dict(reversed(TREE.items())))
    written = (store.tree_folder(name) / "train.py").stat().st_mtime_ns
    assert store.save_tree(TREE) == name
    assert (store.tree_folder(name) / "train.py").stat().st_mtime_ns == written
    assert store.load_tree(name) == TREE
    assert [path.name for path in (store.root / "trees").iterdir()] == [name]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(st.integers(0, 99).map("pkg/f{}.py".format) | st.just("a.py"), TEXTS, max_size=4))
def test_any_text_comes_back_to_the_letter(tmp_path, tree):
    assert read_tree(tmp_path, write_tree(tmp_path, tree)) == tree


def test_a_tree_that_was_changed_or_lost_is_not_used(store, campaign):
    name = store.save_tree(TREE)
    (store.tree_folder(name) / "train.py").write_text("cheat()\n")
    with pytest.raises(StoreError, match=f"trees/{name}: the source files were changed"):
        store.new_run_folder(campaign, "r1", {}, name)
    with pytest.raises(StoreError, match="trees/gone: no source tree"):
        store.load_tree("gone")


@pytest.mark.parametrize("path", ["../escape.py", "/etc/escape", "a/../../b", ""])
def test_a_path_that_leaves_the_tree_is_refused(store, path):
    with pytest.raises(StoreError, match="leaves the tree"):
        store.save_tree({"fine.py": "", path: "x"})
    assert list((store.root).glob("trees/*")) == []


# --- run folders ------------------------------------------------------------------------------------


def test_a_run_folder_holds_the_configuration_and_the_full_source(store, campaign):
    folder = store.new_run_folder(campaign, "r1", {"lr": 0.1}, store.save_tree(TREE))
    assert json.loads(folder.config.read_text()) == {"lr": 0.1}
    assert (folder.source / "nets" / "model.py").read_bytes() == TREE["nets/model.py"].encode()
    assert folder.out.is_dir() and folder.read_status() is None
    assert store.run_folder(campaign, "r1") == folder


def test_what_a_lost_attempt_wrote_is_gone_from_the_next(store, campaign):
    tree = store.save_tree(TREE)
    first = store.new_run_folder(campaign, "r1", {}, tree)
    (first.out / "metrics.jsonl").write_text("half a li")
    (first.source / "train.py").write_text("edited by the run")
    again = store.new_run_folder(campaign, "r1", {}, tree)
    assert list(again.out.iterdir()) == []
    assert (again.source / "train.py").read_text() == TREE["train.py"]
    assert store.load_tree(tree) == TREE


def test_equal_runs_of_two_campaigns_do_not_share_a_folder(store, campaign):
    assert store.run_folder(campaign, "r1").path != store.run_folder(start(store, "b"), "r1").path


def test_a_status_is_replaced_whole(store, campaign):
    folder = store.new_run_folder(campaign, "r1", {}, store.save_tree(TREE))
    for step in range(3):
        folder.write_status({"step": step})
    assert folder.read_status() == {"step": 2}
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "config.json",
        "out",
        "source",
        "status.json",
    ]
    folder.status.write_text("{")
    with pytest.raises(StoreError, match="status.json: not JSON"):
        folder.read_status()


# --- one campaign, one process ----------------------------------------------------------------------

HOLD = """
import os, sys, time
from pathlib import Path
from mendel.store import Store

with Store(Path(sys.argv[1])) as store, store.lock(sys.argv[2]):
    orphan = os.fork() if sys.argv[3:] else None
    if orphan == 0:
        time.sleep(60)
        os._exit(0)
    print("held", orphan, flush=True)
    time.sleep(60)
"""


def holder(store, campaign, *extra):
    command = [sys.executable, "-c", HOLD, str(store.root), campaign, *extra]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_second_process_is_refused_with_the_pid_of_the_first(store, campaign):
    other = start(store, "other")
    child = holder(store, campaign)
    assert child.stdout.readline() == "held None\n"
    with pytest.raises(StoreError, match=f"campaign {campaign}: process {child.pid} on .*already holds"):
        store.lock(campaign).__enter__()
    with store.lock(other):
        pass
    child.kill()
    child.wait()
    with store.lock(campaign):
        pass


def test_a_child_that_outlives_a_killed_campaign_does_not_keep_it_locked(store, campaign):
    child = holder(store, campaign, "fork")
    orphan = int(child.stdout.readline().split()[1])
    child.kill()
    child.wait()
    try:
        with store.lock(campaign):
            os.kill(orphan, 0)
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_one_process_cannot_run_a_campaign_twice_either(store, campaign):
    refused = pytest.raises(StoreError, match=f"this process \\(pid {os.getpid()}\\) already holds")
    with store.lock(campaign), Store(store.root) as second, refused:
        second.lock(campaign).__enter__()
    with store.lock(campaign):
        pass
