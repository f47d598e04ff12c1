"""H.265 (ITU-T H.265, ISO/IEC 23008-2): NAL unit types, parameter sets, slice headers, the decoder configuration.

NAL unit header, two bytes (7.3.1.2)::

    forbidden_zero_bit 1 | nal_unit_type 6 | nuh_layer_id 6 | nuh_temporal_id_plus1 3

SPS after its header and after removal of the emulation prevention bytes (7.3.2.2.1, 7.3.3)::

    vps id 4 | max_sub_layers_minus1 3 | nesting 1
    profile_space 2 | tier 1 | profile_idc 5 | compatibility 32 | constraints 48 | level_idc 8 | sub-layers | sps id | …
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import gcd
from typing import NamedTuple

from relay.codec.bitreader import MAX_PARAMETER_SET, BitReader
from relay.codec.frame import VideoConfig
from relay.codec.h264 import MAX_SIDE, sample_aspect
from relay.codec.nalu import unescape
from relay.errors import DecodeError, UsageError

NAL_TRAIL_N = 0
NAL_RASL_N = 8
NAL_RASL_R = 9
NAL_BLA_W_LP = 16
NAL_IDR_W_RADL = 19
NAL_IDR_N_LP = 20
NAL_CRA = 21
NAL_RESERVED_IRAP_23 = 23
NAL_VPS = 32
NAL_SPS = 33
NAL_PPS = 34
NAL_AUD = 35
NAL_END_OF_SEQUENCE = 36
NAL_END_OF_STREAM = 37
NAL_FILLER = 38
NAL_SEI_PREFIX = 39
NAL_SEI_SUFFIX = 40

#: Types below this one carry slices.
NAL_VCL_END = 32

#: Types that are no part of an output sample: parameter sets live in the configuration, delimiters, ends and filler carry no picture.
NOT_IN_SAMPLES = frozenset({NAL_VPS, NAL_SPS, NAL_PPS, NAL_AUD, NAL_END_OF_SEQUENCE, NAL_END_OF_STREAM, NAL_FILLER})

SLICE_B = 0
SLICE_P = 1
SLICE_I = 2

_PROFILE_NAMES = {1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Rext", 5: "High Throughput", 9: "SCC"}


class Sps(NamedTuple):
    """What a sequence parameter set says; names are the syntax elements' own where one stands behind the value."""

    vps_id: int
    max_sub_layers: int
    temporal_id_nesting: bool
    general_profile_space: int
    general_tier_flag: int
    general_profile_idc: int
    general_profile_compatibility_flags: int  #: 32 bits, flag 0 in the top bit
    general_constraint_indicator: bytes  #: 6 bytes: progressive, interlaced, non-packed, frame-only and the reserved ones
    general_level_idc: int  #: thirty times the level
    seq_parameter_set_id: int
    chroma_format_idc: int
    separate_colour_plane_flag: bool
    coded_width: int
    coded_height: int
    width: int  #: pixels, within the conformance window
    height: int
    bit_depth_luma: int
    bit_depth_chroma: int
    log2_max_poc_lsb: int
    max_num_reorder_pics: int  #: of the highest sub-layer
    sar: tuple[int, int] | None
    frame_rate: tuple[int, int] | None  #: from the VUI's timing, reduced; a hint
    vui_broken: bool  #: something behind the picture's size could not be read; size and profile are good

    @property
    def codec(self) -> str:
        return "h265"

    @property
    def profile(self) -> str:
        """The profile's name (Annex A), ``""`` when it has none that we know."""
        return _PROFILE_NAMES.get(self.general_profile_idc, "")

    @property
    def rfc6381(self) -> str:
        """ISO/IEC 14496-15 Annex E.3: profile, reversed compatibility flags, tier and level, constraint bytes without trailing zeros."""
        space = ("", "A", "B", "C")[self.general_profile_space]
        reversed_flags = int(f"{self.general_profile_compatibility_flags:032b}"[::-1], 2)
        tier = "H" if self.general_tier_flag else "L"
        parts = [f"hvc1.{space}{self.general_profile_idc}", f"{reversed_flags:X}", f"{tier}{self.general_level_idc}"]
        parts.extend(f"{byte:X}" for byte in self.general_constraint_indicator.rstrip(b"\x00"))
        return ".".join(parts)

    def describe(self) -> dict[str, object]:
        """By the names of the vectors (spec of the media stream, section 11); coded size and rate as in ``h264.Sps.describe``."""
        return {
            "codec": self.codec,
            "width": self.width,
            "height": self.height,
            "profile": self.profile,
            "general_profile_idc": self.general_profile_idc,
            "general_tier_flag": self.general_tier_flag,
            "general_profile_compatibility_flags": f"{self.general_profile_compatibility_flags:08x}",
            "general_constraint_indicator": self.general_constraint_indicator.hex(),
            "general_level_idc": self.general_level_idc,
            "rfc6381": self.rfc6381,
            "coded_width": self.width,
            "coded_height": self.height,
            "sar": None if self.sar is None else f"{self.sar[0]}:{self.sar[1]}",
            "fps_hint": "25/1" if self.frame_rate is None else f"{self.frame_rate[0]}/{self.frame_rate[1]}",
            "chroma_format_idc": self.chroma_format_idc,
            "bit_depth_luma_minus8": self.bit_depth_luma - 8,
            "bit_depth_chroma_minus8": self.bit_depth_chroma - 8,
            "sps_max_num_reorder_pics": self.max_num_reorder_pics,
        }


