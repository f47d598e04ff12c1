"""HLS over HTTP: sessions, what is held, what is refused, what a cache may keep, who lets go of what."""

from __future__ import annotations

import re
from typing import Any

import pytest

from relay.codec.frame import VIDEO, Frame, VideoConfig
from relay.core.live_channel import State
from relay.hub.stream import Stream
from relay.web import hls
from relay.web.request import redact
from tests.web.support import MemoryTransport, Response, parse
from tests.web.world import H264, H265, PHONE, Relay, sound

ONE = "/live/13800138000_1"


def picture(stream: Stream, dts: int, key: bool = False, config: VideoConfig = H264) -> None:
    data = b"\x00\x00\x00\x02" + (b"\x65x" if key else b"\x61x")
    stream.push([Frame(VIDEO, dts, dts, key, data, config)])


class Player:
    """One player of HLS in memory."""

    def __init__(self, relay: Relay, query: str = "", place: str = ONE) -> None:
        self.relay = relay
        self.place = place
        self.asked = relay.get(f"{place}/index.m3u8{query}")

    @property
    def master(self) -> Response:
        return parse(self.asked.value())[0]

    @property
    def media(self) -> str:
        """Address of the media playlist."""
        return f"{self.place}/{self.master.body.decode().strip().splitlines()[-1]}"

    def begin(self, more: str = "") -> MemoryTransport:
        return self.relay.send("GET", self.media + more, {})

    def reload(self, more: str = "") -> Response:
        return parse(self.begin(more).value())[0]

    def fetch(self, name: str, **headers: str) -> Response:
        return parse(self.relay.send("GET", f"{self.place}/{name}", headers).value())[0]


def run(relay: Relay, stream: Stream, seconds: float, begin: int = 0, gop: int = 1000, poll: Player | None = None) -> int:
    """Pictures every 40 ms from ``begin`` ms on; the next one's time."""
    for dts in range(begin, begin + int(seconds * 1000), 40):
        relay.clock.advance(0.04)
        picture(stream, dts, key=dts % gop == 0)
        if poll is not None and dts % 2000 == 0:
            poll.reload()
    return begin + int(seconds * 1000)


def leases(relay: Relay) -> int:
    machine = relay.live.channel(PHONE, 1)
    return len(machine.leases) if machine is not None else 0


def test_an_idle_channel_is_started_and_held_until_a_segment_is_whole() -> None:
    relay = Relay()
    relay.online()
    player = Player(relay)
    assert relay.asked().channel == 1
    stream = relay.media()
    run(relay, stream, 2.0)
    assert player.asked.value() != b""
    master = player.master
    assert master.status == 200
    assert master.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert master.headers["access-control-allow-origin"] == "*"
    text = master.body.decode()
    assert re.search(r'#EXT-X-STREAM-INF:BANDWIDTH=\d+,CODECS="avc1.42001E",RESOLUTION=352x288,FRAME-RATE=25.000\n', text)
    listed = player.reload()
    assert listed.status == 200
    assert listed.headers["cache-control"] == "no-cache"
    assert listed.headers["content-type"] == "application/vnd.apple.mpegurl"
    text = listed.body.decode()
    assert re.search(r"#EXT-X-PROGRAM-DATE-TIME:2\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\n", text)
    for name, kind in ((re.findall(r'MAP:URI="([^"]+)"', text)[0], "video/mp4"), (re.findall(r"^0\.m4s.*$", text, re.MULTILINE)[0], "video/mp4")):
        answer = player.fetch(name)
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["cache-control"] == "public, max-age=3600, immutable"
        assert answer.headers["access-control-allow-origin"] == "*"
    relay.end()


def running(query: str = "", **more: Any) -> tuple[Relay, Stream, Player, int]:
    """A player whose first playlist is there."""
    relay = Relay(**more)
    relay.online()
    player = Player(relay, query)
    relay.asked()
    stream = relay.media()
    at = run(relay, stream, 2.2)
    assert player.master.status == 200
    return relay, stream, player, at


