"""Capture files, the layers in them, and TCP put together again."""

from __future__ import annotations

import gzip
import itertools
import random
import struct
from pathlib import Path

import pytest

from relay.cli import packets, reassembly
from relay.cli.packets import Dissector, Segment
from relay.cli.pcap import Captured, CaptureError, read_capture
from relay.cli.reassembly import Delivered, Reassembler
from tests.cli import captures
from tests.cli.captures import ACK, FIN, RST, SYN, Talk, ip, pcap, pcapng, tcp, udp


def write(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "capture"
    file.write_bytes(data)
    return file


def segments(data: list[Captured]) -> list[Segment]:
    dissector = Dissector()
    return [segment for one in data if (segment := dissector.segment(one)) is not None]


HELLO = [
    (1_795_000_000_250_000_000, ip("10.0.0.7", "10.0.0.1", 17, udp(5000, 7808, b"hello"))),
    (1_795_000_001_500_000_000, ip("10.0.0.1", "10.0.0.7", 17, udp(7808, 5000, b"yo"))),
]


@pytest.mark.parametrize("link", sorted(captures.LINKS))
@pytest.mark.parametrize("order", "<>")
def test_link_types_and_byte_orders(tmp_path: Path, link: int, order: str) -> None:
    for data in (pcap(HELLO, link, order=order), pcap(HELLO, link, order=order, nano=True), pcapng(HELLO, link, order=order)):
        found = list(read_capture(write(tmp_path, data)))
        assert [one.time for one in found] == [1_795_000_000_250_000_000, 1_795_000_001_500_000_000]
        got = segments(found)
        assert [(s.source, s.source_port, s.target, s.target_port, s.payload) for s in got] == [
            ("10.0.0.7", 5000, "10.0.0.1", 7808, b"hello"), ("10.0.0.1", 7808, "10.0.0.7", 5000, b"yo")
        ]  # fmt: skip
        assert all(s.is_udp for s in got)


def test_gzip_vlan_and_pcapng_resolution(tmp_path: Path) -> None:
    data = gzip.compress(pcapng(HELLO, resolution=9))
    assert [one.time for one in read_capture(write(tmp_path, data))] == [1_795_000_000_250_000_000, 1_795_000_001_500_000_000]
    tagged = Captured(1, 0, 1, captures.ethernet(HELLO[0][1], vlan=True), 100)
    assert segments([tagged])[0].payload == b"hello"
    pppoe = Captured(1, 0, 1, bytes(12) + b"\x88\x64\x11\0\0\1\0\x40\x00\x21" + HELLO[0][1], 100)
    mpls = Captured(1, 0, 1, bytes(12) + b"\x88\x47\0\0\0\x40\0\0\1\x40" + HELLO[0][1], 100)
    assert [s.payload for s in segments([pppoe, mpls])] == [b"hello", b"hello"]


def test_a_simple_packet_block_has_no_time(tmp_path: Path) -> None:
    head = pcapng([])
    frame = captures.ethernet(HELLO[0][1])
    block = struct.pack("<II", 3, 16 + len(frame)) + struct.pack("<I", len(frame)) + frame + struct.pack("<I", 16 + len(frame))
    (one,) = read_capture(write(tmp_path, head + block))
    assert (one.time, segments([one])[0].payload) == (0, b"hello")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "neither pcap nor pcapng"),
        (b"MZ\x90\0" * 9, "neither pcap nor pcapng"),
        (pcap(HELLO)[:60], "in the middle of packet 1"),
        (pcap(HELLO)[:-1], "in the middle of packet 2"),
        (pcap(HELLO)[:32] + b"\xff\xff\xff\x7f" + pcap(HELLO)[36:], "the file is damaged"),
        (pcapng(HELLO)[:-6], "in the middle of packet 2"),
        (pcapng(HELLO)[:4] + b"\x05" + pcapng(HELLO)[5:], "the file is damaged"),
        (gzip.compress(pcap(HELLO))[:-20], "gzip"),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes, problem: str) -> None:
    with pytest.raises(CaptureError, match=problem):
        list(read_capture(write(tmp_path, data)))


