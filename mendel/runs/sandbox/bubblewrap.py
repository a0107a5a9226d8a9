"""bubblewrap: the same walls as `namespaces`, built by the program that some systems let build them.

Ubuntu, for one, refuses new user namespaces to all programs without an AppArmor profile, and has one for
`bwrap`. Each run starts cold.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as commands take them.
# ruff: noqa: PTH112, PTH115, PTH118
from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import Any

from . import seccomp
from .cold import RUNS, Cold, ask
from .none import below, send
from .view import View, gpu_devices, plan


class Bubblewrap(Cold):
    """Cold: `bwrap` with namespaces of every kind, read-only binds, and a seccomp filter set inside."""

    def refusal(self) -> str:
        if sys.platform != "linux":
            return f"no bubblewrap on {sys.platform}"
        if not shutil.which("bwrap"):
            return "bwrap is not installed"
        code, said = ask("bwrap", *_WALLS, "--ro-bind", "/", "/", "true")
        return seccomp.refusal() or (said if code else "")

    def command(self, request: dict[str, Any], program: list[str]) -> list[str]:
        seen = View.of(request)
        view = View((*seen.readable, RUNS), seen.writable, seen.hidden)
        binds = [part for bind in _binds(plan(view), request["scratch"]) for part in bind]
        cards = [part for path in gpu_devices() for part in ("--dev-bind-try", path, path)]
        sealed = [part for path in ("/proc", "/dev", "/") for part in ("--remount-ro", path)]
        here = ["--chdir", request["source"]]
        return ["bwrap", *_WALLS, *binds, *cards, *sealed, *here, sys.executable, *program]

    def confine(self, request: dict[str, Any]) -> None:
        seccomp.forbid(seccomp.COMMON)

    def signal(self, run: int, number: int) -> None:
        """SIGKILL to the first process of the namespaces ends them all at once. Anything else is for those
        behind the walls, not for the two processes that build them."""
        walls = {run, *_children_of(run)}
        inside = [pid for pid in self.processes(run) if pid not in walls]
        send(walls if number == signal.SIGKILL else inside, number)


_WALLS = (
    *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--dev", "/dev", "--proc", "/proc"),
)


def _binds(shown: list[tuple[str, str]], scratch: str) -> list[list[str]]:
    """Options of bwrap for each step of a plan, parents first."""
    own = {"/tmp": scratch, "/dev/shm": os.path.join(scratch, "shm")}
    binds: list[list[str]] = []
    bound: list[str] = []
    for path, kind in shown:
        if kind == "link":
            # One in a bound folder came along with it.
            if not any(path.startswith(folder + "/") for folder in bound):
                binds.append(["--symlink", os.readlink(path), path])
            continue
        if kind == "hide" and os.path.isdir(path):
            binds.append(["--tmpfs", path, "--remount-ro", path])
        elif kind == "hide":
            binds.append(["--ro-bind", "/dev/null", path])
        elif kind == "scratch":
            binds.append(["--bind", own[path], path])
        else:
            binds.append(["--ro-bind" if kind == "read" else "--bind", path, path])
        if kind in ("read", "write"):
            bound.append(path)
    return binds


def _children_of(pid: int) -> list[int]:
    return below(pid)[:1]
