"""How good a channel's picture and sound are, judged by sizes, counts and times, without decoding: a score from 0 to 100 and its causes in words.

    no_data         nothing comes: the connection is lost or silent                                      -100
    no_picture      sound or packets come, but no picture                                                 -70
    black           one colour: key frames are tiny, and the pictures between them as good as empty       -60
    frozen          the pictures between key frames are as good as empty                                  -50
    no_key_frame    none for much longer than is usual here: who comes now waits for a picture            -40
    slow            much fewer pictures a second than is usual here                                       -25
    loss            packets are missing                                                                   -20
    time_jumps      the terminal's stamps jump                                                            -15
    mute            the sound is silence to the bit, or the same block again and again                    -10

Each must hold for a while before it counts and be gone for a while before it does not (``_CAUSES``), so that nothing flutters: ``quality.changed`` is
published when the set of causes changes, and players that take text messages are told, also those who come while something is wrong:
``{"type": "quality", "score": 30, "causes": ["black", "mute"], "message": "…"}``. The stream counts in its hot path what it has to anyway, and looks at one
block of sound in four; the rest is done here, once a second and channel, spread over the second.

How small is empty: an encoder that finds nothing changed says so in some bits a row of macroblocks. Measured with x264 (CABAC) on a still picture: 35
bytes at 352x288, 56 at 1280x720, 90 at 1920x1080; a black key frame 166, 307 and 523 bytes, without CABAC about a byte a macroblock. A camera's noise
alone makes pictures of hundreds of bytes and key frames of thousands.
"""

from __future__ import annotations

from typing import NamedTuple

from relay.core.events import Events
from relay.core.views import Tell
from relay.hub.merge import Clock, DelayedCall
from relay.hub.registry import Registry
from relay.hub.stats import Sample
from relay.hub.stream import Stream, StreamState

SLICES = 10  #: a tenth of the channels each tenth of a second
LOOK_S = 1.0
HEADER_BYTES = 30  #: of a video packet (JT/T 1078-2016 table 19); 34 with the ten-byte SIM, which is near enough
SILENT_S = 3.0  #: nothing came
KEY_LEAST_S = 15.0  #: terminals send a key frame every 1 to 10 s
KEY_FACTOR = 3.0
SLOW_SHARE = 0.6
USUAL_FPS_LEAST = 3.0
LOSS_PERCENT = 2.0
JUMPS = 2  #: of the stamps
JUMPS_S = 30.0


class Cause(NamedTuple):
    """Something that is wrong."""

    code: str
    message: str


class _Rule(NamedTuple):
    costs: int
    after_s: float  #: holds for so long before it counts
    gone_s: float  #: and is gone for so long before it does not
    words: str


_CAUSES = {
    "no_data": _Rule(100, 0.0, 0.0, "Nothing comes from the terminal."),
    "no_picture": _Rule(70, 5.0, 1.0, "No picture comes, though the connection is alive."),
    "black": _Rule(60, 8.0, 3.0, "The picture is black or of one colour: the camera may be covered, unplugged or broken."),
    "frozen": _Rule(50, 8.0, 3.0, "The picture does not change at all: the camera or its input may have frozen."),
    "no_key_frame": _Rule(40, 0.0, 0.0, "No key frame has come for long: new viewers wait for a picture."),
    "slow": _Rule(25, 5.0, 5.0, "Much fewer pictures a second come than is usual for this channel."),
    "loss": _Rule(20, 5.0, 10.0, "Packets are missing: the terminal's network is poor."),
    "time_jumps": _Rule(15, 0.0, 0.0, "The time stamps of the terminal jump."),
    "mute": _Rule(10, 10.0, 2.0, "The sound is mute: pure silence, as without a microphone."),
}
GOOD = "Picture and sound are as they should be."


