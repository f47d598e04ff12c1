"""The FTP server that terminals upload to (0x9206): Twisted's own behind a fence, and write-only.

Twisted's server is one for people who are trusted: it opens data connections to any third host (FTP bounce), takes them from any, lists, reads and
deletes, knows no limits, and lets anybody in as "anonymous". Of its commands only those in ``COMMANDS`` can be reached here, so that one it may learn
in a later version stays shut, and everything that opens a connection or touches a file is this module's own::

    log-in       the credentials of one upload task (``core.uploads``), which end with it; MISSES_MAX wrong ones end the connection, each slower
                 than the one before; an address with many is turned away for a minute
    passive      ports of ``ftp.passive_ports``, told with ``ftp.advertise``; only the control connection's own address may connect
    active       PORT and EPRT only to the control connection's own address, from port 1024 on
    STOR, APPE   one flat folder a task, whatever path is named (directories are agreed to and not made); ".." is refused; REST goes on where
                 the file ends. TYPE A changes nothing: what comes is media
    everything   bounded in bytes, files, connections and time

Nobody is answered while no task waits for files, and no superior has a file to fetch: the connection is closed. A superior's credentials (``core.fetches``)
open one file for reading and nothing for writing: ``net.ftp_fetch``.
"""

# mypy: disallow-untyped-calls=False
# (twisted.protocols.ftp and policies carry no annotations)

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols import ftp
from twisted.python.failure import Failure

from relay.core.fetches import USER, Fetch, Fetches
from relay.core.upload_files import Incoming
from relay.core.uploads import Upload, UploadRefusedError, Uploads
from relay.hub.merge import Clock
from relay.net.ftp_data import DataConnection, DataFactory, plain
from relay.net.ftp_fetch import ALSO, NEVER, InThread, names_it, open_at
from relay.settings import Ftp

log = Logger(namespace="relay.net")

LINE_MAX = 1024  #: bytes of a command; a path is the longest
DATA_WAIT_S = 30.0  #: from PASV or STOR to the data connection
LOGIN_S = 30.0  #: to log in
MISSES_MAX = 3
HOST_MISSES_MAX = 10  #: wrong log-ins of an address within HOST_MISSES_S, then it is turned away for as long
HOST_MISSES_S = 60.0
HOSTS_MAX = 4096
PER_TASK = 8  #: control connections of one task: a terminal sends a few files at a time
DEPTH_MAX = 8  #: directories that are agreed to
PORT_LOW = 1024

#: what may be said, and whether it needs an argument (None: it may have one). Nothing else is looked up.
COMMANDS: dict[str, bool | None] = {
    "USER": True, "PASS": None, "QUIT": None, "NOOP": None, "SYST": None, "FEAT": None, "OPTS": True, "TYPE": True, "MODE": True, "STRU": True,
    "PWD": None, "XPWD": None, "CWD": True, "XCWD": True, "CDUP": None, "XCUP": None, "MKD": True, "XMKD": True, "PASV": None, "EPSV": None,
    "PORT": True, "EPRT": True, "STOR": True, "APPE": True, "REST": True, "ALLO": None, "SIZE": True, "ABOR": None,
}  # fmt: skip
BEFORE_LOGIN = frozenset({"USER", "PASS", "QUIT", "NOOP", "SYST", "FEAT", "OPTS"})
#: known, and not for a server that is only written to
WRITE_ONLY = frozenset({"RETR", "LIST", "NLST", "MLSD", "MLST", "STAT", "DELE", "RMD", "XRMD", "RNFR", "RNTO", "MDTM", "STOU", "SITE"})

#: why a file is not taken, as a reply
REFUSALS = {
    "disk_full": "452 {}.", "disk_error": "451 {}.", "quota": "452 {}.", "too_large": "552 {}.", "too_many_files": "552 {}.", "bad_name": "553 {}.",
    "bad_offset": "554 {}.", "busy": "450 {}.",
}  # fmt: skip
WORDS = {
    "": "226 Transfer complete.", "broken_off": "426 The data connection broke off.", "disk_full": "452 The disk is full.",
    "quota": "452 There is no room left.", "disk_error": "451 The file cannot be written.",
    "too_large": "552 The file is too large.",
}  # fmt: skip


