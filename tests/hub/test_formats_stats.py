"""Message heads, percentiles, rates."""

from __future__ import annotations

import json

import pytest

from relay.errors import UsageError
from relay.hub.formats import OutputFormat, init_message, websocket_head, websocket_message
from relay.hub.stats import EDGES_MS, DelayHistogram, Meter
from tests.hub.support import FLAC, SMALL


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "8200"),
        (125, "827d"),
        (126, "827e007e"),
        (65535, "827effff"),
        (65536, "827f0000000000010000"),
    ],
)
def test_message_heads(size: int, head: str) -> None:
    assert websocket_head(size).hex() == head
    assert websocket_message(b"x" * size) == bytes.fromhex(head) + b"x" * size


def test_the_init_message_is_text() -> None:
    data = init_message(SMALL, FLAC, ["ein Wort"])
    assert data[0] == 0x81
    size = data[1] if data[1] < 126 else int.from_bytes(data[2:4], "big")
    body = json.loads(data[2 if data[1] < 126 else 4 :])
    assert len(data) == size + (2 if data[1] < 126 else 4)
    assert body == {
        "type": "init", "mime": 'video/mp4; codecs="avc1.42001E,flac"', "video": "h264", "width": 352, "height": 288, "audio": "flac", "notes": ["ein Wort"],
    }  # fmt: skip
    assert b'"mime": "audio/mp4; codecs=\\"flac\\""' in init_message(None, FLAC, [])


def test_a_format_knows_its_words() -> None:
    assert OutputFormat().check() == OutputFormat("flv", "raw", "av", "auto", "enhanced")
    for wrong in (OutputFormat(framing="tcp"), OutputFormat(media="x"), OutputFormat(audio="mp3"), OutputFormat(hevc="new")):
        with pytest.raises(UsageError):
            wrong.check()


def test_percentiles_are_good_to_an_eighth() -> None:
    histogram = DelayHistogram()
    assert histogram.percentile(0.5) == 0.0
    for ms in range(1, 1001):
        histogram.add(ms / 1000)
    for share in (0.1, 0.5, 0.9, 0.99):
        assert 1000 * share <= histogram.percentile(share) <= 1000 * share * 1.13
    assert histogram.percentile(1.0) >= 1000


def test_delays_of_all_sizes_have_a_bucket() -> None:
    histogram = DelayHistogram()
    for seconds in (-1.0, 0.0, 0.0001, 0.00399, 0.004, 0.0041, 7.9, 9.0, 1e6):
        histogram.add(seconds)
    assert histogram.percentile(1.0) == EDGES_MS[-1]
    histogram.rotate()
    assert histogram.percentile(1.0) == EDGES_MS[-1], "the interval before still counts"
    histogram.rotate()
    assert histogram.percentile(1.0) == 0.0


def test_rates() -> None:
    meter = Meter(10.0)
    meter.sample(10.1, 5, 5, 5, 0)
    assert meter.fps == 0.0, "too short to tell"
    meter.sample(12.0, 50, 125000, 90, 10)
    assert (meter.fps, meter.bitrate, meter.loss_percent) == (25.0, 500000, 10.0)
    meter.sample(13.0, 50, 125000, 90, 10)
    assert (meter.fps, meter.bitrate, meter.loss_percent) == (0.0, 0, 0.0)
