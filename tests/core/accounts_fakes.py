"""The store's users in memory, with passwords in the clear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from relay.store.errors import StoreConflictError
from relay.store.users import IssuedToken, User


class UserRows:
    """What ``core.accounts`` needs of the store."""

    def __init__(self) -> None:
        self.rows: dict[str, User] = {}
        self.passwords: dict[str, str] = {}
        self.issued: list[IssuedToken] = []
        self.taken_back: dict[str, float] = {}

    def list(self) -> Deferred[Any]:
        return succeed([*self.rows.values()])

    def add(self, name: str, role: str, password: str, now: float, groups: tuple[str, ...] = ()) -> Deferred[User]:
        if name in self.rows:
            return fail(StoreConflictError(f"user {name} exists already"))
        self.rows[name] = User(name, role, True, now, groups)
        self.passwords[name] = password
        return succeed(self.rows[name])

    def change(self, name: str, now: float, role: Any = None, enabled: Any = None, groups: Any = None) -> Deferred[User | None]:
        user = self.rows.get(name)
        if user is None:
            return succeed(None)
        given = {"role": role, "enabled": enabled, "groups": groups}
        self.rows[name] = replace(user, valid_from=now, **{key: value for key, value in given.items() if value is not None})
        return succeed(self.rows[name])

    def remove(self, name: str) -> Deferred[bool]:
        return succeed(self.rows.pop(name, None) is not None)

    def set_password(self, name: str, password: str, now: float = 0.0) -> Deferred[bool]:
        self.passwords[name] = password
        return succeed(name in self.rows)

    def check_password(self, name: str, password: str) -> Deferred[User | None]:
        user = self.rows.get(name)
        return succeed(user if user is not None and user.enabled and self.passwords[name] == password else None)

    def tokens(self) -> Deferred[Any]:
        return succeed([*self.issued])

    def issue(self, token: IssuedToken) -> Deferred[None]:
        self.issued.append(token)
        return succeed(None)

    def revoked(self) -> Deferred[dict[str, float]]:
        return succeed(dict(self.taken_back))

    def revoke(self, ident: str, until: float, now: float) -> Deferred[None]:
        self.taken_back[ident] = until
        return succeed(None)
