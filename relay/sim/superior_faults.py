"""How a simulated superior platform misbehaves."""

from __future__ import annotations

#: name -> (what it does, default value or None)
FAULTS: dict[str, tuple[str, float | None]] = {
    "mute": ("never answers the login", None),
    "refuse": ("answers the login with this result", 4),
    "no-sublink": ("never makes the subordinate link; says so with 0x9007", None),
    "wrong-code": ("logs in on the subordinate link with another verify code", None),
    "twice": ("makes a second subordinate link behind the first", None),
    "deaf": ("does not answer keep-alives and sends none", None),
    "keepalive-on-sub": ("answers 0x1005 on the subordinate link", None),
    "close-after": ("closes the main link so many seconds after the login", 10),
    "slow": ("reads so many bytes a second", 1000),
    "garbage": ("sends noise and broken frames between good ones", None),
}
