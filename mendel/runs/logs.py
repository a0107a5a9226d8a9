"""What a run prints, kept within bounds and without control characters: readers are terminals and models.

Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as the request spells them.
# ruff: noqa: PTH108, PTH116
from __future__ import annotations

import contextlib
import os
import re

from .sandbox.none import remove

PRINTED = 100_000_000
"""Bytes of output that end a run: more than any log, and soon reached by a loop gone wild."""
_MOST = 1_000_000
_TAIL = 4000

# Colours, cursor movements and titles; then what is left of the control characters, those of UTF-8 too, and
# the marks that turn the direction of text.
_SEQUENCES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)")
_CONTROLS = re.compile(
    rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)
_HALF = re.compile(rb"(?:\x1b[^\n]{0,200}|\xc2|\xe2[\x80\x81]?|\r)\Z")


def clean(data: bytes) -> bytes:
    """Without terminal escapes and control characters but tab and newline; a lone return becomes a line."""
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _CONTROLS.sub(b"", _SEQUENCES.sub(b"", data))


class Log:
    """A log file that keeps the beginning of the output, and at the end also its last bytes.

    A run may write to its own folder, so it could write here; `finish` puts the file right. The file is new:
    an earlier process may have left anything under this name, a link included. OSError: it cannot be made."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._kept = b""
        self._tail = b""
        self._seen = 0
        self._held = b""
        """The end, where it may be half of an escape or of a character that is removed."""
        self._fd = _create(path)

    @property
    def overflowed(self) -> bool:
        """More was printed than a run may."""
        return self._seen > PRINTED

    @property
    def tail(self) -> str:
        """The last few thousand bytes of the output."""
        return clean(self._tail + self._held).decode("utf-8", "replace")

    def write(self, data: bytes) -> None:
        """Adds output. Beyond what is kept it is only counted."""
        self._seen += len(data)
        self._tail = (self._tail + data)[-_TAIL:]
        if len(self._kept) >= _MOST:
            return
        data = self._held + data
        half = _HALF.search(data)
        end = half.start() if half else len(data)
        self._held = data[end:]
        self._append(clean(data[:end]))

    def finish(self) -> None:
        """Writes the end of the output, and the whole file anew if the run changed it."""
        if self._held:
            self._append(clean(self._held))
            self._held = b""
        if len(self._kept) >= _MOST and self._seen > _MOST:
            note = f"\n[{self._seen - _MOST} bytes of output left out; the end was:]\n".encode()
            self._append(note + clean(self._tail), cut=False)
        with contextlib.suppress(OSError):
            if _read(self._path, self._fd) != self._kept:
                os.close(self._fd)
                self._fd = _create(self._path)
                os.write(self._fd, self._kept)

    def _append(self, data: bytes, *, cut: bool = True) -> None:
        data = data[: _MOST - len(self._kept)] if cut else data
        self._kept += data
        with contextlib.suppress(OSError):  # a full disk must not end the watch
            os.write(self._fd, data)


def _create(path: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            remove(path)
        else:
            os.unlink(path)
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o644)


def _read(path: str, fd: int) -> bytes:
    """The file's content, empty where the name no longer stands for it."""
    with contextlib.suppress(OSError):
        there, ours = os.stat(path, follow_symlinks=False), os.fstat(fd)
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            return os.pread(fd, 2 * _MOST, 0)
    return b""
