"""What a run may see: the system, its interpreter and the folders it was given, as a plan of paths.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here: system calls take them, and they stay as the caller wrote them.
# ruff: noqa: PTH100, PTH110, PTH114, PTH115, PTH118, PTH119, PTH120, PTH207
from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# What an interpreter and its shared libraries need. Of /etc only these: root's secrets live next to them.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime"),
    "/etc/alternatives",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_GPUS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")


@dataclass(frozen=True)
class View:
    """What a run sees besides the system: absolute paths; the deepest one that covers a file decides."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    """Covered by an empty folder (or file), also below a readable path."""

    @classmethod
    def of(cls, request: dict[str, Any]) -> View:
        """What the executor's request says."""
        readable = (request["source"], *request["readable"])
        return cls(readable, tuple(request["writable"]), tuple(request["hidden"]))


def gpu_devices() -> list[str]:
    """The graphics cards' files in /dev; none where there is no card. No card was there to test it with."""
    return sorted(path for pattern in _GPUS for path in glob.glob(pattern))


def interpreter_paths() -> tuple[str, ...]:
    """What this interpreter loads code from. Source checkouts on its path are left out: a folder that an
    editable install points at may hold the store and other runs."""
    packages = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    return tuple(dict.fromkeys((*prefixes, sys.executable, *packages)))


def plan(view: View, scratch: tuple[str, ...] = ("/tmp", "/dev/shm")) -> list[tuple[str, str]]:
    """(path, kind) of everything to show, parents first: "read", "write", "scratch", "hide", and "link" for
    each symbolic link on the way to one of the others."""
    kinds: dict[str, str] = {}
    system = [path for path in (*SYSTEM, *interpreter_paths()) if os.path.exists(path)]
    groups = (
        (system, "read"),
        (scratch, "scratch"),
        (view.readable, "read"),
        (view.writable, "write"),
        ([path for path in view.hidden if os.path.exists(path)], "hide"),
    )
    for paths, kind in groups:
        for path in paths:
            kinds.update((link, "link") for link in links_on(path))
            kinds[path if kind == "scratch" else os.path.realpath(path)] = kind
    found: list[tuple[str, str]] = []
    for path in sorted(kinds, key=lambda path: path.split("/")):
        above = [kind for parent, kind in found if path.startswith(parent.rstrip("/") + "/")]
        # The list is sorted, so the last parent is the nearest one. Read-only below read-only is there.
        if above and above[-1] == kinds[path] == "read":
            continue
        found.append((path, kinds[path]))
    return found


def links_on(path: str) -> Iterator[str]:
    """Every symbolic link that is followed when `path` is opened, each in its real folder."""
    rest = [part for part in os.path.abspath(path).split("/") if part]
    done = ""
    for _ in range(400):  # far above the kernel's limit of 40 links; ends loops
        if not rest:
            return
        here = f"{done}/{rest.pop(0)}"
        if not os.path.islink(here):
            done = here
            continue
        target = os.readlink(here)
        yield here
        full = os.path.normpath(os.path.join(done or "/", target))
        rest = [part for part in full.split("/") if part] + rest
        done = ""
