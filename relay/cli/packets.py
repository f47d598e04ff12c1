"""From a captured packet to a TCP segment or a UDP datagram: link layers, IPv4 and IPv6 with their fragments.

Link types (LINKTYPE_): 1 Ethernet (with VLAN tags, PPPoE, MPLS), 113 and 276 Linux "any" (cooked v1, v2), 12, 14, 101, 228, 229 raw IP, 0 and 108 loopback,
9 PPP. What is none of these, no IP, or neither TCP nor UDP is left out and counted.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter, OrderedDict
from dataclasses import dataclass

from relay.cli.pcap import Captured

#: IP datagrams in pieces that wait for their rest; a capture that lost one must not keep it for ever
MAX_FRAGMENTED = 256
_FRAGMENT_AGE_NS = 60_000_000_000
_TCP, _UDP = 6, 17
_EXTENSIONS = frozenset({0, 43, 60, 135})

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


@dataclass(slots=True)
class Segment:
    """One TCP segment or (``flags`` -1) UDP datagram."""

    time: int
    number: int  #: of the packet in the file
    source: str
    source_port: int
    target: str
    target_port: int
    payload: bytes
    flags: int = -1
    seq: int = 0
    ack: int = 0
    missing: int = 0  #: bytes of the payload that the capture did not keep

    @property
    def is_udp(self) -> bool:
        return self.flags < 0


class Dissector:
    """Takes captured packets one by one; holds only fragments."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()  #: why packets are not shown -> how many
        self._fragments: OrderedDict[tuple[object, ...], _Pieces] = OrderedDict()

    def segment(self, packet: Captured) -> Segment | None:
        """The segment or datagram in ``packet``; with the last fragment of a datagram the whole of it."""
        data = _network(packet.link_type, packet.data)
        if data is None:
            known = packet.link_type in _LINKS
            self.left_out["packets that are no IP" if known else f"packets of link type {packet.link_type}, which is not known here"] += 1
            return None
        found = self._ip(data, packet)
        if isinstance(found, str):
            if found:
                self.left_out[found] += 1
            return None
        return found

    def _ip(self, data: bytes, packet: Captured) -> Segment | str:
        version = data[0] >> 4 if data else 0
        if version == 4:
            return self._ipv4(data, packet)
        if version == 6:
            return self._ipv6(data, packet)
        return "packets that are no IP"

    def _ipv4(self, data: bytes, packet: Captured) -> Segment | str:
        if len(data) < 20:
            return "IP headers cut by the capture"
        head = (data[0] & 0x0F) * 4
        total, ident, fragment = struct.unpack_from(">HHH", data, 2)
        if not total:  # segmentation offload: the card fills it in
            total = max(len(data), packet.size - (len(packet.data) - len(data)))
        if head < 20 or total < head or len(data) < head:
            return "IP headers that are damaged"
        source, target = (str(ipaddress.IPv4Address(data[at : at + 4])) for at in (12, 16))
        protocol = data[9]
        content = data[head:total]
        if fragment & 0x3FFF:
            key = (source, target, protocol, ident)
            whole = self._gather(key, packet.time, (fragment & 0x1FFF) * 8, content, bool(fragment & 0x2000))
            if whole is None:
                return ""
            content, total = whole, head + len(whole)
        return _transport(protocol, source, target, content, total - head, packet)

    def _ipv6(self, data: bytes, packet: Captured) -> Segment | str:
        if len(data) < 40:
            return "IP headers cut by the capture"
        (size,) = struct.unpack_from(">H", data, 4)
        source, target = (str(ipaddress.IPv6Address(data[at : at + 16])) for at in (8, 24))
        protocol, pos = data[6], 40
        end = pos + size if size else len(data)
        while protocol in _EXTENSIONS or protocol in (44, 51):
            if pos + 8 > len(data):
                return "IP headers cut by the capture"
            following = data[pos]
            if protocol == 44:
                _, place, ident = struct.unpack_from(">HHI", data, pos)
                key = (source, target, following, ident)
                content: bytes | None = data[pos + 8 : end]
                if place & 0xFFF9:
                    content = self._gather(key, packet.time, place & 0xFFF8, content or b"", bool(place & 1))
                if content is None:
                    return ""
                return _transport(following, source, target, content, len(content), packet)
            pos += (data[pos + 1] + 2) * 4 if protocol == 51 else (data[pos + 1] + 1) * 8
            protocol = following
        return _transport(protocol, source, target, data[pos:end], end - pos, packet)

    def _gather(self, key: tuple[object, ...], time: int, offset: int, content: bytes, more: bool) -> bytes | None:
        """Keep a fragment; the whole datagram's content with its last one."""
        pieces = self._fragments.get(key)
        if pieces is None or time - pieces.time > _FRAGMENT_AGE_NS:
            pieces = self._fragments[key] = _Pieces(time)
        whole = pieces.add(offset, content, more)
        if whole is not None:
            del self._fragments[key]
        elif len(self._fragments) > MAX_FRAGMENTED:
            self._fragments.popitem(last=False)
            self.left_out["fragments whose rest never came"] += 1
        return whole


