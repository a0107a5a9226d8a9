"""The walls around a run: one backend is chosen at the start, and every run of the executor stands in it.

    zygote -- guardian -- run          warm: the run is a fork that puts walls around itself
    zygote -- guardian -- engine -- run      cold: an engine builds them and starts an interpreter

| backend | files | network | processes | start |
|---|---|---|---|---|
| namespaces | its own root folder | none | its own | warm |
| bubblewrap | its own root folder | none | its own | cold |
| landlock | by rules; names and sizes stay visible | no sockets at all | visible, out of reach | warm |
| docker, apptainer | the image | none | its own | cold |
| none | all of the user's | all | all of the user's | warm |

These files are also loaded by a testbed's interpreter, which may lack mendel: standard library and relative
imports only (not so selfcheck.py, which runs in the lab).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

AUTOMATIC = ("namespaces", "bubblewrap", "landlock")
"""What `auto` tries, in this order."""

BACKENDS = {
    "namespaces": "namespaces:Namespaces",
    "bubblewrap": "bubblewrap:Bubblewrap",
    "landlock": "landlock:Landlock",
    "docker": "docker:Docker",
    "apptainer": "apptainer:Apptainer",
    "none": "none:Nothing",
}

_WARNINGS = {
    "landlock": "runs stand behind Landlock and seccomp only: names, sizes and dates of files outside stay "
    "visible to them, and other processes' names",
    "none": "runs are not isolated: run only code that you trust",
}


class Backend(Protocol):
    """How one run is walled in. The guardian is trusted and does the watching; see none.py for each step."""

    cold: bool

    def refusal(self) -> str: ...
    def fork(self) -> int: ...
    def admit(self) -> None: ...
    def enclose(self, request: dict[str, Any]) -> None: ...
    def status(self, request: dict[str, Any]) -> tuple[int, int]: ...
    def confine(self, request: dict[str, Any]) -> None: ...
    def execute(self, request: dict[str, Any]) -> None: ...
    def scratch(self, request: dict[str, Any]) -> tuple[str, ...]: ...
    def processes(self, run: int) -> list[int]: ...
    def signal(self, run: int, number: int) -> None: ...
    def leave(self, request: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class SandboxReport:
    """Which backend runs stand in, and why none that `auto` would rather take."""

    name: str
    reason: str = ""

    @property
    def warning(self) -> str:
        """One line for the user, empty where nothing of the walls is missing."""
        warning = _WARNINGS.get(self.name, "")
        return f"{warning} ({self.reason})" if warning and self.reason else warning


def candidates(sandbox: str) -> tuple[str, ...]:
    """Backends that a setting allows, best first. ValueError names what there is."""
    if sandbox == "auto":
        return AUTOMATIC
    if sandbox not in BACKENDS:
        raise ValueError(f"sandbox {sandbox!r} is not one of auto, {', '.join(BACKENDS)}")
    return (sandbox,)


def load(name: str, image: str = "") -> Backend:
    """The backend behind a name."""
    module, attribute = BACKENDS[name].split(":")
    backend: Backend = getattr(import_module(f".{module}", __package__), attribute)(image)
    return backend


def choose(names: tuple[str, ...], image: str = "") -> tuple[str, dict[str, str]]:
    """The first that works here, or an empty text; and why those before it do not."""
    refused: dict[str, str] = {}
    for name in names:
        reason = load(name, image).refusal()
        if not reason:
            return name, refused
        refused[name] = reason
    return "", refused
