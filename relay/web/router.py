"""One table of routes: method, path template, request and answer types, permission. The same table is the OpenAPI document.

A template has ``{name}`` (a part of one segment), ``{name:int}`` (up to three digits) and ``{name:a|b}`` (one of those words). A route without a
permission does not start. What a request goes through, in this order::

    path       decoded once; "..", empty segments, NUL, slashes and backslashes that were encoded: 404
    method     405 with Allow; HEAD is GET without the body; OPTIONS answers by itself
    permission none: 401, not enough: 403
    groups     an account for some groups of terminals: other terminals do not exist for it (``scope``)
    query      unknown names and wrong values: 400 (``token`` is nobody's but the permission's)
    body       JSON, at most the server's limit: 400, 415
    handler    its value is encoded as JSON; a Problem becomes its status; anything else is a bug: logged, 500

A handler may be a plain function, a coroutine or give a Deferred; when the client goes away while it waits, it is cancelled. It gets a
``Call`` and gives an object for ``Route.answer``, an ``Answer`` for anything but JSON with the route's status, or ``TAKEN`` after it
has taken the connection over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.errors import UsageError
from relay.settings import Http, tiles_origin
from relay.web.problem import Problem
from relay.web.request import Request

_log = Logger(namespace="relay.web")

QUERY_FIELDS = 50  #: parameters of a request; more than any route has
JSON_DEPTH = 32  #: nesting of a body: message fields hold lists of lists, nothing deeper than ten


class Permission(Enum):
    """Who may use a route."""

    PUBLIC = "public"  #: anybody: the page's files, health
    MEDIA = "media"  #: a media token of that stream, or whoever may use the API
    KEY = "key"  #: whoever has the key in the address, which this program made and the handler looks at
    METRICS = "metrics"  #: the scraper's own token, or any role
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


#: roles in rising order; each may do what those before it may
ROLES: Final = ("viewer", "operator", "admin")


class Principal(msgspec.Struct, frozen=True):
    """Who asks, as a token or a session says."""

    name: str
    role: str  #: one of ROLES, or "media" for a media token
    groups: tuple[str, ...] = ()  #: the groups whose terminals it may see; none: all terminals
    user: str = ""  #: the account behind it; "" for tokens that belong to none
    subject: str = ""  #: whose requests these are, for limits: an account, or one token

    def may(self, permission: Permission) -> bool:
        """Whether a route with that permission is open to it."""
        if permission is Permission.PUBLIC:
            return True
        if self.role not in ROLES:
            return False
        if permission in (Permission.MEDIA, Permission.METRICS):
            return True
        return ROLES.index(self.role) >= ROLES.index(permission.value)


ANYBODY: Final = Principal("", "")


class Answer:
    """An answer that is not simply JSON with the route's status."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self, body: bytes = b"", content_type: str = "application/json", status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.body = body
        self.content_type = content_type
        self.status = status
        self.headers = dict(headers or {})


class _Taken:
    """The type of ``TAKEN``."""


TAKEN: Final = _Taken()  #: a handler's value after it has taken the connection over


class Call:
    """One request on its way through a route's handler."""

    __slots__ = ("body", "grant", "path", "principal", "query", "request", "route", "sees", "session")

    def __init__(self, request: Request, route: Route, path: dict[str, str]) -> None:
        self.request = request
        self.route = route
        self.path = path  #: the template's names, decoded
        self.query: Any = None  #: of type ``route.query``
        self.body: Any = None  #: of type ``route.body``
        self.principal = ANYBODY
        self.grant: Any = None  #: what a media token allows (``core.tokens.Grant``); None: the principal's role decides
        self.session: Any = None  #: of a user who has logged in (``core.tokens.SessionGrant``); None: a token opened this
        self.sees: Callable[[str], bool] = _everything  #: whether who asks may know of the terminal with this number

    @property
    def head(self) -> bool:
        """Only the headers are wanted."""
        return self.request.method == b"HEAD"

    @property
    def upgrade(self) -> bool:
        """It asks for a WebSocket."""
        return wants_websocket(self.request)


