"""What the relay does to a process that is its own: descriptors, garbage collector, signals, the monotonic reactor,
telling a supervisor that it runs, dying in one line.

Only ``twistd`` makes such a process; tests and other programs that hold a ``Relay`` keep theirs as it is.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from twisted.logger import Logger

log = Logger(namespace="relay.app")

DESCRIPTORS_MAX = 1 << 20  #: enough for all limits of the configuration together; some systems say "infinite"
DESCRIPTORS_FEW = 4096  #: with fewer than this somebody forgot to raise the limit
GC_THRESHOLD = (20000, 20, 20)  #: a full collection with thousands of connections takes 12 ms, and frames and packets make no cycles


def use_monotonic_time(reactor: Any) -> None:
    """Let the reactor's timers run on the monotonic clock; Twisted's default is the wall clock, which people and NTP set."""
    reactor.seconds = time.monotonic


def raise_descriptors() -> None:
    """Every connection is one: take as many as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wish = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft == resource.RLIM_INFINITY:
        return
    if soft < wish:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))
            soft = wish
        except (OSError, ValueError):  # a container's rule: what we have must do
            pass
    if soft < DESCRIPTORS_FEW:
        text = "only {count} descriptors may be open, and every connection is one: raise the limit (ulimit -n, LimitNOFILE=)"
        log.warn(text, count=soft)


def rest_garbage() -> None:
    """No collections until ``freeze_garbage``, or until the end of a process that is about to become another image."""
    gc.disable()


def freeze_garbage() -> None:
    """What exists after start-up lives as long as the process: the collector need not look at it again."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def arguments() -> list[str]:
    """The command's words behind the interpreter, as Python counts them."""
    return list(sys.argv)


def original_arguments() -> list[str]:
    """The whole command."""
    return list(sys.orig_argv)


def on_signals(reactor: Any, reload: Callable[[], None], restart: Callable[[], None]) -> None:
    """SIGTERM and SIGINT stop in order and exit with 0 (Twisted's own handlers would end with the signal); the second one kills."""
    seen = 0

    def stop(number: int, frame: object) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            os._exit(1)
        reactor.callFromThread(reactor.stop)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(reload))
    signal.signal(signal.SIGUSR2, lambda number, frame: reactor.callFromThread(restart))


def on_rotate(reactor: Any, rotate: Callable[[], None]) -> None:
    """SIGUSR1 begins a new log file, as twistd does it."""
    if signal.getsignal(signal.SIGUSR1) in (signal.SIG_DFL, signal.SIG_IGN):  # ignored: a former image of this process did that
        signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(rotate))


def tell_ready(environ: Mapping[str, str] = os.environ) -> None:
    """To whoever started us and waits for it (sd_notify: Type=notify of systemd, podman's --sdnotify=container); after a change of image once more."""
    name = environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.settimeout(1.0)
            one.sendto(b"READY=1", "\0" + name[1:] if name[0] == "@" else name)
    except OSError as problem:
        log.warn("who started this process waits at {name} to hear that it runs, but cannot be told: {problem}", name=name, problem=str(problem))


def cannot_start(problem: Exception, twistd: Mapping[str, Any]) -> NoReturn:
    """One line in the log and on standard error, status 1, no traceback; ``twistd`` are twistd's own options."""
    log.critical("cannot start: {problem}", problem=str(problem))
    print(f"jt1078relay: cannot start: {problem}", file=sys.__stderr__, flush=True)
    pipe = twistd.get("statusPipe")
    if pipe is not None:  # a daemon: the parent waits for this, prints it and exits with 1; it reads 100 bytes
        os.write(pipe, b"1 " + str(problem).encode("ascii", "replace")[:98])
    if twistd.get("pidfile"):
        Path(twistd["pidfile"]).unlink(missing_ok=True)
    raise SystemExit(1)
