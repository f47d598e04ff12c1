"""``jt1078relay inspect FILE``: what is in a recorded JT/T 1078 byte stream, as one JSON object with the keys of ``captures/INDEX.json``.

The recording goes through the relay's own receiving side, so what it says is what a stream would have got::

    FILE ── Demuxer (TCP) or DatagramDemuxer (--udp) ── whole frames ── Ingest (codec, configuration, loss policy, output clock)

``video_es_sha256`` and ``audio_payload_sha256`` are of all whole frames' bodies as sent; ``video_alt`` is what the default loss policy passes on.
Times are the terminal's; where its clock jumps, ``duration_ms`` is the time the stream plays.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

from relay.cli.common import InputError
from relay.cli.elementary import AudioFile, VideoFile
from relay.codec import h264, h265
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import split_annexb
from relay.errors import DecodeError
from relay.hub.ingest import Ingest
from relay.jt1078.assembly import RawFrame
from relay.jt1078.datagram import DatagramDemuxer
from relay.jt1078.demux import Demuxer
from relay.jt1078.packet import FIRST_VIDEO_PT, LAST_AUDIO_PT, LAST_VIDEO_PT, PAYLOAD_TYPES, DataType
from relay.jt1078.sequence import CHANNEL, KIND, NONE

SUMMARY = "tell what is in a recorded JT/T 1078 byte stream"

CHUNK = 65536
#: time stamps this far apart, or going back by more than B frames do, are a jump of the terminal's clock
JUMP_MS, BACK_MS = 2000, 1000
#: seen: real-gojt808-av, whose sound runs 60 to 100 ms ahead
AHEAD_MS = 500
#: datagrams among which one that comes again is looked for: duplicates are milliseconds apart
RECENT = 2048
RULE = "start at the first whole I frame; after a lost video frame drop until the next whole I frame"

#: names as people write them
_NAMES = {"g711a": "G.711A", "g711u": "G.711U", "adpcm": "ADPCM IMA/DVI4", "mp3": "MP3", "pcm": "PCM", "amr": "AMR"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="packets one after another, exactly as on the TCP stream")
    parser.add_argument("--udp", action="store_true", help="FILE holds datagrams: u32 arrival in ms, u16 length, datagram, again and again")
    parser.add_argument("--video", metavar="OUT", help="write the picture's elementary stream (Annex B)")
    parser.add_argument("--audio", metavar="OUT", help="write the sound as 16-bit WAV")
    parser.add_argument("--channel", type=int, metavar="N", help="the channel to write (default: the first that has it)")
    parser.add_argument("--sim-bytes", type=int, choices=(0, 6, 10), default=0, help="width of the SIM field (default: found out)")


def run(args: argparse.Namespace) -> int:
    with ExitStack() as stack:
        source = stack.enter_context(Path(args.file).open("rb"))
        video = VideoFile(stack.enter_context(Path(args.video).open("wb")), args.channel) if args.video else None
        audio = AudioFile(stack.enter_context(Path(args.audio).open("wb")), args.channel) if args.audio else None
        recording = Recording(Path(args.file).name, video, audio)
        if args.udp:
            recording.read_datagrams(source, args.sim_bytes)
        else:
            recording.read_stream(source, args.sim_bytes)
        report = recording.report()
        if audio is not None:
            audio.close()
    print(json.dumps(report, ensure_ascii=False, indent=1))
    if video is not None and not video.frames:
        raise InputError("there is no picture to write")
    if audio is not None and not audio.blocks:
        raise InputError("there is no sound to write")
    return 0


# -- what is counted ---------------------------------------------------------------------------------------------------------------------


class TrackCount:
    """One kind of media in one part of a channel."""

    def __init__(self) -> None:
        self.pt = -1
        self.frames = 0
        self.digest = hashlib.sha256()
        self.types = [0, 0, 0]
        self.keys = 0
        self.lost = 0  #: whole frames that never came, by the time stamps
        self.holes = 0  #: frames that are missing between others, incomplete ones too
        self.played_ms = 0  #: sum of the steps that are steps
        self.steps: dict[int, int] = {}
        self.last = -1
        self.jumps = 0

    def add(self, raw: RawFrame) -> int:
        """Count a frame; gives the step of the time stamps, 0 for the first and for jumps."""
        self.pt = raw.pt
        self.frames += 1
        self.digest.update(raw.body)
        step = raw.timestamp - self.last if self.last >= 0 else 0
        if not -BACK_MS <= step <= JUMP_MS:
            self.jumps += 1
            step = self.usual_step
        self.played_ms += step
        if step > 0 and raw.loss is None:
            self.steps[step] = self.steps.get(step, 0) + 1
        self.last = raw.timestamp
        return step

    def add_holes(self, raw: RawFrame, step: int) -> None:
        """After a loss: how many frames are missing, and how many of them came in part."""
        if raw.loss is not None and step > 0 and self.usual_step:
            missing = max(round(step / self.usual_step) - 1, 0)
            self.holes += missing
            self.lost += max(missing - raw.loss.frames, 0)

    @property
    def usual_step(self) -> int:
        return max(self.steps, key=lambda step: self.steps[step]) if self.steps else 0

    @property
    def hash(self) -> str | None:
        return self.digest.hexdigest() if self.frames else None


class Part:
    """A stretch of one channel with one configuration of the picture."""

    def __init__(self) -> None:
        self.video = TrackCount()
        self.audio = TrackCount()
        self.first_ts: int | None = None
        self.last_ts = 0
        self.first_key_ts: int | None = None
        self.alt_frames = 0
        self.alt_digest = hashlib.sha256()
        self.config: VideoConfig | None = None
        self.audio_config: AudioConfig | None = None
        self.audio_codec = ""

    def stamp(self, raw: RawFrame) -> None:
        if self.first_ts is None:
            self.first_ts = raw.timestamp
        self.last_ts = raw.timestamp

    def report(self, incomplete: int | None) -> dict[str, Any]:
        return {
            "video": self._video(incomplete),
            "audio": self._audio(),
            "duration_ms": self.duration_ms,
            "first_ts": self.first_ts,
            "last_ts": self.end_ts,
            "video_es_sha256": self.video.hash,
            "audio_payload_sha256": self.audio.hash,
        }

    @property
    def duration_ms(self) -> int:
        if self.first_ts is None:
            return 0
        if self.video.jumps or self.audio.jumps:
            return max(track.played_ms + track.usual_step for track in (self.video, self.audio))
        return max((self.end_ts or 0) - self.first_ts, 0)

    @property
    def end_ts(self) -> int | None:
        """The last time stamp. Sound that terminals send some frames ahead of the picture does not make a recording longer."""
        if self.first_ts is None:
            return None
        ahead = self.audio.last - self.video.last
        if self.video.frames and max(self.video.usual_step, self.audio.usual_step) < ahead <= AHEAD_MS:
            return self.video.last
        return self.last_ts

    def _video(self, incomplete: int | None) -> dict[str, Any] | None:
        track = self.video
        if not track.frames:
            return None
        out: dict[str, Any] = {"codec": PAYLOAD_TYPES.get(track.pt, f"pt{track.pt}")}
        if self.config is not None:
            out["codec"] = self.config.codec
            profile, level = _profile(self.config)
            out.update(profile=profile, level=level, width=self.config.width, height=self.config.height)
        frames = track.frames + track.holes - 1
        out["fps"] = round(frames * 1000 / track.played_ms, 2) if track.played_ms > 0 else 0
        out.update(frames=track.frames, iframes=track.types[0], b_frames=track.types[2], iframes_true=track.keys)
        if incomplete is not None:
            out["incomplete_frames"] = incomplete
        return out

    def _audio(self) -> dict[str, Any] | None:
        track = self.audio
        if not track.frames:
            return None
        config = self.audio_config
        out: dict[str, Any] = {"pt": track.pt, "name": self._audio_name(), "frames": track.frames}
        if config is not None:
            out.update(sample_rate=config.sample_rate, channels=config.channels)
            if config.layout:
                out["layout"] = config.layout
        return out

    def _audio_name(self) -> str:
        config = self.audio_config
        if config is None:
            return PAYLOAD_TYPES.get(self.audio.pt, f"pt{self.audio.pt}")
        if config.codec == "g726":
            return f"G.726 {8 * config.bits}k"
        if config.codec == "aac":
            return f"AAC ({self.audio_codec})" if self.audio_codec else "AAC"
        return _NAMES.get(config.codec, PAYLOAD_TYPES.get(self.audio.pt, config.codec))


def _profile(config: VideoConfig) -> tuple[str, int]:
    sets = config.parameter_sets
    try:
        if config.codec == "h264":
            sps = h264.parse_sps(sets[0])
            return sps.profile, sps.level_idc
        hevc = h265.parse_sps(next(one for one in sets if h265.nal_type(one) == h265.NAL_SPS))
        return hevc.profile, hevc.general_level_idc
    except (DecodeError, StopIteration):
        return "", 0


class Channel:
    """One (SIM, channel)."""

    def __init__(self, sim: str, channel: int) -> None:
        self.sim = sim
        self.channel = channel
        self.ingest = Ingest(sim, channel)
        self.parts = [Part()]
        self._fresh: list[RawFrame] = []  #: sound since the last picture: at a switch some of it belongs to the new part

    def add(self, raw: RawFrame) -> list[Frame]:
        """Count a frame; gives what the stream would have passed on."""
        if raw.data_type == DataType.TRANSPARENT or raw.pt == 91:
            return []
        frames = self.ingest.push(raw, raw.arrival)
        if 1 <= raw.pt <= LAST_AUDIO_PT:
            self._sound(raw, frames)
        else:
            self._picture(raw, frames)
        return frames

    def _picture(self, raw: RawFrame, frames: list[Frame]) -> None:
        pictures = [frame for frame in frames if frame.kind == VIDEO]
        part = self.parts[-1]
        if pictures:
            config = cast(VideoConfig, pictures[0].config)
            if part.config is not None and config != part.config and _shape(config) != _shape(part.config):
                part = self._switch(raw)
            part.config = config
            part.alt_frames += 1
            part.alt_digest.update(raw.body)
        self._flush()
        track = part.video
        step = track.add(raw)
        part.stamp(raw)
        track.types[min(raw.data_type, 2)] += raw.data_type <= 2
        if self._is_key(raw):
            track.keys += 1
            if part.first_key_ts is None:
                part.first_key_ts = raw.timestamp
        track.add_holes(raw, step)

    def _sound(self, raw: RawFrame, frames: list[Frame]) -> None:
        part = self.parts[-1]
        for frame in frames:
            if frame.kind == AUDIO:
                part.audio_config = cast(AudioConfig, frame.config)
        part.audio_codec = part.audio_codec or ("ADTS" if raw.body[:1] == b"\xff" else "raw")
        self._fresh.append(raw)
        if len(self._fresh) > 512:
            self._flush()

    def _flush(self) -> None:
        part = self.parts[-1]
        for raw in self._fresh:
            step = part.audio.add(raw)
            part.stamp(raw)
            part.audio.add_holes(raw, step)
        self._fresh.clear()

    def _switch(self, raw: RawFrame) -> Part:
        """Another stream goes on here (0x9102): what is stamped from now on belongs to it."""
        fresh, old = self._fresh, self.parts[-1]
        self._fresh = [one for one in fresh if one.timestamp < raw.timestamp]
        self._flush()
        self._fresh = [one for one in fresh if one.timestamp >= raw.timestamp]
        new = Part()
        new.audio_config, new.audio_codec = old.audio_config, old.audio_codec
        self.parts.append(new)
        return new

    def finish(self) -> None:
        self._flush()

    @staticmethod
    def _is_key(raw: RawFrame) -> bool:
        nalus = split_annexb(raw.body)
        return h264.is_key(nalus) if raw.pt == 98 else h265.is_key(nalus) if raw.pt == 99 else raw.data_type == DataType.VIDEO_I

    def report(self, incomplete: int) -> dict[str, Any]:
        if len(self.parts) > 1:
            return {"parts": [part.report(None) for part in self.parts]}
        part = self.parts[0]
        out = part.report(incomplete)
        if part.video.frames:
            out["first_whole_iframe_ts"] = part.first_key_ts
            out["video_alt"] = {
                "rule": RULE,
                "frames": part.alt_frames,
                "video_es_sha256": part.alt_digest.hexdigest() if part.alt_frames else None,
            }
        return out


def _shape(config: VideoConfig) -> tuple[str, int, int]:
    return config.codec, config.width, config.height


# -- reading -----------------------------------------------------------------------------------------------------------------------------


class Numbers:
    """Sees every packet: sequence numbers for the report's words."""

    def __init__(self) -> None:
        self.first = -1
        self.last = 0

    def packet(self, data: bytes, start: int, end: int, sim_bytes: int) -> None:
        seq = data[start + 6] << 8 | data[start + 7]
        if self.first < 0:
            self.first = seq
        self.last = seq

    def retract(self) -> None:
        """A number more or less tells nothing."""


