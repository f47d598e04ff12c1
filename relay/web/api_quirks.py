"""The API's quirks: what is peculiar to a terminal or model, what people say of it instead, and all of it as a file for another relay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core.audit import Audit
from relay.core.quirks import KNOWN, MODEL, TERMINAL, QuirkError, Quirks
from relay.store.quirks import Profile
from relay.web.api_stored import known_sim
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

Values = dict[str, Any]


class QuirkView(msgspec.Struct):
    """One terminal: where each value comes from, and which counts."""

    sim: str
    model: str  #: "manufacturer/model"; empty while it has not told
    effective: Values
    override: Values
    learnt: Values
    model_override: Values
    model_learnt: Values


class QuirkChange(msgspec.Struct, forbid_unknown_fields=True):
    """What people say; the whole of it. ``forget`` also drops what was learnt."""

    override: Values = {}
    forget: bool = False


class ProfileView(msgspec.Struct):
    """What is kept of a terminal or model."""

    kind: Literal["terminal", "model"]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    learnt: Values = {}
    override: Values = {}


class ProfileList(msgspec.Struct):
    """All of them; the same can be sent back to /quirks/import."""

    items: list[ProfileView]
    total: int
    next: str | None = None


class Import(msgspec.Struct):
    """What an export gave, as it is."""

    items: Annotated[list[ProfileView], Meta(max_length=50_000)]
    total: int | None = None
    next: str | None = None


class Imported(msgspec.Struct):
    """How many."""

    profiles: int


class KnownQuirk(msgspec.Struct):
    """One that exists."""

    name: str
    words: str
    values: str


class KnownList(msgspec.Struct):
    """All that exist."""

    items: list[KnownQuirk]
    total: int
    next: str | None = None


class QuirkApi:
    """Handlers and their routes."""

    def __init__(self, quirks: Quirks, names: Names, audit: Audit | None = None) -> None:
        self._quirks = quirks
        self._names = names
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        one, base = "/api/v1/terminals/{sim}/quirks", "/api/v1/quirks"
        viewer, operator, admin = Permission.VIEWER, Permission.OPERATOR, Permission.ADMIN
        yield Route(
            method="GET", path=one, handler=self.get, permission=viewer, answer=QuirkView, tag="quirks", summary="What is peculiar to a terminal",
            errors=(503,),
        )  # fmt: skip
        yield Route(
            method="PUT", path=one, handler=self.put, permission=operator, body=QuirkChange, answer=QuirkView, tag="quirks",
            summary="Say it is otherwise; forget what was learnt", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="GET", path=base, handler=self.export, permission=viewer, answer=ProfileList, tag="quirks",
            summary="All that is kept, of terminals and models: an export",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{base}/import", handler=self.load, permission=admin, body=Import, answer=Imported, tag="quirks",
            summary="Take an export in; what it names is replaced",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{base}/known", handler=self.known, permission=viewer, answer=KnownList, tag="quirks", scope="any",
            summary="The quirks that exist",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{base}/models/{{maker}}/{{model}}", handler=self.get_model, permission=viewer, answer=ProfileView, tag="quirks",
            summary="What is peculiar to a model",
        )  # fmt: skip
        yield Route(
            method="PUT", path=f"{base}/models/{{maker}}/{{model}}", handler=self.put_model, permission=operator, body=QuirkChange, answer=ProfileView,
            tag="quirks", summary="Say it is otherwise for every terminal of a model",
        )  # fmt: skip

    def _note(self, call: Call, subject: str, detail: str) -> None:
        if self._audit is not None:
            self._audit.record(call.principal.name, "quirk", subject, detail, call.request.address)

    def _change(self, call: Call, kind: str, name: str) -> Profile:
        change: QuirkChange = call.body
        try:
            profile = self._quirks.override(kind, name, change.override)
        except QuirkError as problem:
            raise Problem(400, f"{problem}.", code="bad_quirk", hint="GET /api/v1/quirks/known lists them.") from None
        said = ", ".join(f"{quirk} {value}" for quirk, value in change.override.items()) or "nothing said by people"
        self._note(call, name, f"{said}; what was learnt is forgotten" if change.forget else said)
        return self._quirks.forget(kind, name) if change.forget else profile

    async def get(self, call: Call) -> QuirkView:
        """One terminal."""
        return self._view(await known_sim(self._names, call))

    def _view(self, sim: str) -> QuirkView:
        model = self._quirks.model_of(sim)
        own, of_model = self._quirks.profile(TERMINAL, sim), self._quirks.profile(MODEL, model)
        return QuirkView(sim, model, self._quirks.effective(sim), own.override, own.learnt, of_model.override, of_model.learnt)

    async def put(self, call: Call) -> QuirkView:
        """The whole of what people say of it."""
        sim = await known_sim(self._names, call)
        self._change(call, TERMINAL, sim)
        return self._view(sim)

    def export(self, call: Call) -> dict[str, Any]:
        """Everything."""
        items = [profile._asdict() for profile in self._quirks.profiles()]
        return {"items": items, "total": len(items), "next": None}

    def load(self, call: Call) -> Imported:
        """All or nothing: what is wrong is said before anything is taken."""
        body: Import = call.body
        try:
            for one in body.items:
                self._quirks.check(one.override, one.learnt)
        except QuirkError as problem:
            raise Problem(400, f"{one.kind} {one.name}: {problem}.", code="bad_quirk", hint="GET /api/v1/quirks/known lists them.") from None
        for one in body.items:
            self._quirks.override(one.kind, one.name, one.override, one.learnt)
        self._note(call, "import", f"{len(body.items)} profiles taken in")
        return Imported(len(body.items))

    def known(self, call: Call) -> dict[str, Any]:
        """What exists."""
        items = [{"name": name, "words": quirk.words, "values": quirk.values} for name, quirk in KNOWN.items()]
        return {"items": items, "total": len(items), "next": None}

    def get_model(self, call: Call) -> dict[str, Any]:
        """One model."""
        return self._quirks.profile(MODEL, f"{call.path['maker']}/{call.path['model']}")._asdict()

    def put_model(self, call: Call) -> dict[str, Any]:
        """The whole of what people say of it."""
        return self._change(call, MODEL, f"{call.path['maker']}/{call.path['model']}")._asdict()
