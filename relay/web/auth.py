"""Who asks: tokens in ``Authorization: Bearer`` or, for GET, in ``?token=``; or the cookie of a user who has logged in.

    media       a media token for this stream in the address or the header; or an API token of any role in the header, never in the
                address, since media addresses are passed on (but for ``/live/ws``, which pages open by themselves); or a session
    metrics     the scraper's token of the configuration, an API token, or a session
    the others  an API token, or a session, whose role suffices, and who does not ask too often (429)

No token: 401. An API token or a session that is not valid: 401 with the reason; a media token that does not open this stream, a role that
does not suffice: 403.

A browser sends the cookie by itself, also for requests that another site's page makes it send. Therefore the cookie is ``SameSite=Strict`` and
``HttpOnly``, and what changes something wants ``X-CSRF-Token`` beside it, a word that only our own page can read (``GET
/api/v1/session``); a WebSocket wants our own ``Origin``.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from math import ceil
from urllib.parse import urlsplit

from relay.core.accounts import Accounts
from relay.core.quota import Quota
from relay.core.tokens import Grant, Signer, TokenError
from relay.settings import Http, Metrics
from relay.web.api_compat import PREFIX
from relay.web.api_srs import PREFIX as SRS
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.request import Request
from relay.web.router import Call, Permission, Principal, query_of

MEDIA = "media"  #: the role of who holds a media token
COOKIE = "jt1078relay"
_LIMITED = (Permission.VIEWER, Permission.OPERATOR, Permission.ADMIN)  #: media and the scraper have limits of their own
SAFE = (b"GET", b"HEAD")  #: methods that change nothing

_HINTS = {
    "expired": "Make a new one; play URLs are asked of the API right before they are used.",
    "bad-signature": "It was made with another signing key, or changed on its way.",
    "wrong-path": "Tokens are for single channels: ask the API for this channel's play URLs.",
    "wrong-address": "It was made for one client address; this one is another.",
    "wrong-kind": (
        "Media addresses take media tokens, and the API takes API tokens or a log-in: "
        "ask the API for the channel's play URLs, or see `jt1078relay token --help`."
    ),
    "malformed": "It must be sent as it was made, from the first to the last character.",
    "revoked": "Log in again, or ask for a new token.",
}


def cookie_name(request: Request) -> str:
    """The session's cookie; over TLS with the prefix by which a browser holds it to this host (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{COOKIE}" if request.secure else COOKIE


def cookie_of(request: Request) -> str:
    """The session that a request brings; ``""`` = none."""
    text = request.header("cookie")
    if COOKIE not in text:
        return ""
    try:
        morsel = SimpleCookie(text).get(cookie_name(request))
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def _basic_password(word: str) -> str:
    """Of ``Authorization: Basic`` (RFC 7617); what is none is a token that opens nothing."""
    try:
        return b64decode(word.strip(), validate=True).decode("utf-8").partition(":")[2]
    except ValueError:
        return "malformed"


def check_origin(request: Request, settings: Http) -> None:
    """Refuse a WebSocket that a page of another host opens."""
    origin = request.header("origin")
    if not origin or origin in settings.cors_origins:
        return
    if urlsplit(origin).netloc.lower() != request.host_header.lower() or not request.host_header:
        raise Problem(403, "Pages of other hosts may not listen here.", code="foreign_origin", hint="List the page's origin in http.cors_origins.")


