"""Backends that start an interpreter for each run, behind walls that another program builds.

Slower than a fork (the modules are loaded anew), for systems where only that program may build walls. No
descriptor but the first three is relied on, as a container engine hands on no other: the request comes as an
argument, the log goes out over standard error, a scoring session over standard input and output, and the
run's two words over a named pipe in its temporary folder.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as commands take them.
# ruff: noqa: PTH100, PTH103, PTH118, PTH120
from __future__ import annotations

import json
import os
import subprocess
from abc import abstractmethod
from typing import Any

from .none import Nothing

_STATUS = ".status"
_PATIENCE = 60.0
"""Seconds for a command that asks an engine something."""

RUNS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder of these files: all that a run sees of the lab."""


class Cold(Nothing):
    """Cold: the guardian stays outside, and the run is whatever the engine's command starts."""

    cold = True

    @abstractmethod
    def command(self, request: dict[str, Any], program: list[str]) -> list[str]:
        """What builds the walls of `request` and starts `program` behind them, after an interpreter."""

    def enclose(self, request: dict[str, Any]) -> None:
        super().enclose(request)
        os.makedirs(os.path.join(request["scratch"], "shm"))
        request["home"], request["temporary"] = "/tmp/home", "/tmp"

    def status(self, request: dict[str, Any]) -> tuple[int, int]:
        path = os.path.join(request["scratch"], _STATUS)
        os.mkfifo(path, 0o600)
        # Both ends, so that it has no end before the run has opened it.
        reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        return reader, os.dup(reader)

    def execute(self, request: dict[str, Any]) -> None:
        told = {**request, "status": f"/tmp/{_STATUS}"}
        program = [os.path.join(RUNS, "launch.py"), "run", json.dumps(told)]
        command = self.command(request, program)
        os.execvp(command[0], command)


def ask(*command: str) -> tuple[int, str]:
    """Exit code and last line of what a command says; 127 where there is no such command."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE
        )
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} did not answer within {_PATIENCE:g} s"
    said = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode, said[-1] if said else f"exit code {done.returncode}"