class Quality:
    """Of one stream."""

    __slots__ = ("_at", "_before", "_fps", "_gone", "_held", "_jumped", "_jumps", "_key_at", "_key_bytes", "_key_s", "active", "told")

    def __init__(self, sample: Sample, now: float, jumps: int) -> None:
        self.active: dict[str, None] = {}
        self.told = 0  #: the highest number of a viewer that knows
        self._before = sample
        self._at = now
        self._held: dict[str, float] = {}  #: seconds that a cause has held
        self._gone: dict[str, float] = {}  #: that an active one has been gone
        self._fps = 0.0  #: usual
        self._key_s = 0.0  #: usual distance of key frames
        self._key_at = now
        self._key_bytes = 0  #: of a key frame, lately
        self._jumps = jumps
        self._jumped: list[float] = []

    @property
    def score(self) -> int:
        """0 to 100."""
        return max(0, 100 - sum(_CAUSES[code].costs for code in self.active))

    def causes(self) -> list[Cause]:
        """What is wrong, the worst first."""
        return [Cause(code, rule.words) for code, rule in _CAUSES.items() if code in self.active]

    def look(self, sample: Sample, macroblocks: int, waits: bool, jumps: int, comes: bool, loss: float, now: float) -> bool:
        """Judge what has come since the last look; True when the causes have changed.

        ``macroblocks``: of a picture, 0 = none is known; ``waits``: pictures come, but are of no use before a key frame; ``comes``: there is a connection.
        """
        before, span = self._before, now - self._at
        self._before, self._at = sample, now
        if span <= 0.0:
            return False
        found: set[str] = set()
        if not comes or now - sample.last_packet > SILENT_S:
            found.add("no_data")
            self._key_at = now
        else:
            self._pictures(sample, before, span, macroblocks, waits, now, found)
            if loss > LOSS_PERCENT:
                found.add("loss")
            sounds = sample.sounds - before.sounds
            if (sounds and sample.mutes - before.mutes == sounds) or (not sounds and "mute" in self.active):
                found.add("mute")
        if jumps > self._jumps:
            self._jumped += [now] * min(jumps - self._jumps, JUMPS)
        self._jumps = jumps
        self._jumped = [at for at in self._jumped[-JUMPS:] if now - at < JUMPS_S]
        if len(self._jumped) >= JUMPS:
            found.add("time_jumps")
        return self._settle(found, span)

    def _pictures(self, sample: Sample, before: Sample, span: float, macroblocks: int, waits: bool, now: float, found: set[str]) -> None:
        frames, keys = sample.frames - before.frames, sample.keys - before.keys
        if keys:
            distance = (now - self._key_at) / keys
            if before.keys:
                self._key_s = distance if not self._key_s else self._key_s + 0.3 * (distance - self._key_s)
            self._key_at = now
            self._key_bytes = (sample.key_bytes - before.key_bytes) // keys
        elif not frames and not waits:
            self._key_at = now
        elif now - self._key_at > max(KEY_LEAST_S, KEY_FACTOR * self._key_s):
            found.add("no_key_frame")
        if not frames:
            if macroblocks and not waits:
                found.add("no_picture")
            return
        fps = frames / span
        if not self._fps:
            self._fps = fps
        if fps < SLOW_SHARE * self._fps and self._fps >= USUAL_FPS_LEAST:
            found.add("slow")
        # more is believed soon, less within minutes: a terminal that was told to send fewer is not slow for ever
        self._fps += (0.2 if fps > self._fps else 0.005) * span * (fps - self._fps)
        between = frames - keys
        if not between or not macroblocks:
            return
        packets = sample.packets - before.packets
        size = sample.received - before.received - (sample.sound_bytes - before.sound_bytes) - (sample.key_bytes - before.key_bytes) - HEADER_BYTES * packets
        if size <= between * (64 + macroblocks // 32):
            limit = 256 + macroblocks * 5 // 4
            if "black" in self.active:
                limit *= 2  # key frames differ: some have remarks of the encoder beside the picture
            found.add("black" if self._key_bytes <= limit else "frozen")

    def _settle(self, found: set[str], span: float) -> bool:
        changed = False
        held, gone = self._held, self._gone
        for code in list(held):
            if code not in found:
                del held[code]
        for code in found:
            gone.pop(code, None)
            if code in self.active:
                continue
            held[code] = held.get(code, 0.0) + span
            if held[code] >= _CAUSES[code].after_s:
                del held[code]
                self.active[code] = None
                changed = True
        for code in list(self.active):
            if code in found:
                continue
            gone[code] = gone.get(code, 0.0) + span
            if gone[code] >= _CAUSES[code].gone_s:
                del gone[code], self.active[code]
                changed = True
        return changed


class QualityWatch:
    """Looks at all live streams."""

    def __init__(self, registry: Registry, clock: Clock, events: Events, tell: Tell = lambda viewer, message: None) -> None:
        self._tell = tell
        self._registry = registry
        self._clock = clock
        self._events = events
        self._known: dict[Stream, Quality] = {}
        self._streams: list[Stream] = []  #: all of them, as they were at phase 0
        self._phase = 0
        self._call: DelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self._call = self._clock.callLater(LOOK_S / SLICES, self._look)

    def stop(self) -> None:
        """No more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def of(self, stream: Stream) -> Quality | None:
        """What is known of a stream; None for one that is not watched, or not yet."""
        return self._known.get(stream)

    def scores(self, most: int) -> dict[str, float]:
        """Of so many streams at most, by name."""
        return {str(stream.key): quality.score for stream, quality in list(self._known.items())[:most]}

    def _look(self) -> None:
        self.start()
        now = self._clock.seconds()
        if not self._phase:
            self._streams = [stream for stream in self._registry.streams() if stream.key.kind == "live"]
            for gone in self._known.keys() - set(self._streams):
                del self._known[gone]
        for stream in self._streams[self._phase :: SLICES]:
            if stream.state is not StreamState.ENDED:
                self.look(stream, now)
        self._phase = (self._phase + 1) % SLICES

    def look(self, stream: Stream, now: float) -> None:
        """Judge one stream."""
        sample = stream.sample()
        jumps = stream.jumps
        quality = self._known.get(stream)
        if quality is None:
            if stream.first_packet:
                self._known[stream] = Quality(sample, now, jumps)
            return
        video = stream.video
        macroblocks = ((video.width + 15) // 16) * ((video.height + 15) // 16) if video is not None else 0
        comes = stream.source is not None and stream.state is not StreamState.LOST
        before = quality.score
        changed = not stream.paused and quality.look(sample, macroblocks, stream.waits_for_key_frame, jumps, comes, stream.loss_percent, now)
        if not changed and not quality.active:
            return
        causes = quality.causes()
        told = {
            "score": quality.score, "causes": [cause.code for cause in causes], "message": " ".join(cause.message for cause in causes) or GOOD,
        }  # fmt: skip
        if changed:
            quality.told = 0
            self._events.publish("quality.changed", sim=stream.key.sim, channel=stream.key.channel, before=before, **told)
        since = quality.told
        for viewer in stream.every_viewer():
            if viewer.id > since and viewer.first_byte:
                quality.told = max(quality.told, viewer.id)
                self._tell(viewer, {"type": "quality", **told})
