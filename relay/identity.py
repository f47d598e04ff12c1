"""Who is who: the one rule by which terminal numbers are compared, and the name of a stream."""

from __future__ import annotations

from typing import NamedTuple


def phone_key(number: str) -> str:
    """The form of a 终端手机号 or SIM卡号 used in every look-up: leading zeros stripped, hex letters lower-cased.

    ``"013800138000"``, ``"13800138000"`` and ``"00000000013800138000"`` are one terminal. Never an integer: real
    terminals put IMEIs and hex letters there. A number of zeros only becomes ``"0"``.
    """
    return number.strip().lower().lstrip("0") or "0"


class StreamKey(NamedTuple):
    """Names one stream of media."""

    sim: str  #: as ``phone_key`` gives it
    channel: int  #: logical channel, 1-based
    kind: str = "live"  #: "live", "playback" or "talk"
    id: str = ""  #: playback or talk session; empty for live

    def __str__(self) -> str:
        return f"{self.sim}_{self.channel}" if self.kind == "live" else f"{self.kind}/{self.id or f'{self.sim}_{self.channel}'}"
