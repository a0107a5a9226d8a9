"""What stops a running `mendel` from outside: Ctrl-C and a full disk. The same command continues."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

import pytest
import toy
from test_cli import inside, mendel, one_object, place, start, with_campaign  # noqa: F401

from mendel.runs.sandbox.none import below
from mendel.store import RunState, Store, StoreError


def verdicts(folder):
    with Store(folder / ".mendel") as store:
        return toy.verdict_records(store, store.campaign().id)


def trained(folder):
    """Ids of the runs that are finished."""
    try:
        with Store(folder / ".mendel") as store:
            return {run.id: run.finished for run in store.runs(store.campaign().id, RunState.FINISHED)}
    except StoreError:
        return {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_early_and_the_same_command_continues(place, number):  # noqa: F811
    folder = place(f"stopped-{number.name}")
    process = start(folder, "run")
    toy.wait_until(lambda: len(list(folder.glob(".mendel/runs/*/*/status.json"))) >= 6, 60)
    family = below(process.pid)
    assert family
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "mendel: stopped; everything is stored. Continue with the same command.\n"
    assert "Traceback" not in out
    toy.wait_until(lambda: not any(map(toy.alive, family)), 2)
    before = trained(folder)
    assert 6 <= len(before) < 30, "the whole campaign has about seventy"
    if number is signal.SIGTERM:
        return
    code, out, err = mendel(folder, "run", "--json")
    assert (code, err) == (0, "")
    assert len(one_object(out)["adopted"]) == 2
    after = trained(folder)
    assert {run: after[run] for run in before} == before, "a finished run was trained again"
    other = place("undisturbed")
    with_campaign(other)
    assert verdicts(folder) == verdicts(other)


PATIENCE = 120
"""Seconds that a run may hang for."""


def test_ctrl_c_while_a_run_hangs_does_not_wait_for_it(place, fast_disk):  # noqa: F811
    patient = shutil.copytree(toy.TESTBED, fast_disk / "patient")
    toml = (patient / "testbed.toml").read_text()
    (patient / "testbed.toml").write_text(toml.replace("timeout = 4\n", f"timeout = {PATIENCE}\n"))
    folder = place("hanging", testbed=str(patient))
    hanging = [toy.idea(f"hanging-{i}", {"fail": "hang", "label": str(i)}) for i in range(3)]
    toy.write_ideas(folder / "ideas.toml", hanging)
    process = start(folder, "run")
    toy.wait_until(lambda: len(list(folder.glob(".mendel/runs/*/smoke-*/out/metrics.jsonl"))) >= 2, 60)
    family = below(process.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE / 2)
    assert process.returncode == 130
    toy.wait_until(lambda: not any(map(toy.alive, family)), 2)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small disk takes root and the right to mount it")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_it_with_nothing_lost_and_nobody_blamed(place, small_disk):  # noqa: F811
    """A run that cannot write its checkpoint says nothing about its idea."""
    folder, root = place("full"), small_disk / "lab"
    ballast = small_disk / "ballast"
    with inside(folder):
        process = start(folder, "run", MENDEL_ROOT=str(root))
        toy.wait_until(lambda: len(list(root.glob("runs/*/*/status.json"))) >= 10, 60)
        with ballast.open("wb", buffering=0) as file:
            while process.poll() is None:  # what the lab frees is taken again
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * 65536)
                time.sleep(0.01)
        out, err = process.communicate()
    assert process.returncode == 2, err
    assert err.count("\n") == 1 and err.startswith("mendel: ")
    assert "make room and run the same command again" in err
    ballast.unlink()
    code, out, err = mendel(folder, "run", "--json", MENDEL_ROOT=str(root))
    assert (code, err) == (0, "")
    with Store(root) as store:
        found = toy.verdict_records(store, store.campaign().id)
    other = place("roomy")
    with_campaign(other)
    assert found == verdicts(other)