def _everything(sim: str) -> bool:
    return True


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of the table."""

    method: str
    path: str
    handler: Handler
    permission: Permission | None
    summary: str
    tag: str = "api"
    aliases: tuple[str, ...] = ()  #: other templates that lead to the same
    query: type[msgspec.Struct] | None = None
    any_query: bool = False  #: unknown parameters are ignored: players add their own
    body: type[msgspec.Struct] | None = None
    body_optional: bool = False
    answer: Any = None  #: type of the JSON that comes back; None: not JSON, or nothing
    content_type: str = "application/json"
    also: tuple[str, ...] = ()  #: other types that the answer may have, as the query says
    status: int = 200
    errors: tuple[int, ...] = ()  #: statuses besides 400, 401, 403 and 404 that it is known to answer with
    any_origin: bool = False  #: ``Access-Control-Allow-Origin: *``, also on errors
    hidden: bool = False  #: not in the OpenAPI document
    #: for accounts with groups: "sim" = the terminal in the path decides, without one the route is shut | "filtered" = the handler asks
    #: ``call.sees`` for each thing it shows | "any" = nothing here is about a terminal
    scope: str = "sim"
    report: Callable[[Call, Problem], None] | None = None  #: tells a problem to a client that asked for a WebSocket


class Headers:
    """The headers that answers carry for safety."""

    def __init__(self, settings: Http) -> None:
        self._settings = settings
        ancestors = settings.frame_ancestors
        self._base = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Server": "jt1078relay"}
        self._json_policy = f"default-src 'none'; frame-ancestors {ancestors}"
        self._tiles = f" {tiles_origin(settings.map_tiles)}" if settings.map_tiles else ""
        self._advertised = ""
        if settings.advertise:
            self._advertised = f" ws://{settings.advertise} wss://{settings.advertise}"

    def page(self, host: str) -> str:
        """The Content-Security-Policy of a page that was fetched from ``host``."""
        # Some browsers do not count ws: and wss: of the same host as 'self'.
        sockets = (f" ws://{host} wss://{host}" if host else "") + self._advertised
        return (
            f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{sockets}; media-src 'self' blob:; "
            f"img-src 'self' data: blob:{self._tiles}; frame-ancestors {self._settings.frame_ancestors}; base-uri 'none'; form-action 'self'"
        )

    def of(self, request: Request, route: Route | None) -> dict[str, str]:
        """For an answer to ``request``."""
        headers = dict(self._base)
        headers["Content-Security-Policy"] = self._json_policy
        headers["Cache-Control"] = "no-store"
        if route is not None and route.any_origin:
            headers["Access-Control-Allow-Origin"] = "*"
        elif self._settings.cors_origins:
            headers["Vary"] = "Origin"
            if request.header("origin") in self._settings.cors_origins:
                headers["Access-Control-Allow-Origin"] = request.header("origin")
        return headers


@dataclass(slots=True)
class _Place:
    """A template and what can be done there."""

    pattern: re.Pattern[str]
    routes: dict[str, Route] = field(default_factory=dict)


def wants_websocket(request: Request) -> bool:
    """Whether the request asks to become a WebSocket (RFC 6455 4.2.1)."""
    return request.method == b"GET" and "websocket" in request.header_list("upgrade") and "upgrade" in request.header_list("connection")


_HOLE = re.compile(r"\{([a-z_]+)(?::([a-z|]+))?\}")


def template_pattern(template: str) -> re.Pattern[str]:
    """The pattern of a path template, for ``fullmatch`` on a decoded path."""
    parts, at = [], 0
    for hole in _HOLE.finditer(template):
        name, kind = hole.groups()
        inner = "[^/]+" if kind is None else "[0-9]{1,3}" if kind == "int" else kind
        parts.append(re.escape(template[at : hole.start()]) + f"(?P<{name}>{inner})")
        at = hole.end()
    return re.compile("".join(parts) + re.escape(template[at:]), re.ASCII)


def decode_path(raw: bytes) -> str | None:
    """The path with its percent-encoding undone, or None for one that no route can mean."""
    if not raw.startswith(b"/"):
        return None
    segments = raw[1:].split(b"/")
    decoded = []
    for at, segment in enumerate(segments):
        try:
            text = unquote_to_bytes(segment).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if text in (".", "..") or (not text and at != len(segments) - 1) or any(c in "/\\" or not c.isprintable() for c in text):
            return None
        decoded.append(text)
    return "/" + "/".join(decoded)


def query_of(request: Request) -> dict[str, str]:
    """The query's parameters, the last of each name."""
    query = request.uri.partition(b"?")[2].decode("latin-1")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise Problem(400, "The query cannot be read.", code="bad_query") from None
    return dict(pairs)


