"""Git, called so that it leaves alone what it reads.

A user's repository is read and never written: not a reference, not the index, no hook of it runs. So nothing
of the caller's GIT_* environment is passed on, locks that git takes for convenience are off, and so is
whatever git would start on the side.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

OPTIONS = (
    f"core.hooksPath={os.devnull}", "core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false",
    "protocol.version=2",
)  # fmt: skip
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""Environment in which git does the same for every user: for a repository of Mendel's own."""


class GitError(ValueError):
    """Git refused; the message is its own, in one line."""


class NoGit(GitError):
    """Git is not installed."""


def git(
    *arguments: str,
    folder: Path | None = None,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Standard output of `git ARGUMENTS` in `folder`, given `text`. GitError where it fails, NoGit where
    there is none. Paths that are no UTF-8 come as surrogates."""
    command = ["git", *(part for option in OPTIONS for part in ("-c", option)), *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment() | dict(environment or {}),
            input=(text or "").encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        if folder is not None and not folder.is_dir():
            raise GitError(f"{folder}: there is no such folder") from error
        raise NoGit("git is not installed, or not on the PATH") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit {done.returncode}"]
        # What git says first is what is wrong; hints follow.
        first = next((line for line in said if line.startswith(("fatal:", "error:"))), said[0])
        raise GitError(f"git {arguments[0]}: {first.partition(': ')[2] or first}")
    return done.stdout.decode("utf-8", "surrogateescape")


def ask(*arguments: str, folder: Path) -> str | None:
    """The first line of an answer, None where git has none. NoGit where there is no git."""
    try:
        return git(*arguments, folder=folder).split("\n")[0]
    except NoGit:
        raise
    except GitError:
        return None


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
    return kept | quiet
