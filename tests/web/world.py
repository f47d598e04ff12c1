"""The whole web side over real terminals, streams and live channels, in memory: only sockets, media and the store are stand-ins."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail

from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.core.accounts import Accounts
from relay.core.admission import Admission
from relay.core.alias import Resolver
from relay.core.live import Live, MediaPorts
from relay.core.orders import Orders
from relay.core.playback import Playbacks
from relay.core.ptz import Ptz
from relay.core.quirks import Quirks
from relay.core.recordings import Recordings
from relay.core.talk import Talks
from relay.core.tokens import Signer
from relay.hub.formats import Options
from relay.hub.ingest import Ingest
from relay.hub.merge import Merge
from relay.hub.pace import PlaybackIngest
from relay.hub.registry import Registry
from relay.hub.stream import Stream
from relay.identity import StreamKey, phone_key
from relay.jt808.messages.video import RealtimeAvRequest
from relay.settings import Media, Settings
from relay.store.errors import StoreConflictError
from relay.store.terminals import KnownTerminal
from relay.web.pages import Page
from relay.web.server import Site
from relay.web.site import WebParts, make_site
from relay.web.websocket import Opcode, frame
from tests.core.accounts_fakes import UserRows
from tests.core.fakes import PHONE, WALL, Device, World
from tests.core.fakes import Rows as CoreRows
from tests.web.support import UPGRADE, MemorySink, MemoryTransport, Response, Server

H264 = VideoConfig("h264", (b"\x67sps", b"\x68pps"), b"record", 352, 288, "avc1.42001E")
H265 = replace(H264, codec="h265", rfc6381="hvc1.1.6.L93.90")
G711 = AudioConfig("g711a", 8000, 1)


class Rows(CoreRows):
    """The store's table of terminals, as far as the web side uses it."""

    def resolve(self, name: str) -> Deferred[KnownTerminal | None]:
        row = self.rows.get(phone_key(name))
        named = [each for each in self.rows.values() if name and name in (each.alias, each.plate)]
        return self._answer(row or (named[0] if len(named) == 1 else None))

    def add(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[KnownTerminal]:
        if terminal.key in self.rows:
            return fail(StoreConflictError(f"terminal {terminal.phone} is known already"))
        return self.upsert(terminal, now, code)

    def upsert(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[Any]:
        taken = [row for row in self.rows.values() if terminal.alias and row.alias == terminal.alias and row.key != terminal.key]
        if taken:
            return fail(StoreConflictError(f"alias {terminal.alias} belongs to terminal {taken[0].phone}"))
        return super().upsert(terminal, now, code)

    def remove(self, number: str) -> Deferred[bool]:
        return self._answer(self.rows.pop(phone_key(number), None) is not None)


class ToyMuxer:
    """Bytes that tests can read: ``<H h264 g711a>`` and ``<K0>`` for a key frame at 0."""

    content_type = "video/x-toy"

    def __init__(self) -> None:
        self._video: VideoConfig | None = None
        self._audio: AudioConfig | None = None

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        changed = (video, audio) != (self._video, self._audio)
        self._video, self._audio = video, audio
        return self.header() if changed else b""

    def header(self) -> bytes:
        names = [config.codec for config in (self._video, self._audio) if config is not None]
        return f"<H {' '.join(names)}>".encode()

    def write(self, frame: Frame) -> bytes:
        if frame.kind == AUDIO:
            return b"<a%d>" % frame.dts if self._audio is not None else b""
        return b"<%s%d%s>" % (b"K" if frame.key else b"p", frame.dts, b"x" * (len(frame.data) - 5))


def unsupported(container: str, config: VideoConfig | AudioConfig) -> str:
    """The toy container carries no H.265."""
    return f"{container} cannot carry h265" if config.codec == "h265" else ""


def ingest_of(key: StreamKey) -> Ingest:
    return (PlaybackIngest if key.kind == "playback" else Ingest)(key.sim, key.channel)


class Source:
    """A media connection of a terminal."""

    transport = "tcp"

    def __init__(self, peer: str = "10.0.0.7:50000") -> None:
        self.peer = peer
        self.closed = ""

    def close(self, reason: str) -> None:
        self.closed = reason


class Relay(Server):
    """A relay whose web side is real."""

    def __init__(
        self, media: dict[str, Any] | None = None, sinks: Any = None, more: Callable[[Relay], dict[str, Any]] | None = None, **sections: Any
    ) -> None:
        """``sinks`` makes the sinks of real sockets, ``more`` further parts of the web side."""
        row = KnownTerminal(phone=PHONE, plate="粤B12345", plate_color=1, alias="bus-17")
        self.core = World(Rows(row, KnownTerminal(phone="013900139000", plate="粤C00001")))
        self.clock = self.core.clock
        self.clock.advance(1000)  # 0.0 stands for "not yet" in the hub
        self.rows: Rows = self.core.rows  # type: ignore[assignment]
        self.settings = replace(Settings(), media=Media(**(media or {})), **sections)
        self.signer = Signer("a key of tests, long enough", leeway_s=30)
        self.hub = Registry(
            self.clock, Options(flv_audio="source", mp4_audio="source"), Merge(self.clock, 0), ingest_of,
            muxers={"flv": lambda fmt, key: ToyMuxer(), "mp4": lambda fmt, key: ToyMuxer(), "mjpeg": lambda fmt, key: ToyMuxer()}, unsupported=unsupported,
            wall=self.wall,
        )  # fmt: skip
        self.users = UserRows()
        self.accounts = Accounts(self.users, self.signer, self.clock, self.wall)
        resolver = Resolver(self.core.terminals, self.rows)
        admission = Admission(self.core.terminals, resolver, self.clock, self.core.events, self.settings.media.unrequested)
        self.live = Live(
            self.settings.media, self.hub, self.core.terminals, resolver, admission, self.clock, self.core.events, self.wall, MediaPorts(1078, 1079), 0
        )
        searches = Recordings(self.core.terminals, resolver, self.clock, self.core.events)
        self.playbacks = Playbacks(
            self.settings.media, self.hub, self.core.terminals, resolver, admission, self.live, self.clock, self.core.events, self.wall,
            MediaPorts(1178, 1179),
        )  # fmt: skip
        searches.claim = self.playbacks.claim
        self.orders = Orders(self.core.terminals, self.clock, self.core.events)
        self.ptz = Ptz(self.core.terminals, self.clock, self.core.events)
        self._calls = itertools.count(1)
        self.quirks = Quirks(self.core.terminals, self.core.events, self.wall)
        self.talks = Talks(
            self.settings.media, self.core.terminals, resolver, self.quirks, self.clock, self.core.events, self.wall, lambda: f"call{next(self._calls)}",
            1278, range(1279, 1282),
        )  # fmt: skip
        self.problems: list[str] = []
        self.sinks: list[MemorySink] = []
        self.transports: list[MemoryTransport] = []
        self.web = make_site(
            WebParts(
                settings=self.settings, clock=self.clock, wall=self.wall, signer=self.signer, accounts=self.accounts,
                rows=self.rows, terminals=self.core.terminals, resolver=resolver, hub=self.hub, live=self.live,
                searches=searches, playbacks=self.playbacks,
                orders=self.orders, ptz=self.ptz, talks=self.talks, quirks=self.quirks, events=self.core.events, sinks=sinks or self.make_sink, version="1.2.3",
                problems=lambda: self.problems, pages={"index.html": Page(b"<html>", "text/html; charset=utf-8", '"tag"')},
                **(more(self) if more is not None else {}),
            )
        )  # fmt: skip
        self.site: Site = self.web.site
        self.device: Device | None = None

    def wall(self) -> float:
        return WALL + self.clock.seconds()

    # tokens --------------------------------------------------------------------

    def api_token(self, role: str = "admin", seconds: float = 3600) -> str:
        return self.signer.api(role, seconds, self.wall(), f"the {role}")

    def media_token(self, pattern: str = "*", seconds: float = 120, **more: Any) -> str:
        return self.signer.media(pattern, seconds, self.wall(), **more)

    # asking ----------------------------------------------------------------------

    def api(self, method: str, path: str, body: Any = None, role: str = "admin", expect: int = 200) -> Any:
        """One call of the API that is answered at once; the JSON of its answer."""
        answer = self.call(method, path, body, role)
        assert answer.status == expect, (answer.status, answer.body)
        return json.loads(answer.body) if answer.body else None

    def call(self, method: str, path: str, body: Any = None, role: str = "admin") -> Response:
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.api_token(role)}"} if role else {}
        return self.ask(method, f"/api/v1{path}", headers, data)

    def begin(self, method: str, path: str, body: Any = None) -> MemoryTransport:
        """One call of the API whose answer is waited for."""
        data = b"" if body is None else json.dumps(body).encode()
        return self.send(method, f"/api/v1{path}", {"Authorization": f"Bearer {self.api_token()}"}, data)

    def get(self, path: str, token: str | None = None, **headers: str) -> MemoryTransport:
        """A player's request over HTTP."""
        joint = "&" if "?" in path else "?"
        return self.send("GET", f"{path}{joint}token={token or self.media_token()}", headers)

    def socket(self, path: str, token: str | None = None) -> MemoryTransport:
        """A player's request for a WebSocket."""
        joint = "&" if "?" in path else "?"
        target = path if token == "" else f"{path}{joint}token={token or self.media_token()}"
        return self.send("GET", target, UPGRADE)

    # the terminal -------------------------------------------------------------------

    def online(self) -> Device:
        """The terminal registers and authenticates."""
        self.device = self.core.online()
        return self.device

    def asked(self) -> RealtimeAvRequest:
        """The terminal reads a 0x9101 and answers yes."""
        assert self.device is not None
        for header, message in self.device.commands():
            if isinstance(message, RealtimeAvRequest):
                self.device.answer(header)
                return message
        raise AssertionError("no 0x9101 came")

    def media(self, channel: int = 1, sim: str = PHONE) -> Stream:
        """The terminal's media connection and its first packet."""
        stream = self.hub.connect("live", sim, channel, Source())
        assert isinstance(stream, Stream), stream
        return stream

    def running(self, channel: int = 1) -> Stream:
        """A channel that sends already, whoever asked for it."""
        if self.device is None:
            self.online()
        stream = self.media(channel)
        picture(stream, 0, key=True)
        return stream

    def end(self) -> None:
        """Everything is closed; nothing may be left on the clock."""
        self.web.close()
        self.playbacks.close()
        self.ptz.close()
        self.talks.close()
        self.orders.close()
        self.live.close()
        self.hub.close()
        self.core.terminals.close()
        super().end()
        assert self.hub.unhandled == 0
        assert self.web.router.failures == 0


def picture(stream: Stream, dts: int, key: bool = False, config: VideoConfig = H264, size: int = 5) -> None:
    """One picture of the source."""
    stream.push([Frame(VIDEO, dts, dts, key, bytes(size), config)])


def sound(stream: Stream, dts: int) -> None:
    """One block of sound of the source."""
    stream.push([Frame(AUDIO, dts, dts, True, bytes(320), G711, 320)])


def split(data: bytes) -> list[tuple[int, bytes]]:
    """A server's WebSocket frames: (opcode, payload); for a close frame (8, code and reason)."""
    frames = []
    while data:
        size, at = data[1], 2
        assert not size & 0x80, "servers do not mask"
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        assert data[0] & 0x80
        frames.append((data[0] & 15, data[at : at + size]))
        data = data[at + size :]
    return frames


def messages(transport: MemoryTransport) -> list[Any]:
    """What came over a WebSocket since the last call: JSON of texts, bytes of binaries, (code, reason) of a close frame."""
    data = transport.value()
    transport.clear()
    if data.startswith(b"HTTP/1.1 101"):
        data = data.partition(b"\r\n\r\n")[2]
    out: list[Any] = []
    for opcode, payload in split(data):
        if opcode == Opcode.TEXT:
            out.append(json.loads(payload))
        elif opcode == Opcode.CLOSE:
            out.append((int.from_bytes(payload[:2], "big"), payload[2:].decode()))
        elif opcode in (Opcode.PING, Opcode.PONG):
            out.append(Opcode(opcode))
        else:
            out.append(payload)
    return out


def body(transport: MemoryTransport) -> bytes:
    """What a player over HTTP has got, without the head."""
    return transport.value().partition(b"\r\n\r\n")[2]


def masked(data: bytes) -> bytes:
    """A server-style frame as a client sends it, with the mask 0."""
    assert data[1] < 126
    return bytes((data[0], 0x80 | data[1])) + bytes(4) + data[2:]


CLIENT_CLOSE = masked(frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))
