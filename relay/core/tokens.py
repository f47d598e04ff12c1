"""Signed, expiring tokens: what opens a stream, the pages and the API.

    token     = base64url(payload) "." base64url(HMAC-SHA256(key, payload)[:16])
    payload   = kind LF expiry LF three fields           UTF-8, fields never contain control characters

    kind "m"  media: pattern of stream names, viewer id, address (each of the latter two may be empty)
    kind "a"  API and pages: role, name of the holder, random id
    kind "s"  session of a user who has logged in: the user's name, when it began (milliseconds), random id; lives in a cookie
    kind "f"  first start: makes the first administrator, and nothing else; three empty fields

* Stateless: nothing is looked up here. ``core.accounts`` knows which ids were revoked and which users may still come in; rotating the key
  ends them all, and the former key is accepted beside the new one until it is taken out.
* The MAC covers the kind, so that a media token never opens the API. 128 bits of it are kept (RFC 2104 section 5: not less than half).
* Expiry is UNIX time and ``now`` an argument; ``leeway_s`` forgives clocks that differ. A media token's expiry is the time to *start*.
* Reasons are for the holder's error message; a wrong signature is told before anything else is looked at.

Stream names are ``str(StreamKey)``: ``13800138000_1`` for live, ``playback/<id>``. ``*`` in a pattern stands for any run of characters
without ``/``; the pattern ``*`` alone for every stream. Numbers are compared as ``identity.phone_key`` says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from relay.errors import RelayError, UsageError

TOKEN_MAX = 1024  #: characters; longer ones are refused unread: the longest honest one is some 300
_MAC_BYTES = 16
_MEDIA, _API, _SESSION, _FIRST = "m", "a", "s", "f"
_WORDS = {_MEDIA: "media", _API: "the API", _SESSION: "a session", _FIRST: "the first start"}


class Role(IntEnum):
    """Who may what; each may what the ones below may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As commands, the API and the store write it."""
        return self.name.lower()


ROLES = {role.word: role for role in Role}


class TokenError(RelayError):
    """The token does not open this; ``reason`` is one of expired, bad-signature, wrong-path, wrong-address, wrong-kind, malformed."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or f"the token is refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Grant:
    """What a media token allows."""

    pattern: str
    expires: int  #: UNIX time, to start
    viewer: str = ""  #: who it was made for
    address: str = ""  #: the only client address, when not empty

    def allows(self, path: str) -> bool:
        """Whether the stream of this name is among those the token is for."""
        return _matcher(self.pattern).fullmatch(stream_name(path)) is not None

    def allows_any(self, paths: Iterable[str]) -> bool:
        """Whether a stream with these names is."""
        return any(self.allows(path) for path in paths)


@dataclass(frozen=True, slots=True)
class ApiGrant:
    """What an API or page token allows."""

    role: Role
    expires: int  #: UNIX time
    name: str = ""  #: of the holder
    id: str = ""


@dataclass(frozen=True, slots=True)
class SessionGrant:
    """What the cookie of a user who has logged in says."""

    name: str
    began: float  #: UNIX time
    expires: int  #: UNIX time
    id: str = ""


def stream_name(path: str) -> str:
    """A stream's name or its media URL's path in the form that is compared: no ``/live/``, no ending, no zeros in front, lower case."""
    name = path.strip().strip("/").removeprefix("live/")
    head, slash, tail = name.rpartition("/")
    if slash and tail.partition(".")[0] in ("index", "hls"):  # …/index.m3u8
        head, slash, tail = head.rpartition("/")
    name = head + slash + tail.partition(".")[0]
    return (name.casefold() if slash else name.casefold().lstrip("0")) or "0"


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> re.Pattern[str]:
    if pattern == "*":
        return re.compile(".*", re.DOTALL)
    return re.compile("[^/]*".join(re.escape(part) for part in stream_name(pattern).split("*")))


