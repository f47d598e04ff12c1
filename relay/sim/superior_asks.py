"""What a superior asks a vehicle's platform for, from the request to what came (JT/T 1078-2016 chapters 6 to 8).

    asks = Asks(superior, "粤B12345", 2)
    answer = await asks.live(1)                      0x9801 → 0x1801; asks.took_s says how long it took
    player = asks.player(answer, 1)                  the superior's player; what comes is told by it
    await asks.live_stop(1)                          0x9802 → 0x1802
    found = await asks.search(1, begin, end)         0x9902 → 0x1902
    answer = await asks.download(1, begin, end)      0x9B01 → 0x1B01
    files = await asks.ready(answer.session_id)      0x1B02, answered with 0x9B02
    data = await asks.fetch(files[0])                by FTP, in a thread
"""

from __future__ import annotations

import ftplib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from relay.errors import RelayError
from relay.jt809.messages.base import Body, Gnss
from relay.jt809.messages.video import (
    CatalogueAnswer,
    CatalogueRequest,
    DownloadAnswer,
    DownloadControl,
    DownloadControlAnswer,
    DownloadReady,
    DownloadReadyAnswer,
    DownloadRequest,
    LiveAnswer,
    LiveRequest,
    LiveStopAnswer,
    LiveStopRequest,
    PlaybackAnswer,
    PlaybackControl,
    PlaybackControlAnswer,
    PlaybackRequest,
)
from relay.sim.superior import NotAnsweredError, Position, SimulatedSuperior
from relay.sim.superior_player import StreamPlayer, fetch

BEIJING = timezone(timedelta(hours=8))
SETTLE_S = 0.5  #: a task of several files is told by several 0x1B02, one right behind the other
FTP_S = 20.0  #: without a byte from the FTP server
FILE_MAX = 512 << 20  #: of a file that is fetched into memory

#: 应答结果 in words
RESULTS = {0: "success", 1: "failure", 2: "not supported", 3: "session ended", 4: "wrong time-efficient password", 5: "cross-domain condition not met"}

PLAY, PAUSE, STOP, FASTER, REWIND, SEEK, KEYFRAMES = range(7)  #: control_type of 0x9A02
SPEEDS = {1: 1, 2: 2, 4: 3, 8: 4, 16: 5}  #: times → fast_time of 0x9A02


class FetchError(RelayError):
    """The file could not be fetched."""


def position_block(position: Position, now: datetime) -> bytes:
    """A position that came, as the 36 bytes that a cross-domain request shows, with the time of now."""
    gnss = position.gnss
    if gnss.gnss_data is not None:
        lat, lon = (int.from_bytes(bytes(gnss.gnss_data[at : at + 4]), "big") for at in (8, 12))
    else:
        lat, lon = gnss.lat or 0, gnss.lon or 0
    local = now.astimezone(BEIJING)
    stamp = {name: getattr(local, name) for name in ("day", "month", "year", "hour", "minute", "second")}
    return Gnss(encrypt=0, **stamp, lon=lon, lat=lat, vec1=0, vec2=0, vec3=0, direction=0, altitude=0, state=3, alarm=0).encode(2011)


