"""SIGUSR2: tries the start, ends what cannot be carried, and becomes the next image (see ``handover``)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

import relay
from relay.app import handover, process, rehearsal
from relay.app.handover import Received
from relay.errors import RelayError

if TYPE_CHECKING:
    from relay.app.service import Relay

log = Logger(namespace="relay.app")

REFUSED = "not restarted, everything goes on as it was: {fault}"


class Restarting:
    """One process' way to its next image."""

    def __init__(self, owner: Relay, twistd: Mapping[str, Any], config: str | None, here: Path) -> None:
        self._owner = owner
        self._twistd: Any = twistd
        self._config = config
        self._here = here  #: where the command was given; twistd's --rundir is relative to it
        self._trying = False
        self.received: Received | None = None
        self.refused = 0

    # the former image --------------------------------------------------------

    def take(self) -> Received | None:
        """What the former image left, if there was one. Until the start is done the collector rests: it took half of the time."""
        process.rest_garbage()
        self.received = handover.received()
        if self.received is not None:
            text = "goes on with {count} listeners of the former process image ({version})"
            log.info(text, count=len(self.received.listeners), version=self.received.version)
        return self.received

    def pidfile(self) -> str:
        """The absolute path of the pid file; twistd of a later image knows nothing of it."""
        if self.received is not None:
            return self.received.pidfile
        name = self._twistd.get("pidfile")
        return str(Path(name).absolute()) if name else ""

    def end(self) -> None:
        """At the very end of a later image: take the pid file away, which twistd did not make this time."""
        if self.received is not None and self.received.pidfile:
            path = Path(self.received.pidfile)
            with suppress(OSError, ValueError):
                if int(path.read_text(encoding="ascii")) == os.getpid():
                    path.unlink()

    # the next image ----------------------------------------------------------

    def begin(self) -> None:
        """SIGUSR2."""
        why = handover.why_not(self._twistd, self._owner.demo)
        if self._trying or self._owner.stopping:
            why = "a restart or a stop is under way already"
        if why:
            self._refuse([why])
            return
        self._trying = True
        log.info("restart: trying the start")
        held = [(bound.wanted.kind, bound.port) for bound in self._owner.listeners.all()]
        asked = rehearsal.question(self._config, self._here, held, self._log_file())
        rehearsal.rehearse(partial(deferToThread), asked).addCallback(self._tried).addErrback(self._failed)

    def _log_file(self) -> Path | None:
        name = self._twistd.get("logfile") or ("-" if self._twistd.get("nodaemon") else "twistd.log")
        return None if name == "-" or self._twistd.get("syslog") or self._twistd.get("logger") else self._here / name

    def _tried(self, faults: list[str]) -> Deferred[None] | None:
        self._trying = False
        if faults:
            self._refuse(faults)
            return None
        if self._owner.stopping:
            self._refuse(["a stop is under way"])
            return None
        return self._owner.hand_over(self._go)

    def _refuse(self, faults: list[str]) -> None:
        self.refused += 1
        for fault in faults:
            log.error(REFUSED, fault=fault)

    def _failed(self, failure: Failure) -> None:
        self._trying = False
        log.failure("the restart failed", failure=failure)

    def _go(self, since: float, carried: list[dict[str, Any]]) -> None:
        """Everything has been given up; become the next image."""
        try:
            words = handover.command_line(self._twistd, process.arguments(), process.original_arguments())
            state = handover.state_of(relay.__version__, since, self.pidfile(), self._owner.listeners.leave(), carried)
            log.info("restarting as {command}", command=" ".join(words[:2]))
            handover.become(words, self._here, state)
        except RelayError as problem:
            log.critical("the restart failed when everything was given up, ending: {problem}", problem=str(problem))
        except Exception:  # a fault of ours; a process that has given everything up must not stay
            log.failure("the restart failed when everything was given up, ending")
        if self.pidfile():
            with suppress(OSError):
                Path(self.pidfile()).unlink()
        os._exit(1)


def gap(received: Received) -> float:
    """Seconds in which nothing was answered."""
    return max(0.0, time.monotonic() - received.at)


Go = Callable[[float, list[dict[str, Any]]], None]
