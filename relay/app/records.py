"""What is kept of terminals and of what people do: positions, alarms with their files and rules, the audit; and how long.

    Learning.watch_locations ─► Tracks ─► store
                              └► Alarms ─► store, events ─► Rules ─► Attachments (0x9208) ─► attachments.port, files
                                                                 ├─► pictures (0x8801)
                                                                 └─► recorder
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from relay.app.keys import data_directory
from relay.core import order_forms
from relay.core.alarm_rules import Rules
from relay.core.alarms import Alarms
from relay.core.attachments import Attachments
from relay.core.audit import Audit
from relay.core.budget import Budget, day_of
from relay.core.events import Events
from relay.core.live import Live
from relay.core.orders import Orders
from relay.core.quality import QualityWatch
from relay.core.retention import Kept, Retention, by_time
from relay.core.talk import Talks
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.tracks import Tracks, delete_old_positions
from relay.core.uploads import Uploads
from relay.core.views import Tell, Views
from relay.hub.registry import Registry
from relay.net.attachments import AttachmentFactory
from relay.settings import Settings
from relay.store.store import Store
from relay.store.traffic import delete_old as delete_old_traffic

log = Logger(namespace="relay.app")


class Records:
    """Makes them, starts and stops them."""

    def __init__(self, settings: Settings, reactor: Any, clock: Any, store: Store, events: Events, audit: Audit, terminals: Terminals, port: int) -> None:
        """``port``: the one that terminals send files to; 0 = none."""
        self._settings = settings
        self._port = port
        self._clock = clock
        self._store = store
        self._events = events
        self._terminals = terminals
        self.audit = audit
        self.positions = Tracks(store.positions, clock, time.time)
        self.alarms = Alarms(store.alarms, clock, events, time.time)
        terminals.learning.watch_locations(self.positions.came)
        terminals.when_stored = self.positions.batch.then
        terminals.learning.watch_locations(self.alarms.came)
        self.rules = Rules(settings.rule, terminals, events, clock.seconds)
        self.alarms.watch(self.rules.alarm)
        self.pool = ThreadPool(minthreads=0, maxthreads=1, name="files")  # one: what is written to a file stays in order
        directory = data_directory(settings) / "attachments"
        if settings.attachments.directory:
            directory = Path(settings.attachments.directory)
        in_thread: Callable[..., Deferred[Any]] = partial(deferToThreadPool, reactor, self.pool)
        self.attachments = Attachments(
            settings.attachments, directory, store.alarm_files, self.alarms, terminals, clock, events, time.time, in_thread, self._address
        )
        self.attachment_server = AttachmentFactory(self.attachments, clock, settings.limits.log_peer_s)
        self.rules.fetcher = self.attachments if port else None
        kept = settings.store
        self.retention = Retention(
            store.database,
            clock,
            time.time,
            [
                Kept("positions", kept.positions_days, delete_old_positions),
                Kept("alarms", kept.alarms_days, run=self.attachments.delete_old),
                Kept("days of traffic", kept.traffic_days, lambda connection, before, rows: delete_old_traffic(connection, day_of(before), rows)),
                Kept("audit rows", kept.audit_days, by_time("audit")),
                Kept("multimedia", kept.multimedia_days, store.multimedia.delete_old),
            ],
        )

    def _address(self, terminal: Terminal) -> tuple[str, int]:
        settings = self._settings
        local = terminal.link.wire.local if terminal.link is not None else ""
        return settings.attachments.advertise or settings.media.advertise or local, self._port

    def take_pictures(self, orders: Orders) -> None:
        """Let rules have pictures taken."""

        def snapshot(sim: str, channel: int, who: str) -> Deferred[Any]:
            return orders.ask(sim, order_forms.photo(channel, orders.edition(sim)), who)

        self.rules.snapshot = snapshot

    def watch_streams(self, live: Live, registry: Registry, tell: Tell) -> None:
        """Count what streams cost, and who watches them."""
        settings, clock = self._settings, self._clock
        self.budget = Budget(settings.budget, self._store.traffic, live, registry, self._terminals, clock, self._events, time.time)
        self.views = Views(settings.budget, registry, clock, self._events, self.audit, tell)
        self.attachments.meter = self.budget
        self.quality = QualityWatch(registry, clock, self._events, tell)

    def watch_transfers(self, talks: Talks, uploads: Uploads) -> None:
        """Count what talks and uploads cost."""
        count = self.budget.count
        talks.took = lambda sim, channel, size: count(sim, channel, "talk", size)
        uploads.took = lambda sim, channel, who, size: count(sim, channel, "upload", size)
        uploads.refuses = self.budget.refuses

    def start(self) -> None:
        """Read what the last run left, look after it from now on."""
        self.pool.start()
        for rule in self._settings.rule:
            if rule.attachments and not self._port:
                log.warn("rule {rule}: attachments.port is 0, no files are fetched", rule=rule.name)
        self.retention.start()
        self.views.start()
        self.quality.start()
        for waiting in (self.alarms.start(), self.budget.start(), self.attachments.start() if self._port else None):
            if waiting is not None:
                waiting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        log.failure("reading what the last run left failed", failure=failure)

    def close(self) -> None:
        """Ask for nothing more, take nothing more."""
        self.retention.stop()
        self.views.stop()
        self.quality.stop()
        self.attachments.stop()
        self.attachment_server.close()

    async def stop(self) -> None:
        """Write what waits."""
        self.pool.stop()
        await self.positions.stop()
        await self.alarms.stop()
        await self.budget.stop()
        await self.audit.stop()

    def gauges(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """For ``/metrics``."""
        return {
            "alarms_lasting": ("Alarms that have begun and not ended", lambda: self.alarms.lasting),
            "alarms_waiting": ("Alarms that are not stored yet", lambda: self.alarms.batch.pending),
            "attachments_wanted": ("Alarms whose files are wanted and not all here", lambda: self.attachments.waiting),
            "attachment_connections": ("Connections that send files of alarms", lambda: len(self.attachment_server)),
            "positions_waiting": ("Positions that are not stored yet", lambda: self.positions.batch.pending),
            "audit_waiting": ("Rows of the audit that are not stored yet", lambda: self.audit.batch.pending),
        }

    def counters(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """For ``/metrics``."""
        return {
            "alarms_lost": ("Alarms that the store did not take", lambda: self.alarms.batch.lost),
            "alarms_suppressed": ("Alarms beyond what one terminal may raise in a minute", lambda: self.alarms.counts["suppressed"]),
            "traffic_bytes": ("Bytes of terminals that were counted: media, signalling, files", lambda: self.budget.counted),
            "budget_refused": ("Streams refused since a SIM's data budget was spent", lambda: self.budget.refused),
            "positions_stored": ("Positions stored", lambda: self.positions.batch.stored),
            "positions_lost": ("Positions that the store did not take", lambda: self.positions.batch.lost),
            "audit_lost": ("Rows of the audit that the store did not take", lambda: self.audit.batch.lost),
        }

    def labelled(self) -> dict[str, tuple[str, str, bool, Callable[[], Mapping[str, float]]]]:
        """For ``/metrics``."""
        return {"budget_sims": ("level", "SIMs that have spent anything this month, by what their data budget still allows", False, self.budget.levels)}

    def problems(self) -> list[str]:
        """For ``/readyz``."""
        return [self.attachments.problem] if self.attachments.problem else []
