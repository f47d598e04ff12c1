"""How an output's pieces become what viewers receive: as they are (HTTP), or in WebSocket messages; and which headers came when.

Every configuration change is numbered (``version``) and remembered for a while, so that a viewer that skips to a key frame gets the headers it missed.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.codec.frame import AudioConfig, VideoConfig
from relay.hub.formats import OutputFormat, init_message, websocket_message

#: the cached GOP goes out in WebSocket messages of about this size: some clients refuse messages beyond 1 MiB
MESSAGE_BYTES = 65536
#: configuration changes remembered for viewers that wait for a key frame
CHANGES_MAX = 16


class Framing:
    """Of one output."""

    __slots__ = ("_changes", "_text", "version", "ws")

    def __init__(self, fmt: OutputFormat) -> None:
        self.ws = fmt.framing in ("ws", "ws-binary")
        self._text = fmt.framing == "ws" and fmt.container == "mp4"
        self.version = 0  #: of the configuration; grows with every change
        self._changes: list[bytes] = []  #: the last ones, framed; the latest has number ``version``

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Frames: one message."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return websocket_message(data) if self.ws else data

    def join_changes(self, pending: Sequence[bytes], at: Sequence[int]) -> bytes:
        """Frames with configuration changes among them, at these places: a message for each change, one for the frames between two."""
        if not self.ws:
            return b"".join(pending)
        parts: list[bytes] = []
        start = 0
        for number, place in enumerate(at):
            if place > start:
                parts.append(self.join(pending[start:place]))
            parts.append(self._changes[number - len(at)])
            start = place + 1
        if start < len(pending):
            parts.append(self.join(pending[start:]))
        return b"".join(parts)

    def header(self, piece: bytes, video: VideoConfig | None, audio: AudioConfig | None, note: str) -> bytes:
        """A container's header or a change of it; before an initialisation segment in "ws" the text message that describes it."""
        if not self.ws or not piece:
            return piece
        text = init_message(video, audio, [note] if note else []) if self._text else b""
        return text + websocket_message(piece)

    def burst(self, header: bytes, pieces: Sequence[bytes]) -> bytes:
        """What a viewer begins with; ``header`` is framed already."""
        parts = [header]
        if not self.ws:
            parts += pieces
            return b"".join(parts)
        group: list[bytes] = []
        size = 0
        for piece in pieces:
            if group and size + len(piece) > MESSAGE_BYTES:
                parts.append(self.join(group))
                group, size = [], 0
            group.append(piece)
            size += len(piece)
        if group:
            parts.append(self.join(group))
        return b"".join(parts)

    def begin(self) -> None:
        """The first configuration: it is in the header."""
        self.version = 1
        self._changes = [b""]

    def change(self, framed: bytes) -> None:
        """Another configuration from here on."""
        self.version += 1
        self._changes.append(framed)
        del self._changes[:-CHANGES_MAX]

    def missed(self, since: int, until: int) -> bytes:
        """The changes after version ``since`` up to ``until``."""
        oldest = self.version - len(self._changes)  # version before the first one remembered
        return b"".join(self._changes[max(since - oldest, 0) : max(until - oldest, 0)])