class _Pieces:
    """The fragments of one datagram; never more than a datagram can have."""

    __slots__ = ("_have", "_size", "time")

    def __init__(self, time: int) -> None:
        self.time = time
        self._have: dict[int, bytes] = {}
        self._size = -1

    def add(self, offset: int, content: bytes, more: bool) -> bytes | None:
        if offset + len(content) > 65535 or len(self._have) > 8192:
            return None
        self._have.setdefault(offset, content)
        if not more:
            self._size = offset + len(content)
        if self._size < 0:
            return None
        whole = b""
        for place in sorted(self._have):
            if place > len(whole):
                return None
            whole += self._have[place][len(whole) - place :]
        return whole[: self._size] if len(whole) >= self._size else None


def _transport(protocol: int, source: str, target: str, data: bytes, size: int, packet: Captured) -> Segment | str:
    """``data``: what the capture kept of ``size`` bytes."""
    if protocol == _UDP:
        if len(data) < 8:
            return "UDP headers cut by the capture"
        source_port, target_port, length = struct.unpack_from(">HHH", data)
        length = length or size
        if length < 8 or length > size:
            return "UDP headers that are damaged"
        payload = data[8:length]
        return Segment(packet.time, packet.number, source, source_port, target, target_port, payload, missing=length - 8 - len(payload))
    if protocol == _TCP:
        if len(data) < 20:
            return "TCP headers cut by the capture"
        source_port, target_port, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", data)
        head = (offset >> 4) * 4
        if head < 20 or head > size:
            return "TCP headers that are damaged"
        payload = data[head:]
        missing = size - head - len(payload)
        return Segment(packet.time, packet.number, source, source_port, target, target_port, payload, flags, seq, ack, missing)
    return "IP packets that are neither TCP nor UDP"


def _network(link_type: int, data: bytes) -> bytes | None:
    """The IP packet in a frame of that link type; None when there is none."""
    if link_type in (12, 14, 101, 228, 229):
        return data
    if link_type == 1:
        return _ethernet(data)
    if link_type == 113:
        return _by_type(int.from_bytes(data[14:16], "big"), data[16:])
    if link_type == 276:
        return _by_type(int.from_bytes(data[:2], "big"), data[20:])
    if link_type in (0, 108) and len(data) > 4:
        return data[4:] if data[4] >> 4 in (4, 6) else None
    if link_type == 9:
        return _ppp(data[2:] if data[:2] == b"\xff\x03" else data)
    return None


_LINKS = frozenset({0, 1, 9, 12, 14, 101, 108, 113, 228, 229, 276})


def _ethernet(data: bytes) -> bytes | None:
    return _by_type(int.from_bytes(data[12:14], "big"), data[14:])


def _by_type(kind: int, data: bytes) -> bytes | None:
    """What an EtherType leads to."""
    for _ in range(8):
        if kind in (0x0800, 0x86DD):
            return data
        if kind in (0x8100, 0x88A8, 0x9100):  # VLAN
            kind, data = int.from_bytes(data[2:4], "big"), data[4:]
        elif kind == 0x8864:  # PPPoE
            return _ppp(data[6:])
        elif kind == 0x8847:  # MPLS: labels up to the one with the bottom bit, then IP
            while len(data) >= 4 and not data[2] & 1:
                data = data[4:]
            return data[4:] or None
        else:
            return None
    return None


def _ppp(data: bytes) -> bytes | None:
    if data[:2] in (b"\x00\x21", b"\x00\x57"):
        return data[2:]
    return data[1:] if data[:1] in (b"\x21", b"\x57") else None


def payload_of(data: bytes) -> bytes | None:
    """What a packet pasted with its headers (Ethernet, Linux cooked or from IP on) carries; None if it is none, judged by the IP checksum and lengths."""
    for link_type in (1, 113, 276, 101):
        inner = _network(link_type, data)
        if inner is None or len(inner) < 28 or inner[0] >> 4 != 4:
            continue
        head = (inner[0] & 0x0F) * 4
        total = int.from_bytes(inner[2:4], "big")
        if head < 20 or len(inner) < head or total > len(inner) or len(inner) - total > 46 or _ip_sum(inner[:head]):
            continue
        segment = Dissector().segment(Captured(0, 0, link_type, data, len(data)))
        if segment is not None:
            return segment.payload
    return None


def _ip_sum(head: bytes) -> int:
    """0 for a sound IPv4 header."""
    total: int = sum(struct.unpack(f">{len(head) // 2}H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
