"""Parameter sets, slice headers and decoder configurations of H.264 and H.265, against the shared vectors."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.codec import h264, h265
from relay.errors import DecodeError, UsageError
from tests.shared import load_vectors

VECTORS = load_vectors("jt1078")


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == kind]


def parse(codec: str, data: bytes) -> h264.Sps | h265.Sps:
    return h264.parse_sps(data) if codec == "h264" else h265.parse_sps(data)


@pytest.mark.parametrize("vector", of_kind("sps"))
def test_sps_as_the_vectors_say(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    sps = parse(fields["codec"], bytes.fromhex(vector["hex"]))
    said = sps.describe()
    assert {name: said.get(name) for name in fields} == fields
    assert not sps.vui_broken


@pytest.mark.parametrize("vector", of_kind("sps"))
def test_every_truncation_and_bit_flip_of_an_sps_is_read_or_a_decode_error(vector: dict[str, Any]) -> None:
    codec, data = vector["fields"]["codec"], bytes.fromhex(vector["hex"])
    for cut in range(len(data)):
        try:
            parse(codec, data[:cut])
        except DecodeError:
            pass
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit >> 3] ^= 0x80 >> (bit & 7)
        try:
            sps = parse(codec, bytes(damaged))
        except DecodeError:
            continue
        assert 0 < sps.width <= h264.MAX_SIDE
        assert 0 < sps.height <= h264.MAX_SIDE
        sps.describe()


@pytest.mark.parametrize("vector", of_kind("sps"))
def test_an_sps_cut_before_its_picture_size_is_refused(vector: dict[str, Any]) -> None:
    codec, data = vector["fields"]["codec"], bytes.fromhex(vector["hex"])
    with pytest.raises(DecodeError):
        parse(codec, data[: 5 if codec == "h264" else 14])


@given(st.binary(max_size=120), st.sampled_from(["h264", "h265"]))
def test_noise_behind_an_sps_header_is_read_or_a_decode_error(noise: bytes, codec: str) -> None:
    try:
        parse(codec, (b"\x67" if codec == "h264" else b"\x42\x01") + noise)
    except DecodeError:
        pass


@given(st.binary(max_size=80))
def test_noise_as_slice_pps_vps_or_sei_is_read_or_a_decode_error(noise: bytes) -> None:
    sps4 = h264.parse_sps(bytes.fromhex("674d401ff4058126c044000003000400000300f07c58ba80"))
    sps5 = h265.parse_sps(bytes.fromhex("42010101600000030090000003000003003ca00a080f16595952930bc05a020000030002000003001e10"))
    pps5 = h265.parse_pps(bytes.fromhex("4401c073c189"))
    slice4, slice5 = b"\x41" + noise, b"\x02\x01" + noise
    for call in (
        lambda: h264.first_mb_in_slice(slice4),
        lambda: h264.slice_type(slice4),
        lambda: h264.slice_header(slice4, sps4),
        lambda: h264.has_recovery_point(b"\x06" + noise),
        lambda: h264.parameter_set_id(b"\x68" + noise),
        lambda: h265.slice_header(slice5, sps5, pps5),
        lambda: h265.parse_pps(b"\x44\x01" + noise),
        lambda: h265.parse_vps_id(b"\x40\x01" + noise),
        lambda: h265.first_slice_in_picture(slice5),
    ):
        try:
            call()
        except DecodeError:
            pass


def test_what_is_no_sps_is_named() -> None:
    with pytest.raises(DecodeError, match="header 68 is not an SPS's"):
        h264.parse_sps(bytes.fromhex("68ee3c80"))
    with pytest.raises(DecodeError, match="is not that of a SPS"):
        h265.parse_sps(bytes.fromhex("4401c073c189"))
    with pytest.raises(DecodeError, match="too many"):
        h264.parse_sps(b"\x67" + b"\xff" * 70000)
    with pytest.raises(DecodeError, match="too few"):
        h264.parse_sps(b"")


def test_a_vui_that_runs_out_costs_only_the_vui() -> None:
    whole = bytes.fromhex("674d401ff4058126c044000003000400000300f07c58ba80")
    sps = h264.parse_sps(whole[:14])
    assert sps.vui_broken
    assert (sps.width, sps.height, sps.frame_rate, sps.max_num_reorder_frames) == (704, 576, None, None)


def test_reordering() -> None:
    said = h264.parse_sps(bytes.fromhex("6742c00ada109b0110000003001000000300a0f1226a"))
    assert not said.may_reorder  # baseline
    real = h264.parse_sps(bytes.fromhex("674d001495b8582590"))
    assert real.max_num_reorder_frames is None
    assert real.pic_order_cnt_type == 2  # output order is decoding order
    assert not real.may_reorder
    assert real._replace(pic_order_cnt_type=0).may_reorder  # main profile, nothing said
    assert h264.video_config([bytes.fromhex("674d001495b8582590")], [bytes.fromhex("68ee3c80")]).reorder == 0


def test_coded_size_is_in_whole_macroblocks() -> None:
    sps = h264.parse_sps(bytes.fromhex("6742c01eda0360f79bc044000003000400000300783c58ba80"))
    assert (sps.width, sps.coded_width, sps.coded_height) == (854, 864, 480)


@pytest.mark.parametrize("vector", of_kind("avcc"))
def test_avc_configuration_record(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    sps, pps = bytes.fromhex(vector["hex"]), bytes.fromhex(fields["pps"])
    record = h264.avcc_record([sps], [pps]).hex()
    high = sps[1] in (100, 110, 122, 144)
    # by the letter: the four further bytes of the High profiles are written; one vector has only the short form
    assert record == (fields.get("avcc_with_high_ext", fields["avcc"] + "fdf8f800") if high else fields["avcc"])
    assert len(record) == len(fields["avcc"]) + 8 * high
    config = h264.video_config([sps], [pps])
    assert config.parameter_sets == (sps, pps)
    assert config.record == h264.avcc_record([sps], [pps])
    assert config is h264.video_config([sps], [pps])


def test_avc_configuration_record_with_several_sets() -> None:
    sps, pps, other = bytes.fromhex("674d001495b8582590"), bytes.fromhex("68ee3c80"), bytes.fromhex("6842")
    assert h264.avcc_record([sps, sps], [pps, other]).hex() == (
        "014d0014ffe2" + ("0009" + sps.hex()) * 2 + "02" + "0004" + pps.hex() + "0002" + other.hex()
    )
    with pytest.raises(UsageError):
        h264.avcc_record([sps], [])
    with pytest.raises(DecodeError):
        h264.avcc_record([sps] * 32, [pps])
    with pytest.raises(DecodeError):
        h264.avcc_record([sps], [b"\x68" * 70000])


@pytest.mark.parametrize("vector", of_kind("flv_hevc_seqhdr"))
def test_hevc_configuration_record(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    sets = [bytes.fromhex(fields[name]) for name in ("vps", "sps", "pps")]
    assert h265.hvcc_record(*[[s] for s in sets]).hex() == fields["hvcc_example"]
    config = h265.video_config(*[[s] for s in sets])
    assert config.codec == "h265"
    assert config.parameter_sets == tuple(sets)
    assert [h265.parameter_set_id(s) for s in sets] == [0, 0, 0]


def test_hevc_codec_string_with_high_tier_and_constraint_bytes() -> None:
    base = h265.parse_sps(bytes.fromhex("420101016000000300900000030000030096a001402005a16595952930bc05a020000003002000000301e1"))
    high = base._replace(general_tier_flag=1, general_profile_space=2, general_constraint_indicator=bytes.fromhex("b00800000000"))
    assert high.rfc6381 == "hvc1.B1.6.H150.B0.8"
    assert high._replace(general_constraint_indicator=bytes(6)).rfc6381 == "hvc1.B1.6.H150"


def test_key_frames_are_told_by_nal_type() -> None:
    assert h264.is_key([b"\x67\x00", b"\x65\x88"])
    assert not h264.is_key([b"\x67\x00", b"\x41\x9a"])
    assert [kind for kind in range(64) if h265.is_irap(kind)] == list(range(16, 24))
    assert h265.is_key([bytes((21 << 1, 1))])
    assert not h265.is_key([bytes((1 << 1, 1)), bytes((33 << 1, 1))])


def test_slice_header_fields() -> None:
    assert h264.first_mb_in_slice(bytes.fromhex("6588840010")) == 0
    assert h264.slice_type(bytes.fromhex("6588840010")) == h264.SLICE_I
    assert h264.slice_type(bytes.fromhex("419a2100")) == h264.SLICE_P
    assert h264.first_mb_in_slice(bytes((0x41, 0b01010000))) == 1


def test_recovery_point_message() -> None:
    assert h264.has_recovery_point(bytes.fromhex("060601c480"))
    assert h264.has_recovery_point(bytes.fromhex("060502aabb0601c480"))
    assert not h264.has_recovery_point(bytes.fromhex("0605040601c48080"))
    assert not h264.has_recovery_point(b"\x06" + b"\xff" * 5000)


def test_random_damage_of_whole_sets_never_surprises() -> None:
    chance = random.Random(1078)
    seeds = [(v["fields"]["codec"], bytes.fromhex(v["hex"])) for v in VECTORS if v["kind"] == "sps"]
    if not seeds:
        pytest.skip("no vectors")
    for _ in range(4000):
        codec, data = chance.choice(seeds)
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            parse(codec, bytes(damaged)).describe()
        except DecodeError:
            pass
