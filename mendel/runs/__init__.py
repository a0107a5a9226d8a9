"""Runs: one training of one recipe at one rung with one seed, executed in a sandbox and then scored.

An executor turns a `Job` into a `RunResult`. What the lab believes of a run (its status, its times, its
score) is measured from outside; the code under test reports nothing but the tokens it read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from mendel.records import RunResult

Scorer = Callable[[socket.socket], float]
"""Trusted: talks to the run's `score.py` over the socket (docs/runs.md) and returns bits per byte. An
exception with a true attribute `diverged` says that the scores were not finite; one whose attribute `audit`
names an audit, that the run is rejected."""


LOG = "train.log"
"""What a run prints, in its output folder."""


@dataclass(frozen=True)
class Job:
    """One run: a script to execute and what it may see and use."""

    id: str
    source: Path
    """Folder with the recipe's files; read-only for the run, and its working folder."""
    argv: tuple[str, ...]
    """Script, relative to `source`, or -m and a module, and its arguments; no interpreter."""
    out: Path
    """The one folder that the run may write; it exists."""
    timeout: float
    """Seconds for the script, and again for its scoring."""
    memory: float
    """Bytes of resident memory of all its processes together."""
    cpus: int = 1
    """Threads and processes that compute."""
    gpus: int = 0
    """Graphics cards, which it has for itself."""
    disk: float = 2e9
    """Bytes that it may write to `out` and its temporary folder together, and to a single file."""
    cpu_share: float = 1.5
    """CPU seconds per second of `timeout` and for each of `cpus`; helpers beside these are hidden compute."""
    readable: tuple[Path, ...] = ()
    """More that it may read, such as the folder with the training tokens."""
    at_home: tuple[tuple[str, Path], ...] = ()
    """What it finds below its own home: relative path, and the readable file or folder that is there."""
    env: dict[str, str] = field(default_factory=dict)
    count_flops: bool = False
    stop: Callable[[], bool] | None = None
    """Asked now and then while the script runs, and once when it has ended: true to end the run, which is not
    scored then. It answers by what is in `out`, so that its answer does not depend on when it is asked."""
    scorer: tuple[str, tuple[Scorer, ...]] | None = None
    """The score file, relative to `source`, and who talks to it: each in a fresh process of its own, which
    knows nothing of the others. The first one's bits per byte are the run's. Without a scorer a run that
    ends well is done with 0.0 bits per byte."""

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds after which it is ended."""
        return self.cpu_share * self.timeout * self.cpus


class ExecutorError(RuntimeError):
    """The executor itself cannot go on. Never the fault of a run: unreported jobs can be submitted again."""


class SandboxError(ExecutorError):
    """No sandbox that may be used works here; the text says why and what to do, `refused` why by name."""

    def __init__(self, message: str, refused: dict[str, str]) -> None:
        super().__init__(message)
        self.refused = refused


class Executor(Protocol):
    """Executes jobs in any order and at most `workers` at a time."""

    @property
    def workers(self) -> int:
        """Jobs that run at the same time."""

    @property
    def free(self) -> int:
        """Jobs that would start at once if they were submitted now."""

    def submit(self, job: Job) -> None:
        """Queues a job. ValueError: its id is not finished yet, or its files are not there."""

    def wait(self, timeout: float) -> list[tuple[str, RunResult]]:
        """Jobs finished since the last call, each reported once; waits up to `timeout` seconds for the
        first one, and not at all when nothing was submitted. ExecutorError: it cannot go on."""

    def close(self) -> None:
        """Ends everything that still runs; those jobs are never reported."""


EXECUTORS = {
    "local": "mendel.runs.local:LocalExecutor",
    "fake": "mendel.runs.fake:FakeExecutor",
}


def executor_class(name: str) -> Any:
    """The class behind a short name. ValueError names what there is."""
    if name not in EXECUTORS:
        raise ValueError(f"executor {name!r} is not one of {', '.join(EXECUTORS)}")
    module, attribute = EXECUTORS[name].split(":")
    return getattr(import_module(module), attribute)