class Asks:
    """The requests for one vehicle. ``cross_domain``: with that password and the vehicle's last position."""

    def __init__(self, superior: SimulatedSuperior, plate: str, color: int, *, cross_domain: bool = False, timeout_s: float = 60.0) -> None:
        self.superior = superior
        self.plate = plate
        self.color = color
        self.cross_domain = cross_domain
        self.timeout_s = timeout_s
        self.took_s = 0.0  #: between the last request and its answer

    @property
    def password(self) -> str:
        """The one of the last 0x1701; empty before."""
        return self.superior.passwords[1 if self.cross_domain else 0]

    @property
    def shown(self) -> bytes | None:
        """The position that the request shows."""
        known = self.superior.positions.get((self.plate, self.color))
        return position_block(known[-1], datetime.now(UTC)) if self.cross_domain and known else None

    async def _ask(self, message: Body) -> Any:
        begun = self.superior.seconds()
        answer = await self.superior.ask(message, self.plate, self.color, self.timeout_s)
        self.took_s = self.superior.seconds() - begun
        return answer

    async def live(self, channel: int, avitem: int = 0) -> LiveAnswer:
        """0x9801."""
        request = LiveRequest(channel_id=channel, avitem_type=avitem, authorize_code=self.password, gnss_data=self.shown)
        answer: LiveAnswer = await self._ask(request)
        return answer

    async def live_stop(self, channel: int, avitem: int = 0) -> LiveStopAnswer:
        """0x9802."""
        answer: LiveStopAnswer = await self._ask(LiveStopRequest(channel_id=channel, avitem_type=avitem))
        return answer

    async def search(self, channel: int, begin: int, end: int, avitem: int = 3) -> CatalogueAnswer:
        """0x9902; seconds since 1970, 0 = no bound."""
        request = CatalogueRequest(
            channel_id=channel, start_time=begin, end_time=end, alarm_type=0, avitem_type=avitem, stream_type=0, mem_type=0,
            authorize_code=self.password, gnss_data=self.shown,
        )  # fmt: skip
        answer: CatalogueAnswer = await self._ask(request)
        return answer

    async def playback(self, channel: int, begin: int, end: int, avitem: int = 0) -> PlaybackAnswer:
        """0x9A01."""
        request = PlaybackRequest(
            channel_id=channel, avitem_type=avitem, stream_type=0, mem_type=0, playback_start_time=begin, playback_end_time=end,
            authorize_code=self.password, gnss_data=self.shown,
        )  # fmt: skip
        answer: PlaybackAnswer = await self._ask(request)
        return answer

    async def control(self, kind: int, times: int = 1, time: int = 0) -> PlaybackControlAnswer:
        """0x9A02: ``times`` with FASTER and REWIND, ``time`` with SEEK."""
        fast = SPEEDS.get(times, 0) if kind in (FASTER, REWIND) else 0
        answer: PlaybackControlAnswer = await self._ask(PlaybackControl(control_type=kind, fast_time=fast, date_time=time))
        return answer

    async def download(self, channel: int, begin: int, end: int, avitem: int = 0) -> DownloadAnswer:
        """0x9B01."""
        request = DownloadRequest(
            channel_id=channel, start_time=begin, end_time=end, alarm_type=0, avitem_type=avitem, stream_type=0, mem_type=0, file_size=0,
            authorize_code=self.password, gnss_data=self.shown,
        )  # fmt: skip
        answer: DownloadAnswer = await self._ask(request)
        return answer

    async def download_control(self, session: int, kind: int) -> DownloadControlAnswer:
        """0x9B03: 0 pause, 1 resume, 2 cancel."""
        answer: DownloadControlAnswer = await self._ask(DownloadControl(session_id=session, type=kind))
        return answer

    def _told(self, session: int) -> list[DownloadReady]:
        found = (heard.business.data for heard in self.superior.heard if heard.kind == 0x1B02)
        return [data for data in found if isinstance(data, DownloadReady) and data.session_id == session]

    async def ready(self, session: int, timeout_s: float = 120.0) -> list[DownloadReady]:
        """The 0x1B02 of a session, each answered; fails with NotAnsweredError."""
        try:
            await self.superior.until(lambda: bool(self._told(session)), timeout_s)
        except NotAnsweredError:
            raise NotAnsweredError(f"0x1B02 of session {session} did not come within {timeout_s:g} s") from None
        await deferLater(self.superior.reactor, SETTLE_S)
        found = self._told(session)
        for _ in found:
            self.superior.send(DownloadReadyAnswer(result=0, session_id=session), self.plate, self.color)
        return found

    def fetch(self, ready: DownloadReady) -> Deferred[bytes]:
        """The file, by FTP in a thread; fails with FetchError."""
        reactor = self.superior.reactor
        return deferToThreadPool(reactor, reactor.getThreadPool(), fetch_file, ready)

    def player(self, answer: Any, channel: int, avitem: int = 0, save: Callable[[bytes], object] | None = None) -> StreamPlayer:
        """Fetch what an answer (0x1801, 0x1A01) opened."""
        host, port = str(answer.server_ip), int(answer.server_port)
        return fetch(self.superior.reactor, host, port, self.plate, self.color, channel, avitem, self.password, save=save)


def fetch_file(ready: DownloadReady) -> bytes:
    """Blocking. Raises FetchError."""
    got = bytearray()

    def take(data: bytes) -> None:
        got.extend(data)
        if len(got) > FILE_MAX:
            raise FetchError(f"the file has more than {FILE_MAX >> 20} MiB")

    try:
        with ftplib.FTP(timeout=FTP_S) as client:  # noqa: S321 - the standard has no other
            client.connect(str(ready.server_ip), int(ready.tcp_port))
            client.login(str(ready.username), str(ready.password))
            client.retrbinary(f"RETR {ready.file_path}", take)
    except (ftplib.Error, OSError, EOFError, UnicodeError) as problem:
        raise FetchError(f"ftp://{ready.server_ip}:{ready.tcp_port}{ready.file_path}: {problem}") from None
    return bytes(got)
