"""The table of what is peculiar to terminals and models."""

from __future__ import annotations

from relay.store.connection import Connection
from relay.store.quirks import Profile, put, select


def test_profiles_are_written_changed_and_removed(connection: Connection) -> None:
    one = Profile("model", "厂家/M1", {"sim_bytes": 10}, {"talk.voice": {"pt": 6, "samples": 320, "hisi": False}})
    put(connection, one, 1.0)
    put(connection, Profile("terminal", "13800138000", {"marks": "wrong"}, {}), 2.0)
    assert select(connection) == [one, Profile("terminal", "13800138000", {"marks": "wrong"}, {})]
    put(connection, one._replace(override={}), 3.0)
    assert select(connection)[0] == one._replace(override={})
    put(connection, Profile("terminal", "13800138000", {}, {}), 4.0)
    assert [profile.name for profile in select(connection)] == ["厂家/M1"]
