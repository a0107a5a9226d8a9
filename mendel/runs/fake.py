"""An executor without processes: answers come from a function, time is simulated.

Campaign logic is tested against it, above all that decisions do not depend on the order in which runs
happen to finish: a seed shuffles that order.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from mendel.records import RunResult, RunStatus
from mendel.runs import Job
from mendel.runs.outcome import STOPPED
from mendel.runs.sandbox import SandboxReport


class FakeExecutor:
    """Executes jobs by calling `answer`. Without a seed they finish in the order of submission; with one,
    each takes a random simulated time, so that the order differs from seed to seed and repeats with it.

    `wait` moves the simulated clock `now` (seconds) to the next finish and never really waits."""

    def __init__(
        self, answer: Callable[[Job], RunResult], workers: int = 2, *, seed: int | None = None
    ) -> None:
        self.now = 0.0
        self.sandbox = SandboxReport("none", "nothing runs in a process")
        self._answer = answer
        self._workers = workers
        self._random = None if seed is None else random.Random(seed)
        self._queue: list[Job] = []
        self._running: list[tuple[float, int, Job]] = []
        self._started = 0
        self._closed = False

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def free(self) -> int:
        return max(0, self._workers - len(self._running) - len(self._queue))

    def submit(self, job: Job) -> None:
        if self._closed:
            raise ValueError(f"job {job.id}: the executor is closed")
        if job.id in {other.id for other in self._queue} | {other.id for _, _, other in self._running}:
            raise ValueError(f"job {job.id}: already submitted and not finished")
        self._queue.append(job)
        self._fill()

    def wait(self, timeout: float) -> list[tuple[str, RunResult]]:
        if not self._running:
            return []
        self.now, _, job = heapq.heappop(self._running)
        self._fill()
        result = self._answer(job)
        if job.stop is not None and job.stop():
            result = RunResult(status=RunStatus.STOPPED, reason=STOPPED, tokens=result.tokens)
        return [(job.id, result)]

    def close(self) -> None:
        self._closed = True
        self._queue.clear()
        self._running.clear()

    def _fill(self) -> None:
        while self._queue and len(self._running) < self._workers:
            seconds = 1.0 if self._random is None else self._random.uniform(0.5, 2.0)
            self._started += 1
            heapq.heappush(self._running, (self.now + seconds, self._started, self._queue.pop(0)))
