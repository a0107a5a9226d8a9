"""What a run must not reach, set up so that reaching it shows outside: part of the self-check.

Runs in the lab, unlike the files that a testbed's interpreter loads.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mendel.records import RunResult, RunStatus
from mendel.runs import ExecutorError, Job
from mendel.runs.local import INHERITED, LocalExecutor

_PATIENCE = 60.0
"""Seconds that a run of the self-check may take with everything around it."""
_MOST_HIDDEN = 60
"""Hidden files that are tried."""
_LONG = 12
"""Characters from which on a variable's text may be a secret."""
_PLANTED = "planted"

REACH = {
    # check: attempts it judges
    "network": ("tcp", "udp", "names"),
    "local sockets": ("local_sockets",),
    "sibling": ("sibling",),
    "database": ("database",),
    "home": ("home",),
    "environment": ("environment",),
    "held-out text": ("held_out",),
    "hidden modules": ("hidden",),
    "memory": ("memory",),
    "signals": ("signals",),
    "writes": ("writes",),
}


@dataclass(frozen=True)
class Check:
    """One question to the sandbox and its answer in one line."""

    name: str
    passed: bool
    detail: str


@dataclass
class Props:
    """What a run must not reach, and where its tries would show."""

    folder: Path
    executor: LocalExecutor
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def __enter__(self) -> Props:
        self._exit = contextlib.ExitStack()
        try:
            self._set_up()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _set_up(self) -> None:
        self.job = make_job(self.folder / "attack", Path(__file__).with_name("attack.py").read_text())
        self.secrets = {name: f"{name}-{self.token}" for name in REACH}
        for name in ("sibling", "database", "held-out text"):
            path = self.folder / name / ("checkpoint" if name == "sibling" else f"{name}.bin")
            path.parent.mkdir()
            path.write_text(self.secrets[name])
        self.home = Path.home() / f".mendel-selfcheck-{self.token}"
        with contextlib.suppress(OSError):
            self.home.write_text(self.secrets["home"])
            self._exit.callback(self.home.unlink, missing_ok=True)
        self.block = ctypes.create_string_buffer(self.secrets["memory"].encode(), 64)
        self.tcp = self._listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.udp = self._listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        local = [str(self.folder / "socket")]
        if sys.platform == "linux":
            local.append(f"\0mendel-selfcheck-{self.token}")
        self.local = [self._listen(socket.AF_UNIX, socket.SOCK_STREAM, address) for address in local]
        self.decoy = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={})
        self._exit.callback(self.decoy.wait)
        self._exit.callback(self.decoy.kill)
        self.writes = [self.folder / "planted", self.job.source / "planted", self.job.source / "train.py"]
        self.writes += [Path.home() / f".mendel-planted-{self.token}", Path(f"/var/tmp/planted-{self.token}")]
        for path in (self.writes[3], self.writes[4]):
            self._exit.callback(path.unlink, missing_ok=True)
        self.hidden = list(_files(self.executor.hidden))
        (self.job.source / "plan.json").write_text(json.dumps(self._plan(local)))

    def _listen(self, family: int, kind: int, address: Any) -> socket.socket:
        sock = self._exit.enter_context(socket.socket(family, kind))
        sock.bind(address)
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def _plan(self, local: list[str]) -> dict[str, Any]:
        return {
            "attempts": ["control", *(one for attempts in REACH.values() for one in attempts)],
            "control": str(self.job.source / "plan.json"),
            "sibling": str(self.folder / "sibling"),
            "database": str(self.folder / "database" / "database.bin"),
            "held_out": str(self.folder / "held-out text" / "held-out text.bin"),
            "home": str(self.home if self.home.exists() else Path.home()),
            "hidden": [str(path) for path in self.hidden],
            "writes": [str(path) for path in self.writes],
            "tcp": [self.tcp.getsockname()],
            "udp": [self.udp.getsockname()],
            "local": local,
            "lab": os.getpid(),
            "address": ctypes.addressof(self.block),
            "size": len(self.block),
            "decoys": [self.decoy.pid],
        }

    def reach(self) -> list[Check]:
        """One run tries everything."""
        before = {path: path.read_bytes() if path.exists() else None for path in self.writes}
        result = submit(self.executor, [self.job])[self.job.id]
        said = {}
        with contextlib.suppress(OSError, ValueError):
            said = json.loads((self.job.out / "said.json").read_text())
        loot = b""
        with contextlib.suppress(OSError):
            loot = (self.job.out / "loot").read_bytes()
        alive = result.status is RunStatus.DONE and self.job.source.as_posix().encode() in loot
        checks = [Check("works", alive, "a run works inside" if alive else f"no: {result.reason}")]
        breaches = self._breaches(loot, before, said)
        for name, attempts in REACH.items():
            missing = [one for one in attempts if one not in said]
            breach = f"not tried: {', '.join(missing)}" if missing else breaches[name]
            stopped = "; ".join(dict.fromkeys(said.get(one, "") for one in attempts))
            checks.append(Check(name, not breach, breach or stopped.replace("tried", "tried in vain")))
        return checks

    def _breaches(
        self, loot: bytes, before: dict[Path, bytes | None], said: dict[str, str]
    ) -> dict[str, str]:
        """What got through, by check; empty texts where nothing did."""
        found = {name: "its text was read" if self._taken(name, loot) else "" for name in self.secrets}
        if _heard(self.tcp) or _heard(self.udp):
            found["network"] = "a connection or a packet arrived"
        elif any(not said.get(one, "stopped").startswith("stopped") for one in ("udp", "names")):
            found["network"] = f"{said.get('udp')}; {said.get('names')}"
        if any(map(_heard, self.local)):
            found["local sockets"] = "a connection arrived"
        if (self.folder / "sibling" / "planted").exists():
            found["sibling"] = "a file was planted there"
        if _PLANTED in (self.folder / "database" / "database.bin").read_text():
            found["database"] = "it was changed"
        names = sorted(name for name, text in _secret_variables() if f"\0{name}={text}\0".encode() in loot)
        found["environment"] = f"it saw {', '.join(names[:4])}, {len(names)} in all" if names else ""
        open_files = [path.name for path in self.hidden if _start(path) and _start(path) in loot]
        found["hidden modules"] = f"it read {', '.join(open_files[:4])}" if open_files else ""
        if self.block.value != self.secrets["memory"].encode():
            found["memory"] = "this process's memory was overwritten"
        elif said.get("memory") in ("traced its parent", "opened its parent's memory"):
            found["memory"] = f"it {said['memory']}"
        # A process takes a moment to die of it.
        if self.decoy.poll() is not None or said.get("signals") == "signalled":
            found["signals"] = "a process outside was killed"
        changed = [
            path.name for path, was in before.items() if (path.read_bytes() if path.exists() else None) != was
        ]
        rights = (self.folder / "held-out text" / "held-out text.bin").stat().st_mode & 0o777
        changed += ["the rights of a file"] if rights == 0o777 else []
        found["writes"] = f"changed {', '.join(changed)}" if changed else ""
        return found

    def _taken(self, name: str, loot: bytes) -> bool:
        return self.secrets[name].encode() in loot


