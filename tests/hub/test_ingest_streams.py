"""Streams as terminals send them through the ingest: jt1078-media 4, 4.3, 5 and 9, with B frames of real encoders."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.codec import adpcm, g711, h264, h265, hisi
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import from_avcc, split_annexb
from relay.hub.ingest import Ingest
from relay.hub.picture import NO_IDR_S, RARE_IDR_S
from relay.jt1078.assembly import Loss, RawFrame
from relay.jt1078.datagram import DatagramDemuxer
from relay.jt1078.demux import Demuxer
from tests.hub.pictures import AUD, EPOCH, FILLER, RECOVERY_POINT, SEI, SIM, START, B, I, P, annexb, inter, key, lost, noise, pps, raw, slice_, sps
from tests.shared import captures, load_vectors, shared

HEVC = {kind: bytes.fromhex(text) for kind, text in {
    32: "40010c01ffff016000000300900000030000030078959809",
    33: "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000784",
    34: "4401c172b46240",
}.items()}  # fmt: skip


def ingest(**options: str) -> Ingest:
    return Ingest(SIM, 1, **options)


def feed(target: Ingest, raws: list[RawFrame]) -> list[Frame]:
    return [frame for one in raws for frame in target.push(one, one.arrival)]


def pictures(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.kind == VIDEO]


def config_of(frame: Frame) -> VideoConfig:
    assert isinstance(frame.config, VideoConfig)
    return frame.config


def sound_of(frame: Frame) -> AudioConfig:
    assert isinstance(frame.config, AudioConfig)
    return frame.config


def stream(count: int, gop: int = 25, step: int = 40, start: int = EPOCH) -> list[RawFrame]:
    return [raw(key(i) if i % gop == 0 else inter(i), start + i * step) for i in range(count)]


# -- access units --------------------------------------------------------------------------------------------------------------------


def test_an_i_frame_becomes_one_sample_with_its_sets_in_the_configuration() -> None:
    (frame,) = feed(ingest(), [raw(key(), data_type=0)])
    assert frame.key
    assert (frame.dts, frame.pts) == (0, 0)
    assert from_avcc(frame.data) == [SEI, slice_(I, idr=True)]
    config = config_of(frame)
    assert config.parameter_sets == (sps(), pps())
    assert (config.codec, config.width, config.height, config.rfc6381) == ("h264", 320, 240, "avc1.4D001E")


def test_p_frames_keep_configuration_and_stamps() -> None:
    frames = feed(ingest(), stream(10))
    assert [frame.key for frame in frames] == [True] + [False] * 9
    assert [frame.dts for frame in frames] == [40 * i for i in range(10)]
    assert all(frame.config is frames[0].config for frame in frames)
    assert from_avcc(frames[4].data) == [slice_(P, seed=4)]


def test_start_codes_of_three_and_four_bytes_trailing_zeros_delimiters_and_filler() -> None:
    units = [slice_(P, seed=1), slice_(P, first_mb=20, seed=2), slice_(P, first_mb=40, seed=3)]
    mixed = annexb(AUD) + START + units[0] + b"\0\0" + b"\0\0\1" + units[1] + START + FILLER + b"\0\0\1" + units[2] + b"\0\0\0"
    frames = feed(ingest(), [raw(key()), raw(mixed, EPOCH + 40)])
    assert from_avcc(frames[1].data) == units


@pytest.mark.parametrize("body", [START + slice_(P, seed=3) + b"\0\0", b"\0\0\1" + slice_(P, seed=3), annexb(AUD, slice_(P, seed=3))])
def test_the_short_way_and_the_long_way_give_the_same(body: bytes) -> None:
    frames = feed(ingest(), [raw(key()), raw(body, EPOCH + 40), raw(inter(3), EPOCH + 80)])
    assert frames[1].data == frames[2].data
    assert not frames[1].key


def test_slices_of_one_picture_are_one_sample() -> None:
    body = annexb(*(slice_(P, first_mb=10 * i, seed=i) for i in range(8)))
    frames = feed(ingest(), [raw(key()), raw(body, EPOCH + 40)])
    assert len(frames) == 2
    assert from_avcc(frames[1].data) == split_annexb(body)


@pytest.mark.parametrize("data_type", [0, 1, 2])
def test_key_frames_are_told_by_nal_types_alone(data_type: int) -> None:
    raws = [raw(one.body, one.timestamp, data_type=data_type) for one in stream(60)]
    assert [i for i, frame in enumerate(feed(ingest(), raws)) if frame.key] == [0, 25, 50]


def test_what_is_no_picture_is_counted_not_passed() -> None:
    target = ingest()
    feed(target, [raw(key())])
    assert feed(target, [raw(b"no start code here", EPOCH + 40), raw(annexb(SEI), EPOCH + 80), raw(annexb(AUD), EPOCH + 120)]) == []
    assert target.counts == {"no_nal_unit": 1, "parameter_sets_alone": 2}
    assert len(feed(target, [raw(inter(), EPOCH + 160)])) == 1


def test_transparent_data_and_unknown_payload_types() -> None:
    target = ingest()
    assert feed(target, [raw(b"gps", pt=91, data_type=4), raw(noise(50), pt=100), raw(noise(50), pt=117)]) == []
    assert target.counts == {"passthrough": 1, "unsupported_pt100": 1, "unsupported_pt117": 1}
    assert not target.has_picture


# -- parameter sets ------------------------------------------------------------------------------------------------------------------


def test_sets_in_a_frame_of_their_own() -> None:
    bodies = [annexb(sps()), annexb(pps()), annexb(slice_(I, idr=True)), inter(1)]
    target = ingest()
    frames = feed(target, [raw(body, EPOCH + 40 * (i // 3)) for i, body in enumerate(bodies)]) + target.finish(1.0)
    assert [frame.key for frame in frames] == [True, False]
    assert config_of(frames[0]).parameter_sets == (sps(), pps())


def test_sets_that_come_once_only() -> None:
    raws = [raw(key()), *(raw(annexb(slice_(I, idr=True)) if i % 10 == 0 else inter(i), EPOCH + 40 * i) for i in range(1, 60))]
    frames = feed(ingest(), raws)
    assert len(frames) == 60
    assert {id(frame.config) for frame in frames} == {id(frames[0].config)}
    assert sum(frame.key for frame in frames) == 6


def test_sets_before_every_frame() -> None:
    raws = [raw(annexb(sps(), pps(), slice_(P, seed=i)) if i % 10 else key(i), EPOCH + 40 * i) for i in range(30)]
    frames = feed(ingest(), raws)
    assert len(frames) == 30
    assert {id(frame.config) for frame in frames} == {id(frames[0].config)}
    assert from_avcc(frames[1].data) == [slice_(P, seed=1)]


def test_only_a_change_is_a_new_configuration() -> None:
    other = (sps(width=1280, height=720), pps())
    raws = [*stream(30), *(raw(key(i, other) if i % 25 == 0 else inter(i), EPOCH + 1200 + 40 * i) for i in range(30))]
    frames = feed(ingest(), raws)
    sizes = [config_of(frame).width for frame in frames]
    assert sizes == [320] * 30 + [1280] * 30
    assert len({id(frame.config) for frame in frames}) == 2
    assert frames[30].key
    assert [frame.dts for frame in frames] == [40 * i for i in range(60)]  # the timeline goes on


def test_a_changed_set_takes_effect_with_the_next_key_frame() -> None:
    raws = [raw(key()), raw(annexb(sps(width=640, height=480)), EPOCH + 40), raw(inter(1), EPOCH + 40), raw(key(2, ()), EPOCH + 80)]
    target = ingest()
    assert [config_of(frame).width for frame in feed(target, raws) + target.finish(1.0)] == [320, 320, 640]


def test_the_sets_that_the_key_frame_names_are_used() -> None:
    """A stream that changes over to sets of another number leaves the old ones behind."""
    sets = (sps(number=3, width=1280, height=720), pps(5, 3))
    raws = [raw(key()), raw(annexb(*sets, slice_(I, idr=True, pps_id=5)), EPOCH + 40), raw(annexb(slice_(I, idr=True)), EPOCH + 80)]
    frames = feed(ingest(), raws)
    assert [config_of(frame).parameter_sets for frame in frames] == [(sps(), pps()), sets, (sps(), pps())]


def test_several_picture_sets_of_one_sequence() -> None:
    (frame,) = feed(ingest(), [raw(annexb(sps(), pps(0), pps(1), slice_(I, idr=True, pps_id=1)))])
    assert config_of(frame).parameter_sets == (sps(), pps(0), pps(1))


def test_a_broken_set_does_not_replace_a_good_one() -> None:
    target = ingest()
    frames = feed(target, [raw(key()), raw(key(1, (sps()[:5], pps())), EPOCH + 40)])
    assert len(frames) == 2
    assert target.counts == {"broken_parameter_set": 1}
    assert frames[1].config is frames[0].config


def test_no_sets_no_picture() -> None:
    target = ingest()
    assert feed(target, [raw(key(0, ())), raw(inter(1), EPOCH + 40), raw(key(2, (sps(),)), EPOCH + 80)]) == []
    assert target.counts == {"no_parameter_sets": 2, "before_key_frame": 1}
    assert target.waits_for_key_frame
    assert target.has_picture


def test_sets_of_hostile_numbers_stay_bounded() -> None:
    target = ingest()
    for number in range(2000):
        target.push(raw(annexb(pps(number % 256, number % 32, number % 7), sps(number=number % 32))), 0.0)
    assert len(feed(target, [raw(key())]) + target.finish(1.0)) == 1


# -- H.265 ---------------------------------------------------------------------------------------------------------------------------


POC_BITS = h265.parse_sps(HEVC[33]).log2_max_poc_lsb


def hevc_slice(kind: int, size: int = 200, seed: int = 0, first: bool = True, intra: bool = False) -> bytes:
    irap = 16 <= kind <= 23
    head = ("1" if first else "0") + ("0" if irap else "") + "1"  # first_slice_segment_in_pic_flag, no_output_of_prior_pics_flag, pps id 0
    if first:
        head += "011" if irap or intra else "010"  # slice_type I or P
        if kind not in (19, 20):
            head += f"{seed % (1 << POC_BITS):0{POC_BITS}b}"
    head += "0" * (-len(head) % 8)
    return bytes([kind << 1, 1]) + int(head, 2).to_bytes(len(head) // 8, "big") + noise(size, seed)


def hevc_key(kind: int = 19, seed: int = 0) -> bytes:
    return annexb(HEVC[32], HEVC[33], HEVC[34], b"\x4e\x01\x05\x01x\x80", hevc_slice(kind, seed=seed))


@pytest.mark.parametrize("kind", [16, 17, 18, 19, 20, 21])
def test_h265_random_access_pictures_are_key_frames(kind: int) -> None:
    raws = [raw(hevc_key(kind), pt=99), *(raw(annexb(hevc_slice(1, seed=i)), EPOCH + 40 * i, pt=99) for i in range(1, 5))]
    frames = feed(ingest(), raws)
    assert [frame.key for frame in frames] == [True, False, False, False, False]
    config = config_of(frames[0])
    assert (config.codec, config.width, config.height) == ("h265", 1920, 1080)
    assert config.parameter_sets == (HEVC[32], HEVC[33], HEVC[34])
    assert len(from_avcc(frames[0].data)) == 2
    assert from_avcc(frames[3].data) == [hevc_slice(1, seed=3)]


def test_h265_delimiters_filler_and_slices() -> None:
    units = [hevc_slice(1, seed=1), hevc_slice(1, seed=2, first=False)]
    frames = feed(ingest(), [raw(hevc_key(), pt=99), raw(annexb(b"\x46\x01\x50", units[0], b"\x4c\x01\xff\x80", units[1]), EPOCH + 40, pt=99)])
    assert from_avcc(frames[1].data) == units


def test_a_change_of_codec_on_one_connection() -> None:
    raws = stream(10)
    raws += [raw(annexb(hevc_slice(1)), EPOCH + 400, pt=99)]  # nothing to begin with yet
    raws += [raw(hevc_key() if i % 10 == 0 else annexb(hevc_slice(1, seed=i)), EPOCH + 440 + 40 * i, pt=99) for i in range(10)]
    raws += stream(10, start=EPOCH + 840)
    target = ingest()
    frames = feed(target, raws)
    assert [config_of(frame).codec for frame in frames] == ["h264"] * 10 + ["h265"] * 10 + ["h264"] * 10
    assert [frame.key for frame in frames] == ([True] + [False] * 9) * 3
    assert all(0 <= later.dts - earlier.dts <= 80 for earlier, later in pairwise(frames))
    assert target.counts == {"before_key_frame": 1}


def test_the_content_is_believed_more_than_the_payload_type() -> None:
    target = ingest()
    frames = feed(target, [raw(hevc_key() if i == 0 else annexb(hevc_slice(1, seed=i)), EPOCH + 40 * i, pt=98) for i in range(5)])
    assert [config_of(frame).codec for frame in frames] == ["h265"] * 5
    assert target.counts == {"codec_is_not_as_told": 1}
    frames = feed(ingest(), [raw(one.body, one.timestamp, pt=99) for one in stream(5)])
    assert [config_of(frame).codec for frame in frames] == ["h264"] * 5
    assert [from_avcc(frame.data)[-1] for frame in frames][1:] == [slice_(P, seed=i) for i in range(1, 5)]


@pytest.mark.parametrize("pt", [0, 6, 111])
def test_pictures_under_a_payload_type_that_is_none_of_theirs(pt: int) -> None:
    frames = feed(ingest(), [raw(one.body, one.timestamp, pt=pt) for one in stream(5)])
    assert len(frames) == 5
    assert all(frame.kind == VIDEO for frame in frames)


# -- losses --------------------------------------------------------------------------------------------------------------------------


def with_loss(raws: list[RawFrame], at: int, loss: Loss) -> list[RawFrame]:
    """The frame at ``at`` is missing; what comes after it tells."""
    after = raws[at + 1]
    told = RawFrame(after.sim, after.channel, after.pt, after.data_type, after.timestamp, after.body, after.packets, after.arrival, loss)
    return [*raws[:at], told, *raws[at + 2 :]]


def numbers(frames: list[Frame]) -> list[int]:
    return [frame.dts // 40 for frame in frames]


@pytest.mark.parametrize("loss", [lost(1), lost(0, frames=1), lost(0, maybe=1, interval=40)])
def test_after_a_loss_nothing_passes_until_a_key_frame(loss: Loss) -> None:
    target = ingest()
    frames = feed(target, with_loss(stream(60), 10, loss))
    assert numbers(frames) == [*range(10), *range(25, 60)]
    assert target.counts == {"losses": 1, "before_key_frame": 14}


@pytest.mark.parametrize("loss", [lost(1), lost(0, frames=1)])
def test_the_policy_keep_passes_what_is_whole(loss: Loss) -> None:
    frames = feed(ingest(loss_policy="keep"), with_loss(stream(60), 10, loss))
    assert numbers(frames) == [*range(10), *range(11, 60)]


def told(raws: list[RawFrame], at: int, loss: Loss) -> list[RawFrame]:
    """Packets are missing before the frame at ``at``, but none of its own track."""
    one = raws[at]
    return [*raws[:at], RawFrame(one.sim, 1, one.pt, one.data_type, one.timestamp, one.body, 1, one.arrival, loss), *raws[at + 1 :]]


@pytest.mark.parametrize(
    "loss",
    [lost(0, maybe=1, interval=40), lost(0, maybe=3, interval=0), lost(0, maybe=1, interval=65535), lost(0, restart=True)],
)
def test_a_loss_of_another_track_costs_no_picture(loss: Loss) -> None:
    """The count is shared with the sound; Last Frame Interval, or the usual step, tells that no picture is missing."""
    assert len(feed(ingest(), told(stream(60), 10, loss))) == 60


@pytest.mark.parametrize("interval", [0, 65535])
def test_without_an_interval_the_usual_step_tells(interval: int) -> None:
    frames = feed(ingest(), with_loss(stream(60), 10, lost(0, maybe=1, interval=interval)))
    assert numbers(frames) == [*range(10), *range(25, 60)]


def test_a_loss_before_a_key_frame_costs_nothing_more() -> None:
    assert numbers(feed(ingest(), with_loss(stream(60), 24, lost(1)))) == [*range(24), *range(25, 60)]


def test_frames_before_the_first_key_frame_are_dropped() -> None:
    target = ingest()
    frames = feed(target, stream(60)[7:])
    assert len(frames) == 35
    assert frames[0].key
    assert target.counts == {"before_key_frame": 18}


def test_sound_goes_on_while_the_picture_waits() -> None:
    target = ingest()
    raws: list[RawFrame] = []
    for i, one in enumerate(with_loss(stream(60), 10, lost(1))):
        raws += [one, raw(noise(320, i), one.timestamp, pt=6, data_type=3)]
    frames = feed(target, raws)
    assert sum(frame.kind == AUDIO for frame in frames) == 59


# -- no IDR --------------------------------------------------------------------------------------------------------------------------


def open_gop(count: int, gop: int = 25, recovery: bool = False, sets: bool = True) -> list[RawFrame]:
    """I pictures without IDR."""
    raws = []
    for i in range(count):
        if i % gop:
            body = inter(i)
        else:
            units = [RECOVERY_POINT] if recovery else []
            body = annexb(*((sps(), pps()) if sets or i == 0 else ()), *units, slice_(P if recovery else I, seed=i))
        raws.append(raw(body, EPOCH + 40 * i))
    return raws


@pytest.mark.parametrize("recovery", [False, True])
def test_a_stream_without_idr_begins_at_an_i_picture_after_some_seconds(recovery: bool) -> None:
    target = ingest()
    frames = feed(target, open_gop(300, recovery=recovery))
    first = int(NO_IDR_S * 25)
    assert len(frames) == 300 - first
    assert [i + first for i, frame in enumerate(frames) if frame.key] == [*range(first, 300, 25)]  # others may begin there as well
    assert target.counts["before_key_frame"] == first


def test_a_loss_in_a_stream_without_idr_waits_for_the_next_i_picture_only() -> None:
    raws = with_loss(open_gop(400), 210, lost(1))
    assert [number + 100 for number in numbers(feed(ingest(), raws))] == [*range(100, 210), *range(225, 400)]


def test_an_idr_is_preferred_while_it_may_still_come() -> None:
    raws = [*open_gop(60), raw(key(60), EPOCH + 2400), *(raw(inter(i), EPOCH + 40 * i) for i in range(61, 400))]
    target = ingest()
    frames = feed(target, raws)
    assert len(frames) == 340
    assert sum(frame.key for frame in frames) == 1
    assert target.counts == {"before_key_frame": 60}


def test_idrs_that_become_rare_let_i_pictures_serve() -> None:
    raws = [raw(key()), *open_gop(600)[1:]]
    keys = [i for i, frame in enumerate(feed(ingest(), raws)) if frame.key]
    assert keys[0] == 0
    assert keys[1:] == [*range(300, 600, 25)]
    assert keys[1] * 0.04 >= RARE_IDR_S > (keys[1] - 25) * 0.04


def test_h265_without_random_access_pictures() -> None:
    sets = [raw(annexb(HEVC[32], HEVC[33], HEVC[34]), pt=99)]
    raws = [raw(annexb(hevc_slice(1, seed=i, intra=i % 25 == 0)), EPOCH + 40 * i, pt=99) for i in range(200)]
    frames = feed(ingest(), sets + raws)
    assert len(frames) == 100
    assert [i for i, frame in enumerate(frames) if frame.key] == [0, 25, 50, 75]


# -- pictures in pieces --------------------------------------------------------------------------------------------------------------


def in_pieces(count: int, pieces: int | random.Random, gop: int = 25, sets_apart: bool = False) -> tuple[list[RawFrame], list[list[bytes]]]:
    """Each slice in a frame of its own, all with the picture's stamp; and the slices of each picture."""
    raws, expected = [], []
    for i in range(count):
        stamp = EPOCH + 40 * i
        total = pieces if isinstance(pieces, int) else pieces.randint(1, 4)
        idr = i % gop == 0
        units = [slice_(I if idr else P, idr=idr, first_mb=37 * n, seed=10 * i + n) for n in range(total)]
        bodies = [annexb(one) for one in units]
        if idr and sets_apart:
            bodies = [annexb(sps()), annexb(pps()), *bodies]
        elif idr:
            bodies[0] = annexb(sps(), pps(), units[0])
        raws += [raw(body, stamp) for body in bodies]
        expected.append(units)
    return raws, expected


