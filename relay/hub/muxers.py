"""Which muxer writes which container. A new container is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.hub.formats import OutputFormat
from relay.identity import StreamKey
from relay.mux.base import Muxer, unsupported
from relay.mux.flv import FlvMuxer
from relay.mux.fmp4 import Fmp4Muxer
from relay.mux.jt1078 import Jt1078Muxer
from relay.mux.mjpeg import MjpegMuxer
from relay.mux.mpegts import TsMuxer
from relay.rtmp.mux import RtmpMuxer

__all__ = ["EARLY_TRACKS", "FLEXIBLE", "MUXERS", "STATELESS", "MakeMuxer", "unsupported"]

MakeMuxer = Callable[[OutputFormat, StreamKey], Muxer]

MUXERS: Mapping[str, MakeMuxer] = {
    "flv": lambda fmt, key: RtmpMuxer(fmt.hevc) if fmt.framing == "rtmp" else FlvMuxer(fmt.hevc),
    "mp4": lambda fmt, key: Fmp4Muxer(),
    "ts": lambda fmt, key: TsMuxer(),
    "mjpeg": lambda fmt, key: MjpegMuxer(fmt.framing == "raw"),
    "jt1078": lambda fmt, key: Jt1078Muxer(key.sim, key.channel),
}

#: containers whose muxer keeps nothing from frame to frame: what a joining viewer begins with is written again from the GOP cache, since a
#: second, serialised copy of every GOP in memory costs more than that. The others keep the pieces they wrote.
STATELESS = frozenset({"flv", "mjpeg"})

#: containers in which tracks can be added and changed under the viewers, whatever the framing
FLEXIBLE = frozenset({"flv", "mjpeg", "ts", "jt1078"})
#: of these the ones whose players look for tracks only at the beginning ("hls" writes its beginning when the first segment is whole)
EARLY_TRACKS = frozenset({"ts", "hls-ts"})