def decode_json(data: bytes, kind: Any) -> Any:
    """A body as an object of type ``kind``; JSON Schema calls 58.0 an integer, so it is one here."""
    try:
        value = msgspec.json.decode(data)
        return msgspec.convert(_integral(value, JSON_DEPTH), kind)
    except msgspec.ValidationError as problem:
        raise Problem(400, f"The body does not fit: {problem}.", code="bad_body") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Problem(400, "The body is not JSON.", code="bad_json") from None


def _integral(value: Any, depth: int) -> Any:
    if not depth:
        raise Problem(400, f"The body is nested deeper than {JSON_DEPTH}.", code="bad_json")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_integral(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {name: _integral(item, depth - 1) for name, item in value.items()}
    return value


#: checks a request's token: gives who asks, or raises a Problem with 401 or 403
Authenticate = Callable[[Call], Principal]

#: for accounts with groups, before the handler: sets ``call.sees``, or raises a Problem
Scope = Callable[[Call], Coroutine[Any, Any, None]]


class Router:
    """Answers requests from a table of routes."""

    def __init__(
        self,
        routes: Iterable[Route],
        authenticate: Authenticate,
        settings: Http | None = None,
        translate: Callable[[BaseException], Problem | None] = lambda problem: None,
        scope: Scope | None = None,
    ) -> None:
        """``translate`` makes Problems of the errors that other parts raise."""
        self.routes = tuple(routes)
        self.headers = Headers(settings or Http())
        self._authenticate = authenticate
        self._translate = translate
        self._scope = scope
        self._places: dict[int, list[_Place]] = {}
        self.failures = 0  #: handlers that failed with something that is no Problem: bugs
        seen: dict[str, _Place] = {}
        for route in self.routes:
            if not isinstance(route.permission, Permission):
                raise UsageError(f"{route.method} {route.path} has no permission")
            for template in (route.path, *route.aliases):
                place = seen.get(template)
                if place is None:
                    place = seen[template] = _Place(template_pattern(template))
                    self._places.setdefault(template.count("/"), []).append(place)
                if route.method in place.routes:
                    raise UsageError(f"{route.method} {template} stands in the table twice")
                place.routes[route.method] = route

    # finding ---------------------------------------------------------------

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str], list[str], bool]:
        """The route and the path's parameters; without a route, the methods that the path has and whether any origin may ask."""
        allowed: set[str] = set()
        any_origin = False
        for place in self._places.get(path.count("/"), ()):
            match = place.pattern.fullmatch(path)
            if match is None:
                continue
            route = place.routes.get("GET" if method == "HEAD" else method)
            if route is not None:
                return route, match.groupdict(), [], route.any_origin
            allowed.update(place.routes)
            any_origin = any_origin or any(route.any_origin for route in place.routes.values())
        if "GET" in allowed:
            allowed.add("HEAD")
        return None, {}, sorted(allowed | {"OPTIONS"}) if allowed else [], any_origin

    # answering -------------------------------------------------------------

    def handle(self, request: Request) -> None:
        """Answer a request; never raises."""
        call: Call | None = None
        try:
            method = request.method.decode("latin-1")
            path = decode_path(request.path)
            if method == "OPTIONS":
                self._options(request, path)
                return
            if path is None:
                raise Problem(404, "There is nothing at this address.")
            route, names, allowed, any_origin = self.find(method, path)
            if route is None:
                raise self._nothing(request, allowed, any_origin)
            call = Call(request, route, names)
            self._prepare(call)
            result = self._scoped(call) if call.principal.groups else route.handler(call)
        except Exception as problem:
            self._failed(problem, request, call)
            return
        if isinstance(result, Coroutine):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            self._wait(result, call)
        else:
            self._succeed(result, call)

    async def _scoped(self, call: Call) -> Any:
        """For an account with groups."""
        if self._scope is None:
            raise Problem(403, "Accounts with groups are not served here.", code="groups")
        await self._scope(call)
        result = call.route.handler(call)
        return await result if isinstance(result, Coroutine | Deferred) else result

    def _nothing(self, request: Request, allowed: list[str], any_origin: bool) -> Problem:
        headers = {"Access-Control-Allow-Origin": "*"} if any_origin else {}
        if not allowed:
            return Problem(404, "There is nothing at this address.", headers=headers)
        headers["Allow"] = ", ".join(allowed)
        return Problem(405, f"This address takes {', '.join(allowed)}.", headers=headers)

    def _prepare(self, call: Call) -> None:
        route, request = call.route, call.request
        if route.permission not in (Permission.PUBLIC, Permission.KEY):
            call.principal = self._authenticate(call)
        if route.query is not None or not route.any_query:
            given = {name: value for name, value in query_of(request).items() if name != "token"}
            call.query = self._query(route, given)
        if route.body is not None:
            call.body = self._body(route, request)

    def _query(self, route: Route, given: dict[str, str]) -> Any:
        if route.any_query and route.query is not None:
            known = set(route.query.__struct_encode_fields__)
            given = {name: value for name, value in given.items() if name in known}
        if route.query is None:
            if given and route.permission is not Permission.PUBLIC:
                raise Problem(400, f"The parameter {min(given)!r} is not known here.", code="bad_query")
            return None
        try:
            return msgspec.convert(given, route.query, strict=False)
        except msgspec.ValidationError as problem:
            raise Problem(400, f"The query does not fit: {problem}.", code="bad_query") from None

    def _body(self, route: Route, request: Request) -> Any:
        data = request.content.getvalue() if request.content is not None else b""
        if not data.strip():
            if route.body_optional:
                return msgspec.convert({}, route.body)
            raise Problem(400, "A JSON body is missing.", code="bad_body")
        kind = request.header("content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            # Also what keeps another site's form from reaching us: a browser asks first before it sends this type.
            raise Problem(415, f"The body is {kind or 'of no type'}; it must be application/json.", code="not_json")
        return decode_json(data, route.body)

    def _options(self, request: Request, path: str | None) -> None:
        wanted = request.header("access-control-request-method") or "GET"
        route, _, allowed, any_origin = self.find(wanted, path) if path is not None else (None, {}, [], False)
        if route is None and not allowed:
            self._send_problem(request, None, Problem(404, "There is nothing at this address."))
            return
        if route is not None:
            _, _, allowed, _ = self.find("", path or "")
        headers = self.headers.of(request, route)
        if any_origin:
            headers["Access-Control-Allow-Origin"] = "*"
        headers["Allow"] = ", ".join(allowed)
        if "Access-Control-Allow-Origin" in headers:
            headers["Access-Control-Allow-Methods"] = ", ".join(allowed)
            headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Range"
            headers["Access-Control-Max-Age"] = "86400"
        request.answer(204, headers=headers)

    def _wait(self, deferred: Deferred[Any], call: Call) -> None:
        def lost(failure: Failure) -> None:
            deferred.cancel()

        def failed(failure: Failure) -> None:
            error = failure.value
            self._failed(error if isinstance(error, Exception) else CancelledError(), call.request, call, failure)

        call.request.notifyFinish().addErrback(lost)
        deferred.addCallback(self._succeed, call)
        deferred.addErrback(failed)

    def _succeed(self, result: Any, call: Call) -> None:
        if result is TAKEN:
            return
        headers = self.headers.of(call.request, call.route)
        if isinstance(result, Answer):
            headers.update(result.headers)
            call.request.answer(result.status, result.body, result.content_type, headers)
            return
        status = call.route.status
        call.request.answer(status, b"" if status == 204 else msgspec.json.encode(result), headers=headers)

    def _failed(self, error: Exception, request: Request, call: Call | None, failure: Failure | None = None) -> None:
        if isinstance(error, CancelledError) and request.gone:
            return
        problem = error if isinstance(error, Problem) else self._translate(error)
        if problem is None:
            self.failures += 1
            _log.failure("{request!r} failed", failure=failure, request=request)
            problem = Problem(500, "The relay failed at this request; its log says why.")
        if call is not None and call.route.report is not None and call.upgrade and not request.gone:
            try:
                call.route.report(call, problem)
                return
            except Problem as worse:  # not even a WebSocket handshake
                problem = worse
        self._send_problem(request, call.route if call is not None else None, problem)

    def _send_problem(self, request: Request, route: Route | None, problem: Problem) -> None:
        headers = self.headers.of(request, route)
        if problem.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="jt1078relay"'
        headers.update(problem.headers)
        request.answer(problem.status, problem.body(), headers=headers)

