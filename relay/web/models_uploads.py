"""What goes in and comes out of the API about file uploads."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from relay.web.models import PageQuery
from relay.web.models_stored import Span, Time

StateWord = Literal["queued", "asked", "uploading", "paused", "done", "failed", "cancelled"]


class UploadStart(Span, kw_only=True, forbid_unknown_fields=True):
    """Recordings to be fetched: what lies in the span."""

    start_time: Time
    end_time: Time
    networks: Annotated[
        list[Literal["wifi", "lan", "mobile"]], Meta(min_length=1, max_length=3, description="On which networks the terminal may upload.")
    ] = msgspec.field(default_factory=lambda: ["wifi", "lan", "mobile"])
    file_size: Annotated[int, Meta(ge=0, description="Bytes to expect, as the terminal's list says: for progress and for the check at the end.")] = 0


class UploadFile(msgspec.Struct):
    """One file that came. ``sha256`` is there once it is complete."""

    name: str
    size: int
    complete: bool
    sha256: str
    received: str | None
    problem: str


class UploadView(msgspec.Struct):
    """One upload task."""

    id: str
    sim: str
    channel: int
    state: str
    reason: str
    message: str
    waits_for_terminal: bool
    start_time: str | None
    end_time: str | None
    media_type: str | int
    stream_type: str | int
    storage_type: str | int
    alarm_flags: int
    created: str
    finished: str | None
    purpose: str
    who: str
    bytes: int
    expected_bytes: int
    percent: int | None
    bytes_per_s: int
    check: str
    connections: int
    files: list[UploadFile]


class UploadList(msgspec.Struct):
    """One page of tasks, newest first."""

    items: list[UploadView]
    total: int
    next: str | None = None


class UploadQuery(PageQuery):
    """Which tasks."""

    sim: Annotated[str, Meta(max_length=64, description="Of this terminal, by any of its names.")] = ""
    state: StateWord | None = None


class UploadControl(msgspec.Struct, forbid_unknown_fields=True):
    """One action."""

    action: Literal["pause", "resume", "cancel"]


class FileList(msgspec.Struct):
    """The files of a task."""

    items: list[UploadFile]
    total: int
    next: str | None = None


class FileQuery(msgspec.Struct, forbid_unknown_fields=True):
    """In which form."""

    convert: Annotated[Literal["mp4"] | None, Meta(description="mp4: AVI, byte streams and recorded packets made playable.")] = None
