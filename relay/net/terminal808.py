"""JT/T 808 on its sockets: TCP (plain or in TLS) and UDP. Thin: bytes to a ``core.link.Link``, frames back.

    TCP   one connection = one link. Bytes in any portions.
    UDP   one datagram = one or more whole frames; the link is told by the number in the header and the address it comes from.
          A terminal whose datagrams come from another port of the same address is followed (carriers' NAT forgets mappings between
          heartbeats), from another address only once it has authenticated from there, or under the policy "open".
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.core.link import Link
from relay.core.terminals import Terminals
from relay.errors import FrameError
from relay.identity import phone_key
from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.net.peerlog import how_it_ended
from relay.net.recorder import DatagramTaps, Recorder, Tap

CLOSE_S = 5.0  #: a peer that does not take our last words is cut off after so long
UNREAD_MAX = 262144  #: bytes we may have to say to a terminal that does not read: more than any answer, less than would hurt with many

Address = tuple[str, int]
Begin = Callable[["StreamWire"], Link | None]


def plain(host: str) -> str:
    """An IPv4 address that came in on an IPv6 socket, as IPv4."""
    return host.removeprefix("::ffff:") if "." in host else host


def show(host: str, port: int) -> str:
    """``10.0.0.7:40112``, ``[fe80::1]:40112``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@implementer(IPushProducer)
class TerminalProtocol(Protocol):
    """One TCP connection; it is the link's ``Wire``."""

    def __init__(self, terminals: Terminals, transport_name: str, recorder: Recorder | None = None, begin: Begin | None = None) -> None:
        self._terminals = terminals
        self._begin = begin or terminals.connected
        self._link: Link | None = None
        self._recorder = recorder
        self._tap: Tap | None = None
        self._full = False
        self._unread = 0  #: bytes written since the transport said that it is full
        self._cut: Any = None
        self.transport_name = transport_name
        self.peer = self.host = self.local = ""

    @property
    def link(self) -> Link | None:
        """Ours; None before the connection and after its end."""
        return self._link

    def connectionMade(self) -> None:
        transport: Any = self.transport
        peer, here = transport.getPeer(), transport.getHost()
        self.host, self.local = plain(getattr(peer, "host", "")), plain(getattr(here, "host", ""))
        self.peer = show(self.host, getattr(peer, "port", 0))
        self._link = self._begin(StreamWire(self))
        if self._link is None:
            transport.abortConnection()
            return
        if self._recorder is not None:
            self._tap = self._recorder.tap("jt808", self.transport_name, self.peer, show(self.local, getattr(here, "port", 0)))
        transport.setTcpKeepAlive(1)
        transport.setTcpNoDelay(1)
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._link is not None:
            if self._tap is not None:
                self._tap.data_in(data)
            self._link.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        self.connected = 0
        if self._tap is not None:
            self._tap.close(how_it_ended(reason))
        link, self._link = self._link, None
        if link is not None:
            link.lost(how_it_ended(reason))

    def send(self, frames: list[bytes]) -> None:
        """Write whole frames; a terminal that takes nothing is cut off."""
        if not self.connected:
            return
        data = b"".join(frames)
        if self._tap is not None:
            self._tap.data_out(data)
        transport: Any = self.transport
        if self._full:
            self._unread += len(data)
            if self._unread > UNREAD_MAX:
                self._terminals.counts["links cut: not reading"] += 1
                transport.abortConnection()
                return
        transport.write(data)

    def finish(self) -> None:
        """Close after what is still to be written."""
        transport: Any = self.transport
        self._link = None
        if not self.connected or self._cut is not None:
            return
        transport.unregisterProducer()
        transport.loseConnection()
        self._cut = self._terminals.clock.callLater(CLOSE_S, self._cut_off)

    def _cut_off(self) -> None:
        self._cut = None
        transport: Any = self.transport
        transport.abortConnection()

    def hold(self) -> None:
        """Read no more; what comes stays with the kernel."""
        transport: Any = self.transport
        if self.connected:
            transport.pauseProducing()

    def hand_over(self, unsent_max: int) -> tuple[int, bytes] | None:
        """A descriptor of the connection that outlives this program, and what was not sent, after which nothing is read or written here any more.

        None when it has ended, or the terminal reads so little that it is ended now.
        """
        transport: Any = self.transport
        if not self.connected or self._cut is not None or transport.disconnecting:
            return None
        transport.stopReading()
        transport.stopWriting()
        # what Twisted has not given to the kernel yet; it offers no other way to ask (a test holds these names)
        unsent = bytes(transport.dataBuffer[transport.offset :]) + b"".join(transport._tempDataBuffer)
        if self._tap is not None:
            self._tap.close("handed over to the next process")
            self._tap = None
        self._link = None
        if len(unsent) > unsent_max:
            self._terminals.counts["links cut: not reading"] += 1
            return None
        number = transport.getHandle().detach()  # not a second descriptor: with thousands of terminals these are scarce
        os.set_inheritable(number, True)
        return int(number), unsent

    # IPushProducer: only the fullness matters, answers cannot be withheld

    def pauseProducing(self) -> None:
        self._full = True
        self._unread = 0

    def resumeProducing(self) -> None:
        self._full = False

    def stopProducing(self) -> None:
        self._full = True


class StreamWire:
    """The link's view of a connection."""

    __slots__ = ("host", "local", "peer", "protocol", "transport")

    def __init__(self, protocol: TerminalProtocol) -> None:
        self.protocol = protocol
        self.peer, self.host, self.local, self.transport = protocol.peer, protocol.host, protocol.local, protocol.transport_name

    def write(self, frames: list[bytes]) -> None:
        self.protocol.send(frames)

    def close(self, reason: str) -> None:
        self.protocol.finish()


