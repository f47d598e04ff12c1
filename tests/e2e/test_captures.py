"""Recorded and damaged streams through the running product: what a terminal sent is what a player gets, bit for bit."""

from __future__ import annotations

import hashlib
import itertools
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.codec import h264, h265
from relay.codec.nalu import from_avcc, split_annexb
from relay.hub.ingest import Ingest
from relay.jt1078.demux import Demuxer
from tests.e2e.support import Product, wait_for
from tests.shared import captures, shared

pytestmark = [pytest.mark.e2e, pytest.mark.shared]

#: what an output leaves out: parameter sets (they are in the headers), delimiters, filler
LEFT_OUT = {"h264": {7, 8, 9, 12}, "h265": {32, 33, 34, 35, 38}}
FLV_SOUND = {6: 7, 7: 8, 19: 10}


@pytest.fixture(scope="module")
def open_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("captures"), media={"unrequested": "accept", "viewer_queue_bytes": 8388608, "viewer_queue_ms": 60000}) as relay:
        yield relay


def expected(data: bytes) -> dict[tuple[str, int], dict[str, Any]]:
    """The NAL units and blocks of sound that are whole, by (SIM, channel), straight from the packets."""
    demuxer = Demuxer()
    found: dict[tuple[str, int], dict[str, Any]] = {}
    ingests: dict[tuple[str, int], Ingest] = {}
    for raw in [*demuxer.feed(data, 0.0), *demuxer.finish(0.0)]:
        key = (raw.sim, raw.channel)
        entry = found.setdefault(key, {"nalus": [], "passed": [], "sound": []})
        if raw.pt in (98, 99):
            codec = "h264" if raw.pt == 98 else "h265"
            kind_of = h264.nal_type if codec == "h264" else h265.nal_type
            entry["nalus"] += [nalu for nalu in split_annexb(raw.body) if kind_of(nalu) not in LEFT_OUT[codec]]
        ingest = ingests.setdefault(key, Ingest(*key))
        for frame in ingest.push(raw, raw.arrival):
            entry["passed" if frame.kind == 0 else "sound"] += from_avcc(frame.data) if frame.kind == 0 else [frame.data]
    return found


def flv_tags(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, timestamp, body) of every whole tag."""
    assert data[:3] == b"FLV"
    at = 13
    while at + 15 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if at + 15 + size > len(data):
            return
        assert int.from_bytes(data[at + 11 + size : at + 15 + size], "big") == size + 11
        yield data[at], int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24, data[at + 11 : at + 11 + size]
        at += 15 + size


def read_tags(data: bytes) -> tuple[list[bytes], list[bytes], list[int]]:
    """NAL units, sound, and picture stamps of an FLV stream."""
    nalus: list[bytes] = []
    sound: list[bytes] = []
    stamps: list[int] = []
    for kind, stamp, body in flv_tags(data):
        if kind == 9:
            if body[0] & 0x80:
                packet = body[0] & 0x0F
                if packet in (1, 3):
                    nalus += from_avcc(body[8:] if packet == 1 else body[5:])
                    stamps.append(stamp)
            elif body[1] == 1:
                nalus += from_avcc(body[5:])
                stamps.append(stamp)
        elif kind == 8:
            if body[0] >> 4 == 10:
                if body[1] == 1:
                    sound.append(body[2:])
            else:
                sound.append(body[1:])
    return nalus, sound, stamps


def relayed(relay: Product, data: bytes, sim: str, channel: int, **query: str) -> bytes:
    """Send a recording as its terminal would, and what a player that was there from the beginning got."""
    url = relay.url(f"/live/{sim}_{channel}.flv", **query)
    got: list[bytes] = []
    with socket.create_connection(("127.0.0.1", relay.ports["live_tcp"]), timeout=20) as terminal:
        # the first packets make the stream known; the player joins before anything else is sent
        head = min(len(data) // 2, 250000)
        terminal.sendall(data[:head])
        wait_for(f"stream {sim}_{channel}", lambda: any(item["id"] == f"{sim.lstrip('0')}_{channel}" for item in relay.api("GET", "/streams")["items"]))
        answer = urllib.request.urlopen(url, timeout=20)

        def read() -> None:
            while piece := answer.read1(262144):
                got.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        terminal.sendall(data[head:])
        deadline, size = time.monotonic() + 20, -1
        while time.monotonic() < deadline and (sum(map(len, got)) != size or not size):
            size = sum(map(len, got))
            time.sleep(0.3)
    for item in relay.api("GET", "/streams")["items"]:
        if item["id"] == f"{sim.lstrip('0')}_{channel}":
            relay.api("DELETE", f"/streams/{item['id']}", expect=204)
    reader.join(20)
    return b"".join(got)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["file"]) for entry in captures() if entry["file"].endswith(".jt1078")])
def test_flv_is_bit_exact(open_relay: Product, entry: dict[str, Any]) -> None:
    data = shared(f"captures/{entry['file']}").read_bytes()
    for (sim, channel), streams in expected(data).items():
        pt = (entry.get("audio") or {}).get("pt")
        if pt is not None and pt not in FLV_SOUND and not streams["passed"]:
            continue  # FLV has no id for this sound, and there is nothing else
        query = {"audio": "source"} if pt is None or pt in FLV_SOUND else {"media": "v"}
        nalus, sound, stamps = read_tags(relayed(open_relay, data, sim, channel, **query))
        if not entry["file"].startswith("nasty-cut") and not entry["file"].startswith("nasty-gaps"):
            assert streams["passed"] == streams["nalus"], "something whole was not passed on"
        if streams["passed"]:
            # a player that joins a running stream begins at its latest key frame
            assert nalus
            assert nalus == streams["passed"][len(streams["passed"]) - len(nalus) :]
        if pt in FLV_SOUND and streams["sound"]:
            assert sound
            assert sound == streams["sound"][len(streams["sound"]) - len(sound) :]
            if pt != 19 and not streams["passed"]:
                payload = hashlib.sha256(b"".join(streams["sound"])).hexdigest()
                assert payload == entry["audio_payload_sha256"]
        assert stamps == sorted(stamps)
        if stamps:
            assert max((later - earlier for earlier, later in itertools.pairwise(stamps)), default=0) <= 2000


def test_the_same_recordings_named_by_inspect(tmp_path: Path) -> None:
    import json

    from tests.e2e.support import command

    entry = next((entry for entry in captures() if entry["file"] == "syn-h264-g711a.jt1078"), None)
    if entry is None:
        pytest.skip("the shared captures are not there")
    video, audio = tmp_path / "v.h264", tmp_path / "a.wav"
    found = json.loads(command("inspect", shared(f"captures/{entry['file']}"), "--video", video, "--audio", audio).stdout)
    assert {name: found[name] for name in ("sim", "channels", "packets", "video_es_sha256", "audio_payload_sha256")} == {
        name: entry[name] for name in ("sim", "channels", "packets", "video_es_sha256", "audio_payload_sha256")
    }
    assert hashlib.sha256(video.read_bytes()).hexdigest() == entry["video_es_sha256"]
    assert audio.read_bytes()[:4] == b"RIFF"
