"""What one side of a JT/T 808 link writes: headers in the peer's form, own serials, sub-packages, repeats.

The base of ``session.Session``; it knows nothing of what comes in.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from relay.jt808.header import Header
from relay.jt808.messages.base import Body
from relay.jt808.messages.general import PlatformResendRequest, Result, TerminalResendRequest
from relay.jt808.messages.multimedia import MultimediaResponse
from relay.jt808.session_events import Role
from relay.jt808.session_replies import PLATFORM_GENERAL, TERMINAL_GENERAL
from relay.jt808.session_requests import PENDING_MAX, Requests
from relay.jt808.subpackages import Missing, SentPieces, split

MEDIA_IDS_MAX = 125  #: 重传包总数 of 0x8800

MULTIMEDIA = 0x0801
RESEND_UP = 0x0005

_GENERAL = struct.Struct(">HHB")


class Outbox:
    """The writing half of a session."""

    __slots__ = ("_next_serial", "_out", "_requests", "_sent", "edition", "frames_out", "phone", "protocol_version", "role")

    def __init__(self, role: Role, phone: str, edition: int, protocol_version: int) -> None:
        self.role = role
        self.phone = phone  #: as on the wire, repeated in every header
        self.edition = edition  #: 2011, 2013, 2019; 0 = not known yet (then 2013 is written)
        self.protocol_version: int | None = protocol_version if edition >= 2019 else None
        self.frames_out = 0
        self._next_serial = 0
        self._out: list[bytes] = []
        # made when first needed: ten thousand idle terminals hold none of these
        self._requests: Requests | None = None
        self._sent: SentPieces | None = None

    def frames_to_send(self) -> list[bytes]:
        """What is to be written, frame by frame (UDP: one datagram each)."""
        frames, self._out = self._out, []
        return frames

    def bytes_to_send(self) -> bytes:
        """The same for a stream."""
        return b"".join(self.frames_to_send())

    def send(self, message: Body, now: float) -> int:
        """Send a message that awaits nothing; gives the serial of its first frame."""
        return self._send(message)[0]

    def forget_sent(self) -> None:
        """Pieces sent so far are not repeated when asked for (a terminal without the memory for it)."""
        self._sent = None

    def send_again(self, serial: int, indexes: list[int]) -> None:
        """Pieces of a long message of ours again, unchanged (0x8800 asks for them by media id)."""
        if self._sent is not None:
            self._write(self._sent.repeat(serial, indexes))

    def answer(self, header: Header, result: int = Result.OK) -> None:
        """The general answer (0x8001 or 0x0001) to one message."""
        general = PLATFORM_GENERAL if self.role is Role.PLATFORM else TERMINAL_GENERAL
        self._put(general, _GENERAL.pack(header.serial, header.msg_id, result))

    def reply(self, message: Body) -> int:
        """A special answer; the caller has put the ``reply_serial`` in."""
        return self._send(message)[0]

    def _answer_multimedia(self, serial: int, media_id: bytes, lacking: list[int] | None = None) -> None:
        """0x8800: the media id alone when everything arrived, else with the pieces to send again."""
        old = self.edition == 2011
        listed = lacking or [] if old else lacking
        self.reply(MultimediaResponse(reply_serial=serial if old else None, media_id=int.from_bytes(media_id, "big"), package_ids=listed))

    def _ask_again(self, lack: Missing) -> None:
        """0x8003 (0x0005 from a terminal) for missing pieces; 0x0801 has its own, 0x8800, once the media id is known."""
        lacking = list(lack.indexes)
        if self.role is Role.TERMINAL:
            if self.protocol_version is not None:  # 0x0005 exists only since 2019
                self._put(RESEND_UP, TerminalResendRequest(original_serial=lack.original_serial, package_ids=lacking).encode(2019))
        elif self.edition == 2011:
            return  # no 0x8003 before 2013; the terminal repeats by itself what is not acknowledged
        elif lack.msg_id == MULTIMEDIA and lack.first_body is not None and len(lack.first_body) >= 4:
            self._answer_multimedia(lack.original_serial, lack.first_body[:4], lacking[:MEDIA_IDS_MAX])
        else:
            self.reply(PlatformResendRequest(original_serial=lack.original_serial, package_ids=lacking))

    def _send(self, message: Body) -> tuple[int, tuple[bytes, ...]]:
        """Serial of the first frame, and the frames."""
        pieces = split(message.encode(2019 if self.protocol_version is not None else self.edition or 2013))
        serial = self._serial(len(pieces))
        if len(pieces) == 1:
            frames: tuple[bytes, ...] = (self._frame(message.KEY, serial, pieces[0]),)
        else:
            frames = tuple(
                Header(message.KEY, self.phone, (serial + i) & 0xFFFF, 0, 0, self.protocol_version, len(pieces), i + 1).encode(piece)
                for i, piece in enumerate(pieces)
            )
            if self._sent is None:
                self._sent = SentPieces()
            self._sent.keep(serial, frames)
        self._write(frames)
        return serial, frames

    def _put(self, msg_id: int, body: bytes) -> None:
        """A short answer."""
        self._write((self._frame(msg_id, self._serial(1), body),))

    def _write(self, frames: Sequence[bytes]) -> None:
        self._out.extend(frames)
        self.frames_out += len(frames)

    def _frame(self, msg_id: int, serial: int, body: bytes) -> bytes:
        return Header(msg_id, self.phone, serial, 0, 0, self.protocol_version).encode(body)

    def _serial(self, count: int) -> int:
        """The first of ``count`` consecutive serials; one that a waiting request was sent with is not given out again."""
        first = self._next_serial
        if self._requests is not None and len(self._requests):
            while any(self._requests.uses((first + i) & 0xFFFF) for i in range(min(count, PENDING_MAX))):
                first = (first + 1) & 0xFFFF
        self._next_serial = (first + count) & 0xFFFF
        return first
