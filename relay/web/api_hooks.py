"""The API's hooks: which are configured, how their deliveries go, and a delivery to try one.

What a hook is stands in the configuration as ``[[hook]]``. Its address may hold a key, so only scheme, host and port of it are shown; its secret is not shown
at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import msgspec

from relay.core.audit import Audit
from relay.core.events import iso_time
from relay.core.hooks import Hook, Hooks
from relay.errors import RelayError
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

ANSWER_SHOWN = 500  #: characters of what a receiver says to a test


class HookView(msgspec.Struct):
    """One hook and what became of its deliveries since the relay began."""

    name: str
    target: str  #: scheme, host and port of its address
    events: list[str]  #: [] = all
    signed: bool
    decide: bool  #: asked before each play
    on_failure: str  #: what a play gets when it does not answer
    timeout_s: float
    waiting: int
    delivered: int
    failed: int  #: given up after the last try
    dropped: int  #: pushed out by newer ones while 1,000 waited
    allowed: int
    refused: int
    undecided: int  #: plays that it gave no answer for
    last_delivered: str | None
    last_error: str
    last_error_time: str | None


class HookList(msgspec.Struct):
    """All of them."""

    items: list[HookView]
    total: int
    next: str | None = None


class HookTested(msgspec.Struct):
    """It has taken the delivery."""

    status: int
    ms: float
    answer: str  #: the beginning of what it said


class HookApi:
    """Handlers and their routes."""

    def __init__(self, hooks: Hooks, seconds: Callable[[], float], audit: Audit | None = None) -> None:
        """``seconds``: monotonic."""
        self._hooks = hooks
        self._seconds = seconds
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base, admin = "/api/v1/hooks", Permission.ADMIN
        yield Route(
            method="GET", path=base, handler=self.list, permission=admin, answer=HookList, tag="hooks",
            summary="Programs that are told what happens, and how their deliveries go",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{base}/{{name}}/test", handler=self.test, permission=admin, answer=HookTested, tag="hooks",
            summary="Send one delivery, on_test, now and once", errors=(502,),
        )  # fmt: skip

    def view(self, hook: Hook) -> HookView:
        """What the API tells of a hook."""
        settings, counts = hook.settings, hook.counts
        address = urlsplit(settings.url)
        port = address.port or (443 if address.scheme == "https" else 80)
        host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
        return HookView(
            name=settings.name, target=f"{address.scheme}://{host}:{port}", events=list(settings.events), signed=bool(settings.secret), decide=settings.decide,
            on_failure=settings.on_failure, timeout_s=settings.timeout_s, waiting=hook.waiting, delivered=counts["delivered"], failed=counts["failed"],
            dropped=counts["dropped"], allowed=counts["allowed"], refused=counts["refused"], undecided=counts["undecided"],
            last_delivered=iso_time(hook.delivered_at) if hook.delivered_at else None, last_error=hook.last_error,
            last_error_time=iso_time(hook.last_error_at) if hook.last_error_at else None,
        )  # fmt: skip

    def list(self, call: Call) -> HookList:
        """All."""
        items = [self.view(hook) for hook in self._hooks.hooks]
        return HookList(items, len(items))

    async def test(self, call: Call) -> HookTested:
        """One delivery; what the receiver does with it is the answer."""
        name = call.path["name"]
        hook = self._hooks.get(name)
        if hook is None:
            raise Problem(404, f"There is no hook {name}.", code="unknown_hook", hint="GET /api/v1/hooks lists those of the configuration.")
        if self._audit is not None:
            self._audit.record(call.principal.name, "hook", name, "tested", call.request.address)
        began = self._seconds()
        hint = "Does the receiver run, and does this machine reach it? Other deliveries go on and are repeated by themselves."
        try:
            status, body = await self._hooks.test(hook, call.principal.name)
        except (RelayError, OSError) as problem:
            raise Problem(502, f"The hook {name} did not take it: {str(problem).rstrip('.')}.", code="hook_failed", hint=hint) from None
        said = body.decode("utf-8", "replace").strip()[:ANSWER_SHOWN]
        if not 200 <= status < 300:
            hint = "Its own log says why; with a secret both sides must have the same, and a clock that is right within minutes."
            raise Problem(502, f"The hook {name} answered {status}{f': {said}' if said else ''}.", code="hook_failed", hint=hint)
        return HookTested(status, round((self._seconds() - began) * 1000, 1), said)
