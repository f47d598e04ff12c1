"""A player's connection, as the server sees it (RTMP 1.0, 7.2); bytes and decisions in, bytes and events out.

::

    HANDSHAKE ──C2──→ CONNECTING ──connect──→ READY ──createStream, play──→ STARTING ──play_started──→ PLAYING
                                                ↑                              │ play_failed              │
                                                └──── deleteStream, closeStream, play_ended ──────────────┘
    every state ──error──→ CLOSED

A player's ``play`` is an event; whoever has the channels answers it with ``play_started`` or ``play_failed``. Media are not written here: all
players of a stream get the same bytes (``rtmp.mux``), which is why every one has message stream 1 and the chunk size that ``mux`` has.
An encoder's ``publish`` is refused.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from relay.errors import DecodeError, FrameError
from relay.rtmp import chunks
from relay.rtmp.commands import Command, command, data, status
from relay.rtmp.handshake import ServerHandshake
from relay.rtmp.mux import CHUNK_SIZE, STREAM_ID
from relay.rtmp.peer import PING_REQUEST, STREAM_BEGIN, STREAM_EOF, Peer

WINDOW = 2_500_000  #: bytes; what other servers say
MESSAGE_MAX = 65536  #: players send commands, a few hundred bytes each
REFUSAL = "this server takes no publishers: pictures come from JT/T 1078 terminals only"


class State(enum.Enum):
    """Where a session is."""

    HANDSHAKE = "handshake"
    CONNECTING = "connecting"  #: the connect command is awaited
    READY = "ready"
    STARTING = "starting"  #: a play awaits its answer
    PLAYING = "playing"
    CLOSED = "closed"


class Play(NamedTuple):
    """A player wants a stream."""

    app: str
    tc_url: str
    name: str
    duration: float  #: seconds; negative = to the end
    fourccs: tuple[str, ...]  #: what the player said it can decode (Enhanced RTMP); () = nothing said


class Pause(NamedTuple):
    """The player paused, or goes on."""

    on: bool


class Stop(NamedTuple):
    """The player wants no more of its stream."""


class Refused(NamedTuple):
    """Something was refused and the connection is to end, when the answer has left."""

    why: str


Event = Play | Pause | Stop | Refused


class ServerSession:
    """One connection. ``noise``: random bytes for the handshake."""

    NOISE = ServerHandshake.NOISE

    def __init__(self, noise: bytes) -> None:
        self.state = State.HANDSHAKE
        self.app = ""
        self.tc_url = ""
        self.flash_version = ""
        self.peer = Peer(MESSAGE_MAX)
        self._handshake: ServerHandshake | None = ServerHandshake(noise)
        self._fourccs: tuple[str, ...] = ()
        self._stream_made = False
        self._events: list[Event] = []

    # bytes ------------------------------------------------------------------

    def receive(self, received: bytes, now_ms: int) -> None:
        """Bytes of the client. Raises FrameError or DecodeError: the connection cannot go on."""
        if self.state is State.CLOSED:
            return
        self.peer.received += len(received)
        handshake = self._handshake
        try:
            if handshake is not None:
                self.peer.send(handshake.receive(received, now_ms))
                if not handshake.done:
                    return
                self._handshake = None
                self.state = State.CONNECTING
                received = handshake.rest
            for message in self.peer.reader.receive(received):
                self._message(message)
                if self.state is State.CLOSED:
                    return
        except (FrameError, DecodeError):
            self.state = State.CLOSED
            raise
        self.peer.acknowledge()

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def bytes_to_send(self) -> bytes:
        """What has gathered; between two messages of media when a stream plays."""
        return self.peer.bytes_to_send()

    def ping(self, now_ms: int) -> None:
        """Ask whether the player is still there."""
        if self.state not in (State.HANDSHAKE, State.CLOSED):
            self.peer.send(chunks.user_control(PING_REQUEST, now_ms & 0xFFFFFFFF))

    # messages -----------------------------------------------------------------

    def _message(self, message: chunks.Message) -> None:
        if self.peer.control(message) or message.type not in (chunks.COMMAND, chunks.COMMAND_AMF3):
            return  # media of an encoder that did not wait for its answer, shared objects: nothing of ours
        request = self.peer.read(message)
        if request is None:
            return
        if self.state is State.CONNECTING:
            if request.name != "connect":
                raise FrameError("sequence", f"the first command is {request.name[:40]!r} instead of connect")
            self._connect(request)
            return
        action = _ACTIONS.get(request.name)
        if action is not None:
            action(self, request)
        elif request.transaction and request.name not in ("_result", "_error", "onStatus"):
            self._result(request, None)  # _checkbw and whatever else clients ask: an empty answer keeps them going

    def _result(self, request: Command, *values: object) -> None:
        self.peer.send(command("_result", request.transaction, *values, chunk_size=CHUNK_SIZE))

    def _status(self, code: str, description: str, level: str = "status") -> None:
        self.peer.send(status(level, code, description, STREAM_ID, CHUNK_SIZE))

    def _connect(self, request: Command) -> None:
        self.app = request.word("app")
        self.tc_url = request.word("tcUrl")
        self.flash_version = request.word("flashVer")
        self._fourccs = _fourccs(request.properties)
        send = self.peer.send
        send(chunks.control(chunks.WINDOW_ACK_SIZE, WINDOW))
        bandwidth = WINDOW.to_bytes(4, "big") + b"\x02"
        send(chunks.write_message(chunks.CONTROL_CSID, chunks.SET_PEER_BANDWIDTH, 0, 0, bandwidth, chunks.CHUNK_DEFAULT))
        send(chunks.control(chunks.SET_CHUNK_SIZE, CHUNK_SIZE))
        properties: dict[str, object] = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31}
        if self._fourccs:
            properties["fourCcList"] = ["avc1", "hvc1"]
        information = {
            "level": "status",
            "code": "NetConnection.Connect.Success",
            "description": "Connection succeeded.",
            "objectEncoding": 0,
        }
        self._result(request, properties, information)
        self.state = State.READY

    def _create_stream(self, request: Command) -> None:
        if self._stream_made:
            information = {"level": "error", "code": "NetConnection.Call.Failed", "description": "one stream a connection"}
            self.peer.send(command("_error", request.transaction, None, information, chunk_size=CHUNK_SIZE))
            return
        self._stream_made = True
        self._result(request, None, STREAM_ID)

    def _delete_stream(self, request: Command) -> None:
        self._stream_made = False
        self._close_stream(request)

    def _close_stream(self, request: Command) -> None:
        if self.state in (State.STARTING, State.PLAYING):
            self.state = State.READY
            self._events.append(Stop())

    def _play(self, request: Command) -> None:
        if self.state is not State.READY:
            self._close_stream(request)  # another name on the same stream
        self.state = State.STARTING
        duration = request.number(2, -1.0)
        self._events.append(Play(self.app, self.tc_url, request.text(0), duration, self._fourccs))

    def _pause(self, request: Command) -> None:
        if self.state is not State.PLAYING:
            return
        on = request.arguments[:1] == [True]
        if on:
            self._status("NetStream.Pause.Notify", "Paused.")
        self._events.append(Pause(on))

    def resumed(self) -> None:
        """A pause is over; media may follow."""
        self.peer.send(chunks.user_control(STREAM_BEGIN, STREAM_ID))
        self._status("NetStream.Unpause.Notify", "Going on.")

    def _seek(self, request: Command) -> None:
        self._status("NetStream.Seek.Failed", "A live stream cannot be sought in.", "error")

    def _publish(self, request: Command) -> None:
        self._status("NetStream.Publish.BadName", REFUSAL, "error")
        self._close(f"an encoder wanted to publish: {REFUSAL}")

    def _length(self, request: Command) -> None:
        self._result(request, None, 0)

    def _ignore(self, request: Command) -> None:
        """Nothing to do: receiveAudio, receiveVideo and what else has no answer."""

    def _close(self, why: str) -> None:
        self.state = State.CLOSED
        self._events.append(Refused(why))

    # decisions --------------------------------------------------------------

    def play_started(self) -> None:
        """The stream is there; media follow what this adds to ``bytes_to_send``."""
        self.state = State.PLAYING
        self.peer.send(chunks.user_control(STREAM_BEGIN, STREAM_ID))
        self._status("NetStream.Play.Reset", "Playing and resetting.")
        self._status("NetStream.Play.Start", "Started playing.")
        self.peer.send(data(STREAM_ID, "|RtmpSampleAccess", True, True, chunk_size=CHUNK_SIZE))

    def play_failed(self, code: str, description: str) -> None:
        """It cannot be played; the connection is to end when this has left."""
        self._status(code, description, "error")
        self.state = State.CLOSED

    def play_ended(self, description: str) -> bytes:
        """The stream is over: the last words, to be sent between two messages."""
        self.state = State.CLOSED
        notify = status("status", "NetStream.Play.UnpublishNotify", description, STREAM_ID, CHUNK_SIZE)
        stop = status("status", "NetStream.Play.Stop", description, STREAM_ID, CHUNK_SIZE)
        return chunks.user_control(STREAM_EOF, STREAM_ID) + notify + stop


_ACTIONS = {
    "connect": ServerSession._ignore,
    "createStream": ServerSession._create_stream,
    "deleteStream": ServerSession._delete_stream,
    "closeStream": ServerSession._close_stream,
    "play": ServerSession._play,
    "play2": ServerSession._ignore,
    "pause": ServerSession._pause,
    "seek": ServerSession._seek,
    "publish": ServerSession._publish,
    "getStreamLength": ServerSession._length,
    "receiveAudio": ServerSession._ignore,
    "receiveVideo": ServerSession._ignore,
}


def _fourccs(values: object) -> tuple[str, ...]:
    """What a client says it can decode: ``fourCcList`` of Enhanced RTMP v1, ``videoFourCcInfoMap`` of v2."""
    if not isinstance(values, dict):
        return ()
    words: list[object] = []
    listed, mapped = values.get("fourCcList"), values.get("videoFourCcInfoMap")
    if isinstance(listed, list):
        words += listed
    if isinstance(mapped, dict):
        words += list(mapped)
    return tuple(word for word in words if isinstance(word, str))
