"""Apptainer: each run in a container of an image file, as clusters have it. Its processes are our own
children. Tried with a stand-in for the engine only.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as commands take them.
# ruff: noqa: PTH118
from __future__ import annotations

import os
from typing import Any

from . import seccomp
from .cold import RUNS, Cold, ask


class Apptainer(Cold):
    """Cold: `apptainer exec` with nothing of the host but what a run is given."""

    def refusal(self) -> str:
        if not self.image:
            return 'no image is named (image = "...")'
        code, said = ask("apptainer", "inspect", self.image)
        return "" if code == 0 else said

    def command(self, request: dict[str, Any], program: list[str]) -> list[str]:
        scratch = request["scratch"]
        binds = [f"{path}:{path}:ro" for path in (RUNS, request["source"], *request["readable"])]
        binds += [f"{path}:{path}" for path in request["writable"]]
        binds += [f"{scratch}:/tmp", f"{os.path.join(scratch, 'shm')}:/dev/shm"]
        fixed = {name: text for name, text in os.environ.items() if name.endswith("_THREADS")}
        fixed["PYTHONHASHSEED"] = os.environ.get("PYTHONHASHSEED", "0")
        return [
            *("apptainer", "exec", "--containall", "--cleanenv", "--no-home", "--no-privs"),
            *("--net", "--network", "none", "--pwd", request["source"]),
            *(part for bind in sorted(binds, key=_target) for part in ("--bind", bind)),
            *(part for name, text in fixed.items() for part in ("--env", f"{name}={text}")),
            *(self.image, "python3", *program),
        ]

    def confine(self, request: dict[str, Any]) -> None:
        seccomp.forbid(seccomp.COMMON)


def _target(bind: str) -> str:
    """Folders before what lies in them."""
    return bind.split(":")[1]
