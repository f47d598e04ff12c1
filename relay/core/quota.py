"""What one user may have at once and do in a while: viewers, and requests to the API (``[limits]``).

    viewers_per_user      of an account, whichever of its sessions and play URLs they come by
    viewers_per_token     of any other name that stands in a token: an application's, or the ``viewer`` it named
    requests_per_user_s   of an account or an API token: a bucket of requests_burst tokens, filled at that rate

Media tokens that name nobody are not limited: they are the site's own business. Superiors' players, pushes and recordings are no viewers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.throttle import Buckets, PeerLog
from relay.core.trace import REQUESTED
from relay.settings import Limits

log = Logger()


class Quota:
    """The counts of everybody."""

    def __init__(self, limits: Limits, now: Callable[[], float], is_account: Callable[[str], bool]) -> None:
        self._limits = limits
        self._is_account = is_account
        self._viewers: Counter[str] = Counter()
        self._requests = Buckets(limits.requests_per_user_s, limits.requests_burst)
        self._now = now
        self._log = PeerLog(log, now, max(limits.log_peer_s, 1.0))
        self.counts: Counter[str] = Counter()  #: refusals by what was too much, for metrics

    # viewers -----------------------------------------------------------------

    def viewers_of(self, name: str) -> int:
        """How many there are now, those that still wait for their picture included."""
        return self._viewers[name]

    async def viewer(self, name: str, acquire: Callable[[], Awaitable[Lease]]) -> Lease:
        """What ``acquire`` gives, counted for ``name`` until it is over; StartFailed (429) when there are too many already."""
        if not name:
            return await acquire()
        key = "viewers_per_user" if self._is_account(name) else "viewers_per_token"
        limit: int = getattr(self._limits, key)
        if limit and self._viewers[name] >= limit:
            self.counts["viewers"] += 1
            self._log.warn(name, "{who}: a play is refused, {limit} run already (limits.{key})", who=name, limit=limit, key=key)
            hint = f"Close players that are not needed; the operator may raise limits.{key}."
            raise StartFailed(429, "too_many_viewers", f"{name} has {limit} players running, as many as one may have.", hint, REQUESTED)
        self._viewers[name] += 1
        try:
            lease = await acquire()
        except BaseException:
            self._over(name)
            raise
        lease.when_over(lambda: self._over(name))
        return lease

    def _over(self, name: str) -> None:
        self._viewers[name] -= 1
        if self._viewers[name] <= 0:
            del self._viewers[name]

    # requests ----------------------------------------------------------------

    def request(self, subject: str, name: str) -> float:
        """One more request; 0 = it may go on, else the seconds after which it may be tried again."""
        wait = self._requests.take(subject, self._now())
        if wait:
            self.counts["requests"] += 1
            text = "{who}: requests to the API are refused, more than {rate:g} a second (limits.requests_per_user_s)"
            self._log.warn(subject, text, who=name, rate=self._limits.requests_per_user_s)
        return wait
