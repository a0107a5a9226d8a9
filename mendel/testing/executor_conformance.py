"""What every executor must do. Subclass it in a test and say how to make the executor and its jobs.

    class TestMine(ExecutorConformance):
        def make_executor(self, workers): ...
        def make_job(self, id, behaviour): ...

`behaviour` is "good" (ends well), "bad" (fails) or "slow" (ends well, after at least half a second where
time is real).
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

from mendel.records import RunResult, RunStatus
from mendel.runs import Executor, Job

_PATIENCE = 60.0
"""Seconds after which a job that never reports fails the test."""


def drain(executor: Executor, count: int) -> dict[str, RunResult]:
    """Waits for `count` jobs; AssertionError when they do not come or one comes twice."""
    results: dict[str, RunResult] = {}
    deadline = time.monotonic() + _PATIENCE
    while len(results) < count:
        assert time.monotonic() < deadline, f"only {sorted(results)} of {count} jobs reported"
        for job_id, result in executor.wait(1.0):
            assert job_id not in results, f"{job_id} was reported twice"
            results[job_id] = result
    return results


class ExecutorConformance:
    """The suite; pytest collects its subclasses."""

    def make_executor(self, workers: int) -> Executor:
        raise NotImplementedError

    def make_job(self, job_id: str, behaviour: str) -> Job:
        raise NotImplementedError

    def test_every_job_is_reported_exactly_once(self) -> None:
        with closing(self.make_executor(2)) as executor:
            for number in range(5):
                executor.submit(self.make_job(f"job{number}", "good"))
            results = drain(executor, 5)
            assert set(results) == {f"job{number}" for number in range(5)}
            assert executor.wait(0.1) == []

    def test_a_failing_job_says_why_in_one_line_and_disturbs_no_other(self) -> None:
        with closing(self.make_executor(2)) as executor:
            executor.submit(self.make_job("bad", "bad"))
            executor.submit(self.make_job("good", "good"))
            results = drain(executor, 2)
        assert results["good"].status is RunStatus.DONE and results["good"].reason == ""
        assert results["bad"].status is RunStatus.CRASHED
        assert results["bad"].reason and results["bad"].reason.isprintable()

    def test_slots_are_taken_by_jobs_and_given_back(self) -> None:
        with closing(self.make_executor(2)) as executor:
            assert (executor.workers, executor.free) == (2, 2)
            executor.submit(self.make_job("a", "slow"))
            assert executor.free == 1
            for name in ("b", "c"):
                executor.submit(self.make_job(name, "slow"))
            assert executor.free == 0
            drain(executor, 3)
            assert executor.free == 2

    def test_waiting_for_nothing_returns_at_once(self) -> None:
        with closing(self.make_executor(1)) as executor:
            start = time.monotonic()
            assert executor.wait(_PATIENCE) == []
            assert time.monotonic() - start < _PATIENCE / 2

    def test_a_job_cannot_be_submitted_twice_at_the_same_time(self) -> None:
        with closing(self.make_executor(1)) as executor:
            executor.submit(self.make_job("twin", "slow"))
            try:
                executor.submit(self.make_job("twin", "slow"))
            except ValueError as error:
                assert "twin" in str(error)
            else:
                raise AssertionError("a second job with the same id was accepted")
            drain(executor, 1)
            executor.submit(self.make_job("twin", "good"))
            assert set(drain(executor, 1)) == {"twin"}

    def test_a_job_that_may_stop_is_ended_and_not_scored(self) -> None:
        with closing(self.make_executor(2)) as executor:
            executor.submit(replace(self.make_job("stopped", "slow"), stop=lambda: True))
            executor.submit(
                replace(self.make_job("over", "good"), stop=lambda: True)
            )  # asked at its end at last
            executor.submit(replace(self.make_job("failed", "bad"), stop=lambda: True))
            executor.submit(replace(self.make_job("whole", "good"), stop=lambda: False))
            results = drain(executor, 4)
        assert [results[name].status for name in ("stopped", "over", "failed", "whole")] == [
            RunStatus.STOPPED,
            RunStatus.STOPPED,
            RunStatus.STOPPED,
            RunStatus.DONE,
        ]
        assert results["stopped"].bits_per_byte is None and results["stopped"].reason

    def test_closing_ends_jobs_without_reporting_them(self) -> None:
        executor = self.make_executor(1)
        for name in ("running", "queued"):
            executor.submit(self.make_job(name, "slow"))
        executor.close()
        assert executor.wait(0.1) == []
        executor.close()
        try:
            executor.submit(self.make_job("late", "good"))
        except ValueError:
            return
        raise AssertionError("a closed executor accepted a job")
