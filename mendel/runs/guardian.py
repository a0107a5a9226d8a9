"""Watches one run from outside its reach: time, memory, output, and that nothing of it stays behind.

The guardian is process 1 of the run's namespaces, or just its parent where there are none. It forks the
run, ends it when a limit is broken, then ends and reaps every process the run left, so that the CPU time
it reports is that of the whole tree. It never executes code of the run.
"""

# Paths are strings here, as in /proc.
# ruff: noqa: PTH123, PTH208
from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from typing import Any

from . import child, wire

_POLL = 0.05
"""Seconds between two looks at memory and clock."""
_GRACE = 0.5
"""Seconds between SIGTERM and SIGKILL when the time is up."""
_LOG_BYTES = 1_000_000
_TAIL_BYTES = 4000
_PROCESSES = 256


class Guardian:
    """One run: fork, watch, end, report."""

    def __init__(self, request: dict[str, Any], reply: socket.socket, log: int, score: int | None) -> None:
        self.request = request
        self.reply = reply
        self.log = log
        self.logged = 0
        self.dropped = 0
        self.tail = b""
        self.said = b""
        self.ended = ""
        self.kill_at = float("inf")
        self.seen_cpu: dict[tuple[int, str], float] = {}
        self.wake, wake_writer = os.pipe()
        os.set_blocking(wake_writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        self.output, output_writer = os.pipe()
        self.status, status_writer = os.pipe()
        os.set_blocking(self.output, False)
        self.run = os.fork()
        if self.run == 0:
            child.become(request, output_writer, status_writer, score)
        for fd in (output_writer, status_writer, *(() if score is None else (score,))):
            os.close(fd)
        self.started = time.monotonic()

    def watch(self) -> None:
        """Returns when the run and everything it started are gone and the report is sent."""
        sources = {self.output: self._drain, self.status: self._hear, self.wake: self._woken}
        sources[self.reply.fileno()] = self._cancel
        code = None
        while code is None:
            for fd in select.select(list(sources), [], [], _POLL)[0]:
                if not sources[fd]():
                    del sources[fd]
            self._enforce()
            code = self._reap(os.WNOHANG)
        seconds = time.monotonic() - self.started
        while self._kill_all():
            self._reap(0)
        # Everybody who could write is gone, so both pipes come to an end.
        while self._drain() or self._hear():
            pass
        self._finish_log()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = max(usage.ru_utime + usage.ru_stime, sum(self.seen_cpu.values()))
        report = {"ended": self.ended or "exit", "code": code, "seconds": seconds, "cpu": cpu}
        flops = self.said[len(child.READY) :]
        report["flops"] = child.FLOPS.unpack(flops)[0] if len(flops) == child.FLOPS.size else 0.0
        report["tail"] = self.tail.decode("utf-8", "replace")
        with contextlib.suppress(OSError):  # nobody waits for it any more
            wire.send(self.reply, report)

    def _drain(self) -> bool:
        """Keeps the beginning of the output in the log file and the end in memory."""
        try:
            data = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return True
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        kept = data[: _LOG_BYTES - self.logged]
        self.logged += len(kept)
        self.dropped += len(data) - len(kept)
        if kept:
            with contextlib.suppress(OSError):  # a full disk must not end the watch
                os.write(self.log, kept)
        return bool(data)

    def _finish_log(self) -> None:
        if self.dropped:
            note = f"\n[{self.dropped} bytes of output left out; the end was:]\n".encode()
            with contextlib.suppress(OSError):
                os.write(self.log, note + self.tail)

    def _hear(self) -> bool:
        """The run's two words: that its own code begins, and at the end its FLOPs."""
        said = os.read(self.status, 64)
        if said and not self.said:
            self.started = time.monotonic()
        self.said = (self.said + said)[: len(child.READY) + child.FLOPS.size]
        return bool(said)

    def _woken(self) -> bool:
        return bool(os.read(self.wake, 512))

    def _cancel(self) -> bool:
        """Whoever asked for this run is gone or no longer wants it."""
        self.ended = self.ended or "cancelled"
        self._kill_all()
        return False

    def _enforce(self) -> None:
        now = time.monotonic()
        memory, processes = self._measure()
        if self.ended:
            if now > self.kill_at:
                self._kill_all()
        elif memory > self.request["memory"]:
            self.ended = "memory"
            self._kill_all()
        elif processes > _PROCESSES:
            self.ended = "processes"
            self._kill_all()
        elif now > self.started + self.request["timeout"]:
            self.ended = "timeout"
            self.kill_at = now + _GRACE
            self._kill_all(signal.SIGTERM)

    def _measure(self) -> tuple[int, int]:
        """Resident bytes and number of the run's processes. Notes their CPU times on the way: the kernel
        adds those of a child to its parent's only if the parent waits for it, which the run may avoid."""
        pages = count = 0
        for pid in self._processes():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
                pages += int(fields[21])
                count += 1
                ticks = int(fields[11]) + int(fields[12])
                self.seen_cpu[pid, fields[19]] = ticks / os.sysconf("SC_CLK_TCK")
        return pages * resource.getpagesize(), count

    def _processes(self) -> list[int]:
        """All processes of the run, zombies too. In a process namespace /proc lists nothing else."""
        if self.request["isolate"]:
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        found: list[int] = []
        waiting = [os.getpid()]
        while waiting:
            with contextlib.suppress(OSError):
                below = _children(waiting.pop())
                found += below
                waiting += below
        return found

    def _kill_all(self, number: int = signal.SIGKILL) -> bool:
        """Signals every process of the run; returns whether there was any."""
        processes = self._processes()
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(processes)

    def _reap(self, flags: int) -> int | None:
        """Collects ended processes: all there are (WNOHANG), or waits for one. Returns the run's exit
        code, negative for a signal, if it was among them."""
        code = None
        try:
            while True:
                pid, status, _ = os.wait4(-1, flags)
                if pid == self.run:
                    code = os.waitstatus_to_exitcode(status)
                if pid == 0 or flags == 0:
                    return code
        except ChildProcessError:
            return code


def _children(pid: int) -> list[int]:
    below: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            below += map(int, file.read().split())
    return below
