"""HLS: ``/live/{sim}_{ch}/index.m3u8`` and what it leads to.

::

    index.m3u8?token=…                       token → start or join (held until the first segment) → a session; names one variant:
      live.m3u8?session=…                    the media playlist; ``_HLS_msn``, ``_HLS_part`` hold the answer, ``_HLS_skip=YES`` leaves out what is old
        init-0.mp4?key=…  7.m4s?key=…  7.2.m4s?key=…       initialisation segment, segments, parts; the next part's address is held until it is there

A token is good for a start only, and players reload for hours: the session stands in memory, its name is 128 random bits, and it lives while the
playlist is asked for (``SegmentOutput.patience``: three target durations). Then the viewer's lease is released, as if a connection had
closed. After the stream's end its playlist, with EXT-X-ENDLIST, is given for that long. The ``key`` of segments is the output's own, the same for
all viewers and unknown to anybody else, so a cache in front can keep them: they never change.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Literal

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.python.failure import Failure

from relay.core.live_lease import Lease
from relay.hub.formats import OutputFormat
from relay.hub.merge import Clock, DelayedCall
from relay.hub.poller import SegmentsError, SegmentViewer
from relay.hub.segments import SegmentOutput
from relay.hub.viewer import Who
from relay.mux.playlist import CONTENT_TYPE, master_playlist
from relay.web.media import Holder, Media, MediaQuery, log_end, peer_of
from relay.web.pieces import Filed, Shelf
from relay.web.problem import PHRASES, Problem
from relay.web.router import Answer, Call, Permission, Route, query_of
from relay.web.short import Later

SESSIONS_MAX = 20000  #: as many as connections: whoever holds a token can ask for one after the other
FIRST_SEGMENT_S = 10.0  #: after the first key frame; it takes little more than ``hls.segment_s``
MSN_AHEAD = 2  #: a playlist is waited for up to so many segments beyond the last (rfc8216bis 6.2.5.2)
#: their addresses are never used for anything else
KEEP = {"Cache-Control": "public, max-age=3600, immutable"}
FRESH = {"Cache-Control": "no-cache"}

#: the last words of a stream are told to sessions that were not closed for reasons of their own
_AT_ONCE = ("stopped asking", "gone", "kicked", "shutdown", "the relay stops")


#: a reload that waits, as hls.js and Safari write it
_RELOAD = re.compile(rb"_HLS_msn=([0-9]{1,9})(?:&_HLS_part=([0-9]{1,9}))?(&_HLS_skip=(?:YES|v2))?")


class HlsQuery(MediaQuery):
    """Parameters of the address that is played."""

    container: Literal["mp4", "ts"] = "mp4"


class Session:
    """One viewer's."""

    __slots__ = ("address", "call", "id", "lease", "output", "viewer")

    def __init__(self, lease: Lease, output: SegmentOutput, viewer: SegmentViewer, address: str) -> None:
        self.address = address  #: the only client address, where the token was bound to one
        self.id = secrets.token_urlsafe(16)
        self.lease = lease
        self.output = output
        self.viewer = viewer
        self.call: DelayedCall | None = None  #: forgets it after the stream's end


