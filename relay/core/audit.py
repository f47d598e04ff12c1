"""The audit: who watched, spoke, commanded, fetched or changed what, when, from where, and how many bytes it took.

    audit.record("ann", "view", "13800138000_1", "sub stream over FLV", "10.0.0.5", bytes=1048576)

===========  ================  ==========================================================================
action       subject           when
===========  ================  ==========================================================================
view         SIM_CHANNEL       a viewer is gone; ``bytes`` that it got, ``detail`` says format and how long
message      SIM               a message was sent to a terminal; ``detail`` names it
terminal     SIM               a known terminal was added, changed or removed
alarm        alarm id          an alarm was acknowledged
push         SIM_CHANNEL       a push to an outside server was made, started, stopped or deleted by the API
hook         a hook's name     an administrator sent a test delivery
download     a file            a stored file was fetched
superior     SIM_CHANNEL       what a superior had open was ended by the API
inspect      SIM, a superior   somebody looked at the messages that pass; ``detail`` names the protocols
login        a user            logged in or out, or tried to with a wrong password
user         a user            added, changed, removed; ``detail`` says what, never a password
token        a token's id      an API token was made or revoked
quirk        SIM, a model      people said what is peculiar to it
===========  ================  ==========================================================================

Others add their own: "talk", "ptz", "playback", "upload" … ``who`` is the name in the token, "superior:NAME", "rule:NAME", or "relay" for
what nobody asked for. Secrets do not belong here. Rows are written in batches; when the store refuses them they wait, up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from relay.store import audit
from relay.store.audit import AuditFilter, AuditRow, AuditStore
from relay.store.batch import Batch, Clock
from relay.store.connection import storable

TEXT_MAX = 500  #: characters of each text: a row tells what happened, and holds no documents
PENDING_MAX = 20_000  #: rows; a person causes one in seconds


class Audit:
    """What everybody records into."""

    def __init__(self, store: AuditStore, clock: Clock, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall
        self.batch: Batch[AuditRow] = Batch(store.database, clock, "audit rows", audit.insert, PENDING_MAX)

    def record(self, who: str, action: str, subject: str, detail: str = "", address: str = "", bytes: int = 0) -> None:
        """Note that ``who`` did ``action`` to ``subject``; never fails, never waits."""
        who, action, subject, detail, address = (storable(text)[:TEXT_MAX] for text in (who, action, subject, detail, address))
        self.batch.add(AuditRow(self._wall(), who, action, subject, detail, address, bytes))

    async def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> tuple[list[tuple[int, AuditRow]], int]:
        """Rows, newest first, and how many there are in all; what was recorded a moment ago included."""
        await self.batch.flush()
        return await self._store.page(wanted, limit, before)

    async def rows(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[tuple[int, AuditRow]]:
        """Rows alone."""
        await self.batch.flush()
        return await self._store.rows(wanted, limit, before)

    def stop(self) -> Deferred[None]:
        """Write what waits."""
        return self.batch.stop()
