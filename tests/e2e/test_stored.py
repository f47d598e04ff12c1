"""What terminals have recorded, through the API as a user calls it: searches in every mood of a terminal, playback as ffprobe sees it."""

from __future__ import annotations

import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.e2e.support import Product, decode_errors, need, probe_streams, record, run, wait_for

PHONE = "013800138000"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    terminals = {"subpackage_timeout_s": 2}
    with Product(tmp_path_factory.mktemp("stored"), terminals=terminals, media={"idle_stop_s": 5}) as product:
        yield product


def before(minutes: int = 120) -> datetime:
    return datetime.now(ZoneInfo("Asia/Shanghai")).replace(microsecond=0) - timedelta(minutes=minutes)


def span(seconds: int) -> dict[str, str]:
    begin = before()
    return {"start_time": begin.isoformat(), "end_time": (begin + timedelta(seconds=seconds)).isoformat()}


def search(relay: Product, phone: str, expect: int = 200, channel: int = 1, **more: Any) -> Any:
    return relay.api("POST", f"/terminals/{phone}/channels/{channel}/recordings/search", more, expect=expect)


def play(relay: Product, phone: str, expect: int = 201, channel: int = 1, seconds: int = 60, **more: Any) -> Any:
    return relay.api("POST", f"/terminals/{phone}/channels/{channel}/playback", {**span(seconds), **more}, expect=expect)


def control(relay: Product, ident: str, **words: Any) -> Any:
    return relay.api("POST", f"/playbacks/{ident}/control", words)


def times(path: Path, *options: str) -> list[float]:
    """Presentation times of the pictures, as ffprobe reads them."""
    words = [need("ffprobe"), "-v", "error", "-select_streams", "v", *options, "-show_entries", "packet=pts_time", "-of", "csv=p=0", str(path)]
    return [float(line.strip(",")) for line in subprocess.run(words, capture_output=True, text=True, check=True, timeout=40).stdout.split()]


def is_sending(relay: Product, phone: str) -> bool:
    return any(stream["sim"] == phone.lstrip("0") for stream in relay.api("GET", "/streams")["items"])


# searching --------------------------------------------------------------------------------------------------------------------------


def test_five_thousand_recordings_arrive_complete(relay: Product) -> None:
    relay.terminal(PHONE, "--recordings", "5000")
    found = search(relay, PHONE)
    assert (found["total"], len(found["items"]), found["note"]) == (5000, 5000, "")
    begins = [item["start_time"] for item in found["items"]]
    assert len(set(begins)) == 5000
    assert all((datetime.fromisoformat(b) - datetime.fromisoformat(a)).seconds == 1800 for a, b in pairwise(begins))
    narrow = search(relay, PHONE, channel=0, start_time=before().isoformat(), end_time=before(119).isoformat())
    assert {item["channel"] for item in narrow["items"]} == {1, 2, 3, 4}


def test_every_mood_of_a_terminal_has_a_named_outcome(relay: Product) -> None:
    relay.terminal("013800138010", "--fault", "no-answer=9205")
    assert search(relay, "013800138010", expect=504, timeout_s=1)["error"] == "no_reply"
    relay.terminal("013800138011", "--fault", "slow-answers=2")
    assert search(relay, "013800138011", expect=504, timeout_s=1)["error"] == "no_reply"
    time.sleep(1.5)  # its list comes while nobody waits …
    late = search(relay, "013800138011", timeout_s=1)
    assert (late["total"], late["note"]) == (48, "late")  # … and is not lost
    relay.terminal("013800138012", "--fault", "answers-twice", "--fault", "other-serial")
    assert search(relay, "013800138012")["note"].startswith("foreign serial")
    relay.terminal("013800138013", "--fault", "half-list", "--recordings", "500")
    assert search(relay, "013800138013", expect=504)["error"] == "incomplete_reply"
    assert search(relay, "013800138099", expect=404)["error"] == "unknown_terminal"


# playing back ---------------------------------------------------------------------------------------------------------------------


def test_a_recording_plays_to_its_end_and_the_player_is_told(relay: Product, tmp_path: Path) -> None:
    phone = "013800138020"
    relay.terminal(phone)
    started = play(relay, phone, seconds=6)
    record(started["urls"]["flv"], 30, tmp_path / "a.flv")  # ends by itself
    streams = {stream["codec_type"]: stream for stream in probe_streams(tmp_path / "a.flv")}
    assert set(streams) == {"video", "audio"}
    shown = times(tmp_path / "a.flv")
    assert 5.0 <= shown[-1] - shown[0] <= 6.2
    assert decode_errors(tmp_path / "a.flv") == ""
    ended = relay.api("GET", f"/playbacks/{started['id']}")
    assert (ended["state"], ended["ended"]) == ("ended", "the recording is at its end")
    with pytest.raises(urllib.error.HTTPError, match="410"):
        urllib.request.urlopen(started["urls"]["flv"], timeout=10)
    assert play(relay, phone, expect=404, start_time="2001-01-01T00:00:00", end_time="2001-01-01T01:00:00")["error"] == "nothing_recorded"


