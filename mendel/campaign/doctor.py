"""What this machine offers the lab, in one look: libraries, cores, isolation, the store."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from mendel import __version__
from mendel.campaign.config import Settings
from mendel.runs.isolation import probe
from mendel.testbeds import BUILT_IN, load_testbed


def examine(settings: Settings) -> dict[str, Any]:
    """Facts by name, and under `problems` what stands in the way, each with its remedy."""
    problems = []
    isolation = probe()
    if isolation.warning:
        problems.append(
            f"{isolation.warning}; to isolate them, allow unprivileged user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1, or an AppArmor profile that permits userns)"
        )
    testbeds = {}
    for name in BUILT_IN:
        testbed = load_testbed(name)
        missing = [m for m in dict.fromkeys(m.split(".")[0] for m in testbed.preload) if not _version(m)]
        testbeds[name] = f"needs {', '.join(missing)}" if missing else "ready"
        if missing:
            problems.append(f"testbed {name} needs {', '.join(missing)}: pip install 'mendel[gpt]'")
    database = settings.root / "mendel.db"
    return {
        "mendel": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": _version("torch"),
        "isolation": isolation.level,
        "isolation_reason": isolation.reason,
        "testbeds": testbeds,
        "root": str(settings.root.absolute()),
        "database": settings.database_url or (str(database) if database.is_file() else "none yet"),
        "problems": problems,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
