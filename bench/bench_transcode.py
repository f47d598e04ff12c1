"""Many transcodes of sound in real time, by the product's own way: ``hub.transcode.Transcoders``, its pool of threads, a real reactor.

    python bench/bench_transcode.py [--tracks 200] [--target aac|flac|opus] [--source g711a] [--seconds 10]

Each track gets a block of 40 ms every 40 ms, as terminals send them, not all at once. One JSON line:

    cores              processors that the tracks need: time of the whole process for a second of all tracks' sound, without what it costs to hand out the
                       blocks. The figure asked for is 1 or less
    us_per_second      the same for a second of one track's sound
    made               sound that came, of what is due; less than 1: the machine was too busy with other things to hand out the blocks in time
    delay_ms           from the push of the block that completes a frame to its delivery, the median and the 99th of a hundred
    floor_cores        handing out the blocks to nobody, measured in the same run
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from array import array
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThreadPool

from relay.app.parts import transcoding_pool
from relay.codec import g711, pcm
from relay.codec.frame import AUDIO, AudioConfig, Frame
from relay.hub.transcode import Transcoders
from relay.settings import Audio

BLOCK, RATE = 320, 8000
BLOCK_S = BLOCK / RATE
SLICES = 8  #: a block's time is cut in so many; each hands out its share of the tracks' blocks
reactor: Any = _reactor


def sound(codec: str) -> list[bytes]:
    """Four seconds of something like speech, in blocks: syllables of harmonics with hissing between. A plain tone is three times as easy to encode."""
    chance = random.Random(1)
    samples = array("h")
    for number in range(4 * RATE):
        at = number / RATE
        pitch = (120 + 30 * math.sin(at * 3)) * math.tau * at
        voice = sum(math.sin(pitch * harmonic) / harmonic for harmonic in range(1, 14)) * max(0.0, math.sin(at * 7)) ** 2
        hiss = chance.gauss(0, 1500) * max(0.0, math.sin(at * 11)) ** 4
        samples.append(max(-32768, min(32767, round(2500 * voice + hiss))))
    encode = g711.encode_a if codec == "g711a" else g711.encode_u
    data = encode(pcm.to_bytes(samples))
    return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]


class Run:
    """All tracks."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.source = AudioConfig(arguments.source, RATE, 1)
        self.blocks = sound(arguments.source)
        self.pool = transcoding_pool()
        self.owner = Transcoders(Audio(transcodes_max=arguments.tracks), partial(deferToThreadPool, reactor, self.pool))
        self.tracks: list[Any] = []
        self.samples = 0
        self.delays: list[float] = []
        self.counting = False
        self.turn = 0

    def deliver(self, frame: Frame) -> None:
        if self.counting:
            self.samples += frame.samples
            self.delays.append(time.monotonic() - frame.source_time)

    def push(self, tracks: list[Any]) -> None:
        """The next slice's blocks."""
        at, slice_ = divmod(self.turn, SLICES)
        self.turn += 1
        now = time.monotonic()
        data = self.blocks[at % len(self.blocks)]
        for track in tracks[slice_::SLICES]:
            frame = Frame(AUDIO, round(at * BLOCK_S * 1000), round(at * BLOCK_S * 1000), True, data, self.source, BLOCK, now)
            if track is not None:
                track.push(frame)

    def feed(self, tracks: list[Any], seconds: float, then: Any) -> None:
        """Hand out blocks in time for so long."""
        begun = time.monotonic()
        first = self.turn

        def step() -> None:
            if time.monotonic() - begun >= seconds:
                then()
                return
            self.push(tracks)
            due = begun + (self.turn - first) * BLOCK_S / SLICES
            reactor.callLater(max(due - time.monotonic(), 0.0), step)

        step()

    def start(self) -> None:
        self.pool.start()
        nobody = [None] * self.arguments.tracks
        before = time.process_time()

        def floor_done() -> None:
            self.floor = (time.process_time() - before) / 3
            self.turn = 0
            for _ in range(self.arguments.tracks):
                track = self.owner.open(self.source, self.arguments.target, self.deliver)
                if isinstance(track, str):
                    raise SystemExit(track)
                self.tracks.append(track)
            self.feed(self.tracks, 2.0, self.warm)

        self.feed(nobody, 3.0, floor_done)

    def warm(self) -> None:
        self.counting = True
        self.before = time.process_time()
        self.feed(self.tracks, self.arguments.seconds, self.over)

    def over(self) -> None:
        seconds, tracks = self.arguments.seconds, self.arguments.tracks
        self.counting = False
        rate = self.tracks[0].config.sample_rate
        made = self.samples / (seconds * rate * tracks)
        cores = (time.process_time() - self.before) / seconds / made - self.floor
        hundredths = statistics.quantiles(self.delays, n=100)
        told = {
            "name": f"{tracks} tracks {self.arguments.source} to {self.arguments.target}",
            "cores": round(cores, 3),
            "us_per_second": round(cores / tracks * 1e6),
            "made": round(made, 3),
            "delay_ms": [round(hundredths[49] * 1000, 1), round(hundredths[98] * 1000, 1)],
            "floor_cores": round(self.floor, 3),
            "dropped": sum(track.dropped for track in self.tracks),
        }
        print(json.dumps(told))
        for track in self.tracks:
            track.close()
        self.pool.stop()
        reactor.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=200)
    parser.add_argument("--target", choices=("aac", "flac", "opus"), default="aac")
    parser.add_argument("--source", choices=("g711a", "g711u"), default="g711a")
    parser.add_argument("--seconds", type=float, default=10)
    run = Run(parser.parse_args())
    reactor.callWhenRunning(run.start)
    reactor.run()


main()