class Pps(NamedTuple):
    """The beginning of a picture parameter set: what is needed to read a slice header."""

    pic_parameter_set_id: int
    seq_parameter_set_id: int
    dependent_slice_segments_enabled_flag: bool
    output_flag_present_flag: bool
    num_extra_slice_header_bits: int


def nal_type(nalu: bytes) -> int:
    """nal_unit_type of a NAL unit that is not empty."""
    return nalu[0] >> 1 & 0x3F


def is_irap(kind: int) -> bool:
    """The type is an intra random access point's (BLA, IDR, CRA and the two reserved ones, 16 to 23)."""
    return NAL_BLA_W_LP <= kind <= NAL_RESERVED_IRAP_23


def is_key(nalus: Iterable[bytes]) -> bool:
    """The access unit holds an IRAP picture: a decoder may start here, whatever the packet's data type said."""
    return any(NAL_BLA_W_LP <= nalu[0] >> 1 & 0x3F <= NAL_RESERVED_IRAP_23 for nalu in nalus)


def _open(nalu: bytes, kind: int, name: str) -> BitReader:
    if len(nalu) < 4:
        raise DecodeError(name, len(nalu), f"{len(nalu)} bytes are too few")
    if len(nalu) > MAX_PARAMETER_SET:
        raise DecodeError(name, MAX_PARAMETER_SET, f"{len(nalu)} bytes are too many")
    if nalu[0] & 0x80 or nal_type(nalu) != kind:
        raise DecodeError(name, 0, f"NAL unit header {nalu[:2].hex()} is not that of a {name}")
    bits = BitReader(unescape(nalu), name)
    bits.skip(16)
    return bits


def parse_vps_id(vps: bytes) -> int:
    """vps_video_parameter_set_id; ``DecodeError`` for anything that is not a VPS."""
    return _open(vps, NAL_VPS, "VPS").u(4)


@lru_cache(maxsize=256)
def parse_pps(pps: bytes) -> Pps:
    """The beginning of a picture parameter set with its NAL unit header (7.3.2.3.1)."""
    bits = _open(pps, NAL_PPS, "PPS")
    pps_id = bits.ue_max(63, "pps_pic_parameter_set_id")
    sps_id = bits.ue_max(15, "pps_seq_parameter_set_id")
    dependent, output_flag = bits.flag(), bits.flag()
    return Pps(pps_id, sps_id, dependent, output_flag, bits.u(3))