class Authenticator:
    """Checks the token of a request against what its route wants."""

    def __init__(
        self, signer: Signer, metrics: Metrics, http: Http, names: Names, wall: Callable[[], float], accounts: Accounts, quota: Quota | None = None
    ) -> None:
        self._signer = signer
        self._metrics = metrics
        self._http = http
        self._accounts = accounts
        self._names = names
        self._wall = wall
        self._quota = quota
        self.refused = 0  #: tokens that did not open what was asked

    def __call__(self, call: Call) -> Principal:
        """Who asks; raises a Problem with 401 or 403."""
        permission = call.route.permission
        header, address = self._tokens(call)
        principal: Principal | None = None
        if not header and not address:
            principal = self._session(call)
        elif permission is Permission.MEDIA:
            return self._media(call, header, address)
        elif permission is Permission.METRICS and self._metrics.token and self._equal(header or address, self._metrics.token):
            return Principal("metrics", "viewer")
        if principal is None:
            principal = self._api(header or address, 401)
        if permission is not None and not principal.may(permission):
            self.refused += 1
            raise Problem(
                403, f"This needs the role {permission.value}; yours is {principal.role}.", code="role", hint="Use another token or account."
            )
        if permission in _LIMITED:
            self._within_limits(principal)
        return principal

    def _within_limits(self, principal: Principal) -> None:
        wait = self._quota.request(principal.subject, principal.name) if self._quota is not None else 0.0
        if wait:
            seconds = ceil(wait)
            raise Problem(
                429, f"{principal.name} asks the API more often than one may.", code="too_many_requests", headers={"Retry-After": str(seconds)},
                hint=f"Wait {seconds} s. Events (/api/v1/events) tell changes without asking; the operator may raise limits.requests_per_user_s.",
            )  # fmt: skip

    def _tokens(self, call: Call) -> tuple[str, str]:
        scheme, _, token = call.request.header("authorization").partition(" ")
        header = token.strip() if scheme.lower() == "bearer" else ""
        if scheme.lower() == "basic" and call.route.path.startswith(SRS):
            header = _basic_password(token)
        query = query_of(call.request) if call.request.method in (b"GET", b"HEAD") else {}
        address = query.get("token", "") or (query.get("secret", "") if call.route.path.startswith(PREFIX) else "")
        return header, address

    def _session(self, call: Call) -> Principal:
        request = call.request
        cookie = cookie_of(request)
        if not cookie:
            hint = "Log in, or send it as Authorization: Bearer …, or for GET as ?token=… in the address."
            raise Problem(401, "A token is missing.", hint=hint)
        try:
            grant, user = self._accounts.of_session(cookie)
        except TokenError as problem:
            raise self._bad(problem, 401) from None
        if request.method not in SAFE and not self._equal(request.header("x-csrf-token"), self._signer.csrf(grant.id)):
            self.refused += 1
            hint = "Send the csrf word of GET /api/v1/session as X-CSRF-Token."
            raise Problem(403, "A request with a session's cookie must prove that its own page made it.", code="csrf", hint=hint)
        if call.upgrade:
            check_origin(request, self._http)
        call.session = grant
        return Principal(user.name, user.role, user.groups, user.name, f"user {user.name}")

    def _equal(self, given: str, wanted: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())

    def _api(self, token: str, status: int) -> Principal:
        try:
            grant, groups = self._accounts.of_token(token)
        except TokenError as problem:
            raise self._bad(problem, status) from None
        maker = self._accounts.maker_of(grant.id)
        return Principal(grant.name or grant.role.word, grant.role.word, groups, subject=f"user {maker}" if maker else f"token {grant.id or grant.name}")

    def _media(self, call: Call, header: str, address: str) -> Principal:
        client = call.request.address
        if "sim" not in call.path and "id" not in call.path:
            return self._many(call, address or header, client)
        name, channel = call.path.get("sim", ""), call.path.get("channel", "").lstrip("0") or "0"
        kind = "talk" if call.route.path.startswith("/talk/") else "playback"
        paths = [f"{kind}/{call.path['id']}"] if "id" in call.path else []
        if not paths:
            sim = self._names.quick(name)
            paths = [f"{each}_{channel}" for each in (name, *(self._names.all_of(sim) if sim is not None else ()))]
        try:
            grant = self._signer.check_media(address or header, paths, self._wall(), client)
        except TokenError as problem:
            if header and not address:
                try:
                    return self._api(header, 403)
                except Problem:
                    pass
            raise self._bad(problem, 403) from None
        call.grant = grant
        return Principal(grant.viewer, MEDIA)

    def _many(self, call: Call, token: str, client: str) -> Principal:
        """An address for many channels: which ones the token is for is looked at as each is opened. Pages open it themselves and it is not passed on to
        players, so an API token may stand in it."""
        try:
            call.grant = self._signer.open_media(token, self._wall(), client)
        except TokenError as problem:
            try:
                return self._api(token, 403)
            except Problem:
                raise self._bad(problem, 403) from None
        return Principal(call.grant.viewer, MEDIA)

    def check_stream(self, grant: Grant | None, name: str, sim: str, channel: int) -> None:
        """Once a name is resolved for good: the grant is for that very terminal. What a terminal says of its own plate may have misled the
        first look."""
        if grant is None:
            return
        names = [name, *(self._names.all_of(sim) if sim else ())]
        if not any(grant.allows(f"{each}_{channel}") for each in names):
            raise self._bad(TokenError("wrong-path", "the token is for other channels"), 403)

    def _bad(self, problem: TokenError, status: int) -> Problem:
        self.refused += 1
        code = "token_" + problem.reason.replace("-", "_")
        return Problem(status, f"The token is refused: {problem}.", code=code, hint=_HINTS.get(problem.reason, ""))
