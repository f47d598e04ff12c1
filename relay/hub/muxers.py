"""Which muxer writes which container. A new container is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.codec.frame import AudioConfig, VideoConfig
from relay.hub.formats import OutputFormat
from relay.mux.base import Muxer


def _flv(fmt: OutputFormat) -> Muxer:
    from relay.mux.flv import FlvMuxer

    return FlvMuxer(hevc=fmt.hevc)


def _mp4(fmt: OutputFormat) -> Muxer:
    from relay.mux.fmp4 import Fmp4Muxer

    return Fmp4Muxer()


MUXERS: Mapping[str, Callable[[OutputFormat], Muxer]] = {"flv": _flv, "mp4": _mp4}


def unsupported(container: str, config: VideoConfig | AudioConfig) -> str:
    """Why a container cannot carry a track, in words; ``""`` when it can."""
    from relay.mux.base import unsupported as why

    return why(container, config)
