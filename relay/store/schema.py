"""The tables, as numbered migrations.

``PRAGMA user_version`` holds the number of the last migration that ran. A migration is never edited once released: the next number
changes what it made. Each runs in a transaction of its own, so that a crash leaves either the schema before or the one after.
A database of a newer version is refused: the older program does not know what the newer one relies on.
"""

from __future__ import annotations

import sqlite3

from relay.store.errors import StoreError

#: migration n brings ``user_version`` from n-1 to n
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # 1: the known terminals. ``key`` is identity.phone_key(phone); ``auth_hash`` is SHA-256 of a salted code, see terminals.py
        """
        CREATE TABLE terminals (
            key TEXT PRIMARY KEY NOT NULL,
            phone TEXT NOT NULL,
            plate TEXT NOT NULL DEFAULT '',
            plate_color INTEGER,
            alias TEXT NOT NULL DEFAULT '',
            manufacturer TEXT NOT NULL DEFAULT '',
            model TEXT NOT NULL DEFAULT '',
            terminal_id TEXT NOT NULL DEFAULT '',
            edition INTEGER,
            enabled INTEGER NOT NULL DEFAULT 1,
            origin TEXT NOT NULL DEFAULT 'operator',
            auth_salt BLOB,
            auth_hash BLOB,
            auth_at REAL,
            added_at REAL NOT NULL,
            registered_at REAL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX terminals_alias ON terminals (alias) WHERE alias <> ''",
        "CREATE INDEX terminals_plate ON terminals (plate) WHERE plate <> ''",
    ),
    (
        # 2: users; scrypt with its parameters in each row, so that they can be raised later
        """
        CREATE TABLE users (
            name TEXT PRIMARY KEY NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
            salt BLOB NOT NULL,
            hash BLOB NOT NULL,
            n INTEGER NOT NULL,
            r INTEGER NOT NULL,
            p INTEGER NOT NULL,
            enabled INTEGER NOT NULL DEFAULT 1,
            added_at REAL NOT NULL
        ) STRICT
        """,
    ),
)

LATEST = len(MIGRATIONS)


def version(connection: sqlite3.Connection) -> int:
    """The number of the last migration that ran."""
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def migrate(connection: sqlite3.Connection, upto: int = LATEST) -> int:
    """Bring the schema up to ``upto``; gives the version found before. Several processes may call it at once."""
    found = version(connection)
    if found > LATEST:
        raise StoreError(f"the store was written by a newer version (schema {found}, this one knows {LATEST}); downgrading is not possible")
    while (number := version(connection)) < upto:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if version(connection) == number:  # somebody else may have been faster
                for statement in MIGRATIONS[number]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
    return found
