"""``jt1078relay simulate superior``: a superior platform to try a subordinate one with, by hand or by script."""

from __future__ import annotations

import argparse
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relay.cli import simulate_ask
from relay.errors import RelayError

HELP = """\
  send ID [PLATE.COLOUR] [field=value …]   a message by its sub-business type, in hexadecimal; its answer is printed
  state                                     links, counters, passwords' age
  vehicles                                  vehicles that were registered
  positions PLATE.COLOUR                    the last ones of a vehicle
  raw HEX [main|sub]                        bytes as they are
  cut | close | leave                       break all connections | 0x9008 | 0x9003
  help | quit"""
_CLOSE_S = 3.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    from relay.sim.superior_faults import FAULTS

    parser.description = "A simulated superior platform: the subordinate platform logs in to it; it connects back, records and prints what comes, and asks."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "commands on standard input (or --do, in order, once both links are up):\n" + HELP + "\n\nfaults (--fault NAME or NAME=VALUE, more than once):\n"
        + "\n".join(f"  {name:22}{text}{f' (default {value:g})' if value is not None else ''}" for name, (text, value) in FAULTS.items())
    )  # fmt: skip
    add = parser.add_argument
    add("--listen", default=("127.0.0.1", 10709), metavar="[HOST:]PORT", type=_listen, help="main-link server (default 127.0.0.1:10709; port 0 = any)")
    add("--edition", type=int, choices=(2011, 2019), default=2011, help="of JT/T 809 (default %(default)s)")
    add("--body-edition", type=int, choices=(2011, 2019), default=0, help="of the bodies, to mix them")
    add("--access-code", type=int, default=44030001, help="of the subordinate platform (default %(default)s)")
    add("--user", type=int, default=10001, help="its user (default %(default)s)")
    add("--password", default="12345678", help="its password (default %(default)s)")
    add("--keys", type=_keys, default=None, metavar="M1,IA1,IC1", help="constants of the cipher")
    add("--encrypt", action="store_true", help="encrypt what is sent")
    add("--tls-certificate", default="", metavar="FILE", help="serve the main link in TLS (PEM)")
    add("--tls-key", default="", metavar="FILE", help="its key (PEM)")
    add("--tls-back", action="store_true", help="the subordinate link in TLS (the certificate is not checked)")
    add("--no-connect-back", action="store_true", help="make no subordinate link; everything goes by the main link")
    add("--heartbeat-interval", type=float, default=60, metavar="S", help="seconds (default %(default)g)")
    add("--fault", action="append", default=[], metavar="NAME[=VALUE]", help="misbehave; see below")
    add("--do", action="append", default=[], metavar="COMMAND", help="a command once the links are up; more than once, in order")
    add("--positions", action="store_true", help="print positions too")
    add("--duration", type=float, default=0, metavar="S", help="end after so many seconds (default: never)")
    add("--quiet", action="store_true", help="only answers and the summary")
    add("--json", action="store_true", help="the summary as one JSON object")
    add("--record", type=Path, metavar="FILE", help="write every message that comes as one JSON object a line")
    simulate_ask.arguments(parser)


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not [HOST:]PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _keys(text: str) -> tuple[int, int, int]:
    try:
        m1, ia1, ic1 = (int(part, 0) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not M1,IA1,IC1") from None
    return m1, ia1, ic1


class _InputError(RelayError):
    """What the user gave cannot be used."""


def faults_of(words: list[str]) -> dict[str, float]:
    """From ``name`` and ``name=value``."""
    from relay.sim.superior_faults import FAULTS

    found = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in FAULTS:
            raise _InputError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}")
        default = FAULTS[name][1]
        if value and default is None:
            raise _InputError(f"the fault {name} takes no value")
        try:
            found[name] = float(value) if value else default if default is not None else 1.0
        except ValueError:
            raise _InputError(f"{word}: not a number") from None
    return found


def vehicle_of(word: str) -> tuple[str, int]:
    """``粤B12345.2``."""
    plate, _, color = word.rpartition(".")
    if not plate or not color.isdigit():
        raise _InputError(f"{word!r} is not PLATE.COLOUR such as 粤B12345.2")
    return plate, int(color)


def message_of(id: str, words: list[str], edition: int) -> tuple[Any, str, int]:
    """A message, and the plate and colour it is for, from ``ID [PLATE.COLOUR] [field=value …]``."""
    from relay.jt809.messages import MESSAGES
    from relay.wire import FieldError

    try:
        kind = int(id, 16)
    except ValueError:
        raise _InputError(f"{id!r} is no message id") from None
    cls = next((cls for key in ((kind & 0xFF00, kind), (kind, kind), (kind, 0)) if (cls := MESSAGES.get(key)) is not None), None)
    if cls is None:
        raise _InputError(f"0x{kind:04X} is no message of JT/T 809")
    plate, color = "", 0
    if words and "=" not in words[0]:
        plate, color = vehicle_of(words[0])
        words = words[1:]
    fields: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise _InputError(f"{word!r} is not field=value")
        try:
            fields[name] = json.loads(value) if value[:1] in "[{\"-0123456789" and value else value
        except ValueError:
            fields[name] = value
    while True:
        try:
            return cls.from_fields(fields, edition), plate, color
        except FieldError as problem:
            given = fields.get(problem.path)
            if isinstance(given, bool) or not isinstance(given, int | float):
                raise _InputError(f"0x{kind:04X}: {problem}") from None
            fields[problem.path] = next(word.partition("=")[2] for word in words if word.startswith(f"{problem.path}="))  # digits, and a text


