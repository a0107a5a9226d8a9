"""Runs jobs on this machine: as many single-thread runs at a time as there are workers.

All runs are forked from one zygote (zygote.py); a thread per worker asks for a run, waits, has it scored
and reports. What goes wrong with the machinery itself is repaired here and is never a run's fault.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mendel.records import RunResult, RunStatus
from mendel.runs import LOG, ExecutorError, Job, SandboxError, Scorer, wire
from mendel.runs.cards import with_cards
from mendel.runs.outcome import STOPPED, judge, last_line, tokens_read
from mendel.runs.sandbox import SandboxReport, candidates
from mendel.runs.sandbox.none import remove
from mendel.runs.sandbox.remedies import refusal

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
"""Times that a job is tried when the machinery fails under it."""
_LOOK = 0.25
"""Seconds between two questions whether a run may stop."""
_GOODBYE = 4.0
"""Seconds that `close` gives threads and zygote to end."""

# The campaign's environment holds credentials: runs get these variables only.
INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"),
    *("LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX"),
)
# One thread, before any library starts its pool; one hash seed, so that equal runs iterate equal sets.
_FIXED = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")},
    "VECLIB_MAXIMUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class _Closed(Exception):
    """The executor was closed under a job."""


class LocalExecutor:
    """Executes jobs in processes forked from an idle parent that has imported `preload`.

    `python` is the testbed's interpreter, which need not have mendel. `sandbox` is "auto" or a backend's
    name (sandbox/__init__.py), `image` what a container engine starts. `hidden` paths are covered inside
    the sandbox even where a readable folder holds them. ValueError: no such backend. SandboxError: none
    works here. ExecutorError: the interpreter does not start, or a module cannot be imported."""

    def __init__(
        self,
        python: str | Path = sys.executable,
        preload: Sequence[str] = (),
        workers: int | None = None,
        *,
        sandbox: str = "auto",
        image: str = "",
        hidden: Sequence[Path] = (),
    ) -> None:
        self._workers = workers or len(os.sched_getaffinity(0))
        self._hidden = tuple(hidden)
        start = functools.partial(Zygote, str(python), list(preload), image)
        self._zygote = start(candidates(sandbox))
        # If it has to be started again, it is with the walls that were checked, or not at all.
        self._start = functools.partial(start, (self._zygote.sandbox.name,))
        self._starting = threading.Lock()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._open: set[str] = set()
        self._done: list[tuple[str, RunResult]] = []
        self._links: set[socket.socket] = set()
        self._error: Exception | None = None
        self._closed = False
        slots = range(self._workers)
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in slots]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def free(self) -> int:
        with self._changed:
            return max(0, self._workers - len(self._open))

    @property
    def sandbox(self) -> SandboxReport:
        """Which backend the runs stand in."""
        return self._zygote.sandbox

    @property
    def hidden(self) -> tuple[Path, ...]:
        """What no run can read."""
        return self._hidden

    def submit(self, job: Job) -> None:
        _check(job)
        with self._changed:
            if self._closed:
                raise ValueError(f"job {job.id}: the executor is closed")
            if job.id in self._open:
                raise ValueError(f"job {job.id}: already submitted and not finished")
            self._open.add(job.id)
        self._queue.put(job)

    def wait(self, timeout: float) -> list[tuple[str, RunResult]]:
        with self._changed:
            self._changed.wait_for(
                lambda: self._done or self._error or self._closed or not self._open, timeout
            )
            done, self._done = self._done, []
            if not done and self._error is not None:
                raise self._error
            return done

    def close(self) -> None:
        with self._changed:
            self._closed = True
            for link in self._links:
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + _GOODBYE
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._zygote.close()

    def _work(self, slot: int) -> None:
        while (job := self._queue.get()) is not None:
            try:
                result = self._run(with_cards(job, slot))
            except _Closed:
                return
            except Exception as error:  # the thread's edge: `wait` raises it where somebody listens
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._open.discard(job.id)
                self._done.append((job.id, result))
                self._changed.notify_all()

    def _run(self, job: Job) -> RunResult:
        before = {path.name for path in job.out.iterdir()}
        report, _ = self._supervise(job, self._request(job), None, before)
        status, reason = judge(report, job)
        # However it ended meanwhile: when it was looked at must not matter.
        if job.stop is not None and job.stop():
            status, reason = RunStatus.STOPPED, STOPPED
        measured: dict[str, Any] = {
            "tokens": tokens_read(job.out),
            "flops": _amount(report.get("flops", 0.0)),
            "train_seconds": report.get("seconds", 0.0),
            "cpu_seconds": report.get("cpu", 0.0),
        }
        if status is not RunStatus.DONE:
            return RunResult(status=status, reason=reason, **measured)
        if job.scorer is None:
            return RunResult(status=status, bits_per_byte=0.0, **measured)
        scores: list[float | None] = []
        measured["score_seconds"] = 0.0
        for scorer in job.scorer[1]:
            report, said = self._supervise(job, self._score_request(job), scorer, None)
            measured["score_seconds"] += report.get("seconds", 0.0)
            measured.setdefault("score_cpu_seconds", report.get("cpu", 0.0))
            status, reason, bits_per_byte = _judge_score(job, report, said)
            if status is not RunStatus.DONE:
                return RunResult(status=status, reason=reason, **measured)
            scores.append(bits_per_byte)
        return RunResult(status=status, bits_per_byte=scores[0], **measured)

    def _request(self, job: Job) -> dict[str, Any]:
        return {
            "argv": job.argv,
            "source": str(job.source.absolute()),
            "out": str(job.out.absolute()),
            "log": str(job.out.absolute() / LOG),
            "readable": [str(path.absolute()) for path in job.readable],
            "writable": [str(job.out.absolute())],
            "hidden": [str(path) for path in self._hidden],
            "env": job.env,
            "timeout": job.timeout,
            "memory": job.memory,
            "disk": job.disk,
            "cpu": job.cpu_seconds,
            "threads": job.cpus,
            "local_network": max(job.cpus, job.gpus) > 1,
            "count_flops": job.count_flops,
            "score": False,
            "sandbox": self.sandbox.name,
        }

    def _score_request(self, job: Job) -> dict[str, Any]:
        """The checkpoint and the source, both read-only. No training tokens: a score needs none. One log for
        all sessions, begun anew by each: none may read what an earlier one printed."""
        assert job.scorer is not None
        request = self._request(job)
        out = request["out"]
        changed = {"argv": [job.scorer[0]], "log": f"{out}/score.log", "readable": [out], "writable": []}
        return {**request, **changed, "count_flops": False, "score": True}

    def _supervise(
        self, job: Job, request: dict[str, Any], scorer: Scorer | None, before: set[str] | None
    ) -> tuple[dict[str, Any], float | Exception | None]:
        """The guardian's report, and what the scorer returned or raised. Tries again when the machinery
        failed; entries of the output folder that were not there `before` are removed first."""
        for attempt in range(_ATTEMPTS):
            if attempt and before is not None:
                _remove_new(job.out, before)
            zygote = self._living_zygote()
            report, said = self._attempt(zygote, request, scorer, job.stop if scorer is None else None)
            if report is not None and report["ended"] not in ("lost", "setup"):
                return report, said
            logger.warning("job %s: its supervisor was lost, attempt %d: %s", job.id, attempt + 1, report)
        if report is not None and report["ended"] == "lost":
            # The zygote lived through it each time, so it is this job that ends its guardian.
            return report, said
        cause = "the parent of all runs was lost" if report is None else report["error"]
        raise ExecutorError(f"job {job.id}: cannot be run after {_ATTEMPTS} attempts: {cause}")

    def _attempt(
        self,
        zygote: Zygote,
        request: dict[str, Any],
        scorer: Scorer | None,
        stop: Callable[[], bool] | None,
    ) -> tuple[dict[str, Any] | None, float | Exception | None]:
        reply, reply_far = socket.socketpair()
        score, score_far = socket.socketpair()
        said: float | Exception | None = None
        with reply, score:
            with self._changed:
                if self._closed:
                    raise _Closed
                self._links.add(reply)
            try:
                with reply_far, score_far:
                    far = [reply_far, score_far] if scorer else [reply_far]
                    zygote.ask(request, [sock.fileno() for sock in far])
                if scorer is not None:
                    said = _call(scorer, score)
                    score.close()
                while stop is not None and not select.select([reply], [], [], _LOOK)[0]:
                    if stop():
                        # The guardian sees that nobody wants the run any more; its report still comes.
                        reply.shutdown(socket.SHUT_WR)
                        stop = None
                message = wire.receive(reply)
            finally:
                with self._changed:
                    self._links.discard(reply)
                    closed = self._closed
        if closed:
            raise _Closed
        return (message[0] if message else None), said

    def _living_zygote(self) -> Zygote:
        with self._starting:
            if not self._zygote.alive():
                with self._changed:
                    if self._closed:
                        raise _Closed
                self._zygote.close()
                self._zygote = self._start()
            return self._zygote


class Zygote:
    """The process that runs are forked from, seen from here."""

    def __init__(self, python: str, preload: list[str], image: str, sandboxes: tuple[str, ...]) -> None:
        self._control, far = socket.socketpair()
        self._sending = threading.Lock()
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        command = [python, str(Path(__file__).with_name("launch.py")), str(far.fileno())]
        try:
            # A session of its own: the terminal's Ctrl-C is the campaign's business.
            self._process = subprocess.Popen(
                command,
                pass_fds=[far.fileno()],
                env={**environment, **_FIXED},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ExecutorError(f"cannot start the testbed's interpreter {python!r}: {error}") from None
        finally:
            far.close()
        self.ask({"preload": preload, "sandbox": sandboxes, "image": image}, [])
        hello = wire.receive(self._control)
        if hello is None or "error" in hello[0]:
            self.close()
            cause = hello[0]["error"] if hello else f"{python} ended before it was ready"
            raise ExecutorError(f"testbed, preload = {preload}: {cause}")
        name, refused = hello[0]["sandbox"], hello[0]["refused"]
        if not name:
            self.close()
            raise SandboxError(refusal(refused), refused)
        self.sandbox = SandboxReport(name, "; ".join(f"{one}: {why}" for one, why in refused.items()))

    def ask(self, request: dict[str, Any], fds: list[int]) -> None:
        """Sends a request. A zygote that is gone shows on the reply socket, not here."""
        with self._sending, contextlib.suppress(ConnectionError):
            wire.send(self._control, request, fds)

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Closing the socket tells it, and all its runs, to end."""
        self._control.close()
        try:
            self._process.wait(_GOODBYE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _amount(flops: float) -> float:
    """The one number that comes from inside the run: at least make it a number."""
    return flops if math.isfinite(flops) and flops >= 0 else 0.0


def _call(scorer: Scorer, sock: socket.socket) -> float | Exception:
    try:
        return float(scorer(sock))
    except Exception as error:  # the edge to the caller's code: what it raises becomes the run's status
        return error


def _judge_score(
    job: Job, report: dict[str, Any], said: float | Exception | None
) -> tuple[RunStatus, str, float | None]:
    if getattr(said, "diverged", False):
        return RunStatus.DIVERGED, f"scoring: {last_line(str(said))}", None
    if audit := getattr(said, "audit", ""):
        return RunStatus.REJECTED, f"{audit}: {last_line(str(said))}", None
    status, reason = judge(report, job, training=False)
    # A scorer whose partner was killed only sees a closed socket; the guardian knows why.
    if status is not RunStatus.DONE:
        return status, f"scoring: {reason}", None
    if isinstance(said, float) and math.isfinite(said):
        return RunStatus.DONE, "", said
    if isinstance(said, float):
        return RunStatus.DIVERGED, f"scoring: {said} bits per byte", None
    return RunStatus.CRASHED, f"scoring: {type(said).__name__}: {last_line(str(said))}", None


def _check(job: Job) -> None:
    """Raises ValueError for a job whose files are not there: that is the caller's mistake, not the run's."""
    source = job.source.resolve()
    for script in (*(job.argv[:1] or ("",)), *([job.scorer[0]] if job.scorer else [])):
        path = (source / script).resolve()
        if script != "-m" and not (path.is_file() and path.is_relative_to(source)):
            raise ValueError(f"job {job.id}: {script!r} is not a file in {job.source}")
    if not job.out.is_dir():
        raise ValueError(f"job {job.id}: out = {job.out} is not a folder")
    for path in job.readable:
        if not path.exists():
            raise ValueError(f"job {job.id}: readable path {path} does not exist")
    if not (job.timeout > 0 and job.memory > 0):
        raise ValueError(
            f"job {job.id}: timeout = {job.timeout}, memory = {job.memory}: both must be above 0"
        )


def _remove_new(folder: Path, before: set[str]) -> None:
    for path in folder.iterdir():
        if path.name in before:
            continue
        if path.is_dir() and not path.is_symlink():
            remove(str(path))
        else:
            path.unlink(missing_ok=True)
