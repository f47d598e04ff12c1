"""What one user may have at once and do in a while."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.quota import Quota
from relay.core.throttle import PEERS_MAX, Buckets
from relay.settings import Limits


class Channel:
    """A channel that leases are of."""

    key: Any = None

    def now(self) -> float:
        return 0.0

    def release(self, lease: Lease) -> None: ...


class Clock:
    now = 1000.0


def quota(**limits: Any) -> Quota:
    return Quota(Limits(**limits), lambda: Clock.now, lambda name: name in ("ann", "bob"))


def play(owner: Quota, name: str) -> tuple[Deferred[Lease], list[Any]]:
    """A play whose channel has yet to answer, and what became of it."""
    channel: Deferred[Lease] = Deferred()
    got: list[Any] = []
    ensureDeferred(owner.viewer(name, lambda: channel)).addBoth(got.append)
    return channel, got


def lease(name: str = "ann") -> Lease:
    return Lease(Channel(), "", "av", "viewer", name)


def test_players_that_wait_count_and_each_end_makes_room() -> None:
    owner = quota(viewers_per_user=2)
    first, _ = play(owner, "ann")
    second, _ = play(owner, "ann")
    refused = play(owner, "ann")[1][0].value
    assert isinstance(refused, StartFailed)
    assert (refused.status, refused.code) == (429, "too_many_viewers")
    assert refused.message == "ann has 2 players running, as many as one may have."
    assert "limits.viewers_per_user" in refused.hint
    assert owner.counts == {"viewers": 1}
    assert play(owner, "bob")[1] == [], "others have their own"
    first.errback(StartFailed(504, "no_media", "nothing came"))
    assert owner.viewers_of("ann") == 1
    held = lease()
    second.callback(held)
    held.release()
    held.release()
    assert owner.viewers_of("ann") == 0
    for end in ("release", "end"):
        waiting, _ = play(owner, "ann")
        held = lease()
        waiting.callback(held)
        assert owner.viewers_of("ann") == 1
        held.release() if end == "release" else held.end("the terminal went")
        held.release()
        assert owner.viewers_of("ann") == 0, end


def test_a_lease_that_ended_before_it_was_given_does_not_count() -> None:
    owner = quota(viewers_per_user=1)
    waiting, _ = play(owner, "ann")
    over = lease()
    over.end("the terminal went")
    waiting.callback(over)
    assert owner.viewers_of("ann") == 0


def test_one_who_goes_while_waiting_makes_room() -> None:
    owner = quota(viewers_per_user=1)
    channel: Deferred[Lease] = Deferred()
    waiting = ensureDeferred(owner.viewer("ann", lambda: channel))
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert owner.viewers_of("ann") == 0


def test_names_that_are_no_accounts_have_a_limit_of_their_own_and_none_is_the_default() -> None:
    assert Limits().viewers_per_token == 0
    owner = quota(viewers_per_user=1)
    assert [play(owner, "an application")[1] for _ in range(50)] == [[]] * 50
    owner = quota(viewers_per_token=1)
    play(owner, "an application")
    assert "limits.viewers_per_token" in play(owner, "an application")[1][0].value.hint


def test_tokens_without_a_name_are_not_counted() -> None:
    owner = quota(viewers_per_user=1, viewers_per_token=1)
    assert [play(owner, "")[1] for _ in range(50)] == [[]] * 50
    assert owner.viewers_of("") == 0


def test_a_bucket_fills_at_its_rate() -> None:
    buckets = Buckets(2.0, 3)
    assert [buckets.take("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.4) == pytest.approx(0.1)
    assert buckets.take("a", 0.5) == 0.0
    assert [buckets.take("a", 100.0) for _ in range(4)].count(0.0) == 3, "never more than the burst"


def test_a_rate_of_nothing_limits_nothing_and_names_are_bounded() -> None:
    buckets = Buckets(0.0, 1)
    assert [buckets.take("a", 0.0) for _ in range(9)] == [0.0] * 9
    buckets = Buckets(1.0, 1)
    for number in range(PEERS_MAX + 10):
        buckets.take(str(number), 0.0)
    assert len(buckets._levels) == PEERS_MAX


def test_requests_are_counted_by_who_asks() -> None:
    owner = quota(requests_per_user_s=1.0, requests_burst=2)
    assert [owner.request("user ann", "ann") for _ in range(3)] == [0.0, 0.0, 1.0]
    assert owner.request("token 1", "ann") == 0.0
    assert owner.counts == {"requests": 1}
