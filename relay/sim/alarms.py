"""Alarms of a simulated terminal, and the files that belong to them: an ADAS alarm (item 0x64) in a position report, and on 0x9208 a connection of
its own that sends a photo, a sound and vehicle data as T/JSATL 12-2017 has it. Faults leave a chunk out, stop half way, name files like paths.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from wave import open as open_wave

from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from relay.errors import FrameError
from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages import decode_message
from relay.jt808.messages.base import Body
from relay.jt808.messages.safety import AttachmentFile, AttachmentList, AttachmentRequest, FileBegin, FileEnd, FileEndResponse
from relay.jt808.safety import AdasAlarm, AlarmSign
from relay.sim.vehicle import bcd_time

if TYPE_CHECKING:
    from relay.sim.terminal import SimulatedTerminal

CHUNK_BYTES = 65536
#: a JPEG of one grey pixel; bytes behind its end marker are no fault
_JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300" + "10" * 64 + "ffc0000b080001000101011100ffc4001400010000000000000000000000000000000009"
    "ffc40014100100000000000000000000000000000000ffda0008010100003f0054dfffd9"
)


def files_of(number: str, size: int) -> dict[str, bytes]:
    """Names by the standard's rule, and contents: ``size`` bytes of photo, a second of silence, two blocks of vehicle data."""
    photo = _JPEG + bytes(index * 7 & 0xFF for index in range(max(0, size - len(_JPEG))))
    samples = bytes(16000)
    wave = io.BytesIO()
    with open_wave(wave, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(samples)
    sound = wave.getvalue()
    data = b"".join(struct.pack(">II", 2, index) + bytes(56) for index in range(2))
    return {f"00_64_6401_0_{number}.jpg": photo, f"01_64_6401_0_{number}.wav": sound, f"03_64_6401_0_{number}.bin": data}


def file_type(name: str) -> int:
    """文件类型, from the name."""
    return int(name.rpartition("/")[2][:2])


def make_alarm(terminal: SimulatedTerminal, number: int, state: int = 1) -> AdasAlarm:
    """A forward collision of level 2, now."""
    now = bcd_time(terminal.wall())
    here = terminal.location_report()
    sign = AlarmSign(terminal_id=terminal.phone[-7:].rjust(7, "0").upper(), time=now, serial=number & 0xFF, attachment_count=3, reserved=b"\0")
    return AdasAlarm(
        alarm_id=number, state=state, event_type=1, level=2, front_speed=40, front_distance=9, departure_type=0, road_sign_type=0, road_sign_value=0,
        speed=min(250, here.speed // 10), altitude=here.altitude, latitude=here.latitude, longitude=here.longitude, time=now, vehicle_status=1,
        alarm_sign=sign,
    )  # fmt: skip


class Uploads:
    """What a terminal uploads."""

    def __init__(self, terminal: SimulatedTerminal, photo_bytes: int = 200_000) -> None:
        self.terminal = terminal
        self.faults = {name for name in ("gap", "half", "path", "size") if f"attachment-{name}" in terminal.options.faults}  #: the first two: once
        self.photo_bytes = photo_bytes
        self.asked: list[AttachmentRequest] = []
        self.sent: dict[str, bytes] = {}  #: name -> content, of all that was announced
        self.ranges_asked = 0
        self.done = 0  #: connections that ended with all files confirmed
        self._open: list[Any] = []

    def upload(self, request: AttachmentRequest) -> None:
        """Answer a 0x9208 that was accepted."""
        self.asked.append(request)
        host, port = str(request.server_address), request.tcp_port
        factory = _Factory(lambda: _Upload(self, request))
        self._open.append(self.terminal.reactor.connectTCP(host, port, factory, timeout=10))

    def finished(self, request: AttachmentRequest, complete: bool) -> None:
        """A connection ended."""
        if complete:
            self.done += 1
        elif "half" in self.faults:
            self.faults.discard("half")
            self.terminal.later(0.2, lambda: self.upload(request))

    def stop(self) -> None:
        """Close all connections."""
        for connector in self._open:
            connector.disconnect()


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, make: Callable[[], Protocol]) -> None:
        self._make = make

    def buildProtocol(self, addr: object) -> Protocol:
        return self._make()


class _Upload(Protocol):
    """One connection: the list, then file after file."""

    def __init__(self, uploads: Uploads, request: AttachmentRequest) -> None:
        self._uploads = uploads
        self._request = request
        self._serial = 0
        self._deframer = Deframer()
        number = str(request.alarm_number)
        self._files = files_of(number, uploads.photo_bytes)
        if "path" in uploads.faults:
            self._files = {f"../../../tmp/{name}": content for name, content in self._files.items()}
        self._names = list(self._files)
        self._at = 0
        self._complete = False

    def connectionMade(self) -> None:
        sizes = [(name, len(content) // (2 if "size" in self._uploads.faults else 1)) for name, content in self._files.items()]
        self._uploads.sent.update(self._files)
        self._send(
            AttachmentList(
                terminal_id=self._request.alarm_sign.terminal_id, alarm_sign=self._request.alarm_sign, alarm_number=self._request.alarm_number, info_type=0,
                files=[AttachmentFile(file_name=name, file_size=size) for name, size in sizes],
            )
        )  # fmt: skip

    def _send(self, body: Body) -> None:
        edition = self._uploads.terminal.options.edition
        version = 1 if edition >= 2019 else None
        self._serial += 1
        transport: Any = self.transport
        transport.write(Header(body.msg_id, self._uploads.terminal.phone, self._serial, protocol_version=version).encode(body.encode(edition)))

    def dataReceived(self, data: bytes) -> None:
        for piece in self._deframer.feed(data):
            if isinstance(piece, FrameError):
                continue
            header, raw = decode_frame(piece)
            message = decode_message(header, raw)
            if isinstance(message, FileEndResponse):
                self._answered(message)
            elif header.msg_id == 0x8001 and raw[2:4] == b"\x12\x10":
                if raw[4] == 0:
                    self._begin()
            elif header.msg_id == 0x8001 and raw[2:4] == b"\x12\x11":
                self._content()

    def _begin(self) -> None:
        if self._at == len(self._names):
            self._complete = True
            transport: Any = self.transport
            transport.loseConnection()
            return
        name = self._names[self._at]
        self._send(FileBegin(file_name=name, file_type=file_type(name), file_size=len(self._files[name])))

    def _content(self) -> None:
        name = self._names[self._at]
        content = self._files[name]
        faults = self._uploads.faults
        for number, offset in enumerate(range(0, len(content), CHUNK_BYTES)):
            if "gap" in faults and number == 1:
                faults.discard("gap")
                continue
            if "half" in faults and number == 2:
                transport: Any = self.transport
                transport.loseConnection()
                return
            self._chunk(name, offset, content[offset : offset + CHUNK_BYTES])
        self._end()

    def _chunk(self, name: str, offset: int, body: bytes) -> None:
        transport: Any = self.transport
        transport.write(b"01cd" + name.encode("gb18030")[:50].ljust(50, b"\0") + struct.pack(">II", offset, len(body)) + body)

    def _end(self) -> None:
        name = self._names[self._at]
        self._send(FileEnd(file_name=name, file_type=file_type(name), file_size=len(self._files[name])))

    def _answered(self, message: FileEndResponse) -> None:
        name = self._names[self._at]
        if message.upload_result == 1 and message.ranges:
            self._uploads.ranges_asked += len(message.ranges)
            for part in message.ranges:
                for offset in range(part.offset, part.offset + part.length, CHUNK_BYTES):
                    self._chunk(name, offset, self._files[name][offset : min(offset + CHUNK_BYTES, part.offset + part.length)])
            self._end()
            return
        self._at += 1
        self._begin()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._uploads.finished(self._request, self._complete)
