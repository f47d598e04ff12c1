"""``jt1078relay simulate superior --ask``: one request as a superior makes it, what came of it in a file, and an exit status that says how it went."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from relay.errors import RelayError
from relay.jt1078.packet import PAYLOAD_TYPES, DataType
from relay.sim.superior import NotAnsweredError, SimulatedSuperior
from relay.sim.superior_asks import BEIJING, FASTER, KEYFRAMES, PAUSE, PLAY, RESULTS, REWIND, SEEK, SPEEDS, STOP, Asks, FetchError
from relay.sim.superior_player import StreamPlayer

DONE, REFUSED, NOTHING_CAME = 0, 3, 4  #: exit status; 1 and 2 are the command's own

WHAT = ("live", "search", "playback", "download")
MEDIA = {"av": 0, "a": 1, "v": 2}
PLAYBACK_CONTROLS = {"play": PLAY, "resume": PLAY, "pause": PAUSE, "stop": STOP, "speed": FASTER, "rewind": REWIND, "seek": SEEK, "keyframes": KEYFRAMES}
DOWNLOAD_CONTROLS = {"pause": 0, "resume": 1, "cancel": 2}
SPAN_S = 1800  #: of a playback or download whose end is not given
DAY_S = 86400

_CONTROL = re.compile(r"(?P<name>[a-z]+)(=(?P<value>[^@]+))?@(?P<at>\d+(\.\d+)?)")


class AskError(RelayError):
    """What the user gave cannot be asked."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``--ask``."""
    group = parser.add_argument_group("asking for one vehicle's video (exit status: 0 it came, 3 refused or not answered, 4 nothing came)")
    add = group.add_argument
    add("--ask", choices=WHAT, help="0x9801, 0x9902, 0x9A01 or 0x9B01 once the links are up; then end")
    add("--plate", default="", help="of the vehicle, such as 粤B12345")
    add("--color", type=int, default=2, help="of its plate (default %(default)s, yellow)")
    add("--channel", type=int, default=1, help="logical channel; 0 = all (default %(default)s)")
    add("--media", choices=tuple(MEDIA), default="av", help="sound and picture, sound, or picture (default %(default)s)")
    add("--seconds", type=float, default=10, metavar="S", help="how long to watch (default %(default)g)")
    add("--save", type=Path, metavar="FILE", help="raw JT/T 1078 of live and playback; the file of a download (a second one: FILE.2 …)")
    add("--from", dest="begin", metavar="TIME", help="2026-11-29T08:00 in UTC+8, or seconds before now: 7200 (search: default a day)")
    add("--to", dest="end", metavar="TIME", help="likewise (search: default now; playback, download: half an hour after --from)")
    add("--control", action="append", default=[], metavar="NAME[=VALUE]@S", help="so many seconds after the beginning: pause@2 resume@4 speed=4@6 rewind=2@8 "
        "seek=TIME@8 keyframes@9 stop@10; of a download pause, resume, cancel; more than once")  # fmt: skip
    add("--cross-domain", action="store_true", help="with the cross-domain password and the vehicle's last position")
    add("--patience", type=float, default=60, metavar="S", help="for each answer, and for a download (default %(default)g)")


def check(args: argparse.Namespace) -> None:
    """Everything that is wrong with the options before anything is listened for. Raises AskError."""
    if not args.plate:
        raise AskError("--ask needs --plate")
    if not 0 <= args.channel <= 255 or not 0 <= args.color <= 255:
        raise AskError("--channel and --color are 0 to 255")
    span(args, time.time())
    controls(args.control, args.ask, time.time())


