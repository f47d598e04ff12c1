"""What both roles do alike once the handshake is over: control messages, acknowledgements, broken commands."""

from __future__ import annotations

import struct

from relay.errors import DecodeError
from relay.rtmp import chunks
from relay.rtmp.chunks import ChunkReader, Message
from relay.rtmp.commands import Command, read_command

STREAM_BEGIN, STREAM_EOF, SET_BUFFER_LENGTH, PING_REQUEST, PING_RESPONSE = 0, 1, 3, 6, 7

#: commands that cannot be read and are passed over; then the connection ends: it will not get better
BAD_MAX = 10


class Peer:
    """The half of a session below the commands."""

    def __init__(self, message_max: int) -> None:
        self.reader = ChunkReader(message_max)
        self.received = 0  #: bytes since the connection began, the handshake included
        self.bad = 0  #: commands that could not be read
        self.acknowledged = 0  #: what the peer says to have received, modulo 2^32
        self.pongs = 0
        self._window = 0  #: what the peer wants acknowledged, in bytes
        self._told = 0
        self._out: list[bytes] = []

    def bytes_to_send(self) -> bytes:
        """What has gathered."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def send(self, data: bytes) -> None:
        """Add to what is to be sent."""
        self._out.append(data)

    def acknowledge(self) -> None:
        """Tell how much was received, when it is due."""
        if self._window and self.received - self._told >= self._window:
            self._told = self.received
            self.send(chunks.control(chunks.ACK, self.received))

    def control(self, message: Message) -> bool:
        """Take a control message; False when it is none."""
        kind, body = message.type, message.body
        if kind == chunks.WINDOW_ACK_SIZE:
            if len(body) == 4:
                # half of it, so that a sender that waits for the acknowledgement never stands still
                self._window = max(int.from_bytes(body, "big") // 2, 1024)
        elif kind == chunks.ACK:
            if len(body) == 4:
                self.acknowledged = int.from_bytes(body, "big")
        elif kind == chunks.USER_CONTROL:
            if len(body) >= 6:
                event, value = struct.unpack_from(">HI", body)
                if event == PING_REQUEST:
                    self.send(chunks.user_control(PING_RESPONSE, value))
                elif event == PING_RESPONSE:
                    self.pongs += 1
        elif kind != chunks.SET_PEER_BANDWIDTH:
            return False
        return True

    def read(self, message: Message) -> Command | None:
        """The command in a message; None (and counted) when it cannot be read. Raises DecodeError when it was one too many."""
        try:
            return read_command(message)
        except DecodeError:
            self.bad += 1
            if self.bad > BAD_MAX:
                raise
            return None
