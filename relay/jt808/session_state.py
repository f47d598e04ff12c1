"""A session of the platform's side as plain values, and a session made of them again: how a link outlives the process that carries it.

    kept      whose link it is, edition, header version, phase; the bytes of an unfinished frame; serial numbers; the answers that repeats
              get; counters; how long ago it began and was last heard
    not kept  requests that await replies (they fail as "closed"), sub-packages in assembly (``unfinished`` counts them; their missing
              pieces are asked for again once the next one comes), pieces of our own that 0x0005 could ask for

A session in DECIDING has a decision under way that lives elsewhere: it cannot be kept, see ``can_be_kept``.
"""

from __future__ import annotations

from relay.errors import StateError
from relay.identity import phone_key
from relay.jt808.framing import MAX_PIECE
from relay.jt808.session import Session
from relay.jt808.session_events import Phase, Role, SessionOptions
from relay.jt808.session_repeats import REPEATS_KEPT, Repeats
from relay.wire.plain import Plain

EDITIONS = (0, 2011, 2013, 2019)
FRAME_MAX = MAX_PIECE + 2
REASONS_MAX = 64
_KEPT = {Phase.NEW.value: Phase.NEW, Phase.READY.value: Phase.READY}


def can_be_kept(session: Session) -> bool:
    """Whether ``state_of`` has an answer."""
    return session.phase.value in _KEPT


def unfinished(session: Session) -> int:
    """Messages in assembly, which are not kept."""
    return len(session._parts) if session._parts is not None else 0


def state_of(session: Session, now: float) -> dict[str, object]:
    """In JSON's types. Holds the authentication code where 0x8100 was the last thing said: not for any log."""
    tail, skipping = session._deframer.state
    registration = session._registration
    return {
        "phone": session.phone,
        "edition": session.edition,
        "protocol_version": session.protocol_version,
        "phase": session.phase.value,
        "known": bool(session.key),
        "opened_s": round(now - session.opened, 3),
        "silent_s": round(now - session.last_frame, 3),
        "bytes_in": session.bytes_in,
        "bytes_out": session.bytes_out,
        "frames_in": session.frames_in,
        "frames_out": session.frames_out,
        "duplicates": session.duplicates,
        "errors": dict(session.errors or {}),
        "tail": tail.hex(),
        "skipping": skipping,
        "serial": session._next_serial,
        "told": session._told,
        "registration": {"serial": registration[0], "frame": registration[1].hex()} if registration is not None else None,
        "done": [{"message": key, "crc": crc, "result": result} for key, crc, result in session._repeats or ()],
    }


def session_of(state: Plain, options: SessionOptions, now: float) -> Session:
    """The session again; raises StateError."""
    phase = _KEPT.get(state.text("phase"))
    edition = state.number("edition")
    if phase is None or edition not in EDITIONS:
        raise StateError(state.where, "an edition or a phase that sessions do not have")
    session = Session(Role.PLATFORM, options, now - max(0.0, state.real("opened_s")))
    session.phone = state.text("phone", 64)
    session.key = phone_key(session.phone) if state.flag("known") else ""
    session.edition = edition
    session.protocol_version = state.number_or_none("protocol_version", 0, 255)
    session.phase = phase
    session.last_frame = now - max(0.0, state.real("silent_s"))
    session.bytes_in, session.bytes_out = state.number("bytes_in"), state.number("bytes_out")
    session.frames_in, session.frames_out = state.number("frames_in"), state.number("frames_out")
    session.duplicates = state.number("duplicates")
    errors = state.object("errors")
    session.errors = {reason: errors.number(reason) for reason in errors.names(REASONS_MAX)} or None
    session._deframer.resume(state.data("tail", MAX_PIECE + 1), state.flag("skipping"))
    session._next_serial = state.number("serial", 0, 0xFFFF)
    session._told = state.flag("told")
    registration = state.object_or_none("registration")
    if registration is not None:
        session._registration = registration.number("serial", 0, 0xFFFF), registration.data("frame", FRAME_MAX)
    done = state.objects("done", REPEATS_KEPT)
    if done:
        session._repeats = Repeats()
        for one in done:
            session._repeats.keep(one.number("message", 0, 0xFFFFFFFF), one.number("crc", 0, 0xFFFFFFFF), one.number("result", 0, 255))
    return session
