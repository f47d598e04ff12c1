"""The tables, as numbered migrations: one module of ``relay.store.migrations`` each.

``PRAGMA user_version`` (SQLite) or the table ``schema_version`` (PostgreSQL) holds the number of the last migration that ran. A migration is
never edited once released: the next number changes what it made. Each runs in a transaction of its own, so that a crash leaves either the
schema before or the one after. A database of a newer version is refused: the older program does not know what the newer one relies on.
"""

from __future__ import annotations

from relay.store import postgres
from relay.store.connection import Connection
from relay.store.errors import StoreError
from relay.store.migrations import MIGRATIONS

LATEST = len(MIGRATIONS)


def version(connection: Connection) -> int:
    """The number of the last migration that ran."""
    if connection.dialect == "sqlite":
        number: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return number
    # not to_regclass: inside a transaction that waited for the lock it may answer from before it
    if connection.execute("SELECT 1 FROM pg_tables WHERE tablename = 'schema_version' AND schemaname = current_schema()").fetchone() is None:
        return 0
    row = connection.execute("SELECT number FROM schema_version").fetchone()
    return int(row[0]) if row else 0


def migrate(connection: Connection, upto: int | None = None) -> int:
    """Bring the schema up to ``upto``; gives the version found before. Several processes may call it at once."""
    upto = LATEST if upto is None else upto
    found = version(connection)
    if found > LATEST:
        raise StoreError(f"the store was written by a newer version (schema {found}, this one knows {LATEST}); downgrading is not possible")
    while version(connection) < upto:
        connection.execute(connection.begin)
        try:
            _lock(connection)
            number = version(connection)
            if number < upto:  # somebody else may have been faster
                _one(connection, number)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return found


def _lock(connection: Connection) -> None:
    """SQLite's BEGIN IMMEDIATE is the lock already."""
    if connection.dialect != "sqlite":
        connection.execute(f"SELECT pg_advisory_xact_lock({postgres.LOCK})")


def _one(connection: Connection, number: int) -> None:
    """The migration that follows ``number``."""
    migration = MIGRATIONS[number]
    if connection.dialect == "sqlite":
        for statement in (*migration.statements, *migration.sqlite):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
        return
    for statement in migration.statements:
        connection.execute(postgres.definition(statement))
    for statement in migration.postgresql:
        connection.execute(statement)
    if number == 0:
        connection.execute("CREATE TABLE schema_version (number BIGINT NOT NULL)")
        connection.execute("INSERT INTO schema_version (number) VALUES (0)")
    connection.execute(f"UPDATE schema_version SET number = {number + 1}")  # noqa: S608 - a number of our own
