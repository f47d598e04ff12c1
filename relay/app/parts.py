"""Builds the parts from the settings, joins them, and puts them on their sockets.

    TerminalFactory (TCP, TLS), TerminalDatagrams (UDP) ── terminals ── store
                                                               │
                                      events ── live ── admission, resolver
                                                 │
    MediaServer (TCP, TLS), MediaDatagrams (UDP) ── registry ── merge, ingest, transcoders
                                                       │
    Site ── router ── page, API, media ── viewers
    RtmpServer (TCP, TLS) ── plays ────────────┘

A section with a certificate speaks TLS on its ``tls_port``, and where that is 0 on its other TCP ports.
"""

from __future__ import annotations

import random
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

import relay
from relay.app.bridge import VideoUplink
from relay.app.converting import Converter
from relay.app.explaining import Explainer
from relay.app.health import Health
from relay.app.keys import data_directory
from relay.app.listening import Listeners
from relay.app.ports import speaks_tls, sublink_key
from relay.app.records import Records
from relay.app.signalling import Signalling
from relay.app.threads import files_pool, transcoding_pool
from relay.core.accounts import Accounts
from relay.core.admission import Admission
from relay.core.alias import Resolver
from relay.core.audit import Audit
from relay.core.events import Events
from relay.core.fence import Fence
from relay.core.fetches import Fetches
from relay.core.hooks import Hooks
from relay.core.inspector import Inspector
from relay.core.live import Live, MediaPorts
from relay.core.multimedia import Multimedia
from relay.core.orders import Orders
from relay.core.other_stream import OtherStreams
from relay.core.play import Plays
from relay.core.playback import Playbacks
from relay.core.playback_session import PLAYBACK
from relay.core.ptz import Ptz
from relay.core.push import Pushes
from relay.core.quirks import Quirks
from relay.core.quota import Quota
from relay.core.recordings import Recordings
from relay.core.superiors import Superiors
from relay.core.talk import Talks
from relay.core.terminals import Terminals
from relay.core.tokens import Signer
from relay.core.uplink_duties import register_duties
from relay.core.uploads import Uploads
from relay.core.videos import Videos
from relay.hub.derived import Derivations
from relay.hub.formats import Options
from relay.hub.ingest import Ingest
from relay.hub.merge import Merge
from relay.hub.pace import PlaybackIngest
from relay.hub.registry import Registry
from relay.hub.transcode import Transcoders
from relay.identity import StreamKey
from relay.jt809.cipher import CipherKeys
from relay.net.media1078 import MediaServer
from relay.net.media1078udp import MediaDatagrams
from relay.net.push import Dialler
from relay.net.recorder import DatagramTaps, recorder_of
from relay.net.rtmp import RtmpServer
from relay.net.sink import make_sink
from relay.net.superior809 import MainConnector, SublinkFactory
from relay.net.talk1078 import TalkServer
from relay.net.terminal808 import TerminalDatagrams, TerminalFactory, local_address_for
from relay.net.tls import ReloadingCertificate, wrap
from relay.net.webhook import webhook_post
from relay.settings import Settings
from relay.store.store import Store
from relay.store.superiors import NAME as SUPERIORS
from relay.store.superiors import SuperiorStore
from relay.web.connection import SinkMaker
from relay.web.media import tell_player
from relay.web.metrics import Figures
from relay.web.site import WebParts, make_site
from relay.web.superior_figures import superior_figures

log = Logger(namespace="relay.app")

DRAIN_S = 2.0  #: at the end, for last words (0x9102, ends of streams) to leave; a peer that reads takes milliseconds
DRAIN_POLL_S = 0.05


