"""``/live/{sim}_{ch}.jpg``: the latest key frame of a channel as a JPEG file. An idle channel is started for it, and stopped as after any viewer."""

from __future__ import annotations

from collections.abc import Iterable

from relay.errors import DecodeError
from relay.hub.derived import SnapshotError
from relay.hub.formats import OutputFormat
from relay.hub.registry import Registry
from relay.hub.viewer import Who
from relay.web.media import Holder, Media, MediaQuery, peer_of
from relay.web.problem import Problem
from relay.web.router import Answer, Call, Permission, Route

TYPE = "image/jpeg"
#: as long as the same picture is given to all who ask
HEADERS = {"Cache-Control": "max-age=1"}


class Pictures:
    """The handler of single pictures."""

    def __init__(self, media: Media, hub: Registry) -> None:
        self._media = media
        self._hub = hub

    def routes(self) -> Iterable[Route]:
        """The line of the table."""
        yield Route(
            method="GET", path="/live/{sim}_{channel:int}.jpg", handler=self.picture, permission=Permission.MEDIA, tag="media",
            aliases=("/live/{sim}_{channel:int}_{stream:main|sub}.jpg", "/playback/{id}.jpg"), summary="The latest key frame as a JPEG file",
            query=MediaQuery, any_query=True, content_type=TYPE, errors=(409, 410, 415, 429, 503, 504), any_origin=True,
        )  # fmt: skip

    async def picture(self, call: Call) -> Answer:
        """One picture."""
        if call.head:
            return Answer(content_type=TYPE, headers=HEADERS)
        derivations = self._hub.derivations
        if derivations is None or not derivations.av:
            raise Problem(415, "Pictures need the extra `media` (PyAV), which is not installed.", code="no_media_extra", hint="pip install '.[media]'")
        query: MediaQuery = call.query
        who = Who(peer_of(call.request), call.principal.name, "playback" if "id" in call.path else "live")
        holder = Holder()
        stream_word = call.path.get("stream") or query.stream or ""
        holder.lease = await self._media.lease(call.path, call.grant, stream_word, OutputFormat("mjpeg", media="v"), who)
        try:
            data = await derivations.snapshot(holder.running())
        except (SnapshotError, DecodeError) as problem:
            raise Problem(503, f"No picture could be made: {problem}.", code="no_picture", hint="Try again after the next key frame.") from None
        finally:
            holder.let_go()
        return Answer(data, TYPE, headers=HEADERS)
