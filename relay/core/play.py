"""A play that comes as a name and a query, as RTMP has it: what is meant, who may, and the channel.

::

    live/{sim}_{ch}[_main|_sub]    {sim}/{ch}    video/{sim}-{ch}    playback/{id}        as the contract's HTTP addresses, without an ending

Players differ in where they put the query of an address (behind the application, in tcUrl, behind the name), so it is gathered from all three.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from twisted.internet.defer import Deferred

from relay.core.alias import Resolver
from relay.core.hooks import Permit
from relay.core.live import Live
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.live_leases import MAIN, SUB
from relay.core.other_stream import OtherStreamError
from relay.core.quota import Quota
from relay.core.tokens import Signer, TokenError
from relay.core.trace import REQUESTED
from relay.hub.formats import OutputFormat

ADDRESS_MAX = 2048  #: characters of application, tcUrl and name each
_FIELDS_MAX = 32  #: parameters of a query; players add a few of their own

_FORMS = tuple(
    re.compile(form)
    for form in (
        r"live/(?P<sim>[^/]+)_(?P<channel>[0-9]{1,5})(?:_(?P<stream>main|sub))?",
        r"playback/(?P<id>[^/]+)",
        r"video/(?P<sim>[^/]+)-(?P<channel>[0-9]{1,5})",
        r"(?P<sim>[^/]+)/(?P<channel>[0-9]{1,5})",
    )
)
_WORDS = {"stream": (MAIN, SUB), "media": ("av", "v", "a"), "audio": ("aac", "source", "none"), "hevc": ("enhanced", "legacy")}


class Wish(NamedTuple):
    """What a player wants."""

    name: str  #: of the terminal, or of the playback
    channel: int
    stream: str  #: "main", "sub" or "" (what runs, else sub)
    format: OutputFormat
    token: str
    kind: str = "live"  #: "playback": ``name`` is its id, and there is no channel
    insists: bool = False  #: it asked for a form of H.265 by name


def wish(application: str, tc_url: str, name: str, framing: str = "rtmp") -> Wish:
    """Take a play's parts apart; StartFailed when they name nothing."""
    if max(map(len, (application, tc_url, name))) > ADDRESS_MAX:
        raise StartFailed(404, "unknown_stream", f"The address has more than {ADDRESS_MAX} characters.", hop=REQUESTED)
    query: dict[str, str] = {}
    for part in (tc_url, application, name):  # the later ones are nearer to the stream
        query.update(_query(part.partition("?")[2]))
    path = f"{application.partition('?')[0].strip('/')}/{name.partition('?')[0].strip('/').removeprefix('flv:').removesuffix('.flv')}"
    found = next((match for form in _FORMS if (match := form.fullmatch(unquote(path)))), None)
    if found is None:
        shown = unquote(path)[:80]
        raise StartFailed(404, "unknown_stream", f"There is no stream {shown}.", "Streams are called live/NUMBER_CHANNEL.", REQUESTED)
    for key, words in _WORDS.items():
        if query.get(key, words[0]) not in words:
            raise StartFailed(400, "bad_query", f"{key}={query[key][:40]} is none of {', '.join(words)}.", hop=REQUESTED)
    named = found.groupdict()
    fmt = OutputFormat("flv", framing, query.get("media", "av"), query.get("audio", "auto"), query.get("hevc", "enhanced"))
    stream = named.get("stream") or query.get("stream", "")
    token = query.get("token", "")
    if named.get("id"):
        return Wish(named["id"], 0, "", fmt, token, "playback", "hevc" in query)
    return Wish(named["sim"], int(named["channel"]), stream, fmt, token, "live", "hevc" in query)


def _query(text: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(text.replace("?", "&"), keep_blank_values=True, max_num_fields=_FIELDS_MAX))
    except ValueError:
        raise StartFailed(400, "bad_query", f"The address has more than {_FIELDS_MAX} parameters.", hop=REQUESTED) from None


class Plays:
    """Opens channels for those who show a media token."""

    def __init__(
        self, signer: Signer, resolver: Resolver, live: Live, wall: Callable[[], float], permit: Permit | None = None, quota: Quota | None = None
    ) -> None:
        self._signer = signer
        self._resolver = resolver
        self._live = live
        self._wall = wall
        self._permit = permit
        self._quota = quota
        self.playback: Callable[[str, str, str, str], Deferred[Lease]] | None = None  #: ``Playbacks.acquire``
        self.other_stream: Callable[[Lease], Deferred[None]] | None = None  #: ``OtherStreams.ask``
        self.refused = 0  #: tokens that did not open what was asked

    def open(self, wanted: Wish, address: str, codec: str = "") -> Deferred[Lease]:
        """The channel, started when it does not run; ``codec`` as ``Live.acquire`` has it. Fails with StartFailed; cancelling is releasing."""
        return Deferred.fromCoroutine(self._open(wanted, address, codec))

    def other(self, lease: Lease, refused: StartFailed) -> Deferred[None]:
        """Ask for the terminal's other stream, since the picture is H.265; fails with StartFailed, what was tried added to ``refused``."""
        return Deferred.fromCoroutine(self._other(lease, refused))

    async def _other(self, lease: Lease, refused: StartFailed) -> None:
        if self.other_stream is None:
            raise refused
        try:
            await self.other_stream(lease)
        except OtherStreamError as problem:
            message = f"{refused.message.rstrip('.')}. The terminal sends H.265, and {problem}."
            raise StartFailed(refused.status, refused.code, message, f"{problem.hint} {refused.hint}".strip()) from None

    async def _open(self, wanted: Wish, address: str, codec: str) -> Lease:
        if not wanted.token:
            self.refused += 1
            hint = "Ask the API for this channel's play URLs, or put ?token=… behind the stream's name."
            raise StartFailed(401, "unauthorized", "A token is missing.", hint, REQUESTED)
        try:
            grant = self._signer.open_media(wanted.token, self._wall(), address)
            sim = None
            if wanted.kind == "live":
                sim = await self._resolver.resolve(wanted.name)
                paths = [f"{name}_{wanted.channel}" for name in (wanted.name, *(self._resolver.names_of(sim) if sim is not None else ()))]
            else:
                paths = [f"playback/{wanted.name}"]
            if not grant.allows_any(paths):
                raise TokenError("wrong-path", "the token is for other channels")
        except TokenError as problem:
            self.refused += 1
            code = "token_" + problem.reason.replace("-", "_")
            raise StartFailed(403, code, f"The token is refused: {problem}.", hop=REQUESTED) from None
        if self._permit is not None:
            await self._permit(sim or wanted.name, wanted.channel, wanted.kind, "rtmp", grant.viewer, address)
        if self._quota is not None:
            return await self._quota.viewer(grant.viewer, lambda: self._acquire(wanted, sim, grant.viewer, address, codec))
        return await self._acquire(wanted, sim, grant.viewer, address, codec)

    async def _acquire(self, wanted: Wish, sim: str | None, who: str, address: str, codec: str) -> Lease:
        if wanted.kind == "playback":
            if self.playback is None:
                raise StartFailed(404, "unknown_stream", f"There is no stream playback/{wanted.name[:80]}.", hop=REQUESTED)
            return await self.playback(wanted.name, wanted.format.media, "viewer", who)
        return await self._live.acquire(sim or wanted.name, wanted.channel, wanted.stream, wanted.format.media, "viewer", who, peer=address, codec=codec)
