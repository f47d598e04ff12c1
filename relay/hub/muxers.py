"""Which muxer writes which container. A new container is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.hub.formats import OutputFormat
from relay.mux.base import Muxer, unsupported
from relay.mux.flv import FlvMuxer
from relay.mux.fmp4 import Fmp4Muxer

__all__ = ["MUXERS", "STATELESS", "unsupported"]

MUXERS: Mapping[str, Callable[[OutputFormat], Muxer]] = {
    "flv": lambda fmt: FlvMuxer(hevc=fmt.hevc),
    "mp4": lambda fmt: Fmp4Muxer(),
}

#: containers whose muxer keeps nothing from frame to frame: what a joining viewer begins with is written again from the GOP cache, since a
#: second, serialised copy of every GOP in memory costs more than that. The others keep the pieces they wrote.
STATELESS = frozenset({"flv"})
