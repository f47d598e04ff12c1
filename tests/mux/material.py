"""Frames for the muxers' tests out of the shared captures, by the shortest way there is: no reassembly rules, no clock repair.

What the product does with a stream is ``relay.jt1078`` and ``relay.hub``; here only whole, undamaged captures are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from relay.codec import aac, audio, h264, h265, hisi
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import split_annexb, to_avcc

_HEADER = {0: 30, 1: 30, 2: 30, 3: 26, 4: 18}


@dataclass
class Material:
    """One capture's frames in order of sending, stamps from 0."""

    video: VideoConfig | None = None
    audio: AudioConfig | None = None
    frames: list[Frame] = field(default_factory=list)
    units: list[list[bytes]] = field(default_factory=list)  #: NAL units of each picture, as they are in the samples

    @property
    def pictures(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind == VIDEO]

    @property
    def blocks(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind == AUDIO]


def packets(data: bytes) -> list[tuple[int, int, int, int, bytes]]:
    """(payload type, data type, sub-package, timestamp, body) of each packet."""
    found = []
    offset = 0
    while offset + 30 <= len(data):
        assert data[offset : offset + 4] == b"01cd"
        data_type, part = data[offset + 15] >> 4, data[offset + 15] & 15
        header = _HEADER[data_type]
        size = int.from_bytes(data[offset + header - 2 : offset + header], "big")
        stamp = int.from_bytes(data[offset + 16 : offset + 24], "big") if data_type < 4 else 0
        found.append((data[offset + 5] & 0x7F, data_type, part, stamp, data[offset + header : offset + header + size]))
        offset += header + size
    return found


def load(path: Path, source: AudioConfig | None = None) -> Material:
    """The material of one capture; ``source`` describes sound that only a detection could tell."""
    material = Material()
    sets: dict[int, bytes] = {}
    first = None
    body = b""
    reader = aac.AacReader()
    for pt, data_type, part, stamp, piece in packets(path.read_bytes()):
        first = stamp if first is None else first
        if data_type == 4:
            continue
        if data_type == 3:
            _sound(material, pt, stamp - first, piece, source, reader)
            continue
        body = piece if part in (0, 1) else body + piece
        if part in (0, 2):
            _picture(material, h264 if pt == 98 else h265, sets, stamp - first, body)
            body = b""
    _decoding_times(material)
    return material


def _picture(material: Material, codec: object, sets: dict[int, bytes], at: int, body: bytes) -> None:
    unit = []
    for nalu in split_annexb(body):
        kind = codec.nal_type(nalu)  # type: ignore[attr-defined]
        if kind in ((7, 8) if codec is h264 else (32, 33, 34)):
            sets[kind] = nalu
        elif kind not in codec.NOT_IN_SAMPLES:  # type: ignore[attr-defined]
            unit.append(nalu)
    if codec is h264:
        config = h264.video_config([sets[7]], [sets[8]])
    else:
        config = h265.video_config([sets[32]], [sets[33]], [sets[34]])
    material.video = material.video or config
    assert config == material.video
    material.units.append(unit)
    key = codec.is_key(unit)  # type: ignore[attr-defined]
    material.frames.append(Frame(VIDEO, at, at, key, to_avcc(unit), config))


def _sound(material: Material, pt: int, at: int, body: bytes, source: AudioConfig | None, reader: aac.AacReader) -> None:
    data = hisi.strip(body)
    if pt == 19:
        for config, raw in reader.feed(data):
            material.audio = config
            material.frames.append(Frame(AUDIO, at, at, True, raw, config, 1024))
        return
    config = source or AudioConfig({6: "g711a", 7: "g711u"}[pt], 8000, 1)
    material.audio = config
    material.frames.append(Frame(AUDIO, at, at, True, data, config, audio.sample_count(config, data)))


def _decoding_times(material: Material) -> None:
    """Where stamps go up and down they are presentation times in decoding order: the sorted stamps, moved so that none is late, decode them."""
    pictures = material.pictures
    shown = [frame.pts for frame in pictures]
    order = sorted(shown)
    if shown == order:
        return
    shift = max(d - p for d, p in zip(order, shown, strict=True))
    for frame, dts in zip(pictures, order, strict=True):
        frame.dts = dts
        frame.pts += shift
    for frame in material.blocks:
        frame.dts = frame.pts = frame.pts + shift
    material.frames.sort(key=lambda frame: frame.dts)
