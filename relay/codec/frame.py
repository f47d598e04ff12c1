"""What flows from the hub's input to every output: frames and the configurations they belong to.

A video ``Frame`` is one access unit with its NAL units length-prefixed (u32 each), which is what both FLV and fMP4
carry; an audio ``Frame`` is one block as the terminal coded it, container wrapping (HiSilicon header, ADTS) removed.
``dts`` and ``pts`` are milliseconds on the stream's output clock, which starts near 0, never decreases and is common
to sound and picture.
"""

from __future__ import annotations

from dataclasses import dataclass

VIDEO = 0
AUDIO = 1


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """A video track's description; equal configurations need no new header on any output."""

    codec: str  #: "h264" or "h265"
    parameter_sets: tuple[bytes, ...]  #: NAL units without start codes, in the order VPS, SPS, PPS
    record: bytes  #: AVCDecoderConfigurationRecord or HEVCDecoderConfigurationRecord
    width: int  #: pixels, cropped
    height: int  #: pixels, cropped
    rfc6381: str  #: "avc1.4D0014", "hvc1.1.6.L93.90"
    reorder: int = 0  #: frames that may precede in decoding order and follow in output order (0 = no B frames)


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """An audio track's description."""

    codec: str  #: "g711a" "g711u" "g726" "adpcm" "aac" "mp3" "pcm" (signed 16 bit little-endian) "flac" "opus" "amr" "pt<N>" (unknown)
    sample_rate: int  #: Hz
    channels: int
    extra: bytes = b""  #: AudioSpecificConfig for aac, STREAMINFO (34 bytes) for flac, OpusHead body for opus
    bits: int = 0  #: g726: bits a sample (2-5)
    layout: str = ""  #: g726: "le" or "be"; adpcm: "hisi", "ima-wav" or "raw-dvi4"

    @property
    def rfc6381(self) -> str:
        """Codec string for Media Source Extensions; empty where none exists."""
        return {"aac": "mp4a.40.2", "flac": "flac", "opus": "opus", "mp3": "mp3"}.get(self.codec, "")


class Frame:
    """One access unit or audio block; immutable by convention, shared by all outputs."""

    __slots__ = ("config", "data", "dts", "key", "kind", "pts", "samples", "source_time")

    def __init__(
        self,
        kind: int,
        dts: int,
        pts: int,
        key: bool,
        data: bytes,
        config: VideoConfig | AudioConfig,
        samples: int = 0,
        source_time: float = 0.0,
    ) -> None:
        self.kind = kind  #: VIDEO or AUDIO
        self.dts = dts  #: ms, decoding time
        self.pts = pts  #: ms, presentation time; equal to dts for audio
        self.key = key  #: a decoder may start here; True for every audio frame
        self.data = data  #: length-prefixed NAL units (no parameter sets, delimiters, filler), or the audio block
        self.config = config
        self.samples = samples  #: audio: samples per channel in the block
        self.source_time = source_time  #: monotonic seconds at which the frame's last byte was read, for the delay figures

    def __repr__(self) -> str:
        what = "video" if self.kind == VIDEO else "audio"
        return f"<Frame {what} dts={self.dts} pts={self.pts} key={self.key} {len(self.data)} bytes>"


def plain_picture(dts: int, data: bytes, config: VideoConfig | AudioConfig, source_time: float = 0.0) -> Frame:
    """A picture that is no key frame and is shown when it is decoded."""
    return Frame(VIDEO, dts, dts, False, data, config, 0, source_time)
