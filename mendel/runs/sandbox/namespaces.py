"""Namespaces for one run: it sees its own folders and the interpreter, and nothing else of the machine.

Code that a patch wrote must not reach the network, other runs, the store, secrets or the texts it is
scored on. A plain fork in one shared sandbox would not do: it could write into its parent's memory. So
every run gets its own user, mount, process, network, IPC and host-name namespaces and a root folder
built from read-only binds: the walls that bubblewrap builds. They are entered by a fork, because
bubblewrap has to execute a program and so would lose the modules that are loaded already. Paths stay the
same inside, so that no argument needs rewriting.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here: system calls take them, and they stay as the caller wrote them.
# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH115, PTH118, PTH120, PTH123, PTH208, PTH211
from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import re
import socket
import sys
import tempfile
from typing import Any

from . import linux, seccomp
from .none import Nothing
from .view import DEVICES, View, gpu_devices, plan

# <sys/mount.h>
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
# (flag that statvfs reports, flag that mount takes): a remount must keep those it finds.
_KEEP = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 1 << 21))
_MNT_DETACH = 2
_SCRATCH = "size=256m,nr_inodes=10k,mode=1777"
"""Options of the private /tmp and /dev/shm. Their pages are in nobody's resident set: keep them small."""
_HOME = "/tmp/home"


class Namespaces(Nothing):
    """Warm: each run is a fork of the loaded parent into namespaces of its own, then a seccomp filter."""

    def refusal(self) -> str:
        return seccomp.refusal() or _probe()

    def fork(self) -> int:
        self.user = (os.geteuid(), os.getegid())
        return linux.fork_into_namespaces()

    def admit(self) -> None:
        _map_user(*self.user)

    def enclose(self, request: dict[str, Any]) -> None:
        local = request.get("local_network", False)
        enter(View.of(request), hosts=local)
        if local:
            linux.raise_loopback()
        linux.drop_privileges()
        request["home"], request["temporary"] = _HOME, "/tmp"

    def confine(self, request: dict[str, Any]) -> None:
        seccomp.forbid(seccomp.COMMON)

    def scratch(self, request: dict[str, Any]) -> tuple[str, ...]:
        return ("/tmp", "/dev/shm")

    def processes(self, run: int) -> list[int]:
        """In a process namespace /proc lists nothing else."""
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]

    def signal(self, run: int, number: int) -> None:
        """All at once: the kernel lets no process fork its way out of it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)

    def leave(self, request: dict[str, Any]) -> None:
        """Its folders end with its namespaces."""


def _map_user(uid: int, gid: int) -> None:
    """The user keeps its id inside; all others are nobody. The ids are those before the fork."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    source_b, target_b, kind_b, data_b = encoded
    done = linux.libc().mount(source_b, target_b, kind_b, ctypes.c_ulong(flags), data_b)
    linux.check(done, f"mount {target}")


def enter(view: View, *, hosts: bool = False) -> None:
    """Replaces the root folder by what `view` allows. Call as process 1 of new namespaces. With `hosts` this
    machine has a name inside, for processes of one run that talk to each other.

    Raises OSError where the system refuses one of the mounts."""
    root = next(path for path in ("/sys", "/mnt", "/srv", "/boot", "/media") if os.path.isdir(path))
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    shown = plan(view)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=4m,mode=755")
    for path, kind in shown:
        _place(root, path, kind)
    os.makedirs(root + _HOME, exist_ok=True)
    if hosts:
        with open(root + "/etc/hosts", "w") as file:
            file.write(f"127.0.0.1 localhost {socket.gethostname()}\n")
    _place_proc_and_dev(root)
    for point in _mount_points(root):
        if not _may_write(point.removeprefix(root), shown):
            _make_readonly(point)
    os.chdir(root)
    linux.check(linux.libc().pivot_root(b".", b"."), "pivot_root")
    linux.check(linux.libc().umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")


def _place(root: str, path: str, kind: str) -> None:
    target = root + path
    if kind in ("read", "write"):
        _make_target(target, is_folder=os.path.isdir(path))
        _mount(path, target, None, _MS_BIND | _MS_REC)
    elif kind == "scratch":
        os.makedirs(target, exist_ok=True)
        _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, _SCRATCH)
    elif kind == "link":
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with contextlib.suppress(FileExistsError):  # it came along with its folder
            os.symlink(os.readlink(path), target)
    elif os.path.isdir(target):
        _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=4m,mode=755")
    elif os.path.exists(target):
        _mount("/dev/null", target, None, _MS_BIND)


