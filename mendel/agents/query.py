"""The tool for SQL: one reading statement on a copy of what the other tools tell.

The query never meets the store. Tables are filled in memory from what `sight` lets an agent see, so no join,
view or name can reach held-out scores, blanks or another file; an authorizer refuses everything but reading,
and time, rows and sizes are limited.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Annotated, Any

from pydantic import Field

from mendel.agents.desk import Desk
from mendel.agents.reading import campaign_row
from mendel.agents.seen import (
    CampaignSeen,
    EventSeen,
    FindingSeen,
    IdeaSeen,
    PlanSeen,
    Rows,
    RunSeen,
    Seen,
    VerdictSeen,
)
from mendel.agents.sight import Sight, look
from mendel.campaign.config import ConfigError
from mendel.report.text import clean

TABLES: dict[str, type[Seen]] = {
    "campaigns": CampaignSeen,
    "ideas": IdeaSeen,
    "plans": PlanSeen,
    "runs": RunSeen,
    "verdicts": VerdictSeen,
    "findings": FindingSeen,
    "events": EventSeen,
}
CAMPAIGNS = 20
QUERY = 4_000
"""Characters of a statement."""
ROWS = 200
CELL = 1_000
ANSWER = 40_000
"""Characters of all cells together."""
SECONDS = 5.0
STEPS = 1_000
"""Instructions of SQLite between two looks at the clock."""
LONGEST = 1_000_000
"""Bytes of a value that a query makes."""
READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


def schema() -> str:
    """The tables with their columns, one a line."""
    return "\n".join(f"{name}({', '.join(kind.model_fields)})" for name, kind in TABLES.items())


def sql(
    desk: Desk,
    query: Annotated[str, Field(min_length=1, max_length=QUERY, description="One SELECT, as SQLite has it.")],
    campaigns: Annotated[
        list[str], Field(max_length=CAMPAIGNS, description="Ids of campaigns; empty for the latest.")
    ] = [],  # noqa: B006
) -> Rows:
    """Ask a question in SQL (SQLite, one SELECT) about campaigns: at most 200 rows and 5 seconds.

    It sees a copy of what the other tools tell, and changes nothing. Lists are JSON. The tables:
    """
    chosen = [desk.campaign(id) for id in campaigns or [""]]
    with closing(sqlite3.connect(":memory:")) as connection:
        for table, kind in TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({', '.join(kind.model_fields)})")
        for campaign in chosen:
            _fill(connection, "campaigns", [campaign_row(desk.store, campaign)])
            for table, rows in _rows(look(desk.store, campaign)):
                _fill(connection, table, rows)
        connection.commit()
        return _ask(connection, query)


def _rows(sight: Sight) -> Iterator[tuple[str, Sequence[Seen]]]:
    yield "ideas", sight.ideas()
    yield "plans", sight.plans()
    yield "runs", sight.runs()
    yield "verdicts", sight.verdicts()
    yield "findings", sight.findings()
    yield "events", sight.events()


def _fill(connection: sqlite3.Connection, table: str, rows: Sequence[Seen]) -> None:
    places = ", ".join("?" * len(TABLES[table].model_fields))
    values = ([_plain(value) for value in row.model_dump(mode="json").values()] for row in rows)
    connection.executemany(f"INSERT INTO {table} VALUES ({places})", values)


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _ask(connection: sqlite3.Connection, query: str) -> Rows:
    with _locked(connection) as refused:
        try:
            cursor = connection.execute(query)
            if cursor.description is None:
                raise ConfigError("query: it reads nothing; one SELECT is allowed")
            columns = [name for name, *_ in cursor.description]
            rows, cut = _cut(cursor)
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
            raise ConfigError(f"query: {_words(error, refused)}") from None
    return Rows(columns=columns, rows=rows, cut=cut)


@contextmanager
def _locked(connection: sqlite3.Connection) -> Iterator[list[str]]:
    """Let a connection do nothing but read, and not for long; yields what was refused so far."""
    refused: list[str] = []
    deadline = time.monotonic() + SECONDS

    def allow(action: int, first: str | None, *_: str | None) -> int:
        if action in READING:
            return sqlite3.SQLITE_OK
        refused.append(first or str(action))
        return sqlite3.SQLITE_DENY

    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    connection.set_authorizer(allow)
    yield refused


def _cut(cursor: Iterable[Sequence[Any]]) -> tuple[list[list[str | int | float | None]], bool]:
    """The first rows, as many as fit an answer, and whether there are more."""
    rows: list[list[str | int | float | None]] = []
    size = 0
    for row in cursor:
        cells = [_cell(value) for value in row]
        size += sum(len(str(cell)) for cell in cells)
        if len(rows) == ROWS or (rows and size > ANSWER):
            return rows, True
        rows.append(cells)
    return rows, False


def _cell(value: Any) -> str | int | float | None:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return clean(value, CELL) if isinstance(value, str) else value


def _words(error: Exception, refused: Sequence[str]) -> str:
    if refused:
        return "only reading is allowed: one SELECT on " + ", ".join(TABLES)
    if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
        return f"it took more than {SECONDS:g} seconds; ask for less"
    told = clean(error, 200)
    return f"{told}; the tables are {', '.join(TABLES)}" if "no such table" in told else told
