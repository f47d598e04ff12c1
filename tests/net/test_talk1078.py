"""Calls over real sockets, with a simulated terminal's media side that decodes what arrives; the delay from the microphone to it."""

from __future__ import annotations

import itertools
import math
import time
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from relay.app.service import MonotonicClock
from relay.codec import g711, pcm
from relay.core.talk import Talk
from relay.hub.voice import Uplink
from relay.jt1078.assembly import RawFrame
from relay.net.talk1078 import TalkServer
from relay.sim.faults import Faults
from relay.sim.media import MediaStream
from relay.sim.sources import PatternSource
from tests.core.fakes import PHONE
from tests.core.test_talk import Page, Studio

CLOCK: Any = MonotonicClock(reactor)


class Ears(Page):
    """A page that remembers when it heard what."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[tuple[float, int]] = []

    def sound(self, pcm_bytes: bytes) -> None:
        super().sound(pcm_bytes)
        numbers = pcm.samples(pcm_bytes)
        self.times.append((CLOCK.seconds(), max(numbers, default=0)))


@pytest.fixture
def studio() -> Iterator[Studio]:
    made = Studio()
    made.talks.clock = CLOCK
    yield made
    made.talks.close()
    made.core.terminals.close()


def later(seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)  # type: ignore[attr-defined]
    return done


async def call(studio: Studio, mode: str, *faults: str, audio: str = "g711a") -> tuple[Talk, Ears, MediaStream, Any]:
    """A terminal that is called and connects."""
    device = studio.online(host="127.0.0.1")
    server = TalkServer(studio.talks)
    ended = studio.call(mode=mode)
    request = studio.asked(device)
    listener: Any = reactor.listenTCP(0, server.factory(request.tcp_port), interface="127.0.0.1")  # type: ignore[attr-defined]
    source = PatternSource(PHONE, audio=audio, hisi_header="hisi" in faults)
    stream = MediaStream(CLOCK_REACTOR, time.time, source, sim=PHONE, channel=1, data_type=request.data_type, faults=Faults.parse(faults))
    stream.connect("127.0.0.1", listener.getHost().port, 0, False)
    for _ in range(300):
        if ended:
            break
        await later(0.01)
    [talk] = ended
    assert isinstance(talk, Talk), talk
    page = Ears()
    talk.attach(page)
    assert server.unhandled == 0
    return talk, page, stream, listener


class _Reactor:
    """The reactor with a monotonic clock, as the simulated terminal wants it."""

    def __init__(self) -> None:
        self.seconds = CLOCK.seconds
        self.callLater = reactor.callLater  # type: ignore[attr-defined]
        self.connectTCP = reactor.connectTCP  # type: ignore[attr-defined]


CLOCK_REACTOR = _Reactor()


async def close(talk: Talk, stream: MediaStream, listener: Any, studio: Studio) -> None:
    studio.talks.end(talk.id)
    stream.close()
    for _ in range(200):
        if not studio.talks._links:
            break
        await later(0.01)
    assert studio.talks.active == 0
    await listener.stopListening()


def onset(stream: MediaStream) -> float:
    """When the terminal's loudspeaker first played something loud."""
    for at, packet in stream.heard:
        if max(pcm.samples(g711.decode_a(packet.body))) > 4000:
            return at
    return math.inf


@pytest_twisted.ensureDeferred
async def test_page_to_terminal_within_300_ms(studio: Studio) -> None:
    talk, page, stream, listener = await call(studio, "talk")
    began = CLOCK.seconds()
    loud = pcm.to_bytes(array("h", [12000, -12000] * 80))
    for place in range(60):  # 20 ms a message, in real time, as a page sends them
        talk.speak(loud)
        await later(max(0.0, began + 0.02 * (place + 1) - CLOCK.seconds()))
    delay = onset(stream) - began
    print(f"page to terminal: {delay * 1000:.0f} ms")
    assert delay <= 0.3
    # and at the end as little behind as at the beginning
    assert stream.heard[-1][0] - (began + 1.2) <= 0.3
    assert [packet.seq for _, packet in stream.heard] == list(range(len(stream.heard)))
    assert len(page.heard) > 8000
    await close(talk, stream, listener, studio)


@pytest_twisted.ensureDeferred
async def test_what_was_said_comes_back_from_a_terminal_that_echoes(studio: Studio) -> None:
    talk, page, stream, listener = await call(studio, "talk", "talk-echo")
    began = CLOCK.seconds()
    loud = pcm.to_bytes(array("h", [12000, -12000] * 80))
    for place in range(20):
        talk.speak(loud)
        await later(max(0.0, began + 0.02 * (place + 1) - CLOCK.seconds()))
    await later(0.3)
    back = [at - began for at, peak in page.times if peak > 1000]
    print(f"page to terminal to page: {back[0] * 1000:.0f} ms")
    assert back[0] <= 0.6
    assert max(peak for _, peak in page.times) < 2000  # softer while the operator speaks
    await close(talk, stream, listener, studio)


@pytest_twisted.ensureDeferred
async def test_a_broadcast_reaches_a_terminal_that_sends_nothing(studio: Studio) -> None:
    talk, _page, stream, listener = await call(studio, "broadcast")
    began = CLOCK.seconds()
    loud = pcm.to_bytes(array("h", [12000, -12000] * 80))
    for place in range(15):
        talk.speak(loud)
        await later(max(0.0, began + 0.02 * (place + 1) - CLOCK.seconds()))
    assert onset(stream) - began <= 0.3
    assert stream.packets_sent == 0
    await close(talk, stream, listener, studio)


@pytest.mark.parametrize("audio", ["g711u", "g726", "adpcm", "aac"])
@pytest_twisted.ensureDeferred
async def test_terminals_are_spoken_to_in_their_own_codec(studio: Studio, audio: str) -> None:
    if audio == "aac":
        pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    talk, page, stream, listener = await call(studio, "talk", *(("hisi",) if audio == "adpcm" else ()), audio=audio)
    began = CLOCK.seconds()
    said = b""
    for place in range(75):
        chunk = array("h", [round(9000 * math.sin(2 * math.pi * 500 * n / 8000)) for n in range(160 * place, 160 * (place + 1))])
        said += pcm.to_bytes(chunk)
        talk.speak(pcm.to_bytes(chunk))
        await later(max(0.0, began + 0.02 * (place + 1) - CLOCK.seconds()))
    await later(0.2)
    ears = Uplink()
    heard = b""
    for number, (_, packet) in enumerate(stream.heard):
        raw = RawFrame(PHONE, 1, packet.pt, 3, packet.timestamp or 0, packet.body, 1, 0.04 * number)
        heard += ears.feed(raw, 0.04 * number)
    assert ears.voice is not None
    assert ears.voice.hisi == (audio == "adpcm")
    crossings = [n for n, (a, b) in enumerate(itertools.pairwise(pcm.samples(heard[-8000:-1600]))) if a < 0 <= b]
    assert 15 <= sum(later - earlier for earlier, later in itertools.pairwise(crossings)) / (len(crossings) - 1) <= 17  # 500 Hz at 8 kHz
    assert len(page.heard) > 8000
    await close(talk, stream, listener, studio)
