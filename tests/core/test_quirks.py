"""What is learnt of terminals and models, what people say instead, and which counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from relay.core.quirks import KNOWN, MODEL, TERMINAL, QuirkError, Quirks, check
from relay.hub.ingest import Ingest
from relay.identity import StreamKey
from relay.jt1078.demux import Demuxer
from relay.jt1078.packet import build_packet
from relay.store.errors import StoreError
from relay.store.quirks import Profile
from relay.store.terminals import KnownTerminal
from tests.core.fakes import PHONE, SIM, Rows, World

OTHER = "013900139000"


class Kept:
    """The store's table."""

    def __init__(self, *profiles: Profile) -> None:
        self.profiles = list(profiles)
        self.put_: list[Profile] = []
        self.broken = False

    def all(self) -> Deferred[list[Profile]]:
        return succeed(self.profiles)

    def put(self, profile: Profile, now: float) -> Deferred[None]:
        if self.broken:
            return fail(StoreError("disk full"))
        self.put_.append(profile)
        return succeed(None)


def world(*profiles: Profile) -> tuple[World, Quirks, Kept]:
    core = World(Rows(KnownTerminal(phone=PHONE), KnownTerminal(phone=OTHER)))
    for phone in (PHONE, OTHER):
        device = core.device(phone)
        device.register(plate="")
        device.authenticate()
    kept = Kept(*profiles)
    quirks = Quirks(core.terminals, core.events, lambda: 0.0, kept)
    quirks.load()
    return core, quirks, kept


def test_what_is_learnt_of_one_is_known_of_its_model() -> None:
    core, quirks, kept = world()
    assert quirks.model_of(SIM) == "ABCDE/M1"
    assert quirks.get(SIM, "sim_bytes", 6) == 6
    assert quirks.learn(SIM, "sim_bytes", 10)
    assert not quirks.learn(SIM, "sim_bytes", 10)
    assert quirks.get(OTHER, "sim_bytes") == 10
    assert [(profile.kind, profile.name, profile.learnt) for profile in kept.put_] == [
        (TERMINAL, SIM, {"sim_bytes": 10}), (MODEL, "ABCDE/M1", {"sim_bytes": 10}),
    ]  # fmt: skip
    assert core.names().count("terminal.quirk") == 1
    core.terminals.close()


def test_people_know_better_and_the_terminals_own_better_than_the_models() -> None:
    core, quirks, _ = world()
    quirks.learn(SIM, "sim_bytes", 10)
    quirks.override(MODEL, "ABCDE/M1", {"sim_bytes": 6})
    assert quirks.get(SIM, "sim_bytes") == 6
    quirks.override(TERMINAL, SIM, {"sim_bytes": 10, "talk.silent": True})
    assert quirks.effective(SIM) == {"sim_bytes": 10, "talk.silent": True}
    quirks.override(TERMINAL, SIM, {})
    assert quirks.get(SIM, "sim_bytes") == 6
    quirks.forget(TERMINAL, SIM)
    assert quirks.profile(TERMINAL, SIM) == Profile(TERMINAL, SIM, {}, {})
    core.terminals.close()


def test_what_was_kept_is_there_after_a_restart() -> None:
    core, quirks, _ = world(Profile(MODEL, "ABCDE/M1", {"marks": "wrong"}, {}), Profile(TERMINAL, SIM, {}, {"talk.close_command": 0}))
    assert quirks.effective(SIM) == {"marks": "wrong", "talk.close_command": 0}
    core.terminals.close()


def test_a_store_that_refuses_is_counted_and_nothing_is_lost_meanwhile() -> None:
    core, quirks, kept = world()
    kept.broken = True
    quirks.learn(SIM, "talk.silent", True)
    assert quirks.get(SIM, "talk.silent") is True
    assert quirks.unsaved == 2
    core.terminals.close()


@pytest.mark.parametrize(
    "values",
    [
        {"colour": "red"}, {"sim_bytes": 8}, {"sim_bytes": True}, {"talk.silent": 1}, {"talk.close_command": 2}, {"talk.voice": {"pt": 0}},
        {"talk.voice": {"pt": 6, "speed": 1}}, {"talk.voice": {"pt": 8, "layout": "xx"}}, {"vehicle.fuel_cut": {}}, {"vehicle.fuel_cut": {"flags": 256}},
        {"vehicle.fuel_cut": {"controls": [[1]]}}, {"talk.keep_ms": -1}, {"timestamps": "odd"},
    ],
)  # fmt: skip
def test_what_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(QuirkError):
        check(values)


def test_what_can_be() -> None:
    check({
        "sim_bytes": 10, "talk.voice": {"pt": 8, "samples": 320, "bits": 3, "layout": "be", "hisi": True}, "vehicle.fuel_cut": {"flags": 4},
        "vehicle.circuit_cut": {"controls": [[61442, 1]]}, "talk.keep_ms": 0, "playback_beside_live": False, "sequence": "kind", "marks": "wrong",
    })  # fmt: skip
    assert all(quirk.words and quirk.values for quirk in KNOWN.values())


def test_a_media_connection_tells_what_its_terminal_is_like() -> None:
    core, quirks, _ = world()
    demuxer = Demuxer()
    for number in range(40):
        body = bytes((number,)) * 100
        demuxer.feed(build_packet(sim=PHONE, channel=1, pt=6, data_type=3, body=body, seq=number, timestamp=0, sim_bytes=10), 0.04 * number)
    ingest = Ingest(SIM, 1)
    for number in range(20):
        ingest.timeline.audio(5, 0.04 * number, 40)
    stream: Any = SimpleNamespace(key=StreamKey(SIM, 1), ingest=ingest)
    quirks.media_seen(stream, "00000000013800138000", demuxer)
    assert quirks.effective(SIM) == {"sim_bytes": 10, "timestamps": "frozen"}
    quirks.media_seen(SimpleNamespace(key=StreamKey("13700000000", 1), ingest=ingest), "13700000000", demuxer)  # type: ignore[arg-type]
    quirks.media_seen(SimpleNamespace(key=StreamKey(OTHER, 1), ingest=Ingest(OTHER, 1)), "000056aebc2a", Demuxer())  # type: ignore[arg-type]
    assert quirks.get(OTHER, "sim_field") == "000056aebc2a"
    core.terminals.close()
