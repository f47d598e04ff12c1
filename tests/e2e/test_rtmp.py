"""RTMP as players and encoders speak it: ffmpeg, ffprobe and PyAV's newer libraries against the running product."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Product, need, probe_streams, run, wait_for
from tests.shared import shared

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
HEVC_PHONE = "13800138265"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("rtmp")) as product:
        product.terminal(PHONE)
        yield product


def rtmp(relay: Product, name: str = f"{PHONE}_1", where: str = "name", **query: str) -> str:
    """An RTMP address with its token, behind the name or behind the application, as players differ."""
    words = "&".join(f"{key}={value}" for key, value in {**query, "token": relay.media_token}.items())
    base = f"rtmp://127.0.0.1:{relay.ports['rtmp']}/live"
    return f"{base}/{name}?{words}" if where == "name" else f"{base}?{words}/{name}"


def refusal(*words: str | Path) -> str:
    """What a program says that ends with an error."""
    done = run(*words, check=False)
    assert done.returncode, done.stdout
    return str(done.stderr)


def test_a_player_of_an_idle_channel_starts_it_and_decodes_picture_and_aac(relay: Product) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    streams = {stream["codec_type"]: stream for stream in probe_streams(rtmp(relay))}
    assert (streams["video"]["codec_name"], streams["video"]["width"], streams["video"]["height"]) == ("h264", 352, 288)
    assert streams["audio"]["codec_name"] == "aac"
    ffmpeg = [need("ffmpeg"), "-v", "warning", "-xerror", "-t", "3", "-i"]
    done = run(*ffmpeg, rtmp(relay, f"{PHONE}_2_sub"), "-f", "framecrc", "-", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pictures = sum(line.startswith("0,") for line in done.stdout.splitlines())
    assert pictures >= 70, done.stdout
    streams = {stream["codec_type"]: stream for stream in probe_streams(rtmp(relay, where="app", audio="source"))}
    assert streams["audio"]["codec_name"] == "pcm_alaw"
    assert "audio" not in {stream["codec_type"] for stream in probe_streams(rtmp(relay, media="v"))}
    assert relay.api("GET", "/terminals/13800138000/channels/1/play")["urls"]["rtmp"].startswith(f"rtmp://127.0.0.1:{relay.ports['rtmp']}/live/{PHONE}_1?")


def test_a_play_that_fails_says_why(relay: Product) -> None:
    ffprobe = (need("ffprobe"), "-v", "error")
    base = f"rtmp://127.0.0.1:{relay.ports['rtmp']}"
    assert "A token is missing" in refusal(*ffprobe, f"{base}/live/{PHONE}_1")
    assert "The token is refused: the token's signature is wrong" in refusal(*ffprobe, f"{base}/live/{PHONE}_1?token=bQo.AAAAAAAAAAAAAAAAAAAAAA")
    assert "No terminal is called 13800138009. " in refusal(*ffprobe, rtmp(relay, "13800138009_1"))
    assert "There is no stream live/nothing" in refusal(*ffprobe, rtmp(relay, "nothing"))
    relay.terminal("13800138008").stop()
    wait_for("the terminal's end", lambda: not relay.is_online("13800138008"))
    assert "is not online" in refusal(*ffprobe, rtmp(relay, "13800138008_1"))


def test_librtmp_reads_it_and_understands_a_refusal(relay: Product, tmp_path: Path) -> None:
    curl = need("curl")
    if "librtmp" not in run(curl, "--version").stdout:
        pytest.skip("this curl was built without librtmp")
    path = tmp_path / "seen.flv"
    run(curl, "-sS", "-m", "3", "-o", path, rtmp(relay, where="app", media="v"), check=False)
    assert [stream["codec_name"] for stream in probe_streams(path)] == ["h264"]
    assert "NetStream.Play.Failed" in refusal(curl, "-sS", "-m", "20", "-o", tmp_path / "none.flv", f"{rtmp(relay)}bad")


def test_an_encoder_is_told_that_nothing_is_taken(relay: Product) -> None:
    ffmpeg = (need("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", "testsrc=d=2", "-f", "flv")
    assert "takes no publishers" in refusal(*ffmpeg, f"rtmp://127.0.0.1:{relay.ports['rtmp']}/live/{PHONE}_1?token={relay.media_token}")
    relay.process.wait_for_output("an encoder wanted to publish")


@pytest.mark.shared
def test_h265_is_decoded_in_both_forms(relay: Product) -> None:
    av: Any = pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    relay.terminal(HEVC_PHONE, "--capture", str(shared("captures/syn-h265-g711u.jt1078")))
    for hevc in ("enhanced", "legacy"):
        with av.open(rtmp(relay, f"{HEVC_PHONE}_1", hevc=hevc), timeout=20) as player:
            pictures = player.decode(video=0)
            for _ in range(30):
                picture = next(pictures)
            assert player.streams.video[0].codec_context.name == "hevc"
            assert (picture.width, picture.height) == (320, 240)


def test_a_player_that_goes_releases_the_channel(tmp_path: Path) -> None:
    with Product(tmp_path, media={"idle_stop_s": 0.5}) as relay:
        relay.terminal(PHONE)
        player = subprocess.Popen([need("ffmpeg"), "-v", "quiet", "-i", rtmp(relay), "-f", "null", "-"], stdin=subprocess.DEVNULL)
        try:
            stream = wait_for("the stream", lambda: relay.api("GET", "/streams")["items"])[0]
            assert wait_for("the viewer", lambda: relay.api("GET", f"/streams/{stream['id']}/viewers")["items"])[0]["format"].startswith("flv/rtmp")
        finally:
            player.terminate()
            player.wait(10)
        wait_for("the end of the stream", lambda: relay.api("GET", "/streams")["total"] == 0)
