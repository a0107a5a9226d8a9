"""What this machine offers the lab, in one look: libraries, cores, walls around runs, the store."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

from mendel import __version__
from mendel.campaign.config import ConfigError, Settings
from mendel.runs import ExecutorError, SandboxError
from mendel.runs.local import LocalExecutor
from mendel.runs.sandbox import AUTOMATIC, BACKENDS
from mendel.runs.sandbox.remedies import UNTESTED, refusal, remedies
from mendel.runs.sandbox.selfcheck import check
from mendel.testbeds import BUILT_IN, load_testbed
from mendel.yardstick import CorpusError, sealed_paths

KEY = "ANTHROPIC_API_KEY"


def examine(settings: Settings, allowed: Sequence[str] = (), image: str = "") -> dict[str, Any]:
    """Facts by name, and under `problems` what stands in the way, each with its remedy. `allowed` are the
    sandboxes that may be considered, all of them if it is empty. ConfigError: there is no such sandbox."""
    problems = []
    sandbox = _sandboxes(tuple(allowed) or tuple(BACKENDS), image)
    if not sandbox["chosen"]:
        refused = {name: sandbox["backends"][name]["reason"] for name in AUTOMATIC}
        problems.append(refusal(refused))
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
        "sandbox": sandbox,
        "testbeds": testbeds,
        "researchers": _researchers(),
        "root": str(settings.root.absolute()),
        "database": settings.database_url or (str(database) if database.is_file() else "none yet"),
        "problems": problems,
    }


def _researchers() -> str:
    """Whether the default models can be asked, and what that would add."""
    if os.environ.get(KEY):
        return f"{KEY} is set: mendel run --researchers models"
    return (
        f"none: with {KEY} set, `mendel run --researchers models` has Claude propose ideas, write and debug "
        "their code, forecast and explain; all else works without"
    )


def _sandboxes(allowed: tuple[str, ...], image: str) -> dict[str, Any]:
    """Each sandbox with its self-check; which one `auto` takes; what machine-written patches may do."""
    for name in allowed:
        if name not in BACKENDS:
            raise ConfigError(f"command line: sandbox: {name!r} is not one of {', '.join(BACKENDS)}")
    try:
        hidden = sealed_paths()
    except CorpusError:  # its packages are not installed, so runs are not scored on them
        hidden = ()
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda name: _sandbox(name, name in allowed, image, hidden), BACKENDS)
        backends = dict(zip(BACKENDS, found, strict=True))
    by_name = allowed if len(allowed) < len(BACKENDS) else ()  # what a container needs, its user must say
    named = [name for name in by_name if name not in (*AUTOMATIC, "none")]
    chosen = next((name for name in (*AUTOMATIC, *named) if backends[name]["available"]), "")
    refused = {name: backends[name]["reason"] for name in AUTOMATIC if backends[name]["reason"]}
    unusable = {name: reason for name, reason in refused.items() if name in allowed}
    return {
        "chosen": chosen,
        "machine_written": _consequence(chosen, bool(chosen) and backends[chosen]["passed"]),
        "backends": backends,
        "remedies": remedies(unusable),
        "untested": list(UNTESTED),
    }


def _sandbox(name: str, considered: bool, image: str, hidden: tuple[Path, ...]) -> dict[str, Any]:
    facts: dict[str, Any] = {"available": False, "reason": "", "passed": False, "checks": {}}
    if not considered:
        return {**facts, "reason": "not considered: --sandbox or mendel.toml names others"}
    try:
        # Asked in a process of its own, which has one thread: what it tries, it tries in a fork.
        executor = LocalExecutor(workers=2, sandbox=name, image=image, hidden=hidden)
    except SandboxError as error:
        return {**facts, "reason": error.refused[name]}
    facts["available"] = True
    try:
        with closing(executor):
            checks = check(executor, full=True)
    except ExecutorError as error:
        return {**facts, "reason": str(error)}
    facts["checks"] = {one.name: {"passed": one.passed, "detail": one.detail} for one in checks}
    return {**facts, "passed": all(one.passed for one in checks)}


def _consequence(chosen: str, passed: bool) -> str:
    if not chosen:
        return "refused, and so are all other runs: there is no sandbox"
    if not passed:
        return f"refused: {chosen} did not pass its self-check"
    return f"run in {chosen}, which passed its self-check"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