def test_ipv6_with_extensions_and_fragments() -> None:
    datagram = udp(5000, 7808, bytes(range(200)))
    hop = bytes((17, 0)) + bytes(6)
    plain = ip("2001:db8::7", "2001:db8::1", 0, datagram, extension=hop)
    first = ip("2001:db8::7", "2001:db8::1", 44, datagram[:104], extension=struct.pack(">BBHI", 17, 0, 1, 9))
    second = ip("2001:db8::7", "2001:db8::1", 44, datagram[104:], extension=struct.pack(">BBHI", 17, 0, 104, 9))
    got = segments([Captured(i, 0, 101, one, len(one)) for i, one in enumerate((plain, second, first))])
    assert [s.payload for s in got] == [bytes(range(200))] * 2
    assert got[0].source == "2001:db8::7"


def test_ipv4_fragments_in_any_order_and_lost_ones() -> None:
    datagram = udp(5000, 7808, bytes(range(250)) * 12)
    parts = [(0, datagram[:1480], True), (185, datagram[1480:2960], True), (370, datagram[2960:], False)]
    made = [ip("10.0.0.7", "10.0.0.1", 17, data, ident=7, fragment=at | (0x2000 if more else 0)) for at, data, more in parts]
    for order in ((0, 1, 2), (2, 1, 0), (1, 1, 2, 0)):
        got = segments([Captured(i, 0, 101, made[i], 0) for i in order])
        assert [s.payload for s in got] == [bytes(range(250)) * 12]
    assert segments([Captured(1, 0, 101, made[0], 0), Captured(1, 0, 101, made[2], 0)]) == []
    dissector = Dissector()
    for ident in range(packets.MAX_FRAGMENTED + 5):
        one = ip("10.0.0.7", "10.0.0.1", 17, b"x" * 8, ident=ident, fragment=0x2000)
        assert dissector.segment(Captured(1, 0, 101, one, 0)) is None
    assert dissector.left_out["fragments whose rest never came"] == 5


def test_what_is_left_out_is_counted() -> None:
    dissector = Dissector()
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    icmp = ip("10.0.0.7", "10.0.0.1", 1, bytes(8))
    for link, data in ((1, arp), (101, icmp), (127, b"wifi"), (101, b"\x45\0"), (101, b""), (1, b"short"), (101, ip("10.0.0.7", "10.0.0.1", 6, bytes(20)))):
        assert dissector.segment(Captured(1, 0, link, data, 0)) is None
    assert sum(dissector.left_out.values()) == 7
    assert dissector.left_out["packets of link type 127, which is not known here"] == 1


def play(packets_in: captures.Stamped) -> tuple[Reassembler, list[Delivered]]:
    dissector, reassembler = Dissector(), Reassembler()
    out: list[Delivered] = []
    for number, (time, data) in enumerate(packets_in, 1):
        segment = dissector.segment(Captured(number, time, 101, data, len(data)))
        if segment is not None:
            out += reassembler.take(segment)
    out += reassembler.finish()
    return reassembler, out


def text(out: list[Delivered], direction: int = 0, number: int = 1) -> bytes:
    """What one direction delivered, gaps as <n>."""
    parts = [one for one in out if one.direction == direction and one.connection.number == number]
    return b"".join(one.data + (b"<%d>" % one.gap if one.gap else b"") for one in parts)


def test_a_connection_in_order() -> None:
    talk = Talk().open().up(b"one ").down(b"ONE ").up(b"two").close()
    reassembler, out = play(talk.packets)
    (connection,) = reassembler.connections
    assert (text(out), text(out, 1)) == (b"one two", b"ONE ")
    assert (str(connection.ends[0]), str(connection.ends[1])) == ("10.0.0.7:40112", "10.0.0.1:7808")
    assert (connection.opened, connection.closed, connection.bytes, connection.lost) == (True, True, [7, 4], [0, 0])
    assert [one.time for one in out if one.data] == [1_795_000_000_750_000_000, 1_795_000_001_000_000_000, 1_795_000_001_250_000_000]


