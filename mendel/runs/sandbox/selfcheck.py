"""Looks whether the walls stand: runs that try to get out, judged from outside.

One suite for every backend. `check(executor)` runs a program that tries everything at once (attack.py) among
props that it must not reach (props.py): a sibling's folder, a database, listeners, a process, a piece of this
process's memory; what the props show decides, and what was carried away. With `full`, runs that break each
limit follow. Runs in the lab, unlike the files that a testbed's interpreter loads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from mendel.records import RunStatus
from mendel.runs.local import LocalExecutor
from mendel.runs.sandbox.props import Check, Props, make_job, submit

_LIMITS: dict[str, tuple[str, dict[str, Any], RunStatus, str]] = {
    "limit on memory": (
        "keep = []\nwhile True: keep.append(b'x' * (1 << 22))",
        {"memory": 1.5e8},
        RunStatus.OUT_OF_MEMORY,
        "used more than",
    ),
    "limit on processes": (
        "import os, time\nfor _ in range(400):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(60)",
        {"memory": 1e12},
        RunStatus.CRASHED,
        "started too many processes",
    ),
    "limit on disk": (
        "import sys, time\n"
        "for n in range(200): open(f'{sys.argv[2]}/{n}', 'wb').write(bytes(1 << 19))\ntime.sleep(60)",
        {"disk": 5e7},
        RunStatus.CRASHED,
        "wrote more than",
    ),
    "limit on a file": (
        "import sys\nfile = open(sys.argv[2] + '/big', 'wb')\nwhile True: file.write(bytes(1 << 20))",
        {"disk": 2e7},
        RunStatus.CRASHED,
        "wrote ",
    ),
    "limit on time": (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        {"timeout": 0.3},
        RunStatus.TIMED_OUT,
        "still running",
    ),
    "limit on CPU": ("while True: pass", {"cpu_share": 0.02}, RunStatus.TIMED_OUT, "of CPU time"),
    "leftovers": (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)",
        {},
        RunStatus.DONE,
        "",
    ),
    "supervisor": (
        "import os, signal, time\n"
        "try: os.kill(os.getppid(), signal.SIGKILL)\nexcept OSError: pass\n"
        "time.sleep(0.3)",
        {},
        RunStatus.DONE,
        "",
    ),
}
"""check: a run, what it may use, and how it has to end."""


def check(executor: LocalExecutor, *, full: bool = False, near: Path | None = None) -> tuple[Check, ...]:
    """Answers of the sandbox that `executor` runs in. `near` is the folder to set the props up in, such as
    the lab's own; without it a temporary one. ExecutorError: a run could not be made at all.

    The short form is one run. Only a full one breaks the limits, and takes a few seconds."""
    with tempfile.TemporaryDirectory(prefix="selfcheck-", dir=near) as folder:
        with Props(Path(folder), executor) as props:
            checks = props.reach()
        return (*checks, *(_limits(executor, Path(folder)) if full else ()))


def _limits(executor: LocalExecutor, folder: Path) -> list[Check]:
    """A run for each limit: it ends for that reason, and nothing of it is left."""
    jobs = {
        name: make_job(folder / f"limit{number}", code, **limits)
        for number, (name, (code, limits, _, _)) in enumerate(_LIMITS.items())
    }
    # A run that ends its supervisor is tried again, and said so aloud: here it is on purpose.
    logger = logging.getLogger("mendel.runs.local")
    names = {job.id for job in jobs.values()}

    def unplanned(record: logging.LogRecord) -> bool:
        return not names & set(map(str, record.args or ()))

    logger.addFilter(unplanned)
    try:
        results = submit(executor, list(jobs.values()))
    finally:
        logger.removeFilter(unplanned)
    checks = []
    for name, job in jobs.items():
        _, _, status, reason = _LIMITS[name]
        result, left = results[job.id], _left_behind(job.source)
        held = result.status is status and reason in result.reason and not left
        detail = result.reason or result.status.value
        checks.append(Check(name, held, f"{detail}; {left} processes were left" if left else detail))
    return checks


def _left_behind(source: Path) -> int:
    """Processes of this machine that work in a folder that only a run knows."""
    found = 0
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):  # noqa: PTH112, PTH208
        with contextlib.suppress(OSError):
            found += Path(f"/proc/{name}/cwd").readlink() == source
    return found
