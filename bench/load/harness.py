"""The hub and the media listeners with nothing round them: what they cost without web, tokens, signalling.

    python bench/load/harness.py --jt 11078 --http 18470 [--merge 0|100|auto] [--profile FILE]

Answers ``GET /live/{sim}_{channel}.flv`` (``.mp4``; ``?media=v``) from the hub, as the relay does once a request has been taken over from
twisted.web. Everybody is admitted. Not part of the product.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from relay.hub.formats import Options, OutputFormat
from relay.hub.ingest import Ingest
from relay.hub.merge import Merge
from relay.hub.registry import Admitted, Registry
from relay.identity import StreamKey, phone_key
from relay.net.media1078 import MediaServer
from relay.net.sink import TcpSink
from relay.settings import Media

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\r\n"


class Everybody:
    """Admission that lets everybody in."""

    def admit(self, kind, sim, channel, peer, transport):
        return Admitted(StreamKey(phone_key(sim), channel, kind), False)


class MonotonicClock:
    """The reactor's timers on the monotonic clock."""

    seconds = staticmethod(time.monotonic)

    def callLater(self, delay, callable, *args, **kwargs):
        return reactor.callLater(delay, callable, *args, **kwargs)


class Responder(Protocol):
    """One request, then a viewer."""

    viewer = None
    data = b""

    def dataReceived(self, data):
        if self.viewer is not None:
            return
        self.data += data
        if b"\r\n\r\n" not in self.data:
            return
        path = self.data.split(b" ", 2)[1].decode()
        path, _, query = path.partition("?")
        name, _, container = path.rsplit("/", 1)[-1].rpartition(".")
        sim, _, channel = name.partition("_")
        stream = self.factory.registry.get(StreamKey(phone_key(sim), int(channel or 1)))
        if stream is None:
            self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.transport.loseConnection()
            return
        media = "v" if "media=v" in query or not container else "av"
        self.data = b""
        fmt = OutputFormat(container or "flv", "raw", media, "none" if media == "v" else "auto")
        self.viewer = stream.attach(fmt, TcpSink(self.transport), preamble=HEAD)

    def connectionLost(self, reason):
        if self.viewer is not None:
            self.viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jt", type=int, default=11078)
    parser.add_argument("--http", type=int, default=18470)
    parser.add_argument("--merge", default="0")
    parser.add_argument("--merge-max", type=int, default=80)
    parser.add_argument("--profile")
    arguments = parser.parse_args()

    clock = MonotonicClock()
    merge = Merge(clock, arguments.merge, arguments.merge_max, time.thread_time)
    registry = Registry(clock, Options(flv_audio="none"), merge, lambda key: Ingest(key.sim, key.channel), Everybody())
    server = MediaServer(reactor, clock, registry, Media(host="127.0.0.1"))
    server.listen("live", arguments.jt)
    factory = Factory.forProtocol(Responder)
    factory.registry = registry
    factory.noisy = False
    reactor.listenTCP(arguments.http, factory, backlog=1024, interface="127.0.0.1")
    merge.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50000, 20, 50)
    if arguments.profile:
        import cProfile

        profile = cProfile.Profile()
        reactor.callWhenRunning(lambda: reactor.callLater(6, profile.enable))
        reactor.addSystemEventTrigger("before", "shutdown", lambda: (profile.disable(), profile.dump_stats(arguments.profile)))
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(reactor.stop))
    reactor.run()
    if os.environ.get("HARNESS_STATS"):
        for stream in list(registry.streams())[:2]:
            print(stream.stats(), file=sys.stderr)
        print("climbs", merge.climbs, "ms", merge.ms, "share", merge.share, "unhandled", registry.unhandled, server.unhandled, file=sys.stderr)


main()
