"""The addresses at which a channel is played, with their tokens."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

from relay.core.events import iso_time
from relay.core.tokens import Signer
from relay.identity import StreamKey
from relay.settings import Auth, Http, Rtmp
from relay.web.models import Play, PlayQuery, PlayUrls
from relay.web.request import Request


class PlayAddresses:
    """Makes play URLs."""

    def __init__(self, signer: Signer, http: Http, rtmp: Rtmp, auth: Auth, wall: Callable[[], float]) -> None:
        self._signer = signer
        self._http = http
        self._rtmp = rtmp
        self._auth = auth
        self._wall = wall

    def place(self, request: Request) -> tuple[str, bool]:
        """``host[:port]`` that the client can reach us at, and whether by TLS."""
        if self._http.advertise:
            return self._http.advertise, request.secure
        if request.host_header:
            return request.host_header, request.secure
        here: object = request.host
        host, port = getattr(here, "host", "localhost"), getattr(here, "port", self._http.port)
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), request.secure

    def play(self, request: Request, key: StreamKey, query: PlayQuery, viewer: str) -> Play:
        """Every address of one live channel, or of one playback."""
        now = self._wall()
        token = self._signer.media(str(key), self._auth.media_token_s, now, viewer)
        words = {"stream": query.stream, "audio": query.audio, "hevc": query.hevc, "media": query.media if query.media != "av" else None}
        asked = urlencode({**{name: word for name, word in words.items() if word}, "token": token})
        host, secure = self.place(request)
        path = quote(f"/live/{key}" if key.kind == "live" else f"/{key}")
        http, ws = ("https", "wss") if secure else ("http", "ws")
        urls = PlayUrls(
            flv=f"{http}://{host}{path}.flv?{asked}",
            ws_flv=f"{ws}://{host}{path}.flv?{asked}",
            mp4=f"{http}://{host}{path}.mp4?{asked}",
            ws_mp4=f"{ws}://{host}{path}.mp4?{asked}",
            hls=f"{http}://{host}{path}/index.m3u8?{asked}",
            ts=f"{http}://{host}{path}.ts?{asked}",
            jt1078=f"{http}://{host}{path}.jt1078?{asked}",
            rtmp=self._rtmp_url(host, f"{path}?{asked}"),
        )
        return Play(str(key), key.sim, key.channel, urls, token, iso_time(now + self._auth.media_token_s))

    def _rtmp_url(self, place: str, tail: str) -> str:
        """By ``rtmp.advertise``, else on the host that the other addresses have."""
        rtmp = self._rtmp
        plain = rtmp.port and not (rtmp.tls_certificate and not rtmp.tls_port)
        port = rtmp.port if plain else rtmp.tls_port or rtmp.port
        if not port:
            return ""
        scheme, usual = ("rtmp", 1935) if plain else ("rtmps", 443)
        if rtmp.advertise:
            return f"{scheme}://{rtmp.advertise}{tail}"
        host = place if place.endswith("]") or ":" not in place else place.rpartition(":")[0]
        return f"{scheme}://{host}{'' if port == usual else f':{port}'}{tail}"
