"""What lies in folders next to the database: source trees, run folders, and locks.

Why beside the database: a run's files are read by other processes (the trainer, the yardstick, a person),
and none of those may open the store. A folder appears under its final name only when it is complete.

    <root>/mendel.db                    the database (unless a URL says otherwise)
    <root>/trees/<hash>/                source trees, written once
    <root>/runs/<campaign>/<run>/       config.json, source/, out/, status.json
    <root>/campaigns/<campaign>.lock    held by the process that runs the campaign
    <root>/reports/
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mendel.records import tree_hash
from mendel.store.errors import StoreError, explained_os_error

Tree = Mapping[str, str]
"""Source files: relative path with forward slashes -> text."""

_held: set[Path] = set()
"""Locks this process holds: the system's locks do not keep a process from locking a file twice."""
_held_guard = threading.Lock()


def write_tree(folder: Path, tree: Tree) -> str:
    """Keep `tree` as a folder of its hash inside `folder`, and return the hash. Writes it at most once.

    Raises StoreError for a path that leaves the tree, and for a full disk.
    """
    name = tree_hash(tree)
    if (folder / name).is_dir():
        return name
    for path in tree:
        if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise StoreError(f"source tree: path {path!r} leaves the tree; only paths inside it are allowed")
    with _complete_folder(folder / name) as unfinished:
        for path, text in tree.items():
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_durably(file, text.encode())
    return name


def read_tree(folder: Path, name: str) -> dict[str, str]:
    """The tree kept under `name`. Raises StoreError if it is missing or no longer what was written."""
    kept = folder / name
    if not kept.is_dir():
        raise StoreError(f"{kept}: no source tree is kept under this hash")
    with explained_os_error(kept):
        files = sorted(file for file in kept.rglob("*") if file.is_file())
        # Bytes, then decode: reading as text would change the ends of lines.
        tree = {
            file.relative_to(kept).as_posix(): file.read_bytes().decode(errors="replace") for file in files
        }
    if tree_hash(tree) != name:
        raise StoreError(f"{kept}: the source files were changed after they were stored; restore them")
    return tree


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. The run itself may write to `out` only; everything else is the lab's."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def source(self) -> Path:
        return self.path / "source"

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Say how the run stands. A reader sees the old status or the new one, never half of one."""
        unfinished = self.path / f".status.{os.getpid()}"
        with explained_os_error(self.status):
            _write_durably(unfinished, json.dumps(status).encode())
            unfinished.replace(self.status)

    def read_status(self) -> dict[str, Any] | None:
        """The last status, None before the first."""
        try:
            status: dict[str, Any] = json.loads(self.status.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{self.status}: not JSON ({error}); delete the file") from error
        return status


def smoke_name(recipe: str, rung: int) -> str:
    """In place of a run's id: under which a smoke run's folder lies."""
    return f"smoke-{recipe}-{rung}"


def new_run_folder(path: Path, config: Mapping[str, Any], source: Path) -> RunFolder:
    """A fresh run folder at `path` with a full copy of the tree `source`.

    What a lost attempt left there is deleted: a run is deterministic and begins again.
    """
    with explained_os_error(path):
        if path.exists():
            shutil.rmtree(path)
        with _complete_folder(path) as unfinished:
            shutil.copytree(source, unfinished / "source")
            (unfinished / "out").mkdir()
            (unfinished / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return RunFolder(path)


@contextmanager
def _complete_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` if all goes well. Losing a race to an equal one is fine."""
    with explained_os_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield unfinished
            unfinished.chmod(0o755)
            try:
                unfinished.rename(path)
            except OSError:
                if not path.is_dir():
                    raise
            _sync(path.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _write_durably(file: Path, data: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def file_lock(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold the lock file `path`. Waits for it, or with `busy` (what is refused) raises StoreError at once
    and names the process that holds it.

    The kernel releases the lock when the process dies, however it dies. It is a POSIX record lock
    because a forked child does not inherit those: with flock, a child that outlives a killed campaign
    would keep the campaign locked.
    """
    path = path.resolve()
    with _held_guard:
        if path in _held:
            raise StoreError(f"{busy or path}: this process (pid {os.getpid()}) already holds {path}")
        _held.add(path)
    try:
        with explained_os_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _acquire(descriptor, path, busy)
            yield
        finally:
            os.close(descriptor)  # releases the lock
    finally:
        with _held_guard:
            _held.discard(path)


def _acquire(descriptor: int, path: Path, busy: str | None) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except (BlockingIOError, PermissionError) as error:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise StoreError(
            f"{busy}: process {holder or '?'} already holds {path}; wait for it or end it"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
