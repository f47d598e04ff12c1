"""Frames out of a byte stream: vectors, captures in any chunks, gaps, counts, marks (JT/T 1078-2016 table 19 and what the field does)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from itertools import cycle, repeat
from typing import Any

import pytest

from relay.jt1078.demux import Demuxer, PacketReader, RawFrame
from relay.jt1078.packet import parse_packet
from tests.jt1078.material import demux, marks, packet, pieces, unit
from tests.shared import captures, load_vectors, shared

STREAMS = [v for v in load_vectors("jt1078") if v["kind"] == "stream"]
TCP_CAPTURES = [c for c in captures() if c["file"].endswith(".jt1078")]


def digest(bodies: list[bytes]) -> str | None:
    return hashlib.sha256(b"".join(bodies)).hexdigest() if bodies else None


def bodies(frames: list[RawFrame], channel: int, audio: bool) -> list[bytes]:
    return [f.body for f in frames if f.channel == channel and f.data_type <= 3 and (f.data_type == 3) == audio]


# -- vectors and captures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", STREAMS, ids=lambda v: v["id"])
@pytest.mark.parametrize("sizes", [None, [1], [7], "chunks"], ids=str)
def test_stream_vector(vector: dict[str, Any], sizes: Any) -> None:
    data = bytes.fromhex(vector["hex"])
    sizes = vector.get("chunks", [len(data)]) if sizes == "chunks" else sizes or [len(data)]
    reader = PacketReader()
    found = []
    at = 0
    for size in cycle(sizes):
        found += reader.feed(data[at : at + size])
        at += size
        if at >= len(data):
            break
    found += reader.finish()
    expected = vector["fields"]
    assert [{name: getattr(p, name) for name in e} for p, e in zip(found, expected["packets"], strict=True)] == expected["packets"]
    assert reader.trailing_bytes == expected["trailing_bytes"]
    if expected["garbage_bytes"] is not None:
        assert reader.garbage_bytes == expected["garbage_bytes"]


def check_capture(entry: dict[str, Any], frames: list[RawFrame], demuxer: Demuxer) -> None:
    assert demuxer.packets == entry["packets"]
    if "garbage_bytes" in entry:
        assert demuxer.garbage_bytes == entry["garbage_bytes"]
    assert demuxer.lost_packets == entry.get("missing_packets", 0)
    if "parts" in entry:
        return
    for channel, part in entry.get("per_channel", {str(entry["channels"][0]): entry}).items():
        for audio in (False, True):
            found = bodies(frames, int(channel), audio)
            track = part["audio" if audio else "video"]
            assert len(found) == (track["frames"] if track else 0)
            assert digest(found) == part["audio_payload_sha256" if audio else "video_es_sha256"]
    assert {f.sim for f in frames} == {entry["sim"].split()[0]}


@pytest.mark.shared
@pytest.mark.parametrize("entry", TCP_CAPTURES, ids=lambda c: c["file"])
@pytest.mark.parametrize("chunk", [1 << 24, 65536, 2920, "random"])
def test_capture_gives_every_whole_frame(entry: dict[str, Any], chunk: Any) -> None:
    data = shared("captures/" + entry["file"]).read_bytes()
    rng = random.Random(entry["file"])
    sizes: Iterator[int] = iter(lambda: rng.choice([1, 3, 29, 31, 500, 1460, 9000]), 0) if chunk == "random" else repeat(chunk)
    check_capture(entry, *demux(data, sizes))


@pytest.mark.shared
@pytest.mark.parametrize("entry", [c for c in TCP_CAPTURES if c["bytes"] < 200000], ids=lambda c: c["file"])
@pytest.mark.parametrize("chunk", [1, 7])
def test_capture_byte_by_byte(entry: dict[str, Any], chunk: int) -> None:
    data = shared("captures/" + entry["file"]).read_bytes()
    check_capture(entry, *demux(data, repeat(chunk)))


@pytest.mark.shared
@pytest.mark.parametrize("entry", TCP_CAPTURES, ids=lambda c: c["file"])
def test_the_loop_and_the_single_steps_agree(entry: dict[str, Any]) -> None:
    data = shared("captures/" + entry["file"]).read_bytes()
    fast, _ = demux(data, repeat(4096))
    reader = PacketReader()
    slow = [f for at in range(0, len(data), 4096) for f in reader.demuxer.feed(data[at : at + 4096], 0.0)] + reader.demuxer.finish(0.0)
    assert [(f.sim, f.channel, f.pt, f.data_type, f.timestamp, f.body, f.packets) for f in fast] == [
        (f.sim, f.channel, f.pt, f.data_type, f.timestamp, f.body, f.packets) for f in slow
    ]


# -- delivery ------------------------------------------------------------------------------------------------------------------------


def test_a_frame_leaves_with_its_last_byte() -> None:
    demuxer = Demuxer()
    body = unit(2000)
    seq = 0
    for number in range(20):
        parts = pieces(body, 3)
        data = b"".join(packet(seq + i, mark, part, ts=number * 40) for i, (mark, part) in enumerate(zip(marks(3), parts, strict=True)))
        seq += 3
        assert demuxer.feed(data[:-1], float(number)) == []
        (frame,) = demuxer.feed(data[-1:], float(number) + 0.5)
        assert (frame.body, frame.packets, frame.timestamp, frame.arrival, frame.loss) == (body, 3, number * 40, number + 0.5, None)


def test_sound_between_the_pieces_of_a_picture() -> None:
    parts = pieces(unit(2500), 3)
    data = b"".join(
        [
            packet(0, 1, parts[0]),
            packet(1, 0, b"\xd5" * 160, data_type=3, pt=6),
            packet(2, 3, parts[1]),
            packet(3, 0, b"\x55" * 160, data_type=3, pt=6, ts=1020),
            packet(4, 2, parts[2]),
        ]
    )
    frames, _ = demux(data)
    assert [(f.pt, f.body) for f in frames] == [(6, b"\xd5" * 160), (6, b"\x55" * 160), (98, b"".join(parts))]


def test_transparent_data_comes_through() -> None:
    frames, _ = demux(packet(0, 0, b"hello", data_type=4, pt=91))
    assert [(f.data_type, f.pt, f.timestamp, f.body) for f in frames] == [(4, 91, 0, b"hello")]


def test_empty_bodies_start_nothing_and_end_nothing() -> None:
    parts = pieces(unit(1500), 2)
    data = b"".join(
        [packet(0, 1, b""), packet(1, 1, parts[0]), packet(2, 2, b""), packet(3, 3, b""), packet(4, 2, parts[1]), packet(5, 0, b"", ts=1040)]
    )
    frames, demuxer = demux(data)
    assert [f.body for f in frames] == [b"".join(parts)]
    assert demuxer.empty_packets == 4


def test_what_the_payload_type_says_decides_over_the_data_type() -> None:
    # seen: sound with data type 1; the header then has the picture's fields
    parts = pieces(unit(1500), 2)
    data = packet(0, 1, parts[0]) + packet(1, 0, b"\xd5" * 80, data_type=1, pt=6, ts=1001) + packet(2, 2, parts[1])
    frames, _ = demux(data)
    assert [(f.pt, f.body) for f in frames] == [(6, b"\xd5" * 80), (98, b"".join(parts))]


# -- loss ----------------------------------------------------------------------------------------------------------------------------


def frame_packets(count: int, per_frame: int = 3, start: int = 0, audio: bool = False) -> list[bytes]:
    out: list[bytes] = []
    for number in range(count):
        parts = pieces(unit(2000, number), per_frame)
        for mark, part in zip(marks(per_frame), parts, strict=True):
            out.append(packet(start + len(out), mark, part, ts=number * 40))
        if audio:
            out.append(packet(start + len(out), 0, b"\xd5" * 160, data_type=3, pt=6, ts=number * 40))
    return out


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_frame_with_a_hole_is_dropped_and_told(lost: int) -> None:
    data = frame_packets(20, start=65500)
    del data[30 + lost]
    frames, demuxer = demux(b"".join(data))
    assert len(frames) == 19
    assert demuxer.lost_packets == 1
    (stream,) = demuxer.streams.values()
    assert (stream.lost_packets, stream.incomplete_frames, stream.dropped_packets) == (1, 1, 2)
    told = [(f.timestamp, f.loss.frames) for f in frames if f.loss is not None]
    assert told == [(11 * 40, 1)]


def test_a_lost_block_of_sound_between_pictures_is_told_as_a_may_be() -> None:
    data = frame_packets(20, audio=True)
    del data[39]
    frames, demuxer = demux(b"".join(data))
    assert len([f for f in frames if f.pt == 98]) == 20
    after = next(f for f in frames if f.loss is not None)
    assert (after.pt, after.loss and after.loss.maybe, after.loss and after.loss.packets, after.lost_before) == (98, 1, 0, 0)
    assert demuxer.lost_packets == 1


def test_wrap_is_no_loss() -> None:
    frames, demuxer = demux(b"".join(frame_packets(40, start=65500)))
    assert (len(frames), demuxer.lost_packets) == (40, 0)


@pytest.mark.parametrize("scheme", ["connection", "channel", "kind", "constant", "frame"])
def test_the_scheme_of_counting_is_learnt(scheme: str) -> None:
    counters: dict[Any, int] = {}
    data = []

    def number(channel: int, audio: bool, new_frame: bool) -> int:
        key = {"connection": 0, "channel": channel, "kind": (channel, audio), "constant": -1, "frame": 0}[scheme]
        step = new_frame if scheme == "frame" else scheme != "constant"
        counters[key] = counters.get(key, 77 * channel - 1) + step
        return counters[key]

    for frame in range(60):
        for channel in (1, 2):
            parts = pieces(unit(1200, frame * channel), 2)
            for index, part in enumerate(parts):
                data.append(packet(number(channel, False, index == 0), index + 1, part, ts=frame * 40, channel=channel))
            data.append(packet(number(channel, True, True), 0, b"\xd5" * 160, ts=frame * 40, channel=channel, data_type=3, pt=6))
    frames, demuxer = demux(b"".join(data), repeat(1460))
    assert demuxer.lost_packets == 0
    for channel in (1, 2):
        assert len(bodies(frames, channel, False)) == 60
        assert len(bodies(frames, channel, True)) == 60
    if scheme in ("connection", "channel", "kind"):
        del data[303]
        _, demuxer = demux(b"".join(data), repeat(1460))
        assert demuxer.lost_packets == 1


def test_a_restart_of_the_count_is_no_loss() -> None:
    data = frame_packets(30, start=5000) + frame_packets(30)
    frames, demuxer = demux(b"".join(data))
    assert len(frames) == 60
    assert demuxer.lost_packets == 0
    assert [f.loss.restart for f in frames if f.loss is not None] == [True]


# -- lying marks ---------------------------------------------------------------------------------------------------------------------

MARKS = {
    "all atomic": lambda i, n: 0,
    "all first": lambda i, n: 1,
    "all middle": lambda i, n: 3,
    "all last": lambda i, n: 2,
    "last and middle swapped": lambda i, n: 0 if n == 1 else 1 if i == 0 else 3 if i == n - 1 else 2,
    "no last": lambda i, n: 0 if n == 1 else 1 if i == 0 else 3,
    "no first": lambda i, n: 0 if n == 1 else 2 if i == n - 1 else 3,
}


@pytest.mark.parametrize("lie", list(MARKS))
@pytest.mark.parametrize("m", ["right", "never", "always"])
def test_frames_are_whole_though_the_marks_lie(lie: str, m: str) -> None:
    """lkm's author found the marks unreliable; the time stamp and the start code then tell (spec 4.1)."""
    wanted = []
    data = []
    rng = random.Random(1)
    for number in range(40):
        body = unit(rng.choice([300, 1500, 3000, 5000]) if number else 4000, number, 0x65 if number == 0 else 0x61)
        wanted.append(body)
        parts = [body[at : at + 950] for at in range(0, len(body), 950)]
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            flag = {"right": last, "never": False, "always": True}[m]
            data.append(packet(len(data), MARKS[lie](index, len(parts)), part, ts=number * 40, m=int(flag), data_type=0 if number == 0 else 1))
    frames, demuxer = demux(b"".join(data), repeat(1000))
    assert [f.body for f in frames] == wanted
    assert demuxer.assembler.lying_tracks == 1


