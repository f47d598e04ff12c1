"""A terminal that sends nothing until asked, and players that ask: bytes judged by ffprobe and ffmpeg."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.support import Product, decode_errors, http_error, loudest, probe_streams, record, wait_for

pytestmark = pytest.mark.e2e

PHONE = "13800138000"


@pytest.mark.parametrize(
    ("ending", "query", "sound"),
    [
        ("flv", {"audio": "source"}, "pcm_alaw"),
        ("mp4", {}, "flac"),
        ("flv", {"media": "v"}, None),
    ],
)
def test_a_viewer_of_an_idle_channel_starts_it_and_sees_and_hears(
    relay: Product, tmp_path: Path, ending: str, query: dict[str, str], sound: str | None
) -> None:
    relay.terminal(PHONE)
    path = tmp_path / f"seen.{ending}"
    record(relay.url(f"/live/{PHONE}_1.{ending}", **query), 4, path)
    streams = {stream["codec_type"]: stream for stream in probe_streams(path)}
    assert streams["video"]["codec_name"] == "h264"
    assert (streams["video"]["width"], streams["video"]["height"]) == (352, 288)
    assert ("audio" in streams) == (sound is not None)
    assert decode_errors(path) == ""
    if sound:
        assert streams["audio"]["codec_name"] == sound
        heard = loudest(path)
        assert heard.count(440) >= 5, heard
        assert heard.count(880) >= 5, heard


def test_aac_for_flv_players_by_the_media_extra(relay: Product, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    relay.terminal(PHONE)
    path = tmp_path / "seen.flv"
    record(relay.url(f"/live/{PHONE}_1.flv"), 5, path)
    streams = {stream["codec_type"]: stream for stream in probe_streams(path)}
    assert streams["audio"]["codec_name"] == "aac"
    assert decode_errors(path) == ""
    heard = loudest(path)
    assert heard.count(440) >= 5, heard
    assert heard.count(880) >= 5, heard


def test_the_first_byte_of_a_running_stream_comes_within_50_ms(relay: Product) -> None:
    relay.terminal(PHONE)
    with urllib.request.urlopen(relay.url(f"/live/{PHONE}_1.flv"), timeout=30) as first:
        first.read(2000)
        waits = []
        for _ in range(5):
            begun = time.monotonic()
            with urllib.request.urlopen(relay.url(f"/live/{PHONE}_1.flv"), timeout=30) as second:
                assert len(second.read(3000)) == 3000
            waits.append(time.monotonic() - begun)
    assert sorted(waits)[2] < 0.05, waits


def test_when_the_last_viewer_has_gone_the_terminal_is_told_to_stop_and_does(tmp_path: Path) -> None:
    with Product(tmp_path, media={"idle_stop_s": 1}) as relay:
        terminal = relay.terminal(PHONE)
        with urllib.request.urlopen(relay.url(f"/live/{PHONE}_1.flv"), timeout=30) as player:
            player.read(20000)
            assert relay.api("GET", "/streams")["total"] == 1
        wait_for("the end of the stream", lambda: relay.api("GET", "/streams")["total"] == 0)
        assert "9102" in terminal.output.lower()
        # and again, as fresh as the first time
        with urllib.request.urlopen(relay.url(f"/live/{PHONE}_1.flv"), timeout=30) as player:
            assert len(player.read(20000)) == 20000


@pytest.mark.parametrize(
    ("phone", "words", "status", "code_has", "hop"),
    [
        ("13800138999", None, 404, "unknown", "requested"),
        (PHONE, ["--fault", "refuse=1"], None, "refus", "answered"),
        (PHONE, ["--fault", "never-connect"], 504, "", "connected"),
        (PHONE, ["--fault", "no-key-frames"], 504, "", "first_key_frame"),
    ],
)
def test_a_start_that_fails_says_at_which_hop(tmp_path: Path, phone: str, words: list[str] | None, status: int | None, code_has: str, hop: str) -> None:
    with Product(tmp_path, media={"start_timeout_s": 4}, terminals={"registration": "open", "reply_timeout_s": 2}) as relay:
        if words is not None:
            relay.terminal(phone, *words)
        got, body = http_error(relay.url(f"/live/{phone}_1.flv"))
        assert status is None or got == status, body
        assert 400 <= got <= 599
        assert body["message"]
        assert body["hint"]
        assert code_has in body["error"]
        assert body["hop"] == hop, body


def test_without_a_token_nothing_is_shown(relay: Product) -> None:
    relay.terminal(PHONE)
    base = f"http://127.0.0.1:{relay.ports['http']}"
    assert http_error(f"{base}/live/{PHONE}_1.flv")[0] == 401
    assert http_error(f"{base}/live/{PHONE}_1.flv?token=wrong")[0] == 403
    assert http_error(f"{base}/api/v1/terminals")[0] == 401
    other = relay.token("--media", "13900000000_*")
    assert http_error(f"{base}/live/{PHONE}_1.flv?token={other}")[0] == 403


def test_a_terminal_nobody_added_is_refused_and_named(tmp_path: Path) -> None:
    with Product(tmp_path, terminals={"registration": "known"}) as relay:
        stranger = relay.terminal("13911112222", online=False)
        relay.process.wait_for_output("13911112222")
        assert not relay.is_online("13911112222")
        stranger.stop()
        from tests.e2e.support import command

        command("terminal", "add", "--config", relay.config, "--phone", "013911112222", "--plate", "粤B12345", "--plate-color", "1")
        relay.terminal("13911112222")
        assert relay.is_online("13911112222")
        # an alias of the terminal is its plate
        with urllib.request.urlopen(relay.url("/live/%E7%B2%A4B12345_1.flv"), timeout=30) as player:
            assert player.read(3) == b"FLV"


@pytest.mark.parametrize("words", [["--udp"], ["--edition", "2019"], ["--edition", "2011"]])
def test_editions_and_transports(relay: Product, tmp_path: Path, words: list[str]) -> None:
    relay.terminal(PHONE, *words)
    path = tmp_path / "seen.flv"
    record(relay.url(f"/live/{PHONE}_1.flv", audio="source"), 3, path)
    assert decode_errors(path) == ""
    assert {stream["codec_type"] for stream in probe_streams(path)} == {"video", "audio"}


def test_media_over_udp(tmp_path: Path) -> None:
    with Product(tmp_path, media={"prefer": "udp"}) as relay:
        relay.terminal(PHONE)
        path = tmp_path / "seen.flv"
        record(relay.url(f"/live/{PHONE}_1.flv", audio="source"), 4, path)
        assert decode_errors(path) == ""
        assert {stream["codec_type"] for stream in probe_streams(path)} == {"video", "audio"}
        assert relay.api("GET", "/streams")["items"][0]["transport"] == "udp"
        assert relay.api("GET", "/streams")["items"][0]["lost"] == 0