def test_a_session_outlives_its_token() -> None:
    relay, stream, player, at = running()
    run(relay, stream, 200, at, poll=player)  # the token was good for 120 s and 30 s of leeway
    assert player.reload().status == 200
    assert parse(relay.get(f"{ONE}/index.m3u8", relay.media_token(seconds=-100)).value())[0].status == 403
    relay.end()


def test_a_player_that_stops_asking_lets_go_and_the_channel_is_stopped() -> None:
    relay, stream, player, at = running()
    assert (leases(relay), stream.viewer_count()) == (1, 1)
    at = run(relay, stream, 11, at)
    assert leases(relay) == 1
    run(relay, stream, 5, at)
    assert (leases(relay), stream.viewer_count()) == (0, 0)
    machine = relay.live.channel(PHONE, 1)
    assert machine is not None
    assert machine.state is State.LINGERING
    answer = player.reload()
    assert (answer.status, answer.json["error"]) == (404, "session_over")
    assert relay.web.hls.sessions == {}
    relay.end()


def test_a_reload_is_held_until_its_part_is_there() -> None:
    relay, stream, player, at = running()
    edge = re.findall(r'PRELOAD-HINT:TYPE=PART,URI="(\d+)\.(\d+)\.m4s', player.reload().body.decode())[0]
    held = player.begin(f"&_HLS_msn={edge[0]}&_HLS_part={edge[1]}")
    hinted = relay.send("GET", f"{ONE}/" + re.findall(r'PRELOAD-HINT:TYPE=PART,URI="([^"]+)', player.reload().body.decode())[0], {})
    assert held.value() == hinted.value() == b""
    run(relay, stream, 0.52, at)
    text = parse(held.value())[0].body.decode()
    assert f'URI="{edge[0]}.{edge[1]}.m4s' in text
    part = parse(hinted.value())[0]
    assert part.status == 200
    assert part.body[4:8] == b"moof"
    relay.end()


def test_a_reload_that_waits_in_vain_is_503_and_a_client_that_leaves_is_forgotten() -> None:
    relay, _, player, _ = running()
    held = player.begin("&_HLS_msn=2")
    gone = player.begin("&_HLS_msn=2")
    assert relay.hub.segment_waits.count == 2
    gone.lost()
    assert relay.hub.segment_waits.count == 1
    relay.clock.pump([1.0] * 13)
    answer = parse(held.value())[0]
    assert (answer.status, answer.json["error"]) == (503, "nothing_new")
    assert relay.hub.segment_waits.count == 0
    relay.end()


@pytest.mark.parametrize("more", ["&_HLS_part=1", "&_HLS_msn=x", "&_HLS_msn=-1", "&_HLS_msn=99", "&_HLS_msn=0&_HLS_part=1e3", "&_HLS_msn=9999999999"])
def test_a_reload_that_cannot_be_meant_is_400(more: str) -> None:
    relay, _, player, _ = running()
    answer = player.reload(more)
    assert (answer.status, answer.json["error"]) == (400, "bad_query")
    relay.end()


def test_nothing_opens_without_its_key() -> None:
    relay, _, player, _ = running()
    text = player.reload().body.decode()
    init, first = re.findall(r'MAP:URI="([^"]+)"', text)[0], re.findall(r"^0\.m4s.*$", text, re.MULTILINE)[0]
    for name in (init, first, "0.0.m4s?key=x"):
        bare = name.partition("?")[0]
        assert player.fetch(bare).status == 401
        assert player.fetch(f"{bare}?key=wrong").status == 404
    assert player.fetch("live.m3u8").status == 401
    assert player.fetch("live.m3u8?session=wrong").status == 404
    assert player.fetch("index.m3u8").status == 401
    key = init.partition("?")[2]
    for name in ("77.m4s", "0.9.m4s", "0.0.0.m4s", "-1.m4s", "x.m4s", "init-9.mp4", "init-x.mp4", "evil.mp4", "99999999999.m4s", "٣.m4s"):
        target = name if name.isascii() else "%D9%A3.m4s"
        assert player.fetch(f"{target}?{key}").status == 404, name
    relay.end()