def test_out_of_order_repeated_and_overlapping_segments() -> None:
    talk = Talk().open()
    for word in (b"aaaa", b"bbbb", b"cccc", b"dddd"):
        talk.up(word)
    a, b, c, d = talk.packets[3:]
    base = 0xFFFFFF01
    overlap = (a[0], ip("10.0.0.7", "10.0.0.1", 6, tcp(40112, 7808, base + 2, 1001, ACK, b"aabbbbcc")))
    for order in ([a, b, c, d], [d, c, b, a], [a, a, c, b, b, d, d], [a, overlap, d, c], [d, overlap, a, c], [b, a, d, c, a]):
        reassembler, out = play(talk.packets[:3] + order)
        assert text(out) == b"aaaabbbbccccdddd"
        assert reassembler.connections[0].lost == [0, 0]
    assert play([*talk.packets[:3], a, a, b, c, d])[0].connections[0].repeated == [4, 0]


def test_every_order_of_segments_gives_the_same_bytes() -> None:
    chance = random.Random(1)
    content = bytes(chance.randrange(256) for _ in range(3000))
    for _ in range(60):
        start, cuts = chance.randrange(2**32), sorted({0, 3000, *(chance.randrange(3000) for _ in range(25))})
        made = [(1, ip("10.0.0.7", "10.0.0.1", 6, tcp(40112, 7808, start, 0, SYN)))]
        pieces = []
        for begin, end in itertools.pairwise(cuts):
            begin = max(0, begin - chance.choice((0, 0, 30)))
            pieces.append((1, ip("10.0.0.7", "10.0.0.1", 6, tcp(40112, 7808, start + 1 + begin, 0, ACK, content[begin:end]))))
        pieces += chance.choices(pieces, k=5)
        chance.shuffle(pieces)
        _, out = play(made + pieces)
        assert text(out) == content


def test_a_missing_segment_is_told_where_it_is_missing() -> None:
    talk = Talk().open().up(b"aaaa").up(b"bbbb").up(b"cccc").close()
    _, out = play(talk.packets[:4] + talk.packets[5:])
    assert text(out) == b"aaaa<4>cccc"
    # the server's acknowledgement says at once that it did arrive: nothing waits for the end
    talk = Talk().open().up(b"aaaa").up(b"bbbb").up(b"cccc").down(b"ok").up(b"dddd")
    _, out = play(talk.packets[:4] + talk.packets[5:])
    order = [one.data or b"<%d>" % one.gap for one in out if one.data or one.gap]
    assert order == [b"aaaa", b"<4>", b"cccc", b"ok", b"dddd"]


def test_an_acknowledgement_of_less_gives_up_nothing() -> None:
    talk = Talk().open().up(b"aaaa").up(b"bbbb").up(b"cccc")
    late = talk.packets.pop(4)
    ack = (9, ip("10.0.0.1", "10.0.0.7", 6, tcp(7808, 40112, 1001, 0xFFFFFF01 + 4, ACK)))
    _, out = play([*talk.packets, ack, late])
    assert text(out) == b"aaaabbbbcccc"


def test_a_connection_whose_beginning_was_not_captured() -> None:
    talk = Talk().open().up(b"aaaa").down(b"bbbb").close()
    reassembler, out = play(talk.packets[3:])
    (connection,) = reassembler.connections
    assert (text(out), text(out, 1), connection.opened) == (b"aaaa", b"bbbb", False)
    assert connection.ends[1].port == 7808
    # the server speaks first: its port is the smaller one
    reassembler, out = play(talk.packets[4:])
    assert (str(reassembler.connections[0].ends[0]), text(out, 1)) == ("10.0.0.7:40112", b"bbbb")