class TerminalFactory(Factory):
    """Listens for terminals."""

    noisy = False

    def __init__(self, terminals: Terminals, transport_name: str = "tcp", recorder: Recorder | None = None, begin: Begin | None = None) -> None:
        """``begin`` makes a connection's link, where it is not a new one."""
        self._begin = begin
        self._terminals = terminals
        self._transport_name = transport_name
        self._recorder = recorder

    def buildProtocol(self, addr: object) -> TerminalProtocol:
        protocol = TerminalProtocol(self._terminals, self._transport_name, self._recorder, self._begin)
        protocol.factory = self
        return protocol


class DatagramWire:
    """One terminal at one address."""

    __slots__ = ("_owner", "address", "host", "key", "local", "peer", "transport")

    def __init__(self, owner: TerminalDatagrams, key: str, address: Address, local: str) -> None:
        self._owner = owner
        self.key = key
        self.local = local
        self.transport = "udp"
        self.move(address)

    def move(self, address: Address) -> None:
        self.address = address
        self.host = plain(address[0])
        self.peer = show(self.host, address[1])

    def write(self, frames: list[bytes]) -> None:
        self._owner.send(frames, self.address)

    def close(self, reason: str) -> None:
        self._owner.forget(self)


class TerminalDatagrams(DatagramProtocol):
    """The UDP port. ``local_for`` gives the address of ours that a host reaches (a socket bound to all addresses does not know)."""

    noisy = False

    def __init__(self, terminals: Terminals, local_for: Callable[[str], str], recorder: Recorder | None = None) -> None:
        self._terminals = terminals
        self._local_for = local_for
        self._taps = DatagramTaps(recorder, "jt808", "") if recorder is not None else None
        self._links: dict[tuple[str, Address], Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        address: Address = (addr[0], addr[1])
        if self._taps is not None:
            self._taps.data_in(data, address)
        terminals = self._terminals
        deframer = Deframer()
        pieces = deframer.feed(data)
        if not pieces or deframer.buffered:
            terminals.counts["datagrams not whole frames"] += 1
            terminals.peer_log.warn(plain(address[0]), "{peer}: a datagram of {size} bytes is not JT/T 808 frames", peer=show(*address), size=len(data))
        for piece in pieces:
            try:
                if isinstance(piece, FrameError):
                    raise piece
                header, body = decode_frame(piece)
            except FrameError as problem:
                terminals.counts[f"frames dropped: {problem.reason}"] += 1
                terminals.peer_log.warn(plain(address[0]), "{peer}: {problem}", peer=show(*address), problem=str(problem))
                continue
            link = self._link(header, address)
            if link is not None:
                link.frame(header, body, len(piece) + 2)

    def _link(self, header: Header, address: Address) -> Link | None:
        key = phone_key(header.phone)
        link = self._links.get((key, address))
        if link is not None:
            return link
        link = self._follow(key, address)
        if link is None:
            wire = DatagramWire(self, key, address, self._local_for(address[0]))
            link = self._terminals.connected(wire, header.phone)
            if link is not None:
                self._links[key, address] = link
        return link

    def _follow(self, key: str, address: Address) -> Link | None:
        """The terminal's link, when it may be taken along to another address."""
        terminal = self._terminals.get(key)
        link = terminal.link if terminal is not None else None
        if link is None or not isinstance(link.wire, DatagramWire):
            return None
        wire = link.wire
        if plain(address[0]) != wire.host and self._terminals.settings.registration != "open":
            return None
        before = wire.host
        self.forget(wire)
        wire.move(address)
        wire.local = self._local_for(address[0])
        self._links[key, address] = link
        if wire.host != before:
            self._terminals.moved(link, before)
        return link

    def send(self, frames: list[bytes], address: Address) -> None:
        """A datagram for each frame."""
        transport: Any = self.transport
        if transport is not None:
            for frame in frames:
                if self._taps is not None:
                    self._taps.data_out(frame, address)
                transport.write(frame, address)

    def adopt(self, key: str, address: Address, begin: Callable[[DatagramWire], Link | None]) -> Link | None:
        """A link of the former process at that address."""
        wire = DatagramWire(self, key, address, self._local_for(address[0]))
        link = begin(wire)
        if link is not None and link.open:
            self._links[key, address] = link
        return link

    def forget(self, wire: DatagramWire) -> None:
        """Its link is over, or moved."""
        self._links.pop((wire.key, wire.address), None)


def local_address_for(bound: str) -> Callable[[str], str]:
    """For a socket bound to one address that address; else what the kernel would send from, asked once per host and remembered."""
    if bound not in ("0.0.0.0", "::", ""):
        return lambda host: bound
    return _Routes().source


class _Routes:
    """Source addresses by peer; ``connect`` on a datagram socket sends nothing, it only asks the routing table."""

    REMEMBERED = 4096  #: hosts; more than a carrier's NAT addresses

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def source(self, host: str) -> str:
        if host not in self._known:
            if len(self._known) >= self.REMEMBERED:
                self._known.clear()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                with socket.socket(family, socket.SOCK_DGRAM) as probe:
                    probe.connect((host, 9))
                    self._known[host] = plain(probe.getsockname()[0])
            except OSError:
                self._known[host] = ""  # no route back: nothing can be told to it anyway
        return self._known[host]
