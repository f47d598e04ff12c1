"""What the next process needs of the terminals, as plain values: links with their sessions, and what is known of those that are online.

    old process   leaving(link)   one object of JSON's types, when the link can be carried; it does nothing more here
    new process   back(state)     terminal and link again, without 0x0100, 0x0102, or a word to anybody that it had been away

The socket travels beside it and is ``relay.net``'s business. What the new configuration or store no longer admits is ended at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from relay.core.gate import KNOWN
from relay.core.link import Link, Wire
from relay.core.terminal_state import CHANNELS_MAX, Channel, Terminal
from relay.core.terminals import Terminals
from relay.errors import DecodeError, RelayError, StateError
from relay.identity import phone_key
from relay.jt808.messages.location import Location
from relay.jt808.messages.parameters import TerminalAttributes
from relay.jt808.messages.video import AvAttributes
from relay.jt808.session_state import can_be_kept, session_of, state_of, unfinished
from relay.store.terminals import KnownTerminal
from relay.wire.plain import Plain

BODY_MAX = 65535  #: of a message kept as bytes; none that is kept is longer than a few hundred
ROW_MAX = 65536  #: of the store's row as JSON
COUNTS_MAX = 64

_TEXTS = ("manufacturer", "model", "plate", "terminal_id", "iccid", "imei", "hardware", "firmware", "software", "last_host", "offline_reason")
_NUMBERS = ("edition", "alarm_flags", "video_alarm_flags", "connects", "bytes_in", "bytes_out")
_TIMES = ("position_at", "online_since", "last_seen")  # UNIX
_MESSAGES: dict[str, Any] = {"position": Location, "attributes": TerminalAttributes, "av": AvAttributes}


def leaving(link: Link, terminals: Terminals) -> dict[str, Any] | None:
    """A link's state, after which it does nothing more here; None: it cannot be carried, and goes on."""
    if not can_be_kept(link.session):
        return None
    now = terminals.clock.seconds()
    asked = not link.has_questions
    terminals.counts["sub-packaged messages given up"] += unfinished(link.session)
    link.leave()
    terminal = terminals.get(link.sim) if link.sim else None
    return {
        "session": state_of(link.session, now),
        "failures": link.failures,
        "terminal": _terminal(terminal, now, asked) if terminal is not None and terminal.link is link else None,
    }


def back(state: Plain, wire: Wire, terminals: Terminals, unsent: bytes = b"") -> Link | None:
    """The link goes on over ``wire``, where ``unsent`` goes first; None: it is no longer admitted, and why is counted.

    Raises StateError, and then nothing has changed.
    """
    now = terminals.clock.seconds()
    session = session_of(state.object("session"), terminals.options, now)
    told = state.object_or_none("terminal")
    terminal = _terminal_again(told, now) if told is not None else None
    if terminal is not None and terminal.sim != session.key:
        raise StateError(state.where, "the link of another terminal")
    failures = state.number("failures", 0, 1 << 16)
    if terminal is not None and terminal.known is None and terminals.settings.registration == KNOWN:
        terminals.counts["links not carried on: unknown now"] += 1
        return None
    if unsent:
        wire.write([unsent])
    link = Link(terminals, wire, session=session)
    link.failures = failures
    if not terminals.carried_on(link, terminal):
        link.leave()
        return None
    link.settle()
    return link


def _terminal(terminal: Terminal, now: float, asked: bool) -> dict[str, Any]:
    known = terminal.known
    values: dict[str, Any] = {name: getattr(terminal, name) for name in ("phone", *_TEXTS, *_NUMBERS, *_TIMES, "plate_color", "playback_beside_live")}
    for name in _MESSAGES:
        values[name] = _bytes_of(getattr(terminal, name))
    values["row"] = json.dumps(asdict(known)) if known is not None else None
    values["channels"] = [channel._asdict() for channel in terminal.channels.values()]
    values["counts"] = {str(number): count for number, count in terminal.counts.items()}
    values["clock"] = terminal.clock_state
    values["asked_s"] = now - terminal.asked_at if asked and terminal.asked_at > float("-inf") else None
    return values


def _bytes_of(message: Any) -> dict[str, Any] | None:
    """A message as it came; None also for one that cannot be written again: what it told is asked for or reported anew."""
    try:
        return {"edition": message.edition, "body": message.encode().hex()} if message is not None else None
    except RelayError:
        return None


def _terminal_again(state: Plain, now: float) -> Terminal:
    phone = state.text("phone", 64)
    terminal = Terminal(phone_key(phone), phone, _row(state))
    for name in _TEXTS:
        setattr(terminal, name, state.text(name))
    for name in _NUMBERS:
        setattr(terminal, name, state.number(name))
    for name in _TIMES:
        setattr(terminal, name, state.real(name))
    terminal.plate_color = state.number_or_none("plate_color", 0, 255)
    terminal.playback_beside_live = state.flag_or_none("playback_beside_live")
    for name, kind in _MESSAGES.items():
        message = state.object_or_none(name)
        if message is not None:
            try:
                setattr(terminal, name, kind.decode(message.data("body", BODY_MAX), message.number("edition", 0, 9999)))
            except DecodeError as problem:
                raise StateError(message.where, str(problem)) from None
    for one in state.objects("channels", CHANNELS_MAX):
        number = one.number("number", 0, 255)
        physical = one.number_or_none("physical", 0, 255)
        terminal.channels[number] = Channel(number, one.text("kind"), one.text("source"), one.flag_or_none("ptz"), physical)
    counts = state.object("counts")
    terminal.counts = {int(name): counts.number(name) for name in counts.names(COUNTS_MAX) if name.isdecimal() and len(name) < 6}
    clock = state.object("clock")
    terminal.clock_state = {"best": clock.real_or_none("best"), "former": clock.real_or_none("former"), "count": clock.number("count")}
    asked = state.real_or_none("asked_s")
    if asked is not None:
        terminal.asked_at = now - asked
    return terminal


def _row(state: Plain) -> KnownTerminal | None:
    """The store's row as the former process knew it; what changed since is seen at the first look into the store."""
    if not state.has("row"):
        return None
    where = f"{state.where}.row"
    try:
        values = json.loads(state.text("row", ROW_MAX))
    except ValueError:
        raise StateError(where, "not JSON") from None
    names = {field.name for field in fields(KnownTerminal)}
    if not isinstance(values, dict) or not isinstance(values.get("phone"), str):
        raise StateError(where, "not a row")
    try:
        values["channels"] = {int(number): str(name) for number, name in values["channels"].items()}
        values["details"] = {str(name): str(value) for name, value in values["details"].items()}
        values["aliases"] = tuple(str(name) for name in values["aliases"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StateError(where, "not a row") from None
    return KnownTerminal(**{name: value for name, value in values.items() if name in names})
