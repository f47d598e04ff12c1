"""``jt1078relay selftest``: the relay against simulated terminals and superior platforms; what was sent is compared with what was received."""

from __future__ import annotations

import argparse
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

LIMIT_S = 180.0  #: for everything; it takes half a minute


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Conformance self-test: starts a relay with a temporary store on free ports of 127.0.0.1, two simulated terminals and two simulated superior "
        "platforms (JT/T 809-2011 in plain, 2019 encrypted), takes them through the subjects of JT/T 1077, and compares what was sent with what was received. "
        "Touches nothing of an installed relay. Exit status 0: everything was right."
    )
    parser.add_argument("--report", metavar="DIR", type=Path, help="write report.json, report.html and relay.log there")


def run(args: argparse.Namespace) -> int:
    from twisted.internet import reactor

    folder: Path | None = args.report
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="jt1078relay-selftest-"))
    try:
        with (folder if folder is not None else scratch).joinpath("relay.log").open("w", encoding="utf-8") as out:
            return _run(reactor, scratch, folder, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(reactor: Any, scratch: Path, folder: Path | None, out: Any) -> int:
    from twisted.internet.defer import ensureDeferred
    from twisted.logger import globalLogBeginner
    from twisted.python.failure import Failure

    from relay.app.logs import LogWriter
    from relay.app.selftest import SelfTest
    from relay.app.selftest_report import Report

    globalLogBeginner.beginLoggingTo([LogWriter(out)], discardBuffer=True, redirectStandardIO=False)
    ended: list[Any] = []

    def say(line: str) -> None:
        print(line, flush=True)

    def over(result: Any) -> None:
        ended.append(result)
        reactor.stop()

    test = SelfTest(reactor, scratch, say)
    reactor.callWhenRunning(lambda: ensureDeferred(test.run()).addBoth(over))
    reactor.callLater(LIMIT_S, test.stop, f"not done within {LIMIT_S:g} s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: reactor.callFromThread(test.stop, "interrupted"))
    reactor.run(installSignalHandlers=False)
    if isinstance(ended[0], Failure):
        ended[0].raiseException()
    report: Report = ended[0]
    told = report.as_dict()
    for figure in report.figures:
        worst = f"{figure.worst_ms:g} ms" if figure.worst_ms is not None else "not measured"
        say(f"{'✓' if figure.within else '!'} {figure.zh} {figure.en}: {worst} (≤ {figure.limit_ms:g} ms)")
    say(f"{told['passed']} of {told['total']} passed in {report.seconds:.1f} s")
    if folder is not None:
        report.write(folder)
        say(f"report: {folder / 'report.html'}, {folder / 'report.json'}; the relay's log: {folder / 'relay.log'}")
    return 0 if report.ok else 1
