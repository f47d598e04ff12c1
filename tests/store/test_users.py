"""Users: scrypt, roles, no difference between a wrong name and a wrong password."""

from __future__ import annotations

import sqlite3

import pytest

from relay.store import users
from relay.store.connection import Connection
from relay.store.errors import StoreConflictError, StoreError
from relay.store.users import User


def test_a_user_is_let_in_with_the_password_only(connection: Connection) -> None:
    assert users.add(connection, "ann", "operator", "correct horse", 7.0) == User("ann", "operator", True, 7.0)
    assert users.check_password(connection, "ann", "correct horse") == User("ann", "operator", True, 7.0)
    assert users.check_password(connection, "ann", "wrong horse") is None
    assert users.check_password(connection, "bob", "correct horse") is None


def test_a_disabled_user_is_not_let_in(connection: Connection) -> None:
    users.add(connection, "ann", "operator", "correct horse", 7.0)
    connection.execute("UPDATE users SET enabled = 0")
    assert users.check_password(connection, "ann", "correct horse") is None


def test_passwords_change_names_are_unique_users_go(connection: Connection) -> None:
    users.add(connection, "ann", "admin", "first password", 0.0)
    with pytest.raises(StoreConflictError):
        users.add(connection, "ann", "viewer", "other password", 0.0)
    assert users.set_password(connection, "ann", "second password")
    assert users.check_password(connection, "ann", "first password") is None
    assert users.check_password(connection, "ann", "second password")
    assert not users.set_password(connection, "bob", "x")
    assert users.remove(connection, "ann")
    assert not users.remove(connection, "ann")
    assert users.list_all(connection) == []


def test_the_same_password_is_stored_differently(connection: Connection) -> None:
    for name in ("ann", "bob"):
        users.add(connection, name, "viewer", "same password", 0.0)
    rows = connection.execute("SELECT salt, hash FROM users").fetchall()
    assert rows[0] != rows[1]
    assert all(b"same" not in row[1] for row in rows)


def test_a_role_that_does_not_exist_is_refused_by_the_table(connection: Connection) -> None:
    with pytest.raises((StoreError, sqlite3.IntegrityError)):
        users.add(connection, "ann", "root", "a password", 0.0)