def _secret_variables() -> Iterator[tuple[str, str]]:
    """This process's variables that a run must not see."""
    for name, text in os.environ.items():
        if name not in INHERITED and len(text) >= _LONG and name not in ("PWD", "OLDPWD"):
            yield name, text


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Hidden files, at most so many, from all of the hidden paths in turn."""
    each = max(1, _MOST_HIDDEN // max(1, len(paths)))
    for path in paths[:_MOST_HIDDEN]:
        inside = (one for one in sorted(path.rglob("*")) if one.is_file()) if path.is_dir() else iter([path])
        for _, one in zip(range(each), inside, strict=False):
            yield one


def _start(path: Path) -> bytes:
    """The first kilobyte of a file, empty where there is too little to recognise."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(1024)
        return start if len(start) > 64 else b""
    return b""


def _heard(sock: socket.socket) -> bool:
    """Whether something arrived at a listener."""
    with contextlib.suppress(BlockingIOError):
        if sock.type == socket.SOCK_DGRAM:
            return bool(sock.recv(64))
        sock.accept()[0].close()
        return True
    return False


def make_job(folder: Path, code: str, **limits: Any) -> Job:
    """A job below `folder` whose only file is `code`."""
    source, out = folder / "source", folder / "out"
    source.mkdir(parents=True)
    out.mkdir()
    (source / "train.py").write_text(code)
    wanted: dict[str, Any] = {"timeout": 20.0, "memory": 2e9, "disk": 2e8, **limits}
    argv = ("train.py", str(source / "plan.json"), str(out))
    return Job(id=f"selfcheck-{folder.name}", source=source, argv=argv, out=out, **wanted)


def submit(executor: LocalExecutor, jobs: list[Job]) -> dict[str, RunResult]:
    """Runs jobs and waits for them; results by id. ExecutorError: one does not come back."""
    for job in jobs:
        executor.submit(job)
    results: dict[str, RunResult] = {}
    deadline = time.monotonic() + _PATIENCE
    while len(results) < len(jobs):
        if time.monotonic() > deadline:
            raise ExecutorError(f"the sandbox's self-check did not end within {_PATIENCE:g} s")
        results.update(executor.wait(1.0))
    return results
