"""How much a run has written: bytes and files in its output folder and in its temporary one.

Counted by looking, a few times a second; so a run can be above its limit for that long. What it keeps open
without a name counts; a nameless file that it only keeps mapped, or sends to itself over a socket, does not.
Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as in /proc.
# ruff: noqa: PTH101, PTH108, PTH112, PTH114, PTH116, PTH118, PTH208
from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import Any

from .sandbox.none import remove

FILES = 10_000
"""Files and folders that a run may leave."""
_DEEPEST = 64
"""Folders within folders; what removes a deeper tree may fail at it."""
_PAUSES = (0.25, 1.0)
"""Seconds between two looks, least and most."""
_SHARE = 0.1
"""Of the time may go into looking, up to the longest pause."""


class Meter:
    """Says when a run has written more than `request["disk"]` bytes or FILES files.

    `own` are file systems that are the run's alone: their use is asked of them."""

    def __init__(self, request: dict[str, Any], own: tuple[str, ...]) -> None:
        self._limit = request["disk"]
        self._own = own
        scratch = [request["scratch"]] if "scratch" in request else []
        self._roots = [*request["writable"], *(path for path in scratch if not request["writable"])]
        self._next = 0.0
        self._before = (0, 0, 0)
        self._before = self._used([])

    def broken(self, processes: list[int], *, now: bool = False) -> str:
        """What is too much, "disk", "files", "depth" or nothing; looks from time to time, or `now`."""
        begin = time.monotonic()
        if begin < self._next and not now:
            return ""
        size, files, depth = self._used(processes)
        took = time.monotonic() - begin
        self._next = begin + min(_PAUSES[1], max(_PAUSES[0], took / _SHARE))
        if depth > _DEEPEST:
            return "depth"
        if files > FILES:
            return "files"
        return "disk" if size > self._limit else ""

    def _used(self, processes: list[int]) -> tuple[int, int, int]:
        """Bytes and files since the start, and the depth of the deepest folder."""
        size, files, deepest = -self._before[0], -self._before[1], 0
        for root in self._roots:
            more = _below(root, FILES - files)
            size, files, deepest = size + more[0], files + more[1], max(deepest, more[2])
        for root in self._own:
            with contextlib.suppress(OSError):
                found = os.statvfs(root)
                size += (found.f_blocks - found.f_bfree) * found.f_frsize
                files += max(0, found.f_files - found.f_ffree)
        return size + _nameless(processes), files, deepest


def _below(root: str, most: int) -> tuple[int, int, int]:
    """Bytes on disk, entries and depth below a folder; stops counting above `most` entries."""
    size = files = deepest = 0
    waiting = [(root, 0)]
    while waiting and files <= most and deepest <= _DEEPEST:
        folder, depth = waiting.pop()
        deepest = max(deepest, depth)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    files += 1
                    if files > most:
                        break
                    with contextlib.suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        size += found.st_blocks * 512
                        if stat.S_ISDIR(found.st_mode):
                            waiting.append((entry.path, depth + 1))
        except FileNotFoundError:
            continue
        except PermissionError:  # it is this user's own: opened, and counted the next time
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            deepest = _DEEPEST + 1
    return size, files, deepest


def _nameless(processes: list[int]) -> int:
    """Bytes of files that were removed and are still open: they fill a disk and no folder lists them."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in processes:
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    found = os.stat(f"/proc/{pid}/fd/{fd}")
                    if found.st_nlink == 0 and stat.S_ISREG(found.st_mode):
                        sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def empty(request: dict[str, Any]) -> None:
    """Takes away what a run wrote that wrote too much: the next one needs the disk. Its log stays."""
    for folder in request["writable"]:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if path == request["log"]:
                    continue
                if os.path.isdir(path) and not os.path.islink(path):
                    remove(path)
                else:
                    with contextlib.suppress(OSError):
                        os.unlink(path)
