"""Seccomp: system calls that a run has no use for, refused by a filter in the kernel.

Namespaces and Landlock say what a run can reach; most escapes from them begin with one of these calls
(mounts, new namespaces, tracing, io_uring, user-fault handling, kernel modules). The filter cannot be taken
off again and is inherited by every process that the run starts.

Numbers: asm/unistd_64.h and asm-generic/unistd.h. Standard library only, as everything the zygote loads.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass

from . import linux

# <linux/seccomp.h>, <linux/audit.h>, <linux/bpf_common.h>
_RET_KILL, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_X32 = 0x40000000

_NEW_NAMESPACES = 0x7E020000 | 0x80
"""All CLONE_NEW* flags: files, groups of control, names, IPC, users, processes, network, time."""
_PR_SET_DUMPABLE = 4

# name: (x86_64, aarch64); None where an architecture has no such call.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    **{"mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51)},
    **{"open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431)},
    **{"fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442)},
    **{"open_tree_attr": (467, 467), "unshare": (272, 97), "setns": (308, 268), "clone": (56, 220)},
    **{"clone3": (435, 435), "ptrace": (101, 117), "process_vm_readv": (310, 270)},
    **{"process_vm_writev": (311, 271), "process_madvise": (440, 440), "kcmp": (312, 272)},
    **{"pidfd_getfd": (438, 438), "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219)},
    **{"add_key": (248, 217), "request_key": (249, 218), "userfaultfd": (323, 282)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    **{"kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105)},
    **{"finit_module": (313, 273), "delete_module": (176, 106), "open_by_handle_at": (304, 265)},
    **{"name_to_handle_at": (303, 264), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142)},
    **{"syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443)},
    **{"settimeofday": (164, 170), "clock_settime": (227, 112), "sethostname": (170, 161)},
    **{"setdomainname": (171, 162), "vhangup": (153, 58), "iopl": (172, None), "ioperm": (173, None)},
    **{"modify_ldt": (154, None), "fanotify_init": (300, 262), "lookup_dcookie": (212, 18)},
    **{"shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180)},
    **{"memfd_create": (319, 279), "memfd_secret": (447, 447), "prctl": (157, 167), "socket": (41, 198)},
    **{"setsid": (112, 157), "setpgid": (109, 154), "kill": (62, 129), "tkill": (200, 130)},
    **{"tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240)},
    **{"pidfd_send_signal": (424, 424), "prlimit64": (302, 261), "setpriority": (141, 140)},
    **{"ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118)},
    **{"sched_setattr": (314, 274), "sched_setaffinity": (203, 122), "migrate_pages": (256, 238)},
    **{"move_pages": (279, 239), "inotify_init": (253, None), "inotify_init1": (294, 26)},
    **{"chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452)},
    **{"chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54)},
    **{"utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88)},
    **{"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463)},
    **{"removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16)},
    **{"removexattrat": (466, 466), "file_setattr": (469, 469), "truncate": (76, 45)},
    **{"open": (2, None), "openat": (257, 56), "openat2": (437, 437), "fcntl": (72, 25)},
}


@dataclass(frozen=True)
class Where:
    """A condition on the low half of an argument: `argument & mask` is `value`, or is not."""

    argument: int
    value: int
    mask: int = 0xFFFFFFFF
    is_not: bool = False


@dataclass(frozen=True)
class Rule:
    """What becomes of the named calls where all conditions hold. The first rule that fits decides."""

    names: tuple[str, ...]
    error: int | None = errno.EPERM
    """What the call returns without being made; 0 pretends that it worked, None makes it."""
    where: tuple[Where, ...] = ()


COMMON = (
    Rule(
        (
            *("mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig"),
            *("fsmount", "fspick", "mount_setattr", "open_tree_attr", "unshare", "setns"),
            *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd"),
            *("bpf", "perf_event_open", "keyctl", "add_key", "request_key", "userfaultfd"),
            *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
            *("open_by_handle_at", "name_to_handle_at", "swapon", "swapoff", "reboot", "syslog", "acct"),
            *("quotactl", "quotactl_fd", "settimeofday", "clock_settime", "sethostname", "setdomainname"),
            *("vhangup", "iopl", "ioperm", "modify_ldt", "fanotify_init", "lookup_dcookie"),
            *("shmget", "msgget", "semget", "mq_open"),
        )
    ),
    # Callers take "not known to this kernel" as a reason to go another way. Memory of a nameless file is in
    # nobody's resident set, so it would escape the memory limit.
    Rule(
        ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_create", "memfd_secret"),
        errno.ENOSYS,
    ),
    Rule(("clone",), where=(Where(0, 0, _NEW_NAMESPACES, is_not=True),)),
    # Its supervisor looks at the files it holds open.
    Rule(("prctl",), where=(Where(0, _PR_SET_DUMPABLE),)),
)
"""For every backend. Threads, processes, pipes, sockets and locks go on working."""


def refusal() -> str:
    """Why there is no filter here, or an empty text."""
    if sys.platform != "linux":
        return f"no seccomp on {sys.platform}"
    if platform.machine() not in _ARCHITECTURES or struct.calcsize("P") != 8:
        return f"no seccomp filter for {platform.machine()}"
    return ""


def forbid(rules: tuple[Rule, ...]) -> None:
    """Puts the filter on this process, all its threads and whatever they start. Needs no right but
    `forbid_new_privileges`. OSError: the kernel refuses."""
    program = _assemble(rules)
    code = (ctypes.c_uint64 * (len(program) // 8)).from_buffer_copy(program)
    # struct sock_fprog: length, six bytes of padding, address.
    filter_ = (ctypes.c_uint64 * 2)(len(program) // 8, ctypes.addressof(code))
    number = _SYS_SECCOMP[platform.machine()]
    done = linux.libc().syscall(number, _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(filter_))
    if linux.check(done, "seccomp") > 0:
        raise OSError(errno.EBUSY, "seccomp: a thread cannot be filtered")


def _assemble(rules: tuple[Rule, ...]) -> bytes:
    """The filter as classic BPF over `struct seccomp_data` (number, architecture, ..., six arguments)."""
    column = list(_ARCHITECTURES).index(platform.machine())
    machine = _ARCHITECTURES[platform.machine()]
    lines = [
        *(_line(_LOAD, 4), _line(_EQUAL, machine, 1, 0), _line(_RETURN, _RET_KILL)),
        # The other table of calls that x86 has: same architecture, other numbers.
        *(_line(_LOAD, 0), _line(_AT_LEAST, _X32, 0, 1), _line(_RETURN, _RET_ERRNO | errno.ENOSYS)),
    ]
    for rule in rules:
        action = _RET_ALLOW if rule.error is None else _RET_ERRNO | rule.error
        for name in rule.names:
            number = _NUMBERS[name][column]
            if number is not None:
                lines += _lines_of(number, action, rule.where)
    return b"".join([*lines, _line(_RETURN, _RET_ALLOW)])


def _lines_of(number: int, action: int, where: tuple[Where, ...]) -> list[bytes]:
    tests: list[bytes] = []
    left = 3 * len(where) + 1
    """Lines from here to the one that restores the number of the call."""
    for one in where:
        left -= 3
        miss = (left, 0) if one.is_not else (0, left)
        tests += [_line(_LOAD, 16 + 8 * one.argument), _line(_AND, one.mask), _line(_EQUAL, one.value, *miss)]
    tests.append(_line(_RETURN, action))
    if where:
        tests.append(_line(_LOAD, 0))
    return [_line(_EQUAL, number, 0, len(tests)), *tests]


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One `struct sock_filter`."""
    return struct.pack("<HBBI", code, if_true, if_false, value)
