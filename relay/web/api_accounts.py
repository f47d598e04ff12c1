"""The API's accounts: logging in and out, the first administrator, users, API tokens.

A session lives in a cookie that scripts cannot read; the word that goes into ``X-CSRF-Token`` is told by ``GET /api/v1/session``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from relay.core.accounts import AccountError, Accounts
from relay.core.audit import Audit
from relay.core.events import iso_time
from relay.core.tokens import SessionGrant, Signer, TokenError
from relay.settings import Auth
from relay.store.errors import StoreConflictError
from relay.store.users import IssuedToken, User
from relay.web.auth import cookie_name
from relay.web.models import (
    FirstAdmin,
    IssuedTokenView,
    LogIn,
    NewToken,
    NewTokenRequest,
    PasswordChange,
    SessionView,
    TokenListView,
    UserChange,
    UserList,
    UserNew,
    UserView,
)
from relay.web.problem import Problem, refuse_newlines
from relay.web.router import Answer, Call, Permission, Route

_STATUS = {
    "wrong_password": 401,
    "slow_down": 429,
    "busy": 503,
    "unknown_user": 404,
    "last_admin": 409,
    "exists_already": 409,
}
_HINTS = {
    "wrong_password": "Capitals count. An administrator can set a new password: `jt1078relay user password NAME`.",
    "slow_down": "Wait; each further wrong one makes it longer.",
    "last_admin": "Make another administrator first.",
    "exists_already": "Log in; `jt1078relay user add NAME --role admin` makes another one.",
}


def account_problem(error: AccountError) -> Problem:
    """What the accounts refused as an answer."""
    headers = {"Retry-After": str(round(error.wait_s + 0.5))} if error.wait_s else {}
    return Problem(_STATUS.get(error.code, 400), f"{error.message}.", code=error.code, hint=_HINTS.get(error.code, ""), headers=headers)


class AccountApi:
    """Handlers and their routes."""

    def __init__(self, accounts: Accounts, signer: Signer, auth: Auth, wall: Callable[[], float], audit: Audit | None = None) -> None:
        self._accounts = accounts
        self._signer = signer
        self._auth = auth
        self._wall = wall
        self._audit = audit

    def _note(self, call: Call, action: str, subject: str, detail: str, who: str = "") -> None:
        if self._audit is not None:
            self._audit.record(who or call.principal.name, action, subject, detail, call.request.address)

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        session, users, tokens = "/api/v1/session", "/api/v1/users", "/api/v1/tokens"
        public, viewer, admin = Permission.PUBLIC, Permission.VIEWER, Permission.ADMIN
        yield Route(
            method="POST", path=session, handler=self.log_in, permission=public, body=LogIn, answer=SessionView, tag="accounts",
            summary="Log in: a cookie, and the word for X-CSRF-Token", errors=(401, 429, 503),
        )  # fmt: skip
        yield Route(
            method="GET", path=session, handler=self.session, permission=viewer, answer=SessionView, tag="accounts", scope="any",
            summary="Who asks",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=session, handler=self.log_out, permission=viewer, status=204, tag="accounts", scope="any",
            summary="Log out: the cookie opens nothing any more", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{session}/first", handler=self.first, permission=public, body=FirstAdmin, answer=SessionView,
            tag="accounts", summary="Make the first administrator, with the link that the first start logs, and log in",
            errors=(403, 409, 503),
        )  # fmt: skip
        yield Route(
            method="PUT", path=f"{session}/password", handler=self.password, permission=viewer, body=PasswordChange, status=204,
            tag="accounts", scope="any", summary="Change one's own password; all sessions end", errors=(401, 409, 429, 503),
        )  # fmt: skip
        yield Route(
            method="GET", path=users, handler=self.users, permission=admin, answer=UserList, tag="accounts", summary="All users",
        )  # fmt: skip
        yield Route(
            method="POST", path=users, handler=self.add, permission=admin, body=UserNew, answer=UserView, status=201, tag="accounts",
            summary="Add a user", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="PUT", path=f"{users}/{{name}}", handler=self.change, permission=admin, body=UserChange, answer=UserView,
            tag="accounts", summary="Change a user; what is left out stays. Sessions and pictures of the user end", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="DELETE", path=f"{users}/{{name}}", handler=self.remove, permission=admin, status=204, tag="accounts",
            summary="Remove a user", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="GET", path=tokens, handler=self.tokens, permission=admin, answer=TokenListView, tag="accounts",
            summary="API tokens that were given out here and are still good",
        )  # fmt: skip
        yield Route(
            method="POST", path=tokens, handler=self.issue, permission=admin, body=NewTokenRequest, answer=NewToken, status=201,
            tag="accounts", summary="Make an API token; it is told this once", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="DELETE", path=f"{tokens}/{{id}}", handler=self.revoke, permission=admin, status=204, tag="accounts",
            summary="Revoke an API token; what plays by it ends", errors=(503,),
        )  # fmt: skip

    # ---- sessions ---------------------------------------------------------------------------------------------------------

    async def log_in(self, call: Call) -> Answer:
        """Name and password."""
        body: LogIn = call.body
        return await self._enter(call, body.name, body.password)

    async def _enter(self, call: Call, name: str, password: str) -> Answer:
        try:
            cookie, grant, user = await self._accounts.login(name, password, call.request.address, self._auth.session_s)
        except AccountError as problem:
            if problem.code == "wrong_password":  # those that were not even looked at are told apart by their number alone
                self._note(call, "login", name, "refused: wrong name or password", name)
            raise
        self._note(call, "login", user.name, "logged in", user.name)
        return self._told(call, self._view(user.name, user.role, user.groups, grant), cookie)

    def _told(self, call: Call, view: SessionView, cookie: str = "") -> Answer:
        headers = {"Set-Cookie": self._cookie(call, cookie, self._auth.session_s)} if cookie else {}
        return Answer(msgspec.json.encode(view), headers=headers)

    def _cookie(self, call: Call, value: str, seconds: int) -> str:
        secure = "; Secure" if call.request.secure else ""
        return f"{cookie_name(call.request)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"

    def _view(self, name: str, role: str, groups: tuple[str, ...], grant: SessionGrant | None) -> SessionView:
        if grant is None:
            return SessionView(name, role, list(groups), "", None)
        return SessionView(name, role, list(groups), self._signer.csrf(grant.id), iso_time(grant.expires))

    def session(self, call: Call) -> Answer:
        """Who asks; a session past half its life gets a fresh cookie, so that whoever works is not thrown out."""
        who, grant = call.principal, call.session
        fresh = ""
        if grant is not None and grant.expires - self._wall() < self._auth.session_s / 2:
            fresh = self._signer.session(who.name, self._auth.session_s, self._wall())
            grant = self._signer.check_session(fresh, self._wall())
        return self._told(call, self._view(who.name, who.role, who.groups, grant), fresh)

    async def log_out(self, call: Call) -> Answer:
        """Nothing happens to who came with a token."""
        if call.session is not None:
            await self._accounts.logout(call.session)
            self._note(call, "login", call.principal.name, "logged out")
        return Answer(status=204, headers={"Set-Cookie": self._cookie(call, "", 0)})

    async def first(self, call: Call) -> Answer:
        """The first administrator."""
        body: FirstAdmin = call.body
        refuse_newlines(body.name)
        try:
            await self._accounts.make_first(body.token, body.name, body.password)
        except TokenError as problem:
            hint = "The link is good for 15 minutes; start the relay again for a new one, or use `jt1078relay user add`."
            raise Problem(403, f"The link is refused: {problem}.", code="token_" + problem.reason.replace("-", "_"), hint=hint) from None
        except StoreConflictError as problem:
            raise Problem(409, f"{problem}.", code="taken") from None
        self._note(call, "user", body.name, "made the first administrator", body.name)
        return await self._enter(call, body.name, body.password)

    async def password(self, call: Call) -> Answer:
        """One's own."""
        body: PasswordChange = call.body
        if call.session is None:
            raise Problem(409, "A token has no password.", code="no_session", hint="Log in with name and password.")
        await self._accounts.login(call.principal.name, body.old, call.request.address, 60)
        await self._accounts.change(call.principal.name, password=body.new)
        self._note(call, "user", call.principal.name, "changed the own password")
        return Answer(status=204, headers={"Set-Cookie": self._cookie(call, "", 0)})

    # ---- users --------------------------------------------------------------------------------------------------------------

    def users(self, call: Call) -> UserList:
        """All, by name."""
        items = [_user_view(user) for user in self._accounts.users]
        return UserList(items, len(items))

    async def add(self, call: Call) -> UserView:
        """A new one."""
        body: UserNew = call.body
        refuse_newlines(body.name, *body.groups)
        try:
            user = await self._accounts.add(body.name, body.role, body.password, body.groups)
        except StoreConflictError as problem:
            raise Problem(409, f"{problem}.", code="taken") from None
        self._note(call, "user", user.name, f"added: {_rights(user.role, user.groups)}")
        return _user_view(user)

    async def change(self, call: Call) -> UserView:
        """Role, groups, password, or whether the user may come in."""
        body: UserChange = call.body
        refuse_newlines(*(body.groups or ()))
        groups = tuple(body.groups) if body.groups is not None else None
        user = await self._accounts.change(call.path["name"], body.role, body.enabled, groups, body.password)
        changed = [_rights(user.role, user.groups)] if body.role is not None or groups is not None else []
        changed += [] if body.enabled is None else ["may sign in" if user.enabled else "disabled"]
        changed += ["another password"] if body.password else []
        self._note(call, "user", user.name, f"changed: {', '.join(changed) or 'nothing'}")
        return _user_view(user)

    async def remove(self, call: Call) -> None:
        """Gone."""
        await self._accounts.remove(call.path["name"])
        self._note(call, "user", call.path["name"], "removed")

    # ---- tokens ---------------------------------------------------------------------------------------------------------------

    def tokens(self, call: Call) -> TokenListView:
        """Newest first."""
        tokens = sorted(self._accounts.tokens, key=lambda token: -token.made_at)
        return TokenListView([_token_view(token) for token in tokens], len(tokens))

    async def issue(self, call: Call) -> NewToken:
        """A new one."""
        body: NewTokenRequest = call.body
        refuse_newlines(body.name, *body.groups)
        word, token = await self._accounts.issue(body.role, body.expires_s, body.name, call.principal.user, body.groups)
        self._note(call, "token", token.id, f"made: {token.name or 'no name'}, {_rights(token.role, token.groups)}, good until {iso_time(token.expires)}")
        return NewToken(word, token.id, iso_time(token.expires))

    async def revoke(self, call: Call) -> None:
        """It opens nothing any more."""
        if not await self._accounts.revoke(call.path["id"]):
            hint = "GET /api/v1/tokens lists them. Tokens of the command line end with the signing key."
            raise Problem(404, f"There is no token {call.path['id']}.", code="unknown_token", hint=hint)
        self._note(call, "token", call.path["id"], "revoked")


def _rights(role: str, groups: Iterable[str]) -> str:
    return f"{role} of {', '.join(groups) or 'all terminals'}"


def _user_view(user: User) -> UserView:
    return UserView(user.name, user.role, user.enabled, list(user.groups), iso_time(user.added_at))


def _token_view(token: IssuedToken) -> IssuedTokenView:
    return IssuedTokenView(
        token.id, token.name, token.role, list(token.groups), token.made_by, iso_time(token.made_at), iso_time(token.expires)
    )
