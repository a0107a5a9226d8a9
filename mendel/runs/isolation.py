"""Namespaces for one run: it sees its own folders and the interpreter, and nothing else of the machine.

Code that a patch wrote must not reach the network, other runs, the store, secrets or the texts it is
scored on. A plain fork in one shared sandbox would not do: it could write into its parent's memory. So
every run gets its own user, mount, process, network, IPC and host-name namespaces and a root folder
built from read-only binds. Paths stay the same inside, so that no argument needs rewriting.

Standard library only: these lines also run under a testbed's interpreter, which may lack mendel.
"""

# Paths are strings here: system calls take them, and they stay as the caller wrote them.
# ruff: noqa: PTH100, PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH118, PTH119, PTH120, PTH123, PTH211
from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import json
import os
import platform
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

NAMESPACES = "namespaces"
NONE = "none"

# <sched.h>, <sys/mount.h>, <sys/prctl.h>, <linux/capability.h>
_CLONE_ALL = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
# (flag that statvfs reports, flag that mount takes): a remount must keep those it finds.
_KEEP = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 1 << 21))
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_CAPABILITY_VERSION_3 = 0x20080522

# What an interpreter and its shared libraries need. Of /etc only these: root's secrets live next to them.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime"),
    "/etc/alternatives",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SCRATCH = "size=256m,mode=1777"
"""Options of the private /tmp and /dev/shm. Their pages are in nobody's resident set: keep them small."""

HOME = "/tmp/home"
"""Home folder inside the namespaces: private and empty."""


@dataclass(frozen=True)
class IsolationReport:
    """What the self-check found: `level` is "namespaces" or "none", `reason` says why it is none."""

    level: str
    reason: str = ""

    @property
    def warning(self) -> str:
        """One line for the user, empty where runs are isolated."""
        if self.level == NAMESPACES:
            return ""
        return f"runs are not isolated ({self.reason}): run only code that you trust"


@dataclass(frozen=True)
class View:
    """What a run sees besides the system: absolute paths; the deepest one that covers a file decides."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    """Covered by an empty folder (or file), also below a readable path."""


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, action: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{action}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    source_b, target_b, kind_b, data_b = encoded
    _check(_libc().mount(source_b, target_b, kind_b, ctypes.c_ulong(flags), data_b), f"mount {target}")


def _prctl(option: int, value: int) -> int:
    if sys.platform != "linux":
        return 0
    zero = ctypes.c_ulong(0)
    return int(_libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def die_with_parent() -> None:
    """The kernel kills this process when the one that forked it ends, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, 9)


def adopt_orphans() -> None:
    """Descendants whose parent has ended become children of this process, so that none can slip away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def protect_memory() -> None:
    """Other processes of the same user can no longer trace this one or write into its memory."""
    _prctl(_PR_SET_DUMPABLE, 0)


def be_traceable() -> None:
    """Undoes `protect_memory` in a forked child, which inherited it."""
    _prctl(_PR_SET_DUMPABLE, 1)


def fork() -> int:
    """Like `os.fork`, with the child as process 1 of new namespaces; it calls `map_user` first.

    One system call, where `unshare` and a second fork would copy the page tables of a large parent twice.
    For a process with one thread only. Raises OSError where the system refuses."""
    number = _SYS_CLONE.get(platform.machine())
    if number is None:
        raise OSError(f"namespaces are not supported on {platform.machine()}")
    # PyDLL keeps the interpreter's lock over the call, so the child holds it as well.
    pid = ctypes.PyDLL(None, use_errno=True).syscall(number, _CLONE_ALL | signal.SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        code = ctypes.get_errno()
        # ENOSPC, of all names, is what the kernel calls a limit on namespaces.
        cause = "limit user.max_user_namespaces" if code == errno.ENOSPC else os.strerror(code)
        raise OSError(code, f"the system refuses new namespaces: {cause}")
    return int(pid)


def map_user(uid: int, gid: int) -> None:
    """The user keeps its id inside; all others are nobody. The ids are those before `fork`."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def interpreter_paths() -> tuple[str, ...]:
    """What this interpreter loads code from. Source checkouts on its path are left out: a folder that an
    editable install points at may hold the store and other runs."""
    packages = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    return tuple(dict.fromkeys((*prefixes, sys.executable, *packages)))


