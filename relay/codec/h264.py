"""H.264 (ITU-T H.264, ISO/IEC 14496-10): NAL unit types, sequence parameter sets, slice headers, the decoder configuration.

NAL unit header, one byte (7.3.1)::

    forbidden_zero_bit 1 | nal_ref_idc 2 | nal_unit_type 5

A terminal's parameter sets change when its camera does, that is nearly never, while an SPS comes with every key frame:
``parse_sps`` is cached by the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import gcd
from typing import NamedTuple

from relay.codec.bitreader import MAX_PARAMETER_SET, BitReader
from relay.codec.frame import VideoConfig
from relay.codec.nalu import unescape
from relay.errors import DecodeError, UsageError

NAL_SLICE = 1
NAL_PARTITION_A = 2
NAL_PARTITION_B = 3
NAL_PARTITION_C = 4
NAL_IDR = 5
NAL_SEI = 6
NAL_SPS = 7
NAL_PPS = 8
NAL_AUD = 9
NAL_END_OF_SEQUENCE = 10
NAL_END_OF_STREAM = 11
NAL_FILLER = 12
NAL_SPS_EXTENSION = 13

#: Types that are no part of an output sample: parameter sets live in the configuration, delimiters, ends and filler carry no picture.
NOT_IN_SAMPLES = frozenset({NAL_SPS, NAL_PPS, NAL_AUD, NAL_END_OF_SEQUENCE, NAL_END_OF_STREAM, NAL_FILLER, NAL_SPS_EXTENSION})

SLICE_P = 0
SLICE_B = 1
SLICE_I = 2

#: Width and height in pixels. Level 6.2 permits sqrt(8 * 139264) = 1055 macroblocks a side (A.3.1 f, g).
MAX_SIDE = 1055 * 16

#: Profiles whose SPS says chroma format and bit depth (7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
#: Profiles whose decoder configuration record has the four further bytes. ISO/IEC 14496-15 5.3.3.1.2 prints 144, an old number of 244.
_RECORD_EXTENSION = frozenset({100, 110, 122, 144, 244})

_PROFILE_NAMES = {
    44: "CAVLC 4:4:4",
    66: "Baseline",
    77: "Main",
    83: "Scalable Baseline",
    86: "Scalable High",
    88: "Extended",
    100: "High",
    110: "High 10",
    118: "Multiview High",
    122: "High 4:2:2",
    128: "Stereo High",
    144: "High 4:4:4",
    244: "High 4:4:4 Predictive",
}

#: Table E-1, sample aspect ratio by aspect_ratio_idc.
_SAMPLE_ASPECT = (
    None,
    (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
_EXTENDED_SAR = 255


class Sps(NamedTuple):
    """What a sequence parameter set says; names are the syntax elements' own where one stands behind the value."""

    profile_idc: int
    constraint_flags: int  #: the whole byte, constraint_set0_flag in its top bit
    level_idc: int  #: ten times the level; may be nonsense in the field and is passed on unchanged
    seq_parameter_set_id: int
    chroma_format_idc: int
    separate_colour_plane_flag: bool
    bit_depth_luma: int
    bit_depth_chroma: int
    log2_max_frame_num: int
    pic_order_cnt_type: int
    log2_max_pic_order_cnt_lsb: int  #: 0 unless pic_order_cnt_type is 0
    max_num_ref_frames: int
    pic_width_in_mbs_minus1: int
    pic_height_in_map_units_minus1: int
    frame_mbs_only_flag: int  #: 0 = interlaced coding is possible
    width: int  #: pixels, cropped
    height: int  #: pixels, cropped
    sar: tuple[int, int] | None  #: sample aspect ratio, None when not said
    frame_rate: tuple[int, int] | None  #: from the VUI's timing, reduced; a hint that is often wrong in the field
    max_num_reorder_frames: int | None  #: None when the VUI does not say
    vui_broken: bool  #: the VUI runs past the end; what it says is not used

    @property
    def codec(self) -> str:
        return "h264"

    @property
    def coded_width(self) -> int:
        return (self.pic_width_in_mbs_minus1 + 1) * 16

    @property
    def coded_height(self) -> int:
        return (self.pic_height_in_map_units_minus1 + 1) * 16 * (2 - self.frame_mbs_only_flag)

    @property
    def profile(self) -> str:
        """The profile's name (Annex A), ``""`` when it has none that we know."""
        if self.profile_idc == 66 and self.constraint_flags & 0x40:
            return "Constrained Baseline"
        name = _PROFILE_NAMES.get(self.profile_idc, "")
        return name + " Intra" if self.profile_idc in (110, 122, 244) and self.constraint_flags & 0x10 else name

    @property
    def rfc6381(self) -> str:
        """RFC 6381 3.3: ``avc1.`` and the three bytes after the NAL unit header."""
        return f"avc1.{self.profile_idc:02X}{self.constraint_flags:02X}{self.level_idc:02X}"

    @property
    def may_reorder(self) -> bool:
        """Pictures may be output in another order than they are decoded: B frames, or whatever the syntax leaves open."""
        if self.pic_order_cnt_type == 2 or self.profile_idc == 66:  # 8.2.1.3; A.2.1 has no B slices
            return False
        return self.max_num_reorder_frames != 0

    def describe(self) -> dict[str, object]:
        """By the names of the vectors (spec of the media stream, section 11)."""
        # seen: jt1078-s-sps-001, -006: the vectors' coded size and rate are what ffprobe prints, that is
        # with the cropping applied, and 25/1 where the VUI says nothing. The pic_… elements tell the coded size by the letter.
        return {
            "codec": self.codec,
            "width": self.width,
            "height": self.height,
            "profile_idc": self.profile_idc,
            "constraint_flags": self.constraint_flags,
            "level_idc": self.level_idc,
            "profile": self.profile,
            "rfc6381": self.rfc6381,
            "coded_width": self.width,
            "coded_height": self.height,
            "sar": None if self.sar is None else f"{self.sar[0]}:{self.sar[1]}",
            "fps_hint": "25/1" if self.frame_rate is None else f"{self.frame_rate[0]}/{self.frame_rate[1]}",
            "seq_parameter_set_id": self.seq_parameter_set_id,
            "chroma_format_idc": self.chroma_format_idc,
            "bit_depth_luma_minus8": self.bit_depth_luma - 8,
            "bit_depth_chroma_minus8": self.bit_depth_chroma - 8,
            "log2_max_frame_num_minus4": self.log2_max_frame_num - 4,
            "pic_order_cnt_type": self.pic_order_cnt_type,
            "log2_max_pic_order_cnt_lsb_minus4": self.log2_max_pic_order_cnt_lsb - 4 if self.pic_order_cnt_type == 0 else None,
            "max_num_ref_frames": self.max_num_ref_frames,
            "pic_width_in_mbs_minus1": self.pic_width_in_mbs_minus1,
            "pic_height_in_map_units_minus1": self.pic_height_in_map_units_minus1,
            "frame_mbs_only_flag": self.frame_mbs_only_flag,
            "max_num_reorder_frames": self.max_num_reorder_frames,
        }


