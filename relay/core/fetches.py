"""Files that a superior may fetch by FTP (0x1B02): credentials of their own for each, good for one file, for some hours.

A grant is held in memory: a superior that comes after a restart asks again by 0x9B01, and the file is there already.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LIFE_S = 6 * 3600.0  #: 0x1B02 names no limit; superiors fetch within minutes
GRANTS_MAX = 1000  #: the oldest goes
USER = "fetch-"  #: what the names of these users begin with; upload tasks' do not


@dataclass(frozen=True, slots=True)
class Fetch:
    """One grant."""

    user: str
    password: str = field(repr=False)  #: at most 22 bytes: what 0x1B02 has room for
    path: Path  #: on this disk
    name: str  #: as FTP shows it, in the root
    superior: str
    until: float  #: monotonic


class Fetches:
    """All grants. ``seconds``: monotonic."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._grants: OrderedDict[str, Fetch] = OrderedDict()
        self.counts: Counter[str] = Counter()  #: given, fetched, refused

    def grant(self, path: Path, name: str, superior: str) -> Fetch:
        """Credentials for one file."""
        self._expire()
        made = Fetch(USER + secrets.token_hex(6), secrets.token_urlsafe(15), path, name, superior, self._seconds() + LIFE_S)
        self._grants[made.user] = made
        while len(self._grants) > GRANTS_MAX:
            self._grants.popitem(last=False)
        self.counts["given"] += 1
        return made

    def _expire(self) -> None:
        now = self._seconds()
        while self._grants and next(iter(self._grants.values())).until <= now:
            self._grants.popitem(last=False)

    @property
    def expected(self) -> bool:
        """Somebody may want to log in."""
        self._expire()
        return bool(self._grants)

    def log_in(self, user: str, password: str) -> Fetch | None:
        """The grant whose credentials these are."""
        self._expire()
        grant = self._grants.get(user)
        if not hmac.compare_digest(password.encode("utf-8", "replace"), (grant.password if grant else secrets.token_urlsafe(15)).encode()) or grant is None:
            self.counts["log-ins refused"] += 1
            return None
        return grant
