"""Captures made here: packets by layers, files by both formats. The writer of the tests knows nothing of the reader's code."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def ip(source: str, target: str, protocol: int, payload: bytes, *, ident: int = 0, fragment: int = 0, extension: bytes = b"") -> bytes:
    one, two = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if one.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(payload) + len(extension), protocol, 64) + one.packed + two.packed + extension + payload
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, 64, protocol, 0) + one.packed + two.packed + payload


def tcp(source_port: int, target_port: int, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    options = b"\1\1\1\0"
    return struct.pack(">HHIIBBHHH", source_port, target_port, seq % 2**32, ack % 2**32, 6 << 4, flags, 8192, 0, 0) + options + payload


def udp(source_port: int, target_port: int, payload: bytes) -> bytes:
    return struct.pack(">HHHH", source_port, target_port, 8 + len(payload), 0) + payload


def ethernet(packet: bytes, vlan: bool = False) -> bytes:
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    frame = bytes(12) + (b"\x81\x00\x00\x05" if vlan else b"") + kind + packet
    return frame.ljust(60, b"\0")


def cooked(packet: bytes, version: int = 1) -> bytes:
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    return bytes(14) + kind + packet if version == 1 else kind + bytes(18) + packet


LINKS = {
    1: ethernet,
    0: lambda packet: struct.pack("<I", 2) + packet,
    108: lambda packet: struct.pack(">I", 2) + packet,
    101: lambda packet: packet,
    113: cooked,
    276: lambda packet: cooked(packet, 2),
    9: lambda packet: b"\xff\x03\x00\x21" + packet,
}

Stamped = list[tuple[int, bytes]]  # ns


def pcap(packets: Stamped, link: int = 1, *, order: str = "<", nano: bool = False, snap: int = 262144) -> bytes:
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snap, link)
    for time, packet in packets:
        frame = LINKS[link](packet)
        units = 10**9 if nano else 10**6
        ticks = time * units // 10**9
        out += struct.pack(order + "IIII", ticks // units, ticks % units, min(len(frame), snap), len(frame)) + frame[:snap]
    return out


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def pcapng(packets: Stamped, link: int = 1, *, order: str = "<", resolution: int = 6) -> bytes:
    section = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    options = struct.pack(order + "HHB3x", 9, 1, resolution) + struct.pack(order + "HH", 0, 0)
    out = _block(order, 0x0A0D0D0A, section)
    out += _block(order, 1, struct.pack(order + "HHI", link, 0, 0) + options)
    out += _block(order, 4, b"names that nobody needs")
    for time, packet in packets:
        frame = LINKS[link](packet)
        ticks = time * 10**resolution // 10**9
        out += _block(order, 6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)) + frame)
    return out


@dataclass
class Talk:
    """A TCP conversation; each step makes a packet."""

    client: tuple[str, int] = ("10.0.0.7", 40112)
    server: tuple[str, int] = ("10.0.0.1", 7808)
    time: int = 1_795_000_000_000_000_000
    seq: int = 0xFFFFFF00  #: the client's; wraps soon
    ack: int = 1000

    def __post_init__(self) -> None:
        self.packets: Stamped = []

    def _add(self, up: bool, seq: int, ack: int, flags: int, payload: bytes) -> None:
        here, there = (self.client, self.server) if up else (self.server, self.client)
        self.packets.append((self.time, ip(here[0], there[0], 6, tcp(here[1], there[1], seq, ack, flags, payload))))
        self.time += 250_000_000

    def open(self) -> Talk:
        self._add(True, self.seq, 0, SYN, b"")
        self._add(False, self.ack, self.seq + 1, SYN | ACK, b"")
        self.seq += 1
        self.ack += 1
        self._add(True, self.seq, self.ack, ACK, b"")
        return self

    def up(self, payload: bytes) -> Talk:
        self._add(True, self.seq, self.ack, PSH | ACK, payload)
        self.seq += len(payload)
        return self

    def down(self, payload: bytes) -> Talk:
        self._add(False, self.ack, self.seq, PSH | ACK, payload)
        self.ack += len(payload)
        return self

    def close(self) -> Talk:
        self._add(True, self.seq, self.ack, FIN | ACK, b"")
        self._add(False, self.ack, self.seq + 1, FIN | ACK, b"")
        return self