@pytest.mark.parametrize("pieces", [2, 4])
@pytest.mark.parametrize("sets_apart", [False, True])
def test_slices_sent_as_frames_of_their_own_are_one_sample(pieces: int, sets_apart: bool) -> None:
    target = ingest()
    raws, expected = in_pieces(100, pieces, sets_apart=sets_apart)
    frames = feed(target, raws) + target.finish(4.0)
    if not sets_apart:
        # found out by the first key frame's second slice: the first one has left, and leaves once more, whole
        early = frames.pop(0)
        assert from_avcc(early.data) == expected[0][:1]
        assert early.key and frames[0].key
        assert early.dts == frames[0].dts
    assert [from_avcc(frame.data) for frame in frames] == expected
    assert [frame.dts for frame in frames] == [40 * i for i in range(100)]
    assert set(target.counts) <= {"parameter_sets_alone"}


def test_as_many_pieces_as_always_are_not_waited_beyond() -> None:
    """From some pictures on, the last piece of a picture lets it go at once."""
    target = ingest()
    raws, _ = in_pieces(200, 3, gop=10)
    feed(target, raws[:-30])
    late = [[len(feed(target, [one])) for one in raws[at : at + 3]] for at in range(len(raws) - 30, len(raws), 3)]
    assert late == [[0, 0, 1]] * 10