class Recording:
    """One file."""

    def __init__(self, name: str, video: VideoFile | None = None, audio: AudioFile | None = None) -> None:
        self._video_file = video
        self._audio_file = audio
        self._channels: dict[tuple[str, int], Channel] = {}
        self._head: dict[str, Any] = {"file": name}
        self._tail: dict[str, Any] = {}
        self._incomplete: dict[tuple[str, int], int] = {}
        self._missing = 0

    def read_stream(self, source: BinaryIO, sim_bytes: int = 0) -> None:
        """Bytes of one TCP connection. Arrival is not recorded: the terminal's stamps are taken for it, so that no clock is doubted."""
        numbers = Numbers()
        demuxer = Demuxer(sim_bytes=sim_bytes, tap=numbers)
        digest = hashlib.sha256()
        now = 0.0
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            self._take(demuxer.feed(chunk, now))
        self._take(demuxer.finish(now))
        if not demuxer.packets:
            raise InputError(f"{self._head['file']} holds no JT/T 1078 packet" + (f": {demuxer.verdict}" if demuxer.verdict else ""))
        self._head.update(packets=demuxer.packets, bytes=demuxer.bytes, sha256=digest.hexdigest())
        self._missing = demuxer.lost_packets
        scheme = demuxer.sequence.best
        count = {CHANNEL: "a counter per channel", KIND: "a counter per channel and kind of media", NONE: "no counter"}.get(scheme, "one counter")
        if scheme != NONE and len(demuxer.streams) == 1:
            count = "one counter" if scheme != KIND else count
        state = f"{self._missing} missing" if self._missing else "contiguous"
        self._tail = {
            "garbage_bytes": demuxer.garbage_bytes,
            "trailing_bytes": demuxer.trailing_bytes,
            "empty_packets": demuxer.empty_packets,
            "sequence": f"{state}, {numbers.first}..{numbers.last}, {count}" if count == "one counter" else f"{state}, {count}",
        }
        self._count_incomplete(demuxer.streams.values())

    def read_datagrams(self, source: BinaryIO, sim_bytes: int = 0) -> None:
        """Records of a datagram each, with the time at which it came."""
        demuxer = DatagramDemuxer(sim_bytes=sim_bytes)
        digest = hashlib.sha256()
        count = size = distinct = 0
        recent: dict[bytes, None] = {}
        now = 0.0
        for head, datagram in self._records(source):
            if datagram not in recent:
                distinct += 1
                recent[datagram] = None
                if len(recent) > RECENT:
                    del recent[next(iter(recent))]
            digest.update(head)
            digest.update(datagram)
            size += len(head) + len(datagram)
            count += 1
            now = struct.unpack(">IH", head)[0] / 1000
            self._take(demuxer.tick(now))
            self._take(demuxer.feed(datagram, ("127.0.0.1", 1), now))
        streams = [session.stream for session in demuxer.sessions.values()]
        self._take(demuxer.finish(now))
        if not demuxer.packets:
            raise InputError(f"{self._head['file']} holds no JT/T 1078 datagram")
        self._head.update(packets=count, bytes=size, sha256=digest.hexdigest())
        self._missing = demuxer.lost_packets
        self._tail = {
            "distinct_packets": distinct - demuxer.malformed,
            "lost_packets": demuxer.lost_packets,
            "malformed_datagrams": demuxer.malformed,
            "late_packets": demuxer.late,
        }
        self._count_incomplete(streams)

    def _records(self, source: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
        while head := source.read(6):
            if len(head) < 6:
                raise InputError(f"{self._head['file']} ends inside a record")
            (length,) = struct.unpack_from(">H", head, 4)
            datagram = source.read(length)
            if len(datagram) < length:
                raise InputError(f"{self._head['file']} ends inside a record")
            yield head, datagram

    def _count_incomplete(self, streams: Any) -> None:
        for stream in streams:
            key = stream.sim, stream.channel
            self._incomplete[key] = self._incomplete.get(key, 0) + stream.incomplete_frames

    def _take(self, raws: list[RawFrame]) -> None:
        for raw in raws:
            key = raw.sim, raw.channel
            channel = self._channels.get(key)
            if channel is None:
                channel = self._channels[key] = Channel(*key)
            frames = channel.add(raw)
            if self._video_file is not None and FIRST_VIDEO_PT <= raw.pt <= LAST_VIDEO_PT:
                self._video_file.write(raw)
            if self._audio_file is not None:
                for frame in frames:
                    if frame.kind == AUDIO:
                        self._audio_file.write(raw.channel, frame)

    def report(self) -> dict[str, Any]:
        """The object to print."""
        for channel in self._channels.values():
            channel.finish()
        sims = list(dict.fromkeys(sim for sim, _ in self._channels))
        out = dict(self._head)
        out["sim"] = _shown(sims[0]) if sims else None
        if len(sims) > 1:
            out["sims"] = [_shown(sim) for sim in sims]
        out["channels"] = sorted({channel for _, channel in self._channels})
        lost = 0
        reports = {}
        for key, channel in self._channels.items():
            incomplete = self._incomplete.get(key, 0)
            reports[key] = channel.report(incomplete)
            lost += incomplete + sum(part.video.lost + part.audio.lost for part in channel.parts)
        if len(reports) == 1:
            out.update(next(iter(reports.values())))
        else:
            out["per_channel"] = {str(channel) if len(sims) == 1 else f"{sim}_{channel}": report for (sim, channel), report in reports.items()}
        out.update(self._tail)
        if "lost_packets" not in out:
            out["missing_packets"] = self._missing
        out["incomplete_frames"] = lost
        return out


def _shown(sim: str) -> str:
    """The SIM number; where it is no BCD number also as the binary one it seems to be (seen: 32 bits in the last four bytes)."""
    return sim if sim.isdigit() else f"{sim} (binary {int(sim[-8:], 16)})"
