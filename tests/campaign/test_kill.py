"""A campaign that is killed again and again ends as if nothing had happened."""

import contextlib
import os
import random
import signal
import time

import pytest
import toy

from mendel.campaign.config import CampaignConfig
from mendel.records import PlanKind
from mendel.runs.sandbox.none import below
from mendel.store import RunState, Store, StoreError

KILLS = 10


@pytest.fixture(scope="module", params=[0, 2], ids=["each alone", "on top of each other"])
def settings(toy_data, fast_disk, request):
    ideas = [*toy.GOOD, *toy.NULL, toy.idea("third", {"gain_c": 1.4}), toy.idea("bad", {"fail": "late_nan"})]
    file = toy.write_ideas(fast_disk / f"kill-{request.param}.toml", ideas)
    return toy.config(file, toy_data, workers=3, policy={"forward": request.param})


def start(settings: CampaignConfig, root) -> int:
    """The campaign in a process of its own, which exits with 0 at the end of its budget."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(root / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            store, _ = toy.run_local(settings, root)
            store.close()
            code = 0
        finally:
            os._exit(code)
    return pid


def ended(pid: int, until) -> int | None:
    """Exit code (negative: signal) of a child, or None if `until` came first."""
    deadline = time.monotonic() + 60
    while not until():
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        assert time.monotonic() < deadline, "the campaign does not come to an end"
        time.sleep(0.005)
    return None


def moment(draw: random.Random, root):
    """Some moment of a campaign's life: soon after its start, or after a few more runs."""
    if draw.random() < 0.2:
        deadline = time.monotonic() + draw.uniform(0.02, 0.5)
        return lambda: time.monotonic() > deadline
    wanted = len(list(root.glob("runs/*/*/status.json"))) + draw.randint(1, 8)
    late = [draw.randint(0, 10)]  # steps of five milliseconds

    def reached() -> bool:
        if len(list(root.glob("runs/*/*/status.json"))) >= wanted:
            late[0] -= 1
        return late[0] < 0

    return reached


def finished(root) -> dict[str, tuple]:
    """What is on record of each finished run: nothing of it may ever change."""
    with contextlib.suppress(StoreError), Store(root) as store:
        campaign = store.campaign().id
        return {
            run.id: (run.result, run.started, run.finished, run.attempts)
            for run in store.runs(campaign, RunState.FINISHED)
        }
    return {}


def test_killed_at_ten_random_moments_it_ends_with_the_same_verdicts(settings, lab_root, fast_disk):
    undisturbed, campaign, _ = toy.run_fake(
        settings, fast_disk / f"undisturbed-{lab_root.name}", workers=1, order=None
    )
    draw = random.Random(7)
    kills, before = 0, {}
    code = None
    while code is None:
        pid = start(settings, lab_root)
        code = ended(pid, moment(draw, lab_root) if kills < KILLS else lambda: False)
        if code is not None:
            break
        family = below(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
        toy.wait_until(lambda f=family: not any(map(toy.alive, f)), seconds=10)
        now = finished(lab_root)
        assert {run: now[run] for run in before} == before, "a finished run was touched"
        before = now
    assert code == 0, (lab_root / "said").read_text()
    assert kills == KILLS
    with undisturbed, Store(lab_root) as store:
        found = store.campaign().id
        assert len(store.campaigns()) == 1
        assert toy.verdict_records(store, found) == toy.verdict_records(undisturbed, campaign.id)
        assert toy.finding_records(store, found) == toy.finding_records(undisturbed, campaign.id)
        assert toy.states(store, found) == toy.states(undisturbed, campaign.id)
        ours = [(run.id, run.stage, run.idea, run.state) for run in store.runs(found)]
        theirs = [(run.id, run.stage, run.idea, run.state) for run in undisturbed.runs(campaign.id)]
        assert ours == theirs
        messages = [event.message for event in store.events(found)]
        assert len(messages) == len(set(messages)), "a line was logged twice"
        final = finished(lab_root)
        assert {run: final[run] for run in before} == before
        lost = sum(run.attempts for run in store.runs(found))
        assert lost > 0, "no kill hit a run: the test proves little"
        assert store.plans(found, PlanKind.HALVES), "ideas are confirmed together in it"
        for run in store.runs(found):
            assert store.run_folder(found, run.id).read_status()["bits_per_byte"] == run.result.bits_per_byte


def test_two_processes_cannot_run_one_campaign(settings, lab_root):
    pid = start(settings, lab_root)
    try:
        toy.wait_until(lambda: list((lab_root / "campaigns").glob("*.lock")))
        time.sleep(0.2)
        with pytest.raises(StoreError, match=rf"campaign \w+: process {pid} on .* already holds"):
            toy.run_local(settings, lab_root)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