class Signer:
    """Makes and checks tokens with one key, and accepts those of a former key."""

    def __init__(self, key: str, old_key: str = "", leeway_s: float = 0) -> None:
        if not key:
            raise UsageError("a signer needs a key")
        self._keys: list[bytes] = []
        self.leeway_s = leeway_s
        self.rotate(key, old_key)

    def rotate(self, key: str, old_key: str = "") -> None:
        """Sign with ``key`` from now on; accept ``key`` and ``old_key``."""
        # one derived key each, so that a signing key shared with another program never signs for this one
        self._keys = [hmac.digest(text.encode(), b"jt1078relay token 1", hashlib.sha256) for text in (key, old_key) if text]

    def media(self, pattern: str, expires_s: float, now: float, viewer: str = "", address: str = "") -> str:
        """A token that starts the streams of ``pattern`` until ``now + expires_s``."""
        pattern = "*" if pattern.strip() == "*" else stream_name(pattern)
        return self._sign(_MEDIA, now + expires_s, pattern, viewer, address)

    def api(self, role: str | Role, expires_s: float, now: float, name: str = "") -> str:
        """A token for the API and the pages."""
        known = ROLES[role] if isinstance(role, str) and role in ROLES else role
        if not isinstance(known, Role):
            raise UsageError(f"there is no role {role}")
        return self._sign(_API, now + expires_s, known.word, name, secrets.token_urlsafe(6))

    def secrets_for(self, text: str) -> list[str]:
        """Secrets made of ``text`` and each key, the present key's first: passwords that need not be stored. 100 bits in letters and digits."""
        digests = [hmac.digest(key, b"secret\n" + text.encode(), hashlib.sha256) for key in self._keys]
        return [base64.b32encode(digest)[:20].decode().lower() for digest in digests]

    def check_media(self, token: str, path: str | Iterable[str], now: float, address: str = "") -> Grant:
        """What the token grants for the stream ``path`` (or one of its names); raises TokenError."""
        grant = self.open_media(token, now, address)
        if not grant.allows_any((path,) if isinstance(path, str) else path):
            raise TokenError("wrong-path", "the token is for other channels")
        return grant

    def open_media(self, token: str, now: float, address: str = "") -> Grant:
        """What a media token grants, whatever stream is wanted; raises TokenError."""
        expires, pattern, viewer, bound = self._open(_MEDIA, token, now)
        if bound and not hmac.compare_digest(bound.encode(), address.encode()):
            raise TokenError("wrong-address", "the token is for another address")
        return Grant(pattern, expires, viewer, bound)

    def check_api(self, token: str, now: float) -> ApiGrant:
        """What the token grants; raises TokenError."""
        expires, role, name, ident = self._open(_API, token, now)
        if role not in ROLES:
            raise TokenError("malformed", "the token names a role that does not exist")
        return ApiGrant(ROLES[role], expires, name, ident)

    def session(self, name: str, expires_s: float, now: float) -> str:
        """The cookie of a user who has just logged in."""
        return self._sign(_SESSION, now + expires_s, name, str(int(now * 1000)), secrets.token_urlsafe(9))

    def check_session(self, token: str, now: float) -> SessionGrant:
        """What the cookie says; raises TokenError."""
        expires, name, began, ident = self._open(_SESSION, token, now)
        return SessionGrant(name, int(began) / 1000, expires, ident)

    def csrf(self, session_id: str) -> str:
        """The word that a page must send beside a session's cookie with everything that changes something."""
        return _encode(self._mac(self._keys[0], f"csrf\n{session_id}".encode()))

    def door(self, subject: str) -> str:
        """The key of one address that another program is given once and calls for good, such as a media server's hook; it ends with the signing key."""
        return _encode(self._mac(self._keys[0], f"door\n{subject}".encode()))

    def opens(self, subject: str, key: str) -> bool:
        """Whether that is its key."""
        right = False
        for each in self._keys:
            right |= hmac.compare_digest(_encode(self._mac(each, f"door\n{subject}".encode())).encode(), key.encode())
        return right

    def first(self, expires_s: float, now: float) -> str:
        """What lets somebody make the first administrator."""
        return self._sign(_FIRST, now + expires_s, "", "", "")

    def check_first(self, token: str, now: float) -> None:
        """Raises TokenError unless it is one of those."""
        self._open(_FIRST, token, now)

    def _sign(self, kind: str, expires: float, *parts: str) -> str:
        for part in parts:
            if any(character < " " or character == "\x7f" for character in part):
                raise UsageError(f"a token cannot hold {part!r}")
        payload = "\n".join((kind, str(int(expires)), *parts)).encode()
        token = f"{_encode(payload)}.{_encode(self._mac(self._keys[0], payload))}"
        if len(token) > TOKEN_MAX:
            raise UsageError(f"a token of {len(token)} characters; at most {TOKEN_MAX}")
        return token

    def _open(self, kind: str, token: str, now: float) -> tuple[int, str, str, str]:
        body, dot, mark = token.partition(".")
        if not dot or len(token) > TOKEN_MAX or not token.isascii():
            raise TokenError("malformed", "this is no token")
        payload, mac = _decode(body), _decode(mark)
        right = False
        for key in self._keys:  # both, always: which key fits is nobody's business
            right |= hmac.compare_digest(self._mac(key, payload), mac)
        if not right:
            raise TokenError("bad-signature", "the token's signature is wrong")
        fields = payload.decode("utf-8", "replace").split("\n")
        if len(fields) != 5 or not fields[1].lstrip("-").isdigit():
            raise TokenError("malformed", "this is no token of this version")
        if fields[0] != kind:
            raise TokenError("wrong-kind", f"this token is for {_WORDS.get(fields[0], 'something else')}, not for {_WORDS[kind]}")
        expires = int(fields[1])
        if now > expires + self.leeway_s:
            raise TokenError("expired", "the token has expired")
        return expires, fields[2], fields[3], fields[4]

    def _mac(self, key: bytes, payload: bytes) -> bytes:
        return hmac.digest(key, payload, hashlib.sha256)[:_MAC_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenError("malformed", "this is no token") from None
    if _encode(data) != text:  # one spelling a token: unused bits of the last character must be zero
        raise TokenError("malformed", "this is no token")
    return data
