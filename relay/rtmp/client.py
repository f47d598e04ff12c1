"""A connection to an outside server on which we publish (RTMP 1.0, 7.2); bytes and tags in, bytes and events out.

::

    HANDSHAKE ──S0 S1 S2──→ CONNECTING ──_result──→ CREATING ──_result──→ PUBLISHING ──Publish.Start──→ RUNNING ──→ CLOSED
                                 └── an error of the server in any state: Rejected ──────────────────────────────────↑

The time stamps of every publication begin at 0, whatever the stream's own are. ``releaseStream`` and ``FCPublish`` may be answered by an error.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from relay.errors import DecodeError, FrameError, UsageError
from relay.mux import amf0
from relay.rtmp import chunks
from relay.rtmp.chunks import AUDIO, DATA, VIDEO, Message
from relay.rtmp.commands import Command, command, information
from relay.rtmp.handshake import ClientHandshake
from relay.rtmp.mux import Tag, message
from relay.rtmp.peer import Peer

#: the size that the encoders in use send, so every server has seen it
CHUNK_SIZE = 4096
#: answers of servers are some hundred bytes; the limit is what they may hold against us
MESSAGE_MAX = 65536
FLASH_VERSION = "FMLE/3.0 (compatible; jt1078relay)"

_CONNECT, _RELEASE, _FC_PUBLISH, _CREATE = 1, 2, 3, 4
_SET_DATA_FRAME = amf0.encode("@setDataFrame")
_TEXT_MAX = 200  #: characters of what a server says that are passed on


class State(enum.Enum):
    """Where a session is."""

    HANDSHAKE = "handshake"
    CONNECTING = "connecting"
    CREATING = "creating"
    PUBLISHING = "publishing"
    RUNNING = "running"
    CLOSED = "closed"


class Started(NamedTuple):
    """The server takes media from now on."""


class Rejected(NamedTuple):
    """The server does not take it, or not any more; the connection is to be closed."""

    code: str
    description: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.description) if part) or "refused without a word"


class PublishSession:
    """One publication. ``noise``: random bytes for the handshake; ``fourccs``: announced to the server (Enhanced RTMP), ``("hvc1",)`` for H.265."""

    NOISE = ClientHandshake.NOISE

    def __init__(self, app: str, tc_url: str, name: str, fourccs: tuple[str, ...], noise: bytes, now_ms: int) -> None:
        self.state = State.HANDSHAKE
        self.peer = Peer(MESSAGE_MAX)
        self._app, self._tc_url, self._name, self._fourccs = app, tc_url, name, fourccs
        self._handshake: ClientHandshake | None = ClientHandshake(noise, now_ms)
        self._stream = 0
        self._base: int | None = None
        self._last = 0
        self._events: list[Started | Rejected] = []
        self.peer.send(self._handshake.hello)

    # bytes ------------------------------------------------------------------

    def receive(self, received: bytes) -> None:
        """Bytes of the server. Raises FrameError or DecodeError: the connection cannot go on."""
        if self.state is State.CLOSED:
            return
        self.peer.received += len(received)
        handshake = self._handshake
        try:
            if handshake is not None:
                self.peer.send(handshake.receive(received))
                if not handshake.done:
                    return
                self._handshake = None
                self._connect()
                received = handshake.rest
            for each in self.peer.reader.receive(received):
                self._message(each)
        except (FrameError, DecodeError):
            self.state = State.CLOSED
            raise
        self.peer.acknowledge()

    def events(self) -> list[Started | Rejected]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def bytes_to_send(self) -> bytes:
        """What has gathered; to be sent between two messages of media."""
        return self.peer.bytes_to_send()

    # the conversation ---------------------------------------------------------

    def _connect(self) -> None:
        self.state = State.CONNECTING
        properties: dict[str, object] = {
            "app": self._app,
            "type": "nonprivate",
            "flashVer": FLASH_VERSION,
            "tcUrl": self._tc_url,
        }
        if self._fourccs:
            properties["fourCcList"] = list(self._fourccs)
        self.peer.send(command("connect", _CONNECT, properties))

    def _message(self, each: Message) -> None:
        if each.type == chunks.SET_PEER_BANDWIDTH and len(each.body) >= 4:
            self.peer.send(chunks.control(chunks.WINDOW_ACK_SIZE, int.from_bytes(each.body[:4], "big")))
            return
        if self.peer.control(each) or each.type not in (chunks.COMMAND, chunks.COMMAND_AMF3):
            return
        answer = self.peer.read(each)
        if answer is None:
            return
        if answer.name == "_result":
            self._result(answer)
        elif answer.name == "_error":
            self._error(answer)
        elif answer.name == "onStatus":
            self._status(answer)
        elif answer.name == "close":
            self._reject("", "the server closed the connection")

    def _result(self, answer: Command) -> None:
        if answer.transaction == _CONNECT and self.state is State.CONNECTING:
            self.state = State.CREATING
            send = self.peer.send
            send(chunks.control(chunks.SET_CHUNK_SIZE, CHUNK_SIZE))
            send(command("releaseStream", _RELEASE, None, self._name, chunk_size=CHUNK_SIZE))
            send(command("FCPublish", _FC_PUBLISH, None, self._name, chunk_size=CHUNK_SIZE))
            send(command("createStream", _CREATE, None, chunk_size=CHUNK_SIZE))
        elif answer.transaction == _CREATE and self.state is State.CREATING:
            number = answer.number(0, 1.0)
            if not 0 < number < 2**32 or number != int(number):
                self._reject("", f"the server gave the stream the number {number}")
                return
            self._stream = int(number)
            self.state = State.PUBLISHING
            self.peer.send(command("publish", 5, None, self._name, "live", stream=self._stream, chunk_size=CHUNK_SIZE))

    def _error(self, answer: Command) -> None:
        if answer.transaction in (_RELEASE, _FC_PUBLISH):
            return  # servers that do not know them say so
        _, code, description = information(answer.arguments)
        self._reject(code, description)

    def _status(self, answer: Command) -> None:
        level, code, description = information(answer.arguments)
        if code == "NetStream.Publish.Start":
            if self.state is State.PUBLISHING:
                self.state = State.RUNNING
                self._events.append(Started())
        elif level == "error" or code in ("NetStream.Unpublish.Success", "NetConnection.Connect.Closed"):
            self._reject(code, description)

    def _reject(self, code: str, description: str) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._events.append(Rejected(_short(code), _short(description)))

    # media --------------------------------------------------------------------

    def media(self, tags: list[Tag]) -> bytes:
        """FLV tags as this publication's messages; time stamps count from the first picture or sound."""
        if self.state is not State.RUNNING:
            raise UsageError("media before Publish.Start")
        return b"".join([message(self._own(tag), self._stream, CHUNK_SIZE) for tag in tags])

    def _own(self, tag: Tag) -> Tag:
        if tag.type == DATA:
            return Tag(DATA, self._last, _SET_DATA_FRAME + tag.body)
        if self._base is None and tag.type in (AUDIO, VIDEO):
            self._base = tag.timestamp
        since = (tag.timestamp - (self._base or 0)) & 0xFFFFFFFF
        if since >= 0x80000000:  # a block of sound from before the first picture
            since = 0
        self._last = since
        return Tag(tag.type, since, tag.body)

    def farewell(self) -> bytes:
        """The last words."""
        if self.state is not State.RUNNING:
            return b""
        self.state = State.CLOSED
        unpublish = command("FCUnpublish", 6, None, self._name, chunk_size=CHUNK_SIZE)
        return unpublish + command("deleteStream", 7, None, self._stream, chunk_size=CHUNK_SIZE)


def _short(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:_TEXT_MAX])
