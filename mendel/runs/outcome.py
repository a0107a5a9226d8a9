"""Turns what a guardian saw of a run into a status and one line of reason, and reads its token count.

Everything a run prints or writes is untrusted: texts are cut and cleaned, files are read with a limit
and without following links.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mendel.records import RunStatus
from mendel.runs import Job
from mendel.runs.disk import FILES
from mendel.runs.logs import PRINTED

EXIT_DIVERGED = 3
"""A trainer exits with this code when its loss is not finite (docs/runs.md)."""

STOPPED = "its end was clear before"
_REASON_LENGTH = 300
_METRICS_BYTES = 1 << 16
_MAX_TOKENS = 1 << 53
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_TOO_LARGE = f"OSError: [Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}"
_NO_MEMORY = re.compile(r"MemoryError|can't allocate memory|out of memory|Cannot allocate memory", re.I)


def last_line(text: str) -> str:
    """The last line with anything on it, without control characters, at most 300 characters."""
    for line in reversed(re.split(r"[\r\n]", _ESCAPES.sub("", text))):
        clean = "".join(character for character in line if character.isprintable()).strip()
        if clean:
            return clean if len(clean) <= _REASON_LENGTH else clean[: _REASON_LENGTH - 3] + "..."
    return ""


def judge(report: Mapping[str, Any], job: Job, *, training: bool = True) -> tuple[RunStatus, str]:
    """Status and reason of a process that a guardian watched; DONE when nothing is wrong with it."""
    ended, code, said = report["ended"], report.get("code"), last_line(report.get("tail", ""))
    broken = {
        "timeout": (RunStatus.TIMED_OUT, f"still running after {job.timeout:g} s"),
        "cpu": (
            RunStatus.TIMED_OUT,
            f"used more than {job.cpu_seconds:g} s of CPU time",
        ),
        "memory": (RunStatus.OUT_OF_MEMORY, f"used more than {job.memory / 1e6:.0f} MB"),
        "processes": (RunStatus.CRASHED, "started too many processes"),
        "disk": (RunStatus.CRASHED, f"wrote more than {job.disk / 1e6:.0f} MB"),
        "output": (RunStatus.CRASHED, f"printed more than {PRINTED / 1e6:.0f} MB"),
        "files": (RunStatus.CRASHED, f"wrote more than {FILES} files"),
        "depth": (RunStatus.CRASHED, "put folders too deep into one another"),
        "lost": (RunStatus.CRASHED, "ended its supervisor"),
        "cancelled": (RunStatus.STOPPED, STOPPED),
    }
    if ended in broken:
        return broken[ended]
    if code == 0:
        return RunStatus.DONE, ""
    if code == EXIT_DIVERGED and training:
        return RunStatus.DIVERGED, said or "the trainer reported a loss that is not finite"
    if _NO_MEMORY.search(said):
        return RunStatus.OUT_OF_MEMORY, said
    if code == -signal.SIGXFSZ or said == _TOO_LARGE:
        return RunStatus.CRASHED, f"wrote a file of more than {job.disk / 1e6:.0f} MB"
    if isinstance(code, int) and code < 0:
        hint = ": the system may be out of memory" if -code == signal.SIGKILL else ""
        return RunStatus.CRASHED, f"killed by {_signal_name(-code)}{hint}"
    return RunStatus.CRASHED, said or f"exit code {code}"


def tokens_read(out: Path) -> int:
    """`tokens` of the last complete line of `out`/metrics.jsonl that has it; 0 where there is none."""
    try:
        fd = os.open(out / "metrics.jsonl", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return 0
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return 0
        file.seek(max(0, status.st_size - _METRICS_BYTES))
        lines = file.read(_METRICS_BYTES).splitlines()
    for line in reversed(lines):
        tokens = _tokens_of(line)
        if tokens is not None:
            return tokens
    return 0


def _tokens_of(line: bytes) -> int | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    tokens = entry.get("tokens") if isinstance(entry, dict) else None
    if isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens <= _MAX_TOKENS:
        return tokens
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
