"""Answers in the form of SRS 5's HTTP API, for programs that were written for it (``http.compat = "srs"``), under ``/srs/api/v1``.

    GET     versions, summaries                 who answers; load and bytes, as far as the relay knows them
    GET     vhosts/, vhosts/{id}                there is one, ``__defaultVhost__``
    GET     streams/, streams/{id}              what runs; ``?start=0&count=10``, as SRS has it
    GET     clients/, clients/{id}              players, and the terminal's connection of each stream (``publish``: true)
    DELETE  clients/{id}                        closes a player; a publisher: ends the stream, the terminal is told to stop

An API token is a bearer's, or in ``?token=`` for GET, or the password of ``Authorization: Basic``, which SRS's own clients send. Refusals are those of the
rest of the API: a status and a problem's body, where SRS answers 200 with a ``code`` other than 0. What the relay does not count is 0.
Form: https://ossrs.net/lts/en-us/docs/v5/doc/http-api
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from msgspec import Meta

from relay.core.hooks_srs import VHOST, publisher_id
from relay.hub.registry import Registry
from relay.hub.stats import ViewerStats
from relay.hub.stream import Stream
from relay.identity import StreamKey
from relay.web.models import Query
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

PREFIX = "/srs/api/v1/"
FORM = (5, 0, 0)  #: the version of SRS whose form this is
VHOST_ID = "vid-default"
COUNT_MAX = 10000
_CODECS = {"h264": "H264", "h265": "HEVC", "aac": "AAC", "g711a": "G711A", "g711u": "G711U", "opus": "Opus", "mp3": "MP3"}
_TYPES = {"rtmp": "rtmp-play", "flv": "flv-play", "hls": "hls-play"}


class SrsQuery(Query):
    """Which of them; SRS gives ten when nothing is said."""

    start: Annotated[int, Meta(ge=0)] = 0
    count: Annotated[int, Meta(ge=1, le=COUNT_MAX)] = 10


class SrsApi:
    """Handlers and their routes. ``stop`` ends a stream for good."""

    def __init__(self, hub: Registry, version: str, wall: Callable[[], float], stop: Callable[[StreamKey, str], Any]) -> None:
        self._hub = hub
        self._version = version
        self._wall = wall
        self._stop = stop
        self._began = wall()

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        for name, handler, scope, summary in (
            ("versions", self.versions, "any", "The version, as SRS tells it"),
            ("summaries", self.summaries, "any", "Load and bytes, as SRS tells them"),
            ("vhosts", self.vhosts, "filtered", "The one virtual host, as SRS tells it"),
            ("streams", self.streams, "filtered", "What runs, as SRS tells it"),
            ("clients", self.clients, "filtered", "Players and terminals' connections, as SRS tells them"),
        ):
            yield self._route("GET", name, handler, Permission.VIEWER, scope, summary, (f"{PREFIX}{name}/",))
        for name, handler, summary in (
            ("vhosts/{id}", self.vhost, "The virtual host, as SRS tells it"),
            ("streams/{id}", self.stream, "One stream, as SRS tells it"),
            ("clients/{id}", self.client, "One player or connection, as SRS tells it"),
        ):
            yield self._route("GET", name, handler, Permission.VIEWER, "filtered", summary)
        yield self._route("DELETE", "clients/{id}", self.kick, Permission.OPERATOR, "filtered", "Close a player, or end a stream, as SRS does")

    @staticmethod
    def _route(
        method: str, name: str, handler: Callable[[Call], Any], permission: Permission, scope: str, summary: str, aliases: tuple[str, ...] = ()
    ) -> Route:
        return Route(
            method=method, path=PREFIX + name, aliases=aliases, handler=handler, permission=permission, query=SrsQuery, any_query=True,
            answer=dict[str, Any], tag="compatibility", scope=scope, summary=summary,
        )  # fmt: skip

    # ---- answers ----------------------------------------------------------------------------------------------------------

    def _answer(self, **what: Any) -> dict[str, Any]:
        return {"code": 0, "server": "vid-jt1078relay", "service": f"{int(self._began):x}", "pid": str(os.getpid()), **what}

    def versions(self, call: Call) -> dict[str, Any]:
        """SRS's number, since that is what programs look at; ours beside it."""
        major, minor, revision = FORM
        version = f"{major}.{minor}.{revision}"
        return self._answer(data={"major": major, "minor": minor, "revision": revision, "version": version, "jt1078relay": self._version})

    def summaries(self, call: Call) -> dict[str, Any]:
        """As much of it as is known here."""
        now, streams = self._wall(), list(self._seen(call))
        stats = [stream.stats() for stream in streams]
        load = os.getloadavg()
        data = {
            "ok": True,
            "now_ms": int(now * 1000),
            "self": {"version": self._version, "pid": os.getpid(), "srs_uptime": int(now - self._began)},
            "system": {
                "cpus": os.cpu_count() or 1, "cpus_online": os.cpu_count() or 1, "load_1m": load[0], "load_5m": load[1], "load_15m": load[2],
                "srs_sample_time": int(now * 1000), "srs_recv_bytes": sum(one.bytes for one in stats), "srs_send_bytes": sum(one.sent_bytes for one in stats),
                "conn_srs": sum(one.viewers + 1 for one in stats),
            },
        }  # fmt: skip
        return self._answer(data=data)

    def vhosts(self, call: Call) -> dict[str, Any]:
        """The one."""
        return self._answer(vhosts=[self._vhost(call)])

    def vhost(self, call: Call) -> dict[str, Any]:
        """By its id or name."""
        if call.path["id"] not in (VHOST_ID, VHOST):
            raise Problem(404, f"There is no virtual host {call.path['id']}.", code="unknown_vhost", hint=f"The only one is {VHOST_ID}.")
        return self._answer(vhost=self._vhost(call))

    def _vhost(self, call: Call) -> dict[str, Any]:
        stats = [stream.stats() for stream in self._seen(call)]
        return {
            "id": VHOST_ID, "name": VHOST, "enabled": True, "clients": sum(one.viewers + 1 for one in stats), "streams": len(stats),
            "send_bytes": sum(one.sent_bytes for one in stats), "recv_bytes": sum(one.bytes for one in stats),
            "kbps": {"recv_30s": sum(one.bitrate for one in stats) // 1000, "send_30s": 0}, "hls": {"enabled": True},
        }  # fmt: skip

    def streams(self, call: Call) -> dict[str, Any]:
        """A page of them."""
        return self._answer(streams=[self._stream(one) for one in _page(call, list(self._seen(call)))])

    def stream(self, call: Call) -> dict[str, Any]:
        """One."""
        return self._answer(stream=self._stream(self._find(call)))

    def clients(self, call: Call) -> dict[str, Any]:
        """A page of them."""
        return self._answer(clients=_page(call, [told for told, _ in self._clients(call)]))

    def client(self, call: Call) -> dict[str, Any]:
        """One."""
        return self._answer(client=self._client(call)[0])

    async def kick(self, call: Call) -> dict[str, Any]:
        """Close it."""
        told, stream = self._client(call)
        if told["publish"]:
            await self._stop(stream.key, f"ended by {call.principal.name}")
        else:
            stream.kick(int(told["id"]))
        return self._answer()

    # ---- what there is ----------------------------------------------------------------------------------------------------

    def _seen(self, call: Call) -> Iterator[Stream]:
        return (stream for stream in self._hub.streams() if call.sees(stream.key.sim))

    def _find(self, call: Call) -> Stream:
        wanted = call.path["id"]
        for stream in self._seen(call):
            if _id(stream.key) == wanted:
                return stream
        raise Problem(404, f"There is no stream {wanted}.", code="unknown_stream", hint=f"GET {PREFIX}streams/ lists what runs.")

    def _client(self, call: Call) -> tuple[dict[str, Any], Stream]:
        wanted = call.path["id"]
        for told, stream in self._clients(call):
            if told["id"] == wanted:
                return told, stream
        raise Problem(404, f"There is no client {wanted}.", code="unknown_client", hint=f"GET {PREFIX}clients/?count=1000 lists them.")

    def _clients(self, call: Call) -> Iterator[tuple[dict[str, Any], Stream]]:
        now = self._hub.clock.seconds()
        for stream in self._seen(call):
            stats = stream.stats()
            peer = stream.source.peer if stream.source is not None else ""
            rates = {"recv_30s": stats.bitrate // 1000, "send_30s": 0}
            publisher = _client(stream.key, publisher_id(_name(stream.key)), peer, "fmle-publish", True, stats.uptime_s)
            yield {**publisher, "recv_bytes": stats.bytes, "kbps": rates}, stream
            for viewer in stream.viewers():
                kind = _kind(viewer)
                yield {**_client(stream.key, str(viewer.id), viewer.peer, kind, False, now - viewer.joined, viewer.who), "send_bytes": viewer.bytes}, stream

    def _stream(self, stream: Stream) -> dict[str, Any]:
        key, stats, video, audio = stream.key, stream.stats(), stream.video, stream.audio
        return {
            "id": _id(key), "name": _name(key), "vhost": VHOST_ID, "app": key.kind, "tcUrl": f"rtmp://{VHOST}/{key.kind}",
            "url": f"/{key.kind}/{_name(key)}", "live_ms": int(self._wall() * 1000), "clients": stats.viewers + 1, "frames": stats.frames,
            "send_bytes": stats.sent_bytes, "recv_bytes": stats.bytes, "kbps": {"recv_30s": stats.bitrate // 1000, "send_30s": 0},
            "publish": {"active": stream.runs(), "cid": publisher_id(_name(key))},
            "video": None if video is None else {
                "codec": _CODECS.get(video.codec, video.codec), "profile": "", "level": "", "width": video.width, "height": video.height,
            },
            "audio": None if audio is None else {
                "codec": _CODECS.get(audio.codec, audio.codec), "sample_rate": audio.sample_rate, "channel": audio.channels, "profile": "",
            },
        }  # fmt: skip


def _page(call: Call, found: list[Any]) -> list[Any]:
    query: SrsQuery = call.query
    return found[query.start : query.start + query.count]


def _name(key: StreamKey) -> str:
    return f"{key.sim}_{key.channel}" if key.kind == "live" else key.id


def _id(key: StreamKey) -> str:
    return f"{key.kind}-{_name(key)}"


def _kind(viewer: ViewerStats) -> str:
    """``flv/raw/av/aac`` as SRS calls such a player."""
    container, _, rest = viewer.format.partition("/")
    framing = rest.partition("/")[0]
    return "rtmp-play" if framing.startswith("rtmp") else _TYPES.get(container.partition("-")[0], f"{container}-play")


def _client(key: StreamKey, ident: str, peer: str, kind: str, publish: bool, alive_s: float, who: str = "") -> dict[str, Any]:
    host = peer[1:].partition("]")[0] if peer.startswith("[") else peer.rpartition(":")[0] if peer.count(":") == 1 else peer
    return {
        "id": ident, "vhost": VHOST_ID, "stream": _id(key), "ip": host, "pageUrl": "", "swfUrl": "", "tcUrl": f"rtmp://{VHOST}/{key.kind}",
        "url": f"/{key.kind}/{_name(key)}", "name": _name(key), "who": who, "type": kind, "publish": publish, "alive": round(alive_s, 3),
        "send_bytes": 0, "recv_bytes": 0, "kbps": {"recv_30s": 0, "send_30s": 0},
    }  # fmt: skip
