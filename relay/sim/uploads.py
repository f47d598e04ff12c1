"""A simulated terminal's file uploads (0x9206): real FTP, passive mode, file after file, with pause, resume and cancel (0x9207), and 0x1206 at the end.

    begin ─→ connect, USER, PASS, TYPE I ─→ for each file: SIZE, PASV, (REST,) STOR, data ─→ QUIT ─→ 0x1206
                    ↑                                                │ pause, the connection lost, the fault ``upload-stops``
                    └──────────── resume: goes on where SIZE says ───┘

A file is an H.264 byte stream or recorded packets of JT/T 1078 (``--upload-format``), made of the test card while it is sent; files are cut at FILE_S.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.jt808.messages import video
from relay.jt1078.packet import packetize, sim_field
from relay.sim.vehicle import from_bcd

if TYPE_CHECKING:
    from relay.sim.terminal import SimulatedTerminal

FILE_S = 60.0  #: what a file holds at most: it is made while it is sent
RATE_TICK_S = 0.1


class RecordedFile:
    """One file to be sent."""

    def __init__(self, terminal: SimulatedTerminal, resource: video.Resource, begin: float, end: float) -> None:
        self._terminal = terminal
        self._resource = resource
        self._begin = begin
        self._seconds = min(end - begin, FILE_S)
        ending = terminal.options.upload_format
        self.name = f"{terminal.phone}_{resource.channel:02}_{resource.start_time}_{resource.end_time}.{ending}"

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, always the same."""
        terminal, resource = self._terminal, self._resource
        sub = resource.stream_type == video.StoredStream.SUB
        packets = terminal.options.upload_format == "jt1078"
        sim, seq = sim_field(terminal.phone), 0
        for unit in itertools.takewhile(lambda unit: unit.at_ms < self._seconds * 1000, terminal.media.source.open(resource.channel, sub, self._begin)):
            if not packets:
                if unit.is_video:
                    yield unit.body
                continue
            made = packetize(
                unit.body, sim=sim, channel=resource.channel, pt=unit.pt, data_type=unit.data_type, seq=seq,
                timestamp=round(self._begin * 1000) + unit.stamp_ms,
            )  # fmt: skip
            seq = (seq + len(made)) & 0xFFFF
            yield b"".join(made)


