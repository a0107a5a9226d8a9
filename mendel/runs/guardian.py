"""Watches one run from outside its reach: time, memory, disk, output, and that nothing of it stays behind.

The guardian is process 1 of the run's namespaces, or just its parent where there are none. It forks the
run, ends it when a limit is broken, then ends and reaps every process the run left, so that the CPU time
it reports is that of the whole tree. It never executes code of the run.
"""

# Paths are strings here, as in /proc.
# ruff: noqa: PTH123
from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from typing import Any

from . import child, disk, wire
from .logs import Log
from .sandbox import Backend

_POLL = 0.05
"""Seconds between two looks at memory and clock."""
_GRACE = 0.5
"""Seconds between SIGTERM and SIGKILL when the time is up."""
_START = 120.0
"""Seconds until the run's own code begins: an interpreter that starts cold loads its libraries first."""
_PROCESSES = 256
_TICKS = os.sysconf("SC_CLK_TCK")


class Guardian:
    """One run: fork, watch, end, report."""

    def __init__(
        self, request: dict[str, Any], backend: Backend, reply: socket.socket, log: Log, score: int | None
    ) -> None:
        self.request = request
        self.backend = backend
        self.reply = reply
        self.log = log
        self.said = b""
        self.ended = ""
        self.kill_at = float("inf")
        self.live_cpu = 0.0
        self.seen_cpu: dict[tuple[int, str], float] = {}
        self.cpu_before = 0.0
        self.disk = disk.Meter(request, backend.scratch(request))
        self.wake, wake_writer = os.pipe()
        os.set_blocking(wake_writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        self.output, output_writer = os.pipe()
        self.status, status_writer = backend.status(request)
        os.set_blocking(self.output, False)
        os.set_blocking(self.status, False)
        self.run = os.fork()
        if self.run == 0:
            child.become(request, backend, output_writer, status_writer, score)
        for fd in (output_writer, status_writer, *(() if score is None else (score,))):
            os.close(fd)
        self.started = time.monotonic()

    def watch(self) -> None:
        """Returns when the run and everything it started are gone and the report is sent."""
        sources = {self.output: self._drain, self.status: self._hear, self.wake: self._woken}
        sources[self.reply.fileno()] = self._cancel
        code, look_at = None, 0.0
        while code is None:
            for fd in select.select(list(sources), [], [], _POLL)[0]:
                if not sources[fd]():
                    del sources[fd]
            if time.monotonic() > look_at:
                self._enforce()
                look_at = time.monotonic() + _POLL / 2
            code = self._reap(os.WNOHANG)
        seconds = time.monotonic() - self.started
        self._end_all()
        self.live_cpu = 0.0
        while self._drain(blocked=False) or self._hear(blocked=False):
            pass
        self._look_at_disk(last=True)
        self.log.finish()
        self.backend.leave(self.request)
        with contextlib.suppress(OSError):  # nobody waits for it any more
            wire.send(self.reply, self._report(code, seconds))

    def _report(self, code: int, seconds: float) -> dict[str, Any]:
        if not self.said and self.ended in ("", "timeout"):
            said = self.log.tail.strip().splitlines()
            return {"ended": "setup", "error": said[-1] if said else f"no run came up, exit code {code}"}
        if self.backend.cold and code > 128:
            code = 128 - code  # how an engine spells a signal
        flops = self.said[child.READY.size :]
        return {
            "ended": self.ended or "exit",
            "code": code,
            "seconds": seconds,
            "cpu": max(0.0, self._cpu() - self.cpu_before),
            "flops": child.FLOPS.unpack(flops)[0] if len(flops) == child.FLOPS.size else 0.0,
            "tail": self.log.tail,
        }

    def _drain(self, *, blocked: bool = True) -> bool:
        """Takes output. False at its end; where nothing waits to be read it answers `blocked`."""
        try:
            data = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return blocked
        self.log.write(data)
        if self.log.overflowed and not self.ended:
            self._break("output")
        return bool(data)

    def _hear(self, *, blocked: bool = True) -> bool:
        """The run's two words: that its own code begins, and at the end its FLOPs."""
        try:
            said = os.read(self.status, 64)
        except BlockingIOError:
            return blocked
        if said and not self.said:
            self.started = time.monotonic()
        room = child.READY.size + (child.FLOPS.size if self.request["count_flops"] else 0)
        self.said = (self.said + said)[:room]
        if len(self.said) >= child.READY.size:
            self.cpu_before = child.READY.unpack(self.said[: child.READY.size])[0]
        return bool(said)

    def _woken(self) -> bool:
        return bool(os.read(self.wake, 512))

    def _cancel(self) -> bool:
        """Whoever asked for this run is gone or no longer wants it."""
        self.ended = self.ended or "cancelled"
        self.kill_at = 0.0
        self.backend.signal(self.run, signal.SIGKILL)
        return False

    def _enforce(self) -> None:
        now = time.monotonic()
        if self.ended:
            if now > self.kill_at:
                self.backend.signal(self.run, signal.SIGKILL)
            return
        processes = self.backend.processes(self.run)
        if len(processes) > _PROCESSES:
            self._break("processes")
        elif self._measure(processes) > self.request["memory"]:
            self._break("memory")
        elif self.said and self._cpu() - self.cpu_before > self.request["cpu"]:
            self._break("cpu")
        elif now > self.started + (self.request["timeout"] if self.said else _START):
            self.ended = "timeout"
            self.kill_at = now + _GRACE
            self.backend.signal(self.run, signal.SIGTERM)
        else:
            self._look_at_disk()

    def _break(self, limit: str) -> None:
        self.ended = limit
        self.kill_at = 0.0
        self.backend.signal(self.run, signal.SIGKILL)

    def _look_at_disk(self, *, last: bool = False) -> None:
        """Ends a run that wrote too much, and in the end takes away what such a run wrote."""
        limit = self.disk.broken(self.backend.processes(self.run), now=last)
        if limit and not self.ended:
            self._break(limit)
        if last and self.ended in ("disk", "files", "depth"):
            disk.empty(self.request)

    def _measure(self, processes: list[int]) -> int:
        """Resident bytes of the run's processes. Notes their CPU times on the way: the kernel adds those of
        a child to its parent's only if the parent waits for it, which the run may avoid."""
        pages = ticks = 0
        for pid in processes:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
                pages += int(fields[21])
                user, system, waited_user, waited_system = map(int, fields[11:15])
                self.seen_cpu[pid, fields[19]] = (user + system) / _TICKS
                ticks += user + system + waited_user + waited_system
        self.live_cpu = ticks / _TICKS
        return pages * resource.getpagesize()

    def _cpu(self) -> float:
        """CPU seconds so far: of the processes seen, or where it is more of those that were waited for."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return max(usage.ru_utime + usage.ru_stime + self.live_cpu, sum(self.seen_cpu.values()))

    def _end_all(self) -> None:
        """Kills and reaps until nothing is left."""
        self.backend.signal(self.run, signal.SIGKILL)
        while self.backend.processes(self.run):
            self._reap(0)
            self.backend.signal(self.run, signal.SIGKILL)
        self._reap(os.WNOHANG)

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