def run(args: argparse.Namespace) -> int:
    """Run it until it is told to stop."""
    from twisted.internet import reactor

    if args.ask:
        simulate_ask.check(args)
    return _Run(args, reactor).until_done()


class _Run:
    def __init__(self, args: argparse.Namespace, reactor: Any) -> None:
        from relay.jt809.cipher import CipherKeys
        from relay.sim.superior import SimulatedSuperior, SuperiorOptions

        if args.encrypt and args.keys is None:
            raise _InputError("--encrypt needs --keys")
        self._args = args
        self._reactor = reactor
        self._begun = time.monotonic()
        self._ended = False
        self._commands = list(args.do)
        self._last: dict[str, Any] = {}
        self._asking: simulate_ask.Asking | None = None
        self._record = args.record.open("w", encoding="utf-8") if args.record is not None else None
        options = SuperiorOptions(
            access_code=args.access_code,
            user_id=args.user,
            password=args.password,
            edition=args.edition,
            body_edition=args.body_edition,
            encrypt=args.encrypt,
            keys=CipherKeys(*args.keys) if args.keys is not None else None,
            heartbeat_s=args.heartbeat_interval,
            connect_back=not args.no_connect_back,
            faults=faults_of(args.fault),
            tls_certificate=args.tls_certificate,
            tls_key=args.tls_key,
            tls_back=args.tls_back,
        )
        self.superior = SimulatedSuperior(reactor, options, self._heard)
        self._edition = options.body_edition or options.edition
        self.did: dict[str, Callable[[list[str]], object]] = {
            "send": self._send, "state": self._state, "vehicles": self._vehicles, "positions": self._positions, "raw": self._raw,
            "cut": lambda words: self.superior.cut(), "close": lambda words: self.superior.close_links(),
            "leave": lambda words: self.superior.leave_sublink(), "help": lambda words: self._say(HELP), "quit": lambda words: self._end(),
        }  # fmt: skip

    def until_done(self) -> int:
        """Start the reactor; gives the exit status."""
        reactor = self._reactor
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: reactor.callFromThread(self._end))
        from twisted.internet.error import CannotListenError

        try:
            port = self.superior.listen(*self._args.listen)
        except CannotListenError as problem:
            raise _InputError(f"cannot listen on {self._args.listen[0]}:{self._args.listen[1]}: {problem.socketError}") from None
        self._say(f"listening on {self._args.listen[0]}:{port}")
        ready = self.superior.logged_in(both=not self._args.no_connect_back, timeout_s=1e9)
        ready.addCallbacks(lambda _: self._ask() if self._args.ask else self._next(), lambda failure: None)
        if self._args.duration:
            reactor.callLater(self._args.duration, self._end)
        self._read_commands()
        reactor.run(installSignalHandlers=False)
        return self._summary()

    # ---- commands -------------------------------------------------------------------------------------------------------

    def _read_commands(self) -> None:
        """From standard input, where that is a terminal or a pipe."""
        try:
            mode = os.fstat(0).st_mode
        except OSError:
            return
        if not (os.isatty(0) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return
        from twisted.internet.stdio import StandardIO
        from twisted.protocols.basic import LineOnlyReceiver

        told = self.do

        class Lines(LineOnlyReceiver):
            delimiter = b"\n"

            def lineReceived(self, line: bytes) -> None:
                told(line.decode("utf-8", "replace"))

        StandardIO(Lines(), reactor=self._reactor)  # type: ignore[no-untyped-call]

    def _ask(self) -> None:
        """What ``--ask`` wants, and then the end."""
        from twisted.internet.defer import ensureDeferred

        asking = self._asking = simulate_ask.Asking(self.superior, self._args, self._say)

        def failed(failure: Any) -> None:
            failure.trap(OSError)  # such as a full disk
            self._say(f"! {failure.getErrorMessage()}")
            asking.figures["status"] = 1

        def bug(failure: Any) -> None:
            failure.printTraceback()
            asking.figures["status"] = 1

        ensureDeferred(asking.run()).addErrback(failed).addErrback(bug).addCallback(lambda _: self._end())

    def _next(self) -> None:
        if self._commands and not self._ended:
            waiting = self.do(self._commands.pop(0))
            if waiting is not None:
                waiting.addBoth(lambda _: self._next())
            else:
                self._next()

    def do(self, line: str) -> Any:
        """One command; gives a Deferred when it waits for an answer."""
        name, *words = line.split() or [""]
        if not name:
            return None
        try:
            if name not in self.did:
                raise _InputError(f"no command {name!r}; help shows them")
            return self.did[name](words)
        except RelayError as problem:
            self._say(f"! {problem}")
            return None

    def _send(self, words: list[str]) -> Any:
        if not words:
            raise _InputError("send ID [PLATE.COLOUR] [field=value …]")
        message, plate, color = message_of(words[0], words[1:], self._edition)
        if not type(message).REPLY:
            self.superior.send(message, plate, color)
            return None

        def answered(answer: Any) -> None:
            self._say(f"= 0x{answer.KEY[1] or answer.KEY[0]:04X} {answer.LABEL} {json.dumps(_short(answer), ensure_ascii=False)}")

        return self.superior.ask(message, plate, color).addCallbacks(answered, lambda failure: self._say(f"! {failure.getErrorMessage()}"))

    def _state(self, words: list[str]) -> None:
        superior = self.superior
        self._say(json.dumps(self._figures() | {"announced": f"{superior.announced[0]}:{superior.announced[1]}"}, ensure_ascii=False))

    def _vehicles(self, words: list[str]) -> None:
        for (plate, color), told in self.superior.vehicles.items():
            self._say(f"{plate}.{color} {json.dumps(told.fields(), ensure_ascii=False)}")

    def _positions(self, words: list[str]) -> None:
        if len(words) != 1:
            raise _InputError("positions PLATE.COLOUR")
        for one in self.superior.positions.get(vehicle_of(words[0]), [])[-10:]:
            self._say(f"0x{one.kind:04X} {one.time} {json.dumps(one.gnss.fields(), ensure_ascii=False)}")

    def _raw(self, words: list[str]) -> None:
        try:
            data = bytes.fromhex(words[0])
        except (IndexError, ValueError):
            raise _InputError("raw HEX [main|sub]") from None
        self.superior.send_raw(data, words[1] if len(words) > 1 and words[1] in ("main", "sub") else "")

    # ---- what is told ---------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        print(text, flush=True)

    def _heard(self, heard: Any) -> None:
        business = heard.business
        if self._record is not None:
            line = {"link": heard.link, "header": heard.header.fields(), "body": business.fields()}
            self._record.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self._args.quiet or (heard.kind in (0x1202, 0x1203, 0x1005) and not self._args.positions):
            return
        label = business.data.LABEL if business.data is not None else ""
        where = f" {business.vehicle_no}.{business.vehicle_color}" if business.vehicle_no else ""
        text = json.dumps(_short(business.data) if business.data is not None else {}, ensure_ascii=False)
        self._say(f"{time.monotonic() - self._begun:9.3f} {heard.link:4} 0x{heard.kind:04X} {label}{where} {text}")

    def _figures(self) -> dict[str, Any]:
        superior = self.superior
        return {
            "main": superior.main is not None and superior.main.logged_in,
            "sub": superior.sub is not None and superior.sub.logged_in,
            "vehicles": len(superior.vehicles),
            "positions": superior.position_count,
            "supplements": superior.supplement_count,
            "messages": {f"0x{kind:04X}": count for kind, count in sorted(superior.kinds.items())},
            "events": dict(sorted(superior.counts.items())),
            "seconds": round(time.monotonic() - self._begun, 3),
        }

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._last = self._figures()
        from twisted.internet.defer import ensureDeferred

        self._reactor.callLater(_CLOSE_S, self._leave)
        ensureDeferred(self.superior.stop()).addBoth(lambda _: self._reactor.callLater(0, self._leave))

    def _leave(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def _summary(self) -> int:
        if self._record is not None:
            self._record.close()
        figures = self._last or self._figures()
        if self._asking is not None:
            figures["asked"] = self._asking.figures
        if self._args.json:
            self._say(json.dumps(figures, ensure_ascii=False))
        else:
            self._say(
                f"{sum(figures['messages'].values())} messages of {figures['vehicles']} vehicles, {figures['positions']} positions "
                f"({figures['supplements']} of them afterwards) in {figures['seconds']} s"
            )
        if not self.superior.kinds[0x1001]:
            print("jt1078relay simulate: no subordinate platform logged in", file=sys.stderr)
            return 1
        if self._args.ask:
            return int(self._asking.figures.get("status", simulate_ask.NOTHING_CAME)) if self._asking is not None else simulate_ask.REFUSED
        return 0


def _short(message: Any) -> dict[str, Any]:
    """A message's fields without secrets and without what would fill the screen."""
    shown = {}
    for name, value in message.fields().items():
        info = type(message).wire_fields.get(name)
        if info is not None and info.secret:
            value = "***"
        elif isinstance(value, str) and len(value) > 200:
            value = f"{value[:80]}… ({len(value)} characters)"
        shown[name] = value
    return shown
