"""Who has a live channel or waits for it, and which of the terminal's streams and tracks suits them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from relay.core.live_lease import Lease
from relay.jt808.messages.video import AvDataType

MAIN, SUB = "main", "sub"
VIEWER = "viewer"


class Leases:
    """Of one channel; the first first: its purpose is what a stream's data is spent for."""

    def __init__(self) -> None:
        self._all: dict[Lease, None] = {}

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._all))  # they end while they are walked over

    def __len__(self) -> int:
        return len(self._all)

    def add(self, lease: Lease) -> None:
        """One more."""
        self._all[lease] = None

    def drop(self, lease: Lease) -> None:
        """One less, if it is there."""
        self._all.pop(lease, None)

    def wanted(self, runs: str) -> str:
        """The stream type they come to: the main stream while anybody wants it, unless a player needs the other one (``other_stream``); else what runs."""
        needed = self.needed()
        wishes = {lease.wants for lease in self._all if not lease.needs and not (needed and lease.purpose == VIEWER)}
        if needed and not wishes & {MAIN, SUB}:
            return needed
        if MAIN in wishes:
            return MAIN
        return SUB if SUB in wishes else runs or SUB

    def needed(self) -> str:
        """The stream that a player has, or is to have, since it is H.264; "" = none has."""
        return next((lease.needs for lease in self._all if lease.needs), "")

    def indifferent(self) -> bool:
        """Nobody has a wish for one of the streams."""
        return not any(lease.wants or lease.needs for lease in self._all)

    def content_without(self, lease: Lease) -> str:
        """Who has what runs and can show it, in words; "" = nobody but this one and others like it."""
        others = Counter(one.purpose for one in self._all if one is not lease and not one.needs and (one.codec != "h264" or one.stream is not None))
        return ", ".join(f"{count} {purpose}{'s' if count > 1 else ''}" for purpose, count in sorted(others.items()))

    def data_type(self) -> AvDataType:
        """Sound is asked for unless all want the picture alone."""
        picture_alone = bool(self._all) and all(lease.media == "v" for lease in self._all)
        return AvDataType.VIDEO if picture_alone else AvDataType.AUDIO_VIDEO

    def step_down(self, but: Sequence[str]) -> None:
        """The sub stream must do for all, except for these purposes."""
        for lease in self._all:
            if lease.purpose not in but:
                lease.wants = SUB