def enter(view: View) -> None:
    """Replaces the root folder by what `view` allows. Call as process 1 after `fork`.

    Raises OSError where the system refuses one of the mounts."""
    root = next(path for path in ("/sys", "/mnt", "/srv", "/boot", "/media") if os.path.isdir(path))
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    plan = _plan(view)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=4m,mode=755")
    for path, kind in plan:
        _place(root, path, kind)
    os.makedirs(root + HOME, exist_ok=True)
    _place_proc_and_dev(root)
    for point in _mount_points(root):
        if not _may_write(point.removeprefix(root), plan):
            _make_readonly(point)
    os.chdir(root)
    _check(_libc().pivot_root(b".", b"."), "pivot_root")
    _check(_libc().umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")


def drop_privileges() -> None:
    """No capability is left, none can come back through an executable, and none through a new namespace."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        if _prctl(_PR_CAPBSET_DROP, capability) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc().capset(header, (ctypes.c_uint32 * 6)()), "capset")


def forbid_new_privileges() -> None:
    """Executables cannot gain rights (set-user-id files): what can be had without namespaces."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _plan(view: View) -> list[tuple[str, str]]:
    """(path, kind) of each mount and of each symbolic link on the way to one, parents first."""
    kinds: dict[str, str] = {}
    system = [path for path in (*_SYSTEM, *interpreter_paths()) if os.path.exists(path)]
    groups = (
        (system, "read"),
        (("/tmp", "/dev/shm"), "scratch"),
        (view.readable, "read"),
        (view.writable, "write"),
        ([path for path in view.hidden if os.path.exists(path)], "hide"),
    )
    for paths, kind in groups:
        for path in paths:
            kinds.update((link, "link") for link in _links_on(path))
            kinds[path if kind == "scratch" else os.path.realpath(path)] = kind
    plan: list[tuple[str, str]] = []
    for path in sorted(kinds, key=lambda path: path.split("/")):
        above = [kind for parent, kind in plan if path.startswith(parent.rstrip("/") + "/")]
        # The list is sorted, so the last parent is the nearest one. Read-only below read-only is there.
        if above and above[-1] == kinds[path] == "read":
            continue
        plan.append((path, kinds[path]))
    return plan


def _links_on(path: str) -> Iterator[str]:
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
    for device in _DEVICES:
        _make_target(root + device, is_folder=False)
        _mount(device, root + device, None, _MS_BIND)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"{root}/dev/{name}")


def _may_write(path: str, plan: list[tuple[str, str]]) -> bool:
    above = [kind for parent, kind in plan if path == parent or path.startswith(parent + "/")]
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


def probe() -> IsolationReport:
    """Tries once, in a forked child, and checks from inside that the walls stand."""
    if sys.platform != "linux":
        return IsolationReport(NONE, f"no namespaces on {sys.platform}")
    with tempfile.TemporaryDirectory(prefix="mendel-probe-") as folder:
        for name in ("secret", "source", "out"):
            os.mkdir(os.path.join(folder, name))
        reason = _ask_inside(folder)
    return IsolationReport(NONE, reason) if reason else IsolationReport(NAMESPACES)


def _ask_inside(folder: str) -> str:
    """What is wrong with the namespaces, or an empty text."""
    uid, gid = os.geteuid(), os.getegid()
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb", buffering=0) as answer:
        try:
            child = fork()
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
    map_user(uid, gid)
    source, out = os.path.join(folder, "source"), os.path.join(folder, "out")
    enter(View(readable=(source,), writable=(out,)))
    drop_privileges()
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
