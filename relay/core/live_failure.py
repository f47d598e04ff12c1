"""Why a channel did not start, in words for people and a status for HTTP.

The hop is the one at which it stopped (``trace``); the hint is what to look at first.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from relay.core.trace import ANSWERED, CONNECTED, FIRST_KEY_FRAME, FIRST_PACKET, REQUESTED, SENT, Trace
from relay.errors import RelayError
from relay.jt808.session_replies import RESULT_WORDS


class StartFailed(RelayError):  # noqa: N818 (the word of the design: an answer to somebody who asked, not a fault of the program)
    """A start that did not succeed."""

    def __init__(self, status: int, code: str, message: str, hint: str = "", hop: str = "", trace: Trace | None = None) -> None:
        super().__init__(message)
        self.status = status  #: HTTP
        self.code = code  #: one word for programs
        self.message = message
        self.hint = hint
        self.hop = hop  #: where it stopped: one of ``trace.HOPS``
        self.trace = trace

    def as_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        body: dict[str, Any] = {"error": self.code, "message": self.message, "hint": self.hint}
        if self.hop:
            body["hop"] = self.hop
        if self.trace is not None:
            body["hops"] = self.trace.hops()
            body["trace"] = self.trace.as_dict()
        return body


def unknown_terminal(name: str) -> StartFailed:
    """404."""
    hint = "Add it with `jt1078relay terminal add`, or let it register (terminals.registration)."
    return StartFailed(404, "unknown_terminal", f"No terminal is called {name}.", hint, REQUESTED)


def unknown_channel(sim: str, channel: int, known: list[int]) -> StartFailed:
    """404."""
    listed = ", ".join(map(str, known))
    hint = f"The terminal's own channel table has {listed}." if listed else "Channels are numbered from 1 to 255."
    return StartFailed(404, "unknown_channel", f"Terminal {sim} has no channel {channel}.", hint, REQUESTED)


def offline(sim: str, reason: str, trace: Trace | None = None) -> StartFailed:
    """503."""
    why = f" (last link: {reason})" if reason else ""
    hint = "Has the vehicle power, its SIM card network and data? It has to connect to the JT/T 808 port and authenticate; the log names those refused."
    return StartFailed(503, "terminal_offline", f"Terminal {sim} is not online{why}.", hint, SENT, trace)


def no_media_port(sim: str, trace: Trace) -> StartFailed:
    """503: nothing to tell the terminal."""
    return StartFailed(503, "no_media_port", "No media port is open.", "Set media.live_tcp_port or media.live_udp_port.", SENT, trace)


def no_address(sim: str, trace: Trace) -> StartFailed:
    """503: nothing to tell the terminal."""
    return StartFailed(503, "no_media_address", "The address for media is not known.", "Set media.advertise.", SENT, trace)


def too_many(limit: int) -> StartFailed:
    """503."""
    return StartFailed(503, "too_many_streams", f"{limit} streams run already.", "media.connections_max is the limit.", REQUESTED)


def busy(sim: str, message: str, trace: Trace) -> StartFailed:
    """503: the link holds as many requests as it may."""
    return StartFailed(503, "terminal_busy", f"Terminal {sim} answers too slowly: {message}.", "Try again in a moment.", SENT, trace)


def refused(sim: str, channel: int, result: int, trace: Trace) -> StartFailed:
    """The terminal answered 0x9101 with a result other than 0."""
    word = RESULT_WORDS.get(result, "unknown result")
    hints = {
        1: "Often the channel does not exist, has no camera, or is busy (talk, playback, another platform).",
        2: "The terminal could not read 0x9101; its firmware may follow another edition.",
        3: "The terminal knows no JT/T 1078 live video.",
    }
    status = 409 if result == 1 else 502
    message = f"Terminal {sim} refused channel {channel}: result {result} ({word})."
    return StartFailed(status, "refused_by_terminal", message, hints.get(result, ""), ANSWERED, trace)


def playback_running(sim: str, channel: int, why: str) -> StartFailed:
    """409: live would end a playback of the same channel."""
    message = f"Channel {channel} of terminal {sim} cannot be shown live now: {why}, and this terminal does not do both."
    return StartFailed(409, "playback_running", message, "End the playback first (DELETE /api/v1/playbacks/{id}).", REQUESTED)


def no_answer(sim: str, seconds: float, trace: Trace, asked: str = "0x9101") -> StartFailed:
    """504: neither an answer nor media."""
    hint = "The signalling link may be dead although it looks alive; terminals on poor networks answer late."
    return StartFailed(504, "no_answer", f"Terminal {sim} did not answer {asked} within {seconds:.0f} s.", hint, ANSWERED, trace)


def no_connection(sim: str, told: str, terminal_host: str, seconds: float, trace: Trace) -> StartFailed:
    """504: it said yes, and no media connection came."""
    message = f"Terminal {sim} agreed, but opened no media connection to {told} within {seconds:.0f} s."
    return StartFailed(504, "no_media_connection", message, _address_hint(told, terminal_host), CONNECTED, trace)


def no_packet(sim: str, count: int, trace: Trace) -> StartFailed:
    """504: connected, and nothing that is JT/T 1078 came."""
    message = f"{count} connection{'s' * (count != 1)} from the terminal's address brought no whole JT/T 1078 packet."
    hint = "A proxy, a health check or another program may be talking to the media port; the log names wrong protocols."
    return StartFailed(504, "no_packet", message, hint, FIRST_PACKET, trace)


def wrong_sim(sim: str, seen: str, trace: Trace) -> StartFailed:
    """504: media came, of another number or channel."""
    message = f"Media came from the terminal's address, but not of SIM {sim}: {seen}."
    hint = "Write the number that the media carries as the terminal's alias."
    return StartFailed(504, "wrong_sim", message, hint, FIRST_PACKET, trace)


def no_key_frame(sim: str, channel: int, seconds: float, packets: int, trace: Trace) -> StartFailed:
    """504: packets without anything a player can begin with."""
    message = f"Channel {channel} of terminal {sim} sends ({packets} packets), but no key frame with its parameter sets came within {seconds:.0f} s."
    hint = "A long key frame interval (parameter 0x0077) or a lossy network; a longer timeout_s may do."
    return StartFailed(504, "no_key_frame", message, hint, FIRST_KEY_FRAME, trace)


def only_audio(sim: str, channel: int, trace: Trace) -> StartFailed:
    """504: sound without picture, where picture alone was wanted."""
    hint = "The camera may be unplugged (video loss alarm); media=a plays the sound."
    return StartFailed(504, "only_audio", f"Channel {channel} of terminal {sim} sends sound, but no picture.", hint, FIRST_KEY_FRAME, trace)


def ended(sim: str, channel: int, cause: str, trace: Trace | None) -> StartFailed:
    """503: stopped while somebody waited."""
    return StartFailed(503, "stream_ended", f"Channel {channel} of terminal {sim} was stopped: {cause}.", "", trace.missing if trace else "", trace)


def no_talk_port(sim: str, trace: Trace) -> StartFailed:
    """503: nothing to tell the terminal."""
    return StartFailed(503, "no_talk_port", "No port for talking is open.", "Set media.talk_tcp_port or media.talk_extra_ports.", SENT, trace)


def microphone_taken(sim: str, mode: str, who: str, since: str) -> StartFailed:
    """409: a terminal has one call at a time."""
    message = f"Terminal {sim} is in a call already: {mode} by {who} since {since}."
    return StartFailed(409, "microphone_taken", message, "GET /api/v1/talks shows who talks; DELETE /api/v1/talks/{id} ends it.", REQUESTED)


def talk_refused(sim: str, mode: str, result: int, trace: Trace) -> StartFailed:
    """409: the terminal answered 0x9101 with a result other than 0."""
    word = RESULT_WORDS.get(result, "unknown result")
    hint = "It may have no loudspeaker or microphone there, or take another channel for it: try 1, 33, 36 or 37."
    return StartFailed(409, "refused_by_terminal", f"Terminal {sim} refused the {mode}: result {result} ({word}).", hint, ANSWERED, trace)


def _address_hint(told: str, terminal_host: str) -> str:
    host = told.rpartition(":")[0].strip("[]")
    try:
        ours, theirs = ip_address(host), ip_address(terminal_host)
    except ValueError:
        return "Check that the address can be reached from the terminal's network and that the port is open in the firewall."
    if ours.is_loopback and not theirs.is_loopback:
        return f"{host} is this machine itself, the terminal cannot reach it: set media.advertise."
    if ours.is_private and theirs.is_global:
        return f"{host} is a private address, while the terminal comes from {terminal_host}: set media.advertise to the public address."
    return "Check that the port is open in the firewall for the terminal's network, TCP and UDP as media.prefer says."
