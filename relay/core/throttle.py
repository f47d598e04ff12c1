"""What a peer may cause at most: log lines, and connections that come and go.

``PeerLog``: one line a second and peer, the rest counted and told with the next line.
``Flapping``: EMQX's rule for clients that connect again and again: so many times within a window, then banned for a while.

``Buckets``: tokens that fill at a rate, one spent by each request.

All hold a bounded number of peers; the one heard of longest ago is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger, LogLevel

PEERS_MAX = 4096  #: a flood from forged addresses must not grow a table


class PeerLog:
    """At most one log line in ``every_s`` about one peer."""

    def __init__(self, log: Logger, now: Callable[[], float], every_s: float) -> None:
        self._log = log
        self._now = now
        self._every_s = every_s
        self._peers: OrderedDict[str, list[float]] = OrderedDict()  #: host -> [when a line may follow, lines withheld]

    def warn(self, host: str, text: str, **fields: Any) -> bool:
        """Log ``text`` (a twisted.logger format) unless this host had a line just now; gives whether it was logged."""
        return self._emit(LogLevel.warn, host, text, fields)

    def info(self, host: str, text: str, **fields: Any) -> bool:
        """The same at info."""
        return self._emit(LogLevel.info, host, text, fields)

    def _emit(self, level: Any, host: str, text: str, fields: dict[str, Any]) -> bool:
        now = self._now()
        entry = self._peers.get(host)
        if entry is None:
            entry = self._peers[host] = [0.0, 0]
            if len(self._peers) > PEERS_MAX:
                self._peers.popitem(last=False)
        if now < entry[0]:
            entry[1] += 1
            return False
        withheld = int(entry[1])
        entry[0], entry[1] = now + self._every_s, 0
        self._peers.move_to_end(host)
        if withheld:
            text += " ({withheld} more about this address since the last line)"
        self._log.emit(level, text, host=host, withheld=withheld, **fields)
        return True


class Flapping:
    """Counts events of one kind per name; too many within the window bans the name for a while."""

    def __init__(self, limit: int, window_s: float, ban_s: float) -> None:
        self.limit = limit
        self.window_s = window_s
        self.ban_s = ban_s
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._banned: OrderedDict[str, float] = OrderedDict()

    def banned(self, name: str, now: float) -> bool:
        """Whether the name is banned now."""
        until = self._banned.get(name)
        if until is None:
            return False
        if now < until:
            return True
        del self._banned[name]
        return False

    def count(self, name: str, now: float) -> bool:
        """One more; True when this one caused a ban."""
        times = self._times.get(name)
        if times is None:
            times = self._times[name] = deque(maxlen=self.limit)
            if len(self._times) > PEERS_MAX:
                self._times.popitem(last=False)
        else:
            self._times.move_to_end(name)
        times.append(now)
        if len(times) < self.limit or now - times[0] > self.window_s:
            return False
        del self._times[name]
        self._banned[name] = now + self.ban_s
        if len(self._banned) > PEERS_MAX:
            self._banned.popitem(last=False)
        return True


class Buckets:
    """A token bucket per name: ``burst`` at once, ``rate`` a second in the long run; a rate of 0 limits nothing."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = max(1, burst)
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  #: name -> (tokens, at)

    def take(self, name: str, now: float) -> float:
        """Spend one: 0; when there is none, the seconds until there will be, and nothing is spent."""
        if not self.rate:
            return 0.0
        tokens, at = self._levels.get(name, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - at) * self.rate)
        enough = tokens >= 1.0
        self._levels[name] = (tokens - 1.0 if enough else tokens), now
        self._levels.move_to_end(name)
        if len(self._levels) > PEERS_MAX:  # the one heard of longest ago: its bucket is full, or nearly
            self._levels.popitem(last=False)
        return 0.0 if enough else (1.0 - tokens) / self.rate