class SimulatedUpload:
    """One task of 0x9206."""

    def __init__(self, terminal: SimulatedTerminal, serial: int, request: video.FileUpload, files: list[RecordedFile], told: Callable[[str], None]) -> None:
        self.serial = serial
        self.state = "uploading"  #: "paused", "stopped", "done", "failed", "cancelled"
        self.sent = 0
        self._terminal = terminal
        self._request = request
        self._files = deque(files)
        self._told = told
        self._control: Control | None = None
        self._stop_after = 0.0
        if "upload-stops" in terminal.options.faults and files:
            self._stop_after = sum(map(len, files[0].chunks())) * terminal.options.faults.get("upload-stops") / 100

    def begin(self) -> None:
        """Connect, and send what is left."""
        if self.state != "uploading" or "upload-never" in self._terminal.options.faults:
            return
        if not self._files:
            self.over(0)
            return
        factory = ControlFactory(self)
        self._terminal.reactor.connectTCP(self._request.server_address, self._request.port, factory, timeout=10)

    # ---- 0x9207 ------------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        self.state = "paused"
        self._drop()

    def resume(self) -> None:
        if self.state in ("paused", "stopped"):
            self.state = "uploading"
            self.begin()

    def cancel(self, why: str = "cancelled") -> None:
        self.state = why
        self._drop()

    def _drop(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.drop()

    # ---- from the connections -------------------------------------------------------------------------------------------------

    @property
    def user(self) -> str:
        return str(self._request.username)

    @property
    def password(self) -> str:
        return str(self._request.password)

    @property
    def rate(self) -> float:
        """Bytes a second; 0 = as fast as they go."""
        return self._terminal.options.faults.get("upload-rate")

    @property
    def reactor(self) -> Any:
        return self._terminal.reactor

    def connected(self, control: Control) -> None:
        self._control = control
        self._told(f"upload {self.serial}: connected")

    def lost(self, control: Control, why: str) -> None:
        if self._control is not control:
            return
        self._control = None
        if self.state == "uploading":
            self._told(f"upload {self.serial}: connection lost: {why}; waits to be told")
            self.state = "stopped"

    def current(self) -> RecordedFile | None:
        return self._files[0] if self._files else None

    def stops_here(self, count: int) -> bool:
        """Bytes were sent: is it time for the fault?"""
        self.sent += count
        if not 0 < self._stop_after <= self.sent:
            return False
        self._stop_after = 0.0
        self.state = "stopped"
        self._told(f"upload {self.serial}: stops on purpose after {self.sent} bytes")
        self._drop()
        return True

    def file_sent(self, ok: bool, why: str) -> None:
        if not ok:
            self._told(f"upload {self.serial}: {why}; waits to be told")
            self.state = "stopped"
            self._drop()
            return
        self._files.popleft()

    def over(self, result: int) -> None:
        """Everything is sent."""
        faults = self._terminal.options.faults
        result = 1 if "upload-fails" in faults else result
        self.state = "failed" if result else "done"
        self._told(f"upload {self.serial}: {self.state}")
        if "upload-unconfirmed" in faults:
            return
        serial = (self.serial + 10_000) & 0xFFFF if "other-serial" in faults else self.serial
        for _ in range(2 if "answers-twice" in faults else 1):
            self._terminal.send(video.FileUploadFinished(reply_serial=serial, result=result))


class ControlFactory(ClientFactory):
    noisy = False

    def __init__(self, upload: SimulatedUpload) -> None:
        self._upload = upload

    def buildProtocol(self, addr: Any) -> Protocol | None:
        return Control(self._upload)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._upload.file_sent(False, f"no FTP connection: {reason.getErrorMessage()}")


class Control(LineReceiver):
    """The control connection: one command after the other, each with what to do about its reply."""

    transport: Any

    def __init__(self, upload: SimulatedUpload) -> None:
        self._upload = upload
        self._next: Callable[[int, str], None] = self._greeted
        self._size = 0
        self._data: Data | None = None

    def connectionMade(self) -> None:
        self._upload.connected(self)

    def drop(self) -> None:
        """End it without a word."""
        if self._data is not None:
            self._data.drop()
        self.transport.abortConnection()

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if not re.match(r"\d{3} ", text):
            return
        self._next(int(text[:3]), text[4:])

    def _say(self, line: str, then: Callable[[int, str], None]) -> None:
        self._next = then
        self.transport.write(line.encode() + b"\r\n")

    def _greeted(self, code: int, text: str) -> None:
        self._say(f"USER {self._upload.user}", self._named)

    def _named(self, code: int, text: str) -> None:
        self._say(f"PASS {self._upload.password}", self._logged_in)

    def _logged_in(self, code: int, text: str) -> None:
        if code != 230:
            self._upload.file_sent(False, f"log-in refused: {code} {text}")
            return
        self._say("TYPE I", lambda code, text: self._file())

    def _file(self) -> None:
        file = self._upload.current()
        if file is None:
            self._say("QUIT", lambda code, text: None)
            self._upload.over(0)
        else:
            self._say(f"SIZE {file.name}", self._sized)

    def _sized(self, code: int, text: str) -> None:
        self._size = int(text) if code == 213 else 0
        self._say("PASV", self._passive)

    def _passive(self, code: int, text: str) -> None:
        match = re.search(r"(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)", text)
        file = self._upload.current()
        if code != 227 or match is None or file is None:
            self._upload.file_sent(False, f"PASV: {code} {text}")
            return
        numbers = [int(each) for each in match.groups()]
        self._data = Data(self._upload, file.chunks(), self._size)
        self._upload.reactor.connectTCP(".".join(map(str, numbers[:4])), numbers[4] << 8 | numbers[5], DataFactory(self._data), timeout=10)
        if self._size:
            self._say(f"REST {self._size}", lambda code, text: self._say(f"STOR {file.name}", self._storing))
        else:
            self._say(f"STOR {file.name}", self._storing)

    def _storing(self, code: int, text: str) -> None:
        if code in (125, 150):
            self._next = self._stored
            if self._data is not None:
                self._data.go()
        else:
            self._upload.file_sent(False, f"STOR: {code} {text}")

    def _stored(self, code: int, text: str) -> None:
        self._data = None
        self._upload.file_sent(code == 226, f"STOR: {code} {text}")
        if code == 226:
            self._file()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._upload.lost(self, reason.getErrorMessage())


class DataFactory(ClientFactory):
    noisy = False

    def __init__(self, data: Data) -> None:
        self._data = data

    def buildProtocol(self, addr: Any) -> Protocol | None:
        return self._data


@implementer(IPullProducer)
class Data(Protocol):
    """The data connection: what is left of a file, at its rate."""

    transport: Any

    def __init__(self, upload: SimulatedUpload, chunks: Iterator[bytes], skip: int) -> None:
        self._upload = upload
        self._chunks = chunks
        self._skip = skip
        self._connected = self._told = self._begun = self._ended = False

    def connectionMade(self) -> None:
        self._connected = True
        self._look()

    def go(self) -> None:
        """The server takes it."""
        self._told = True
        self._look()

    def _look(self) -> None:
        if self._connected and self._told and not self._begun and not self._ended:
            self._begun = True
            self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        rate = self._upload.rate
        if rate:
            self._upload.reactor.callLater(RATE_TICK_S, self._piece, max(1, round(rate * RATE_TICK_S)))
        else:
            self._piece(65536)

    def _piece(self, limit: int) -> None:
        if self._ended:
            return
        piece = bytearray()
        while len(piece) < limit:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            kept = chunk[self._skip :]
            self._skip = max(0, self._skip - len(chunk))
            piece += kept
        if not piece:
            self._ended = True
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            return
        self.transport.write(bytes(piece))
        self._upload.stops_here(len(piece))

    def stopProducing(self) -> None:
        self._ended = True

    def drop(self) -> None:
        """End it in the middle."""
        if self._connected and not self._ended:
            self._ended = True
            if self._begun:
                self.transport.unregisterProducer()
            self.transport.abortConnection()


def files_of(terminal: SimulatedTerminal, request: video.FileUpload, resources: list[video.Resource]) -> list[RecordedFile]:
    """A file for each recording that the request touches, cut to the span asked for."""
    begin, end = from_bcd(request.start_time), from_bcd(request.end_time)
    files = []
    for resource in resources:
        start, stop = from_bcd(resource.start_time) or 0.0, from_bcd(resource.end_time) or 0.0
        first, last = max(start, begin or start), min(stop, end or stop)
        if last > first:
            files.append(RecordedFile(terminal, resource, first, last))
    return files
