"""Who may come in: users who log in, the tokens given out, and what of both was taken back.

    log in      name and password (scrypt, in the store's thread) → a session, kept in a cookie; wrong ones are slowed down (``guessing``)
    session     a signed token (``core.tokens``, kind "s"); good while its user is enabled and was not changed since it began
    token       a signed token (kind "a"); good unless its id was revoked or the user who made it is gone
    take back   logging out, disabling, removing, changing role or groups or password, revoking: whoever plays by it is told to stop

The rows are held in memory (users are dozens, tokens hundreds), read at the start and whenever the store was written by somebody else, so
that a request is judged without waiting. Groups: a user with groups sees the terminals of these groups and nothing else; without, all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from relay.core.guessing import Guessing
from relay.core.tokens import ROLES, ApiGrant, Role, SessionGrant, Signer, TokenError
from relay.errors import RelayError
from relay.hub.merge import Clock, DelayedCall
from relay.store.users import IssuedToken, Tokens, User, Users

log = Logger()

POLL_S = 5.0  #: how soon a change by ``jt1078relay user …`` is seen
LOGINS_MAX = 8  #: log-ins that wait for the store at a time: each costs it 60 ms, and positions wait behind them


class AccountError(RelayError):
    """It is not done, and ``code`` says why: wrong_password, slow_down, busy, taken, unknown_user, last_admin, exists_already."""

    def __init__(self, code: str, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.wait_s = wait_s


class UserRows(Protocol):
    """What is needed of the store (``relay.store.users.UserStore``)."""

    def list(self) -> Deferred[Users]: ...
    def add(self, name: str, role: str, password: str, now: float, groups: tuple[str, ...] = ()) -> Deferred[User]: ...
    def change(self, name: str, now: float, role: str | None, enabled: bool | None, groups: tuple[str, ...] | None) -> Deferred[User | None]: ...
    def remove(self, name: str) -> Deferred[bool]: ...
    def set_password(self, name: str, password: str, now: float = 0.0) -> Deferred[bool]: ...
    def check_password(self, name: str, password: str) -> Deferred[User | None]: ...
    def tokens(self) -> Deferred[Tokens]: ...
    def issue(self, token: IssuedToken) -> Deferred[None]: ...
    def revoked(self) -> Deferred[dict[str, float]]: ...
    def revoke(self, ident: str, until: float, now: float) -> Deferred[None]: ...


class Accounts:
    """Users, sessions and tokens of the process. ``wall``: seconds since 1970."""

    def __init__(
        self, rows: UserRows, signer: Signer, clock: Clock, wall: Callable[[], float], changes: Callable[[], Deferred[int]] | None = None
    ) -> None:
        self._rows = rows
        self._signer = signer
        self._clock = clock
        self._wall = wall
        self._changes = changes
        self._version: int | None = None
        self._poll: DelayedCall | None = None
        self._users: dict[str, User] = {}
        self._tokens: dict[str, IssuedToken] = {}
        self._revoked: dict[str, float] = {}  #: id -> when it would have expired by itself
        self._pending = 0
        self.guessing = Guessing()
        self.logins = self.failed = 0
        self.on_taken_back: list[Callable[[str, str], object]] = []  #: called with (name of the holder, why)

    # ---- what is held ---------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read everything anew."""
        users = await self._rows.list()
        tokens = await self._rows.tokens()
        revoked = await self._rows.revoked()
        before, self._users = self._users, {user.name: user for user in users}
        self._tokens = {token.id: token for token in tokens}
        gone = {ident for ident in revoked if ident not in self._revoked}
        self._revoked = revoked
        for name, user in before.items():
            now = self._users.get(name)
            if now is None or not now.enabled or now.valid_from > user.valid_from:
                self._tell(name, "the account was changed")
        for ident in gone & set(self._tokens):
            self._tell(self._tokens[ident].name, "the token was revoked")

    def watch(self) -> None:
        """Look now and then whether somebody else has written."""
        if self._changes is not None:
            self._poll = self._clock.callLater(POLL_S, self._look)

    def close(self) -> None:
        """No more looks."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        self._changes = None

    def _look(self) -> None:
        self._poll = None
        if self._changes is None:
            return
        looking = Deferred.fromCoroutine(self._reload(self._changes))
        looking.addErrback(lambda failure: log.warn("users are not reread: {problem}", problem=failure.getErrorMessage()))
        looking.addBoth(lambda _: self.watch())

    async def _reload(self, changes: Callable[[], Deferred[int]]) -> None:
        version = await changes()
        if version != self._version:
            self._version = version
            await self.load()

    def _tell(self, name: str, why: str) -> None:
        for call in self.on_taken_back:
            call(name, why)

    @property
    def users(self) -> list[User]:
        """All of them, by name."""
        return sorted(self._users.values(), key=lambda user: user.name)

    @property
    def tokens(self) -> list[IssuedToken]:
        """Those that were given out by the API and are neither revoked nor expired."""
        now = self._wall()
        return [token for token in self._tokens.values() if token.id not in self._revoked and token.expires > now]

    def user(self, name: str) -> User | None:
        """One of them."""
        return self._users.get(name)

    @property
    def has_admin(self) -> bool:
        """Whether somebody can administer without a token of the command line."""
        return any(user.role == "admin" and user.enabled for user in self._users.values())

    # ---- coming in ------------------------------------------------------------------------------------------------------

    async def login(self, name: str, password: str, address: str, life_s: float) -> tuple[str, SessionGrant, User]:
        """The cookie, what it says, and the user. AccountError when it is refused."""
        now = self._clock.seconds()
        account, place = f"account {name[:64]}", f"address {address}"
        wait = self.guessing.wait_s(now, account, place)
        if wait:
            raise AccountError("slow_down", f"too many wrong passwords; try again in {wait:.0f} seconds", wait)
        if self._pending >= LOGINS_MAX:
            raise AccountError("busy", "too many log in at this moment", 1.0)
        self._pending += 1
        try:
            user = await self._rows.check_password(name, password)
        finally:
            self._pending -= 1
        if user is None:
            self.failed += 1
            self.guessing.wrong(self._clock.seconds(), account, place)
            log.warn("log-in refused: {name} from {address}", name=name[:64], address=address)
            raise AccountError("wrong_password", "name or password is wrong, or the account is disabled")
        self.guessing.right(account)
        self.logins += 1
        self._users[user.name] = user
        cookie = self._signer.session(user.name, life_s, self._wall())
        log.info("{name} ({role}) logged in from {address}", name=user.name, role=user.role, address=address)
        return cookie, self._signer.check_session(cookie, self._wall()), user

    async def logout(self, session: SessionGrant) -> None:
        """The session is over, whoever has a copy of its cookie."""
        await self._revoke(session.id, session.expires)

    async def make_first(self, token: str, name: str, password: str) -> User:
        """The first administrator; TokenError for a bad token, AccountError when there is one already."""
        self._signer.check_first(token, self._wall())
        if self.has_admin:
            raise AccountError("exists_already", "there is an administrator already; this link has done its work")
        return await self.add(name, "admin", password, ())

    # ---- judging --------------------------------------------------------------------------------------------------------

    def of_session(self, cookie: str) -> tuple[SessionGrant, User]:
        """Whose session it is; raises TokenError."""
        grant = self._signer.check_session(cookie, self._wall())
        user = self._users.get(grant.name)
        if grant.id in self._revoked:
            raise TokenError("revoked", "the session was ended")
        if user is None or not user.enabled or grant.began < user.valid_from:
            raise TokenError("revoked", "the account was changed; log in again")
        return grant, user

    def is_user(self, name: str) -> bool:
        """Whether an account has that name."""
        return name in self._users

    def maker_of(self, token_id: str) -> str:
        """The user who made an API token; "" = nobody that is known."""
        issued = self._tokens.get(token_id)
        return issued.made_by if issued is not None else ""

    def of_token(self, token: str) -> tuple[ApiGrant, tuple[str, ...]]:
        """What the token grants, and the groups it is for (none: all); raises TokenError."""
        grant = self._signer.check_api(token, self._wall())
        if grant.id in self._revoked:
            raise TokenError("revoked", "the token was revoked")
        issued = self._tokens.get(grant.id)
        if issued is None:
            return grant, ()
        if issued.made_by:
            maker = self._users.get(issued.made_by)
            if maker is None or not maker.enabled:
                raise TokenError("revoked", "the account that made the token is gone")
        return grant, issued.groups

    # ---- administering ----------------------------------------------------------------------------------------------------

    async def add(self, name: str, role: str, password: str, groups: Iterable[str]) -> User:
        """A new user; StoreConflictError when the name is taken."""
        user = await self._rows.add(name, role, password, self._wall(), tuple(groups))
        self._users[user.name] = user
        return user

    async def change(
        self, name: str, role: str | None = None, enabled: bool | None = None, groups: tuple[str, ...] | None = None, password: str = ""
    ) -> User:
        """What is given is changed; sessions that began before are over. AccountError for an unknown name and the last administrator."""
        user = self._known(name)
        if user.role == "admin" and user.enabled and (enabled is False or role not in (None, "admin")):
            self._keep_one(name)
        now = self._wall()
        if password:
            await self._rows.set_password(name, password, now)
        changed = await self._rows.change(name, now, role, enabled, groups)
        if changed is None:
            raise AccountError("unknown_user", f"there is no user {name}")
        self._users[name] = changed
        self._tell(name, "the account was changed")
        return changed

    async def remove(self, name: str) -> None:
        """AccountError for an unknown name and the last administrator."""
        user = self._known(name)
        if user.role == "admin" and user.enabled:
            self._keep_one(name)
        await self._rows.remove(name)
        self._users.pop(name, None)
        self._tell(name, "the account was removed")

    def _known(self, name: str) -> User:
        user = self._users.get(name)
        if user is None:
            raise AccountError("unknown_user", f"there is no user {name}")
        return user

    def _keep_one(self, name: str) -> None:
        if not any(user.role == "admin" and user.enabled and user.name != name for user in self._users.values()):
            raise AccountError("last_admin", f"{name} is the only administrator left")

    async def issue(self, role: str | Role, life_s: float, label: str, made_by: str, groups: Iterable[str]) -> tuple[str, IssuedToken]:
        """A new API token, which is told here and never again."""
        now = self._wall()
        word = self._signer.api(role, life_s, now, label)
        grant = self._signer.check_api(word, now)
        token = IssuedToken(grant.id, label, grant.role.word, tuple(groups), made_by, now, float(grant.expires))
        await self._rows.issue(token)
        self._tokens[token.id] = token
        return word, token

    async def revoke(self, ident: str) -> bool:
        """The token of this id opens nothing any more; False for an id that was never given out by the API."""
        token = self._tokens.get(ident)
        if token is None or ident in self._revoked:
            return False
        await self._revoke(ident, token.expires)
        self._tell(token.name, "the token was revoked")
        return True

    async def _revoke(self, ident: str, until: float) -> None:
        now = self._wall()
        await self._rows.revoke(ident, until, now)
        self._revoked = {each: when for each, when in self._revoked.items() if when + self._signer.leeway_s > now}
        self._revoked[ident] = until

    def may_give(self, role: str, holder: str) -> bool:
        """Nobody gives out more than they have."""
        return ROLES[holder] >= ROLES[role]
