"""NAL units, sequence and picture parameter set of the test card (ITU-T H.264 clauses 7.3.1, 7.3.2, Annex A and E)."""

from __future__ import annotations

import re

from relay.errors import UsageError
from relay.sim.cavlc import se, to_bytes, ue

START_CODE = b"\x00\x00\x00\x01"

#: Table A-1: level_idc, macroblocks a second, macroblocks a picture
_LEVELS = ((13, 11880, 396), (21, 19800, 792), (22, 20250, 1620), (30, 40500, 1620), (31, 108000, 3600), (40, 245760, 8192), (51, 983040, 36864))


def _escape(rbsp: bytes) -> bytes:
    """emulation_prevention_three_byte wherever a start code would appear."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", rbsp)


def nal(header: int, bits: str) -> bytes:
    """A NAL unit with its start code; ``bits`` without the stop bit."""
    return START_CODE + bytes((header,)) + _escape(to_bytes(bits))


def level_idc(columns: int, rows: int, fps: int) -> int:
    """The lowest level that allows this size at this rate."""
    size = columns * rows
    for level, a_second, a_picture in _LEVELS:
        if size <= a_picture and size * fps <= a_second and max(columns, rows) ** 2 <= 8 * a_picture:
            return level
    raise UsageError(f"{columns}x{rows} macroblocks at {fps} fps are beyond level 5.1")


def sps(columns: int, rows: int, fps: int) -> str:
    """seq_parameter_set_rbsp: Constrained Baseline, picture order count type 0, BT.601 colours, timing, no reordering."""
    vui = "".join(
        (
            "1" + f"{1:08b}",  # aspect_ratio_info: square
            "0",  # overscan
            "1" + f"{5:03b}" + "0" + "1" + f"{6:08b}{6:08b}{6:08b}",  # video_signal_type: limited range, SMPTE 170M throughout
            "0",  # chroma_loc_info
            "1" + f"{1:032b}{2 * fps:032b}" + "1",  # timing_info: fixed frame rate
            "00" + "0",  # HRD parameters, pic_struct
            "1" + "1" + ue(0) + ue(0) + ue(11) + ue(11) + ue(0) + ue(1),  # bitstream_restriction: max_num_reorder_frames 0, one frame buffered
        )
    )
    return "".join(
        (
            f"{66:08b}",
            "11000000",  # constraint_set0_flag, constraint_set1_flag
            f"{level_idc(columns, rows, fps):08b}",
            ue(0),  # seq_parameter_set_id
            ue(0),  # log2_max_frame_num_minus4
            ue(0),  # pic_order_cnt_type
            ue(8),  # log2_max_pic_order_cnt_lsb_minus4
            ue(1),  # max_num_ref_frames
            "0",  # gaps_in_frame_num_value_allowed_flag
            ue(columns - 1),
            ue(rows - 1),
            "1",  # frame_mbs_only_flag
            "1",  # direct_8x8_inference_flag
            "0",  # frame_cropping_flag
            "1" + vui,
        )
    )


def pps(qp: int) -> str:
    """pic_parameter_set_rbsp: CAVLC, one reference, deblocking told by each slice; its QP is the one that slice_qp_delta 0 means."""
    return "".join((ue(0), ue(0), "0", "0", ue(0), ue(0), ue(0), "0", "00", se(qp - 26), se(0), se(0), "1", "0", "0"))
