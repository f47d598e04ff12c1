"""UDP: order, duplicates, gaps, counts, addresses; time is an argument."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from relay.jt1078.assembly import RawFrame
from relay.jt1078.datagram import START_S, DatagramDemuxer
from relay.jt1078.packet import packetize
from tests.shared import captures, shared

HERE, THERE = ("10.0.0.1", 4000), ("10.0.0.2", 5000)


def frames(count: int, size: int = 2500, channel: int = 1, pt: int = 98, start: int = 0, sim: str = "013800138000", step: int = 1) -> list[list[bytes]]:
    """``count`` frames of a few packets each, numbered from ``start``."""
    made = []
    seq = start
    for at in range(count):
        body = b"\0\0\0\1\x61" + bytes((at * 7 + i) % 251 + 2 for i in range(size))
        packets = packetize(body, sim=sim, channel=channel, pt=pt, data_type=1, timestamp=1000 + at * 40, seq=seq)
        seq += len(packets) * step
        made.append(packets)
    return made


def flat(made: list[list[bytes]]) -> list[bytes]:
    return [packet for packets in made for packet in packets]


def run(demuxer: DatagramDemuxer, packets: list[bytes], address: tuple[str, int] = HERE, begin: float = 100.0, step: float = 0.001) -> list[RawFrame]:
    out: list[RawFrame] = []
    now = begin
    for packet in packets:
        out += demuxer.feed(packet, address, now)
        now += step
        deadline = demuxer.next_deadline()
        if deadline is not None and deadline <= now:
            out += demuxer.tick(now)
    return out


def stamps(out: list[RawFrame]) -> list[int]:
    return [raw.timestamp for raw in out]


def test_in_order_every_frame_leaves_with_its_last_packet() -> None:
    demuxer = DatagramDemuxer()
    made = frames(5)
    for at, packets in enumerate(made):
        got = [demuxer.feed(packet, HERE, 1.0) for packet in packets]
        assert [len(one) for one in got] == [0] * (len(packets) - 1) + [1]
        assert got[-1][0].timestamp == 1000 + 40 * at
    assert demuxer.lost_packets == 0


@pytest.mark.parametrize("seed", range(20))
def test_reordering_within_the_window_costs_nothing(seed: int) -> None:
    rng = random.Random(seed)
    packets = flat(frames(60, start=65500))
    order = sorted(range(len(packets)), key=lambda at: at + rng.uniform(0, 25))
    shuffled = [packets[at] for at in order]
    for at in range(0, len(shuffled), 40):
        shuffled.insert(at + rng.randrange(40) % max(1, len(shuffled) - at), shuffled[at])
    demuxer = DatagramDemuxer()
    out = run(demuxer, shuffled) + demuxer.finish(200.0)
    assert stamps(out) == [1000 + 40 * at for at in range(60)]
    assert demuxer.lost_packets == 0
    assert demuxer.duplicates > 0


def test_a_missing_packet_costs_its_frame_and_is_counted() -> None:
    made = frames(10)
    packets = flat(made)
    del packets[len(made[0]) + 1]
    demuxer = DatagramDemuxer()
    out = run(demuxer, packets, step=0.01) + demuxer.finish(200.0)
    assert stamps(out) == [1000 + 40 * at for at in range(10) if at != 1]
    assert demuxer.lost_packets == 1
    assert out[1].lost_before == 1


def test_a_gap_is_given_up_in_time() -> None:
    made = frames(3)
    demuxer = DatagramDemuxer(wait_s=0.15)
    for packet in made[0]:
        demuxer.feed(packet, HERE, 1.0)
    for packet in made[2]:
        assert demuxer.feed(packet, HERE, 1.01) == []
    assert demuxer.next_deadline() == pytest.approx(1.16)
    assert demuxer.tick(1.1) == []
    assert stamps(demuxer.tick(1.2)) == [1080]
    assert demuxer.next_deadline() is None


def test_the_first_packets_may_come_in_any_order() -> None:
    packets = flat(frames(2, start=700))
    demuxer = DatagramDemuxer()
    out = run(demuxer, [packets[2], packets[0], packets[1], *packets[3:]], step=START_S / 2)
    assert stamps(out + demuxer.finish(200.0)) == [1000, 1040]


def test_picture_and_sound_counted_apart() -> None:
    video = flat(frames(40, start=20000))
    sound = [packetize(bytes(range(100, 200)), sim="013800138000", channel=1, pt=6, data_type=3, timestamp=1000 + 40 * at, seq=at)[0] for at in range(40)]
    mixed: list[bytes] = []
    for at in range(40):
        mixed += [*video[3 * at : 3 * at + 3], sound[at]]
    demuxer = DatagramDemuxer()
    out = run(demuxer, mixed) + demuxer.finish(300.0)
    assert len([raw for raw in out if raw.pt == 98]) >= 38
    assert len([raw for raw in out if raw.pt == 6]) >= 36
    assert demuxer.lost_packets <= 4


def test_one_count_for_two_channels_of_an_address_is_no_loss() -> None:
    one, two = frames(20, channel=1), frames(20, channel=2)
    seq = 0
    packets = []
    for pair in zip(one, two, strict=True):
        for made in pair:
            for packet in made:
                packets.append(packet[:6] + seq.to_bytes(2, "big") + packet[8:])
                seq += 1
    demuxer = DatagramDemuxer()
    out = run(demuxer, packets) + demuxer.finish(300.0)
    assert stamps([raw for raw in out if raw.channel == 1]) == [1000 + 40 * at for at in range(20)]
    assert stamps([raw for raw in out if raw.channel == 2]) == [1000 + 40 * at for at in range(20)]
    assert demuxer.lost_packets == 0


def test_a_new_count_goes_on() -> None:
    demuxer = DatagramDemuxer()
    out = run(demuxer, flat(frames(5, start=30000)))
    out += run(demuxer, flat(frames(5, start=100)), begin=101.0)
    out += demuxer.finish(300.0)
    assert len(out) >= 9
    assert demuxer.lost_packets == 0


def test_nat_rebinding_goes_on_and_somebody_else_is_shut_out() -> None:
    packets = flat(frames(6))
    demuxer = DatagramDemuxer()
    out = run(demuxer, packets[:9])
    out += run(demuxer, packets[9:], address=THERE, begin=100.1)
    assert len(out) == 6
    intruder = flat(frames(2, start=40000))
    assert run(demuxer, intruder, address=("10.9.9.9", 1), begin=100.2) == []
    assert demuxer.foreign == len(intruder)
    assert len(run(demuxer, flat(frames(2, start=0)), address=("10.9.9.9", 1), begin=120.0)) == 2


def test_what_is_not_admitted_leaves_no_state() -> None:
    asked: list[tuple[str, int]] = []

    def admit(sim: str, channel: int, address: tuple[str, int]) -> bool:
        asked.append((sim, channel))
        return False

    demuxer = DatagramDemuxer(admit=admit)
    assert run(demuxer, flat(frames(5))) == []
    assert demuxer.sessions == {}
    assert asked == [("013800138000", 1)]


def test_noise_is_counted_and_costs_nothing() -> None:
    rng = random.Random(1)
    good = frames(1)[0][0]
    demuxer = DatagramDemuxer()
    for at in range(3000):
        noise = bytearray(good if at % 2 else rng.randbytes(rng.randrange(0, 100)))
        for _ in range(rng.randrange(1, 4)):
            if noise:
                noise[rng.randrange(min(40, len(noise)))] = rng.randrange(256)
        demuxer.feed(bytes(noise), ("10.1.1.1", at % 50), 50.0 + at / 1000)
        demuxer.tick(50.0 + at / 1000)
    assert demuxer.malformed > 1000
    assert all(len(scope.held) <= 64 for session in demuxer.sessions.values() for scope in session.scopes)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["file"]) for entry in captures() if entry["file"].endswith(".udprec")])
def test_recording(entry: dict[str, object]) -> None:
    data = shared(f"captures/{entry['file']}").read_bytes()
    demuxer = DatagramDemuxer()
    out: list[RawFrame] = []
    at, begin = 0, None
    while at < len(data):
        ms, size = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 6], "big")
        begin = ms if begin is None else begin
        now = 1000 + (ms - begin) / 1000
        out += demuxer.tick(now)
        out += demuxer.feed(data[at + 6 : at + 6 + size], HERE, now)
        at += 6 + size
    out += demuxer.finish(9999.0)
    expected = json.loads(json.dumps(entry))
    video = [raw for raw in out if raw.pt in (98, 99)]
    sound = [raw for raw in out if raw.pt < 92]
    assert len(video) == expected["video"]["frames"]
    assert hashlib.sha256(b"".join(raw.body for raw in video)).hexdigest() == expected["video_es_sha256"]
    assert hashlib.sha256(b"".join(raw.body for raw in sound)).hexdigest() == expected["audio_payload_sha256"]
    assert demuxer.lost_packets == expected.get("lost_packets", 0)
