"""Source trees as values: relative posix path -> text.

A recipe names its source by content hash, so that two recipes with the same files are the same recipe
wherever their folders lie. Text is kept exactly as it is on disk (line endings, a missing last newline):
a hash that depended on the platform that read the files would split the campaign's records.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mendel.records import Testbed

Tree = dict[str, str]


def read_tree(testbed: Testbed) -> Tree:
    """The files that `testbed.files` names. ValueError for a file that is missing, lies outside the
    testbed or is not UTF-8 text."""
    return {path: _read(testbed, path) for path in testbed.files}


def write_tree(tree: Mapping[str, str], folder: Path) -> None:
    """Write every file below `folder`, which is created if needed; other files there are left alone.

    A file that exists is replaced and never written through: code that ran in the folder before may
    have left links behind. ValueError for a path that would end up outside `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in tree.items():
        _check_relative(path, f"writing to {folder}")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"writing to {folder}: the folder of {path!r} is a link that leads outside")
        target.unlink(missing_ok=True)
        target.write_bytes(text.encode("utf-8"))


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Unified diff of the files that differ, in the order of their names; empty for equal trees."""
    parts: list[str] = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old != new:
            parts += difflib.unified_diff(
                _lines(old or ""),
                _lines(new or ""),
                "/dev/null" if old is None else f"a/{path}",
                "/dev/null" if new is None else f"b/{path}",
            )
    marked = (part if part.endswith("\n") else part + "\n\\ No newline at end of file\n" for part in parts)
    return "".join(marked)


def _lines(text: str) -> list[str]:
    # Not str.splitlines: it also cuts at form feeds and other characters that do not end a source line.
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _read(testbed: Testbed, path: str) -> str:
    where = f"{Path(testbed.folder, 'testbed.toml')}: `files`"
    _check_relative(path, where)
    source = Path(testbed.root, path)
    if path == testbed.score and not source.is_file():
        source = Path(testbed.folder, path)  # a score file may be written for the testbed, beside its source
    if not source.is_file():
        raise ValueError(f"{where} names {path!r}, but there is no file {source}")
    try:
        return source.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _check_relative(path: str, where: str) -> None:
    pure = PurePosixPath(path)
    plain = str(pure) == path and path != "." and "\\" not in path and "\0" not in path
    if pure.is_absolute() or ".." in pure.parts or not plain:
        raise ValueError(f"{where}: {path!r} is not allowed; use a plain path below the folder, as in a/b.py")