def nal_type(nalu: bytes) -> int:
    """nal_unit_type of a NAL unit that is not empty."""
    return nalu[0] & 0x1F


def is_key(nalus: Iterable[bytes]) -> bool:
    """The access unit holds an IDR picture: a decoder may start here, whatever the packet's data type said."""
    return any(nalu[0] & 0x1F == NAL_IDR for nalu in nalus)


@lru_cache(maxsize=256)
def parse_sps(sps: bytes) -> Sps:
    """A sequence parameter set with its NAL unit header (7.3.2.1.1). ``DecodeError`` for anything that is not one."""
    if len(sps) < 4:
        raise DecodeError("SPS", len(sps), f"{len(sps)} bytes are too few")
    if len(sps) > MAX_PARAMETER_SET:
        raise DecodeError("SPS", MAX_PARAMETER_SET, f"{len(sps)} bytes are too many")
    if sps[0] & 0x9F != NAL_SPS:
        raise DecodeError("SPS", 0, f"NAL unit header {sps[0]:02x} is not an SPS's")
    bits = BitReader(unescape(sps), "SPS")
    bits.skip(8)
    u, ue = bits.u, bits.ue
    profile_idc = u(8)
    constraint_flags = u(8)
    level_idc = u(8)
    sps_id = bits.ue_max(31, "seq_parameter_set_id")
    chroma_format_idc = 1
    separate_colour_plane = False
    bit_depth_luma = bit_depth_chroma = 8
    if profile_idc in _HIGH_PROFILES:
        chroma_format_idc = bits.ue_max(3, "chroma_format_idc")
        if chroma_format_idc == 3:
            separate_colour_plane = bits.flag()
        bit_depth_luma = 8 + bits.ue_max(6, "bit_depth_luma_minus8")
        bit_depth_chroma = 8 + bits.ue_max(6, "bit_depth_chroma_minus8")
        bits.skip(1)  # qpprime_y_zero_transform_bypass_flag
        if bits.flag():  # seq_scaling_matrix_present_flag
            for index in range(12 if chroma_format_idc == 3 else 8):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    log2_max_frame_num = 4 + bits.ue_max(12, "log2_max_frame_num_minus4")
    poc_type = bits.ue_max(2, "pic_order_cnt_type")
    log2_max_poc_lsb = 0
    if poc_type == 0:
        log2_max_poc_lsb = 4 + bits.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")
    elif poc_type == 1:
        bits.skip(1)  # delta_pic_order_always_zero_flag
        ue()  # offset_for_non_ref_pic, signed
        ue()  # offset_for_top_to_bottom_field
        for _ in range(bits.ue_max(255, "num_ref_frames_in_pic_order_cnt_cycle")):
            ue()
    max_num_ref_frames = bits.ue_max(16, "max_num_ref_frames")
    bits.skip(1)  # gaps_in_frame_num_value_allowed_flag
    width_mbs = ue() + 1
    height_map_units = ue() + 1
    frame_mbs_only = u(1)
    if not frame_mbs_only:
        bits.skip(1)  # mb_adaptive_frame_field_flag
    bits.skip(1)  # direct_8x8_inference_flag
    width = width_mbs * 16
    height = height_map_units * 16 * (2 - frame_mbs_only)
    if width > MAX_SIDE or height > MAX_SIDE:
        raise bits.error(f"a picture of {width}x{height}, at most {MAX_SIDE} a side")
    if bits.flag():  # frame_cropping_flag
        crop_x, crop_y = _crop_units(0 if separate_colour_plane else chroma_format_idc, frame_mbs_only)
        left, right, top, bottom = ue(), ue(), ue(), ue()
        width -= crop_x * (left + right)
        height -= crop_y * (top + bottom)
        if width <= 0 or height <= 0:
            raise bits.error(f"cropping leaves a picture of {width}x{height}")
    sar = frame_rate = reorder = None
    broken = False
    if bits.flag():  # vui_parameters_present_flag
        try:
            sar, frame_rate, reorder = _vui(bits)
        except DecodeError:  # decoders ignore it too, and the picture is whole without it
            broken = True
    if reorder is None and constraint_flags & 0x10 and profile_idc in (44, 86, 100, 110, 122, 244):
        reorder = 0  # E.2.1: inferred for the intra profiles
    return Sps(
        profile_idc, constraint_flags, level_idc, sps_id, chroma_format_idc, separate_colour_plane, bit_depth_luma, bit_depth_chroma,
        log2_max_frame_num, poc_type, log2_max_poc_lsb, max_num_ref_frames, width_mbs - 1, height_map_units - 1, frame_mbs_only,
        width, height, sar, frame_rate, reorder, broken,
    )  # fmt: skip


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    """scaling_list() of 7.3.2.1.1.1."""
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) & 0xFF
        last = following or last


