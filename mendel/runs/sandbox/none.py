"""No walls: only the limits hold. Taken only when it is asked for by name.

Also what the other backends are built on: a run is a child of its guardian, and everything that it starts
is found below it.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as in /proc.
# ruff: noqa: PTH101, PTH103, PTH104, PTH106, PTH108, PTH118, PTH123, PTH208
from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from . import linux

_SCRATCH = ".scratch"
"""Folder below `out` that serves as temporary folder and home where there are no mounts; it is removed."""
_PASSES = 1000
"""Times to look for processes that were forked while the others were being stopped."""


class Nothing:
    """Warm: each run is a plain fork of the loaded parent."""

    cold = False

    def __init__(self, image: str = "") -> None:
        self.image = image

    def refusal(self) -> str:
        """Why it does not work here, or an empty text."""
        return ""

    def fork(self) -> int:
        """Forks the guardian off the loaded parent."""
        return os.fork()

    def admit(self) -> None:
        """In the guardian, first of all: what it takes to be a user there."""

    def enclose(self, request: dict[str, Any]) -> None:
        """In the guardian, before the run is forked. Sets `home` and `temporary`, the run's own folders."""
        linux.adopt_orphans()
        scratch = os.path.join(request["out"], _SCRATCH)
        remove(scratch)
        os.makedirs(os.path.join(scratch, "home"))
        request["scratch"] = request["temporary"] = scratch
        request["home"] = os.path.join(scratch, "home")

    def status(self, request: dict[str, Any]) -> tuple[int, int]:
        """Where the run says that it begins: reader and writer."""
        return os.pipe()

    def confine(self, request: dict[str, Any]) -> None:
        """In the run, the last step before its own code."""

    def execute(self, request: dict[str, Any]) -> None:
        """In the run: starts an interpreter behind walls (cold backends). Never returns."""
        raise NotImplementedError

    def scratch(self, request: dict[str, Any]) -> tuple[str, ...]:
        """File systems of the run's own, to be counted as written by it."""
        return ()

    def processes(self, run: int) -> list[int]:
        """All processes of the run that the guardian sees, zombies too."""
        return below(os.getpid())

    def signal(self, run: int, number: int) -> None:
        """Signals every process of the run. Those that are to be killed are stopped first, so that none can
        fork while the others are being counted; those that stayed in its group, in one call."""
        if number == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if any(_group(pid) == run for pid in self.processes(run)):
                    os.killpg(run, number)
            stopped: set[int] = set()
            for _ in range(_PASSES):
                fresh = set(self.processes(run)) - stopped
                if not fresh:
                    break
                send(fresh, signal.SIGSTOP)
                stopped |= fresh
        send(self.processes(run), number)

    def leave(self, request: dict[str, Any]) -> None:
        """In the guardian, when the run is gone."""
        remove(request["scratch"])


def _group(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return 0


def send(pids: Any, number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def below(pid: int) -> list[int]:
    """Processes that `pid` started and those that they started, as far as /proc tells."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        with contextlib.suppress(OSError):
            children = _children(waiting.pop())
            found += children
            waiting += children
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            found += map(int, file.read().split())
    return found


def remove(folder: str) -> None:
    """Removes a folder, whatever rights the run left on what is in it, and however deep: inner folders are
    moved up, so that no path grows long. What cannot be removed stays."""
    number = 0
    with contextlib.suppress(OSError):
        while entries := list(os.scandir(folder)):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in list(os.scandir(entry.path)):
                    if inner.is_dir(follow_symlinks=False):
                        number += 1
                        os.chmod(inner.path, 0o700)
                        os.rename(inner.path, os.path.join(folder, f".removed-{os.getpid()}-{number}"))
                    else:
                        os.unlink(inner.path)
                os.rmdir(entry.path)
        os.rmdir(folder)