def moment(text: str, now: float) -> int:
    """Seconds since 1970 of what people write."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(now) - int(text)
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp())
    except ValueError:
        raise AskError(f"{text!r} is neither a time such as 2026-11-29T08:00 nor seconds before now") from None


def span(args: argparse.Namespace, now: float) -> tuple[int, int]:
    """Begin and end of what is asked for."""
    if args.ask == "live":
        return 0, 0
    if args.begin is None and args.ask != "search":
        raise AskError(f"--ask {args.ask} needs --from")
    begin = moment(args.begin, now) if args.begin is not None else int(now) - DAY_S
    end = moment(args.end, now) if args.end is not None else int(now) if args.ask == "search" else min(begin + SPAN_S, int(now))
    if end <= begin:
        raise AskError("--to is not after --from")
    return begin, end


def controls(words: list[str], what: str, now: float) -> list[tuple[float, str, str]]:
    """(seconds, name, value), in their order."""
    known: dict[str, int] = PLAYBACK_CONTROLS if what == "playback" else DOWNLOAD_CONTROLS if what == "download" else {}
    found = []
    for word in words:
        match = _CONTROL.fullmatch(word)
        if match is None or match["name"] not in known:
            raise AskError(f"--control {word}: {what} takes {', '.join(f'{name}@SECONDS' for name in known) or 'none'}")
        name, value = match["name"], match["value"] or ""
        if name == "seek":
            moment(value, now)
        elif value not in (tuple(map(str, SPEEDS)) if name in ("speed", "rewind") else ("",)):
            raise AskError(f"--control {word}: speed and rewind take one of {', '.join(map(str, SPEEDS))}, others nothing")
        found.append((float(match["at"]), name, value))
    return sorted(found)


class Asking:
    """One run of ``--ask``. ``figures`` is what came, for ``--json``."""

    def __init__(self, superior: SimulatedSuperior, args: argparse.Namespace, say: Callable[[str], None]) -> None:
        self.superior = superior
        self.args = args
        self.say = say
        self.figures: dict[str, Any] = {"ask": args.ask, "plate": args.plate, "channel": args.channel}
        self.asks = Asks(superior, args.plate, args.color, cross_domain=args.cross_domain, timeout_s=args.patience)

    async def run(self) -> int:
        """Gives the exit status."""
        self.figures["status"] = status = await self._run()
        return status

    async def _run(self) -> int:
        args, superior = self.args, self.superior
        try:
            await superior.until(lambda: bool(self.asks.password), args.patience)
        except NotAnsweredError:
            self.say(f"! no time-efficient passwords (0x1701) came within {args.patience:g} s; asked without")
        vehicle = args.plate, args.color
        try:
            await superior.until(lambda: vehicle in superior.vehicles and (not args.cross_domain or vehicle in superior.positions), args.patience)
        except NotAnsweredError:
            known = ", ".join(f"{plate}.{color}" for plate, color in superior.vehicles) or "none"
            self.say(f"! {args.plate}.{args.color} was not registered (0x1201) within {args.patience:g} s; registered: {known}")
        begin, end = span(args, time.time())
        what = {"live": self._live, "playback": self._playback, "search": self._search, "download": self._download}[args.ask]
        try:
            return await what(begin, end)
        except NotAnsweredError as problem:
            self.say(f"! {problem}")
            return REFUSED

    def _answered(self, answer: Any) -> bool:
        result = int(answer.result)
        took = round(self.asks.took_s * 1000, 1)
        key = f"0x{answer.KEY[1]:04X}"
        self.figures.update(answer=key, result=result, answer_ms=took)
        self.say(f"{key} after {took:g} ms: {result} {RESULTS.get(result, 'unknown')}")
        return result == 0

    # ---- media --------------------------------------------------------------------------------------------------------------

    async def _live(self, begin: int, end: int) -> int:
        avitem = MEDIA[self.args.media]
        answer = await self.asks.live(self.args.channel, avitem)
        if not self._answered(answer):
            return REFUSED
        status = await self._watch(answer, [])
        await self.asks.live_stop(self.args.channel, avitem)
        return status

    async def _playback(self, begin: int, end: int) -> int:
        answer = await self.asks.playback(self.args.channel, begin, end, MEDIA[self.args.media])
        if not self._answered(answer):
            return REFUSED
        steps = controls(self.args.control, "playback", time.time())
        status = await self._watch(answer, steps)
        if all(name != "stop" for _, name, _ in steps):
            await self.asks.control(STOP)
        return status

    async def _watch(self, answer: Any, steps: list[tuple[float, str, str]]) -> int:
        args, reactor = self.args, self.superior.reactor
        self.say(f"fetched from {answer.server_ip}:{answer.server_port}")
        out = args.save.open("wb") if args.save is not None else None
        try:
            player = self.asks.player(answer, args.channel, MEDIA[args.media], out.write if out is not None else None)
            began = reactor.seconds()
            for at, name, value in steps:
                await deferLater(reactor, max(0.0, began + at - reactor.seconds()))
                times, where = (1, moment(value, time.time())) if name == "seek" else (int(value or 1), 0)
                moved = await self.asks.control(PLAYBACK_CONTROLS[name], times, where)
                self._control(at, name, moved)
            while reactor.seconds() < began + args.seconds and not player.ended:
                await deferLater(reactor, 0.1)
            ended = player.ended
            player.close()
            await player.over
        finally:
            if out is not None:
                out.close()
        return self._told(player, ended, reactor.seconds() - began)

    def _control(self, at: float, name: str, answer: Any) -> None:
        result = int(answer.result)
        self.figures.setdefault("controls", []).append({"at": at, "control": name, "result": result})
        self.say(f"{at:g} s: {name}: {result} {RESULTS.get(result, 'unknown')} after {self.asks.took_s * 1000:.1f} ms")

    def _told(self, player: StreamPlayer, ended: str, seconds: float) -> int:
        codecs: dict[str, dict[str, int]] = {}
        for (pt, data_type), count in sorted(player.kinds.items()):
            name = DataType(data_type).name.lower() if data_type in tuple(DataType) else str(data_type)
            codecs.setdefault(PAYLOAD_TYPES.get(pt, f"payload type {pt}"), {})[name] = count
        first = round((player.first_at - player.asked_at) * 1000, 1) if player.first_at is not None else None
        self.figures.update(
            http_status=player.status, bytes=player.bytes, frames=player.counts.total(), codecs=codecs, channels=dict(sorted(player.counts.items())),
            first_frame_ms=first, lost_packets=player.lost_packets, seconds=round(seconds, 3), ended=ended,
        )  # fmt: skip
        if player.status != 200:
            self.say(f"! no stream: {player.status or 'no answer'} {player.body.decode('utf-8', 'replace')[:500]}")
        elif not player.first:
            self.say("! the stream was opened, and no frame came")
        else:
            came = f"{player.counts.total()} frames, {player.bytes} bytes in {seconds:.1f} s"
            self.say(f"{came}; first frame after {first:g} ms; {player.lost_packets} packets lost")
            for codec, kinds in codecs.items():
                self.say(f"  {codec}: {', '.join(f'{count} {name}' for name, count in kinds.items())}")
            if self.args.save is not None:
                self.say(f"saved: {self.args.save} (jt1078relay inspect {self.args.save} explains it)")
        return DONE if player.first is not None else NOTHING_CAME

    # ---- recordings ---------------------------------------------------------------------------------------------------------

    async def _search(self, begin: int, end: int) -> int:
        answer = await self.asks.search(self.args.channel, begin, end)
        if not self._answered(answer):
            return REFUSED
        items = [item.fields() for item in answer.item_list]
        self.figures["items"] = items
        for item in answer.item_list:
            first, last = (datetime.fromtimestamp(at, BEIJING) for at in (item.start_time, item.end_time))
            self.say(f"channel {item.channel_id} {first:%Y-%m-%d %H:%M:%S} - {last:%Y-%m-%d %H:%M:%S} {item.file_size} bytes")
        self.say(f"{len(items)} recordings")
        if self.args.save is not None:
            self.args.save.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
        return DONE if items else NOTHING_CAME

    async def _download(self, begin: int, end: int) -> int:
        answer = await self.asks.download(self.args.channel, begin, end, MEDIA[self.args.media])
        if not self._answered(answer):
            return REFUSED
        session = int(answer.session_id)
        self.say(f"session {session}")
        reactor = self.superior.reactor
        began = reactor.seconds()
        for at, name, _ in controls(self.args.control, "download", time.time()):
            await deferLater(reactor, max(0.0, began + at - reactor.seconds()))
            self._control(at, name, await self.asks.download_control(session, DOWNLOAD_CONTROLS[name]))
            if name == "cancel":
                return NOTHING_CAME
        fetched = []
        for ready in await self.asks.ready(session, self.args.patience):
            if ready.result:
                self.say("! 0x1B02: failure; the platform's log says why")
                continue
            try:
                data = await self.asks.fetch(ready)
            except FetchError as problem:
                self.say(f"! {problem}")
                continue
            fetched.append({"path": str(ready.file_path), "bytes": len(data)})
            self.say(f"{ready.file_path}: {len(data)} bytes from ftp://{ready.server_ip}:{ready.tcp_port}, {reactor.seconds() - began:.1f} s after 0x1B01")
            if self.args.save is not None:
                path = self.args.save if len(fetched) == 1 else self.args.save.with_name(f"{self.args.save.name}.{len(fetched)}")
                path.write_bytes(data)
                self.say(f"saved: {path}")
        self.figures["files"] = fetched
        return DONE if fetched else NOTHING_CAME
