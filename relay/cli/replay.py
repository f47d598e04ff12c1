"""``jt1078relay replay FILE``: plays a recording's terminal (or superior) against a relay; or lists it, or scrubs it."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

from relay.errors import RelayError

SUMMARY = "play a recorded terminal against a relay, or scrub the recording"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="a recording (*.jtrec)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--server", metavar="HOST:PORT", type=_address, help="the relay's JT/T 808 address (of a JT/T 809 recording: its subordinate link)")
    what.add_argument("--scrub", metavar="OUT", type=Path, help="write the recording to OUT with made-up numbers, plates, names and secrets")
    what.add_argument("--list", action="store_true", help="tell what is in it")
    add("--media-server", metavar="HOST:PORT", type=_address, help="send all media there, at their recorded times (default: where the relay asks for them)")
    add("--speed", metavar="X", type=_speed, default=1.0, help="so many times as fast; max = without pauses (default 1)")
    add("--code", default="", metavar="CODE", help="authentication code that the relay knows (default: what it gives at registration)")
    add("--phone", metavar="NUMBER", type=_phone, help="play as this terminal instead")
    add("--as-recorded", action="store_true", help="send the very bytes: no code, serial or number is fitted to this relay")
    add("--tls", action="store_true", help="JT/T 808 in TLS (the certificate is not checked)")
    add("--listen", metavar="PORT", type=int, default=0, help="where to wait for connections that the relay opens itself (JT/T 809 main links)")
    for name in ("m1", "ia1", "ic1"):
        add(f"--{name}", type=int, metavar="N", help=f"with --scrub: {name.upper()} of the account, for encrypted JT/T 809 bodies")
    add("--json", action="store_true", help="the summary as one JSON object")
    add("--quiet", action="store_true", help="only the summary")
    parser.set_defaults(usage_error=parser.error)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number above 0 nor max")
    return speed


def _phone(text: str) -> str:
    if not text.isdigit() or len(text) > 20:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of up to 20 digits")
    return text


class ReplayError(RelayError):
    """It could not be played as it should."""


def run(args: argparse.Namespace) -> int:
    """List, scrub or play."""
    from relay.net.recording import Recording

    recording = Recording(args.file)
    if args.list:
        return _list(recording, args.json)
    if args.scrub is not None:
        return _scrub(recording, args)
    return _play(recording, args)


def _list(recording: Any, as_json: bool) -> int:
    from relay.cli.dump_pcap import when
    from relay.net.recording import Kind

    links: dict[int, dict[str, Any]] = {}
    notes: list[dict[str, Any]] = []
    for event in recording:
        if event.kind is Kind.OPEN:
            links[event.link] = {**event.info, "link": event.link, "opened": when(event.time * 1000), "bytes_in": 0, "bytes_out": 0}
        elif event.kind is Kind.NOTE:
            notes.append({**event.info, **({"link": event.link} if event.link else {})})
        elif event.link in links:
            link = links[event.link]
            link["last"] = when(event.time * 1000)
            if event.kind is Kind.CLOSE:
                link["closed"] = event.info.get("reason", "")
            else:
                link["bytes_in" if event.kind is Kind.IN else "bytes_out"] += len(event.data)
    if as_json:
        print(json.dumps({"links": list(links.values()), "notes": notes, "cut": recording.cut}, ensure_ascii=False))
        return 0
    for link in links.values():
        ended = f", {link['closed']}" if "closed" in link else ""
        print(
            f"link {link['link']}: {link.get('protocol')} over {link.get('transport')} from {link.get('peer')}, {link['opened']} to "
            f"{link.get('last', link['opened'])}, {link['bytes_in']} bytes in, {link['bytes_out']} out{ended}"
        )
    for note in notes:
        print(", ".join(f"{name}: {value}" for name, value in note.items()))
    if recording.cut:
        print("the last record is cut")
    return 0


def _scrub(recording: Any, args: argparse.Namespace) -> int:
    from relay.cli.dump_jt809 import keys_of_arguments
    from relay.net.aliases import Aliases
    from relay.net.scrub import Scrubber, scrub_recording

    scrubber = Scrubber(Aliases(), keys_of_arguments(args))
    scrub_recording(recording, args.scrub, scrubber)
    for what, count in scrubber.counts.items():
        print(f"jt1078relay replay: {count} {what}", file=sys.stderr)
    return 0


def _play(recording: Any, args: argparse.Namespace) -> int:
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, ensureDeferred
    from twisted.python.failure import Failure

    from relay.net.player import Played, Player, PlayOptions

    options = PlayOptions(
        server=args.server, media_server=args.media_server, speed=args.speed, code=args.code, phone=args.phone or "", as_recorded=args.as_recorded,
        tls=args.tls, listen_port=args.listen,
    )  # fmt: skip
    loop: Any = reactor
    begun = time.monotonic()

    def told(text: str) -> None:
        if not args.quiet:
            print(f"{time.monotonic() - begun:9.3f} {text}", flush=True)

    player = Player(recording, loop, options, told)
    failed: list[BaseException] = []

    def start() -> None:
        playing: Deferred[Played] = ensureDeferred(player.run())

        def fault(failure: Failure) -> None:
            failed.append(failure.value or ReplayError(failure.getErrorMessage()))

        def ended(_: object) -> None:
            if loop.running:
                loop.stop()

        playing.addErrback(fault)
        playing.addCallback(ended)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.callFromThread(loop.stop))
    loop.callWhenRunning(start)
    loop.run(installSignalHandlers=False)
    if failed:
        raise failed[0]
    return _summary(player, args, time.monotonic() - begun)


def _summary(player: Any, args: argparse.Namespace, seconds: float) -> int:
    result = player.result
    if args.json:
        summary = {
            "links": result.links, "bytes_sent": result.bytes_sent, "sent": dict(sorted(result.sent.items())),
            "received": dict(sorted(result.received.items())), "trouble": result.trouble, "seconds": round(seconds, 3),
        }  # fmt: skip
        print(json.dumps(summary, ensure_ascii=False))
    else:
        print(
            f"{result.links} links, {sum(result.sent.values())} messages and {result.bytes_sent} bytes sent, "
            f"{sum(result.received.values())} messages received in {seconds:.1f} s"
        )
    if not result.links:
        raise ReplayError("no connection was made" + (f": {result.trouble[0]}" if result.trouble else ""))
    return 0
