"""Finds streams, decides which connection may feed one, and tells observers of beginnings and ends.

A stream's source, as the registry sees it:

    connect()  ── admission refuses ──────────────────────────────→ Refusal, event "refused"
       │ admitted
       ├─ no stream yet ──────────────────→ new Stream, events "connected", "first_packet"
       ├─ stream without a source (lost) ─→ the same Stream goes on, viewers stay
       ├─ source running, new one requested ─→ the old one is closed ("replaced"), the same Stream goes on
       └─ source running, new one unrequested → Refusal("running"); a source silent for ``Options.stalled_s`` counts as not running

    "A media connection that no command of ours asked for … never takes the place of a requested or running stream of
    the same channel: it is refused and raised as an event." (contract, section 5)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from twisted.logger import Logger

from relay.codec.frame import AudioConfig, VideoConfig
from relay.hub.derived import Derivations
from relay.hub.formats import Options
from relay.hub.merge import Clock, DelayedCall, Merge
from relay.hub.muxers import MUXERS, MakeMuxer, unsupported
from relay.hub.poller import SegmentViewer, Waits
from relay.hub.seams import Ingest, Transcoders
from relay.hub.stream import Stream
from relay.hub.viewer import Viewer
from relay.identity import StreamKey, phone_key

_log = Logger()

SWEEP_S = 1.0
#: a viewer of an ended stream that takes nothing for so long is cut off
DRAIN_S = 10.0


class Admitted(NamedTuple):
    """What admission lets in."""

    key: StreamKey
    requested: bool  #: a command of ours (0x9101, 0x9201) asked for this connection and it has not come yet


class Refusal(NamedTuple):
    """Why a media connection is not let in."""

    reason: str  #: one word: "unknown" "offline" "unrequested" "running" "limit" …
    message: str = ""  #: for the log and the event


class Admission(Protocol):
    """Who may send media; ``core.live`` implements it.

    Called once for every (SIM, channel) of a connection, at its first packet.
    """

    def admit(self, kind: str, sim: str, channel: int, peer: str, transport: str) -> Admitted | Refusal:
        """``kind`` is the port's ("live", "playback", "talk"), ``sim`` as on the wire, ``peer`` "address:port".

        ``transport`` is "tcp", "tls" or "udp".
        """


class Source(Protocol):
    """What feeds a stream: one (SIM, channel) of one connection."""

    peer: str  #: "address:port"
    transport: str  #: "tcp" | "tls" | "udp"

    def close(self, reason: str) -> None:
        """Stop feeding and give the connection up (when no other stream uses it). The registry has already let go of it."""


class StreamEvent(NamedTuple):
    """Something that happened to a stream.

    =================  ==================================================  =====================
    name               when                                                detail
    =================  ==================================================  =====================
    connected          a source was admitted                               "tcp 10.0.0.1:4711"
    first_packet       its first packet was read                           ""
    first_key_frame    the first key frame of this source                  "h264 704x576"
    audio_ready        the first sound of this source                      "g711a 8000 Hz"
    config_changed     a track's description changed                       "video h264 1280x720"
    viewers            a viewer came or went                               number of viewers
    replaced           another connection took the source's place          peer of the new one
    lost               the source's connection ended                       cause
    refused            a connection was not let in (stream may be None)    reason and message
    ended              the stream is over; it is no longer in the registry cause
    =================  ==================================================  =====================
    """

    name: str
    key: StreamKey
    stream: Stream | None
    detail: str
    time: float  #: monotonic seconds
    peer: str = ""


Observer = Callable[[StreamEvent], None]
IngestFactory = Callable[[StreamKey], Ingest]


class Registry:
    """All streams of the process."""

    def __init__(
        self,
        clock: Clock,
        options: Options,
        merge: Merge,
        ingests: IngestFactory,
        admission: Admission | None = None,
        transcoders: Transcoders | None = None,
        muxers: Mapping[str, MakeMuxer] | None = None,
        unsupported: Callable[[str, VideoConfig | AudioConfig], str] = unsupported,
        wall: Callable[[], float] = lambda: 0.0,
        derivations: Derivations | None = None,
    ) -> None:
        """``wall``: seconds since 1970, for the times that players are told."""
        self.clock = clock
        self.options = options
        self.merge = merge
        self.admission = admission  #: may be set later; None admits nothing
        self._ingests = ingests
        self.transcoders = transcoders
        self.muxers = muxers if muxers is not None else MUXERS
        self.unsupported = unsupported
        self._draining: dict[Viewer, None] = {}
        self._sweep_call: DelayedCall | None = None
        self.wall = wall
        self.derivations = derivations
        self.segment_waits = Waits()
        #: (stream, viewer): told of every viewer that is closed
        self.on_viewer_gone: Callable[[Stream, Viewer | SegmentViewer], None] | None = None
        self._streams: dict[StreamKey, Stream] = {}
        self._observers: list[Observer] = []
        self.refused = 0  #: connections not let in, in all
        self.unhandled = 0  #: faults of our own, each logged with its traceback; 0 in a sound program

    # finding ------------------------------------------------------------

    def get(self, key: StreamKey) -> Stream | None:
        """The stream of that key, running, starting or waiting for its source to come back."""
        return self._streams.get(key)

    def streams(self) -> Iterator[Stream]:
        """All of them; safe to end streams while iterating."""
        return iter(list(self._streams.values()))

    def __len__(self) -> int:
        return len(self._streams)

    # observing ----------------------------------------------------------

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call ``observer(event)`` for everything that happens; returns a function that ends it. An observer must not raise."""
        self._observers.append(observer)

        def stop() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return stop

    def emit(self, name: str, key: StreamKey, stream: Stream | None, detail: str = "", peer: str = "") -> None:
        """Tell all observers; one that fails is logged and does not keep the others from hearing."""
        event = StreamEvent(name, key, stream, detail, self.clock.seconds(), peer)
        for observer in list(self._observers):
            try:
                observer(event)
            except Exception:
                _log.failure("observer of streams failed at {name} of {key}", name=name, key=str(key))

    def viewer_gone(self, stream: Stream, viewer: Viewer | SegmentViewer) -> None:
        """A viewer is closed; who hears of it must not keep the stream from going on."""
        if self.on_viewer_gone is None:
            return
        try:
            self.on_viewer_gone(stream, viewer)
        except Exception:
            self.unhandled += 1
            _log.failure("hearing of a viewer's end failed")

    # sources ------------------------------------------------------------

    def connect(self, kind: str, sim: str, channel: int, source: Source) -> Stream | Refusal:
        """A connection has shown its first packet: ask admission, then ``open``. A refusal is counted and raised as an event."""
        if self.admission is None:
            answer: Admitted | Refusal = Refusal("closed", "no admission is set up")
        else:
            answer = self.admission.admit(kind, sim, channel, source.peer, source.transport)
        if isinstance(answer, Admitted):
            result = self.open(answer.key, source, requested=answer.requested)
            if isinstance(result, Stream):
                return result
            answer = result
        return self.refuse(StreamKey(phone_key(sim), channel, kind), source, answer)

    def refuse(self, key: StreamKey, source: Source, refusal: Refusal) -> Refusal:
        """Count a refusal and raise it as an event."""
        self.refused += 1
        detail = f"{refusal.reason}: {refusal.message}" if refusal.message else refusal.reason
        self.emit("refused", key, self._streams.get(key), detail, source.peer)
        return refusal

    def open(self, key: StreamKey, source: Source, requested: bool = True) -> Stream | Refusal:
        """Join a source to the stream of that key, which is made when it does not exist."""
        now = self.clock.seconds()
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream(self, key, self._ingests(key))
            if self._sweep_call is None:
                self._sweep_call = self.clock.callLater(SWEEP_S, self._sweep)
        elif not requested and not stream.stalled(now):
            return Refusal("running", "the channel already has a running source, and nobody asked for another")
        stream.attach_source(source, requested, now)
        self.emit("connected", key, stream, f"{source.transport} {source.peer}", source.peer)
        self.emit("first_packet", key, stream, "", source.peer)
        return stream

    def child(self, key: StreamKey, ingest: Ingest) -> Stream:
        """A stream without a source, which whoever asks for it feeds."""
        stream = self._streams[key] = Stream(self, key, ingest)
        stream.first_packet = self.clock.seconds()
        return stream

    def forget(self, stream: Stream) -> None:
        """A stream has ended."""
        if self._streams.get(stream.key) is stream:
            del self._streams[stream.key]

    def drain(self, viewer: Viewer) -> None:
        """A viewer of an ended stream still sends what it has queued."""
        self._draining[viewer] = None
        if self._sweep_call is None:
            self._sweep_call = self.clock.callLater(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Once a second while there is anything to look after."""
        self._sweep_call = None
        now = self.clock.seconds()
        for stream in self.streams():
            try:
                stream.sweep(now)
            except Exception:  # one stream's fault must not end the looking after all others
                self.unhandled += 1
                _log.failure("looking after {key} failed", key=str(stream.key))
        for viewer in list(self._draining):
            if not viewer.busy or viewer.is_stuck(now, DRAIN_S):
                del self._draining[viewer]
                viewer.close("stuck")
        if self._streams or self._draining:
            self._sweep_call = self.clock.callLater(SWEEP_S, self._sweep)

    def close(self) -> None:
        """End every stream (shutdown)."""
        for stream in self.streams():
            stream.end("shutdown")
        for viewer in list(self._draining):
            viewer.close("shutdown")
        self._draining.clear()
        if self._sweep_call is not None and self._sweep_call.active():
            self._sweep_call.cancel()
        self._sweep_call = None
