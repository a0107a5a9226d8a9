"""One database: opening it, migrating it, transactions, and errors a user can act on.

Why the transactions are explicit: the campaign loop may be killed at any instruction, so what belongs
together (a decision and its effects) must be one transaction. SQLite's driver opens transactions late by
default, and a reader that turns writer can then fail at once whatever the timeout; here a writer says so
from the start (BEGIN IMMEDIATE) and waits its turn.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from mendel.store.errors import StoreError, explained_os_error
from mendel.store.folders import file_lock
from mendel.store.migrations import HEAD, revision, upgrade

_opening = threading.Lock()
"""Threads of one process open one database at a time; `file_lock` keeps out other processes only."""


class Database:
    """A migrated database at `url`, by default the file `mendel.db` in the folder `root`.

    `timeout` is how many seconds to wait for another writer. Threads may share one Database. A process
    that forks must not use it in the child.
    """

    def __init__(self, root: Path, url: str | None = None, timeout: float = 30.0) -> None:
        self.root = Path(root).absolute()
        self.timeout = timeout
        self._local = threading.local()
        with explained_os_error(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        self._url = _parse(url) if url else URL.create("sqlite", database=str(self.root / "mendel.db"))
        self.place = self._url.database if self._sqlite else self._url.render_as_string(hide_password=True)
        self._engine = self._make_engine()
        self._writer = self._engine.execution_options(mendel_writes=True)
        # Two processes that create the file together would collide while switching it to WAL mode.
        with _opening, file_lock(self.root / "open.lock"):
            self._migrate()

    def close(self) -> None:
        """Close all connections; the store may not be used afterwards."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Everything inside happens, or nothing does. A transaction inside another joins the outer one,
        and an error that leaves the inner one undoes the outer one too, even where it is caught.

        Raises StoreError where the database is locked, full or damaged.
        """
        outer = self._current()
        if outer is not None:
            try:
                yield outer
            except BaseException as error:
                self._local.failure = error
                raise
            return
        with self._explained(), self._writer.begin() as connection:
            self._local.connection, self._local.failure = connection, None
            try:
                yield connection
            finally:
                self._local.connection = None
            if self._local.failure is not None:
                raise StoreError(
                    f"{self.place}: nothing of this transaction was kept, because a part of it failed: "
                    f"{self._local.failure}"
                ) from self._local.failure

    def _migrate(self) -> None:
        # Looking first: a command that only reads then opens the store while a campaign is writing.
        with self._reading() as connection:
            current = revision(connection) == HEAD
        if not current:
            with self.transaction() as connection:
                upgrade(connection, str(self.place))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection to read from; inside a transaction, that transaction's own, so it sees its writes."""
        outer = self._current()
        if outer is not None:
            yield outer
            return
        with self._explained(), self._engine.begin() as connection:
            yield connection

    def _current(self) -> Connection | None:
        connection: Connection | None = getattr(self._local, "connection", None)
        return connection

    @property
    def _sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _make_engine(self) -> Engine:
        try:
            if not self._sqlite:
                return create_engine(self._url, pool_pre_ping=True)
            engine = create_engine(self._url)
        except NoSuchModuleError as error:
            raise StoreError(f"{self.place}: allowed are sqlite:// and postgresql:// ({error})") from error
        except ModuleNotFoundError as error:
            raise StoreError(
                f"{self.place}: the driver {error.name!r} is not installed; pip install psycopg"
            ) from error
        event.listen(engine, "connect", self._set_pragmas)
        event.listen(engine, "begin", _begin)
        return engine

    def _set_pragmas(self, connection: Any, _: object) -> None:
        # With no isolation level the driver leaves BEGIN to us, see `_begin`.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={round(self.timeout * 1000)}")
        mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                f"{self.place}: this file system has no SQLite WAL mode (journal mode is {mode!r}); "
                "use a root folder on a local disk, or a PostgreSQL URL"
            )
        # FULL: a commit is on the disk when it returns. NORMAL would survive a kill just as well, but a
        # power cut could take back a recorded opening of the held-out shard, or a run. There are a few
        # commits per run, and a run takes seconds: the sync is a small price.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreError(self._explain(error)) from error

    def _explain(self, error: DBAPIError) -> str:
        """One line: which database, what is wrong, what to do."""
        code = getattr(error.orig, "sqlite_errorname", "")
        told = str(error.orig).strip().partition("\n")[0]
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return (
                f"{self.place}: locked by another process for more than {self.timeout:g} s; end that process "
                f"(`fuser {self.place}` shows it) and run the same command again"
            )
        if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            free = shutil.disk_usage(self.root).free
            return (
                f"{self.place}: {told} ({free:,} bytes free on that disk); make room and run the same "
                "command again, nothing that was recorded is lost"
            )
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return f"{self.place}: {told}; check who may write to this file and its folder"
        if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return f"{self.place}: {told}; restore it from a copy, or give another root folder"
        return f"{self.place}: {told}"


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("mendel_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(
            f"database URL {url!r}: not understood; allowed are sqlite:///PATH and postgresql://..."
        ) from error
    # Which driver a bare postgresql:// means depends on the version of SQLAlchemy.
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed
