"""From whole frames of packets to access units and blocks of sound on an output clock: one (SIM, channel).

    RawFrame ─┬─ 98, 99 ── Pictures ──┐    (other numbers, too, if they are told to be pictures and hold parameter sets)
              ├─ 1 … 28 ── Sounds ────┤── Frames, on one Timeline
              └─ others: counted      ┘

Loss policy "keyframe": after a picture is lost nothing is passed on until the next key frame, because what refers to it would smear; "keep" passes on
whatever is whole. Either way a stream begins at a key frame.
"""

from __future__ import annotations

from relay.codec.frame import Frame
from relay.hub.picture import Lent, Pictures
from relay.hub.sound import Sounds
from relay.jt1078.assembly import RawFrame
from relay.jt1078.packet import LAST_AUDIO_PT
from relay.jt1078.timeline import Timeline

KEYFRAME, KEEP = "keyframe", "keep"


class Ingest:
    """One stream's input. ``push`` gives the frames that became whole, in order; ``counts`` says what did not, and why."""

    __slots__ = ("_picture", "_sounds", "channel", "counts", "pictures", "sim", "timeline")

    def __init__(self, sim: str, channel: int, loss_policy: str = KEYFRAME, g726_order: str = "auto") -> None:
        self.sim = sim
        self.channel = channel
        self.timeline = Timeline()
        self.counts: dict[str, int] = {}
        self.pictures = Pictures(self.timeline, self._count, loss_policy == KEEP)
        self._sounds = Sounds(self.timeline, self._count, g726_order)
        self._picture = self.pictures.push

    def restart(self, now: float) -> None:
        """Another connection feeds the stream from now on: a key frame first, and the clock goes on."""
        self.pictures.restart(now)
        self._sounds.restart()
        self.timeline.restart()

    def push(self, raw: RawFrame, now: float) -> list[Frame]:
        """The frames that are whole with this one; mostly one."""
        pt = raw.pt
        if pt == 98 or pt == 99:
            return self._picture(raw, now)
        if raw.data_type <= 2 and self.pictures.are_in(raw):
            return self._picture(raw, now)  # seen: user-defined payload types, and those of sound, with pictures in them
        if 1 <= pt <= LAST_AUDIO_PT and raw.data_type != 4:
            if self.pictures.held is not None:
                return self.pictures.tick(now) + self._sounds.push(raw, now)
            return self._sounds.push(raw, now)
        self._count("passthrough" if raw.data_type == 4 or pt == 91 else f"unsupported_pt{pt}")
        return []

    def lend(self) -> Lent | None:
        """For ``shortcut``: the state of the pictures, if they are ordinary now."""
        return self.pictures.lend()

    def take_back(self, count: int, stamp: int, step: int, now: float) -> None:
        """So many ordinary pictures have gone the short way."""
        self.pictures.take_back(count, stamp, step, now)

    def finish(self, now: float) -> list[Frame]:
        """No more will come: what waited for something leaves."""
        return self.pictures.finish(now) + self._sounds.finish(now)

    @property
    def has_picture(self) -> bool:
        """Pictures come, whether or not one could be begun with: the stream is not one of sound alone."""
        return self.pictures.seen

    @property
    def waits_for_key_frame(self) -> bool:
        """The next picture passed on will be a key frame."""
        return self.pictures.need_key

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
