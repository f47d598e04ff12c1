"""Which edition a frame was written in, guessed: for tools that are shown bytes without the link they came from.

Nothing in a frame says it (``version_flag`` is no sign: 2019 links carry 0.0.0, 1.0.0, 1.0.1, 1.2.15); on a link it is a setting. Three things speak:

    the time in the header   2019 has UTC seconds at byte 22, where 2011 has the first eight bytes of the body: 4 points, or against it
    the login 0x1001         a body of 46 bytes in 2011, of 50 in 2019
    the body                 its envelope and fields read without a fault and without a rest, and belong to the edition
"""

from __future__ import annotations

from relay.errors import ProtocolError
from relay.jt809.cipher import CipherKeys, apply
from relay.jt809.envelope import decode_body
from relay.jt809.header import header_size
from relay.jt809.messages import MESSAGES

EDITIONS = (2011, 2019)

#: 2001 to 2096 in seconds; the upper bytes of GBK text, of times of the body and of small numbers all are far from it
_FIRST, _LAST = 978_307_200, 4_000_000_000


def plausible_time(seconds: int) -> bool:
    """Whether a header's time can be one: in seconds, or (seen in a dialect's bodies) in milliseconds."""
    return _FIRST <= seconds <= _LAST or _FIRST * 1000 <= seconds <= _LAST * 1000


def scores(header_and_body: bytes, keys: CipherKeys | None = None) -> dict[int, int]:
    """How much speaks for each edition; -9 where the frame is too short for its header."""
    return {edition: _score(header_and_body, edition, keys) for edition in EDITIONS}


def guess(header_and_body: bytes, keys: CipherKeys | None = None) -> int:
    """The likelier edition; 0 when nothing tells."""
    found = scores(header_and_body, keys)
    if found[2011] == found[2019]:
        return 0
    return max(found, key=lambda edition: found[edition])


def body_edition(msg_id: int, body: bytes, edition: int) -> int:
    """The edition whose layout a body fits, if it is not that of its header: there are links that mix them."""
    other = 2011 if edition == 2019 else 2019
    return other if _fit(msg_id, body, edition) < 0 < _fit(msg_id, body, other) else edition


def _score(inner: bytes, edition: int, keys: CipherKeys | None) -> int:
    size = header_size(edition)
    if len(inner) < size:
        return -9
    score = 0
    if edition == 2019:
        score = 4 if plausible_time(int.from_bytes(inner[22:30], "big")) else -2
    body = inner[size:]
    if inner[17] == 1:
        if keys is None:
            return score
        body = apply(keys, int.from_bytes(inner[18:22], "big"), body)
    return score + _fit(int.from_bytes(inner[8:10], "big"), body, edition)


def _fit(msg_id: int, body: bytes, edition: int) -> int:
    """How well the body fits: -3 not at all … 3 exactly, and the message is of that edition; 0 where it is not known."""
    try:
        business = decode_body(msg_id, body, edition)
    except ProtocolError:
        return -3
    if business.form == "?":
        return 0
    if business.form == "A":
        return 3 if edition == 2019 else 1
    if business.data is None:
        return 1  # an envelope whose lengths agree is no accident
    if business.data.trailing:
        return -1
    cls = MESSAGES.get(business.data.KEY)
    return 3 if cls is not None and edition >= cls.SINCE and business.data.edition - edition in (0, 1) else 2
