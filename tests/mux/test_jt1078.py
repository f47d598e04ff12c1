"""The packets of JT/T 1078 that are written: what our own receiver makes of them is what went in; each is as table 19 says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.codec import pcm
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.hub.ingest import Ingest
from relay.jt1078.demux import Demuxer
from relay.jt1078.packet import STANDARD_BODY, Packet, parse_packet
from relay.mux.base import unsupported
from relay.mux.jt1078 import Jt1078Muxer, payload_type
from tests.mux.material import Material, load
from tests.mux.test_captures import NAMES, material
from tests.shared import shared

VIDEO_CONFIG = VideoConfig("h264", (b"\x67sps", b"\x68pps"), b"record", 352, 288, "avc1.42001E")
G711 = AudioConfig("g711a", 8000, 1)


def picture(dts: int, data: bytes, key: bool = False, config: VideoConfig = VIDEO_CONFIG) -> Frame:
    return Frame(VIDEO, dts, dts, key, len(data).to_bytes(4, "big") + data, config)


def written(stuff: Material, muxer: Jt1078Muxer) -> bytes:
    muxer.configure(stuff.video, stuff.audio, 0)
    return muxer.header() + b"".join(map(muxer.write, stuff.frames))


def packets(data: bytes, sim_bytes: int = 6) -> list[Packet]:
    found, at = [], 0
    while at < len(data):
        packet = parse_packet(data, at, sim_bytes)
        assert packet is not None
        found.append(packet)
        at += packet.consumed
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_receiver_finds_what_went_in(name: str) -> None:
    stuff = material(name)
    data = written(stuff, Jt1078Muxer("13800138000", 3))
    demuxer = Demuxer()
    ingest = Ingest("13800138000", 3)
    now, out = 0.0, []
    for raw in [*demuxer.feed(data, now), *demuxer.finish(now)]:
        assert (raw.sim, raw.channel) == ("013800138000", 3)
        now += 0.001
        out += ingest.push(raw, now)
    out += ingest.finish(now)
    assert [frame.data for frame in out if frame.kind == VIDEO] == [frame.data for frame in stuff.pictures]
    assert [frame.key for frame in out if frame.kind == VIDEO] == [frame.key for frame in stuff.pictures]
    assert b"".join(frame.data for frame in out if frame.kind == AUDIO) == b"".join(frame.data for frame in stuff.blocks)
    first = next((frame for frame in out if frame.kind == VIDEO), None)
    assert first is None or first.config == stuff.video


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("syn-h26")])
def test_every_packet_is_the_standards(name: str) -> None:
    stuff = material(name)
    found = packets(written(stuff, Jt1078Muxer("13800138000", 3)))
    assert [packet.seq for packet in found] == [number & 0xFFFF for number in range(len(found))]
    assert max(packet.body_len for packet in found) <= STANDARD_BODY
    assert {(packet.v, packet.p, packet.x, packet.cc) for packet in found} == {(2, 0, 0, 1)}
    assert found[0].data_type == 0 or stuff.pictures[0] is not stuff.frames[0]
    open_frame = False
    for packet in found:
        assert packet.m == (packet.subpackage in (0, 2))  # the last of a frame
        if packet.data_type == 3:
            assert packet.last_i_interval is None
            continue
        assert (packet.subpackage in (2, 3)) == open_frame
        open_frame = packet.subpackage in (1, 3)
    assert not open_frame


def test_intervals_count_from_the_last_key_frame_and_the_last_picture() -> None:
    muxer = Jt1078Muxer("13800138000", 1)
    muxer.configure(VIDEO_CONFIG, None, 0)
    times = ((100, True), (140, False), (190, False), (300, True), (90000, False))
    data = b"".join(muxer.write(picture(dts, b"\x65x" if key else b"\x61x", key)) for dts, key in times)
    assert [(p.data_type, p.timestamp, p.last_i_interval, p.last_frame_interval) for p in packets(data)] == [
        (0, 100, 0, 0),
        (1, 140, 40, 40),
        (1, 190, 90, 50),
        (0, 300, 200, 110),
        (1, 90000, 65535, 65535),
    ]
    assert packets(data)[0].body == b"\x00\x00\x00\x01\x67sps\x00\x00\x00\x01\x68pps\x00\x00\x00\x01\x65x"


@pytest.mark.parametrize(
    ("sim", "sim_bytes", "width"),
    [("1", 0, 6), ("123456789012", 0, 6), ("1234567890123", 0, 10), ("13800138000", 10, 10), ("00ae", 6, 6)],
)
def test_the_width_of_the_number(sim: str, sim_bytes: int, width: int) -> None:
    muxer = Jt1078Muxer(sim, 255, sim_bytes)
    muxer.configure(None, G711, 0)
    (packet,) = packets(muxer.write(Frame(AUDIO, 0, 0, True, b"\xd5" * 320, G711, 320)), width)
    assert (packet.sim, packet.channel) == (sim.rjust(2 * width, "0"), 255)


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError):
        Jt1078Muxer("1234567890123", 1, 6)


@pytest.mark.parametrize(
    ("config", "pt"),
    [
        (AudioConfig("g711u", 8000, 1), 7),
        (AudioConfig("g726", 8000, 1, bits=4, layout="le"), 8),
        (AudioConfig("adpcm", 8000, 1, layout="hisi"), 26),
        (AudioConfig("adpcm", 16000, 1, layout="rtp-dvi4"), 13),
        (AudioConfig("pcm", 8000, 2), 15),
        (AudioConfig("pcm", 16000, 1), 22),
        (AudioConfig("amr", 8000, 1), 28),
        (AudioConfig("pt2", 8000, 1), 2),
    ],
)
def test_payload_types(config: AudioConfig, pt: int) -> None:
    assert payload_type(config) == pt
    assert unsupported("jt1078", config) == ""


def test_what_has_no_payload_type_is_named() -> None:
    for config in (AudioConfig("flac", 8000, 1), AudioConfig("opus", 48000, 1), AudioConfig("pcm", 44100, 2)):
        assert payload_type(config) == 0
        assert unsupported("jt1078", config).startswith("JT/T 1078 has no form for ")


def test_linear_sound_goes_out_big_endian() -> None:
    config = AudioConfig("pcm", 8000, 1)
    muxer = Jt1078Muxer("1", 1)
    muxer.configure(None, config, 0)
    (packet,) = packets(muxer.write(Frame(AUDIO, 0, 0, True, b"\x01\x00\x02\x00", config, 2)))
    assert packet.body == pcm.swap(b"\x01\x00\x02\x00") == b"\x00\x01\x00\x02"


def test_b_pictures_are_told() -> None:
    stuff = load(shared("captures/syn-h264-bframes-aac-adts.jt1078"))
    assert stuff.video is not None
    stuff.video = replace(stuff.video, reorder=2)  # this encoder's parameter sets say nothing of it
    for frame in stuff.pictures:
        frame.config = stuff.video
    kinds = [p.data_type for p in packets(written(stuff, Jt1078Muxer("1", 1))) if p.subpackage in (0, 1) and p.data_type < 3]
    references = [bool(frame.data[4] & 0x60) for frame in stuff.pictures if not frame.key and len(frame.data) == int.from_bytes(frame.data[:4], "big") + 4]
    assert set(kinds) == {0, 1, 2}
    assert kinds.count(2) >= references.count(False) > 0
