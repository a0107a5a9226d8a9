"""Docker (or what answers to its name): each run in a container of an image that holds the interpreter.

Its processes are the engine's children, so the engine keeps memory and number of processes, and is asked
where they are, so that they are also watched from here. Tried with a stand-in for the engine only.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as commands take them.
# ruff: noqa: PTH110, PTH118
from __future__ import annotations

import os
import secrets
import signal
from typing import Any

from . import seccomp
from .cold import RUNS, Cold, ask
from .none import below
from .view import gpu_devices

_PROCESSES = 256
_NAMED = "mendel-"


class Docker(Cold):
    """Cold: `docker run` without network, rights or a writable root; removed when the run ends."""

    def refusal(self) -> str:
        if not self.image:
            return 'no image is named (image = "...")'
        code, said = ask("docker", "image", "inspect", "--format", "{{.Id}}", self.image)
        return "" if code == 0 else said

    def enclose(self, request: dict[str, Any]) -> None:
        super().enclose(request)
        self.container = _NAMED + secrets.token_hex(8)
        self.first = 0

    def command(self, request: dict[str, Any], program: list[str]) -> list[str]:
        scratch = request["scratch"]
        shown = dict.fromkeys((RUNS, request["source"], *request["readable"]), "readonly")
        shown.update(dict.fromkeys(request["writable"], ""))
        mounts = [(path, path, mode) for path, mode in shown.items()]
        mounts += [(scratch, "/tmp", ""), (os.path.join(scratch, "shm"), "/dev/shm", "")]
        memory = str(int(request["memory"]))
        return [
            *("docker", "run", "--rm", "--interactive", "--init", "--pull", "never"),
            *("--name", self.container, "--network", "none", "--read-only", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--pids-limit", str(_PROCESSES)),
            *("--memory", memory, "--memory-swap", memory, "--user", f"{os.geteuid()}:{os.getegid()}"),
            *("--workdir", request["source"], *(["--gpus", "all"] if gpu_devices() else [])),
            *(part for bind in sorted(mounts, key=_target) for part in ("--mount", _mount(*bind))),
            *(part for name in _PASSED for part in ("--env", f"{name}={os.environ.get(name, '')}")),
            *(self.image, "python3", *program),
        ]

    def confine(self, request: dict[str, Any]) -> None:
        seccomp.forbid(seccomp.COMMON)

    def processes(self, run: int) -> list[int]:
        """The command's, and those in the container once the engine says where they are."""
        own = below(os.getpid())
        if not self.first and own:
            code, said = ask("docker", "inspect", "--format", "{{.State.Pid}}", self.container)
            self.first = int(said) if code == 0 and said.isdigit() else 0
        alive = self.first and os.path.exists(f"/proc/{self.first}")
        inside = [self.first, *below(self.first)] if alive else []
        return own + [pid for pid in inside if pid not in own]

    def signal(self, run: int, number: int) -> None:
        """By the engine: the processes may belong to another user."""
        if number == signal.SIGKILL:
            ask("docker", "rm", "--force", self.container)
            super().signal(run, number)
        else:
            ask("docker", "kill", "--signal", str(number), self.container)


_PASSED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED")


def _target(mount: tuple[str, str, str]) -> str:
    """Folders before what lies in them."""
    return mount[1]


def _mount(source: str, target: str, mode: str) -> str:
    """Commas would end a field: such a path cannot be mounted, and the engine will say so."""
    return ",".join(["type=bind", f"source={source}", f"target={target}", *([mode] if mode else [])])
