"""What to do where no sandbox works: the settings of this machine that forbid one, each with its remedy.

Standard library only, as everything the zygote loads.
"""

# ruff: noqa: PTH123
from __future__ import annotations

import contextlib
import shutil
import sys

UNTESTED = (
    "macOS: sandbox-exec; runs there only with --unsafe-no-sandbox",
    "Windows: run Mendel inside WSL2, which is Linux",
    "docker and apptainer: their commands were tried with a stand-in, not with a real engine",
    "graphics cards inside a sandbox: their devices are let through, no card was there to try",
    "aarch64: the tables of system calls are there, no such machine was",
)
UNSAFE = "to go on without walls: --unsafe-no-sandbox (run only code that you trust)"

_SETTINGS = (
    # (file, value that forbids namespaces, remedy)
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo apt install bubblewrap apparmor-profiles && sudo ln -s "
        "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && sudo systemctl reload "
        "apparmor; or sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def remedies(refused: dict[str, str]) -> list[str]:
    """Commands and changes, best first, for the backends that were refused."""
    if sys.platform != "linux":
        return ["run Mendel on Linux, or on Windows inside WSL2"]
    found = []
    if {"namespaces", "bubblewrap"} & refused.keys():
        found += [remedy for path, bad, remedy in _SETTINGS if _read(path) == bad]
        if not found:
            found.append("in a container, allow namespaces (docker run --security-opt seccomp=unconfined)")
    if "bubblewrap" in refused and not shutil.which("bwrap"):
        found.append("sudo apt install bubblewrap")
    if "landlock" in refused:
        found.append("boot a kernel from 5.13 on with landlock in lsm= (cat /sys/kernel/security/lsm)")
    found += [f"install {name}, and give it an image" for name in ("docker", "apptainer") if name in refused]
    return found


def refusal(refused: dict[str, str]) -> str:
    """Why runs cannot start, and every way out, in one line."""
    why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    return f"no sandbox works here ({why}). What helps: {'; or '.join([*remedies(refused), UNSAFE])}"


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path) as file:
        return file.read().strip()
    return ""