class Hls:
    """The handlers of HLS addresses."""

    def __init__(self, media: Media, clock: Clock) -> None:
        self._media = media
        self._clock = clock
        self.sessions: dict[str, Session] = {}
        self._outputs: dict[str, tuple[SegmentOutput, int]] = {}  #: by key, and how many sessions use it
        # for the short way: what stands behind the question mark, to its meaning
        self._by_session: dict[bytes, Session] = {}
        self._by_key: dict[bytes, SegmentOutput] = {}
        self.shelf = Shelf()
        self._answers: dict[str, tuple[bytes, bytes]] = {}  #: by the output's key: playlist, and the answer with it

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        places = ("/live/{sim}_{channel:int}", "/live/{sim}_{channel:int}_{stream:main|sub}", "/playback/{id}")

        def aliases(name: str, *more: str) -> tuple[str, ...]:
            return tuple(f"{place}/{each}" for place in places for each in (name, *more) if (place, each) != (places[0], name))

        yield Route(
            method="GET", path=f"{places[0]}/index.m3u8", handler=self.index, permission=Permission.MEDIA, tag="media",
            aliases=aliases("index.m3u8", "hls.m3u8"), summary="HLS: fragmented MP4 with low-latency parts, or MPEG-TS", query=HlsQuery, any_query=True,
            content_type=CONTENT_TYPE, errors=(409, 410, 415, 429, 503, 504), any_origin=True,
        )  # fmt: skip
        for name, handler in (("live.m3u8", self.playlist), ("{file}.m4s", self.segment), ("{file}.ts", self.segment), ("{file}.mp4", self.init)):
            yield Route(
                method="GET", path=f"{places[0]}/{name}", handler=handler, permission=Permission.KEY, tag="media", aliases=aliases(name),
                summary=f"What a playlist names: {name}", any_query=True, any_origin=True, hidden=True,
            )  # fmt: skip

    # ---- the address that is played ---------------------------------------------------------------------------------------

    async def index(self, call: Call) -> Answer:
        """Start or join the channel, begin a session."""
        if call.head:
            return Answer(content_type=CONTENT_TYPE, headers=FRESH)
        query: HlsQuery = call.query
        if len(self.sessions) >= SESSIONS_MAX:
            raise Problem(503, f"{SESSIONS_MAX} sessions are open already.", code="too_many_sessions", hint="Try again later.")
        fmt = OutputFormat("hls" if query.container == "mp4" else "hls-ts", "raw", query.media, query.audio or "auto")
        who = Who(peer_of(call.request), call.principal.name, "playback" if "id" in call.path else "live")
        holder = Holder(query.made(fmt.container))
        stream_word = call.path.get("stream") or query.stream or ""
        holder.lease = lease = await self._media.lease(call.path, call.grant, stream_word, fmt, who, made=holder.made)
        viewer: SegmentViewer | None = None
        try:
            await self._media.suit(holder, fmt)
            viewer = holder.stream(fmt).join_segments(fmt, who)
            output = viewer.output
            await self._patiently(output.wait(-1, None), FIRST_SEGMENT_S)
        except BaseException as problem:
            if viewer is not None:
                viewer.close("gone")
            holder.let_go()
            if isinstance(problem, SegmentsError):
                raise self._failed(problem) from None
            raise
        session = Session(lease, output, viewer, call.grant.address if call.grant is not None else "")
        self.sessions[session.id] = session
        _, users = self._outputs.get(output.key, (output, 0))
        self._outputs[output.key] = output, users + 1
        if not session.address:  # the short way knows no addresses
            self._by_session[b"session=" + session.id.encode()] = session
        self._by_key[b"key=" + output.key.encode()] = output
        viewer.on_close(lambda viewer, cause: self._viewer_closed(session, cause))
        if lease.on_ended is not None:
            lease.on_ended = viewer.close
        lease.first_byte()
        terms = output.terms
        text = master_playlist(
            f"live.m3u8?session={session.id}", output.bandwidth(), output.video, output.audio, output.fps, terms is not None and terms.independent
        )
        viewer.poll(len(text))
        return Answer(text.encode(), CONTENT_TYPE, headers=FRESH)

    def _failed(self, problem: SegmentsError) -> Problem:
        if problem.reason == "late":
            return Problem(504, "No segment became whole in time.", code="no_segment", hint="The terminal sends no pictures any more.", hop="first_segment")
        code = "stream_ended" if problem.reason == "ended" else "too_many_waiting"
        return Problem(503, f"{str(problem)[:1].upper()}{str(problem)[1:]}.", code=code, hint="Try again.")

    async def _patiently(self, waiting: Deferred[None], seconds: float) -> None:
        """Wait, and fail with SegmentsError "late" after so many seconds."""

        def late(result: object, timeout: float) -> object:
            if isinstance(result, Failure) and isinstance(result.value, CancelledError):
                raise SegmentsError("late", f"not within {timeout:g} s")
            return result

        await waiting.addTimeout(seconds, self._clock, onTimeoutCancel=late)  # type: ignore[arg-type]

    def _viewer_closed(self, session: Session, cause: str) -> None:
        log_end(session.viewer, cause)
        session.lease.release()
        if cause in _AT_ONCE:
            self._forget(session)
        else:
            session.call = self._clock.callLater(session.output.patience, self._forget, session)

    def _forget(self, session: Session) -> None:
        if self.sessions.pop(session.id, None) is None:
            return
        self._by_session.pop(b"session=" + session.id.encode(), None)
        output, users = self._outputs[session.output.key]
        if users > 1:
            self._outputs[output.key] = output, users - 1
        else:
            del self._outputs[output.key]
            del self._by_key[b"key=" + output.key.encode()]
            self._answers.pop(output.key, None)
            self.shelf.forget(output.key)

    # ---- the short way -------------------------------------------------------------------------------------------------------

    def short(self, target: bytes) -> list[bytes] | Later | None:
        """A playlist, now or when it holds what is waited for; a segment or a part that is there. None: the long way has more to say.

        Hundreds of players ask for the same few bytes every second; here that costs a look-up and one send.
        """
        path, _, query = target.partition(b"?")
        name, _, rest = query.partition(b"&")
        session = self._by_session.get(name)
        if session is not None:
            return self._short_playlist(session, rest) if path[-10:] == b"/live.m3u8" else None
        found = self._by_key.get(query)
        if found is None:
            return None
        names = path[path.rfind(b"/") + 1 :].split(b".")
        if not 2 <= len(names) <= 3 or names[-1].decode("latin-1") != found.writer.ending or not all(name.isdigit() and len(name) < 10 for name in names[:-1]):
            return None
        pieces = found.pieces(int(names[0]), int(names[1]) if len(names) == 3 else None)
        if pieces is None:
            return None
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        found.sent += size
        head = head_of(found.writer.content_type, size, KEEP)
        file = self.shelf.find(found.key, names[0] if len(names) == 2 else b".".join(names[:2]), pieces, size)
        return [head, *pieces] if file is None else Filed(head, pieces, file, size)

    def _short_playlist(self, session: Session, rest: bytes) -> list[bytes] | Later | None:
        if not rest:
            return self._short_listed(session, False)
        asked = _RELOAD.fullmatch(rest)
        if asked is None:
            return None
        output = session.output
        number, part, skip = int(asked[1]), int(asked[2]) if asked[2] is not None else None, asked[3] is not None
        if number > output.edge[0] - 1 + MSN_AHEAD:
            return None
        if output.ended or output.has(number, part):
            return self._short_listed(session, skip)
        session.viewer.seen = self._clock.seconds()
        return lambda send: self._short_later(session, number, part, skip, send)

    def _short_listed(self, session: Session, skip: bool) -> list[bytes]:
        output = session.output
        text = output.playlist(skip)
        session.viewer.poll(len(text))
        if skip:
            return [head_of(CONTENT_TYPE, len(text), FRESH), text]
        known = self._answers.get(output.key)
        if known is None or known[0] is not text:
            known = self._answers[output.key] = text, head_of(CONTENT_TYPE, len(text), FRESH) + text
        return [known[1]]

    def _short_later(self, session: Session, number: int, part: int | None, skip: bool, send: Callable[[list[bytes]], None]) -> Callable[[], None]:
        waiting = session.output.wait(number, part)
        call = self._clock.callLater(session.output.patience, waiting.cancel)
        left = False

        def done(result: object) -> None:
            if call.active():
                call.cancel()
            if left:
                return
            problem = result.value if isinstance(result, Failure) else None
            if isinstance(problem, CancelledError):
                send(refusal(nothing_new()))
            elif isinstance(problem, SegmentsError) and problem.reason == "busy":
                send(refusal(self._failed(problem)))
            else:
                send(self._short_listed(session, skip))

        def leave() -> None:
            nonlocal left
            left = True
            waiting.cancel()

        waiting.addBoth(done)
        return leave

    # ---- what it leads to ---------------------------------------------------------------------------------------------------

    def playlist(self, call: Call) -> Answer | Deferred[Answer]:
        """The media playlist, now or when it holds what is waited for."""
        query = query_of(call.request)
        session = self._session(query)
        if session.address and session.address != call.request.address:
            raise Problem(403, "This session is for another address.", code="token_wrong_address", hint="Play index.m3u8 with a token of your own.")
        call.request.quiet = True
        wanted = wanted_of(query)
        output = session.output
        skip = query.get("_HLS_skip") in ("YES", "v2")
        if call.head:
            return Answer(content_type=CONTENT_TYPE, headers=FRESH)
        session.viewer.seen = self._clock.seconds()
        if wanted is not None:
            number, part = wanted
            if number > output.edge[0] - 1 + MSN_AHEAD:
                raise Problem(400, f"Segment {number} is too far ahead; the last one is {output.edge[0] - 1}.", code="bad_query")
            if not output.ended and not output.has(number, part):
                return Deferred.fromCoroutine(self._later(session, number, part, skip))
        return self._listed(session, skip)

    async def _later(self, session: Session, number: int, part: int | None, skip: bool) -> Answer:
        try:
            await self._patiently(session.output.wait(number, part), session.output.patience)
        except SegmentsError as problem:
            if problem.reason == "late":
                raise nothing_new() from None
            if problem.reason == "busy":
                raise self._failed(problem) from None
        return self._listed(session, skip)

    def _listed(self, session: Session, skip: bool) -> Answer:
        text = session.output.playlist(skip)
        session.viewer.poll(len(text))
        return Answer(text, CONTENT_TYPE, headers=FRESH)

    def _session(self, query: Mapping[str, str]) -> Session:
        name = query.get("session", "")
        if not name:
            raise Problem(401, "The session is missing.", code="session_missing", hint="Play index.m3u8 with a token; it leads here.")
        session = self.sessions.get(name)
        if session is None:
            raise Problem(404, "This session is over.", code="session_over", hint="It was not asked for in time. Load index.m3u8 again.")
        return session

    def _output(self, call: Call) -> SegmentOutput:
        key = query_of(call.request).get("key", "")
        if not key:
            raise Problem(401, "The key is missing.", code="key_missing", hint="Play index.m3u8 with a token; its playlists name these addresses.")
        found = self._outputs.get(key)
        if found is None:
            raise Problem(404, "This stream is no longer there.", code="session_over", hint="Load index.m3u8 again.")
        call.request.quiet = True
        return found[0]

    def init(self, call: Call) -> Answer:
        """An initialisation segment."""
        output = self._output(call)
        word, _, number = call.path["file"].partition("-")
        data = output.init_segment(int(number)) if word == "init" and is_number(number) else None
        if data is None:
            raise self._gone()
        return Answer(data, "video/mp4", headers=KEEP)

    def segment(self, call: Call) -> Answer | Deferred[Answer]:
        """A segment or a part; the part that comes next is waited for."""
        output = self._output(call)
        names = call.path["file"].split(".")
        if len(names) > 2 or not all(map(is_number, names)):
            raise self._gone()
        number, part = int(names[0]), int(names[1]) if len(names) == 2 else None
        found = output.pieces(number, part)
        if found is not None:
            return self._give(output, found)
        if part is not None and (number, part) == output.edge and not output.ended and not call.head:
            return Deferred.fromCoroutine(self._part_later(output, number, part))
        raise self._gone()

    async def _part_later(self, output: SegmentOutput, number: int, part: int) -> Answer:
        try:
            await self._patiently(output.wait(number, part), output.patience)
        except SegmentsError as problem:
            if problem.reason == "busy":
                raise self._failed(problem) from None
        found = output.pieces(number, part)
        if found is None:
            raise self._gone()
        return self._give(output, found)

    def _give(self, output: SegmentOutput, pieces: list[bytes]) -> Answer:
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        output.sent += len(data)
        return Answer(data, output.writer.content_type, headers=KEEP)

    def _gone(self) -> Problem:
        return Problem(404, "There is no such segment, or no more.", code="no_segment", hint="Take addresses from the latest playlist.")

    def close(self) -> None:
        """The relay stops."""
        for session in list(self.sessions.values()):
            session.viewer.close("the relay stops")
            if session.call is not None:
                try:
                    session.call.cancel()
                except (AlreadyCalled, AlreadyCancelled):
                    pass
            self._forget(session)
        self.shelf.close()


