"""What the modules of the tables see of a database: a connection that runs SQL, the same for both dialects.

The SQL is written once, for SQLite, with ``?`` for values; ``relay.store.postgres`` makes PostgreSQL's form of it. Both know ``ON CONFLICT``,
``RETURNING`` and ``LIMIT … OFFSET …``. What to keep to, so that it stays so:

* types of columns TEXT, INTEGER, REAL, BLOB; a row's own number is ``id INTEGER PRIMARY KEY``; tables end with ``) STRICT``
* in ``DO UPDATE SET a = COALESCE(excluded.a, t.a)`` the old value is named with its table
* no ``LIMIT -1`` (``NO_LIMIT``), no ``rowid``, no ``PRAGMA``; a comparison's result is read with ``bool()``
* a text from the wire goes through ``storable``: PostgreSQL takes neither NUL nor surrogates
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from relay.store.errors import StoreError

T = TypeVar("T")

NO_LIMIT = 2**62  #: for ``LIMIT ?``


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows that it changed."""

    def fetchone(self) -> Any:
        """The next row, a tuple, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows."""


class Connection(Protocol):
    """One connection; used by one thread."""

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgresql"."""

    @property
    def begin(self) -> str:
        """The statement that begins a transaction that will write."""

    @property
    def in_transaction(self) -> bool:
        """Between ``begin`` and COMMIT or ROLLBACK."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement with values for its ``?``."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement for each row of values."""

    def close(self) -> None:
        """Close it."""


Work = Callable[[Connection], T]


def in_transaction(connection: Connection, work: Work[T]) -> T:
    """Run ``work`` all or nothing; what the database refuses becomes StoreError."""
    try:
        connection.execute(connection.begin)
        try:
            result = work(connection)
        except BaseException:
            if connection.in_transaction:  # not when the connection itself was lost
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    except sqlite3.Error as problem:
        if connection.in_transaction:  # the COMMIT itself failed: disk full
            connection.execute("ROLLBACK")
        raise StoreError(f"the store refused: {problem}") from problem
    return result


def reading(connection: Connection, work: Work[T]) -> T:
    """Run a ``work`` that only reads, without taking the writers' lock."""
    try:
        return work(connection)
    except sqlite3.Error as problem:
        raise StoreError(f"the store cannot be read: {problem}") from problem


def storable(text: str) -> str:
    """A text from the wire as every database takes it: what cannot be stored becomes U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8") if _odd(text) else text


def _odd(text: str) -> bool:
    return any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