def test_any_number_of_pieces() -> None:
    raws, expected = in_pieces(300, random.Random(3))
    target = ingest()
    frames = feed(target, raws) + target.finish(12.0)
    got = [from_avcc(frame.data) for frame in frames]
    begin = next(i for i, units in enumerate(expected) if got[-1 - (len(expected) - 1 - i)] == units and i % 25 == 0)
    assert got[-(len(expected) - begin) :] == expected[begin:]
    assert begin <= 25
    assert target.counts.get("slice_without_picture", 0) == 0


def test_a_piece_that_is_lost_costs_its_picture_and_what_refers_to_it() -> None:
    target = ingest()
    raws, expected = in_pieces(100, 3, gop=25)
    at = 3 * 60 + 1
    missing = raws[at + 1]
    raws[at : at + 2] = [raw(missing.body, missing.timestamp, loss=lost(1))]
    got = [from_avcc(frame.data) for frame in feed(target, raws) + target.finish(4.0)]
    assert got[1:] == expected[:60] + expected[75:]


def test_pieces_of_h265() -> None:
    target = ingest()
    raws = []
    for i in range(40):
        units = [hevc_slice(19 if i == 0 else 1, seed=2 * i), hevc_slice(19 if i == 0 else 1, seed=2 * i + 1, first=False)]
        bodies = [hevc_key(19, 0), annexb(units[1])] if i == 0 else [annexb(units[0]), annexb(units[1])]
        raws += [raw(body, EPOCH + 40 * i, pt=99) for body in bodies]
    frames = feed(target, raws) + target.finish(2.0)
    assert len(frames) == 41
    assert all(len([u for u in from_avcc(frame.data) if u[0] >> 1 < 32]) == 2 for frame in frames[1:])


