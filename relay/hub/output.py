"""One serialisation of one stream and those who watch it.

An output is told by its ``OutputFormat``: container, framing, media, audio, HEVC variant. It has one muxer; every frame is written once, and
the same bytes object goes to every viewer. Between two flushes the pieces gather in ``_pending``; a flush joins them and calls each ready
viewer's ``send`` in a loop that does nothing else.

    closed to viewers ──tracks decided──→ open ──last viewer gone for LINGER_S──→ removed
    (they wait)                             └──a change the format cannot carry──→ viewers closed, removed

The tracks are decided (``_decide``) when the picture's first key frame and the sound's first block are there, or when the one of them has been waited for
long enough: ``audio_wait_s`` where a track can be added later (FLV, fMP4 over WebSocket), ``audio_wait_fixed_s`` where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.hub.formats import Options, OutputFormat, UnsupportedTrackError, init_message, websocket_message
from relay.hub.viewer import Chunk, Send, Viewer
from relay.mux.base import Muxer

if TYPE_CHECKING:
    from relay.hub.stream import Stream, Track

#: an output nobody watches is kept so long: pages are reloaded, and a muxer with its transcoder costs more to make than to feed
LINGER_S = 5.0
#: the cached GOP goes out in WebSocket messages of about this size: some clients refuse messages beyond 1 MiB
MESSAGE_BYTES = 65536
#: configuration changes remembered for viewers that wait for a key frame; one that missed more is closed
INLINES_MAX = 16


class Output:
    """One (container, framing, media, audio, hevc) of one stream."""

    def __init__(self, stream: Stream, fmt: OutputFormat, muxer: Callable[[OutputFormat], Muxer], unsupported: Callable[..., str]) -> None:
        self.stream = stream
        self.format = fmt
        self.options: Options = stream.options
        self.now = stream.clock.seconds
        self.note = ""  #: a track that is left out, in words
        self.opened = False
        self.sent_each = 0  #: bytes every viewer that was live all the time has got
        self.sent_total = 0
        self.drops = 0  #: overflows of viewers' queues
        self.version = 0  #: grows with every configuration change
        self.empty_since = stream.clock.seconds()
        self.video: VideoConfig | None = None  #: the tracks that are carried
        self.audio: AudioConfig | None = None
        self.track: Track | None = None  #: the transcoder behind ``audio``; None = the source's own
        self._make_muxer = muxer
        self._unsupported = unsupported
        self._muxer: Muxer | None = None
        self._write: Callable[[Frame], bytes] = _unopened
        self._ws = fmt.framing != "raw"
        self._init_text = fmt.framing == "ws" and fmt.container == "mp4"
        #: tracks can be added and changed while viewers are attached
        self.flexible = fmt.container == "flv" or self._ws
        self._ready: dict[Viewer, Send] = {}
        self._others: dict[Viewer, None] = {}
        self.waiting = 0  #: viewers that have got nothing yet
        self._pending: list[bytes] = []
        self._inline_at: list[int] = []  #: indexes of configuration changes in _pending
        self._inlines: list[bytes] = []  #: the changes themselves, framed; the last has number ``version``
        self._key_pending = False
        self._cache: list[bytes] | None = None  #: pieces since the last key frame, serialised; None = no whole GOP
        self._burst: bytes = b""
        self._burst_of: tuple[int, int] = (0, 0)

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
                due = stream.first_sound + self.options.video_wait_s
                if now < due:
                    return due
        elif audio is None and self.wants_audio:
            due = stream.first_picture + (self.options.audio_wait_s if self.flexible else self.options.audio_wait_fixed_s)
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
        muxer = self._muxer = self._make_muxer(self.format)
        self._write = muxer.write
        replay = self._replay(video, audio)
        muxer.configure(video, audio, replay[0].dts if replay else self.stream.last_dts)
        self.version = 1
        self._inlines = [b""]
        self._cache = None
        write = muxer.write
        if replay:
            cache = [write(frame) for frame in replay]
            self._cache = [piece for piece in cache if piece]
        self.stream.rewire()
        for viewer in list(self._others):
            self._begin(viewer, now)

    def _replay(self, video: VideoConfig | None, audio: AudioConfig | None) -> list[Frame]:
        """The cached GOP with the sound this output carries."""
        if video is None:
            return []
        frames = self.stream.gop.frames
        if not frames or frames[0].config is not video:
            return []
        if audio is None or not self.wants_audio:
            return [frame for frame in frames if frame.kind == VIDEO]
        if self.track is None:
            return [frame for frame in frames if frame.kind == VIDEO or frame.config == audio]
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
        assert self._muxer is not None  # noqa: S101 - opened
        piece = self._muxer.configure(self.video, self.audio, dts)
        if not piece:
            return
        self.version += 1
        self._inlines.append(self._framed_header(piece))
        del self._inlines[:-INLINES_MAX]
        self._inline_at.append(len(self._pending))
        self._pending.append(piece)

    # frames -----------------------------------------------------------------

    def write_key(self, frame: Frame) -> None:
        """A key frame of the picture: the serialised cache begins again."""
        data = self._write(frame)
        if data:
            self._pending.append(data)
            self._cache = [data]
            self._key_pending = True

    def write(self, frame: Frame) -> None:
        """Any other frame."""
        data = self._write(frame)
        if data:
            self._pending.append(data)
            cache = self._cache
            if cache is not None:
                cache.append(data)

    def drop_cache(self) -> None:
        """The GOP grew too large: viewers that come now wait for the next key frame."""
        self._cache = None
        self._burst = b""

    def flush(self) -> None:
        """Send what is pending: one send a ready viewer."""
        pending = self._pending
        if not pending:
            return
        self._pending = []
        ready = self._ready
        if ready or self._others:
            if self._ws:
                data = self._framed(pending)
            else:
                data = pending[0] if len(pending) == 1 else b"".join(pending)
            size = len(data)
            self.sent_each += size
            self.sent_total += size * len(ready)
            fell: list[tuple[Viewer, int]] | None = None
            for viewer, send in ready.items():
                try:
                    sent = send(data)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    sent = -1
                if sent != size:
                    fell = fell or []
                    fell.append((viewer, sent))
            if self._others:
                self._offer(data)
            if fell is not None:
                self._fell(fell, data)
        if self._burst:
            self._burst = b""
        if self._inline_at:
            self._inline_at = []
        self._key_pending = False

    def _fell(self, fell: list[tuple[Viewer, int]], data: bytes) -> None:
        now = self.now()
        for viewer, sent in fell:
            if self._ready.pop(viewer, None) is None:
                continue
            self._others[viewer] = None
            viewer.fell_behind(data, sent, now, self.version)

    def _offer(self, data: bytes) -> None:
        """To those who are busy, wait for a key frame, or have nothing yet."""
        now = self.now()
        key: bytes | None = None
        if self._key_pending and self._cache is not None:
            joined = b"".join(self._cache)
            key = websocket_message(joined) if self._ws else joined
        elif self.video is None:  # sound alone can be taken up anywhere
            key = data
        chunk = Chunk(data, key, self.version, now)
        for viewer in list(self._others):
            if viewer.started:
                viewer.offer(chunk)
            else:
                self._begin(viewer, now)

    def _framed(self, pending: list[bytes]) -> bytes:
        """WebSocket messages: one for all frames, one for each configuration change between them."""
        if not self._inline_at:
            return websocket_message(pending[0] if len(pending) == 1 else b"".join(pending))
        parts: list[bytes] = []
        start = 0
        for number, at in enumerate(self._inline_at):
            if at > start:
                parts.append(websocket_message(b"".join(pending[start:at])))
            parts.append(self._inlines[number - len(self._inline_at)])
            start = at + 1
        if start < len(pending):
            parts.append(websocket_message(b"".join(pending[start:])))
        return b"".join(parts)

    def _framed_header(self, piece: bytes) -> bytes:
        if not self._ws:
            return piece
        text = init_message(self.video, self.audio, [self.note] if self.note else []) if self._init_text else b""
        return text + websocket_message(piece)

    def missed(self, since: int, until: int) -> bytes:
        """The configuration changes after version ``since`` up to ``until``, framed."""
        oldest = self.version - len(self._inlines)  # version before the first one remembered
        return b"".join(self._inlines[max(since - oldest, 0) : max(until - oldest, 0)])

    # viewers ------------------------------------------------------------------

    def add(self, viewer: Viewer, now: float) -> None:
        """A new viewer: begins at once when there is something to begin with."""
        self._others[viewer] = None
        self.waiting += 1
        self.stream.waiting += 1
        if not self.opened:
            self.stream.try_open(self, now)
        else:
            if self._pending:  # or its burst would be followed by pieces it already holds
                self.flush()
            if not viewer.started:
                self._begin(viewer, now)

    def _begin(self, viewer: Viewer, now: float) -> None:
        """Headers and the cached GOP in one send, when there is a GOP or no picture at all."""
        cache = self._cache
        if (cache is None and self.video is not None) or viewer.closed:
            return
        self.waiting -= 1
        self.stream.waiting -= 1
        viewer.start(self._joining_burst(cache or []), self.version, now)
        self.stream.first_byte(viewer)

    def _joining_burst(self, cache: list[bytes]) -> bytes:
        """Shared by all who join before the next flush."""
        mark = (self.version, len(cache))
        if self._burst and self._burst_of == mark:
            return self._burst
        assert self._muxer is not None  # noqa: S101 - opened
        parts = [self._framed_header(self._muxer.header())]
        if not self._ws:
            parts += cache
        else:
            group: list[bytes] = []
            size = 0
            for piece in cache:
                if group and size + len(piece) > MESSAGE_BYTES:
                    parts.append(websocket_message(b"".join(group)))
                    group, size = [], 0
                group.append(piece)
                size += len(piece)
            if group:
                parts.append(websocket_message(b"".join(group)))
        self._burst, self._burst_of = b"".join(parts), mark
        return self._burst

    def viewer_live(self, viewer: Viewer) -> None:
        """All it had to get is gone: from now on it gets what comes directly."""
        self._others.pop(viewer, None)
        self._ready[viewer] = viewer.send
        viewer.go_live(self.sent_each)

    def viewer_closed(self, viewer: Viewer) -> None:
        """It will get nothing more."""
        if not viewer.started and viewer in self._others:
            self.waiting -= 1
            self.stream.waiting -= 1
        self._ready.pop(viewer, None)
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
        self._cache = None
        self._burst = b""


def _unopened(frame: Frame) -> bytes:
    raise UsageError(f"{frame!r} written to an output that is not open")


def resolve_audio(fmt: OutputFormat, options: Options) -> str:
    """The audio codec asked for; "auto" is what ``[audio]`` says for the container."""
    if fmt.audio != "auto":
        return fmt.audio
    return options.flv_audio if fmt.container == "flv" else options.mp4_audio


def refuse(track: str, codec: str, problem: str) -> UnsupportedTrackError:
    """The error for a track that was asked for by name."""
    hint = "ask for another container" if track == "video" else "ask for audio=none, or another audio codec"
    return UnsupportedTrackError(track, codec, problem, hint)
