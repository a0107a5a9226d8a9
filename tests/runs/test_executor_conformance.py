"""The local executor, with and without namespaces, and the fake one keep the same promises."""

import pytest

from mendel.records import RunResult, RunStatus
from mendel.runs import executor_class
from mendel.runs.fake import FakeExecutor
from mendel.runs.local import LocalExecutor
from mendel.testing.executor_conformance import ExecutorConformance, drain

SCRIPTS = {
    "good": "print('hello')",
    "bad": "raise KeyError('sample')",
    "slow": "import time; time.sleep(0.5)",
}


class TestLocal(ExecutorConformance):
    sandbox = "auto"

    @pytest.fixture(autouse=True)
    def _jobs(self, make_job):
        self.job = make_job

    def make_executor(self, workers):
        return LocalExecutor(workers=workers, sandbox=self.sandbox)

    def make_job(self, job_id, behaviour):
        return self.job(SCRIPTS[behaviour], job_id)


class TestLocalWithoutNamespaces(TestLocal):
    sandbox = "none"


def answer(job):
    code = (job.source / "train.py").read_text()
    if code == SCRIPTS["bad"]:
        return RunResult(status=RunStatus.CRASHED, reason="KeyError: 'sample'")
    return RunResult(status=RunStatus.DONE, bits_per_byte=2.5)


class TestFake(TestLocal):
    def make_executor(self, workers):
        return FakeExecutor(answer, workers)


class TestFakeShuffled(TestLocal):
    def make_executor(self, workers):
        return FakeExecutor(answer, workers, seed=7)


def finishing_order(make_job, seed):
    fake = FakeExecutor(answer, workers=3, seed=seed)
    for number in range(9):
        fake.submit(make_job(SCRIPTS["good"], f"job{number}"))
    return list(drain(fake, 9)), fake.now


def test_the_fake_shuffles_by_seed_and_repeats_itself(make_job):
    orders = [finishing_order(make_job, seed) for seed in (None, 1, 2, 1)]
    assert orders[0][0] == [f"job{number}" for number in range(9)]
    assert orders[1] == orders[3]
    assert orders[1][0] != orders[2][0]


def test_the_fakes_clock_counts_workers(make_job):
    assert finishing_order(make_job, None)[1] == 3.0  # nine seconds of work on three workers


def test_executors_are_found_by_name_and_a_typo_says_what_there_is():
    assert executor_class("local") is LocalExecutor
    assert executor_class("fake") is FakeExecutor
    with pytest.raises(ValueError, match="'lokal' is not one of local, fake"):
        executor_class("lokal")
