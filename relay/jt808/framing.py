"""JT/T 808 framing: flags, escapes, checksum (JT/T 808-2011/2013/2019 clause 4.4).

On the wire::

    +------+--------------------------------------------+------+
    | 0x7E |  escaped( header | body | checksum 1 byte )  | 0x7E |
    +------+--------------------------------------------+------+

* Everything between the flags is escaped, the checksum included: ``7E`` -> ``7D 02``, ``7D`` -> ``7D 01``.
* The checksum is the XOR of all unescaped bytes from the first header byte to the last body byte.

Three words are used here: a *piece* is what stands between two flags (escaped, checksum at its end), the *content* is header and
body (unescaped, without the checksum), a *frame* is what goes on the wire (flags included).
"""

from __future__ import annotations

from relay.errors import FrameError, UsageError

FLAG = b"\x7e"
ESCAPE = b"\x7d"

#: A legal body is at most 1,023 bytes (ten bits of length), the longest header 21 (2019, sub-packaged), and one byte of checksum.
MAX_CONTENT = 21 + 1023
#: ... and every one of them may be escaped into two. A longer piece cannot be a frame, so nothing longer is ever kept.
MAX_PIECE = 2 * (MAX_CONTENT + 1)


#: by the bit length of a byte count: the shifts that bring that many bytes down to one
_FOLDS = tuple(tuple(8 << step for step in reversed(range(bits))) for bits in range(33))


def checksum(data: bytes) -> int:
    """The XOR of all bytes.

    The bytes are read as one big integer that is folded in half until one byte is left: about ten shifts for the longest frame,
    instead of a loop over every byte.
    """
    folded = int.from_bytes(data, "big")
    for half in _FOLDS[len(data).bit_length()]:
        folded ^= folded >> half
    return folded & 0xFF


def escape(data: bytes) -> bytes:
    """``7E`` and ``7D`` made fit to stand between flags."""
    if ESCAPE in data:
        data = data.replace(b"\x7d", b"\x7d\x01")
    if FLAG in data:
        data = data.replace(b"\x7e", b"\x7d\x02")
    return data


def unescape(piece: bytes) -> bytes:
    """The bytes as they were before ``escape``; a 7D followed by anything but 01 or 02 is an error."""
    if ESCAPE not in piece:
        return piece
    if piece.count(b"\x7d") != piece.count(b"\x7d\x01") + piece.count(b"\x7d\x02"):
        raise FrameError("escape", "0x7D is not followed by 0x01 or 0x02")
    return piece.replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")


def frame(content: bytes) -> bytes:
    """Header and body as they go on the wire: checksum, escapes, flags."""
    if len(content) > MAX_CONTENT:
        raise UsageError(f"{len(content)} bytes do not fit into one frame of at most {MAX_CONTENT}: send sub-packages")
    return FLAG + escape(content + bytes((checksum(content),))) + FLAG


def unframe(piece: bytes, lenient: bool = False) -> bytes:
    """The content of a piece, its escapes and checksum verified. Checks in the order escape, empty, checksum.

    ``lenient`` also takes the frames of terminals that do not escape their checksum: a lone 7D right before the end flag, or a piece whose
    checksum fits only when every 7D is taken literally.
    """
    try:
        content = unescape(piece)
        if not content:
            raise FrameError("empty", "nothing between the flags")
        if checksum(content):
            raise FrameError("checksum", f"should be {checksum(content[:-1]):02x}, is {content[-1]:02x}")
    except FrameError:
        if lenient and piece:
            candidates = [piece]
            if piece.endswith(ESCAPE) and _well_escaped(piece[:-1]):
                candidates.insert(0, unescape(piece[:-1]) + ESCAPE)
            for content in candidates:
                if not checksum(content):
                    return content[:-1]
        raise
    return content[:-1]


def _well_escaped(piece: bytes) -> bool:
    return piece.count(b"\x7d") == piece.count(b"\x7d\x01") + piece.count(b"\x7d\x02")


#: how other protocols begin that are met on this port
_STRANGERS = (
    (b"01cd", "JT/T 1078 media"),
    (b"GET ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"OPTIONS ", "HTTP or RTSP"),
    (b"DESCRIBE ", "RTSP"),
    (b"CONNECT ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"\x16\x03", "TLS"),
    (b"SSH-", "SSH"),
    (b"\x5b\x00\x00", "JT/T 809"),
)


def foreign(opening: bytes) -> str:
    """What a connection is that begins so, of the protocols that are met on this port; empty when its first bytes do not tell."""
    return next((name for prefix, name in _STRANGERS if opening.startswith(prefix)), "")


class Deframer:
    """Cuts a byte stream at its flags; feed it what the socket gave, in any portions.

    Every 7E is a delimiter and empty pieces are dropped, which covers doubled flags, one flag shared by two frames, and noise between
    frames. Nothing is judged here: ``unframe`` and ``Header.parse`` do that piece by piece. The buffer holds at most ``MAX_PIECE`` bytes
    whatever comes; of a longer piece only a ``FrameError("too_long")`` is left, and reading goes on at the next flag.
    """

    __slots__ = ("_skipping", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._skipping = False

    @property
    def buffered(self) -> int:
        """How many bytes wait for their end flag."""
        return len(self._tail)

    @property
    def state(self) -> tuple[bytes, bool]:
        """What waits for its end flag, and whether it is the rest of a piece that was too long."""
        return self._tail, self._skipping

    def resume(self, tail: bytes, skipping: bool) -> None:
        """Go on where another deframer of the stream stood (its ``state``)."""
        self._tail, self._skipping = tail[: MAX_PIECE + 1], skipping

    def feed(self, data: bytes) -> list[bytes | FrameError]:
        """All pieces that are complete now, in order, and a ``FrameError`` in the place of each that was too long."""
        pieces = (self._tail + data if self._tail else data).split(FLAG)
        tail = pieces.pop()
        result: list[bytes | FrameError] = []
        for piece in pieces:
            if self._skipping:
                self._skipping = False
            elif len(piece) > MAX_PIECE:
                result.append(self._too_long())
            elif piece:
                result.append(piece)
        if self._skipping:
            tail = b""
        elif len(tail) > MAX_PIECE:
            result.append(self._too_long())
            self._skipping = True
            tail = b""
        self._tail = tail
        return result

    @staticmethod
    def _too_long() -> FrameError:
        return FrameError("too_long", f"more than {MAX_PIECE} bytes without a flag")