def test_all_viewers_of_one_format_share_addresses() -> None:
    relay, stream, one, at = running()
    two, other = Player(relay), Player(relay, "?container=ts")
    run(relay, stream, 2.2, at)
    addresses = [re.findall(r"^\d+\.\w+\?key=.*$", player.reload().body.decode(), re.MULTILINE) for player in (one, two, other)]
    assert addresses[0] == addresses[1] != []
    assert not set(addresses[0]) & set(addresses[2])
    assert one.media != two.media
    assert leases(relay) == 3
    assert len(stream.outputs()) == 2
    segment = other.fetch(addresses[2][0])
    assert segment.headers["content-type"] == "video/mp2t"
    assert segment.body[:1] == b"\x47"
    assert len(segment.body) % 188 == 0
    assert "EXT-X-PART" not in other.reload().body.decode()
    relay.end()


def test_the_end_of_a_stream_is_told_and_then_forgotten() -> None:
    relay, stream, player, _ = running()
    held = player.begin("&_HLS_msn=2")
    stream.end("stopped")
    assert parse(held.value())[0].body.endswith(b"#EXT-X-ENDLIST\n")
    assert leases(relay) == 0
    text = player.reload().body.decode()
    assert text.endswith("#EXT-X-ENDLIST\n")
    assert player.fetch(re.findall(r"^0\.m4s.*$", text, re.MULTILINE)[0]).status == 200
    relay.clock.advance(13)
    assert player.reload().status == 404
    assert relay.web.hls.sessions == {}
    relay.end()


def test_an_operator_closes_a_session() -> None:
    relay, stream, player, _ = running()
    viewer = relay.api("GET", "/streams/13800138000_1/viewers")["items"][0]
    assert viewer["format"].startswith("hls/")
    assert stream.kick(viewer["id"])
    assert player.reload().status == 404
    assert leases(relay) == 0
    relay.end()


def test_what_it_cannot_carry_is_415() -> None:
    relay = Relay()
    relay.online()
    player = Player(relay)
    relay.asked()
    picture(relay.media(), 0, key=True, config=H265)
    relay.clock.advance(1)
    assert (player.master.status, player.master.json["error"]) == (415, "unsupported_video")
    assert leases(relay) == 0
    relay.end()


def test_a_start_without_a_segment_in_time_says_so() -> None:
    relay = Relay()
    relay.online()
    player = Player(relay)
    relay.asked()
    picture(relay.media(), 0, key=True)
    relay.clock.pump([1.0] * 16)
    assert (player.master.status, player.master.json["hop"]) == (504, "first_segment")
    assert leases(relay) == 0
    relay.end()


def test_a_player_that_leaves_while_it_waits_lets_go() -> None:
    relay = Relay()
    relay.online()
    player = Player(relay)
    relay.asked()
    stream = relay.media()
    picture(stream, 0, key=True)
    assert leases(relay) == 1
    player.asked.lost()
    assert (leases(relay), stream.viewer_count(), relay.hub.segment_waits.count) == (0, 0, 0)
    relay.end()


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    relay, _, _, _ = running()
    monkeypatch.setattr(hls, "SESSIONS_MAX", 1)
    answer = Player(relay).master
    assert (answer.status, answer.json["error"]) == (503, "too_many_sessions")
    relay.end()


@pytest.mark.parametrize("place", ["/live/bus-17_1", "/live/%E7%B2%A4B12345_1", "/live/13800138000_1_main"])
def test_by_any_name(place: str) -> None:
    relay = Relay()
    relay.online()
    player = Player(relay, place=place)
    assert relay.asked().stream_type == (0 if place.endswith("main") else 1)
    run(relay, relay.media(), 2.2)
    assert player.reload().status == 200
    assert player.fetch(re.findall(r"^0\.m4s.*$", player.reload().body.decode(), re.MULTILINE)[0]).status == 200
    relay.end()


