"""Frames as a terminal sends them: the packets of JT/T 1078-2016 table 19, for platforms and players that take the standard's own stream.

Every frame is cut into packets of at most 950 bytes (``relay.jt1078.packet`` draws one). What the standard leaves open is written as follows:

    sequence            one count for picture and sound, from 0, of this output
    time stamp          the output clock's milliseconds: presentation time of a picture, as terminals with B frames send it
    Last I/Last Frame   milliseconds since the previous key frame and the previous picture, 0 before there is one, 65535 at most
    data type           I for what a decoder may start at, B for a picture that no other refers to where there are B frames, else P
    picture             NAL units with start codes of four bytes, a key frame's after its parameter sets
    sound               the source's blocks without a HiSilicon header; AAC in ADTS frames; linear PCM of 8 kHz big-endian as PT 15 and 16 are
"""

from __future__ import annotations

from relay.codec import h264, pcm
from relay.codec.aac import with_adts
from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import START_CODE, from_avcc, to_annexb
from relay.errors import UsageError
from relay.jt1078.packet import DataType, packetize, sim_field
from relay.mux.base import unsupported

INTERVAL_MAX = 65535  #: the fields are WORDs
VIDEO_PT = {"h264": 98, "h265": 99}
_AUDIO_PT = {"g711a": 6, "g711u": 7, "g726": 8, "aac": 19, "mp3": 25, "adpcm": 26, "amr": 28}


def payload_type(audio: AudioConfig) -> int:
    """The number of table 12 for this sound; 0 when it has none."""
    codec = audio.codec
    if codec == "pcm":
        if audio.sample_rate == 8000:
            return 15 if audio.channels == 2 else 16
        return 22 if audio.channels == 1 else 0
    if codec == "adpcm" and audio.layout == "rtp-dvi4":
        return 13 if audio.sample_rate == 16000 else 12
    if codec.startswith("pt"):
        return int(codec[2:])
    return _AUDIO_PT.get(codec, 0)


def _is_reference(data: bytes) -> bool:
    """Other pictures may refer to this one: nal_ref_idc of its slices."""
    return any(nalu[0] & 0x60 for nalu in from_avcc(data) if h264.nal_type(nalu) in (1, 5))


class Jt1078Muxer:
    """``mux.base.Muxer`` for the packets of one (SIM, channel)."""

    content_type = "application/octet-stream"

    def __init__(self, sim: str, channel: int, sim_bytes: int = 0) -> None:
        """``sim_bytes``: width of the SIM field, 6 or 10; 0 = 6 where the number's digits fit, else 10 (JT/T 808-2019's numbers of 20 digits)."""
        self._sim = sim_field(sim, sim_bytes or (6 if len(sim) <= 12 else 10))
        self._channel = channel
        self._video: VideoConfig | None = None
        self._audio: AudioConfig | None = None
        self._sets = b""
        self._sequence = 0
        self._key_at = -1
        self._picture_at = -1

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        """Nothing needs to be told: parameter sets go before every key frame, and each packet names its codec."""
        for config in (video, audio):
            if config is not None and (why := unsupported("jt1078", config)):
                raise UsageError(why)
        self._video, self._audio = video, audio
        self._sets = to_annexb(video.parameter_sets) if video is not None else b""
        return b""

    def header(self) -> bytes:
        """There is none."""
        return b""

    def write(self, frame: Frame) -> bytes:
        if frame.kind == VIDEO:
            return self._picture(frame) if self._video is not None else b""
        audio = self._audio
        if audio is None:
            return b""
        data = frame.data
        pt = payload_type(audio)
        if pt == 19:
            data = with_adts(audio.extra, data)
        elif pt in (15, 16):
            data = pcm.swap(data)
        return self._packets(data, pt, DataType.AUDIO, frame.dts, 0, 0)

    def _picture(self, frame: Frame) -> bytes:
        video = self._video
        assert video is not None  # noqa: S101 - asked before
        data = frame.data
        size = len(data)
        if size > 4 and int.from_bytes(data[:4], "big") == size - 4:  # nearly every P picture: one slice
            data = b"\x00" + START_CODE + data[4:]
        else:
            data = to_annexb(from_avcc(data))
        at = frame.pts
        since_key = min(max(at - self._key_at, 0), INTERVAL_MAX) if self._key_at >= 0 else 0
        since_picture = min(max(at - self._picture_at, 0), INTERVAL_MAX) if self._picture_at >= 0 else 0
        self._picture_at = at
        if frame.key:
            self._key_at = at
            kind = DataType.VIDEO_I
            data = self._sets + data
        elif video.reorder and video.codec == "h264" and not _is_reference(frame.data):
            kind = DataType.VIDEO_B
        else:
            kind = DataType.VIDEO_P
        return self._packets(data, VIDEO_PT[video.codec], kind, at, since_key, since_picture)

    def _packets(self, data: bytes, pt: int, kind: DataType, at: int, since_key: int, since_picture: int) -> bytes:
        packets = packetize(
            data, sim=self._sim, channel=self._channel, pt=pt, data_type=kind, seq=self._sequence, timestamp=at,
            last_i_interval=since_key, last_frame_interval=since_picture,
        )  # fmt: skip
        self._sequence = (self._sequence + len(packets)) & 0xFFFF
        return b"".join(packets)