def test_honest_marks_are_believed_although_each_packet_has_its_own_time_stamp() -> None:
    data = []
    wanted = []
    for number in range(20):
        parts = pieces(unit(2500, number), 3)
        wanted.append(b"".join(parts))
        data += [packet(len(data) + i, mark, part, ts=number * 40 + i) for i, (mark, part) in enumerate(zip(marks(3), parts, strict=True))]
    frames, demuxer = demux(b"".join(data))
    assert [f.body for f in frames] == wanted
    assert demuxer.assembler.lying_tracks == 0


def test_a_time_stamp_that_stands_still_harms_nothing() -> None:
    data = []
    wanted = []
    for number in range(30):
        body = unit(600 + 150 * (number % 9), number)
        wanted.append(body)
        parts = [body[at : at + 950] for at in range(0, len(body), 950)]
        data += [packet(len(data) + i, mark, part, ts=7) for i, (mark, part) in enumerate(zip(marks(len(parts)), parts, strict=True))]
    frames, demuxer = demux(b"".join(data), repeat(777))
    assert [f.body for f in frames] == wanted
    assert demuxer.assembler.lying_tracks == 0


def test_one_whole_frame_in_one_packet_up_to_the_length_fields_end() -> None:
    body = unit(65500)
    frames, _ = demux(packet(0, 0, body) + packet(1, 0, unit(100), ts=1040), repeat(1460))
    assert [len(f.body) for f in frames] == [len(body), 106]


def test_a_limit_on_bodies_is_kept() -> None:
    data = packet(0, 0, unit(500)) + packet(1, 0, unit(2000), ts=1040) + packet(2, 0, unit(400), ts=1080)
    frames, demuxer = demux(data, demuxer=Demuxer(max_body=950))
    assert [f.timestamp for f in frames] == [1000, 1080]
    assert demuxer.garbage_bytes == 30 + 2006


def test_every_packet_reader_object_is_the_packet_on_the_wire() -> None:
    data = frame_packets(3, audio=True)
    reader = PacketReader()
    assert [p.to_bytes() for p in reader.feed(b"".join(data))] == data
    assert parse_packet(data[0]) is not None
