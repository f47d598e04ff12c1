"""From whole frames of packets to access units: nothing lost but what the standard's containers do not carry, damage handled as the policy says."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from relay.codec import hisi
from relay.codec.frame import AUDIO, VIDEO, Frame, VideoConfig
from relay.codec.nalu import from_avcc, split_annexb
from relay.hub.ingest import Ingest
from relay.jt1078.assembly import Loss, RawFrame
from relay.jt1078.datagram import DatagramDemuxer
from relay.jt1078.demux import Demuxer
from tests.shared import captures, shared

LONG, SHORT = b"\0\0\0\1", b"\0\0\1"
SPS, PPS = bytes.fromhex("674d001495a8582590"), bytes.fromhex("68ee3c80")
SPS_OTHER = bytes.fromhex("6742c028da01e0089f97011000000300100000030140f1832a")
SEI, AUD, FILLER = b"\x06\x05\x04abcd\x80", b"\x09\x10", b"\x0c\xff\xff\x80"
IDR, SLICE, I_SLICE = b"\x65\x88\x84\x21\x12", b"\x61\x9a\x21\x12\x34", b"\x61\x88\x84\x21\x12"
#: first_mb_in_slice of these is not 0
IDR_2, SLICE_2 = b"\x65\x51\x12\x34\x56", b"\x61\x52\x34\x56\x78"


def annexb(*nalus: bytes, code: bytes = LONG) -> bytes:
    return b"".join(code + nalu for nalu in nalus)


def raw(body: bytes, ts: int, pt: int = 98, loss: Loss | None = None, data_type: int | None = None) -> RawFrame:
    return RawFrame("013800138000", 1, pt, (3 if pt < 90 else 1) if data_type is None else data_type, ts, body, 1, ts / 1000, loss)


def push(ingest: Ingest, *frames: RawFrame) -> list[Frame]:
    return [out for frame in frames for out in ingest.push(frame, frame.timestamp / 1000)]


def units(frames: list[Frame]) -> list[list[bytes]]:
    return [from_avcc(frame.data) for frame in frames if frame.kind == VIDEO]


KEY = annexb(SPS, PPS, SEI, IDR)


# -- every capture ---------------------------------------------------------------------------------------------------------------------


def take(entry: dict[str, Any], policy: str = "keyframe") -> tuple[dict[int, list[RawFrame]], dict[int, list[Frame]], dict[int, Ingest]]:
    data = shared("captures/" + entry["file"]).read_bytes()
    raws: list[RawFrame] = []
    if entry["file"].endswith(".udprec"):
        datagrams, at = DatagramDemuxer(), 0
        while at < len(data):
            ms, size = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 6], "big")
            raws += datagrams.tick(ms / 1000) + datagrams.feed(data[at + 6 : at + 6 + size], ("127.0.0.1", 1), ms / 1000)
            at += 6 + size
        raws += datagrams.finish(1e6)
    else:
        demuxer = Demuxer()
        for at in range(0, len(data), 4096):
            raws += demuxer.feed(data[at : at + 4096], at / 1e5)
        raws += demuxer.finish(1e6)
    sent: dict[int, list[RawFrame]] = {}
    out: dict[int, list[Frame]] = {}
    ingests: dict[int, Ingest] = {}
    for one in raws:
        if one.data_type > 3:
            continue
        sent.setdefault(one.channel, []).append(one)
        ingest = ingests.setdefault(one.channel, Ingest(one.sim, one.channel, policy))
        out.setdefault(one.channel, []).extend(ingest.push(one, one.arrival))
    for channel, ingest in ingests.items():
        out[channel] += ingest.finish(1e6)
    return sent, out, ingests


def passed_on(raws: list[RawFrame]) -> list[bytes]:
    """The NAL units that must come out: all but parameter sets (they are in the configuration), delimiters and filler."""
    gone = {98: {7, 8, 9, 12}, 99: {32, 33, 34, 35, 38}}
    return [
        nalu
        for one in raws
        if one.pt in gone
        for nalu in split_annexb(one.body)
        if (nalu[0] & 0x1F if one.pt == 98 else nalu[0] >> 1 & 0x3F) not in gone[one.pt]
    ]


DAMAGED = {"nasty-cut-a.jt1078", "nasty-gaps-a.jt1078"}


@pytest.mark.shared
@pytest.mark.parametrize("entry", [c for c in captures() if c["file"] not in DAMAGED], ids=lambda c: c["file"])
def test_nothing_of_an_undamaged_capture_is_lost(entry: dict[str, Any]) -> None:
    sent, out, _ = take(entry)
    for channel, raws in sent.items():
        assert [nalu for unit in units(out[channel]) for nalu in unit] == passed_on(raws)
        assert sum(1 for frame in out[channel] if frame.kind == VIDEO) == sum(1 for one in raws if one.pt >= 98)
        sound = [one.body for one in raws if one.pt < 90]
        found = [frame.data for frame in out[channel] if frame.kind == AUDIO]
        if "aac" in entry["file"]:
            assert [body[7:] for body in sound] == found
        else:
            assert [hisi.strip(body) for body in sound] == found


@pytest.mark.shared
@pytest.mark.parametrize("entry", captures(), ids=lambda c: c["file"])
def test_times_of_a_capture_never_decrease(entry: dict[str, Any]) -> None:
    _, out, _ = take(entry)
    for frames in out.values():
        for kind in (VIDEO, AUDIO):
            track = [frame for frame in frames if frame.kind == kind]
            assert all(a.dts <= b.dts for a, b in pairwise(track))
            if "gaps" not in entry["file"]:  # there the policy leaves out seconds
                assert all(b.dts - a.dts <= 1000 for a, b in pairwise(track))
            assert all(frame.pts >= frame.dts for frame in track)
        played = max(frame.dts for frame in frames) - min(frame.dts for frame in frames)
        whole = entry.get("duration_ms") or sum(part["duration_ms"] for part in entry.get("parts", [])) or 5960
        if entry["file"] not in DAMAGED:
            assert abs(played - whole) <= 120


@pytest.mark.shared
@pytest.mark.parametrize("entry", [c for c in captures() if c.get("video_alt")], ids=lambda c: c["file"])
def test_damage_costs_what_the_index_says(entry: dict[str, Any]) -> None:
    _, out, _ = take(entry)
    assert sum(1 for frame in out[1] if frame.kind == VIDEO) == entry["video_alt"]["frames"]
    _, out, _ = take(entry, "keep")
    first = next(frame for frame in out[1] if frame.kind == VIDEO)
    assert first.key
    assert sum(1 for frame in out[1] if frame.kind == VIDEO) > entry["video_alt"]["frames"] - 1


@pytest.mark.shared
def test_a_switch_of_the_stream_is_one_new_configuration() -> None:
    entry = next((c for c in captures() if c["file"] == "nasty-switch-a.jt1078"), None)
    if entry is None:
        pytest.skip("captures are not there")
    _, out, _ = take(entry)
    video = [frame for frame in out[1] if frame.kind == VIDEO]
    configs = [frame.config for frame in video]
    assert [(c.width, c.height) for c in dict.fromkeys(configs) if isinstance(c, VideoConfig)] == [(320, 240), (1280, 720)]
    assert configs[89] != configs[90]
    assert video[90].key
    assert 0 <= video[90].dts - video[89].dts <= 100


@pytest.mark.shared
def test_b_frames_get_decoding_times_and_keep_their_presentation_times() -> None:
    entry = next((c for c in captures() if "bframes" in c["file"]), None)
    if entry is None:
        pytest.skip("captures are not there")
    sent, out, _ = take(entry)
    video = [frame for frame in out[2] if frame.kind == VIDEO]
    stamps = [one.timestamp for one in sent[2] if one.pt == 98]
    shift = video[30].pts - stamps[30]
    assert all(abs(frame.pts - shift - stamp) <= 80 for frame, stamp in zip(video, stamps, strict=True))
    assert [frame.pts for frame in sorted(video[3:], key=lambda f: f.pts)] == sorted({frame.pts for frame in video[3:]})
    assert any(frame.pts > frame.dts for frame in video)


# -- pictures --------------------------------------------------------------------------------------------------------------------------


def test_an_access_unit_loses_sets_delimiters_and_filler_only() -> None:
    ingest = Ingest("1", 1)
    body = AUD_FIRST = annexb(AUD, SPS, PPS) + annexb(SEI, IDR, IDR_2, code=SHORT) + b"\0\0" + annexb(FILLER) + b"\0\0\0"
    (frame,) = push(ingest, raw(body, 1000))
    assert units([frame]) == [[SEI, IDR, IDR_2]]
    assert (frame.key, frame.dts, frame.kind) == (True, 0, VIDEO)
    assert isinstance(frame.config, VideoConfig)
    assert frame.config.parameter_sets == (SPS, PPS)
    assert AUD_FIRST.count(SHORT) == 7


def test_the_kind_the_packet_tells_is_not_believed() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, raw(KEY, 0, data_type=1), raw(annexb(SLICE), 40, data_type=0), raw(KEY, 80, data_type=2))
    assert [frame.key for frame in frames] == [True, False, True]


def test_only_a_change_is_a_new_configuration() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, *(raw(KEY if n % 5 == 0 else annexb(SLICE), 40 * n) for n in range(20)))
    assert len({id(frame.config) for frame in frames}) == 1
    (frame,) = push(ingest, raw(annexb(SPS_OTHER, PPS, IDR), 800))
    assert frame.config != frames[0].config
    (again,) = push(ingest, raw(annexb(IDR), 840))
    assert again.config is frame.config


def test_parameter_sets_may_come_once_only_or_alone() -> None:
    ingest = Ingest("1", 1)
    assert push(ingest, raw(annexb(SPS), 0), raw(annexb(PPS), 0)) == []
    frames = push(ingest, raw(annexb(IDR), 40), raw(annexb(SLICE), 80), raw(annexb(IDR), 120), raw(annexb(SLICE), 160))
    assert [frame.key for frame in frames] == [True, False, True, False]


def test_parameter_sets_that_change_between_key_frames_travel_with_the_pictures() -> None:
    ingest = Ingest("1", 1)
    other = b"\x68\xce\x0f\xc8"
    push(ingest, raw(KEY, 0))
    (frame,) = push(ingest, raw(annexb(other, SLICE), 40))
    assert units([frame]) == [[other, SLICE]]
    (frame,) = push(ingest, raw(annexb(IDR), 80))
    assert other in frame.config.parameter_sets  # type: ignore[union-attr]


def test_nothing_before_the_first_key_frame() -> None:
    ingest = Ingest("1", 1)
    assert push(ingest, raw(annexb(SPS, PPS), 0), raw(annexb(SLICE), 40), raw(annexb(SLICE), 80)) == []
    assert ingest.counts["before_key_frame"] == 2
    assert ingest.waits_for_key_frame
    assert push(ingest, raw(annexb(IDR), 120))[0].key
    assert not ingest.waits_for_key_frame


def test_a_key_frame_without_parameter_sets_is_of_no_use() -> None:
    ingest = Ingest("1", 1)
    assert push(ingest, raw(annexb(IDR), 0)) == []
    assert ingest.counts["no_parameter_sets"] == 1


def test_an_i_picture_will_do_when_no_idr_comes() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, *(raw(annexb(SPS, PPS, I_SLICE) if n % 25 == 0 else annexb(SLICE), 40 * n) for n in range(200)))
    assert frames[0].dts == 0
    assert [n for n, frame in enumerate(frames) if frame.key] == [0, 25, 50, 75]
    assert len(frames) == 100
    assert ingest.counts["began_without_idr"] == 4


def test_i_pictures_are_no_key_frames_where_idr_pictures_come() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, *(raw(KEY if n == 0 else annexb(I_SLICE if n % 25 == 0 else SLICE), 40 * n) for n in range(300)))
    assert [n for n, frame in enumerate(frames) if frame.key] == [0]


@pytest.mark.parametrize("policy", ["keyframe", "keep"])
def test_loss_policy(policy: str) -> None:
    ingest = Ingest("1", 1, policy)
    lost = Loss(1, 0, 1, False, 40)
    stream = [raw(KEY, 0), raw(annexb(SLICE), 40), raw(annexb(SLICE), 120, loss=lost), raw(annexb(SLICE), 160), raw(KEY, 200), raw(annexb(SLICE), 240)]
    stamps = [frame.dts for frame in push(ingest, *stream)]
    assert stamps == ([0, 40, 200, 240] if policy == "keyframe" else [0, 40, 120, 160, 200, 240])


@pytest.mark.parametrize(
    ("step", "interval", "ours"),
    [(40, 40, False), (80, 40, True), (40, 65535, False), (80, 65535, True), (80, 80, False), (0, 0, True)],
)
def test_a_packet_that_may_have_been_the_sounds(step: int, interval: int, ours: bool) -> None:
    """One count for sound and picture: the Last Frame Interval, or the usual step, tells whose packet it was."""
    ingest = Ingest("1", 1)
    push(ingest, raw(KEY, 0), *(raw(annexb(SLICE), 40 * n) for n in range(1, 20)))
    frames = push(ingest, raw(annexb(SLICE), 760 + step, loss=Loss(0, 1, 0, False, interval)))
    assert bool(frames) is not ours
    assert ingest.counts.get("losses", 0) == ours


@pytest.mark.parametrize("per_picture", [2, 3, 4])
@pytest.mark.parametrize("alone", [True, False])
def test_slices_that_come_as_frames_of_their_own_make_one_picture(per_picture: int, alone: bool) -> None:
    ingest = Ingest("1", 1)
    stream, wanted = [], []
    for number in range(30):
        key = number % 10 == 0
        pieces = [IDR if key else SLICE] + [IDR_2 if key else SLICE_2] * (per_picture - 1)
        sets = [SPS, PPS] if key else []
        if alone:
            stream += [raw(annexb(one), 40 * number) for one in [*sets, *pieces]]
        else:
            stream += [raw(annexb(*sets, pieces[0]), 40 * number)] + [raw(annexb(one), 40 * number) for one in pieces[1:]]
        wanted.append(pieces)
    frames = push(ingest, *stream) + ingest.finish(2.0)
    if alone:
        assert units(frames) == wanted
        assert [frame.dts for frame in frames] == [40 * n for n in range(30)]
    else:  # nothing gives it away before the second slice of the first picture: it costs up to the next key frame
        assert units(frames)[-20:] == wanted[-20:]
    assert [frame.key for frame in frames[-20:]] == [n % 10 == 0 for n in range(20)]


def test_pictures_in_pieces_leave_with_their_last_piece_once_the_number_is_known() -> None:
    ingest = Ingest("1", 1)
    for number in range(10):
        sets = [raw(annexb(SPS), 40 * number), raw(annexb(PPS), 40 * number)] if number == 0 else []
        first, second = (IDR, IDR_2) if number == 0 else (SLICE, SLICE_2)
        push(ingest, *sets, raw(annexb(first), 40 * number))
        out = push(ingest, raw(annexb(second), 40 * number))
    assert [frame.dts for frame in out] == [360]


def test_a_unit_a_frame_but_one_slice_a_picture_costs_no_delay_for_long() -> None:
    ingest = Ingest("1", 1)
    out: list[Frame] = []
    for number in range(40):
        sets = [raw(annexb(SPS), 40 * number), raw(annexb(PPS), 40 * number)] if number % 20 == 0 else []
        out = push(ingest, *sets, raw(annexb(IDR if number % 20 == 0 else SLICE), 40 * number))
    assert [frame.dts for frame in out] == [39 * 40]


def test_a_held_picture_does_not_wait_for_ever() -> None:
    ingest = Ingest("1", 1)
    assert push(ingest, raw(annexb(SPS), 0), raw(annexb(PPS), 0), raw(annexb(IDR), 0)) == []
    assert push(ingest, raw(b"\xd5" * 160, 20, 6))[0].kind == AUDIO
    assert [frame.kind for frame in push(ingest, raw(b"\xd5" * 160, 320, 6))] == [VIDEO, AUDIO]


def test_sei_that_comes_alone_goes_with_the_next_picture() -> None:
    ingest = Ingest("1", 1)
    push(ingest, raw(KEY, 0))
    frames = push(ingest, raw(annexb(SEI), 40), raw(annexb(SLICE), 40), raw(annexb(SLICE), 80), raw(annexb(SLICE), 120))
    assert units(frames + ingest.finish(1.0)) == [[SEI, SLICE], [SLICE], [SLICE]]


VPS, SPS5, PPS5 = (
    bytes.fromhex("40010c01ffff01600000030090000003000003001ebac090"),
    bytes.fromhex("420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000784"),
    bytes.fromhex("4401c172b46240"),
)
IDR5, SLICE5 = b"\x26\x01\xaf\x12\x34\x56\x78", b"\x02\x01\xd0\x12\x34\x56\x78"


def test_h265_by_its_own_rules() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, raw(annexb(b"\x46\x01\x50", VPS, SPS5, PPS5, IDR5), 0, 99), raw(annexb(SLICE5), 40, 99), raw(annexb(SLICE5), 80, 99))
    assert [frame.key for frame in frames] == [True, False, False]
    assert units(frames) == [[IDR5], [SLICE5], [SLICE5]]
    assert frames[0].config.codec == "h265"  # type: ignore[union-attr]


def test_parameter_sets_that_contradict_the_payload_type_are_believed() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, raw(annexb(VPS, SPS5, PPS5, IDR5), 0, 98), raw(annexb(SLICE5), 40, 98), raw(annexb(VPS, SPS5, PPS5, IDR5), 80, 98))
    assert [(frame.config.codec, frame.key) for frame in frames] == [("h265", True), ("h265", False), ("h265", True)]
    ingest = Ingest("1", 1)
    frames = push(ingest, raw(KEY, 0, 99), raw(annexb(SLICE), 40, 99), raw(annexb(SLICE), 80, 99))
    assert [(frame.config.codec, frame.key) for frame in frames] == [("h264", True), ("h264", False), ("h264", False)]
    assert ingest.counts["codec_is_not_as_told"] == 1


def test_the_codec_changes_in_mid_stream() -> None:
    ingest = Ingest("1", 1)
    frames = push(
        ingest,
        raw(KEY, 0),
        raw(annexb(SLICE), 40),
        raw(annexb(SLICE5), 80, 99),
        raw(annexb(VPS, SPS5, PPS5, IDR5), 120, 99),
        raw(annexb(SLICE5), 160, 99),
        raw(annexb(SLICE), 200),
        raw(KEY, 240),
    )
    assert [(frame.key, frame.config.codec) for frame in frames] == [(True, "h264"), (False, "h264"), (True, "h265"), (False, "h265"), (True, "h264")]
    assert ingest.counts == {"before_key_frame": 2}


def test_units_behind_lengths_instead_of_start_codes() -> None:
    ingest = Ingest("1", 1)
    body = b"".join(len(one).to_bytes(4, "big") + one for one in (SPS, PPS, IDR))
    assert units(push(ingest, raw(body, 0))) == [[IDR]]


def test_another_source_begins_with_a_key_frame_and_the_clock_goes_on() -> None:
    ingest = Ingest("1", 1)
    push(ingest, raw(KEY, 10**12), *(raw(annexb(SLICE), 10**12 + 40 * n) for n in range(1, 50)))
    ingest.restart(10**9 + 2.0)
    frames = push(ingest, raw(annexb(SLICE), 500), raw(KEY, 540), raw(annexb(SLICE), 580))
    assert [frame.key for frame in frames] == [True, False]
    assert frames[0].dts == 49 * 40 + 40


def test_what_is_not_for_players_is_counted() -> None:
    ingest = Ingest("1", 1)
    assert push(ingest, raw(b"x", 0, 91, data_type=4), raw(b"y" * 9, 0, 100), raw(b"z" * 9, 40, 98)) == []
    assert ingest.counts == {"passthrough": 1, "unsupported_pt100": 1, "no_nal_unit": 1}


# -- sound -----------------------------------------------------------------------------------------------------------------------------


def test_the_hisilicon_header_is_looked_for_on_every_frame() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, raw(b"\0\1\x50\0" + b"\xd5" * 160, 0, 6), raw(b"\x55" * 160, 20, 6), raw(b"\0\1\x51\0" + b"\xd5" * 160, 40, 6))
    assert [len(frame.data) for frame in frames] == [160, 160, 164]
    assert {frame.config.codec for frame in frames} == {"g711a"}
    assert [frame.samples for frame in frames] == [160, 160, 164]


def test_g726_waits_until_its_order_is_known_and_loses_nothing() -> None:
    ingest = Ingest("1", 1, g726_order="be")
    blocks = [random.Random(n).randbytes(120) for n in range(30)]
    frames = push(ingest, *(raw(one, 40 * n, 8) for n, one in enumerate(blocks)))
    assert [frame.data for frame in frames] == blocks
    assert [frame.dts for frame in frames] == [40 * n for n in range(30)]
    assert (frames[0].config.bits, frames[0].config.layout) == (3, "be")  # type: ignore[union-attr]


def g726_tone(layout: str, blocks: int, silent: int) -> list[bytes]:
    """Speech-like G.726-32 is made by turning a recorded stream's nibbles round where the other order is wanted."""
    data = shared("captures/syn-h264-g726-32le-hisi.jt1078").read_bytes()
    found = [one.body[4:] for one in Demuxer().feed(data, 0.0) if one.pt == 8][:blocks]
    if layout == "be":
        found = [bytes((byte & 15) << 4 | byte >> 4 for byte in one) for one in found]
    return [b"\xff" * 160] * silent + found