def test_hls_m3u8_and_head() -> None:
    relay = Relay()
    relay.online()
    answer = relay.ask("HEAD", f"{ONE}/hls.m3u8?token={relay.media_token()}")
    assert (answer.status, answer.body) == (200, b"")
    assert leases(relay) == 0
    player = relay.get(f"{ONE}/hls.m3u8")
    relay.asked()
    run(relay, relay.media(), 2.2)
    assert b"live.m3u8?session=" in player.value()
    relay.end()


def test_the_relays_stop_closes_sessions() -> None:
    relay, _, player, _ = running()
    relay.web.close()
    assert relay.web.hls.sessions == {}
    assert leases(relay) == 0
    assert player.reload().status == 404
    relay.end()


def test_the_log_shows_neither_session_nor_key() -> None:
    assert "secret" not in redact("/live/1_1/live.m3u8?session=secret1&_HLS_msn=3")
    assert "secret" not in redact("/live/1_1/7.m4s?key=secret2")


def test_sound_beside_the_picture() -> None:
    relay = Relay()
    relay.online()
    player = Player(relay, "?audio=source&container=ts")
    relay.asked()
    stream = relay.media()
    for dts in range(0, 3000, 40):
        relay.clock.advance(0.04)
        picture(stream, dts, key=dts % 1000 == 0)
        sound(stream, dts + 20)
    assert "CODECS" not in player.master.body.decode()  # G.711 has no name there
    text = player.reload().body.decode()
    segment = player.fetch(re.findall(r"^0\.ts.*$", text, re.MULTILINE)[0]).body
    assert any(segment[at + 1] & 0x1F == 1 and segment[at + 2] == 1 for at in range(0, len(segment), 188))  # PID 0x101
    relay.end()


def test_the_short_way_gives_the_same_as_the_long_one() -> None:
    relay, stream, player, at = running()
    run(relay, stream, 1.0, at)
    text = player.reload().body.decode()
    addresses = [re.findall(r"^0\.m4s.*$", text, re.MULTILINE)[0], re.findall(r'URI="(1\.0\.m4s[^"]+)"', text)[0]]
    seen = relay.web.hls.sessions[player.media.partition("session=")[2]].viewer
    for target in (player.media, *(f"{ONE}/{address}" for address in addresses)):
        short = relay.web.hls.short(target.encode())
        assert isinstance(short, list)
        made = parse(b"".join(short))[0]
        relay.site.short = None
        long = parse(relay.send("GET", target, {}).value())[0]
        assert (made.status, made.body) == (long.status, long.body)
        for name in ("content-type", "cache-control", "access-control-allow-origin", "x-content-type-options", "server", "content-length"):
            assert made.headers[name] == long.headers[name]
        assert made.headers["date"].endswith(" GMT")
    before = seen.sent_bytes
    relay.clock.advance(5)
    relay.web.hls.short(player.media.encode())
    assert seen.seen == relay.clock.seconds()
    assert seen.sent_bytes > before
    hls_target: Any = relay.web.hls.short
    key = addresses[0].partition("?")[2]
    for name in ("0.mp4", "x.m4s", "0.0.0.m4s", "99.m4s", "-1.m4s", "0.ts", ".m4s"):
        assert hls_target(f"{ONE}/{name}?{key}".encode()) is None
    assert hls_target(f"{player.media}&_HLS_msn=9".encode()) is None
    assert hls_target(f"{ONE}/index.m3u8?{player.media.partition('?')[2]}".encode()) is None
    assert hls_target(f"{ONE}/live.m3u8".encode()) is None
    relay.end()
    assert relay.web.hls.short(player.media.encode()) is None


def test_a_session_of_a_token_for_one_address_is_for_that_address() -> None:
    relay, _, player, _ = running()
    (session,) = relay.web.hls.sessions.values()
    assert session.address == ""
    session.address = "203.0.113.5"
    answer = player.reload("&_HLS_skip=YES")
    assert (answer.status, answer.json["error"]) == (403, "token_wrong_address")
    relay.end()
