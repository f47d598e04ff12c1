"""The states of a superior platform's links, and what its settings mean for them."""

from __future__ import annotations

import enum

from relay.jt809.cipher import CipherKeys
from relay.jt809.link import LinkOptions
from relay.settings import Superior as Settings

#: settings that may change while the links are up
WHILE_UP = frozenset({
    "vehicles", "producer_id", "model_bytes", "passwords_in_envelope", "passwords_life_s", "passwords_overlap_s", "check_cross_domain", "alarms",
    "alarm_types", "post_query_rules", "post_query_s", "responder", "responder_tel", "car_info", "queue_max", "queue_age_s", "supplement_rate",
    "reconnect_s", "reconnect_max_s",
})  # fmt: skip


class State(enum.Enum):
    """See the table of ``core.superior``."""

    STOPPED = "stopped"
    DOWN = "down"
    LOGIN = "login"
    MAIN_UP = "main_up"
    BOTH_UP = "both_up"
    SUB_ONLY = "sub_only"


def link_options(settings: Settings) -> LinkOptions:
    """What the cores of both links need; the announced address is known once the main link is made."""
    keys = CipherKeys(settings.m1, settings.ia1, settings.ic1) if settings.m1 or settings.ia1 or settings.ic1 else None
    major, minor, revision = map(int, settings.version.split("."))
    return LinkOptions(
        edition=settings.edition,
        body_edition=settings.body_edition,
        access_code=settings.access_code,
        user_id=settings.user_id,
        password=settings.password,
        keys=keys,
        encrypt=settings.encrypt,
        version=(major, minor, revision),
        heartbeat_s=settings.heartbeat_s,
        timeout_s=settings.timeout_s,
        login_timeout_s=settings.login_timeout_s,
    )
