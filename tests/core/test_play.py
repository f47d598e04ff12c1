"""Plays that come as a name and a query: what is meant, wherever a player put it, and who may."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.live_failure import StartFailed
from relay.core.play import Plays, wish
from relay.core.tokens import Signer
from relay.hub.formats import OutputFormat
from relay.store.terminals import KnownTerminal
from tests.core.fakes import PHONE, SIM, WALL, Rows
from tests.core.test_live import Site, Source

RTMP = OutputFormat("flv", "rtmp")


@pytest.mark.parametrize(
    ("parts", "meant"),
    [
        (("live", "rtmp://h/live", "13800138000_1?token=t"), ("13800138000", 1, "", RTMP, "t")),
        (("live?token=t", "rtmp://h/live?token=t", "13800138000_1"), ("13800138000", 1, "", RTMP, "t")),
        (("live", "rtmp://h/live?token=t", "13800138000_1"), ("13800138000", 1, "", RTMP, "t")),
        (("live?token=old&media=v", "", "13800138000_1?token=t"), ("13800138000", 1, "", RTMP._replace(media="v"), "t")),
        (("live/", "", "13800138000_1_main?token=t"), ("13800138000", 1, "main", RTMP, "t")),
        (("live", "", "13800138000_12_sub.flv?token=t&audio=source"), ("13800138000", 12, "sub", RTMP._replace(audio="source"), "t")),
        (("live", "", "flv:13800138000_1?stream=main&hevc=legacy"), ("13800138000", 1, "main", RTMP._replace(hevc="legacy"), "")),
        (("13800138000", "", "2?token=t"), ("13800138000", 2, "", RTMP, "t")),
        (("video", "", "13800138000-3?token=t"), ("13800138000", 3, "", RTMP, "t")),
        (("live", "", "%E7%B2%A4B12345_1?token=t&vhost=x"), ("粤B12345", 1, "", RTMP, "t")),
        (("live", "", "bus_17_1?token=t"), ("bus_17", 1, "", RTMP, "t")),
        (("live?vhost=a?token=t", "", "1_1"), ("1", 1, "", RTMP, "t")),
        (("live", "", "1_0?token=t"), ("1", 0, "", RTMP, "t")),
        (("playback", "", "3fefcad70d34?token=t&media=v"), ("3fefcad70d34", 0, "", RTMP._replace(media="v"), "t", "playback")),
    ],
)
def test_what_is_meant(parts: tuple[str, str, str], meant: tuple[Any, ...]) -> None:
    wanted = wish(*parts)
    assert wanted[:6] == (meant if len(meant) == 6 else (*meant, "live"))
    assert wanted.insists is any("hevc=" in part for part in parts)


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        (("live", "", "nothing"), 404, "There is no stream live/nothing."),
        (("", "", ""), 404, "There is no stream /."),
        (("other", "", "13800138000_1"), 404, "There is no stream other/13800138000_1."),
        (("live", "", "../../etc_1"), 404, "There is no stream"),
        (("live", "", "x" * 3000), 404, "more than 2048 characters"),
        (("live", "", "1_1?" + "a=1&" * 40), 400, "more than 32 parameters"),
        (("live", "", "1_1?media=x"), 400, "media=x is none of av, v, a."),
        (("live", "", "1_1?audio=opus"), 400, "audio=opus is none of"),
    ],
)
def test_what_means_nothing(parts: tuple[str, str, str], status: int, words: str) -> None:
    with pytest.raises(StartFailed) as caught:
        wish(*parts)
    assert caught.value.status == status
    assert words in caught.value.message


class World:
    def __init__(self, *known: KnownTerminal) -> None:
        self.site = Site(Rows(*known) if known else None)
        self.signer = Signer("k" * 32)
        self.plays = Plays(self.signer, self.site.resolver, self.site.live, lambda: WALL)

    def open(self, name: str, token: str = "", address: str = "10.1.1.1") -> list[Any]:
        got: list[Any] = []
        self.plays.open(wish("live", "", f"{name}?token={token}"), address).addBoth(got.append)
        return got


def test_a_token_for_any_name_of_the_terminal_opens_it() -> None:
    world = World(KnownTerminal(phone=PHONE, alias="bus-17", plate="粤B12345", plate_color=1))
    world.site.online()
    for made, asked in ((f"{SIM}_1", "bus-17_1"), ("bus-17_1", f"0{SIM}_1"), ("*", "粤B12345_1")):
        got = world.open(asked, world.signer.media(made, 60, WALL, "ann"))
        if not got:  # it runs from the first time on
            Source(world.site).send()
        assert (got[0].stream.key.sim, got[0].who) == (SIM, "ann")
        got[0].release()


@pytest.mark.parametrize(
    ("pattern", "expires", "bound", "code"),
    [
        (f"{SIM}_2", 60, "", "token_wrong_path"),
        (f"{SIM}_1", -60, "", "token_expired"),
        (f"{SIM}_1", 60, "10.9.9.9", "token_wrong_address"),
    ],
)
def test_other_tokens_do_not(pattern: str, expires: int, bound: str, code: str) -> None:
    world = World()
    world.site.online()
    (failure,) = world.open(f"{SIM}_1", world.signer.media(pattern, expires, WALL, "", bound))
    assert (failure.value.status, failure.value.code) == (403, code)
    assert world.plays.refused == 1


def test_no_token_an_api_token_and_an_unknown_terminal() -> None:
    world = World()
    (failure,) = world.open(f"{SIM}_1")
    assert (failure.value.status, failure.value.code) == (401, "unauthorized")
    (failure,) = world.open(f"{SIM}_1", world.signer.api("admin", 60, WALL))
    assert failure.value.code == "token_wrong_kind"
    (failure,) = world.open("nobody_1", world.signer.media("*", 60, WALL))
    assert (failure.value.status, failure.value.code) == (404, "unknown_terminal")
