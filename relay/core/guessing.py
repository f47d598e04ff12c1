"""Wrong passwords, slowed down: an account and an address have so many tries a minute, then wait, longer each time.

    tries in a minute     after that
    FREE (10)             WAIT_S, doubled with each further wrong one up to WAIT_MAX_S; a right one clears the account, not the address

Names and addresses are bounded in number (the one heard of longest ago is forgotten first), since whoever guesses makes them up.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

FREE = 10  #: wrong ones within WINDOW_S that cost nothing: people mistype, and offices share an address
WINDOW_S = 60.0
WAIT_S = 5.0
WAIT_MAX_S = 900.0
NAMES_MAX = 4096


@dataclass(slots=True)
class _Tries:
    since: float
    wrong: int = 0
    until: float = 0.0


class Guessing:
    """One table for accounts and addresses; ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self.refused = 0  #: tries that had to wait

    def wait_s(self, now: float, *names: str) -> float:
        """How long until the next try may come; 0 = at once."""
        wait = max((self._tries[name].until - now for name in names if name in self._tries), default=0.0)
        if wait > 0:
            self.refused += 1
        return max(wait, 0.0)

    def wrong(self, now: float, *names: str) -> None:
        """One wrong try under these names."""
        for name in names:
            tries = self._tries.get(name)
            if tries is None or (now - tries.since > WINDOW_S and now > tries.until + WINDOW_S):
                tries = self._tries[name] = _Tries(now)
            self._tries.move_to_end(name)
            tries.wrong += 1
            if tries.wrong >= FREE:
                tries.until = now + min(WAIT_S * 2 ** min(tries.wrong - FREE, 16), WAIT_MAX_S)
        while len(self._tries) > NAMES_MAX:
            self._tries.popitem(last=False)

    def right(self, name: str) -> None:
        """The account's owner came in."""
        self._tries.pop(name, None)
