"""Logging in, sessions, tokens, and taking them back."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from relay.core.accounts import LOGINS_MAX, POLL_S, AccountError, Accounts
from relay.core.guessing import FREE, WAIT_S
from relay.core.tokens import Signer, TokenError
from tests.core.accounts_fakes import UserRows

WALL = 1_800_000_000.0


class Given:
    """Accounts with one administrator and one operator."""

    def __init__(self, *, changes: Any = None) -> None:
        self.clock = Clock()
        self.rows = UserRows()
        self.signer = Signer("a key of tests, long enough")
        self.accounts = Accounts(self.rows, self.signer, self.clock, lambda: WALL + self.clock.seconds(), changes)
        self.told: list[tuple[str, str]] = []
        self.accounts.on_taken_back.append(lambda name, why: self.told.append((name, why)))
        self.run(self.accounts.add("ann", "admin", "password of ann", ()))
        self.run(self.accounts.add("bob", "operator", "password of bob", ("north",)))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        out: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(out.append)
        assert out, "it waits"
        if hasattr(out[0], "raiseException"):
            out[0].raiseException()
        return out[0]

    def login(self, name: str, password: str, address: str = "10.0.0.1") -> Any:
        return self.run(self.accounts.login(name, password, address, 3600))


def test_a_session_opens_until_it_expires() -> None:
    given = Given()
    cookie, grant, user = given.login("bob", "password of bob")
    assert (user.role, user.groups) == ("operator", ("north",))
    found, who = given.accounts.of_session(cookie)
    assert (found.id, who.name) == (grant.id, "bob")
    given.clock.advance(3601)
    with pytest.raises(TokenError, match="expired"):
        given.accounts.of_session(cookie)


def test_a_wrong_password_is_refused_and_slowed_down() -> None:
    given = Given()
    for _ in range(FREE):
        with pytest.raises(AccountError) as refused:
            given.login("bob", "guess")
        assert refused.value.code == "wrong_password"
    with pytest.raises(AccountError) as slow:
        given.login("bob", "password of bob")
    assert (slow.value.code, slow.value.wait_s) == ("slow_down", WAIT_S)
    given.login("ann", "password of ann", "10.0.0.2")
    given.clock.advance(WAIT_S)
    given.login("bob", "password of bob")


def test_log_ins_that_wait_for_the_store_are_bounded() -> None:
    given = Given()
    waiting: list[Deferred[Any]] = []
    given.rows.check_password = lambda name, password: waiting.append(Deferred()) or waiting[-1]  # type: ignore[method-assign,func-returns-value]
    pending = [Deferred.fromCoroutine(given.accounts.login("bob", "x", "10.0.0.1", 60)) for _ in range(LOGINS_MAX)]
    with pytest.raises(AccountError) as busy:
        given.login("bob", "x")
    assert busy.value.code == "busy"
    for one, other in zip(waiting, pending, strict=True):
        other.addErrback(lambda failure: failure.trap(AccountError))
        one.callback(None)


def test_logging_out_ends_the_session_wherever_its_cookie_is() -> None:
    given = Given()
    cookie, grant, _ = given.login("bob", "password of bob")
    given.run(given.accounts.logout(grant))
    with pytest.raises(TokenError, match="ended"):
        given.accounts.of_session(cookie)
    assert given.rows.taken_back == {grant.id: grant.expires}
    again, _, _ = given.login("bob", "password of bob")
    given.accounts.of_session(again)


@pytest.mark.parametrize("change", [{"enabled": False}, {"role": "viewer"}, {"groups": ()}, {"password": "another password"}])
def test_a_changed_account_ends_its_sessions_and_what_it_watches(change: dict[str, Any]) -> None:
    given = Given()
    cookie, _, _ = given.login("bob", "password of bob")
    given.clock.advance(1)
    given.run(given.accounts.change("bob", **change))
    with pytest.raises(TokenError, match="changed"):
        given.accounts.of_session(cookie)
    assert given.told == [("bob", "the account was changed")]


def test_the_last_administrator_stays() -> None:
    given = Given()
    for work in (
        given.accounts.remove("ann"),
        given.accounts.change("ann", enabled=False),
        given.accounts.change("ann", role="viewer"),
    ):
        with pytest.raises(AccountError, match="only administrator"):
            given.run(work)
    given.run(given.accounts.add("eve", "admin", "password of eve", ()))
    given.run(given.accounts.remove("ann"))
    assert [user.name for user in given.accounts.users] == ["bob", "eve"]
    with pytest.raises(AccountError, match="no user"):
        given.run(given.accounts.remove("ann"))


def test_the_first_link_makes_one_administrator_and_no_second() -> None:
    given = Given()
    given.rows.rows.clear()
    given.run(given.accounts.load())
    link = given.signer.first(900, WALL)
    with pytest.raises(TokenError):
        given.run(given.accounts.make_first(given.signer.api("admin", 900, WALL), "ann", "password of ann"))
    assert given.run(given.accounts.make_first(link, "ann", "password of ann")).role == "admin"
    with pytest.raises(AccountError) as refused:
        given.run(given.accounts.make_first(link, "eve", "password of eve"))
    assert refused.value.code == "exists_already"
    given.clock.advance(901)
    given.rows.rows.clear()
    given.run(given.accounts.load())
    with pytest.raises(TokenError, match="expired"):
        given.run(given.accounts.make_first(link, "ann", "password of ann"))


def test_a_token_is_revoked_by_its_id_and_falls_with_its_maker() -> None:
    given = Given()
    one, row = given.run(given.accounts.issue("viewer", 60, "map", "ann", ("north",)))
    other, _ = given.run(given.accounts.issue("viewer", 60, "wall", "bob", ()))
    assert given.accounts.of_token(one)[1] == ("north",)
    assert {token.name for token in given.accounts.tokens} == {"map", "wall"}
    assert given.run(given.accounts.revoke(row.id))
    assert not given.run(given.accounts.revoke(row.id)), "it is revoked already"
    with pytest.raises(TokenError, match="revoked"):
        given.accounts.of_token(one)
    assert given.told == [("map", "the token was revoked")]
    given.accounts.of_token(other)
    given.run(given.accounts.change("bob", enabled=False))
    with pytest.raises(TokenError, match="gone"):
        given.accounts.of_token(other)


def test_a_token_of_the_command_line_needs_no_row() -> None:
    given = Given()
    grant, groups = given.accounts.of_token(given.signer.api("operator", 60, WALL, "cron"))
    assert (grant.role.word, groups) == ("operator", ())


def test_what_another_process_changes_is_seen_within_seconds() -> None:
    versions = [1]
    given = Given(changes=lambda: succeed(versions[0]))
    given.run(given.accounts.load())
    given.accounts.watch()
    given.clock.advance(POLL_S)
    cookie, _, _ = given.login("bob", "password of bob")
    del given.rows.rows["bob"]
    given.clock.advance(POLL_S)
    given.accounts.of_session(cookie)  # nothing says yet that the store was written
    versions[0] = 2
    given.clock.advance(POLL_S)
    with pytest.raises(TokenError, match="changed"):
        given.accounts.of_session(cookie)
    assert given.told == [("bob", "the account was changed")]
    given.accounts.close()
    assert not given.clock.getDelayedCalls()
