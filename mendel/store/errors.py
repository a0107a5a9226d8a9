"""The one error of the store, and how errors of the file system become it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreError(Exception):
    """What went wrong with the database or the folders, in one line that says what to do."""


@contextmanager
def explained_os_error(path: Path) -> Iterator[None]:
    """Turn an error of the file system at `path` into a StoreError that names the path and the cause."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"{where}: the disk is full ({_free(path):,} bytes free); make room and run the same command "
                "again, nothing that was recorded is lost"
            ) from error
        raise StoreError(f"{where}: {os.strerror(error.errno or 0)}") from error


def _free(path: Path) -> int:
    """Bytes free on the disk of `path`, which itself may not exist yet."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free
