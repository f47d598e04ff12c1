"""A restart that terminals do not notice: this process becomes a fresh image of the same command (same PID), and what it holds stays open over it.

    SIGUSR2 → a child (``rehearsal``) tries the start: program, configuration, store, new listeners, log file. A fault: one line each, nothing changes
            → terminals are read no more, listeners accept no more (the kernel keeps what comes); the rest ends as at a stop
            → state into an unnamed file (memory where the system has that), its descriptor in $JT1078RELAY_HANDOVER; execv
            → the new image takes listeners and terminals from it, and deletes the variable

    the file    b"jt1078relay handover FORMAT SHA256\\n", then JSON: from, at, pidfile, listeners, terminals

What is damaged or of another format is not used: its sockets are closed, and terminals come back as after any restart. The state holds
authentication codes where one was just given out: it has no name, is readable by nobody else, and is gone once read.
"""

from __future__ import annotations

import getopt
import hashlib
import json
import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from twisted.logger import Logger

from relay.app.listening import Left
from relay.errors import RelayError, StateError
from relay.net.handover808 import CONNECTIONS_MAX
from relay.wire.plain import Plain

log = Logger(namespace="relay.app")

VARIABLE = "JT1078RELAY_HANDOVER"
FORMAT = 1  #: grows when a former program's state cannot be read any more
STATE_MAX = 1 << 28  #: some 3 KiB a terminal, and 20,000 of them
LISTENERS_MAX = 4096
_FIRST = b"jt1078relay handover "


class Received(NamedTuple):
    """What a former image left."""

    version: str  #: of the program that left it
    at: float  #: monotonic seconds, when it answered last; the clock goes on over an execv
    pidfile: str  #: to be removed at the end; "" = none
    listeners: list[Left]
    terminals: list[Plain]


def write(state: Mapping[str, Any]) -> int:
    """The state in a file without a name; gives its descriptor, which the next image inherits."""
    body = json.dumps(state, separators=(",", ":")).encode()
    if len(body) > STATE_MAX:
        raise StateError("handover", f"{len(body)} bytes are more than the limit, {STATE_MAX}")
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("jt1078relay handover", 0)
    else:
        number, name = tempfile.mkstemp(prefix="jt1078relay-handover-")  # 0600
        os.unlink(name)
    os.set_inheritable(number, True)
    with os.fdopen(os.dup(number), "wb") as file:
        file.write(b"%s%d %s\n" % (_FIRST, FORMAT, hashlib.sha256(body).hexdigest().encode()) + body)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def received(environ: MutableMapping[str, str] = os.environ) -> Received | None:
    """What the former image left; None when there is none, or it is of no use (said in the log, and its sockets are closed)."""
    word = environ.pop(VARIABLE, "")
    if not word:
        return None
    try:
        return _parsed(_read(word))
    except StateError as problem:
        closed = close_inherited()
        text = "what the former process handed over is not used: {problem}; {closed} sockets closed, terminals come back by themselves"
        log.error(text, problem=str(problem), closed=closed)
        return None


def _read(word: str) -> bytes:
    try:
        number = int(word)
        if number < 3 or not stat.S_ISREG(os.fstat(number).st_mode):
            raise StateError("handover", f"${VARIABLE} names no file")
        with os.fdopen(number, "rb") as file:
            data = file.read(STATE_MAX + 1024)
    except (OSError, ValueError):
        raise StateError("handover", f"${VARIABLE} names no file that can be read") from None
    head, _, body = data.partition(b"\n")
    words = head.removeprefix(_FIRST).split()
    if not head.startswith(_FIRST) or len(words) != 2:
        raise StateError("handover", "not a state of jt1078relay")
    if words[0] != b"%d" % FORMAT:
        raise StateError("handover", f"of format {words[0][:8].decode('ascii', 'replace')}, this version reads {FORMAT}")
    if hashlib.sha256(body).hexdigest().encode() != words[1]:
        raise StateError("handover", "damaged: its checksum does not fit")
    return body


def _parsed(body: bytes) -> Received:
    try:
        state = Plain(json.loads(body), "handover")
    except (ValueError, RecursionError):
        raise StateError("handover", "not JSON") from None
    listeners = [
        Left(one.text("key"), one.text("kind"), one.text("host"), one.number("wanted_port", 0, 65535), one.number("number", 3, 1 << 30))
        for one in state.objects("listeners", LISTENERS_MAX)
    ]
    for one in listeners:
        if not _is_socket(one.number):
            raise StateError("handover.listeners", f"{one.key}: descriptor {one.number} is no socket")
    return Received(
        state.text("version"), state.real("at"), state.text("pidfile", 4096), listeners, state.objects("terminals", CONNECTIONS_MAX)
    )


def _is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


def close_inherited() -> int:
    """Close the IP sockets that came over an execv; everything this program opens by itself is marked to stay behind."""
    closed = 0
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = list(range(3, 65536))
    for number in numbers:
        if number < 3 or not _is_socket(number) or not os.get_inheritable(number):
            continue
        with socket.socket(fileno=os.dup(number)) as one:
            if one.family not in (socket.AF_INET, socket.AF_INET6):
                continue
        os.close(number)
        closed += 1
    return closed


def command_line(twistd: Any, argv: Sequence[str], original: Sequence[str]) -> list[str]:
    """The command that this process is, to be run in its place: it is a daemon already, and its pid file names it already."""
    after = getopt.getopt(list(argv[1:]), twistd.shortOpt, twistd.longOpt)[1]  # "jt1078relay" and what stands behind
    before = list(argv[1 : len(argv) - len(after)])
    program = list(original[1 : len(original) - len(argv) + 1])  # twistd's path; "-m" and a module
    words = [] if twistd.get("nodaemon") else ["--nodaemon"]
    if not twistd.get("nodaemon") and not twistd.get("logfile"):
        words.append("--logfile=twistd.log")
    if twistd.get("pidfile"):
        words.append("--pidfile=")
    return [sys.executable, *program, *before, *words, *after]


def why_not(twistd: Any, demo: bool) -> str:
    """What about this process cannot be taken over by another image; "" when nothing."""
    if demo:
        return "the demonstration's store and terminals go with it"
    if twistd.get("chroot"):
        return "from inside --chroot the program cannot be started again"
    return ""


def become(words: Sequence[str], here: Path, state: Mapping[str, Any]) -> NoReturn:
    """Be the next image. Comes back only as RelayError, when the system refuses: everything has been given up by then."""
    try:
        os.environ[VARIABLE] = str(write(state))
        os.chdir(here)
        # until the next image listens to them; ignored ones stay so over an execv, and one that is not would end it
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                stream.flush()
        os.execv(words[0], list(words))  # noqa: S606 - the command that this process is
    except OSError as problem:
        raise RelayError(f"{words[0]} cannot be run: {problem.strerror}") from None


def state_of(version: str, at: float, pidfile: str, listeners: Sequence[Left], terminals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``received`` reads."""
    return {
        "version": version,
        "at": at,
        "pidfile": pidfile,
        "listeners": [one._asdict() for one in listeners],
        "terminals": terminals,
    }

