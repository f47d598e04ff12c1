"""Text as the Chinese standards carry it: GBK, padded, often broken, and still given back byte for byte.

Padding is no part of a text: NULs on both sides and spaces behind are taken off, also where a length says that they belong to it
(seen in 0x0104 and 0x8400). A string that was read is a plain ``str`` when writing it again gives the bytes it came from. When it would not
(padding on the unusual side, bytes that are no GBK), it is a ``RawText``: a ``str`` for every reader that remembers its bytes for the writer.
"""

from __future__ import annotations

#: gb18030 reads every byte pair of gbk alike and can write what gbk cannot (U+9FB4 …)
ENCODING = "gb18030"


class RawText(str):
    """A string that is written as the bytes it was read from, not as its characters."""

    __slots__ = ("raw",)

    raw: bytes

    @classmethod
    def of(cls, text: str, raw: bytes) -> RawText:
        """``text`` for readers, ``raw`` for the wire."""
        self = cls(text)
        self.raw = raw
        return self


def read_text(raw: bytes, width: int = 0) -> str:
    """The characters of ``raw`` without NULs at both ends and spaces at the end; broken bytes become U+FFFD.

    ``width`` is that of the field if the writer fills it with NULs.
    """
    bare = raw.rstrip(b"\0 ").lstrip(b"\0")
    try:
        text = bare.decode(ENCODING)
    except UnicodeDecodeError:
        return RawText.of(bare.decode(ENCODING, "replace"), raw)
    # what a writer would make of it: the same bytes, filled up; a few byte sequences decode to what encodes differently (ASCII never does)
    if (bare.ljust(width, b"\0") if width else bare) == raw and (bare.isascii() or text.encode(ENCODING, "replace") == bare):
        return text
    return RawText.of(text, raw)


def read_padded(raw: bytes) -> str:
    """The text of a fixed field."""
    return read_text(raw, len(raw))


def text_bytes(text: str) -> bytes:
    """The bytes that stand for ``text`` on the wire: those it was read from if it remembers them. For comparing secrets byte by byte."""
    return text.raw if isinstance(text, RawText) else text.encode(ENCODING)
