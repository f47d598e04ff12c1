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

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from twisted.logger import Logger

from relay.hub.formats import Options
from relay.hub.merge import Clock, Merge
from relay.hub.stream import Ingest, Stream, Transcoders
from relay.identity import StreamKey

_log = Logger()


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
        """``kind`` is the port's ("live", "playback", "talk"), ``sim`` as on the wire, ``peer`` "address:port", ``transport`` "tcp", "tls" or "udp"."""


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
    ) -> None:
        self.clock = clock
        self.options = options
        self.merge = merge
        self.admission = admission  #: may be set later; None admits nothing
        self._ingests = ingests
        self._transcoders = transcoders
        self._streams: dict[StreamKey, Stream] = {}
        self._observers: list[Observer] = []
        self.refused = 0  #: connections not let in, in all

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
        return self.refuse(StreamKey(sim, channel, kind), source, answer)

    def refuse(self, key: StreamKey, source: Source, refusal: Refusal) -> Refusal:
        """Count a refusal and raise it as an event."""
        self.refused += 1
        self.emit("refused", key, self._streams.get(key), f"{refusal.reason}: {refusal.message}" if refusal.message else refusal.reason, source.peer)
        return refusal

    def open(self, key: StreamKey, source: Source, requested: bool = True) -> Stream | Refusal:
        """Join a source to the stream of that key, which is made when it does not exist."""
        raise NotImplementedError

    def close(self) -> None:
        """End every stream (shutdown)."""
        for stream in self.streams():
            stream.end("shutdown")
