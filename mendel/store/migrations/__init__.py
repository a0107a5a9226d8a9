"""Bring a database to the schema of this version, without an alembic.ini or a command to remember.

To change the schema: edit `tables.py`, add `versions/000N_what.py`, set `HEAD`. A test compares a migrated
database with `tables.py`, so neither can be forgotten.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from mendel.store.errors import StoreError

HEAD = "0002"
"""The revision this version of mendel reads and writes."""


def upgrade(connection: Connection, place: str) -> None:
    """Migrate the database behind `connection`, inside its transaction; `place` names it in errors.

    Raises StoreError where a newer mendel has written it.
    """
    found = revision(connection)
    if found == HEAD:
        return
    # alembic takes longer to import than a current database takes to open.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if found is not None and found not in known:
        raise StoreError(
            f"{place}: its schema is {found!r}, written by a newer mendel; this one knows up to {HEAD!r}. "
            "Upgrade mendel, or give another root folder"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def revision(connection: Connection) -> str | None:
    """The schema revision of a database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(select(column("version_num")).select_from(table("alembic_version")))
    return found
