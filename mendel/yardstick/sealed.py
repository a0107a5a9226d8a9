"""Where the sealed text of the default corpus lies on this machine, so that a sandbox can cover it.

It comes from installed packages, which code under test may read. The folders that hold it are covered, and
with them every other copy that the sandbox would show: other installs, compiled copies, archives. They are
found by their names, in all that an interpreter and the system's folders hold; `grams.visible_copies` finds
by content what a name does not tell.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mendel.yardstick.corpus import SEALED
from mendel.yardstick.sources import CorpusError, package_folders

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
"""Folders of the system that a sandbox shows."""

_PACKAGES = frozenset(folder.split("/")[0] for folder in SEALED)
_NAMES = "|".join(sorted(_PACKAGES))
_INSIDE = re.compile(rf"(^|/)({'|'.join(SEALED)})/")
_ZIP = re.compile(r"\.(whl|egg|zip|pyz|pex)$", re.I)
_ARCHIVE = re.compile(
    rf"({_NAMES}).*\.(whl|egg|zip|pyz|pex|tar|t?gz|t?bz2?|t?xz|t?zst|conda|deb|rpm|apk|7z|rar)$", re.I
)
_MANUAL = re.compile(rf"({_NAMES})-docs?$", re.I)
_ASK = """
import json, os, sys
found = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
print(json.dumps([sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *found]))
"""


def sealed_paths(
    python: str | Path = sys.executable, site_packages: Path | None = None, more: Sequence[Path] = ()
) -> tuple[Path, ...]:
    """The folders and files to cover: those of the packages that the corpus is built from, and all copies
    below the folders that the interpreter `python` loads from, the system's, and `more`.

    By name: each folder of `SEALED` below any folder of its package's name, so with compiled copies; zip
    archives by what they hold, other archives and manuals by their own name (a tar archive of another name is
    not opened). By inode: hard links to the sealed files. Symbolic links are not followed: what they lead to
    is covered where it lies. The answer is kept for the life of the process.
    CorpusError: `python` does not start, or the packages are not there.
    """
    packages = package_folders(site_packages)
    own = tuple(str(packages[name.split("/")[0]].parent / name) for name in SEALED)
    above = {str(folder.parent) for folder in packages.values()}
    roots = {*above, *SYSTEM, *interpreter_folders(str(python)), *map(str, more)}
    found = _copies(tuple(sorted({str(Path(root).resolve()) for root in roots})), own)
    return tuple(Path(path) for path in dict.fromkeys((*own, *found)))


@functools.cache
def interpreter_folders(python: str) -> tuple[str, ...]:
    """Where the interpreter loads code from: its prefixes and the package folders on its path."""
    try:
        said = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, timeout=60, check=True)
        return tuple(json.loads(said.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise CorpusError(f"{python}: it does not say where its packages lie ({error})") from error


@functools.cache
def _copies(roots: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    sealed = (path.stat() for folder in own for path in Path(folder).rglob("*") if path.is_file())
    originals = {status.st_ino: status.st_dev for status in sealed}
    folders: set[str] = set()
    files: set[str] = set()
    seen: set[str] = set()
    rest = list(roots)
    while rest:
        folder = rest.pop()
        if folder in seen:
            continue
        seen.add(folder)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        rest.append(entry.path)
                        folders.update(_sealed_in(entry))
                    elif _is_archive(entry) or (
                        entry.inode() in originals
                        and entry.stat(follow_symlinks=False).st_dev == originals[entry.inode()]
                    ):
                        files.add(entry.path)
        except OSError:  # gone, or not for us; then it is not for a run either
            continue
    files = {path for path in files if not any(str(above) in folders for above in Path(path).parents)}
    return tuple(sorted(folders | files))


def _sealed_in(folder: os.DirEntry[str]) -> Iterator[str]:
    package = folder.name.lower()
    if package in _PACKAGES:
        inner = [name.partition("/")[2] for name in SEALED if name.startswith(f"{package}/")]
        yield from (path for name in inner if Path(path := f"{folder.path}/{name}").is_dir())
    elif _MANUAL.search(package):
        yield folder.path


def _is_archive(file: os.DirEntry[str]) -> bool:
    """Whether a file is an archive that holds sealed text, or may do so."""
    if _ARCHIVE.search(file.name):
        return True
    if not _ZIP.search(file.name):
        return False
    try:
        with zipfile.ZipFile(file.path) as archive:
            return any(_INSIDE.search(name) for name in archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
