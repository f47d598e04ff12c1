"""The one way in which the web side says no: a status and a JSON body with words (contract section 3).

    {"error": "no_media_connection", "message": "…", "hint": "…", "hop": "connected", "hops": {"requested": 0, "sent": 1, …}, "trace": {…}}

``error`` is a word for programs, ``message`` says what happened, ``hint`` what to do about it; a start that failed on its way has the
``hop`` that was not reached, the ``hops`` that were, in milliseconds, and the whole ``trace``. Anything else that leaves a handler is a bug: it
is logged and answered with 500 ``internal``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from relay.errors import RelayError

#: status -> the word used when the one who refuses gave none
CODES = {
    400: "bad_request",
    401: "token_missing",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    411: "length_required",
    413: "body_too_large",
    414: "address_too_long",
    415: "unsupported",
    429: "too_many",
    431: "headers_too_large",
    500: "internal",
    501: "not_implemented",
    502: "bad_reply",
    503: "unavailable",
    504: "timeout",
}

#: reason phrases of the statuses that this program sends
PHRASES = {
    101: "Switching Protocols",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """What every answer of 400 and above carries."""

    error: str
    message: str
    hint: str = ""
    hop: str = ""
    hops: dict[str, int] | None = None
    trace: dict[str, Any] | None = None


class Problem(RelayError):  # noqa: N818 - the standards' own word (RFC 9457)
    """A request that cannot be served, with the answer it gets."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        hint: str = "",
        hop: str = "",
        hops: Mapping[str, int] | None = None,
        trace: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or CODES.get(status, "error")
        self.message = message
        self.hint = hint
        self.hop = hop
        self.hops = dict(hops) if hops is not None else None
        self.trace = dict(trace) if trace is not None else None
        self.headers = dict(headers) if headers is not None else {}

    def struct(self) -> ProblemBody:
        """The body as an object."""
        return ProblemBody(self.code, self.message, self.hint, self.hop, self.hops, self.trace)

    def body(self) -> bytes:
        """The body as sent."""
        return msgspec.json.encode(self.struct())


def refuse_newlines(*words: str) -> None:
    """The ``$`` of a schema's pattern lets a newline pass at the end; none of these may have one."""
    if any(word.endswith("\n") for word in words):
        raise Problem(400, "A newline does not belong there.", code="bad_body")