def _crop_units(chroma_array_type: int, frame_mbs_only: int) -> tuple[int, int]:
    """CropUnitX, CropUnitY in luma samples (7-19 to 7-22)."""
    x, y = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}[chroma_array_type]
    return x, y * (2 - frame_mbs_only)


def _vui(bits: BitReader) -> tuple[tuple[int, int] | None, tuple[int, int] | None, int | None]:
    """vui_parameters() of E.1.1: sample aspect ratio, frame rate, max_num_reorder_frames."""
    sar: tuple[int, int] | None = None
    if bits.flag():  # aspect_ratio_info_present_flag
        sar = sample_aspect(bits)
    if bits.flag():  # overscan_info_present_flag
        bits.skip(1)
    if bits.flag():  # video_signal_type_present_flag
        bits.skip(4)
        if bits.flag():
            bits.skip(24)
    if bits.flag():  # chroma_loc_info_present_flag
        bits.ue()
        bits.ue()
    frame_rate: tuple[int, int] | None = None
    if bits.flag():  # timing_info_present_flag
        units, scale = bits.u(32), bits.u(32)
        bits.skip(1)
        if units and scale:
            units *= 2  # a frame has two fields' ticks (E.2.1)
            divisor = gcd(units, scale)
            frame_rate = (scale // divisor, units // divisor)
    nal_hrd = bits.flag()
    if nal_hrd:
        _skip_hrd(bits)
    vcl_hrd = bits.flag()
    if vcl_hrd:
        _skip_hrd(bits)
    if nal_hrd or vcl_hrd:
        bits.skip(1)
    bits.skip(1)  # pic_struct_present_flag
    reorder: int | None = None
    if bits.flag():  # bitstream_restriction_flag
        bits.skip(1)
        for _ in range(4):
            bits.ue()
        reorder = bits.ue_max(16, "max_num_reorder_frames")
    return sar, frame_rate, reorder


def sample_aspect(bits: BitReader) -> tuple[int, int] | None:
    """aspect_ratio_idc and what follows it, the same in H.264 and H.265."""
    idc = bits.u(8)
    if idc == _EXTENDED_SAR:
        width, height = bits.u(16), bits.u(16)
        return (width, height) if width and height else None
    return _SAMPLE_ASPECT[idc] if idc < len(_SAMPLE_ASPECT) else None


def _skip_hrd(bits: BitReader) -> None:
    """hrd_parameters() of E.1.2."""
    count = 1 + bits.ue_max(31, "cpb_cnt_minus1")
    bits.skip(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.skip(1)
    bits.skip(20)


# --- slices ---------------------------------------------------------------------------------------------------------------------

#: Bytes of a slice that hold every field read here: three codes of at most 9 bytes and three short fields.
_SLICE_HEAD = 48


def first_mb_in_slice(nalu: bytes) -> int:
    """first_mb_in_slice of a slice (types 1, 2, 5): 0 begins a new picture."""
    if len(nalu) > 1 and nalu[1] & 0x80:
        return 0
    return _slice_head(nalu).ue()


def slice_type(nalu: bytes) -> int:
    """SLICE_P, SLICE_B, SLICE_I, 3 (SP) or 4 (SI) of a slice (types 1, 2, 5)."""
    bits = _slice_head(nalu)
    bits.ue()
    return bits.ue_max(9, "slice_type") % 5


def _slice_head(nalu: bytes) -> BitReader:
    bits = BitReader(unescape(nalu[:_SLICE_HEAD]), "slice header")
    bits.skip(8)
    return bits


class SliceHeader(NamedTuple):
    """The beginning of slice_header() (7.3.3)."""

    first_mb_in_slice: int
    slice_type: int  #: as ``slice_type`` gives it
    pic_parameter_set_id: int
    frame_num: int
    field_pic_flag: bool
    bottom_field_flag: bool
    idr: bool
    reference: bool  #: nal_ref_idc is not 0
    pic_order_cnt_lsb: int | None  #: None unless pic_order_cnt_type is 0


def slice_header(nalu: bytes, sps: Sps) -> SliceHeader:
    """The beginning of a slice's header; ``sps`` is the active one."""
    bits = _slice_head(nalu)
    first_mb = bits.ue()
    kind = bits.ue_max(9, "slice_type") % 5
    pps_id = bits.ue_max(255, "pic_parameter_set_id")
    if sps.separate_colour_plane_flag:
        bits.skip(2)
    frame_num = bits.u(sps.log2_max_frame_num)
    field_pic = bottom = False
    if not sps.frame_mbs_only_flag:
        field_pic = bits.flag()
        if field_pic:
            bottom = bits.flag()
    idr = nalu[0] & 0x1F == NAL_IDR
    if idr:
        bits.ue_max(65535, "idr_pic_id")
    lsb = bits.u(sps.log2_max_pic_order_cnt_lsb) if sps.pic_order_cnt_type == 0 else None
    return SliceHeader(first_mb, kind, pps_id, frame_num, field_pic, bottom, idr, bool(nalu[0] & 0x60), lsb)


class PocCounter:
    """Picture order counts of one stream, picture by picture in decoding order (8.2.1).

    ``next`` wants the first slice of each picture. Types 0 and 2 are counted; type 1, which no terminal is known to use,
    and a stream that begins without an IDR picture give None. memory_management_control_operation 5 is not looked for.
    """

    __slots__ = ("_frame_num", "_lsb", "_msb", "_offset", "_sps", "_started")

    def __init__(self, sps: Sps) -> None:
        self._sps = sps
        self._msb = self._lsb = self._frame_num = self._offset = 0
        self._started = False

    def next(self, nalu: bytes) -> int | None:
        """The picture order count of the picture that begins with this slice; None when it cannot be told."""
        sps = self._sps
        head = slice_header(nalu, sps)
        if head.idr:
            self._msb = self._lsb = self._frame_num = self._offset = 0
            self._started = True
        if not self._started:
            return None
        if head.pic_order_cnt_lsb is not None:
            return self._type_0(head, head.pic_order_cnt_lsb, 1 << sps.log2_max_pic_order_cnt_lsb)
        if sps.pic_order_cnt_type != 2:
            return None
        if head.frame_num < self._frame_num:  # 8-11
            self._offset += 1 << sps.log2_max_frame_num
        self._frame_num = head.frame_num
        count = 2 * (self._offset + head.frame_num)  # 8-12
        return count if head.reference or head.idr else count - 1

    def _type_0(self, head: SliceHeader, lsb: int, size: int) -> int:
        msb = self._msb  # 8-3
        if lsb < self._lsb and self._lsb - lsb >= size // 2:
            msb += size
        elif lsb > self._lsb and lsb - self._lsb > size // 2:
            msb -= size
        if head.reference:
            self._msb, self._lsb = msb, lsb
        return msb + lsb


def has_recovery_point(sei: bytes) -> bool:
    """The SEI NAL unit holds a recovery point message (D.1.8): decoding may start here without an IDR picture."""
    payload = unescape(sei[:MAX_PARAMETER_SET])
    offset = 1
    while offset + 1 < len(payload):  # at least one type and one size byte
        kind = size = 0
        while offset < len(payload) and payload[offset] == 0xFF:
            kind += 255
            offset += 1
        if offset + 1 >= len(payload):
            return False
        kind += payload[offset]
        offset += 1
        while offset < len(payload) and payload[offset] == 0xFF:
            size += 255
            offset += 1
        if offset >= len(payload):
            return False
        size += payload[offset]
        offset += 1
        if kind == 6:
            return True
        offset += size
    return False


# --- decoder configuration ------------------------------------------------------------------------------------------------------


def parameter_set_id(nalu: bytes) -> int:
    """seq_parameter_set_id of an SPS, pic_parameter_set_id of a PPS: a set replaces the one of the same type and number."""
    bits = BitReader(unescape(nalu[:_SLICE_HEAD]), "parameter set")
    bits.skip(32 if nal_type(nalu) == NAL_SPS else 8)
    return bits.ue_max(255, "parameter set id")


def rfc6381(sps: bytes) -> str:
    """The codec string of Media Source Extensions, from the SPS's bytes 1 to 3: ``avc1.4D0014``."""
    if len(sps) < 4:
        raise DecodeError("SPS", len(sps), f"{len(sps)} bytes are too few")
    return f"avc1.{sps[1]:02X}{sps[2]:02X}{sps[3]:02X}"


def avcc_record(sps_list: Sequence[bytes], pps_list: Sequence[bytes]) -> bytes:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1.2) with lengths of four bytes::

        01, profile, constraints, level, FC|3, E0|n, n x (u16 length, SPS), m, m x (u16 length, PPS)
        [FC|chroma_format, F8|bit_depth_luma-8, F8|bit_depth_chroma-8, 00]      High and its relatives
    """
    if not sps_list or not pps_list:
        raise UsageError("a decoder configuration needs an SPS and a PPS")
    if len(sps_list) > 31 or len(pps_list) > 255:
        raise DecodeError("AVCDecoderConfigurationRecord", 0, f"{len(sps_list)} SPS and {len(pps_list)} PPS are too many")
    first = sps_list[0]
    sps = parse_sps(first)
    parts = [b"\x01", first[1:4], b"\xff", (0xE0 | len(sps_list)).to_bytes(1, "big")]
    parts.extend(_sized(nalu) for nalu in sps_list)
    parts.append(len(pps_list).to_bytes(1, "big"))
    parts.extend(_sized(nalu) for nalu in pps_list)
    if sps.profile_idc in _RECORD_EXTENSION:
        parts.append(bytes((0xFC | sps.chroma_format_idc, 0xF8 | (sps.bit_depth_luma - 8), 0xF8 | (sps.bit_depth_chroma - 8), 0)))
    return b"".join(parts)


def _sized(nalu: bytes) -> bytes:
    if len(nalu) > MAX_PARAMETER_SET:
        raise DecodeError("AVCDecoderConfigurationRecord", 0, f"a parameter set of {len(nalu)} bytes")
    return len(nalu).to_bytes(2, "big") + nalu


def video_config(sps_list: Sequence[bytes], pps_list: Sequence[bytes]) -> VideoConfig:
    """The track's description from the parameter sets in use, the first SPS giving size and codec string."""
    return _video_config(tuple(sps_list), tuple(pps_list))


@lru_cache(maxsize=64)
def _video_config(sps_list: tuple[bytes, ...], pps_list: tuple[bytes, ...]) -> VideoConfig:
    record = avcc_record(sps_list, pps_list)
    sps = parse_sps(sps_list[0])
    return VideoConfig(
        codec="h264",
        parameter_sets=sps_list + pps_list,
        record=record,
        width=sps.width,
        height=sps.height,
        rfc6381=sps.rfc6381,
        reorder=(sps.max_num_reorder_frames or 0) if sps.may_reorder else 0,
    )
