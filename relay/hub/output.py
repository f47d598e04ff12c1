"""One serialisation of one stream and those who watch it.

An output is told by its ``OutputFormat``: container, framing, media, audio, HEVC variant. It has one muxer; every frame is written once, and
the same bytes object goes to every viewer. Between two flushes the pieces gather in ``pending``; a flush joins them and calls each ready
viewer's ``send`` in a loop that does nothing else.

    closed to viewers ──tracks decided──→ open ──last viewer gone for LINGER_S──→ removed
    (they wait)                             └──a change the format cannot carry──→ viewers closed, removed

The tracks are decided (``_decide``) when the picture's first key frame and the sound's first block are there, or when the one of them has been waited for
long enough: ``audio_wait_s`` where a track can be added later (FLV, fMP4 over WebSocket), ``audio_wait_fixed_s`` where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.hub.formats import Options, OutputFormat, UnsupportedTrackError
from relay.hub.framing import Framing
from relay.hub.muxers import EARLY_TRACKS, FLEXIBLE, STATELESS, MakeMuxer
from relay.hub.stats import TrackStats
from relay.hub.viewer import Chunk, Send, Viewer
from relay.mux.base import Muxer

if TYPE_CHECKING:
    from relay.hub.stream import Stream
    from relay.hub.track import Track

#: an output nobody watches is kept so long: pages are reloaded, and a muxer with its transcoder costs more to make than to feed
LINGER_S = 5.0


#: how a frame becomes a pending piece
Way = tuple[Callable[[Frame], bytes], Callable[[bytes], None]]
#: of the muxer (``flv.PLAIN_HEAD``), and where the pieces are kept
ShortWay = tuple[tuple[int, int], list[bytes]]


class Ways(NamedTuple):
    """What ``shortcut`` writes plain pictures to."""

    short: list[ShortWay]
    frames: list[Way]
    direct: Output | None  #: if there is only one output, whose only viewer takes what comes: pieces may be sent without ``flush``


class Output:
    """One (container, framing, media, audio, hevc) of one stream."""

    __slots__ = (
        "_burst",
        "_cache",
        "_inline_at",
        "_key_at",
        "_make_muxer",
        "_others",
        "_ready",
        "_sends",
        "_special",
        "_unsupported",
        "audio",
        "drops",
        "empty_since",
        "flexible",
        "format",
        "framing",
        "muxer",
        "note",
        "now",
        "opened",
        "options",
        "pending",
        "sent_before",
        "sent_each",
        "stateless",
        "stream",
        "track",
        "video",
        "waiting",
    )

    def __init__(self, stream: Stream, fmt: OutputFormat, muxer: MakeMuxer, unsupported: Callable[..., str]) -> None:
        self.stream = stream
        self.format = fmt
        self.options: Options = stream.options
        self.now = stream.clock.seconds
        self.note = ""  #: a track that is left out, in words
        self.opened = False
        self.sent_each = 0  #: bytes every viewer that was live all the time has got
        self.sent_before = 0  #: to viewers that are gone
        self.drops = 0  #: overflows of viewers' queues
        self.empty_since = stream.clock.seconds()
        self.video: VideoConfig | None = None  #: the tracks that are carried
        self.audio: AudioConfig | None = None
        self.track: Track | None = None  #: the transcoder behind ``audio``; None = the source's own
        self._make_muxer = muxer
        self._unsupported = unsupported
        self.muxer: Muxer | None = None
        self.framing = Framing(fmt)
        #: tracks can be added and changed while viewers are attached
        self.flexible = fmt.container in FLEXIBLE or self.framing.ws
        #: the viewers that take what comes, and their sockets' ``send``, in the same order: the fan-out touches nothing of the viewer itself
        self._ready: list[Viewer] = []
        self._sends: list[Send] = []
        self._others: dict[Viewer, None] = {}
        self.waiting = 0  #: viewers that have got nothing yet
        self.pending: list[bytes] = []  #: pieces since the last flush; the list itself never changes, so that ``Stream`` may keep it
        self._inline_at: list[int] = []  #: indexes of configuration changes in ``pending``
        self.stateless = fmt.container in STATELESS
        self._cache: list[bytes] | None = None  #: pieces since the last key frame; only where the muxer is not stateless
        self._key_at = -1  #: index of the latest key frame in ``pending``
        self._special = False  #: one of _burst, _inline_at, _key_at is set
        self._burst: bytes = b""  #: what a viewer that joins before the next flush begins with

    # tracks -----------------------------------------------------------------

    @property
    def wants_video(self) -> bool:
        """The format has a picture."""
        return self.format.media != "a"

    @property
    def wants_audio(self) -> bool:
        """The format has sound."""
        return self.format.media != "v" and self.target != "none"

    @property
    def target(self) -> str:
        """The audio codec asked for, "auto" resolved."""
        return resolve_audio(self.format, self.options)

    def open_due(self, now: float) -> float:
        """Open if the tracks can be decided; else the moment at which to look again (0.0 = when something comes)."""
        stream = self.stream
        video = stream.video if self.wants_video else None
        audio = stream.audio if self.wants_audio else None
        if video is None:
            if audio is None:
                return 0.0
            if self.wants_video:
                if stream.ingest.has_picture:  # it only lacks its key frame
                    return 0.0
                due = stream.first_sound + self.options.video_wait_s
                if now < due:
                    return due
        elif audio is None and self.wants_audio:
            late = self.flexible and self.format.container not in EARLY_TRACKS
            due = stream.first_picture + (self.options.audio_wait_s if late else self.options.audio_wait_fixed_s)
            if now < due:
                return due
        self._open(video, audio, now)
        return 0.0

    def _open(self, video: VideoConfig | None, source: AudioConfig | None, now: float) -> None:
        if video is not None and (problem := self._unsupported(self.format.container, video)):
            self.stream.remove(self, f"unsupported: {problem}")
            return
        audio = self._take_audio(source) if source is not None else None
        if video is None and audio is None:
            self.stream.remove(self, f"unsupported: {self.note}")
            return
        self.opened = True
        self.video, self.audio = video, audio
        self.begin(now)

    def begin(self, now: float) -> None:
        """The tracks are decided."""
        video, audio = self.video, self.audio
        self.muxer = self._make_muxer(self.format, self.stream.key)
        replay = self._replay()
        self.muxer.configure(video, audio, replay[0].dts if replay else self.stream.last_dts)
        if not self.stateless and replay:
            self._cache = [piece for piece in map(self.muxer.write, replay) if piece]
        self.framing.begin()
        self.stream.rewire()
        for viewer in list(self._others):
            self._begin(viewer, now)

    def _replay(self) -> list[Frame]:
        """The cached GOP with the sound this output carries; empty when there is none to begin with."""
        frames = self.stream.gop.frames
        if self.video is None or not frames or frames[0].config is not self.video:
            return []
        if self.track is None:
            audio = self.audio
            return [frame for frame in frames if frame.kind == VIDEO or frame.config is audio]
        pictures = [frame for frame in frames if frame.kind == VIDEO]
        return pictures[:1] + sorted(pictures[1:] + self.track.recent(), key=lambda frame: frame.dts)

    def _take_audio(self, source: AudioConfig) -> AudioConfig | None:
        """The sound this output will carry; None (and a note) when it cannot carry it."""
        target = self.target
        self._drop_track()
        if target in ("source", source.codec):
            problem = self._unsupported(self.format.container, source)
            if problem:
                self.note = problem
                return None
            self.note = ""
            return source
        track = self.stream.track(target)
        if isinstance(track, str):
            self.note = track
            return None
        problem = self._unsupported(self.format.container, track.config)
        if problem:
            self.note = problem
            self.stream.release(track)
            return None
        self.note = ""
        self.track = track
        track.outputs[self] = None
        return track.config

    def _drop_track(self) -> None:
        track, self.track = self.track, None
        if track is not None:
            track.outputs.pop(self, None)
            self.stream.release(track)

    def video_changed(self, video: VideoConfig, dts: int) -> None:
        """The picture's description is another one from the next frame on (or there is a picture at last)."""
        if not self.opened or not self.wants_video:
            return
        old = self.video
        if problem := self._unsupported(self.format.container, video):
            self.stream.remove(self, f"unsupported: {problem}")
        elif not self.flexible:
            self.stream.remove(self, "configuration changed")
        elif (
            old is not None and old.codec != video.codec and self.format.container == "flv" and self.options.end_on_codec_change
        ):
            self.stream.remove(self, f"codec changed: {old.codec} to {video.codec}")
        else:
            self.video = video
            self._reconfigure(dts)
            self.stream.rewire()

    def audio_changed(self, source: AudioConfig, dts: int) -> None:
        """The source's sound is coded otherwise from the next block on (or there is sound at last)."""
        if not self.opened or not self.wants_audio:
            return
        old = self.audio
        if old is None and not self.flexible:
            self.note = "sound came too late for this output: connect again to hear it"
            return
        self.flush()  # the transcoder's last blocks belong to the old description
        audio = self._take_audio(source)
        if audio is None and old is None:
            return
        if audio == old:
            self.stream.rewire()
            return
        if not self.flexible:
            self.stream.remove(self, "configuration changed")
            return
        if (
            old is not None
            and audio is not None
            and old.codec != audio.codec
            and self.format.container == "flv"
            and self.options.end_on_codec_change
        ):
            self.stream.remove(self, f"codec changed: {old.codec} to {audio.codec}")
            return
        self.audio = audio
        if old is not None:  # cached blocks of the old kind would be read with the new header
            self._cache = None
        self._reconfigure(dts)
        self.stream.rewire()

    def _reconfigure(self, dts: int) -> None:
        assert self.muxer is not None  # noqa: S101 - opened
        piece = self.muxer.configure(self.video, self.audio, dts)
        if not piece:
            return
        self.framing.change(self.framing.header(piece, self.video, self.audio, self.note))
        self._inline_at.append(len(self.pending))
        self._special = True
        self.pending.append(piece)

    # frames -----------------------------------------------------------------

    def write_key(self, frame: Frame) -> None:
        """A key frame of the picture."""
        assert self.muxer is not None  # noqa: S101 - opened
        data = self.muxer.write(frame)
        if data:
            self._key_at = len(self.pending)
            self._special = True
            self.pending.append(data)
            if not self.stateless:
                self._cache = [data]

    def way(self) -> Way:
        """How ``Stream`` writes any other frame: ``keep(write(frame))``, with nothing of the output in between."""
        assert self.muxer is not None  # noqa: S101 - opened
        return self.muxer.write, self.pending.append if self.stateless else self._keep

    def short_way(self) -> ShortWay | None:
        """How ``shortcut`` writes plain pictures; None where the muxer must see frames, or the pieces be cached."""
        plain: tuple[int, int] | None = getattr(self.muxer, "plain", None)
        return (plain, self.pending) if plain is not None and self.stateless else None

    @property
    def direct_send(self) -> Send | None:
        """The only viewer's; None where a flush has more to do than to join what is pending and to send it once."""
        return self._sends[0] if len(self._sends) == 1 and not (self._others or self._special or self.framing.ws) else None

    def count(self, sent: int) -> None:
        """So many bytes have been sent directly."""
        self.sent_each += sent

    def fell(self, sent: int, data: bytes) -> None:
        """Of these, sent directly and counted, the only viewer took so many; -1: it is being lost."""
        self._rest([(self._sends[0], sent)], data)

    def _keep(self, data: bytes) -> None:
        self.pending.append(data)
        if self._cache is not None:
            self._cache.append(data)

    def cost(self) -> TrackStats | None:
        """What making its frames costs, where they are made and not only written."""
        return None

    def restarted(self) -> None:
        """Another connection feeds the stream: what was cached does not go on with what comes."""
        self.drop_cache()

    def drop_cache(self) -> None:
        """The GOP grew too large: viewers that come now wait for the next key frame."""
        self._cache = None
        self._burst = b""

    def flush(self) -> None:
        """Send what is pending: one send a ready viewer."""
        pending = self.pending
        if not pending:
            return
        sends = self._sends
        if sends or self._others:
            framing = self.framing
            if self._inline_at:
                data = framing.join_changes(pending, self._inline_at)
            elif framing.ws:
                data = framing.join(pending)
            else:
                data = pending[0] if len(pending) == 1 else b"".join(pending)
            size = len(data)
            self.sent_each += size
            fell: list[tuple[Send, int]] | None = None
            for send in sends:
                try:
                    sent = send(data)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    sent = -1
                if sent != size:
                    fell = fell or []
                    fell.append((send, sent))
            if fell is not None or self._others:
                self._rest(fell or [], data)
                return
        pending.clear()
        if self._special:
            self._special = False
            self._burst = b""
            self._inline_at.clear()
            self._key_at = -1

    def _rest(self, fell: list[tuple[Send, int]], data: bytes) -> None:
        """The viewers that do not simply take what comes."""
        self.stream.settle()
        now = self.now()
        behind = [(self._ready[self._sends.index(send)], sent) for send, sent in fell]
        pending = self.pending[:]
        key_at = self._key_at
        self.pending.clear()  # a viewer that begins now finds these in its burst
        self._inline_at.clear()
        self._key_at = -1
        self._burst = b""
        self._special = False
        key: bytes | None = None
        if key_at >= 0:
            key = self.framing.join(pending[key_at:])
        elif self.video is None:  # sound alone can be taken up anywhere
            key = data
        chunk = Chunk(data, key, self.framing.version, now)
        for viewer in list(self._others):
            if viewer.started:
                viewer.offer(chunk)
            else:
                self._begin(viewer, now)
        for viewer, sent in behind:
            if self._not_ready(viewer):
                self._others[viewer] = None
                viewer.fell_behind(data, sent, now, self.framing.version)

    def _not_ready(self, viewer: Viewer) -> bool:
        """Take it out of the fan-out, the last one into its place; False when it was not there."""
        at = viewer.place
        if at < 0:
            return False
        last, send = self._ready.pop(), self._sends.pop()
        if last is not viewer:
            self._ready[at], self._sends[at] = last, send
            last.place = at
        viewer.place = -1
        return True

    def flushed_version(self) -> int:
        """Of the configuration that live viewers have got."""
        return self.framing.version - len(self._inline_at)

    # viewers ------------------------------------------------------------------

    def add(self, viewer: Viewer, now: float) -> None:
        """A new viewer: begins at once when there is something to begin with."""
        self.stream.settle()
        self._others[viewer] = None
        self.waiting += 1
        self.stream.waiting += 1
        if not self.opened:
            self.stream.try_open(self, now)
        else:
            if self.pending:  # or its burst would be followed by pieces it already holds
                self.flush()
            if not viewer.started:
                self._begin(viewer, now)

    def _begin(self, viewer: Viewer, now: float) -> None:
        """Headers and the cached GOP in one send, when there is a GOP or no picture at all."""
        if viewer.closed:
            return
        burst = self._burst
        if not burst:
            pieces = self._joining_pieces()
            if not pieces and self.video is not None:
                return
            assert self.muxer is not None  # noqa: S101 - opened
            header = self.framing.header(self.muxer.header(), self.video, self.audio, self.note)
            burst = self._burst = self.framing.burst(header, pieces)
            self._special = True
        self.waiting -= 1
        self.stream.waiting -= 1
        viewer.start(burst, self.framing.version, now)

    def _joining_pieces(self) -> list[bytes]:
        if not self.stateless:
            return self._cache or []
        assert self.muxer is not None  # noqa: S101 - opened
        return [self.muxer.write(frame) for frame in self._replay()]

    def viewer_live(self, viewer: Viewer) -> None:
        """All it had to get is gone: from now on it gets what comes directly."""
        self.stream.settle()
        self._others.pop(viewer, None)
        viewer.place = len(self._ready)
        self._ready.append(viewer)
        self._sends.append(viewer.send)
        viewer.go_live(self.sent_each)

    def viewer_busy(self, viewer: Viewer) -> None:
        """It has something to send first: what comes is queued there."""
        self.stream.settle()
        if self._not_ready(viewer):
            self._others[viewer] = None

    def viewer_closed(self, viewer: Viewer) -> None:
        """It will get nothing more."""
        self.stream.settle()
        if not viewer.started and viewer in self._others:
            self.waiting -= 1
            self.stream.waiting -= 1
        self.sent_before += viewer.sent_bytes
        self._not_ready(viewer)
        self._others.pop(viewer, None)
        if not self._ready and not self._others:
            self.empty_since = self.now()
        self.stream.viewer_gone(viewer)

    def drain(self, viewer: Viewer) -> None:
        """A closed viewer still has something to send."""
        self.stream.drain(viewer)

    def viewers(self) -> Iterator[Viewer]:
        """All of them."""
        yield from self._ready
        yield from self._others

    def sent_total(self) -> int:
        """Bytes to all viewers so far."""
        return self.sent_before + sum(viewer.sent_bytes for viewer in self.viewers())

    def __len__(self) -> int:
        return len(self._ready) + len(self._others)

    def sweep(self, now: float) -> bool:
        """Close stuck viewers; True when nobody has watched for a while and the output can go."""
        for viewer in [viewer for viewer in self._others if viewer.is_stuck(now, self.options.stuck_s)]:
            viewer.close("stuck")
        return not self._ready and not self._others and now - self.empty_since > LINGER_S

    def close(self, cause: str, drain: bool = False) -> None:
        """Close all viewers and let the transcoder go."""
        self.flush()
        self.opened = False
        for viewer in list(self.viewers()):
            viewer.close(cause, drain)
        self._drop_track()
        self.pending.clear()
        self._cache = None
        self._burst = b""


def resolve_audio(fmt: OutputFormat, options: Options) -> str:
    """The audio codec asked for; "auto" is what ``[audio]`` says for the container."""
    if fmt.audio != "auto":
        return fmt.audio
    by_container = {"flv": options.flv_audio, "ts": options.ts_audio, "hls": options.hls_audio, "hls-ts": options.ts_audio, "jt1078": "source"}
    return by_container.get(fmt.container, options.mp4_audio)


def refuse(track: str, codec: str, problem: str) -> UnsupportedTrackError:
    """The error for a track that was asked for by name."""
    hint = "ask for another container" if track == "video" else "ask for audio=none, or another audio codec"
    return UnsupportedTrackError(track, codec, problem, hint)
