"""Positions of terminals in the words of JT/T 809: the one place where a JT/T 808 location becomes a location of the platforms' protocol.

    0x0200 body (JT/T 808, all editions)        2011 block, 36 bytes            2019 block, 50 bytes and the body
    speed, recorder speed   0.1 km/h            km/h, rounded                   the body as it came; encrypt and the
    mileage (item 0x01)     0.1 km              km, rounded                     platforms' codes around it
    time                    BCD YYMMDDhhmmss    day, month, year, h, m, s       (both UTC+8)
    latitude, longitude     lat first           longitude first

Written by hand: a relay of five thousand positions a second does this for each. Bodies are bytes, so that what waits on disk waits in no edition.
"""

from __future__ import annotations

import struct
from datetime import datetime

from relay.core.events import BEIJING

_BASE = struct.Struct(">IIIIHHH6s")
_BLOCK = struct.Struct(">BBBHBBBIIHHIHHII")
BASE_SIZE = _BASE.size  #: bytes of a location without additional items
_ENCRYPTED = 1 << 5
_MILEAGE, _RECORDER_SPEED = 0x01, 0x03
_LARGEST = 180_000_000  #: above it a coordinate is a negative number in two's complement (seen: JT/T 808 facts 6.1)
#: BCD byte -> number; what is no BCD counts as 0, as zeros do
_BCD = tuple((byte >> 4) * 10 + (byte & 15) if byte >> 4 < 10 and byte & 15 < 10 else 0 for byte in range(256))

_NO_PLATFORM = bytes(11)


def block_2011(body: bytes) -> bytes:
    """The 36 bytes of JT/T 809-2011 4.5.8.1 from a 0x0200 body of at least ``BASE_SIZE`` bytes."""
    alarm, status, lat, lon, altitude, speed, direction, time = _BASE.unpack_from(body)
    mileage = recorder = 0
    pos, end = BASE_SIZE, len(body)
    while pos + 2 <= end:
        item, size = body[pos], body[pos + 1]
        pos += 2
        if item == _MILEAGE and size == 4 and pos + 4 <= end:
            mileage = int.from_bytes(body[pos : pos + 4], "big")
        elif item == _RECORDER_SPEED and size == 2 and pos + 2 <= end:
            recorder = int.from_bytes(body[pos : pos + 2], "big")
        pos += size
    if lat > _LARGEST:
        lat = (1 << 32) - lat
    if lon > _LARGEST:
        lon = (1 << 32) - lon
    bcd = _BCD
    return _BLOCK.pack(
        1 if status & _ENCRYPTED else 0, bcd[time[2]], bcd[time[1]], 2000 + bcd[time[0]], bcd[time[3]], bcd[time[4]], bcd[time[5]],
        lon, lat, (speed + 5) // 10, (recorder + 5) // 10, (mileage + 5) // 10, direction, altitude, status, alarm,
    )  # fmt: skip


def tail_2019(platform_id: str) -> bytes:
    """What stands behind the body in a 2019 block: our code, no alarms of our own finding, municipal and provincial platform not filled."""
    return platform_id.encode("ascii", "replace")[:11].ljust(11, b"\0") + bytes(4) + (_NO_PLATFORM + bytes(4)) * 2


def block_2019(body: bytes, tail: bytes) -> bytes:
    """The 2019 block around a 0x0200 body; ``tail`` as ``tail_2019`` gives it."""
    encrypted = 1 if body[7] & _ENCRYPTED else 0
    return struct.pack(">BI", encrypted, len(body)) + body + tail


def time_of(body: bytes) -> bytes:
    """The six BCD bytes of the time: they compare as the times do."""
    return body[22:28]


def unix_time(body: bytes) -> int:
    """The same as UNIX seconds; 0 for zeros and impossible dates."""
    try:
        return int(datetime.strptime(body[22:28].hex(), "%y%m%d%H%M%S").replace(tzinfo=BEIJING).timestamp())
    except ValueError:
        return 0


def batch(body: bytes) -> tuple[int, list[bytes]]:
    """The locations of a 0x0704 (定位数据批量上传) and its type (0 ordinary, 1 from a blind area); what is cut off at the end is left out."""
    if len(body) < 3:
        return 0, []
    found = []
    pos, end = 3, len(body)
    while pos + 2 <= end:
        stop = pos + 2 + int.from_bytes(body[pos : pos + 2], "big")
        if stop > end:
            break
        if stop - pos - 2 >= BASE_SIZE:
            found.append(body[pos + 2 : stop])
        pos = stop
    return body[2], found