def test_frames_that_share_a_stamp_but_begin_pictures_are_pictures() -> None:
    raws = [raw(key()), *(raw(inter(i), EPOCH + 80 * (i // 2)) for i in range(1, 50))]
    assert len(feed(ingest(), raws)) == 50


# -- B frames ------------------------------------------------------------------------------------------------------------------------


def b_frames(groups: int, meaning: str, reorder: int | None, pattern: str = "BBP") -> tuple[list[RawFrame], list[int]]:
    """A stream with B frames, its stamps presentation or decoding times or standing still; and the display number of each."""
    raws, shown = [], []
    base, stamp_base = 0, 0
    for group in range(groups):
        order = [0]
        for mini in range(5):
            anchor = (mini + 1) * len(pattern)
            order += [anchor, *range(anchor - len(pattern) + 1, anchor)]
        for place, number in enumerate(order):
            idr = place == 0
            anchor_picture = number % len(pattern) == 0
            body = slice_(I if idr else P if anchor_picture else B, idr=idr, poc=2 * number, seed=base + place, ref=2 if anchor_picture else 0)
            stamp = EPOCH + stamp_base + 40 * (number if meaning == "pts" else place) if meaning != "still" else EPOCH
            raws.append(
                raw(annexb(sps(reorder=reorder), pps(), body) if idr else annexb(body), stamp, now=(stamp_base + 40 * place) / 1000, data_type=0 if idr else 1)
            )
            shown.append(base + number)
        base += len(order)
        stamp_base += 40 * len(order)
        assert group >= 0
    return raws, shown


@pytest.mark.parametrize("meaning", ["pts", "dts", "still"])
@pytest.mark.parametrize("reorder", [None, 1, 2])
@pytest.mark.parametrize("pattern", ["BP", "BBP"])
def test_b_frames_are_shown_in_their_order(meaning: str, reorder: int | None, pattern: str) -> None:
    raws, shown = b_frames(8, meaning, reorder, pattern)
    frames = feed(ingest(), raws)
    assert len(frames) == len(raws)
    assert all(later.dts >= earlier.dts for earlier, later in pairwise(frames))
    assert all(frame.pts >= frame.dts for frame in frames)
    in_order = [frame.pts for _, frame in sorted(zip(shown, frames, strict=True), key=lambda pair: pair[0])]
    assert all(later > earlier for earlier, later in pairwise(in_order))
    if meaning == "pts":
        assert {later - earlier for earlier, later in pairwise(in_order[4:])} == {40}


def test_b_frames_that_begin_late() -> None:
    """After a long time without any; their order is known from the next key frame on."""
    sets = (sps(reorder=None), pps())
    raws = [raw(key(i, sets) if i % 25 == 0 else inter(i, poc=2 * (i % 25)), EPOCH + 40 * i) for i in range(200)]
    later, shown = b_frames(6, "pts", None)
    raws += [raw(one.body, one.timestamp + 8000) for one in later]
    frames = feed(ingest(), raws)[200:]
    in_order = [frame.pts for _, frame in sorted(zip(shown, frames, strict=True), key=lambda pair: pair[0])]
    assert all(later >= earlier for earlier, later in pairwise(in_order[16:]))
    assert all(later.dts >= earlier.dts for earlier, later in pairwise(frames))


def test_a_stream_that_may_reorder_but_does_not_goes_the_short_way_after_a_while() -> None:
    raws = [
        raw(annexb(sps(reorder=None), pps(), slice_(I, idr=True, seed=i)) if i % 25 == 0 else inter(i, poc=2 * (i % 25), frame_num=i % 25), EPOCH + 40 * i)
        for i in range(200)
    ]
    frames = feed(ingest(), raws)
    assert [(frame.dts, frame.pts) for frame in frames] == [(40 * i, 40 * i) for i in range(200)]


@pytest.mark.shared
@pytest.mark.parametrize("meaning", ["pts", "dts"])
def test_the_capture_with_b_frames(meaning: str) -> None:
    data = shared("captures/syn-h264-bframes-aac-adts.jt1078").read_bytes()
    raws = [one for one in Demuxer().feed(data, 0.0) if one.pt == 98]
    true = [one.timestamp for one in raws]
    if meaning == "dts":
        raws = [raw(one.body, stamp) for one, stamp in zip(raws, sorted(true), strict=True)]
    frames = feed(ingest(), raws)
    assert len(frames) == 90
    assert all(later.dts >= earlier.dts for earlier, later in pairwise(frames))
    assert all(frame.pts >= frame.dts for frame in frames)
    in_order = [frame.pts for _, frame in sorted(zip(true, frames, strict=True), key=lambda pair: pair[0])]
    assert all(later > earlier for earlier, later in pairwise(in_order))
    if meaning == "pts":
        assert len({frame.pts - stamp for frame, stamp in list(zip(frames, true, strict=True))[1:]}) == 1
    else:
        assert all(abs(later - earlier - 67) <= 20 for earlier, later in pairwise(in_order[6:]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("libx264", {"bf": "2", "x264-params": "b-pyramid=0:b-adapt=0"}),
        ("libx264", {"bf": "3", "x264-params": "b-pyramid=normal:b-adapt=0"}),
        ("libx264", {"bf": "3", "x264-params": "b-pyramid=normal:open-gop=1"}),
        ("libx264", {"bf": "0"}),
        ("libx265", {"x265-params": "bframes=4:b-pyramid=1:log-level=none"}),
        ("libx265", {"x265-params": "bframes=3:b-adapt=0:b-pyramid=0:open-gop=0:log-level=none"}),
    ],
)
@pytest.mark.parametrize("meaning", ["pts", "dts"])
@pytest.mark.parametrize("fps", [25, 12])
def test_streams_of_real_encoders(name: str, options: dict[str, str], meaning: str, fps: int) -> None:
    packets = encoded(name, options, fps)
    step = 1000 // fps
    raws = []
    for place, (body, pts) in enumerate(packets):
        stamp = EPOCH + step * (pts if meaning == "pts" else place)
        raws.append(raw(body, stamp, pt=98 if name == "libx264" else 99, now=place * step / 1000))
    frames = feed(ingest(), raws)
    assert len(frames) == len(packets)
    assert all(later.dts >= earlier.dts for earlier, later in pairwise(frames))
    assert all(frame.pts >= frame.dts for frame in frames)
    in_order = [frame.pts for _, frame in sorted(zip([pts for _, pts in packets], frames, strict=True), key=lambda pair: pair[0])]
    assert all(later > earlier for earlier, later in pairwise(in_order))
    settled = {later - earlier for earlier, later in pairwise(in_order[30:])}
    assert settled <= ({step} if meaning == "pts" else set(range(step // 2, 2 * step)))


_ENCODED: dict[Any, list[tuple[bytes, int]]] = {}


def encoded(name: str, options: dict[str, str], fps: int) -> list[tuple[bytes, int]]:
    """100 pictures in decoding order, each with its display number; parameter sets before each key frame."""
    av = pytest.importorskip("av")
    if (known := _ENCODED.get((name, *options.items()))) is not None:
        return known
    from fractions import Fraction

    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = 128, 96, "yuv420p"
    context.time_base = Fraction(1, fps)
    context.framerate = Fraction(fps, 1)
    context.gop_size = 30
    context.options = {"preset": "veryfast", **options}
    packets = []
    rng = random.Random(1)
    for i in range(100):
        frame = av.VideoFrame(128, 96, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes((x * 3 + i * 5 + rng.randrange(8)) & 255 for x in range(plane.buffer_size)))
        frame.pts = i
        packets += context.encode(frame)
    packets += context.encode(None)
    _ENCODED[(name, *options.items())] = [(bytes(packet), int(packet.pts)) for packet in packets]
    return _ENCODED[(name, *options.items())]


# -- the clock, as frames see it -----------------------------------------------------------------------------------------------------


def test_another_connection_goes_on_with_a_key_frame_after_what_was_put_out() -> None:
    target = ingest()
    first = feed(target, stream(40))
    target.restart(30.0)
    again = [raw(one.body, one.timestamp - EPOCH, now=30.0 + i * 0.04) for i, one in enumerate(stream(60)[10:])]
    frames = feed(target, again)
    assert frames[0].key
    assert frames[0].dts == first[-1].dts + 40
    assert frames[0].config is first[0].config
    assert len(frames) == 35
    assert [frame.dts - frames[0].dts for frame in frames] == [40 * i for i in range(35)]


def test_a_takeover_by_another_camera_is_a_new_configuration() -> None:
    target = ingest()
    feed(target, stream(10))
    target.restart(1.0)
    (frame,) = feed(target, [raw(key(0, (sps(width=640, height=480), pps())), EPOCH + 5000)])
    assert config_of(frame).width == 640
    assert frame.dts == 400


def test_a_flood_of_recorded_pictures_keeps_their_pace() -> None:
    raws = [raw(one.body, one.timestamp, now=i * 0.0005) for i, one in enumerate(stream(2000))]
    assert [frame.dts for frame in feed(ingest(), raws)] == [40 * i for i in range(2000)]


def test_frozen_stamps() -> None:
    raws = [raw(one.body, 5, now=i * 0.04) for i, one in enumerate(stream(100))]
    times = [frame.dts for frame in feed(ingest(), raws)]
    assert all(20 <= later - earlier <= 60 for earlier, later in pairwise(times))


# -- sound ---------------------------------------------------------------------------------------------------------------------------


def block(body: bytes, number: int, pt: int, step: int = 40, loss: Loss | None = None, now: float | None = None) -> RawFrame:
    return raw(body, EPOCH + step * number, pt=pt, data_type=3, loss=loss, now=now)


def voice(count: int, seed: int = 1) -> list[int]:
    """Something like speech: three harmonics that come and go, and breath."""
    import math

    rng = random.Random(seed)
    return [
        int(
            (4000 + 3000 * math.sin(i / 900))
            * (math.sin(i * 0.12) + 0.5 * math.sin(i * 0.25 + 1) + 0.3 * math.sin(i * 0.49))
            + rng.randrange(-300, 300)
        )
        for i in range(count)
    ]


def s16(values: list[int]) -> bytes:
    return b"".join((max(-32768, min(32767, value)) & 0xFFFF).to_bytes(2, "little") for value in values)


@pytest.mark.parametrize(("pt", "codec"), [(6, "g711a"), (7, "g711u")])
def test_g711_with_and_without_the_hisilicon_header(pt: int, codec: str) -> None:
    """On some frames only: every one is tested."""
    bodies = [noise(320, i) for i in range(10)]
    raws = [block(hisi.add_header(body) if i % 3 else body, i, pt) for i, body in enumerate(bodies)]
    frames = feed(ingest(), raws)
    assert [frame.data for frame in frames] == bodies
    assert [frame.dts for frame in frames] == [40 * i for i in range(10)]
    assert all(frame.key and frame.samples == 320 and sound_of(frame).codec == codec for frame in frames)
    assert len({id(frame.config) for frame in frames}) == 1


def test_a_header_with_nothing_behind_it() -> None:
    target = ingest()
    assert feed(target, [block(b"\0\1\0\0", 0, 6), block(b"\0\1\0\0", 1, 26)]) == []
    assert target.counts == {"empty_sound": 2}


def test_a_header_whose_length_does_not_fit_is_sound() -> None:
    body = b"\x00\x01\x50\x00" + noise(100)
    (frame,) = feed(ingest(), [block(body, 0, 6)])
    assert frame.data == body


def g726_vectors() -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in load_vectors("jt1078") if v["kind"] == "g726"]


@pytest.mark.parametrize("vector", g726_vectors())
@pytest.mark.parametrize("header", [False, True])
def test_g726_rate_and_order_of_bits(vector: dict[str, Any], header: bool) -> None:
    fields = vector["fields"]
    data = bytes.fromhex(vector["hex"])
    size = fields["frame_bytes"]
    bodies = [data[at : at + size] for at in range(0, len(data), size)]
    raws = [block(hisi.add_header(body) if header else body, i, 8) for i, body in enumerate(bodies)]
    target = ingest()
    frames = feed(target, raws) + target.finish(0.2)
    assert [frame.data for frame in frames] == bodies
    assert {(sound_of(frame).bits, frame.samples) for frame in frames} == {(fields["bits"], 320)}
    assert [frame.dts for frame in frames] == [40 * i for i in range(len(bodies))]
    assert sound_of(frames[-1]).layout == fields["packing"]


@pytest.mark.parametrize(("name", "bits", "layout"), [("semi-g726-40-hisi", 5, "be"), ("syn-h264-g726-32le-hisi", 4, "le"), ("syn-h264-g726-24be", 3, "be")])
@pytest.mark.shared
def test_g726_of_the_captures(name: str, bits: int, layout: str) -> None:
    data = shared(f"captures/{name}.jt1078").read_bytes()
    target = ingest()
    frames = [frame for one in Demuxer().feed(data, 0.0) for frame in target.push(one, 0.0) if frame.kind == AUDIO]
    assert {(sound_of(frame).bits, sound_of(frame).layout) for frame in frames} == {(bits, layout)}


def test_g726_waits_half_a_second_at_most_and_looks_again_when_there_is_something_to_hear() -> None:
    be = next((v for v in load_vectors("jt1078") if v["kind"] == "g726" and v["fields"]["packing"] == "be" and v["fields"]["bits"] == 3), None)
    if be is None:
        pytest.skip("the shared vectors are not there")
    data = bytes.fromhex(be["hex"])
    loud = [data[at : at + 120] for at in range(0, len(data), 120)] * 30
    silence = [b"\xff" * 120] * 40
    target = ingest()
    delays = []
    frames = []
    for i, body in enumerate(silence + loud):
        one = block(body, i, 8)
        passed = target.push(one, one.arrival)
        frames += passed
        delays.append(i + 1 - len(frames))
    assert max(delays) <= 12
    assert delays[12:] == [0] * (len(delays) - 12)
    assert sound_of(frames[0]).layout == "le"  # silence tells nothing: the usual
    assert sound_of(frames[-1]).layout == "be"
    changes = sum(later.config is not earlier.config for earlier, later in pairwise(frames))
    assert changes == 1


def test_g726_with_a_configured_order_is_not_guessed() -> None:
    frames = feed(ingest(g726_order="be"), [block(b"\xff" * 160, i, 8) for i in range(20)])
    assert len(frames) == 20
    assert {(sound_of(frame).bits, sound_of(frame).layout) for frame in frames} == {(4, "be")}


@pytest.mark.parametrize(("step", "bits"), [(40, 2), (20, 4)])
def test_g726_blocks_of_80_bytes_are_told_by_their_time(step: int, bits: int) -> None:
    frames = feed(ingest(), [block(noise(80, i), i, 8, step) for i in range(20)])
    assert {sound_of(frame).bits for frame in frames} == {bits}


def test_g726_that_changes_its_rate() -> None:
    raws = [block(noise(160, i), i, 8) for i in range(30)] + [block(noise(80, i), i, 8) for i in range(30, 80)]
    frames = feed(ingest(), raws)
    assert [sound_of(frame).bits for frame in frames[:30]] == [4] * 30
    assert [sound_of(frame).bits for frame in frames[-40:]] == [2] * 40


def test_g721_is_g726_at_32_kbit() -> None:
    frames = feed(ingest(), [block(noise(160, i), i, 1) for i in range(20)])
    assert {(sound_of(frame).codec, sound_of(frame).bits) for frame in frames} == {("g726", 4)}


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in load_vectors("jt1078") if v["kind"] == "adpcm"])
def test_adpcm_layouts(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    body = bytes.fromhex(vector["hex"])
    frames = feed(ingest(), [block(body, i, 26) for i in range(8)])
    assert len(frames) == 8
    assert frames[0].data == hisi.strip(body)
    assert {frame.samples for frame in frames} == {fields["samples"]}


def test_adpcm_silence_first_then_speech() -> None:
    data = shared("captures/syn-h264-adpcm-hisi.jt1078").read_bytes()
    loud = [hisi.strip(one.body) for one in Demuxer().feed(data, 0.0) if one.pt == 26]
    wav = [loud[0][:4] + bytes((byte << 4 | byte >> 4) & 255 for byte in body[4:]) for body in loud]
    quiet = [b"\x00\x00\x10\x00" + b"\x80" * 160] * 20
    frames = feed(ingest(), [block(body, i, 26) for i, body in enumerate(quiet + wav)])
    assert len(frames) == 20 + len(wav)
    assert sound_of(frames[-1]).layout == adpcm.detect(wav[20:45], 26)


def aac(size: int, seed: int = 0) -> bytes:
    total = size + 7
    head = 0xFFF1 << 40 | 1 << 38 | 11 << 34 | 1 << 30 | total << 13 | 0x7FF << 2
    return head.to_bytes(7, "big") + noise(size, seed)


def test_adts_frames_joined_in_one_body_follow_each_other() -> None:
    """Two frames a body: 256 ms a body, 128 ms a frame, and no drift."""
    raws = [block(aac(50, 2 * i) + aac(60, 2 * i + 1), i, 19, 256) for i in range(50)]
    frames = feed(ingest(), raws)
    assert [frame.dts for frame in frames] == [128 * i for i in range(100)]
    assert [len(frame.data) for frame in frames] == [50, 60] * 50
    assert (sound_of(frames[0]).sample_rate, sound_of(frames[0]).channels, sound_of(frames[0]).extra.hex()) == (8000, 1, "1588")


def test_adts_frames_cut_across_bodies() -> None:
    whole = b"".join(aac(90, i) for i in range(40))
    bodies = [whole[at : at + 61] for at in range(0, len(whole), 61)]
    frames = feed(ingest(), [block(body, i, 19, 80) for i, body in enumerate(bodies)])
    assert [frame.data for frame in frames] == [noise(90, i) for i in range(40)]
    assert all(later.dts >= earlier.dts for earlier, later in pairwise(frames))


def test_a_loss_drops_the_adts_frame_that_was_begun() -> None:
    one = aac(90, 1)
    frames = feed(ingest(), [block(one[:40], 0, 19), block(aac(80, 2), 1, 19, loss=lost(1))])
    assert [frame.data for frame in frames] == [noise(80, 2)]


def test_raw_aac_is_lc_at_8_khz() -> None:
    (frame,) = feed(ingest(), [block(b"\x01\x40" + noise(60), 0, 19)])
    assert sound_of(frame).extra.hex() == "1588"


def test_latm_is_refused_in_words_of_the_count() -> None:
    target = ingest()
    assert feed(target, [block(b"\x56\xe0\x10" + noise(16), 0, 19)]) == []
    assert target.counts == {"broken_sound": 1}


@pytest.mark.parametrize(("pt", "big"), [(18, False), (22, True), (23, False), (16, True), (15, True)])
def test_linear_pcm_comes_out_little_endian(pt: int, big: bool) -> None:
    samples = s16(voice(320 * 10))
    bodies = [samples[at : at + 640] for at in range(0, len(samples), 640)]
    turned = [bytes(b for at in range(0, len(one), 2) for b in (one[at + 1], one[at])) if big else one for one in bodies]
    frames = feed(ingest(), [block(body, i, pt) for i, body in enumerate(turned)])
    assert [frame.data for frame in frames] == bodies
    assert {(sound_of(frame).codec, sound_of(frame).channels) for frame in frames} == {("pcm", 2 if pt == 15 else 1)}


def test_linear_pcm_at_16_khz_is_told_by_its_time() -> None:
    samples = s16(voice(640 * 10))
    frames = feed(ingest(), [block(samples[at : at + 1280], at // 1280, 22) for at in range(0, len(samples), 1280)])
    assert {(sound_of(frame).sample_rate, frame.samples) for frame in frames} == {(16000, 640)}


def test_unknown_sound_passes_under_its_number() -> None:
    frames = feed(ingest(), [block(noise(40, i), i, 5) for i in range(3)])
    assert [sound_of(frame).codec for frame in frames] == ["pt5"] * 3
    assert [frame.dts for frame in frames] == [0, 40, 80]


def test_a_change_of_the_sounds_codec() -> None:
    raws = [block(noise(320, i), i, 6) for i in range(10)] + [block(noise(320, i), i, 7) for i in range(10, 20)]
    frames = feed(ingest(), raws)
    assert [sound_of(frame).codec for frame in frames] == ["g711a"] * 10 + ["g711u"] * 10
    assert [frame.dts for frame in frames] == [40 * i for i in range(20)]


def test_sound_on_another_clock_stands_beside_the_picture() -> None:
    target = ingest()
    raws = []
    for i in range(500):
        raws.append(raw(key(i) if i % 25 == 0 else inter(i), EPOCH + 40 * i))
        raws.append(RawFrame(SIM, 1, 6, 3, 123_456 + 40 * i, g711.encode_a(bytes(640)), 1, i * 0.04))
    frames = feed(target, raws)
    by_kind = [[frame.dts for frame in frames if frame.kind == kind] for kind in (VIDEO, AUDIO)]
    assert by_kind[0] == by_kind[1] == [40 * i for i in range(500)]


def test_sound_alone() -> None:
    target = ingest()
    frames = feed(target, [block(noise(160, i), i, 6, 20) for i in range(100)])
    assert [frame.dts for frame in frames] == [20 * i for i in range(100)]
    assert not target.has_picture


def test_what_was_found_out_survives_a_reconnect() -> None:
    data = shared("captures/semi-g726-40-hisi.jt1078").read_bytes()
    raws = Demuxer().feed(data, 0.0)
    target = ingest()
    feed(target, raws[:100])
    target.restart(60.0)
    (frame,) = feed(target, raws[100:101])
    assert sound_of(frame).layout == "be"


# -- captures and anything -----------------------------------------------------------------------------------------------------------


def frames_of(entry: dict[str, Any]) -> dict[int, list[RawFrame]]:
    data = shared("captures/" + entry["file"]).read_bytes()
    found: list[RawFrame] = []
    if entry["file"].endswith(".udprec"):
        datagrams, at = DatagramDemuxer(), 0
        while at < len(data):
            now, size = int.from_bytes(data[at : at + 4], "big") / 1000, int.from_bytes(data[at + 4 : at + 6], "big")
            found += datagrams.tick(now) + datagrams.feed(data[at + 6 : at + 6 + size], ("192.0.2.1", 40000), now)
            at += 6 + size
        found += datagrams.finish(now)
    else:
        demuxer = Demuxer()
        found = demuxer.feed(data, 0.0) + demuxer.finish(0.0)
    channels: dict[int, list[RawFrame]] = {}
    for one in found:
        channels.setdefault(one.channel, []).append(one)
    return channels


@pytest.mark.shared
@pytest.mark.parametrize("entry", captures(), ids=lambda entry: entry["file"])
def test_captures(entry: dict[str, Any]) -> None:
    """Whole pictures pass by the policy of INDEX.json, their units untouched; all sound passes; no step is longer than two seconds."""
    for channel, raws in frames_of(entry).items():
        target = ingest()
        frames = feed(target, raws) + target.finish(0.0)
        part = entry.get("per_channel", {}).get(str(channel), entry)
        video, audio = pictures(frames), [frame for frame in frames if frame.kind == AUDIO]
        if "parts" in entry:
            assert len(video) == sum(one["video"]["frames"] for one in entry["parts"])
            assert [config_of(frame).width for frame in video] == [320] * 90 + [1280] * 150
        elif part["video"]:
            rule = entry.get("video_alt", part["video"])
            assert len(video) == rule["frames"]
            left_out = {7, 8, 9, 12} if part["video"]["codec"] == "h264" else {32, 33, 34, 35, 38}
            kind = h264.nal_type if part["video"]["codec"] == "h264" else h265.nal_type
            passed = {frame.data for frame in video}
            whole = [one for one in raws if one.pt in (98, 99)]
            if "video_alt" not in entry:
                assert [from_avcc(frame.data) for frame in video] == [[n for n in split_annexb(one.body) if kind(n) not in left_out] for one in whole]
            assert len(passed) == len(video)
        if part.get("audio"):
            assert len(audio) == part["audio"]["frames"]
            if part["audio"]["pt"] != 19:
                assert [frame.data for frame in audio] == [hisi.strip(one.body) for one in raws if one.data_type == 3]
        for track in (video, audio):
            assert all(0 <= later.dts - earlier.dts <= 2000 for earlier, later in pairwise(track))
        if entry["file"].startswith("nasty-timestamps"):
            assert all(later.dts - earlier.dts <= 100 for track in (video, audio) for earlier, later in pairwise(track))


SAMPLES = [key(), inter(), annexb(sps()), annexb(pps()), annexb(SEI), hevc_key(), annexb(hevc_slice(1)), annexb(slice_(B)), annexb(slice_(P, first_mb=5))]
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(SAMPLES),
    st.builds(lambda body, at, byte: body[:at] + bytes([byte]) + body[at + 1 :], st.sampled_from(SAMPLES[::5]), st.integers(0, 60), st.integers(0, 255)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(BODIES, st.integers(0, 127), st.integers(0, 4), st.integers(0, 1 << 40), st.booleans(), st.booleans()), max_size=40))
def test_whatever_comes_frames_are_well_formed(events: list[tuple[bytes, int, int, int, bool, bool]]) -> None:
    target = ingest()
    last = {VIDEO: 0, AUDIO: 0}
    began = False
    for i, (body, pt, data_type, stamp, damaged, usual) in enumerate(events):
        pt = (98, 99, 6, 8, 19, 26, 22)[pt % 7] if usual else pt
        one = RawFrame(SIM, 1, pt, data_type, stamp, body or b"\0", 1, i * 0.04, lost() if damaged else None)
        for frame in target.push(one, i * 0.04):
            assert frame.pts >= frame.dts >= last[frame.kind]
            last[frame.kind] = frame.dts
            if frame.kind == VIDEO:
                began = began or frame.key
                assert began
                assert from_avcc(frame.data)
                assert config_of(frame).record
            else:
                assert frame.data
