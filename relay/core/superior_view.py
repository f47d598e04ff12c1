"""A superior platform as people and programs see it. No secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.events import iso_time
from relay.core.superior_state import State

if TYPE_CHECKING:
    from relay.core.superior import Superior


def view_of(superior: Superior) -> dict[str, Any]:
    """Everything, in JSON's types."""
    settings = superior.settings
    links: dict[str, Any] = {}
    for name, link in (("main", superior.main), ("sub", superior.sub)):
        links[name] = None if link is None else {
            "peer": link.wire.peer, "up": link.up, "bytes_in": link.core.bytes_in, "bytes_out": link.core.bytes_out,
            "frames_in": link.core.frames_in, "frames_out": link.core.frames_out, "dropped": dict(link.core.errors), "under_way": len(link.under_way),
        }  # fmt: skip
    outbox = superior.outbox.counts
    return {
        "name": superior.name,
        "host": settings.host,
        "port": settings.port,
        "edition": superior.edition,
        "encrypted": settings.encrypt,
        "state": superior.state.value,
        "state_since": iso_time(superior.state_since),
        "problem": superior.problem if superior.state in (State.DOWN, State.STOPPED, State.SUB_ONLY, State.LOGIN) else "",
        "attempts": superior.attempts,
        "next_attempt": iso_time(superior.next_attempt) if superior.next_attempt is not None else None,
        "announced": superior.announced(),
        "links": links,
        "vehicles": sum(1 for _ in superior.hub.vehicles_of(superior)),
        "queue": {
            "waiting": superior.outbox.waiting, "queued": outbox["queued"], "sent": outbox["sent"], "dropped_age": outbox["dropped: age"],
            "dropped_full": outbox["dropped: full"], "dropped_store": outbox["dropped: store"],
        },
        "passwords_age_s": round(superior.hub.passwords.age_s(superior.name)),
        "requests": superior.hub.requests.open_count(superior.name),
        "counts": dict(superior.counts),
        "received": {f"0x{kind:04X}": count for kind, count in sorted(superior.received.items())},
    }  # fmt: skip
