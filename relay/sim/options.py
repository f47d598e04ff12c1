"""What the simulated terminals of a run have in common."""

from __future__ import annotations

from dataclasses import dataclass

from relay.sim.faults import NO_FAULTS, Faults


@dataclass(frozen=True, slots=True)
class TerminalOptions:
    """What all terminals of a run share."""

    host: str = "127.0.0.1"
    port: int = 7808
    edition: int = 2013  #: 2011, 2013 or 2019
    channels: tuple[int, ...] = (1, 2, 3, 4)  #: logical channels with picture and sound
    recordings: int = 48  #: half-hour recordings of each channel, the last one up to now
    upload_format: str = "h264"  #: of files sent for 0x9206: "h264" (Annex B) or "jt1078" (recorded packets)
    plate: str = "粤B{tail}"  #: {tail}: the last five digits of the number
    plate_color: int = 2
    auth_code: str = ""  #: known from an earlier registration; empty = register first
    heartbeat_s: float = 60.0
    position_s: float = 30.0  #: 0 = no position reports
    alarm_s: float = 0.0  #: raise an active-safety alarm with files every so many seconds; 0 = none
    signalling_udp: bool = False  #: JT/T 808 over UDP
    tls: bool = False  #: JT/T 808 in TLS (certificates are not checked)
    media_udp: bool = False  #: media over UDP wherever the request names a UDP port
    media_server: tuple[str, int] | None = None  #: send media here, whatever the request says
    faults: Faults = NO_FAULTS
    utc_offset_s: int = 28800  #: what the card's clock shows
