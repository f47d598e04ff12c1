"""``jt1078relay simulate terminal``: terminals to try the relay with, one or thousands, well-behaved or not; ``simulate superior`` is beside it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from relay.cli import simulate_superior
from relay.errors import RelayError, UsageError

SUMMARY = "simulated terminals, a simulated superior platform"

#: with more terminals than this their lines would drown everything: counts once a second instead
_LINES_MAX = 50
#: connections begun each second, so that a thousand terminals do not begin as one storm (--storm does)
_STARTS_A_SECOND = 500
#: how long closing all connections may take
_CLOSE_S = 3.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    from relay.sim.faults import FAULTS

    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    simulate_superior.arguments(kinds.add_parser("superior", help="a superior platform (JT/T 809) that a subordinate one logs in to"))
    sub = kinds.add_parser(
        "terminal",
        help="terminals that register, report, answer and send media",
        description="Simulated terminals: they register, authenticate, report positions, answer every command, and send media when asked (0x9101).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="faults (--fault NAME or NAME=VALUE, more than once):\n"
        + "\n".join(f"  {name:22}{kind.help}{_default(kind.default)}" for name, kind in FAULTS.items()),
    )
    add = sub.add_argument
    add("--server", required=True, metavar="HOST:PORT", type=_address, help="the platform's JT/T 808 address")
    add("--phone", default="13800138000", help="number of the terminal; of the first one with --count (default %(default)s)")
    add("--count", type=_positive, default=1, metavar="N", help="so many terminals, with consecutive numbers")
    add("--edition", type=int, choices=(2011, 2013, 2019), default=2013, help="of JT/T 808 (default %(default)s)")
    add("--channels", type=_channels, default=(1, 2, 3, 4), metavar="N|LIST", help="how many channels, or which: 4, or 1,2,5 (default 4)")
    add("--recordings", type=_positive, default=48, metavar="N", help="half-hour recordings of each channel (default %(default)s: a day)")
    add("--upload-format", choices=("h264", "jt1078"), default="h264", help="of files uploaded for 0x9206: a byte stream, or packets (default %(default)s)")
    add("--plate", default="粤B{tail}", help="plate; {tail} is the end of the number (default %(default)s)")
    add("--plate-color", type=int, default=2, metavar="N", help="1 blue, 2 yellow, 3 black, 4 white, 5 green (default %(default)s)")
    add("--code", default="", metavar="CODE", help="authentication code from an earlier registration: authenticate without registering")
    add("--heartbeat-interval", type=float, default=60, metavar="S", help="seconds (default %(default)g)")
    add("--position-interval", type=float, default=30, metavar="S", help="seconds; 0 = never (default %(default)g)")
    add("--alarm-interval", type=float, default=0, metavar="S", help="raise an active-safety alarm with files so often; 0 = never (default %(default)g)")
    source = sub.add_mutually_exclusive_group()
    source.add_argument("--pattern", action="store_true", help="send the test card with a clock and a tone (the default)")
    source.add_argument("--capture", type=Path, metavar="FILE", help="send a recorded JT/T 1078 stream, over and over, with new stamps and numbers")
    source.add_argument("--mp4", type=Path, metavar="FILE", help="send an MP4 file with H.264 or H.265 (needs the media extra)")
    other = sub.add_mutually_exclusive_group()
    other.add_argument("--main-capture", type=Path, metavar="FILE", help="the main stream is that recording, whatever the sub stream is")
    other.add_argument("--sub-capture", type=Path, metavar="FILE", help="the sub stream is that recording, whatever the main stream is")
    add("--untouched", action="store_true", help="with --capture: send the bytes as they are, stamps, SIM number and damage included")
    add("--audio", choices=("g711a", "g711u", "adpcm", "g726", "aac", "none"), default="g711a", help="of the test card (default %(default)s)")
    add("--main-size", type=_size, default=None, metavar="WxH", help="main stream of the test card (default 640x352)")
    add("--sub-size", type=_size, default=None, metavar="WxH", help="sub stream of the test card (default 352x288)")
    add("--fps", type=_positive, default=25, help="of the test card (default %(default)s)")
    add("--gop", type=float, default=2.0, metavar="S", help="seconds between key frames of the test card (default %(default)g)")
    add("--udp", action="store_true", help="send media by UDP wherever 0x9101 names a UDP port")
    add("--signalling-udp", action="store_true", help="JT/T 808 over UDP")
    add("--tls", action="store_true", help="JT/T 808 in TLS (the certificate is not checked)")
    add("--media-server", type=_address, metavar="HOST:PORT", help="send media there, whatever 0x9101 says")
    add("--fault", action="append", default=[], metavar="NAME[=VALUE]", help="misbehave; see below")
    add("--duration", type=float, default=0, metavar="S", help="end after so many seconds (default: never)")
    add("--storm", action="store_true", help="all terminals connect at the same moment")
    add("--quiet", action="store_true", help="only the summary")
    add("--json", action="store_true", help="the summary as one JSON object")


def _default(value: float | None) -> str:
    if value is None:
        return ""
    return f" (default {int(value):x} hexadecimal)" if value == 0x9101 else f" (default {value:.15g})"


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _channels(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a list") from None
    if "," not in text:
        numbers = tuple(range(1, numbers[0] + 1))
    if not numbers or not all(0 < number < 256 for number in numbers):
        raise argparse.ArgumentTypeError("channels are 1 to 255")
    return numbers


def _size(text: str) -> tuple[int, int]:
    from relay.sim.sources import parse_size

    try:
        return parse_size(text)
    except UsageError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


class _InputError(RelayError):
    """What the user gave cannot be used."""


def run(args: argparse.Namespace) -> int:
    """Run them until they are told to stop."""
    if args.kind == "superior":
        return simulate_superior.run(args)
    from twisted.internet import reactor

    return _Run(args, reactor).until_done()


class _Run:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, reactor: Any) -> None:
        from relay.sim.demo import local_utc_offset_s
        from relay.sim.faults import Faults
        from relay.sim.options import TerminalOptions

        self._args = args
        self._reactor = reactor
        self._begun = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._shown: Counter[str] = Counter()
        self._lines = not args.quiet and args.count <= _LINES_MAX
        self._ended = False
        self._online_at_end = 0
        self.options = TerminalOptions(
            host=args.server[0],
            port=args.server[1],
            edition=args.edition,
            channels=args.channels,
            recordings=args.recordings,
            upload_format=args.upload_format,
            plate=args.plate,
            plate_color=args.plate_color,
            auth_code=args.code,
            heartbeat_s=args.heartbeat_interval,
            position_s=args.position_interval,
            alarm_s=args.alarm_interval,
            signalling_udp=args.signalling_udp,
            tls=args.tls,
            media_udp=args.udp,
            media_server=args.media_server,
            faults=Faults.parse(args.fault),
            utc_offset_s=local_utc_offset_s(),
        )
        self._card: Any = None  #: the card that will be sent, if one will be
        self._first = _phones(args.phone, args.count)
        self._make = self._source_maker()
        self.terminals = self._terminals()

    def _source_maker(self) -> Any:
        """What makes a terminal's source; files are opened now, so that a bad one is told at once."""
        from relay.sim.sources import CaptureSource, TwoSources

        make, args = self._one_source_maker(), self._args
        if args.main_capture is not None:
            main = CaptureSource(args.main_capture)
            return lambda terminal: TwoSources(main, make(terminal))
        if args.sub_capture is not None:
            sub = CaptureSource(args.sub_capture)
            return lambda terminal: TwoSources(make(terminal), sub)
        return make

    def _one_source_maker(self) -> Any:
        from relay.sim.pattern import MAIN_SIZE, SUB_SIZE, Pattern
        from relay.sim.sources import CaptureSource, Mp4Source, PatternSource

        args = self._args
        if args.untouched and args.capture is None:
            raise _InputError("--untouched is for --capture")
        if args.capture is not None:
            capture = CaptureSource(args.capture, untouched=args.untouched)
            return lambda terminal: capture
        if args.mp4 is not None:
            mp4 = Mp4Source(args.mp4)
            return lambda terminal: mp4
        main, sub = args.main_size or MAIN_SIZE, args.sub_size or SUB_SIZE
        hisi = "hisi" in self.options.faults
        try:
            for width, height in (main, sub):
                self._card = Pattern(width, height, args.fps, gop_s=args.gop)
        except UsageError as problem:
            raise _InputError(str(problem)) from None
        PatternSource(audio=args.audio, hisi_header=hisi)  # says what is missing

        def make(terminal: Any) -> PatternSource:
            return PatternSource(
                terminal.phone, main=main, sub=sub, fps=args.fps, gop_s=args.gop, audio=args.audio, hisi_header=hisi,
                utc_offset_s=self.options.utc_offset_s, hue_offset=int(terminal.phone[-2:], 16) if args.count > 1 else 0,
            )  # fmt: skip

        return make

    def _terminals(self) -> list[Any]:
        from relay.sim.terminal import SimulatedTerminal

        width = len(self._args.phone)
        phones = [self._args.phone] if self._first is None else [f"{self._first + i:0{width}d}" for i in range(self._args.count)]
        return [SimulatedTerminal(phone, self._reactor, self.options, source=self._make, told=self._told) for phone in phones]

    def until_done(self) -> int:
        """Start the reactor; gives the exit status."""
        reactor = self._reactor
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: reactor.callFromThread(self._end))
        every = 0.0 if self._args.storm else 1 / _STARTS_A_SECOND
        for i, terminal in enumerate(self.terminals):
            reactor.callLater(i * every, self._start, terminal)
        if self._card is not None:
            from relay.sim.rehearsal import Rehearsal

            Rehearsal(reactor, self._card)
        if self._args.duration:
            reactor.callLater(self._args.duration, self._end)
        if not self._lines and not self._args.quiet:
            reactor.callLater(1, self._progress)
        reactor.run(installSignalHandlers=False)
        return self._summary()

    def _start(self, terminal: Any) -> None:
        if not self._ended:
            terminal.start()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        from twisted.internet.defer import DeferredList

        self._reactor.callLater(_CLOSE_S, self._leave)
        self._online_at_end = sum(terminal.online for terminal in self.terminals)
        DeferredList([terminal.stop() for terminal in self.terminals]).addBoth(lambda _: self._reactor.callLater(0, self._leave))

    def _leave(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def _told(self, terminal: Any, what: str) -> None:
        if self._ended:
            return
        self._counts[what.split(":")[0] if not what.startswith("<-") else what.split()[1]] += 1
        if self._lines:
            print(f"{time.monotonic() - self._begun:9.3f} {terminal.phone} {what}", flush=True)

    def _progress(self) -> None:
        if self._ended:
            return
        online = sum(terminal.online for terminal in self.terminals)
        streams = sum(len(terminal.media.sending) for terminal in self.terminals)
        new = {name: count - self._shown[name] for name, count in self._counts.items() if count > self._shown[name]}
        self._shown = self._counts.copy()
        if new:
            events = ", ".join(f"{name} {count}" for name, count in sorted(new.items()))
            print(f"{time.monotonic() - self._begun:9.3f} {online} online, {streams} streams: {events}", flush=True)
        self._reactor.callLater(1, self._progress)

    def _summary(self) -> int:
        came = sum(terminal.online_count > 0 for terminal in self.terminals)
        result = {
            "terminals": len(self.terminals),
            "came_online": came,
            "online_at_end": self._online_at_end,
            "registrations": sum(terminal.registered_count for terminal in self.terminals),
            "links": sum(terminal.online_count for terminal in self.terminals),
            "media_bytes": sum(terminal.media.bytes_sent for terminal in self.terminals),
            "seconds": round(time.monotonic() - self._begun, 3),
            "events": dict(sorted(self._counts.items())),
        }
        if self._args.json:
            print(json.dumps(result, ensure_ascii=False), flush=True)
        else:
            megabytes = int(str(result["media_bytes"])) / 1e6
            print(
                f"{result['terminals']} terminals, {came} came online, {result['online_at_end']} were online at the end; "
                f"{result['registrations']} registrations, {megabytes:.2f} MB of media in {result['seconds']} s",
                flush=True,
            )
        if came < len(self.terminals):
            print(f"jt1078relay simulate: {len(self.terminals) - came} of {len(self.terminals)} terminals never came online", file=sys.stderr)
            return 1
        return 0


def _phones(phone: str, count: int) -> int | None:
    """The first number to count from; None when there is only one terminal."""
    digits = phone.strip()
    if not digits or len(digits) > 20 or not all(c in "0123456789abcdefABCDEF" for c in digits):
        raise _InputError(f"--phone {phone!r}: up to 20 digits")
    if count == 1:
        return None
    if not digits.isdigit() or len(str(int(digits) + count)) > len(digits):
        raise _InputError(f"--phone {phone}: cannot count on to {count} terminals from it")
    return int(digits)
