"""时效口令, JT/T 1078-2016 chapter 6: what a superior's players show to get a stream.

Two for each superior, 64 letters and digits each: the home-domain one (归属地区) and the cross-domain one (跨域地区). Made anew after ``life_s``; the former
pair stays valid for ``overlap_s``, since requests and URLs under way still carry it. Kept over restarts; compared in constant time; never logged.
"""

from __future__ import annotations

import hmac
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.store.superiors import PasswordRow

LENGTH = 64
_LETTERS = string.ascii_letters + string.digits

HOME, CROSS_DOMAIN = "home", "cross-domain"


class Grant(NamedTuple):
    """Whose password it was, and which."""

    superior: str
    kind: str  #: HOME or CROSS_DOMAIN


@dataclass(slots=True)
class _Pair:
    row: PasswordRow = field(repr=False)
    life_s: float
    overlap_s: float


def new_password() -> str:
    """64 ASCII letters and digits: some 380 random bits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(LENGTH))


class Passwords:
    """All superiors' pairs. ``keep`` writes one to disk."""

    def __init__(self, wall: Callable[[], float], keep: Callable[[str, PasswordRow], object]) -> None:
        self._wall = wall
        self._keep = keep
        self._pairs: dict[str, _Pair] = {}

    def add(self, superior: str, life_s: float, overlap_s: float, kept: PasswordRow | None = None) -> None:
        """A superior; ``kept`` is what the disk has of it."""
        fresh = kept if kept is not None else PasswordRow(new_password(), new_password(), self._wall())
        self._pairs[superior] = _Pair(fresh, life_s, overlap_s)
        if kept is None:
            self._keep(superior, fresh)
        else:
            self.renew_if_due(superior)

    def adjust(self, superior: str, life_s: float, overlap_s: float) -> None:
        """Other times from now on."""
        pair = self._pairs.get(superior)
        if pair is not None:
            pair.life_s, pair.overlap_s = life_s, overlap_s

    def pair(self, superior: str) -> tuple[str, str]:
        """Home-domain and cross-domain password, for 0x1701. Secret."""
        row = self._pairs[superior].row
        return row.home, row.cross_domain

    def age_s(self, superior: str) -> float:
        """How old the pair is; 0 while what is kept has not been read."""
        pair = self._pairs.get(superior)
        return max(0.0, self._wall() - pair.row.made_at) if pair is not None else 0.0

    def renew_if_due(self, superior: str) -> bool:
        """Make a new pair when the present one has served its time; True: the superior is to be told."""
        pair = self._pairs[superior]
        if 0 <= self._wall() - pair.row.made_at < pair.life_s:
            return False
        self.renew(superior)
        return True

    def renew(self, superior: str) -> None:
        """Make a new pair now; the present one stays valid for the overlap."""
        pair = self._pairs.get(superior)
        if pair is None:
            return  # what is kept has not been read; it is renewed then if it is due
        now = self._wall()
        old = pair.row
        pair.row = PasswordRow(new_password(), new_password(), now, old.home, old.cross_domain, now + pair.overlap_s)
        self._keep(superior, pair.row)

    def check(self, superior: str | None, password: str) -> Grant | None:
        """Whose password this is: ``superior``'s alone, or (None) anybody's. Takes the same time whichever it is, and whether it is any."""
        given = password.encode("utf-8", "replace")
        found: Grant | None = None
        now = self._wall()
        for name, pair in self._pairs.items():
            if superior is not None and name != superior:
                continue
            row = pair.row
            old = now < row.old_until
            for kind, value, valid in (
                (HOME, row.home, True),
                (CROSS_DOMAIN, row.cross_domain, True),
                (HOME, row.old_home, old),
                (CROSS_DOMAIN, row.old_cross_domain, old),
            ):
                if hmac.compare_digest(value.encode(), given) and valid and value:
                    found = Grant(name, kind)
        return found
