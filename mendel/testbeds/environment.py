"""The interpreter that runs a testbed: Mendel's own, one that is there, or one built from a lock file."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from mendel.records import Testbed, content_hash
from mendel.testbeds.contract import FILE, TestbedError

BUILD_TIMEOUT = 3600
_ASK = """
import importlib.util, json, platform, sys
from importlib import metadata
found = {}
for module in sys.argv[1:]:
    if importlib.util.find_spec(module) is None:
        found[module] = None
    elif module in sys.stdlib_module_names:
        found[module] = platform.python_version()
    else:
        names = [module] if module in {d.metadata["Name"] for d in metadata.distributions()} else sorted(
            set(metadata.packages_distributions().get(module, [])))
        found[module] = " ".join(metadata.version(name) for name in names) or "unknown"
print(json.dumps(found))
"""
"""Versions of modules, None for one that is not there."""


def interpreter(testbed: Testbed, root: Path) -> str:
    """The path of the testbed's interpreter. Where it names `requirements`, an environment is built from
    them below `root`, once for each content and version of Python. TestbedError where that fails, or where
    there is no interpreter."""
    if not testbed.requirements:
        if "/" in testbed.python and not Path(testbed.python).is_file():
            raise TestbedError(f"{testbed.folder}/{FILE}: python: there is no file {testbed.python}")
        return testbed.python
    wanted, home = Path(testbed.folder, testbed.requirements), _home(testbed, root)
    python = home / "bin" / "python"
    done = home / "built"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)  # what an earlier attempt left half built
        _build([sys.executable, "-m", "venv", str(home)], testbed)
        _build([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(wanted)], testbed)
        done.touch()
    return str(python)


def built(testbed: Testbed, root: Path) -> str:
    """The path of the testbed's interpreter, whether it is there or not: nothing is built."""
    return str(_home(testbed, root) / "bin" / "python") if testbed.requirements else testbed.python


def _home(testbed: Testbed, root: Path) -> Path:
    """Where the environment of a testbed's `requirements` lies, or will."""
    wanted = Path(testbed.folder, testbed.requirements).read_text(encoding="utf-8")
    return root / "environments" / content_hash([wanted, platform.python_version()])


def _build(command: list[str], testbed: Testbed) -> None:
    where = f"{testbed.folder}/{FILE}: requirements: {testbed.requirements!r}"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            cwd=testbed.folder,
            errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TestbedError(f"{where} cannot be built: {error}") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no reason given"]
        raise TestbedError(f"{where} cannot be built: {errors[0]:.300}")


def versions(python: str, modules: Iterable[str]) -> dict[str, str | None]:
    """Versions of top-level modules as an interpreter finds them; None for one that it does not have.
    TestbedError where it does not start."""
    names = sorted({module.split(".")[0] for module in modules})
    if python == sys.executable:
        return {name: _version(name) for name in names}
    if not names:
        return {}
    try:
        done = subprocess.run(
            [python, "-I", "-c", _ASK, *names], capture_output=True, text=True, timeout=120, errors="replace"
        )
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise TestbedError(f"python: {python} does not work as an interpreter: {error}") from None


def _version(module: str) -> str | None:
    """Of the distribution that brings a module; modules of the standard library have Python's."""
    if find_spec(module) is None:
        return None
    if module in sys.stdlib_module_names:
        return platform.python_version()
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:  # a distribution may have another name than its module
        brought_by = metadata.packages_distributions().get(module, [])
        return " ".join(metadata.version(name) for name in sorted(set(brought_by))) or "unknown"