def _make_target(target: str, *, is_folder: bool) -> None:
    if is_folder:
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))


def _place_proc_and_dev(root: str) -> None:
    os.makedirs(root + "/proc", exist_ok=True)
    _mount("proc", root + "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    # A run has no use for namespaces of its own, and they are where most kernel escapes begin.
    with contextlib.suppress(OSError), open(root + "/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    for device in (*DEVICES, *gpu_devices()):
        _make_target(root + device, is_folder=os.path.isdir(device))
        _mount(device, root + device, None, _MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{root}/dev/{name}")


def _may_write(path: str, shown: list[tuple[str, str]]) -> bool:
    above = [kind for parent, kind in shown if path == parent or path.startswith(parent + "/")]
    return bool(above) and above[-1] in ("write", "scratch")


def _mount_points(root: str) -> list[str]:
    """Mounts at and below `root`; binds bring the mounts below their source along."""
    with open("/proc/self/mountinfo", "rb") as file:
        escaped = [line.split(b" ")[4] for line in file]
    unescape = functools.partial(re.sub, rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]))
    points = [os.fsdecode(unescape(field)) for field in escaped]
    return [point for point in points if point == root or point.startswith(root + "/")]


def _make_readonly(point: str) -> None:
    try:
        found = os.statvfs(point).f_flag
    except FileNotFoundError:  # below something hidden
        return
    keep = sum(flag for seen, flag in _KEEP if found & seen)
    _mount("none", point, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | keep)


def _probe() -> str:
    """Tries once, in a forked child, and looks from inside whether the walls stand. What is wrong, or an
    empty text."""
    if sys.platform != "linux":
        return f"no namespaces on {sys.platform}"
    with tempfile.TemporaryDirectory(prefix="mendel-probe-") as folder:
        for name in ("secret", "source", "out"):
            os.mkdir(os.path.join(folder, name))
        return _ask_inside(folder)


def _ask_inside(folder: str) -> str:
    uid, gid = os.geteuid(), os.getegid()
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb", buffering=0) as answer:
        try:
            child = linux.fork_into_namespaces()
        except OSError as error:
            return error.strerror or str(error)
        if child == 0:
            try:
                answer.write(json.dumps(_first_breach(folder, uid, gid)).encode())
            except OSError as error:
                answer.write(json.dumps(error.strerror or str(error)).encode())
            finally:
                os._exit(0)
        answer.close()
        text = pipe.read()
    os.waitpid(child, 0)
    return str(json.loads(text)) if text else "the self-check ended without an answer"


def _first_breach(folder: str, uid: int, gid: int) -> str:
    _map_user(uid, gid)
    source, out = os.path.join(folder, "source"), os.path.join(folder, "out")
    enter(View(readable=(source,), writable=(out,)))
    linux.drop_privileges()
    if os.getpid() != 1 or not os.path.isdir("/proc/1"):
        return "the process namespace was not entered"
    if os.path.exists(os.path.join(folder, "secret")):
        return "a folder that should be hidden is visible"
    if _can_write(source) or _can_write("/usr") or _can_write("/"):
        return "a folder that should be read-only is writable"
    if not _can_write(out):
        return "the output folder is not writable"
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("192.0.2.1", 9))  # a documentation address (RFC 5737): nothing is sent
        return "the network can be reached"
    return ""


def _can_write(folder: str) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
