"""Landlock and seccomp: rules in the kernel on what a run opens, for systems that refuse namespaces.

Landlock (Linux 5.13; its ABI grew since) stops files and TCP, not UDP, local sockets, signals (before
ABI 6) or changes of rights and dates; seccomp stops those. What stays open: names, sizes and dates of files
outside can be asked for by exact name, and process numbers can be guessed. There are no mounts, so /tmp is
not the run's (TMPDIR is), and /dev/shm with the locks of `multiprocessing` is nobody's.

Numbers: <linux/landlock.h>. Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as system calls take them.
# ruff: noqa: PTH114, PTH118, PTH123, PTH208
from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from . import linux, seccomp
from .none import Nothing
from .seccomp import Rule, Where
from .view import DEVICES, View, gpu_devices, plan

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_BLOCK, _TRUNCATE, _IOCTL_DEV = 1 << 6, 1 << 11, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""ABI -> how many rights on files it knows; later ones know as many as 5."""
_TCP = 0b11
_SCOPES = 0b11
"""Abstract local sockets, and signals."""
_TCP_SINCE, _SCOPES_SINCE, _TRUNCATE_SINCE = 4, 6, 3

_PROC = ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "driver/nvidia")

_O_TRUNC, _O_ACCMODE = 0o1000, 0o3
_SEALED = (
    Rule(("socket",), errno.EACCES),
    # One process group, so that all of it can be killed in one call. Programs that want a session of their
    # own only look whether they were refused.
    Rule(("setsid", "setpgid"), 0),
    # Landlock does not know of them; a run that copies a file with its date goes on.
    Rule(
        (
            *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
            *("utime", "utimes", "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr"),
            *("setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
            "file_setattr",
        ),
        0,
    ),
    Rule(("prlimit64", "sched_setaffinity"), where=(Where(0, 0, is_not=True),)),
    Rule(
        (
            *("setpriority", "ioprio_set", "sched_setscheduler", "sched_setparam", "sched_setattr"),
            *("migrate_pages", "move_pages", "inotify_init", "inotify_init1"),
        )
    ),
)
"""What namespaces and mounts would do."""


def abi() -> int:
    """The kernel's Landlock ABI. OSError: it has none, or it is switched off."""
    return linux.check(linux.libc().syscall(_CREATE_RULESET, None, 0, _VERSION), "Landlock")


class Landlock(Nothing):
    """Warm: each run is a fork of the loaded parent that gives up its rights."""

    def refusal(self) -> str:
        if sys.platform != "linux":
            return f"no Landlock on {sys.platform}"
        try:
            abi()
        except OSError as error:
            off = error.errno == errno.EOPNOTSUPP
            return "Landlock is switched off at boot" if off else "this kernel has no Landlock"
        return seccomp.refusal() or _probe()

    def confine(self, request: dict[str, Any]) -> None:
        view = View.of(request)
        confine(View(view.readable, (*view.writable, request["scratch"]), view.hidden), abi())


def confine(view: View, version: int) -> None:
    """Gives up, for this process and all that it starts, whatever `view` does not allow. For a process with
    one thread. OSError: the kernel refuses a step."""
    linux.drop_privileges()
    known = (1 << _RIGHTS.get(version, 16)) - 1
    tcp = _TCP if version >= _TCP_SINCE else 0
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    attributes = struct.pack("<QQQ", known, tcp, scopes)
    call = linux.libc().syscall
    rules = linux.check(call(_CREATE_RULESET, attributes, len(attributes), 0), "Landlock")
    try:
        for path, rights in _rules(view, known):
            _allow(rules, path, rights & known)
        linux.check(call(_RESTRICT_SELF, rules, 0), "Landlock")
    finally:
        os.close(rules)
    seccomp.forbid((*seccomp.COMMON, *_SEALED, *_instead_of(version)))


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH)
    except OSError:  # there is no such thing here, or it is not this user's: then there is nothing to allow
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_FILES
        beneath = struct.pack("<Qi", rights, fd)
        linux.check(linux.libc().syscall(_ADD_RULE, rules, _PATH_BENEATH, beneath, 0), f"Landlock: {path}")
    finally:
        os.close(fd)


def _rules(view: View, known: int) -> Iterator[tuple[str, int]]:
    """(path, rights at and below it) of everything that a run may open."""
    shown = plan(view, scratch=())
    hidden = [path for path, kind in shown if kind == "hide"]
    for path, kind in shown:
        if kind == "read":
            yield from _around(path, hidden)
        elif kind == "write":
            yield path, known & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV)
    device = _READ_FILE | _WRITE_FILE | _TRUNCATE
    yield from ((path, device) for path in DEVICES)
    yield from ((path, device | _READ_DIR | _IOCTL_DEV) for path in gpu_devices())
    yield f"/proc/{os.getpid()}", _READ_FILE | _READ_DIR
    yield from ((f"/proc/{name}", _READ_FILE | _READ_DIR) for name in _PROC)


def _around(path: str, hidden: list[str]) -> Iterator[tuple[str, int]]:
    """Rules only ever add. So where something below is hidden, its siblings are allowed instead of the
    folder, which can only be listed: imports look for a module there."""
    real = os.path.realpath(path)
    if any(real == one or real.startswith(one + "/") for one in hidden):
        return
    if not any(one.startswith(real + "/") for one in hidden):
        yield real, _READ
        return
    yield real, _READ_DIR
    with contextlib.suppress(OSError):
        for name in os.listdir(real):
            yield from _around(os.path.join(real, name), hidden)


def _instead_of(version: int) -> tuple[Rule, ...]:
    """What a newer ABI would stop."""
    rules: list[Rule] = []
    if version < _TRUNCATE_SINCE:
        cut = (Where(1, _O_TRUNC, _O_TRUNC), Where(1, os.O_RDONLY, _O_ACCMODE))
        cut_at = (Where(2, _O_TRUNC, _O_TRUNC), Where(2, os.O_RDONLY, _O_ACCMODE))
        rules += [Rule(("truncate",)), Rule(("open",), where=cut), Rule(("openat",), where=cut_at)]
        rules.append(Rule(("openat2",), errno.ENOSYS))
    if version < _SCOPES_SINCE:
        calls = ("kill", "tkill", "tgkill")
        rules += [Rule(calls, None, (Where(0, os.getpid()),)), Rule(("kill",), None, (Where(0, 0),))]
        rules.append(Rule((*calls, "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")))
        # A signal that the kernel sends for a file's owner.
        owners = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
        rules += [Rule(("fcntl",), where=(Where(1, owner),)) for owner in owners]
    return tuple(rules)


def _probe() -> str:
    """Tries once, in a forked child. What is wrong, or an empty text."""
    with tempfile.TemporaryDirectory(prefix="mendel-probe-") as folder:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            said = "the self-check ended without an answer"
            try:
                said = _first_breach(folder)
            except OSError as error:
                said = str(error)
            finally:
                os.write(writer, said.encode() or b" ")
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read().decode().strip()
        os.waitpid(child, 0)
    return said


def _first_breach(folder: str) -> str:
    secret, out = os.path.join(folder, "secret"), os.path.join(folder, "out")
    os.mkdir(out)  # noqa: PTH102
    for path in (secret, os.path.join(out, "mine")):
        with open(path, "w") as file:
            file.write("text")
    confine(View((), (out,)), abi())
    with contextlib.suppress(OSError), open(secret) as file:
        return "a file that should be closed can be read"
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM):
        return "a socket can be made"
    with contextlib.suppress(OSError), open(os.path.join(out, "mine")) as file:
        return ""
    return "the output folder is closed"