@lru_cache(maxsize=256)
def parse_sps(sps: bytes) -> Sps:
    """A sequence parameter set with its NAL unit header (7.3.2.2.1). ``DecodeError`` for anything that is not one."""
    bits = _open(sps, NAL_SPS, "SPS")
    u, ue = bits.u, bits.ue
    vps_id = u(4)
    max_sub_layers = u(3) + 1
    if max_sub_layers > 7:
        raise bits.error("sps_max_sub_layers_minus1 is 7, at most 6")
    nesting = bits.flag()
    space, tier, profile = u(2), u(1), u(5)
    compatibility = u(32)
    constraints = u(48).to_bytes(6, "big")
    level = u(8)
    _skip_sub_layers(bits, max_sub_layers - 1)
    sps_id = bits.ue_max(15, "sps_seq_parameter_set_id")
    chroma_format_idc = bits.ue_max(3, "chroma_format_idc")
    separate_colour_plane = bits.flag() if chroma_format_idc == 3 else False
    coded_width, coded_height = ue(), ue()
    if not 0 < coded_width <= MAX_SIDE or not 0 < coded_height <= MAX_SIDE:
        raise bits.error(f"a picture of {coded_width}x{coded_height}, 1 to {MAX_SIDE} a side")
    width, height = coded_width, coded_height
    if bits.flag():  # conformance_window_flag
        unit_x, unit_y = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}[chroma_format_idc]  # SubWidthC, SubHeightC, table 6-1
        left, right, top, bottom = ue(), ue(), ue(), ue()
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
        if width <= 0 or height <= 0:
            raise bits.error(f"the conformance window leaves a picture of {width}x{height}")
    depth_luma = 8 + bits.ue_max(8, "bit_depth_luma_minus8")
    depth_chroma = 8 + bits.ue_max(8, "bit_depth_chroma_minus8")
    log2_max_poc_lsb = 4 + bits.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")
    reorder = 0
    all_layers = bits.flag()  # sps_sub_layer_ordering_info_present_flag
    for _ in range(max_sub_layers if all_layers else 1):
        ue()  # sps_max_dec_pic_buffering_minus1
        reorder = bits.ue_max(16, "sps_max_num_reorder_pics")
        ue()  # sps_max_latency_increase_plus1
    sar: tuple[int, int] | None = None
    frame_rate: tuple[int, int] | None = None
    broken = False
    try:
        sar, frame_rate = _tail(bits, log2_max_poc_lsb, chroma_format_idc)
    except DecodeError:  # aspect and timing are hints; what decoders and containers need has been read
        broken = True
    return Sps(
        vps_id, max_sub_layers, nesting, space, tier, profile, compatibility, constraints, level, sps_id, chroma_format_idc,
        separate_colour_plane, coded_width, coded_height, width, height, depth_luma, depth_chroma, log2_max_poc_lsb, reorder,
        sar, frame_rate, broken,
    )  # fmt: skip


def _skip_sub_layers(bits: BitReader, count: int) -> None:
    """The sub-layer part of profile_tier_level() (7.3.3)."""
    if not count:
        return
    present = [(bits.flag(), bits.flag()) for _ in range(count)]
    bits.skip(2 * (8 - count))
    for profile, level in present:
        bits.skip(88 * profile + 8 * level)


def _tail(bits: BitReader, log2_max_poc_lsb: int, chroma_format_idc: int) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """From the coding block sizes to the VUI: sample aspect ratio and frame rate."""
    for _ in range(6):  # log2 sizes of coding and transform blocks, transform hierarchy depths
        bits.ue()
    if bits.flag() and bits.flag():  # scaling_list_enabled_flag, sps_scaling_list_data_present_flag
        _skip_scaling_lists(bits, chroma_format_idc)
    bits.skip(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag():  # pcm_enabled_flag
        bits.skip(8)
        bits.ue()
        bits.ue()
        bits.skip(1)
    sizes: list[int] = []  # NumDeltaPocs of each set
    for index in range(bits.ue_max(64, "num_short_term_ref_pic_sets")):
        sizes.append(_skip_reference_set(bits, index, sizes))
    if bits.flag():  # long_term_ref_pics_present_flag
        for _ in range(bits.ue_max(32, "num_long_term_ref_pics_sps")):
            bits.skip(log2_max_poc_lsb + 1)
    bits.skip(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    if not bits.flag():  # vui_parameters_present_flag
        return None, None
    return _vui(bits)


def _skip_scaling_lists(bits: BitReader, chroma_format_idc: int) -> None:
    """scaling_list_data() of 7.3.4; chroma_format_idc 3 changes nothing in its length."""
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.flag():
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + 2 * size))):
                bits.se()


