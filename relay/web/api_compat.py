"""Answers in the form of ZLMediaKit's ``/index/api``, for programs that were written for it (``http.compat = "zlm"``); GET only.

What they ask most: what runs, whether one stream runs, close some. ``app`` is ``live``, ``playback`` or ``talk``, ``stream`` the name in our play URLs,
``vhost`` and ``schema`` are taken and mean nothing. An API token stands in ``secret``.
Refusals are those of the rest of the API: a status and a problem's body, where ZLMediaKit answers 200 with a ``code`` below 0.
Form: https://docs.zlmediakit.com/guide/media_server/restful_api.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from msgspec import Meta

from relay.hub.registry import Registry
from relay.hub.stream import Stream
from relay.identity import StreamKey
from relay.web.models import Query
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

PREFIX = "/index/api/"
VHOST = "__defaultVhost__"
_CODECS = {"h264": (0, "H264"), "h265": (1, "H265"), "aac": (2, "AAC"), "g711a": (3, "G711A"), "g711u": (4, "G711U"), "opus": (5, "OPUS")}
Word = Annotated[str, Meta(max_length=128)]


class CompatQuery(Query):
    """Which streams; empty = all."""

    app: Word = ""
    stream: Word = ""


class CompatApi:
    """Handlers and their routes."""

    def __init__(self, hub: Registry, wall: Callable[[], float], stop: Callable[[StreamKey, str], Any]) -> None:
        self._hub = hub
        self._wall = wall
        self._stop = stop

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        for name, handler, permission, summary in (
            ("getMediaList", self.list, Permission.VIEWER, "What runs, as ZLMediaKit tells it"),
            ("isMediaOnline", self.online, Permission.VIEWER, "Whether a stream runs, as ZLMediaKit tells it"),
            ("close_streams", self.close, Permission.OPERATOR, "End streams, as ZLMediaKit does"),
        ):
            yield Route(
                method="GET", path=PREFIX + name, handler=handler, permission=permission, query=CompatQuery, any_query=True, answer=dict[str, Any],
                tag="compatibility", scope="filtered", summary=summary,
            )  # fmt: skip

    def _wanted(self, call: Call) -> Iterator[Stream]:
        query: CompatQuery = call.query
        for stream in self._hub.streams():
            if call.sees(stream.key.sim) and query.app in ("", stream.key.kind) and query.stream in ("", _name(stream.key)):
                yield stream

    def list(self, call: Call) -> dict[str, Any]:
        """All that fit."""
        return {"code": 0, "data": [self._view(stream) for stream in self._wanted(call)]}

    def online(self, call: Call) -> dict[str, Any]:
        """One."""
        if not call.query.stream:
            raise Problem(400, "stream is missing.", code="bad_query")
        return {"code": 0, "online": any(stream.runs() for stream in self._wanted(call))}

    async def close(self, call: Call) -> dict[str, Any]:
        """End what fits; never everything by leaving the name out."""
        if call.session is not None:  # another site's page could have a browser GET this
            raise Problem(403, "This takes a token, not a session.", code="csrf")
        if not call.query.stream:
            raise Problem(400, "stream is missing.", code="bad_query", hint="DELETE /api/v1/streams/{id} ends one stream.")
        found = [stream.key for stream in self._wanted(call)]
        for key in found:
            await self._stop(key, f"ended by {call.principal.name}")
        return {"code": 0, "count_hit": len(found), "count_closed": len(found)}

    def _view(self, stream: Stream) -> dict[str, Any]:
        stats, video, audio, tracks = stream.stats(), stream.video, stream.audio, list[dict[str, Any]]()
        if video is not None:
            number, name = _CODECS.get(video.codec, (-1, video.codec))
            tracks.append(
                {"codec_type": 0, "codec_id": number, "codec_id_name": name, "width": video.width, "height": video.height, "fps": stats.fps, "ready": True}
            )
        if audio is not None:
            number, name = _CODECS.get(audio.codec, (-1, audio.codec))
            tracks.append(
                {"codec_type": 1, "codec_id": number, "codec_id_name": name, "channels": audio.channels, "sample_rate": audio.sample_rate, "sample_bit": 16,
                 "ready": True}
            )  # fmt: skip
        return {
            "schema": "rtmp", "vhost": VHOST, "app": stream.key.kind, "stream": _name(stream.key), "readerCount": stats.viewers,
            "totalReaderCount": stats.viewers, "bytesSpeed": stats.bitrate // 8, "aliveSecond": int(stats.uptime_s),
            "createStamp": int(self._wall() - stats.uptime_s), "tracks": tracks,
        }  # fmt: skip


def _name(key: StreamKey) -> str:
    return str(key) if key.kind == "live" else key.id