class Parts:
    """Everything between the sockets and the store."""

    def __init__(self, settings: Settings, reactor: Any, clock: Any, store: Store, signer: Signer, listeners: Listeners, demo: bool = False) -> None:
        self.settings = settings
        self.reactor = reactor
        self.clock = clock
        self.store = store
        self.listeners = listeners
        self.media_udp: list[MediaDatagrams] = []
        self.certificates = {name: self._certificate(name) for name in ("terminals", "media", "http", "rtmp")}
        self.events = Events(time.time)
        self.audit = Audit(store.audit, clock, time.time)
        self.terminals = Terminals(settings.terminals, settings.limits, store.terminals, clock, self.events, time.time, store.changes)
        port = listeners.port("attachments.port")
        self.records = Records(settings, reactor, clock, store, self.events, self.audit, self.terminals, port)
        resolver = Resolver(self.terminals, store.terminals)
        self.pool = transcoding_pool()
        self.transcoders = Transcoders(settings.audio, partial(deferToThreadPool, reactor, self.pool))
        self.merge = Merge(clock, settings.media.merge_ms, settings.media.merge_max_ms, cpu=time.thread_time)
        self.picture_pool = transcoding_pool()  # of its own: a picture takes as long as a hundred blocks of sound
        self.derivations = Derivations(settings.video, partial(deferToThreadPool, reactor, self.picture_pool))
        self.registry = Registry(
            clock, Options.of(settings), self.merge, self._ingest, transcoders=self.transcoders, wall=time.time, derivations=self.derivations
        )
        self.media = MediaServer(reactor, clock, self.registry, settings.media, settings.limits.log_peer_s)
        self.inspector = Inspector(time.time, Explainer(self._cipher_keys))
        self.recorder = self.media.recorder = recorder_of(settings.log, time.time, self.inspector)
        self.signalling = Signalling(reactor, self.terminals, self.recorder)
        admission = Admission(self.terminals, resolver, clock, self.events, settings.media.unrequested)
        ports = MediaPorts(listeners.port("media.live_tcp_port"), listeners.port("media.live_udp_port"))
        self.live = Live(
            settings.media,
            self.registry,
            self.terminals,
            resolver,
            admission,
            clock,
            self.events,
            time.time,
            ports,
            settings.terminals.loss_report_s,
        )
        self.live.unidentified = self.media.unidentified
        ports = MediaPorts(listeners.port("media.playback_tcp_port"), listeners.port("media.playback_udp_port"))
        self.searches = Recordings(self.terminals, resolver, clock, self.events)
        self.playbacks = Playbacks(
            settings.media, self.registry, self.terminals, resolver, admission, self.live, clock, self.events, time.time, ports
        )
        self.searches.claim = self.playbacks.claim
        self.hooks = Hooks(settings.hook, webhook_post(reactor), self.events, clock, time.time, settings.http.advertise or socket.gethostname())
        self.accounts = Accounts(store.users, signer, clock, time.time, store.changes)
        self.quota = Quota(settings.limits, clock.seconds, self.accounts.is_user)
        plays = Plays(signer, resolver, self.live, time.time, self.hooks.permit, self.quota)
        plays.playback = self.playbacks.acquire
        self.rtmp = RtmpServer(clock, settings.rtmp, plays, settings.limits.log_peer_s)
        store.multimedia.directory = data_directory(settings) / "multimedia"
        self.multimedia = Multimedia(self.terminals, store.multimedia, clock, self.events, time.time, settings.store.multimedia_max_bytes)
        self.orders = Orders(self.terminals, clock, self.events, self.audit.record)
        self.quirks = Quirks(self.terminals, self.events, time.time, store.quirks)
        self.media.settled = self.quirks.media_seen
        self.playbacks.beside = lambda terminal: self.quirks.get(terminal.sim, "playback_beside_live", terminal.playback_beside_live)
        self.playbacks.on_learnt = lambda sim, beside: self.quirks.learn(sim, "playback_beside_live", beside)
        self.others = OtherStreams(self.live, self.quirks, settings.video.other_stream, partial(self.derivations.admits, "h264"))
        plays.other_stream = self.others.ask
        self.talks = Talks(
            settings.media,
            self.terminals,
            resolver,
            self.quirks,
            clock,
            self.events,
            time.time,
            partial(secrets.token_hex, 8),
            listeners.port("media.talk_tcp_port"),
            listeners.ports("media.talk_extra_ports"),
            self.audit.record,
            settings.limits.log_peer_s,
        )
        self.live.in_call, self.talks.watched = self.talks.in_call, self.live.watched
        self.talk_server = TalkServer(self.talks, self.recorder)
        self.superior_store = SuperiorStore(data_directory(settings) / SUPERIORS) if settings.superior else None
        self.superiors = self._superiors()
        self.records.take_pictures(self.orders)
        self.records.watch_streams(self.live, self.registry, tell_player)
        self.ptz = Ptz(self.terminals, clock, self.events, settings.terminals.ptz_hold_s, self.audit.record)
        dialler = Dialler(reactor, clock, Fence(settings.rtmp.push_allow))
        self.pushes = Pushes(dialler, self.live, self.registry, self.terminals, resolver, clock, self.events, random.random)
        self.files = files_pool()
        self.in_thread = partial(deferToThreadPool, reactor, self.files)
        self.uploads = Uploads(
            replace(settings.ftp, directory=settings.ftp.directory or str(data_directory(settings) / "uploads")),
            store.uploads,
            self.terminals,
            resolver,
            clock,
            self.events,
            time.time,
            listeners.port("ftp.port"),
            signer.secrets_for,
            self.in_thread,
        )
        self.records.watch_transfers(self.talks, self.uploads)
        self.fetches = Fetches(clock.seconds)
        self.video_uplink = self._video_uplink()
        self.videos = Videos(
            settings.recording,
            settings.record,
            Path(settings.recording.directory or data_directory(settings) / "videos"),
            store.videos,
            self.live,
            self.terminals,
            clock,
            self.events,
            time.time,
            self.in_thread,
        )
        self.records.rules.recorder = self.videos
        self.ftp: Any = None
        self.converter = Converter(reactor)
        self.web = make_site(
            WebParts(
                settings=settings,
                clock=clock,
                wall=time.time,
                signer=signer,
                accounts=self.accounts,
                permit=self.hooks.permit,
                quota=self.quota,
                hooks=self.hooks,
                rows=store.terminals,
                terminals=self.terminals,
                resolver=resolver,
                hub=self.registry,
                live=self.live,
                searches=self.searches,
                playbacks=self.playbacks,
                uploads=self.uploads,
                videos=self.videos,
                multimedia=store.multimedia,
                in_thread=self.in_thread,
                convert=self.converter,
                orders=self.orders,
                ptz=self.ptz,
                talks=self.talks,
                quirks=self.quirks,
                others=self.others,
                events=self.events,
                superiors=self.superiors,
                bridge=self.video_uplink.bridge if self.video_uplink is not None else None,
                sinks=cast(SinkMaker, make_sink),  # the same in the words of either side
                version=relay.__version__,
                demo=demo,
                problems=self.problems,
                figures=self._figures(),
                audit=self.audit,
                positions=self.records.positions,
                alarms=self.records.alarms,
                attachments=self.records.attachments if port else None,
                budget=self.records.budget,
                views=self.records.views,
                quality=self.records.quality,
                recordings=self.recorder if self.recorder.directory is not None else None,
                inspector=self.inspector,
                pushes=self.pushes,
            )
        )
        self.health = Health(store, clock)

    def _cipher_keys(self, superior: str) -> CipherKeys | None:
        found = self.superiors.get(superior) if self.superiors is not None else None
        if found is None:
            return None
        settings = found.settings
        return CipherKeys(settings.m1, settings.ia1, settings.ic1) if settings.m1 or settings.ia1 or settings.ic1 else None

    def _superiors(self) -> Superiors | None:
        """JT/T 809; None without a ``[[superior]]``."""
        if self.superior_store is None:
            return None
        settings = self.settings
        superiors = Superiors(
            settings.superior,
            self.terminals,
            self.store.terminals,
            self.superior_store,
            self.clock,
            time.time,
            self.events,
            MainConnector(self.reactor, self.clock, self.recorder),
            lambda one: self.listeners.port(sublink_key(one)),
            self.orders,
            settings.limits.log_peer_s,
        )
        register_duties(superiors)
        superiors.requests.keep(self.store.person_requests, self.audit.record)
        self.records.alarms.watch(superiors.safety_alarm)
        return superiors

    def _video_uplink(self) -> VideoUplink | None:
        if self.superiors is None:
            return None
        http, port = self.settings.http, self.listeners.port("http.platform_port")
        sinks = cast(SinkMaker, make_sink)
        return VideoUplink(
            self.superiors, self.live, self.playbacks, self.searches, self.store.positions, self.events, self.clock, http, port, sinks,
            self.uploads, self.fetches, self.listeners.port("ftp.port"),
        )  # fmt: skip

    def _start_superiors(self) -> None:
        if self.superiors is None or self.superior_store is None:
            return
        self.superior_store.start(self.reactor.callFromThread)
        for one in self.settings.superior:
            bound = self.listeners.get(sublink_key(one))
            if bound is None or bound.listening is not None:
                continue
            factory: Any = SublinkFactory(self.superiors, one.sublink_host, one.sublink_port, self.clock, self.recorder, one.sublink_tls)
            if one.sublink_tls:
                factory = wrap(factory, ReloadingCertificate(one.tls_certificate, one.tls_key, self.clock.seconds, "superior"), self.reactor)
            bound.adopt_stream(self.reactor, factory)
        platform = self.listeners.get("http.platform_port")
        if platform is not None and self.video_uplink is not None:
            platform.adopt_stream(self.reactor, self.video_uplink.streams.site)
        self.superiors.start()

    def _certificate(self, section: str) -> ReloadingCertificate | None:
        values = getattr(self.settings, section)
        if not values.tls_certificate:
            return None
        return ReloadingCertificate(values.tls_certificate, values.tls_key, self.clock.seconds, section)

    def _ingest(self, key: StreamKey) -> Ingest:
        make = PlaybackIngest if key.kind == PLAYBACK else Ingest
        order = self.quirks.get(key.sim, "audio.g726_order", self.settings.audio.g726_order)
        return make(key.sim, key.channel, self.settings.media.loss_policy, order)

    # starting -------------------------------------------------------------

    def start(self) -> None:
        """Answer on every socket."""
        self.pool.start()
        self.files.start()
        self.picture_pool.start()
        self.merge.start()
        for key in ("terminals.tcp_port", "terminals.tls_port"):
            self._stream(key, TerminalFactory(self.terminals, "tls" if self._speaks_tls(key) else "tcp", self.recorder))
        self._datagrams("terminals.udp_port", self._terminal_datagrams)
        for kind in ("live", "playback"):
            self._stream(f"media.{kind}_tcp_port", self.media.factory(kind, self.listeners.port(f"media.{kind}_tcp_port")))
            self._datagrams(f"media.{kind}_udp_port", partial(self._media_datagrams, kind))
        self._stream("media.talk_tcp_port", self.talk_server.factory(self.listeners.port("media.talk_tcp_port")))
        for number in self.listeners.ports("media.talk_extra_ports"):
            self._stream(f"media.talk_extra_ports:{number}", self.talk_server.factory(number))
        self._stream("http.port", self.web.site)
        self._stream("http.tls_port", self.web.site)
        self._stream("rtmp.port", self.rtmp)
        self._stream("rtmp.tls_port", self.rtmp)
        self.pushes.configure(self.settings.push)
        self._start_superiors()
        if self.listeners.get("ftp.port") is not None:
            from relay.net.ftp import FtpServer  # Twisted's FTP server takes the reactor at import

            self.ftp = FtpServer(self.reactor, self.clock, self.settings.ftp, self.uploads, self.fetches, self.in_thread)
            self._stream("ftp.port", self.ftp)
        self.uploads.begin()
        self.videos.begin()
        self.quirks.load()
        self.health.start()
        self._stream("attachments.port", self.records.attachment_server)
        self.records.start()

    def _speaks_tls(self, key: str) -> bool:
        section, _, name = key.partition(".")
        return self.certificates.get(section) is not None and speaks_tls(getattr(self.settings, section), name)

    def _stream(self, key: str, factory: Factory) -> None:
        bound = self.listeners.get(key)
        if bound is None:
            return
        certificate = self.certificates.get(key.partition(".")[0])
        if certificate is not None and self._speaks_tls(key):
            bound.adopt_stream(self.reactor, wrap(factory, certificate, self.reactor))
        else:
            bound.adopt_stream(self.reactor, factory)

    def _terminal_datagrams(self, port: int) -> TerminalDatagrams:
        self.signalling.datagrams = TerminalDatagrams(self.terminals, local_address_for(self.settings.terminals.host), self.recorder)
        return self.signalling.datagrams

    def _media_datagrams(self, kind: str, port: int) -> MediaDatagrams:
        made = MediaDatagrams(self.clock, self.registry, self.settings.media, kind, port, self.settings.limits.log_peer_s)
        made.taps = DatagramTaps(self.recorder, "jt1078", f"port {port}", kind)
        self.media_udp.append(made)
        return made

    def _datagrams(self, key: str, make: Callable[[int], DatagramProtocol]) -> None:
        bound = self.listeners.get(key)
        if bound is not None:
            bound.adopt_datagrams(self.reactor, make(bound.port))

    # what is told ---------------------------------------------------------

    def problems(self) -> list[str]:
        """What keeps the relay from doing its work, for ``/readyz``."""
        return self.health.problems() + self.records.problems()

    def unhandled(self) -> int:
        """Faults of our own since the start, each in the log with its traceback; 0 in a sound program."""
        pollers = [poller for poller in (self.media.prompt, self.media.steady) if poller is not None]
        counts = [self.registry.unhandled, self.media.unhandled, self.rtmp.unhandled, self.pushes.unhandled]
        return sum(counts) + sum(poller.unhandled for poller in pollers) + sum(listener.unhandled for listener in self.media_udp)

    def _figures(self) -> Figures:
        database, superiors = self.store.database, self.superiors
        certificates = [one for one in self.certificates.values() if one is not None]
        return Figures(
            gauges={
                "media_connections": ("JT/T 1078 connections over TCP and TLS", lambda: len(self.media)),
                "rtmp_connections": ("RTMP connections of players", lambda: len(self.rtmp.players)),
                "hooks_waiting": ("Events that wait for a hook's receiver", lambda: self.hooks.waiting),
                "pushes": ("Pushes to outside servers", lambda: len(self.pushes)),
                "pushes_running": ("Of these, those that run", self.pushes.running),
                "store_waiting": ("Operations that wait for the store", lambda: database.waiting),
                "h264_transcodes": ("Channels being transcoded from H.265 to H.264", lambda: self.derivations.count("h264")),
                "mjpeg_channels": ("Channels given as motion JPEG", lambda: self.derivations.count("jpeg") + self.derivations.count("jpeg-keys")),
                **self.records.gauges(),
                "multimedia_waiting": ("Terminals' pictures that the store has not taken yet", lambda: self.multimedia.waiting),
                "transcodes": ("Sound tracks being transcoded", lambda: len(self.transcoders.stats())),
            },
            counters={
                "media_accepted": ("JT/T 1078 connections accepted", lambda: self.media.accepted),
                "media_over_limit": ("JT/T 1078 connections refused for media.connections_max", lambda: self.media.over_limit),
                "media_wrong_protocol": ("Connections on media ports that spoke something else", lambda: self.media.wrong_protocol),
                "rtmp_accepted": ("RTMP connections accepted", lambda: self.rtmp.accepted),
                "rtmp_over_limit": ("RTMP connections refused for rtmp.connections_max", lambda: self.rtmp.over_limit),
                "rtmp_slow": ("RTMP connections closed that said or played nothing in time", lambda: self.rtmp.slow),
                "rtmp_broken": ("RTMP connections closed for what they sent", lambda: self.rtmp.broken),
                "rtmp_publishers_refused": ("Encoders that wanted to publish", lambda: self.rtmp.refused),
                "rtmp_plays_failed": ("RTMP plays that could not be served", lambda: self.rtmp.failed),
                "push_connects": ("Publications at outside servers that began", self.pushes.connects),
                "push_failures": ("Pushes that failed and are tried again", self.pushes.failures),
                "push_sent_bytes": ("Bytes sent to outside servers", self.pushes.sent_bytes),
                "pictures_made": ("Single pictures made", lambda: self.derivations.pictures),
                "derivations_refused": ("Transcodes of pictures refused for a limit", lambda: self.derivations.refused),
                **self.records.counters(),
                "multimedia_lost": ("Terminals' pictures that could not be kept", lambda: self.multimedia.counts["lost"]),
                "quirks_unsaved": ("Changes of what is peculiar to terminals that the store did not take", lambda: self.quirks.unsaved),
                "transcodes_refused": ("Sound tracks not transcoded for a limit", lambda: self.transcoders.refused),
                "certificate_reloads": ("Certificates read again", lambda: sum(one.reloads for one in certificates)),
                "certificate_failures": ("Certificates that could not be used when they changed", lambda: sum(one.failures for one in certificates)),
                "unhandled": ("Faults of the relay itself, in the log with tracebacks", self.unhandled),
            },
            by_word={
                **({"superior_request_events": ("Superiors' requests for a person", lambda: superiors.requests.counts)} if superiors is not None else {}),
                "attachments": ("What became of files of alarms", lambda: self.records.attachments.counts),
                "videos": ("Recordings of the relay's own: files, bytes, what was lost", lambda: self.videos.counts),
                "hooks": ("What became of deliveries to hooks and of their decisions", lambda: self.hooks.counts),
            },
            labelled={**superior_figures(self.superiors), **self.records.labelled()},
        )

    # stopping -------------------------------------------------------------

    async def stop(self, handing_over: bool = False) -> None:
        """Tell terminals and viewers, let that leave, end everything; nothing new is accepted any more.

        ``handing_over``: terminals' links do not end, ``signalling`` has what the next image of the process needs of them.
        A step that fails is a bug and logged as such; the ones after it are taken all the same, above all the threads' end.
        """
        ends: tuple[Callable[[], Any], ...] = (self.terminals.close, self._drained)
        if handing_over:  # what waits for its row (terminals.answer_positions) is answered before it goes over
            ends = (self.records.positions.batch.flush, partial(self._drained, True), self.signalling.leave)
        steps: tuple[Callable[[], Any], ...] = (
            self.health.stop,
            self.records.close,
            self.videos.close,
            self.uploads.close,
            self._close_ftp,
            self.converter.close,
            self.playbacks.close,
            self.ptz.close,
            self.talks.close,
            self.orders.close,
            self.multimedia.close,
            self.pushes.close,
            self.live.close,
            self.others.close,
            self.accounts.close,
            self.hooks.close,
            self.web.close,
            self.rtmp.close,
            self._stop_bridge,
            self._stop_superiors,
            self.registry.close,
            *ends,
            self.media.stop,
            self.rtmp.stop,
            self._stop_recording,
            self.merge.stop,
            self.pool.stop,
            self.picture_pool.stop,
            self.files.stop,
            self.records.stop,
        )
        for step in steps:
            try:
                waiting = step()
                if waiting is not None:
                    await waiting
            except Exception:
                log.failure("stopping: {step} failed", step=getattr(step, "__qualname__", str(step)))

    def _stop_bridge(self) -> None:
        if self.video_uplink is not None:
            self.video_uplink.close()

    async def _stop_superiors(self) -> None:
        if self.superiors is not None and self.superior_store is not None:
            await self.superiors.close()
            await self.superior_store.stop()

    def _close_ftp(self) -> None:
        if self.ftp is not None:
            self.ftp.close()

    def _stop_recording(self) -> None:
        self.recorder.close()

    async def _drained(self, handing_over: bool = False) -> None:
        """Until nobody has bytes left to take, or DRAIN_S is over."""
        deadline = self.clock.seconds() + DRAIN_S
        while self.clock.seconds() < deadline:
            if all(handing_over and self.signalling.is_carried(writer) for writer in self.reactor.getWriters()):
                return
            await deferLater(self.reactor, DRAIN_POLL_S)
