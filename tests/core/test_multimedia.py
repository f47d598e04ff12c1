"""Pictures that terminals send are kept, joined where 2011 cuts them, waited with while the disk is full."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from relay.core.multimedia import AGAIN_S, Multimedia
from relay.jt808.messages.location import BaseLocation
from relay.jt808.messages.multimedia import MultimediaData
from relay.store.errors import StoreError
from relay.store.multimedia import MediaRow
from tests.core.fakes import SIM, WALL, Device, World

HERE = BaseLocation(latitude=22_500_000, longitude=114_000_000, time="261120153045")


class Kept:
    def __init__(self) -> None:
        self.saved: list[tuple[MediaRow, bytes]] = []
        self.full = False

    def save(self, row: MediaRow, content: bytes) -> Deferred[tuple[int, bool]]:
        if self.full:
            return fail(StoreError("disk full"))
        known = [one for one, (kept, _) in enumerate(self.saved, 1) if kept.crc == row.crc]
        if known:
            return succeed((known[0], False))
        self.saved.append((row, content))
        return succeed((len(self.saved), True))

    def delete_beyond(self, most: int) -> Deferred[int]:
        return succeed(0)


def world() -> tuple[World, Kept, Multimedia, Device]:
    core = World()
    device = core.online()
    kept = Kept()
    return core, kept, Multimedia(core.terminals, kept, core.clock, core.events, lambda: WALL, 1000), device


def picture(number: int = 7, content: bytes = b"\xff\xd8jpeg\xff\xd9", **more: Any) -> MultimediaData:
    return MultimediaData(media_id=number, media_type=0, media_format=0, event_code=0, channel_id=2, location=HERE, data=content, **more)


def test_a_picture_is_kept_and_told() -> None:
    core, kept, multimedia, device = world()
    device.say(picture())
    [(row, content)] = kept.saved
    assert (row.sim, row.media_id, row.channel, content) == (SIM, 7, 2, b"\xff\xd8jpeg\xff\xd9")
    assert '"latitude": 22.5' in row.location
    [told] = [event for event in core.told if event["event"] == "multimedia.stored"]
    assert (told["sim"], told["media_id"], told["multimedia"], told["type"]) == (SIM, 7, 1, "image")
    device.say(picture())
    assert multimedia.counts == {"stored": 1, "sent again": 1}
    multimedia.close()
    core.terminals.close()


def test_a_full_disk_is_waited_out() -> None:
    core, kept, multimedia, device = world()
    kept.full = True
    device.say(picture(1, b"one"))
    device.say(picture(2, b"two"))
    assert multimedia.waiting == 2
    core.clock.advance(AGAIN_S + 1)
    assert multimedia.waiting == 2
    kept.full = False
    core.clock.advance(AGAIN_S + 1)
    assert [content for _, content in kept.saved] == [b"one", b"two"]
    kept.full = True
    device.say(picture(3, b"three"))
    multimedia.close()
    assert "multimedia.lost" in core.names()
    core.terminals.close()


def test_2011_cuts_pictures_by_itself() -> None:
    core, kept, multimedia, device = world()
    terminal = core.terminals.get(SIM)
    assert terminal is not None
    assert terminal.link is not None
    terminal.link.session.edition = 2011
    for place in (2, 1, 3):
        message = MultimediaData(
            media_id=9, media_type=0, media_format=0, event_code=0, channel_id=1, package_total=3, package_id=place, data=bytes((place,)) * 3
        )
        device.send(0x0801, message.encode(2011))
    [(row, content)] = kept.saved
    assert content == b"\1\1\1\2\2\2\3\3\3"
    assert row.location == ""
    multimedia.close()
    core.terminals.close()
