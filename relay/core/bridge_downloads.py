"""Superiors fetch recordings (JT/T 1078-2016 chapter 8.4): the terminal uploads to us, the superior fetches from us.

    0x9B01 ─ checks ─► 0x1B01 (result, session) ─► 0x9206 upload task (``core.uploads``)
    0x9B03 pause, resume, cancel ─► 0x9207 ─► 0x1B03                      while it comes
    0x1206, or its end ─► 0x1B02: FTP address and credentials of the file, or result 1 ─► 0x9B02

Everything of a session stands in its task's ``who``, so that a restart of the relay loses none: the task goes on, and its end is told. A task that
brought several files is told by one 0x1B02 for each, all of the same session.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from twisted.logger import Logger

from relay.core.bridge_requests import FAILURE, NOT_SUPPORTED, SESSION_ENDED, SUCCESS, BridgeRequests, digits_of
from relay.core.events import Event
from relay.core.fetches import Fetches
from relay.core.link import RefusedError, RequestError
from relay.core.stored import Criteria
from relay.core.uplink import Reply, Request
from relay.core.upload_facts import State, UploadError
from relay.core.upload_task import Upload
from relay.core.uploads import Uploads
from relay.jt809.messages.video import (
    DownloadAnswer,
    DownloadControl,
    DownloadControlAnswer,
    DownloadReady,
    DownloadReadyAnswer,
    DownloadRequest,
)

if TYPE_CHECKING:
    from relay.core.superior import Superior

log = Logger()

PURPOSE = "superior"
PATH_BYTES = 200  #: FILE_PATH of 0x1B02
ACTIONS = {0: "pause", 1: "resume", 2: "cancel"}

_WHO = re.compile(r"(?P<name>\S+) session (?P<session>\d+) of (?P<plate>.+) (?P<color>\d+)")


def who_of(superior: str, session: int, plate: str, color: int) -> str:
    """A session, as its task remembers it."""
    return f"{superior} session {session} of {plate} {color}"


class BridgeDownloads:
    """The handlers of 0x9B01 to 0x9B03; ``register`` puts them into the table of ``core.uplink``."""

    def __init__(self, requests: BridgeRequests, uploads: Uploads, fetches: Fetches, ftp_port: int) -> None:
        """``ftp_port``: the listener's; 0 = it is off."""
        self.requests = requests
        self.bridge = requests.bridge
        self.uploads = uploads
        self.fetches = fetches
        self.ftp_port = ftp_port
        self._last: dict[str, int] = {}  #: session id given last, by superior
        self._undo = self.bridge.events.subscribe(self._heard)

    def register(self) -> None:
        """From now on."""
        on = self.bridge.hub.uplink.on
        on(0x9B00, 0x9B01, self.download)
        on(0x9B00, 0x9B02, self.taken)
        on(0x9B00, 0x9B03, self.control)

    def close(self) -> None:
        """No more events."""
        self._undo()

    def _sessions(self, superior: str) -> dict[int, Upload]:
        found = {}
        for task in self.uploads.active():
            match = _WHO.fullmatch(task.facts.who) if task.facts.purpose == PURPOSE else None
            if match is not None and match["name"] == superior:
                found[int(match["session"])] = task
        return found

    def _new_session(self, superior: str) -> int:
        used = self._sessions(superior)
        number = self._last.get(superior, 0)
        while True:
            number = number % 0xFFFF + 1
            if number not in used:
                self._last[superior] = number
                return number

    async def download(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9B01."""
        data = request.data
        if not isinstance(data, DownloadRequest):
            return
        admitted = await self.requests.admit(superior, request, data.authorize_code, data.gnss_data)
        if isinstance(admitted, int):
            reply(DownloadAnswer(result=admitted))
            return
        vehicle, _ = admitted
        channel = int(data.channel_id)
        if not vehicle.terminal.has_channel(channel):
            reply(DownloadAnswer(result=self.requests.refuse(superior, request, NOT_SUPPORTED, f"there is no channel {channel}")))
            return
        criteria = Criteria(
            digits_of(data.start_time), digits_of(data.end_time), int(data.alarm_type), int(data.avitem_type), int(data.stream_type), int(data.mem_type)
        )
        session = self._new_session(superior.name)
        who = who_of(superior.name, session, vehicle.plate, vehicle.color)
        try:
            await self.uploads.start(vehicle.sim, channel, criteria, 7, int(data.file_size), PURPOSE, who)
        except UploadError as problem:
            reply(DownloadAnswer(result=self.requests.refuse(superior, request, FAILURE, problem.message)))
            return
        reply(DownloadAnswer(result=SUCCESS, session_id=session))

    async def control(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9B03."""
        data = request.data
        if not isinstance(data, DownloadControl):
            return
        self.bridge.counts["0x9B03"] += 1
        task = self._sessions(superior.name).get(int(data.session_id))
        action = ACTIONS.get(int(data.type))
        if task is None or action is None:
            reply(DownloadControlAnswer(result=SESSION_ENDED if task is None else NOT_SUPPORTED))
            return
        result = SUCCESS
        try:
            await task.control(action)
        except UploadError as problem:
            result = self.requests.refuse(superior, request, SESSION_ENDED, problem.message)
        except RequestError as problem:
            unsupported = isinstance(problem, RefusedError) and problem.result == 3
            result = self.requests.refuse(superior, request, NOT_SUPPORTED if unsupported else FAILURE, problem.message)
        reply(DownloadControlAnswer(result=result))

    def taken(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9B02."""
        data = request.data
        if isinstance(data, DownloadReadyAnswer):
            self.bridge.counts[f"0x9B02 result {data.result}"] += 1

    # ---- the end of a task ------------------------------------------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        if event["event"] == "upload.state" and event["state"] in (State.DONE.value, State.FAILED.value):
            self.uploads.get(event["id"]).addCallbacks(self._over, lambda _: None)

    def _over(self, task: Upload) -> None:
        match = _WHO.fullmatch(task.facts.who) if task.facts.purpose == PURPOSE else None
        superior = self.bridge.hub.get(match["name"]) if match is not None else None
        if match is None or superior is None:
            return
        session, plate, color = int(match["session"]), match["plate"], int(match["color"])
        host = self.uploads.settings.advertise or self.bridge.platform_address(superior)[0]
        whole = [each for each in task.facts.files.values() if each.complete]
        if task.state is not State.DONE or not whole or not host or not self.ftp_port:
            log.info("superior {name}: download {session} failed: {why}", name=superior.name, session=session, why=task.facts.message or "no file came")
            superior.keep_or_send(DownloadReady(result=1, session_id=session), plate, color)
            return
        for each in whole:
            self._tell(superior, session, plate, color, host, task, each.name)

    def _tell(self, superior: Superior, session: int, plate: str, color: int, host: str, task: Upload, name: str) -> None:
        shown = name if len(name.encode("gbk", "replace")) < PATH_BYTES - 1 and "?" not in name else f"{task.id}.mp4"
        grant = self.fetches.grant(task.folder / name, shown, superior.name)
        ready = DownloadReady(
            result=0, session_id=session, server_ip=host, tcp_port=self.ftp_port, username=grant.user, password=grant.password, file_path=f"/{shown}"
        )
        superior.keep_or_send(ready, plate, color)
        self.bridge.counts["0x1B02"] += 1
        self.bridge.events.publish("superior.video", superior=superior.name, plate=plate, what="download ready", sim=task.sim, session=session)
