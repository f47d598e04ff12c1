"""A media connection of a simulated terminal: opens, sends in real time, obeys 0x9102, and counts.

States::

    WAITING      asked for, not connected yet            → CONNECTING (at once, or ``connect-late``)
    CONNECTING   TCP connection under way                → SENDING, or CLOSED when it fails
    SENDING      units go out when they are due          ⇄ PAUSED (0x9102 commands 2 and 3)
    CLOSED       told to stop, or the connection is gone

Time stamps are the time of day in ms, as most terminals send them. When the socket is full the terminal's buffer is: frames are dropped
until it has room again, and the picture goes on with a key frame.
"""

from __future__ import annotations

import enum
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IConnector, IDelayedCall

from relay.errors import FrameError
from relay.jt808.messages.video import AvDataType
from relay.jt1078.packet import STANDARD_BODY, DataType, Packet, build_packet, packetize, parse_packet, sim_field
from relay.sim.faults import Faults
from relay.sim.links import open_datagrams
from relay.sim.media_links import MediaDatagrams, MediaFactory
from relay.sim.sources import Source, Unit

#: how far behind its time a sender may fall (a busy machine, a laptop that slept) before it skips instead of catching up
_BEHIND_S = 2.0
#: downlink sound (talk, broadcast) that is not a whole packet yet
_RECEIVE_MAX = 70000
_TRANSPARENT_PT = 91
#: downlink packets kept: 80 s of 40 ms blocks
HEARD_KEPT = 2000
_TRANSPARENT_EVERY_MS = 1000


