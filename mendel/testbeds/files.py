"""Which files of a folder are a testbed's source: those that are named, or the text files that git knows.

A recipe holds the source as text, so that it is known by its content; data are no source (`inputs`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mendel.testbeds.git import GitError, git

MOST_BYTES = 1 << 20
"""Size from which a text file is data and no source, unless it is named."""
MOST_FILES = 2000
_PASSED_BY = ("__pycache__", ".*", "*.egg-info", "node_modules", "venv", "out", "out-*", "wandb", "runs")
"""Folders that hold no source, where git does not say which do."""
_OWN = ("testbed.toml", "mendel.toml", "ideas.toml")


class FilesError(ValueError):
    """A pattern that matches nothing, or a folder that cannot be a testbed's source."""


def source_files(root: Path, patterns: Sequence[str]) -> list[str]:
    """Posix paths below `root` of the files that the patterns name, in order and once; without patterns of
    all text files that git knows (untracked ones that it does not ignore too), or that lie there.
    FilesError where there are none, or too many."""
    if not patterns:
        found = [path for path in _known(root) if _is_source(root / path)]
        if not found:
            raise FilesError(f"files: {root} has no text files")
        if len(found) > MOST_FILES:
            raise FilesError(f"files: {len(found):,} text files in {root}; name those that are the source")
        return found
    return chosen("files", patterns, None, root)


def chosen(
    key: str, patterns: Iterable[str], files: Sequence[str] | None, root: Path | None = None
) -> list[str]:
    """The files that the patterns match, in order and once: of `files`, or of all below `root`. `*` stops at
    a folder, `**` does not. FilesError for a pattern that matches none."""
    names: Sequence[str] | None = files
    found: dict[str, None] = {}
    for pattern in patterns:
        plain = not set("*?[") & set(pattern)
        if root is not None and plain:
            if not (root / pattern).is_file():
                raise FilesError(f"{key}: {pattern!r} does not exist in {root}")
            found[pattern] = None
            continue
        if names is None:
            assert root is not None
            names = _known(root)
        matched = [name for name in names if matches(name, pattern)]
        if not matched:
            raise FilesError(
                f"{key}: {pattern!r} is not in files ({', '.join(names[:12])}{', ...' * (len(names) > 12)})"
            )
        found.update(dict.fromkeys(matched))
    return list(found)


def matches(path: str, pattern: str) -> bool:
    """Whether a posix path is one of a pattern's: `*` within a folder, `**` for any folders."""
    return _matches(path.split("/"), pattern.split("/"))


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _known(root: Path) -> list[str]:
    with contextlib.suppress(GitError):  # in no repository, or no git here
        listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=root)
        paths = [path for path in listed.split("\0") if path and not _is_ours(path)]
        return sorted(path for path in paths if (root / path).is_file())
    found = []
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not any(fnmatchcase(name, one) for one in _PASSED_BY))
        here = Path(folder).relative_to(root)
        found += [(here / name).as_posix() for name in names]
        if len(found) > 50 * MOST_FILES:
            raise FilesError(
                f"files: {root} holds too many files to look through; name those that are the source"
            )
    return sorted(path for path in found if not _is_ours(path))


def _is_ours(path: str) -> bool:
    """Whether it is a file of a lab that lies in its testbed's folder."""
    return path in _OWN or path.split("/", 1)[0] == ".mendel"


def _is_source(path: Path) -> bool:
    """Text, and not too much of it."""
    try:
        if path.is_symlink() or path.stat().st_size > MOST_BYTES:
            return False
        path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return b"\0" not in path.read_bytes()
