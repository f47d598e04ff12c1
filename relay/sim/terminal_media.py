"""The media connections of one simulated terminal: opened and closed as it is told, by channel and purpose, all from one source."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.sim.media import MediaStream, State
from relay.sim.sources import PatternSource, Source

if TYPE_CHECKING:
    from relay.sim.terminal import SimulatedTerminal


class TerminalMedia:
    """Of one terminal; ``source``: what is sent, or what makes it when it is first needed; by default the test card."""

    __slots__ = ("_closed_bytes", "_make_source", "_source", "_terminal", "streams")

    def __init__(self, terminal: SimulatedTerminal, source: Source | Callable[[SimulatedTerminal], Source] | None) -> None:
        self.streams: dict[tuple[int, str], MediaStream] = {}  #: by channel and purpose: "live", "talk", "data", "playback"
        self._terminal = terminal
        self._make_source = source
        self._source: Source | None = None
        self._closed_bytes = 0

    @property
    def bytes_sent(self) -> int:
        """Over all connections so far."""
        return self._closed_bytes + sum(stream.bytes_sent for stream in self.streams.values())

    @property
    def sending(self) -> list[int]:
        """Channels that send now."""
        return sorted({channel for (channel, _), stream in self.streams.items() if stream.state is State.SENDING})

    @property
    def source(self) -> Source:
        """What is sent."""
        if self._source is None:
            made = self._make_source
            if made is None:
                options = self._terminal.options
                self._source = PatternSource(self._terminal.phone, hisi_header="hisi" in options.faults, utc_offset_s=options.utc_offset_s)
            else:
                self._source = made(self._terminal) if callable(made) else made
        return self._source

    def open(
        self, purpose: str, host: str, tcp_port: int, udp_port: int, *, channel: int, data_type: int, sub: bool,
        begin_wall: float | None = None, end_wall: float | None = None,
    ) -> MediaStream:  # fmt: skip
        """Open a connection; one of the same channel and purpose is closed before."""
        self.close(channel, purpose, "asked for anew")
        terminal, options = self._terminal, self._terminal.options

        def told(stream: MediaStream, what: str) -> None:
            self._told(purpose, stream, what, (host, tcp_port, udp_port))

        stream = MediaStream(
            terminal.reactor, terminal.wall, self.source, sim=terminal.phone, channel=channel, data_type=data_type, sub=sub, faults=options.faults,
            begin_wall=begin_wall, end_wall=end_wall, told=told,
        )  # fmt: skip
        self.streams[channel, purpose] = stream
        if options.media_server is not None:
            host, port = options.media_server
            tcp_port, udp_port = (0, port) if options.media_udp else (port, 0)
        stream.connect(host, tcp_port, udp_port, options.media_udp)
        return stream

    def close(self, channel: int, purpose: str, why: str) -> bool:
        """End a connection; False if there was none."""
        stream = self.streams.get((channel, purpose))
        if stream is None:
            return False
        stream.close(why)
        return True

    def close_all(self, why: str) -> None:
        """End all of them."""
        for stream in list(self.streams.values()):
            stream.close(why)

    def _told(self, purpose: str, stream: MediaStream, what: str, server: tuple[str, int, int]) -> None:
        terminal = self._terminal
        where = f" {stream.transport_name}" if what == "connected" else ""
        terminal.tell(f"media channel {stream.channel} ({purpose}) {what}{where}")
        if stream.state is not State.CLOSED or self.streams.get((stream.channel, purpose)) is not stream:
            return
        del self.streams[stream.channel, purpose]
        self._closed_bytes += stream.bytes_sent
        again = terminal.options.faults.get("reconnect-media")
        if again and what.startswith("closed: the platform") and terminal.online:
            host, tcp_port, udp_port = server

            def reopen() -> None:
                if terminal.online:
                    self.open(purpose, host, tcp_port, udp_port, channel=stream.channel, data_type=stream.data_type, sub=stream.sub)

            terminal.later(again, reopen)