class State(enum.Enum):
    """See the module's table."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    SENDING = "sending"
    PAUSED = "paused"
    CLOSED = "closed"


class MediaStream:
    """One media connection, asked for by 0x9101 or 0x9201."""

    def __init__(
        self,
        reactor: Any,
        wall: Callable[[], float],
        source: Source,
        *,
        sim: str,
        channel: int,
        data_type: int = AvDataType.AUDIO_VIDEO,
        sub: bool = True,
        faults: Faults,
        begin_wall: float | None = None,
        end_wall: float | None = None,
        told: Callable[[MediaStream, str], None] | None = None,
    ) -> None:
        """``begin_wall`` and ``end_wall``: a playback shows the time from the first one on, and ends at the second. ``told`` hears of
        each change of state in words."""
        self.channel = channel
        self.data_type = data_type
        self.sub = sub
        self.state = State.WAITING
        self.video = data_type in (AvDataType.AUDIO_VIDEO, AvDataType.VIDEO) and "no-video" not in faults
        self.audio = data_type in (AvDataType.AUDIO_VIDEO, AvDataType.TALK, AvDataType.LISTEN) and "no-audio" not in faults
        talks = data_type == AvDataType.TALK
        if talks and ("talk-silent" in faults or "talk-echo" in faults):
            self.audio = False
        self._waits_for_downlink = talks and "talk-after-downlink" in faults
        self.speed = 1.0
        self.keys_only = False
        self.transport_name = ""
        self.bytes_sent = 0
        self.packets_sent = 0
        self.frames_sent = 0
        self.frames_dropped = 0  #: because the socket was full
        self.packets_received = 0
        self.bytes_received = 0
        self.last_received: bytes = b""  #: body of the last downlink packet
        self.heard: deque[tuple[float, Packet]] = deque(maxlen=HEARD_KEPT)  #: (reactor time, packet) of the downlink
        self._reactor = reactor
        self._wall = wall
        self._source = source
        self._faults = faults
        self._position = begin_wall  #: playback: the recorded time that is sent next
        self._end_wall = end_wall
        self._told = told
        self._random = random.Random(f"{sim}/{channel}")
        self._sim = self._field(sim)
        self._seq = 0
        self._units: Iterator[Unit] = iter(())
        self._next: Unit | None = None
        self._origin_s = 0.0  #: reactor time of the units' zero
        self._stamp_base = 0  #: time stamp of the units' zero
        self._started_s = 0.0
        self._jumps = 0
        self._needs_key = False
        self._last_key = -1
        self._last_frame = -1
        self._blocked = False
        self._waits_for_room = False
        self._held_back: bytes | None = None
        self._call: IDelayedCall | None = None
        self._delayed: list[IDelayedCall] = []
        self._connector: IConnector | None = None
        self._port: Any = None
        self._udp = False
        self._write: Callable[[bytes], object] | None = None
        self._lose: Callable[[], object] | None = None
        self._inbox = b""

    @property
    def awaits_connection(self) -> bool:
        """Whether a TCP connection that comes up now is still wanted."""
        return self.state is State.CONNECTING

    # ---- opening and closing ------------------------------------------------------------------------------------------------

    def connect(self, host: str, tcp_port: int, udp_port: int, prefer_udp: bool) -> None:
        """Open the connection that was asked for. With both ports given TCP wins, unless ``prefer_udp``."""
        late = self._faults.get("connect-late")
        udp = bool(udp_port) and (prefer_udp or not tcp_port)
        if "never-connect" in self._faults:
            return
        if not udp and not tcp_port:
            self._close("neither a TCP nor a UDP port in the request")
            return
        opening = self._connect_udp if udp else self._connect_tcp
        port = udp_port if udp else tcp_port
        if late:
            self._later(late, lambda: opening(host, port))
        else:
            opening(host, port)

    def _connect_tcp(self, host: str, port: int) -> None:
        if self.state is not State.WAITING:
            return
        self.state = State.CONNECTING
        self.transport_name = f"TCP {host}:{port}"
        self._connector = self._reactor.connectTCP(host, port, MediaFactory(self), timeout=10)

    def _connect_udp(self, host: str, port: int) -> None:
        if self.state is not State.WAITING:
            return
        self.state = State.CONNECTING
        self._udp = True
        self.transport_name = f"UDP {host}:{port}"

        def found(address: str, listen: Callable[[Any], Any]) -> None:
            if self.state is State.CONNECTING:
                self._port = listen(MediaDatagrams(self, address, port))

        open_datagrams(self._reactor, host, found, lambda why: self._close(f"{host}: {why}"))

    def connected(self, write: Callable[[bytes], object], lose: Callable[[], object]) -> None:
        """The connection is there: the first packet follows at once."""
        self._write = write
        self._lose = lose
        self.state = State.SENDING
        self._started_s = self._reactor.seconds()
        self._tell("connected")
        self._begin()
        for name, action in (("drop-media", self._drop), ("stall-media", self._stall)):
            if name in self._faults:
                self._later(self._faults.get(name), action)

    def failed(self, why: str) -> None:
        """No connection."""
        self._close(f"no connection: {why}")

    def lost(self, why: str) -> None:
        """The other side, or the network, ended it."""
        self._write = None
        self._lose = None
        self._close(why)

    def close(self, why: str = "stopped") -> None:
        """End it, from our side."""
        self._close(why)

    def _close(self, why: str) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._units = iter(())
        self._next = None
        for call in (self._call, *self._delayed):
            if call is not None and call.active():
                call.cancel()
        self._call = None
        self._delayed = []
        lose, self._lose, self._write = self._lose, None, None
        if lose is not None:
            lose()
        elif self._connector is not None:
            self._connector.disconnect()
        if self._port is not None:
            port, self._port = self._port, None
            port.stopListening()
        self._connector = None
        self._tell(f"closed: {why}" + (f"; {self.frames_dropped} frames dropped because the socket was full" if self.frames_dropped else ""))

    def _drop(self) -> None:
        self._close("dropped on purpose")

    def _stall(self) -> None:
        if self.state in (State.SENDING, State.PAUSED):
            self.state = State.PAUSED
            self._stop_pump()
            self._tell("stalls on purpose")

    # ---- control (0x9102, 0x9202) -------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """0x9102 command 2."""
        if self.state is State.SENDING:
            self.state = State.PAUSED
            self._stop_pump()
            self._tell("paused")

    def resume(self) -> None:
        """0x9102 command 3."""
        if self.state is State.PAUSED:
            self.state = State.SENDING
            self._tell("resumed")
            self._begin()

    def switch(self, sub: bool) -> None:
        """0x9102 command 1: the picture changes on the same connection, sound and time go on."""
        self.sub = sub
        if self.state is State.SENDING:
            self._tell(f"switched to the {'sub' if sub else 'main'} stream")
            self._begin()

    def play_at(self, speed: float, keys_only: bool) -> None:
        """Playback goes on at another speed, or with key frames only."""
        self.speed = speed
        self.keys_only = keys_only
        if self.state in (State.SENDING, State.PAUSED):
            self.state = State.SENDING
            self._begin()

    def seek(self, wall: float) -> None:
        """Playback goes on from another time."""
        self._position = wall
        if self.state in (State.SENDING, State.PAUSED):
            self.state = State.SENDING
            self._begin()

    # ---- sending ------------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """From now on the source's units, from its first key frame."""
        burst = self._faults.get("burst")
        wall = self._wall() - burst if self._position is None else self._position
        self._origin_s = self._reactor.seconds() - burst
        self._stamp_base = round(wall * 1000)
        self._units = self._source.open(self.channel, self.sub, wall)
        if self.data_type == AvDataType.PASSTHROUGH:
            self._units = _transparent()
        elif (not self.video and not self.audio) or self._waits_for_downlink:
            self._units = iter(())
        self._needs_key = self.video
        self._next = None
        self._stop_pump()
        self._pump()

    def _stop_pump(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _pump(self) -> None:
        self._call = None
        now = self._reactor.seconds()
        if self._origin_s + (self._next.at_ms / 1000 / self.speed if self._next else 0) < now - _BEHIND_S - self._faults.get("burst"):
            self._begin()
            return
        while self.state is State.SENDING:
            unit = self._next or next(self._units, None)
            if unit is None:
                return
            self._next = unit
            if self._blocked and "burst" in self._faults:
                self._waits_for_room = True  # a terminal that records first loses nothing when the socket is full
                return
            wait = self._origin_s + unit.at_ms / 1000 / self.speed - now
            if wait > 0.0005:
                self._call = self._reactor.callLater(wait, self._pump)
                return
            self._next = None
            if self._position is not None:
                self._position = (self._stamp_base + unit.stamp_ms) / 1000
                if self._end_wall is not None and self._position >= self._end_wall:
                    if "silent-end" in self._faults:
                        self._stall()
                    else:
                        self._close("the recording is at its end")
                    return
            self._send(unit)

    def _send(self, unit: Unit) -> None:
        """One unit, if it is wanted."""
        if unit.raw is not None and not self._blocked:
            self.frames_sent += 1
            self._put([unit.raw])
            return
        if not (self.video if unit.is_video else self.audio or not unit.is_audio):
            return
        if self._blocked:
            self.frames_dropped += 1
            self._needs_key = self._needs_key or unit.is_video
            return
        if unit.is_video and not self._passes(unit):
            return
        self.frames_sent += 1
        self._put(self._packets(unit))

    def _passes(self, unit: Unit) -> bool:
        """Whether a picture may go out: after a gap only from a key frame on."""
        key = unit.data_type == DataType.VIDEO_I
        begins = unit.mark in (None, 0, 1)
        if "no-key-frames" in self._faults:
            return not key
        late = self._faults.get("late-key-frame")
        if late and self._reactor.seconds() < self._started_s + late:
            return not key
        if self.keys_only and not key:
            return False
        if self._needs_key and not late:
            if not key or not begins:
                return False
            self._needs_key = False
        return True

    def _packets(self, unit: Unit) -> list[bytes]:
        faults = self._faults
        stamp = self._stamp(unit)
        last_key = last_frame = 0
        if unit.is_video:
            last_key = min(0xFFFF, max(0, stamp - self._last_key)) if self._last_key >= 0 else 0
            last_frame = min(0xFFFF, max(0, stamp - self._last_frame)) if self._last_frame >= 0 else 0
            if unit.mark in (None, 0, 2):
                self._last_frame = stamp
                if unit.data_type == DataType.VIDEO_I:
                    self._last_key = stamp
        data_type = DataType.VIDEO_I if unit.is_video and "wrong-types" in faults else unit.data_type
        if unit.mark is not None:
            packets = [
                build_packet(
                    sim=self._sim, channel=self.channel, pt=unit.pt, data_type=data_type, body=unit.body, seq=self._seq, timestamp=stamp,
                    subpackage=0 if "wrong-marks" in faults else unit.mark, m=int(unit.last and "wrong-marks" not in faults),
                    last_i_interval=last_key, last_frame_interval=last_frame,
                )
            ]  # fmt: skip
        else:
            packets = packetize(
                unit.body, sim=self._sim, channel=self.channel, pt=unit.pt, data_type=data_type, seq=self._seq, timestamp=stamp,
                last_i_interval=last_key, last_frame_interval=last_frame, max_body=int(faults.get("body")) or STANDARD_BODY,
            )  # fmt: skip
            if "wrong-marks" in faults:
                at = 9 + len(self._sim)
                packets = [p[:5] + bytes((p[5] & 0x7F,)) + p[6:at] + bytes((p[at] & 0xF0,)) + p[at + 1 :] for p in packets]
        self._seq = (self._seq + len(packets)) & 0xFFFF
        return packets

    def _stamp(self, unit: Unit) -> int:
        stamp = self._stamp_base + unit.stamp_ms
        if "frozen-stamps" in self._faults:
            return round(self._started_s)
        every = self._faults.get("jumping-stamps")
        if every:
            stamp -= 6000 * int((self._reactor.seconds() - self._started_s) / every)
        return stamp

    def _put(self, packets: list[bytes]) -> None:
        """Packets to the socket, less what the faults take and more what they add."""
        write = self._write
        if write is None:
            return
        faults, rng = self._faults, self._random
        udp = self._udp
        out: list[bytes] = []
        for packet in packets:
            if "loss" in faults and rng.random() * 100 < faults.get("loss"):
                continue
            if "garbage" in faults and rng.random() < 0.05:
                out.append(rng.randbytes(rng.randint(1, int(faults.get("garbage")))))
            if udp and "reorder" in faults and self._held_back is None and rng.random() * 100 < faults.get("reorder"):
                self._held_back = packet
                continue
            out.append(packet)
            if self._held_back is not None:
                out.append(self._held_back)
                self._held_back = None
            if udp and "duplicates" in faults and rng.random() * 100 < faults.get("duplicates"):
                out.append(packet)
        self.packets_sent += len(packets)
        self.bytes_sent += sum(map(len, out))
        if udp:
            for datagram in out:
                write(datagram)
        elif out:
            write(b"".join(out))

    def _field(self, sim: str) -> bytes:
        """The SIM field, right or wrong."""
        if "wrong-sim" in self._faults:
            sim = str(int(self._faults.get("wrong-sim")))
        if "binary-sim" in self._faults:
            return bytes(2) + (int("".join(c for c in sim if c.isdigit()) or "0") & 0xFFFFFFFF).to_bytes(4, "big")
        digits = sim.lstrip("0") or "0"
        width = int(self._faults.get("sim-bytes")) or 6
        return sim_field(digits, 10 if len(digits) > 12 else width)

    # ---- the socket's side --------------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The socket is full."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """It has room again."""
        self._blocked = False
        if self._waits_for_room:
            self._waits_for_room = False
            self._pump()

    def stopProducing(self) -> None:
        """The connection is gone; ``lost`` tells."""

    def received(self, data: bytes) -> None:
        """Downlink sound of talk and broadcast."""
        self.bytes_received += len(data)
        self._inbox += data
        while self._inbox:
            try:
                packet = parse_packet(self._inbox, 0, len(self._sim))
            except FrameError:
                self._inbox = self._inbox[1:]
                continue
            if packet is None:
                break
            self._inbox = self._inbox[packet.consumed :]
            self.packets_received += 1
            self.last_received = packet.body
            self.heard.append((self._reactor.seconds(), packet))
            if self._waits_for_downlink:
                self._waits_for_downlink = False
                self._begin()
            if "talk-echo" in self._faults and self.state is State.SENDING:
                self._echo(packet)
        self._inbox = self._inbox[-_RECEIVE_MAX:]

    def _echo(self, packet: Packet) -> None:
        """Fault: what the loudspeaker plays comes back by the microphone."""
        stamp = round(self._wall() * 1000)
        self._put(packetize(packet.body, sim=self._sim, channel=self.channel, pt=packet.pt, data_type=DataType.AUDIO, seq=self._seq, timestamp=stamp))
        self._seq = (self._seq + 1) & 0xFFFF

    # ---- helpers ------------------------------------------------------------------------------------------------------------

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self._delayed.append(self._reactor.callLater(seconds, action))

    def _tell(self, what: str) -> None:
        if self._told is not None:
            self._told(self, what)


def _transparent() -> Iterator[Unit]:
    """Data type 5 of 0x9101: a line of text every second."""
    at = 0
    while True:
        yield Unit(at, at, _TRANSPARENT_PT, DataType.TRANSPARENT, f"simulated serial line, second {at // 1000}\r\n".encode())
        at += _TRANSPARENT_EVERY_MS
