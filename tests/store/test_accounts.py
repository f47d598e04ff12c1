"""Groups, sessions' beginnings, issued and revoked tokens in the store, in both databases."""

from __future__ import annotations

from relay.store import users
from relay.store.connection import Connection
from relay.store.users import KEPT_S, IssuedToken


def test_groups_are_kept_and_changed_and_a_change_ends_sessions(connection: Connection) -> None:
    users.add(connection, "guy", "operator", "long enough", 10.0, ("north", "south"))
    user = users.get(connection, "guy")
    assert user is not None
    assert (user.groups, user.valid_from) == (("north", "south"), 0.0)
    changed = users.change(connection, "guy", 20.0, role="viewer", groups=())
    assert changed == users.get(connection, "guy")
    assert changed is not None
    assert (changed.role, changed.groups, changed.enabled, changed.valid_from) == ("viewer", (), True, 20.0)
    users.change(connection, "guy", 30.0, enabled=False)
    assert users.check_password(connection, "guy", "long enough") is None
    assert users.change(connection, "nobody", 1.0) is None


def test_a_new_password_ends_sessions(connection: Connection) -> None:
    users.add(connection, "guy", "operator", "long enough", 10.0)
    assert users.set_password(connection, "guy", "another one", 40.0)
    user = users.check_password(connection, "guy", "another one")
    assert user is not None
    assert user.valid_from == 40.0


def test_tokens_are_listed_until_they_are_long_over(connection: Connection) -> None:
    first = IssuedToken("a", "map", "viewer", ("north",), "ann", 0.0, 100.0)
    users.issue(connection, first)
    assert users.tokens(connection) == [first]
    later = IssuedToken("b", "", "admin", (), "", 100.0 + KEPT_S + 1, 1e9)
    users.issue(connection, later)
    assert users.tokens(connection) == [later]


def test_what_is_taken_back_is_kept_until_it_would_have_ended(connection: Connection) -> None:
    users.revoke(connection, "a", 100.0, 50.0)
    users.revoke(connection, "a", 100.0, 51.0)
    users.revoke(connection, "b", 1e9, 52.0)
    assert users.revoked(connection) == {"a": 100.0, "b": 1e9}
    users.revoke(connection, "c", 1e9, 100.0 + KEPT_S + 1)
    assert users.revoked(connection) == {"b": 1e9, "c": 1e9}