def _skip_reference_set(bits: BitReader, index: int, sizes: list[int]) -> int:
    """st_ref_pic_set() of 7.3.7 within an SPS; the number of its pictures (NumDeltaPocs, 7-71, at most 16)."""
    if index and bits.flag():  # inter_ref_pic_set_prediction_flag
        bits.skip(1)
        bits.ue()
        count = 0
        for _ in range(sizes[index - 1] + 1):
            used = bits.flag()
            if used or bits.flag():
                count += 1
        if count > 16:
            raise bits.error(f"a reference picture set of {count} pictures, at most 16")
        return count
    negative = bits.ue_max(16, "num_negative_pics")
    positive = bits.ue_max(16 - negative, "num_positive_pics")
    for _ in range(negative + positive):
        bits.ue()
        bits.skip(1)
    return negative + positive


def _vui(bits: BitReader) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """vui_parameters() of E.2.1 up to its timing."""
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
    bits.skip(3)  # neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag
    if bits.flag():  # default_display_window_flag
        for _ in range(4):
            bits.ue()
    frame_rate: tuple[int, int] | None = None
    if bits.flag():  # vui_timing_info_present_flag
        units, scale = bits.u(32), bits.u(32)
        if units and scale:
            divisor = gcd(units, scale)
            frame_rate = (scale // divisor, units // divisor)
    return sar, frame_rate


# --- slices ---------------------------------------------------------------------------------------------------------------------

#: Bytes of a slice that hold every field read here.
_SLICE_HEAD = 48


def first_slice_in_picture(nalu: bytes) -> bool:
    """first_slice_segment_in_pic_flag of a slice (types below 32): a new picture begins."""
    return len(nalu) > 2 and bool(nalu[2] & 0x80)


class SliceHeader(NamedTuple):
    """The beginning of slice_segment_header() (7.3.6.1) of a picture's first slice segment."""

    nal_type: int
    temporal_id: int
    pic_parameter_set_id: int
    slice_type: int
    pic_order_cnt_lsb: int  #: 0 for IDR pictures


def slice_header(nalu: bytes, sps: Sps, pps: Pps) -> SliceHeader:
    """The beginning of the header of a picture's first slice segment; ``sps`` and ``pps`` are the active ones."""
    kind = nal_type(nalu)
    if kind >= NAL_VCL_END:
        raise DecodeError("slice header", 0, f"NAL unit type {kind} is not a slice")
    bits = BitReader(unescape(nalu[:_SLICE_HEAD]), "slice header")
    bits.skip(13)
    temporal_id = bits.u(3) - 1
    if not bits.flag():
        raise bits.error("not the first slice segment of its picture")
    if is_irap(kind):
        bits.skip(1)  # no_output_of_prior_pics_flag
    pps_id = bits.ue_max(63, "slice_pic_parameter_set_id")
    bits.skip(pps.num_extra_slice_header_bits)
    slice_type = bits.ue_max(2, "slice_type")
    if pps.output_flag_present_flag:
        bits.skip(1)
    if sps.separate_colour_plane_flag:
        bits.skip(2)
    lsb = 0 if kind in (NAL_IDR_W_RADL, NAL_IDR_N_LP) else bits.u(sps.log2_max_poc_lsb)
    return SliceHeader(kind, temporal_id, pps_id, slice_type, lsb)


class PocCounter:
    """Picture order counts of one stream, picture by picture in decoding order (8.3.1). ``next`` wants the first slice of each picture."""

    __slots__ = ("_lsb", "_msb", "_pps", "_sps", "_started")

    def __init__(self, sps: Sps, pps: Pps) -> None:
        self._sps = sps
        self._pps = pps
        self._msb = self._lsb = 0
        self._started = False

    def next(self, nalu: bytes) -> int | None:
        """The picture order count of the picture that begins with this slice; None before the first IRAP picture."""
        head = slice_header(nalu, self._sps, self._pps)
        kind, lsb = head.nal_type, head.pic_order_cnt_lsb
        restart = is_irap(kind) and (kind != NAL_CRA or not self._started)  # NoRaslOutputFlag
        if restart:
            self._started = True
            msb = 0
        elif not self._started:
            return None
        else:
            msb, size = self._msb, 1 << self._sps.log2_max_poc_lsb
            if lsb < self._lsb and self._lsb - lsb >= size // 2:
                msb += size
            elif lsb > self._lsb and lsb - self._lsb > size // 2:
                msb -= size
        # prevTid0Pic: temporal layer 0, neither RASL, RADL (6 to 9) nor a sub-layer non-reference picture (even types below 16)
        if head.temporal_id == 0 and not 6 <= kind <= 9 and (kind >= 16 or kind & 1):
            self._msb, self._lsb = msb, lsb
        return msb + lsb


# --- decoder configuration ------------------------------------------------------------------------------------------------------


def parameter_set_id(nalu: bytes) -> int:
    """The number of a VPS, SPS or PPS: a set replaces the one of the same type and number."""
    kind = nal_type(nalu)
    if kind == NAL_SPS:
        return parse_sps(nalu).seq_parameter_set_id
    return parse_vps_id(nalu) if kind == NAL_VPS else parse_pps(nalu).pic_parameter_set_id


def rfc6381(sps: bytes) -> str:
    """The codec string of Media Source Extensions: ``hvc1.1.6.L93.90``."""
    return parse_sps(sps).rfc6381


def hvcc_record(vps_list: Sequence[bytes], sps_list: Sequence[bytes], pps_list: Sequence[bytes]) -> bytes:
    """HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1.2) with lengths of four bytes::

        01, space 2 tier 1 profile 5, compatibility u32, constraints 6 bytes, level,
        F000|min_spatial_segmentation, FC|parallelism, FC|chroma_format, F8|depth_luma-8, F8|depth_chroma-8,
        average frame rate u16, constant rate 2 layers 3 nested 1 length size 2,
        arrays n, n x (80|type, u16 count, count x (u16 length, NAL))

    The arrays are complete (the top bit), as ``hvc1`` demands.
    """
    if not sps_list or not pps_list:
        raise UsageError("a decoder configuration needs an SPS and a PPS")
    sps = parse_sps(sps_list[0])
    arrays = [(kind, nalus) for kind, nalus in ((NAL_VPS, vps_list), (NAL_SPS, sps_list), (NAL_PPS, pps_list)) if nalus]
    parts = [
        bytes((1, sps.general_profile_space << 6 | sps.general_tier_flag << 5 | sps.general_profile_idc)),
        sps.general_profile_compatibility_flags.to_bytes(4, "big"),
        sps.general_constraint_indicator,
        bytes((sps.general_level_idc, 0xF0, 0x00, 0xFC, 0xFC | sps.chroma_format_idc)),
        bytes((0xF8 | sps.bit_depth_luma - 8, 0xF8 | sps.bit_depth_chroma - 8)),
        bytes((0, 0, sps.max_sub_layers << 3 | sps.temporal_id_nesting << 2 | 3, len(arrays))),
    ]
    for kind, nalus in arrays:
        if len(nalus) > 64:  # pps ids end at 63
            raise DecodeError("HEVCDecoderConfigurationRecord", 0, f"{len(nalus)} parameter sets of type {kind}")
        parts.append(bytes((0x80 | kind, 0, len(nalus))))
        for nalu in nalus:
            if len(nalu) > MAX_PARAMETER_SET:
                raise DecodeError("HEVCDecoderConfigurationRecord", 0, f"a parameter set of {len(nalu)} bytes")
            parts.append(len(nalu).to_bytes(2, "big") + nalu)
    return b"".join(parts)


def video_config(vps_list: Sequence[bytes], sps_list: Sequence[bytes], pps_list: Sequence[bytes]) -> VideoConfig:
    """The track's description from the parameter sets in use, the first SPS giving size and codec string."""
    return _video_config(tuple(vps_list), tuple(sps_list), tuple(pps_list))


@lru_cache(maxsize=64)
def _video_config(vps_list: tuple[bytes, ...], sps_list: tuple[bytes, ...], pps_list: tuple[bytes, ...]) -> VideoConfig:
    record = hvcc_record(vps_list, sps_list, pps_list)
    sps = parse_sps(sps_list[0])
    return VideoConfig(
        codec="h265",
        parameter_sets=vps_list + sps_list + pps_list,
        record=record,
        width=sps.width,
        height=sps.height,
        rfc6381=sps.rfc6381,
        reorder=sps.max_num_reorder_pics,
    )