def test_the_same_ports_again_are_another_connection() -> None:
    first = Talk().open().up(b"first")
    second = Talk(seq=5, ack=77, time=first.time).open().up(b"second").close()
    straggler = (second.time, first.packets[-1][1])
    reassembler, out = play([*first.packets, *second.packets, straggler])
    assert (text(out, 0, 1), text(out, 0, 2), len(reassembler.connections)) == (b"first", b"second", 2)
    # the same SYN twice is not
    reassembler, out = play([first.packets[0], *first.packets])
    assert (len(reassembler.connections), text(out)) == (1, b"first")


def test_a_reset_ends_a_connection() -> None:
    talk = Talk().open().up(b"aaaa")
    talk.packets.append((talk.time, ip("10.0.0.1", "10.0.0.7", 6, tcp(7808, 40112, 1001, 0, RST))))
    reassembler, out = play(talk.packets)
    assert reassembler.connections[0].closed
    assert [one.end for one in out[-2:]] == [True, True]


def test_bytes_that_the_capture_cut_off_are_a_gap(tmp_path: Path) -> None:
    talk = Talk().open().up(b"a" * 100).up(b"b" * 10)
    found = list(read_capture(write(tmp_path, pcap(talk.packets, 101, snap=80))))
    reassembler = Reassembler()
    out = [one for segment in segments(found) for one in reassembler.take(segment)]
    assert text(out) == b"a" * 36 + b"<64>" + b"b" * 10
    assert reassembler.connections[0].lost == [64, 0]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "PENDING_MAX", 10_000)
    talk = Talk().open()
    for _ in range(200):
        talk.up(b"x" * 100)
    del talk.packets[3]
    dissector, reassembler = Dissector(), Reassembler()
    for number, (_, data) in enumerate(talk.packets):
        segment = dissector.segment(Captured(number, 0, 101, data, len(data)))
        assert segment is not None
        list(reassembler.take(segment))
        assert reassembler._held <= 10_100
    assert reassembler.connections[0].lost == [100, 0]
    assert reassembler.connections[0].bytes == [19_900, 0]


def test_all_connections_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "HELD_MAX", 5_000)
    monkeypatch.setattr(reassembly, "CONNECTIONS_MAX", 40)
    reassembler = Reassembler()
    for port in range(40000, 40100):
        base = {"time": 1, "number": 1, "source": "10.0.0.7", "source_port": port, "target": "10.0.0.1", "target_port": 7808}
        list(reassembler.take(Segment(**base, payload=b"", flags=SYN, seq=0)))
        list(reassembler.take(Segment(**base, payload=b"x" * 1000, flags=ACK, seq=500)))
        assert reassembler._held <= 5_000
        assert len(reassembler._tcp) <= 40
    list(reassembler.finish())
    assert reassembler._held == 0


def test_udp_directions() -> None:
    reassembler, out = play(HELLO)
    assert (text(out, 0), text(out, 1), len(reassembler.connections)) == (b"hello", b"yo", 1)


def test_any_packets_at_all(tmp_path: Path) -> None:
    chance = random.Random(7)
    talk = Talk().open().up(b"aaaa" * 30).down(b"bbbb").up(b"c").close()
    original = pcapng(talk.packets)
    for _ in range(300):
        data = bytearray(original)
        for _ in range(chance.randrange(1, 12)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        reassembler = Reassembler()
        try:
            for segment in segments(list(read_capture(write(tmp_path, bytes(data))))):
                list(reassembler.take(segment))
        except CaptureError:
            continue
        list(reassembler.finish())


def test_a_closing_fin_with_the_last_bytes() -> None:
    talk = Talk().open().up(b"aaaa")
    talk.packets.append((talk.time, ip("10.0.0.7", "10.0.0.1", 6, tcp(40112, 7808, talk.seq, talk.ack, FIN | ACK, b"end"))))
    talk.packets.append((talk.time, ip("10.0.0.1", "10.0.0.7", 6, tcp(7808, 40112, talk.ack, talk.seq + 4, FIN | ACK))))
    reassembler, out = play(talk.packets)
    assert text(out) == b"aaaaend"
    assert reassembler.connections[0].closed