def nothing_new() -> Problem:
    """A reload waited in vain."""
    return Problem(503, "Nothing new came in time.", code="nothing_new", hint="The terminal may have stopped sending.")


def refusal(problem: Problem) -> list[bytes]:
    """A problem as an answer of the short way."""
    body = problem.body()
    head = (
        f"HTTP/1.1 {problem.status} {PHRASES[problem.status]}\r\nDate: {formatdate(time.time(), usegmt=True)}\r\nContent-Type: application/json\r\n"
        f"Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return [head.encode(), body]


@lru_cache(maxsize=16)
def _head(content_type: str, cache: str, second: int) -> bytes:
    date = formatdate(second, usegmt=True)
    lines = (
        "HTTP/1.1 200 OK", f"Date: {date}", f"Content-Type: {content_type}", f"Cache-Control: {cache}",
        "Access-Control-Allow-Origin: *", "X-Content-Type-Options: nosniff", "Server: jt1078relay", "Content-Length: ",
    )  # fmt: skip
    return "\r\n".join(lines).encode()


def head_of(content_type: str, size: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer of the short way."""
    return b"%b%d\r\n\r\n" % (_head(content_type, headers["Cache-Control"], int(time.time())), size)


def is_number(text: str) -> bool:
    """Up to nine decimal digits, a media sequence number of sixty years."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def wanted_of(query: Mapping[str, str]) -> tuple[int, int | None] | None:
    """What a reload waits for: segment and part."""
    number, part = query.get("_HLS_msn"), query.get("_HLS_part")
    if number is None:
        if part is not None:
            raise Problem(400, "_HLS_part is nothing without _HLS_msn.", code="bad_query")
        return None
    if not is_number(number) or (part is not None and not is_number(part)):
        raise Problem(400, "_HLS_msn and _HLS_part are numbers.", code="bad_query")
    return int(number), int(part) if part is not None else None
