"""System calls that the walls need and Python does not offer, through libc.

Standard library only, as everything the zygote loads.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import platform
import signal
import socket
import struct
import sys

# <sched.h>, <sys/prctl.h>, <linux/capability.h>
_CLONE_ALL = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_CAPABILITY_VERSION_3 = 0x20080522


@functools.cache
def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def check(result: int, action: str) -> int:
    """The result of a system call; OSError that names `action` where it failed."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{action}: {os.strerror(code)}")
    return result


def prctl(option: int, value: int) -> int:
    if sys.platform != "linux":
        return 0
    zero = ctypes.c_ulong(0)
    return int(libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def die_with_parent() -> None:
    """The kernel kills this process when the one that forked it ends, however that ends."""
    prctl(_PR_SET_PDEATHSIG, 9)


def adopt_orphans() -> None:
    """Descendants whose parent has ended become children of this process, so that none can slip away."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def protect_memory() -> None:
    """Other processes of the same user can no longer trace this one or write into its memory."""
    prctl(_PR_SET_DUMPABLE, 0)


def be_traceable() -> None:
    """Undoes `protect_memory` in a forked child, which inherited it."""
    prctl(_PR_SET_DUMPABLE, 1)


def forbid_new_privileges() -> None:
    """Executables cannot gain rights (set-user-id files)."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_privileges() -> None:
    """No capability is left, and none can come back through an executable."""
    forbid_new_privileges()
    for capability in range(64):
        if prctl(_PR_CAPBSET_DROP, capability) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    check(libc().capset(header, (ctypes.c_uint32 * 6)()), "capset")


def raise_loopback() -> None:
    """Switches on the loopback device of this process's own network, where there is nothing else: processes
    of one run talk over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def fork_into_namespaces() -> int:
    """Like `os.fork`, with the child as process 1 of new namespaces; it maps its user first.

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