@pytest.mark.shared
@pytest.mark.parametrize("layout", ["le", "be"])
@pytest.mark.parametrize("silent", [0, 40, 90])
def test_the_order_of_g726_is_found_even_after_silence(layout: str, silent: int) -> None:
    ingest = Ingest("1", 1)
    blocks = g726_tone(layout, 140, silent)
    frames = push(ingest, *(raw(one, 40 * n, 8) for n, one in enumerate(blocks)))
    assert [frame.data for frame in frames] == blocks
    assert frames[-1].config.layout == layout  # type: ignore[union-attr]
    assert frames[-1].config.bits == 4  # type: ignore[union-attr]


def test_what_still_waits_at_the_end_is_not_lost() -> None:
    ingest = Ingest("1", 1)
    assert push(ingest, *(raw(bytes(80), 40 * n, 8) for n in range(5))) == []
    assert len(ingest.finish(1.0)) == 5
    ingest = Ingest("1", 1)
    assert push(ingest, *(raw(bytes(80), 40 * n, 8) for n in range(5))) == []
    assert [frame.config.codec for frame in push(ingest, raw(b"\xd5" * 160, 200, 6))] == ["g726"] * 5 + ["g711a"]


def adts(payload: bytes, rate_index: int = 11) -> bytes:
    size = len(payload) + 7
    return bytes([0xFF, 0xF1, 0x40 | rate_index << 2, 0x40 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC]) + payload