class FencedFTP(ftp.FTP):
    """One control connection."""

    MAX_LENGTH = LINE_MAX
    transport: Any
    factory: FtpServer

    def __init__(self, server: FtpServer) -> None:
        self.server = server
        self._idle_s = LOGIN_S
        self.task: Upload | None = None
        self.workingDirectory: list[str] = []
        self._user = ""
        self._misses = 0
        self._offset: int | None = 0  #: of the next STOR (REST)
        self._data: DataFactory | None = None
        self._listening: Any = None
        self._connecting: Any = None
        self._incoming: Incoming | None = None
        self.grant: Fetch | None = None  #: a superior's; then nothing can be written

    # ---- the connection -----------------------------------------------------------------------------------------------------

    def callLater(self, period: float, call: Callable[[], None]) -> Any:
        """For TimeoutMixin: by the relay's clock."""
        return self.server.clock.callLater(period, call)

    def connectionMade(self) -> None:
        self.state = self.UNAUTH
        self.host = plain(self.transport.getPeer().host)
        self.setTimeout(self._idle_s)
        self.sendLine("220 jt1078relay takes uploads.")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.disconnected = True
        self.setTimeout(None)
        self._drop_data()
        task, self.task = self.task, None
        if task is not None:
            task.logged_out()
        self.server.left(self)
        self.transport = None

    def timeoutConnection(self) -> None:
        self.transport.abortConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.sendLine("500 That line is too long.")
        self.transport.loseConnection()

    def sendLine(self, line: str | bytes) -> None:
        """Say something, to whoever is still there."""
        if self.transport is not None:
            super().sendLine(line)

    def processCommand(self, cmd: str, *params: str) -> Any:
        """The fence: only what the table has, with as many arguments as it has."""
        cmd = cmd.upper().strip("\xff\xf4\xf2")  # telnet's interrupt and synch, which some send before ABOR
        if self.grant is not None and cmd in NEVER:
            return succeed(None).addCallback(lambda _: self.sendLine("550 You may fetch your file, and nothing else."))
        if cmd in WRITE_ONLY and not (self.grant is not None and cmd in ALSO):
            return succeed(None).addCallback(lambda _: self.sendLine("550 This server is only written to."))
        wants = COMMANDS.get(cmd)
        if cmd not in COMMANDS and cmd not in ALSO:
            return fail(ftp.CmdNotImplementedError(cmd[:16]))
        if self.state != self.AUTHED and cmd not in BEFORE_LOGIN:
            return ftp.NOT_LOGGED_IN
        argument = params[0].strip() if params else ""
        if wants and not argument:
            return fail(ftp.CmdSyntaxError(f"{cmd} requires an argument."))
        if "\0" in argument:
            return fail(ftp.CmdArgSyntaxError("NUL"))
        return getattr(self, f"say_{cmd}")(argument)

    # ---- logging in -----------------------------------------------------------------------------------------------------------

    def say_USER(self, name: str) -> Any:
        if self.state == self.AUTHED:
            return ftp.BAD_CMD_SEQ, "logged in already"
        self._user = name[:64]
        self.state = self.INAUTH
        return self.sendLine("331 Password, please.")  # the same for every name

    def say_PASS(self, password: str) -> Any:
        if self.state != self.INAUTH:
            return ftp.BAD_CMD_SEQ, "USER comes before PASS"
        fetches = self.server.fetches
        if fetches is not None and self._user.startswith(USER):
            self.grant = fetches.log_in(self._user, password)
            if self.grant is not None:
                self.state = self.AUTHED
                self._idle_s = self.server.settings.idle_s
                self.setTimeout(self._idle_s)
                log.info("FTP: {host} logged in to fetch a file for superior {name}", host=self.host, name=self.grant.superior)
                return self.sendLine("230 Go on.")
        task = self.server.uploads.log_in(self._user, password)
        if task is not None and task.connections >= PER_TASK:
            self.sendLine(f"421 {PER_TASK} connections of this task are open already.")
            self.transport.loseConnection()
            return None
        if task is not None:
            self.task = task
            self.state = self.AUTHED
            self._idle_s = self.server.settings.idle_s
            self.setTimeout(self._idle_s)
            task.logged_in()
            log.info("FTP: {host} logged in for upload {id}", host=self.host, id=task.id)
            return self.sendLine("230 Go on.")
        self.state = self.UNAUTH
        self._misses += 1
        self.server.missed(self.host)
        return self._later(float(self._misses)).addCallback(self._refuse)

    def _refuse(self, _: object) -> None:
        self.sendLine("530 That is not right.")
        if self._misses >= MISSES_MAX and self.transport is not None:
            self.transport.loseConnection()

    def _later(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.server.clock.callLater(seconds, waiting.callback, None)
        return waiting

    # ---- small talk ------------------------------------------------------------------------------------------------------------

    def say_QUIT(self, _: str) -> Any:
        return self.ftp_QUIT()

    def say_NOOP(self, _: str) -> Any:
        return self.ftp_NOOP()

    def say_SYST(self, _: str) -> Any:
        return self.ftp_SYST()

    def say_FEAT(self, _: str) -> None:
        for line in ("211-Features:", " EPSV", " EPRT", " PASV", " REST STREAM", " SIZE", " TVFS", " UTF8", "211 End"):
            self.sendLine(line)

    def say_OPTS(self, option: str) -> None:
        self.sendLine("200 OK" if option.upper().startswith("UTF8") else "502 There is no such option.")

    def say_TYPE(self, kind: str) -> None:
        self.sendLine("200 What comes is kept byte for byte." if kind[:1].upper() in ("A", "I", "L") else "504 Not that type.")

    def say_MODE(self, mode: str) -> Any:
        return self.ftp_MODE(mode)

    def say_STRU(self, structure: str) -> Any:
        return self.ftp_STRU(structure)

    def say_ALLO(self, _: str) -> Any:
        return (ftp.CMD_OK,)

    def say_ABOR(self, _: str) -> None:
        self._drop_data()
        self.sendLine("226 Nothing is under way any more.")

    # ---- directories, which nobody makes ----------------------------------------------------------------------------------------

    def _segments(self, path: str) -> list[str]:
        """Raises FTPCmdError for a path that is a trick."""
        pieces = path.replace("\\", "/").split("/")
        if ".." in pieces:
            raise ftp.PermissionDeniedError("..")
        segments = [] if path.startswith("/") else list(self.workingDirectory)
        segments += [piece for piece in pieces if piece not in ("", ".")]
        if len(segments) > DEPTH_MAX:
            raise ftp.PermissionDeniedError("too deep")
        return segments

    def say_PWD(self, _: str) -> None:
        self.sendLine(f'257 "/{"/".join(self.workingDirectory)}" is where you are.')

    def say_CWD(self, path: str) -> None:
        self.workingDirectory = self._segments(path)
        self.sendLine("250 OK")

    def say_CDUP(self, _: str) -> None:
        self.workingDirectory = self.workingDirectory[:-1]
        self.sendLine("250 OK")

    def say_MKD(self, path: str) -> None:
        segments = self._segments(path)
        self.sendLine(f'257 "/{"/".join(segments)}" will do.')

    say_XPWD, say_XCWD, say_XCUP, say_XMKD = say_PWD, say_CWD, say_CDUP, say_MKD

    # ---- data connections ----------------------------------------------------------------------------------------------------------

    def _new_data(self) -> DataFactory:
        self._drop_data()
        self._data = DataFactory(self.host, self.server.settings.idle_s, self.server.stranger, self.server.clock)
        return self._data

    def _drop_data(self) -> None:
        """No data connection, and none that may still come."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.stopListening()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.disconnect()
        data, self._data = self._data, None
        if data is not None:
            if data.connection is not None:
                data.connection.abort()
            if not data.waiting.called:
                data.waiting.addErrback(lambda _: None)
                data.waiting.errback(TimeoutError())

    def _listen(self, interface: str) -> int:
        """The port of a new passive listener; raises FTPCmdError."""
        data = self._new_data()
        for port in self.server.passive_ports():
            try:
                self._listening = self.server.reactor.listenTCP(port, data, backlog=2, interface=interface)
            except CannotListenError:
                continue
            return int(self._listening.getHost().port)
        self._data = None
        self.server.uploads.counts["no passive port free"] += 1
        raise _NoPortError()

    def say_PASV(self, _: str) -> Any:
        address = self.server.settings.advertise or plain(self.transport.getHost().host)
        try:
            numeric = ip_address(address)
        except ValueError:
            return self.server.reactor.resolve(address).addCallbacks(self._passive, lambda _: self._passive(plain(self.transport.getHost().host)))
        if not isinstance(numeric, IPv4Address):
            return fail(ftp.PASVIPv6NotImplementedError())
        return self._passive(address)

    def _passive(self, address: str) -> Any:
        port = self._listen(self.server.settings.host)
        return ftp.ENTERING_PASV_MODE, ftp.encodeHostPort(address, port)

    def say_EPSV(self, protocol: str) -> Any:
        if protocol.upper() == "ALL":
            return ftp.EPSV_ALL_OK
        if protocol not in ("", "1", "2"):
            return fail(ftp.UnsupportedNetworkProtocolError("1,2"))
        return ftp.ENTERING_EPSV_MODE, self._listen(self.server.settings.host)

    def say_PORT(self, argument: str) -> Any:
        try:
            numbers = [int(each) for each in argument.split(",")]
            host, port = ".".join(map(str, numbers[:4])), numbers[4] << 8 | numbers[5]
        except (ValueError, IndexError):
            return fail(ftp.CmdArgSyntaxError("PORT"))
        return self._active(host, port)

    def say_EPRT(self, argument: str) -> Any:
        pieces = argument.split(argument[0])
        if len(pieces) != 5 or not pieces[3].isdigit():
            return fail(ftp.CmdArgSyntaxError("EPRT"))
        return self._active(pieces[2], int(pieces[3]))

    def _active(self, host: str, port: int) -> Any:
        """Only ever back to who asks: anything else would make this server attack a third one."""
        if plain(host) != self.host or not PORT_LOW <= port <= 65535:
            self.server.uploads.counts["PORT to a third host refused"] += 1
            log.warn("FTP: {host} asks for a data connection to {to}:{port}: refused", host=self.host, to=host[:64], port=port)
            self.sendLine("504 Data connections go to your own address only, from port 1024 on.")
            return None
        data = self._new_data()
        self._connecting = self.server.reactor.connectTCP(self.host, port, data, timeout=DATA_WAIT_S)
        return data.waiting.addCallbacks(self._opened, self._not_opened)

    def _opened(self, connection: DataConnection) -> None:
        self.sendLine("200 Connected.")
        if self._data is not None:  # whoever waits next gets it at once
            self._data.waiting = succeed(connection)

    def _not_opened(self, _: Failure) -> Any:
        self._data = None
        return (ftp.CANT_OPEN_DATA_CNX,)

    # ---- files ------------------------------------------------------------------------------------------------------------------------

    def say_REST(self, offset: str) -> None:
        if not offset.isdigit() or len(offset) > 18:
            self.sendLine("501 Not a number.")
            return
        self._offset = int(offset)
        self.sendLine(f"350 Goes on at {self._offset}.")

    def say_RETR(self, path: str) -> Any:
        """Only ever reached with a grant."""
        offset, self._offset = self._offset or 0, 0
        grant, data, fetches = self.grant, self._data, self.server.fetches
        if grant is None or data is None or fetches is None:
            return ftp.BAD_CMD_SEQ, "PASV, EPSV, PORT or EPRT comes before"
        if not names_it(grant, self._segments(path)):
            fetches.counts["refused: another file"] += 1
            return self.sendLine("550 Your credentials are for another file.")
        opening: Deferred[Any] = self.server.in_thread(open_at, grant, offset)
        return opening.addCallbacks(lambda file: self._send(data, file), lambda _: self.sendLine("550 The file is not there any more."))

    def say_LIST(self, _: str) -> Any:
        grant, data = self.grant, self._data
        if grant is None or data is None:
            return ftp.BAD_CMD_SEQ, "PASV, EPSV, PORT or EPRT comes before"
        size = grant.path.stat().st_size if grant.path.exists() else 0
        return self._send(data, f"-r--r--r--   1 jt1078relay jt1078relay {size:>12} Jan  1 00:00 {grant.name}\r\n".encode())

    def say_NLST(self, _: str) -> Any:
        grant, data = self.grant, self._data
        if grant is None or data is None:
            return ftp.BAD_CMD_SEQ, "PASV, EPSV, PORT or EPRT comes before"
        return self._send(data, f"{grant.name}\r\n".encode())

    def say_MDTM(self, path: str) -> None:
        self.sendLine("550 It has no time.")

    def _send(self, data: DataFactory, what: Any) -> Any:
        self.setTimeout(None)
        self.sendLine("150 Go on.")
        timer = self.server.clock.callLater(DATA_WAIT_S, self._no_data, data)
        return data.waiting.addBoth(self._sending, timer, what)

    def _sending(self, result: Any, timer: Any, what: Any) -> Any:
        if timer.active():
            timer.cancel()
        if isinstance(result, Failure):
            if not isinstance(what, bytes):
                self.server.in_thread(what.close)
            return self._sent("", "425 No data connection came.")
        sender = result.give(self.server.in_thread)
        over = sender.text(what) if isinstance(what, bytes) else sender.start(what)
        return over.addCallback(self._sent)

    def _sent(self, problem: str, line: str = "") -> None:
        fetches = self.server.fetches
        if fetches is not None and not line:
            fetches.counts[problem or "fetched"] += 1
        self._stored(problem, line)

    def say_SIZE(self, path: str) -> None:
        if self.grant is not None:
            there = names_it(self.grant, self._segments(path)) and self.grant.path.exists()
            self.sendLine(f"213 {self.grant.path.stat().st_size}" if there else "550 There is no such file.")
            return
        size = self.task.size_of(self._wire(path)) if self.task is not None else None
        self.sendLine(f"213 {size}" if size is not None else "550 There is no such file.")

    def say_STOR(self, path: str) -> Any:
        offset, self._offset = self._offset, 0
        return self._store(path, offset)

    def say_APPE(self, path: str) -> Any:
        self._offset = 0
        return self._store(path, None)

    def _wire(self, path: str) -> bytes:
        return "/".join(self._segments(path)).encode("latin-1", "replace")

    def _store(self, path: str, offset: int | None) -> Any:
        data = self._data
        if data is None or self.task is None:
            return ftp.BAD_CMD_SEQ, "PASV, EPSV, PORT or EPRT comes before"
        try:
            incoming = self.task.receive(self._wire(path), offset)
        except UploadRefusedError as problem:
            self._drop_data()
            return self.sendLine(REFUSALS.get(problem.reason, "550 {}.").format(problem.message))
        self._incoming = incoming
        self.setTimeout(None)
        self.sendLine("150 Go on.")
        timer = self.server.clock.callLater(DATA_WAIT_S, self._no_data, data)
        return data.waiting.addBoth(self._connected, timer, self.task, incoming)

    def _no_data(self, data: DataFactory) -> None:
        if not data.waiting.called:
            data.waiting.errback(TimeoutError())

    def _connected(self, result: Any, timer: Any, task: Upload, incoming: Incoming) -> Deferred[None]:
        if timer.active():
            timer.cancel()
        if isinstance(result, Failure):
            return task.received(incoming, False).addCallback(self._stored, "425 No data connection came.")
        over: Deferred[bool] = result.take(incoming)
        return over.addCallback(lambda in_order: task.received(incoming, in_order)).addCallback(self._stored)

    def _stored(self, problem: str, line: str = "") -> None:
        self._incoming = None
        self._drop_data()
        if not self.disconnected:
            self.setTimeout(self._idle_s)
        self.sendLine(line or WORDS.get(problem, "550 The task is over."))


class _NoPortError(ftp.FTPCmdError):
    """All passive ports are taken."""

    errorCode = ftp.CANT_OPEN_DATA_CNX

    def response(self) -> str:
        return "425 No port is free for data; try again."


class FtpServer(ftp.FTPFactory):
    """The listener's factory, and what its connections share."""

    noisy = False
    allowAnonymous = False

    def __init__(
        self, reactor: Any, clock: Clock, settings: Ftp, uploads: Uploads, fetches: Fetches | None = None, in_thread: InThread | None = None
    ) -> None:
        """``fetches``: what superiors may read; goes with ``in_thread``, which reads."""
        super().__init__(None)
        self.fetches = fetches
        self.in_thread: InThread = in_thread if in_thread is not None else maybeDeferred
        self.reactor = reactor
        self.clock = clock
        self.settings = settings
        self.uploads = uploads
        self.connections: dict[FencedFTP, None] = {}
        self._hosts: OrderedDict[str, tuple[int, float]] = OrderedDict()  #: wrong log-ins of an address, and until when they count

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A connection, if anybody is to be served now."""
        host = plain(getattr(addr, "host", ""))
        count, until = self._hosts.get(host, (0, 0.0))
        expected = self.uploads.expected or (self.fetches is not None and self.fetches.expected)
        if not expected or len(self.connections) >= self.settings.connections_max:
            self.uploads.counts["FTP connections turned away"] += 1
            return None
        if count >= HOST_MISSES_MAX and self.clock.seconds() < until:
            self.uploads.counts["FTP connections turned away"] += 1
            return None
        session = FencedFTP(self)
        session.factory = self
        self.connections[session] = None
        return session

    def left(self, session: FencedFTP) -> None:
        """A connection is gone."""
        self.connections.pop(session, None)

    def missed(self, host: str) -> None:
        """A wrong log-in."""
        now = self.clock.seconds()
        count, until = self._hosts.pop(host, (0, 0.0))
        self._hosts[host] = (count + 1 if now < until else 1, now + HOST_MISSES_S)
        if len(self._hosts) > HOSTS_MAX:
            self._hosts.popitem(last=False)
        if count + 1 in (1, HOST_MISSES_MAX):
            log.warn("FTP: {host}: wrong log-in", host=host)

    def stranger(self, host: str) -> None:
        """Somebody else has connected to a passive port."""
        self.uploads.counts["data connections of strangers refused"] += 1
        log.warn("FTP: {host} connected to another one's data port: refused", host=host)

    def passive_ports(self) -> list[int]:
        """In a random order: which one comes next is not to be guessed."""
        text = self.settings.passive_ports
        if not text:
            return [0]
        first, _, last = text.partition("-")
        ports = list(range(int(first), int(last or first) + 1))
        random.SystemRandom().shuffle(ports)
        return ports

    def stopFactory(self) -> None:
        """Nothing of Twisted's to be ended: it looks after connections that are not made here."""

    def close(self) -> None:
        """The relay stops."""
        for session in list(self.connections):
            if session.transport is not None:
                session.transport.abortConnection()
