"""Conversions of uploaded files in a process of their own, one at a time: minutes of work that must not take turns with live pictures.

    python -m relay.app.converting SOURCE TARGET     0 = done, 3 = cannot be converted (JSON on standard error says why), else a fault
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.hub.convert import UnsupportedFileError, to_mp4

log = Logger(namespace="relay.app")

UNSUPPORTED = 3
LIMIT_S = 3600.0  #: a day's recording takes minutes
WORDS_MAX = 65536  #: of what the process may say
NICENESS = 10


class _Conversion(ProcessProtocol):
    """One process."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()
        self.timer: Any = None
        self._words = b""

    def errReceived(self, data: bytes) -> None:
        self._words = (self._words + data)[-WORDS_MAX:]

    def kill(self) -> None:
        """It has taken too long, or the relay stops."""
        if self.transport is not None and self.transport.pid:
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if isinstance(reason.value, ProcessDone):
            self.done.callback(None)
            return
        status = getattr(reason.value, "exitCode", None)
        words = self._words.decode("utf-8", "replace")
        if status == UNSUPPORTED:
            told = json.loads(words.splitlines()[-1])
            self.done.errback(UnsupportedFileError(told["message"], told["hint"]))
            return
        log.error("a conversion failed with {status}: {words}", status=status, words=words[-2000:])
        self.done.errback(OSError(0, "its process failed; the log says more"))


class Converter:
    """Makes MP4 of files."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._turn = DeferredSemaphore(1)
        self._running: _Conversion | None = None
        self._closed = False

    def __call__(self, source: Path, target: Path) -> Deferred[None]:
        """Fires when ``target`` is whole; fails with UnsupportedFileError, OSError."""
        done: Deferred[None] = self._turn.run(self._run, source, target)
        return done

    def _run(self, source: Path, target: Path) -> Deferred[None]:
        conversion = self._running = _Conversion()
        words = [sys.executable, "-m", "relay.app.converting", str(source), str(target)]
        self._reactor.spawnProcess(conversion, sys.executable, words, env=dict(os.environ))
        conversion.timer = self._reactor.callLater(LIMIT_S, conversion.kill)
        return conversion.done

    def close(self) -> None:
        """The relay stops."""
        if self._running is not None:
            self._running.kill()


def main() -> int:
    """The process."""
    os.nice(NICENESS)
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    half = target.with_suffix(".part")
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        to_mp4(source, half)
        half.rename(target)
    except UnsupportedFileError as problem:
        print(json.dumps({"message": problem.message, "hint": problem.hint}), file=sys.stderr)
        return UNSUPPORTED
    except OSError as problem:
        print(f"{problem.strerror or problem}", file=sys.stderr)
        return 1
    finally:
        half.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