def test_aac_several_frames_in_a_body_and_frames_cut_across_bodies() -> None:
    ingest = Ingest("1", 1)
    payloads = [bytes([0x21, n]) * 60 for n in range(8)]
    whole = b"".join(adts(one) for one in payloads)
    bodies = [whole[:300], whole[300:520], whole[520:]]
    frames = push(ingest, *(raw(body, 300 * n, 19) for n, body in enumerate(bodies)))
    assert [frame.data for frame in frames] == payloads
    assert (frames[0].config.codec, frames[0].config.sample_rate, frames[0].samples) == ("aac", 8000, 1024)  # type: ignore[union-attr]
    assert [frame.dts for frame in frames[:2]] == [0, 128]


def test_adts_under_another_payload_type() -> None:
    ingest = Ingest("1", 1)
    frames = push(ingest, *(raw(adts(bytes([0x21, n]) * 60), 128 * n, 6) for n in range(6)))
    assert [frame.config.codec for frame in frames][-4:] == ["aac"] * 4
    assert ingest.counts["sound_is_not_as_told"] == 1


def test_linear_sound_big_endian() -> None:
    ingest = Ingest("1", 1)
    (mono,) = push(ingest, raw(b"\x01\x02\x03\x04", 0, 16))
    assert (mono.data, mono.config.codec, mono.config.channels, mono.samples) == (b"\x02\x01\x04\x03", "pcm", 1, 2)  # type: ignore[union-attr]
    (stereo,) = push(ingest, raw(b"\x01\x02\x03\x04", 20, 15))
    assert (stereo.config.channels, stereo.samples) == (2, 1)  # type: ignore[union-attr]


