"""Figures of superior platforms for ``/metrics``, each with a label ``superior``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.core.superior import Superior
from relay.core.superior_state import State
from relay.core.superiors import Superiors

Labelled = Mapping[str, tuple[str, str, bool, Callable[[], Mapping[str, float]]]]

_UP = {State.BOTH_UP: 2.0, State.MAIN_UP: 1.0, State.SUB_ONLY: 1.0}

#: name → help, whether it is a counter, value
_FIGURES: dict[str, tuple[str, bool, Callable[[Superior], float]]] = {
    "superior_links_up": ("Links to a superior platform that are logged in", False, lambda one: _UP.get(one.state, 0.0)),
    "superior_queue": ("Positions and alarms that wait for it on disk", False, lambda one: one.outbox.waiting),
    "superior_requests_waiting": ("Its requests that wait for a person", False, lambda one: one.hub.requests.open_count(one.name)),
    "superior_passwords_age_seconds": ("Age of its time-efficient passwords", False, lambda one: one.hub.passwords.age_s(one.name)),
    "superior_positions": ("Positions sent as they came", True, lambda one: one.counts["positions"]),
    "superior_supplements": ("Positions sent afterwards", True, lambda one: one.counts["supplements"]),
    "superior_queued": ("Positions and alarms that had to wait", True, lambda one: one.outbox.counts["queued"]),
    "superior_queue_sent": ("Of these delivered", True, lambda one: one.outbox.counts["sent"]),
    "superior_dropped_age": ("Dropped for queue_age_s", True, lambda one: one.outbox.counts["dropped: age"]),
    "superior_dropped_full": ("Dropped for queue_max", True, lambda one: one.outbox.counts["dropped: full"]),
    "superior_dropped_store": ("Dropped since the disk did not take them", True, lambda one: one.outbox.counts["dropped: store"]),
    "superior_logins": ("Logins of the main link", True, lambda one: one.counts["logins"]),
    "superior_messages": ("Messages received from it", True, lambda one: sum(one.received.values())),
    "superior_frames_dropped": (
        "Frames of it that were dropped", True, lambda one: sum(count for word, count in one.counts.items() if word.startswith("dropped: ")),
    ),
}  # fmt: skip


def superior_figures(superiors: Superiors | None) -> Labelled:
    """All of them; none without a superior."""
    if superiors is None:
        return {}
    hub = superiors

    def values(of: Callable[[Superior], float]) -> Callable[[], Mapping[str, float]]:
        return lambda: {one.name: of(one) for one in hub}

    return {name: ("superior", text, counter, values(of)) for name, (text, counter, of) in _FIGURES.items()}