def test_speed_pause_seek_and_key_frames_are_one_stream_to_the_player(relay: Product, tmp_path: Path) -> None:
    phone = "013800138021"
    terminal = relay.terminal(phone, "--gop", "1")
    began = before()
    started = play(relay, phone, seconds=1500)
    ident, files = started["id"], {"flv": tmp_path / "a.flv", "mp4": tmp_path / "a.mp4"}
    players = [threading.Thread(target=record, args=(started["urls"][kind], 8, path)) for kind, path in files.items()]
    begun = time.monotonic()
    for player in players:
        player.start()
    wait_for("two viewers", lambda: relay.api("GET", f"/playbacks/{ident}")["viewers"] == 2)
    time.sleep(1)
    assert control(relay, ident, action="speed", speed=4)["speed"] == 4
    time.sleep(2)
    fast = datetime.fromisoformat(control(relay, ident, action="keyframes")["position"])
    assert (fast - began).seconds >= 8  # two seconds at 4x
    time.sleep(1.5)
    assert control(relay, ident, action="pause")["state"] == "paused"
    time.sleep(0.5)
    target = began + timedelta(minutes=10)
    assert control(relay, ident, action="seek", time=target.isoformat())["position"] == target.isoformat()
    assert control(relay, ident, action="resume")["mode"] == "normal"
    for player in players:
        player.join()
    seconds = time.monotonic() - begun
    for path in files.values():
        shown = times(path)
        steps = [b - a for a, b in pairwise(shown)]
        assert min(steps) > 0, path
        assert max(steps) < 2.1, path  # a second between key frames, and the pause
        assert seconds - 3 < shown[-1] - shown[0] < seconds + 1, path  # as long as it was watched, at whatever speed
        done = run(need("ffmpeg"), "-v", "warning", "-i", path, "-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-f", "null", "-")
        assert not done.stderr, path
    assert "paused" in terminal.output
    # nobody watches any more: the terminal is told, and stops
    terminal.wait_for_output(r"\(playback\) closed: 0x9202")
    wait_for("the end", lambda: relay.api("GET", f"/playbacks/{ident}")["state"] == "ended")
    assert not is_sending(relay, phone)


def test_two_channels_play_at_once_and_one_channel_once(relay: Product) -> None:
    phone = "013800138022"
    relay.terminal(phone)
    first, second = play(relay, phone), play(relay, phone, channel=2, media_type="video")
    assert play(relay, phone, expect=409)["error"] == "playback_running"
    for each in (first, second):
        with urllib.request.urlopen(each["urls"]["ts" if "ts" in each["urls"] else "mp4"], timeout=10) as answer:
            assert len(answer.read(20_000)) == 20_000
    assert {stream["codec_type"] for stream in probe_streams(second["urls"]["rtmp"])} == {"video"}
    with pytest.raises(AssertionError):
        probe_streams(second["urls"]["rtmp"].replace(second["id"], first["id"]))  # a token is for one playback
    fresh = relay.api("GET", f"/playbacks/{second['id']}/play")["urls"]
    assert {stream["codec_type"] for stream in probe_streams(fresh["hls"], timeout=60)} == {"video"}
    third = play(relay, phone, replace=True)
    running = {each["id"] for each in relay.api("GET", "/playbacks")["items"] if each["sim"] == phone.lstrip("0")}
    assert running == {second["id"], third["id"]}
    for ident in running:
        relay.api("DELETE", f"/playbacks/{ident}", expect=204)
    wait_for("both ends", lambda: not is_sending(relay, phone))


def test_a_terminal_that_cannot_do_both_is_learnt_and_live_is_not_taken_away(relay: Product) -> None:
    phone = "013800138023"
    relay.terminal(phone, "--fault", "playback-ends-live")
    with urllib.request.urlopen(relay.url(f"/live/{phone}_1.flv"), timeout=20) as live:
        assert live.read(5000)
        started = play(relay, phone)
        wait_for("live lost", lambda: any(s["state"] == "lost" for s in relay.api("GET", "/streams")["items"] if s["kind"] == "live"))
        relay.api("DELETE", f"/playbacks/{started['id']}", expect=204)
        live.read(200_000)  # it comes back once the playback is over
        assert play(relay, phone, expect=409)["error"] == "live_running"
    wait_for("live's end", lambda: not is_sending(relay, phone))
    again = play(relay, phone)
    assert relay.api("POST", f"/terminals/{phone}/channels/1/live", {}, expect=409)["error"] == "playback_running"
    relay.api("DELETE", f"/playbacks/{again['id']}", expect=204)


def test_an_end_in_silence_over_udp(tmp_path: Path) -> None:
    with Product(tmp_path, media={"prefer": "udp"}) as relay:
        relay.terminal(PHONE, "--udp", "--fault", "silent-end")
        started = play(relay, PHONE, seconds=3)
        record(started["urls"]["mp4"], 30, tmp_path / "a.mp4")
        assert probe_streams(tmp_path / "a.mp4")
        assert relay.api("GET", f"/playbacks/{started['id']}")["ended"] == "the recording is at its end"