@pytest.mark.parametrize("pt", [2, 5, 14, 20])
def test_sound_nobody_decodes_is_kept_by_its_number(pt: int) -> None:
    ingest = Ingest("1", 1)
    (frame,) = push(ingest, raw(b"abc", 0, pt))
    assert (frame.config.codec, frame.data) == (f"pt{pt}", b"abc")
    assert push(ingest, raw(b"abc", 20, pt))[0].config is frame.config


def test_sound_keeps_its_codec_through_empty_blocks() -> None:
    ingest = Ingest("1", 1)
    assert len(push(ingest, raw(b"\xd5" * 160, 0, 6), raw(b"\0\1\0\0", 20, 6), raw(b"\xd5" * 160, 40, 6))) == 2
    assert ingest.counts["empty_sound"] == 1


# -- anything --------------------------------------------------------------------------------------------------------------------------


def test_any_frame_raises_nothing_and_times_hold() -> None:
    pieces = [SPS, PPS, IDR, SLICE, I_SLICE, IDR_2, SLICE_2, SEI, AUD, FILLER, VPS, SPS5, PPS5, IDR5, SLICE5, SPS_OTHER, b"", b"\x67", b"\x42\x01"]
    for seed in range(400):
        rng = random.Random(seed)
        ingest = Ingest("1", 1, rng.choice(["keyframe", "keep"]))
        last = {VIDEO: 0, AUDIO: 0}
        stamp = 0
        for _ in range(60):
            stamp = max(0, stamp + rng.choice([0, 40, 40, 40, -40, 5000, -9000]))
            body = annexb(*rng.choices(pieces, k=rng.randrange(5)), code=rng.choice([LONG, SHORT])) if rng.random() < 0.8 else rng.randbytes(rng.randrange(40))
            loss = Loss(rng.randrange(2), rng.randrange(2), rng.randrange(2), False, rng.choice([-1, 0, 40, 65535])) if rng.random() < 0.1 else None
            pt = rng.choice([98, 98, 98, 99, 6, 8, 19, 26, 25, 16, 28, 91, 100, 0, 127])
            for frame in ingest.push(RawFrame("1", 1, pt, rng.randrange(5), stamp, body, 1, 0.0, loss), rng.random() * 100):
                assert last[frame.kind] <= frame.dts <= frame.pts
                last[frame.kind] = frame.dts
                assert frame.data
            if rng.random() < 0.02:
                ingest.restart(50.0)
        ingest.finish(100.0)
