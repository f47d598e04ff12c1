"""What is known of an upload task (``core.upload_task``): its states, its files, what is stored of it, and how it is refused."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import Any

from relay.core.events import iso_time
from relay.core.stored import Criteria
from relay.errors import RelayError


class State(enum.Enum):
    """See the module's table."""

    QUEUED = "queued"
    ASKED = "asked"
    UPLOADING = "uploading"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = (State.DONE, State.FAILED, State.CANCELLED)


@dataclass(slots=True)
class StoredFile:
    """One file that came."""

    name: str
    size: int = 0
    complete: bool = False  #: the terminal ended it in order
    sha256: str = ""  #: once complete
    received: float = 0.0  #: UNIX time of the last byte
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        received = iso_time(self.received) if self.received else None
        return {
            "name": self.name, "size": self.size, "complete": self.complete, "sha256": self.sha256, "received": received, "problem": self.problem,
        }  # fmt: skip


class UploadError(RelayError):
    """A task that cannot be begun, or is not there. ``status`` is HTTP's, ``code`` one word."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint


class UploadRefusedError(RelayError):
    """A file that is not taken; ``reason`` is one word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(slots=True)
class Facts:
    """What of a task is stored as JSON."""

    criteria: Criteria = field(default_factory=Criteria)
    conditions: int = 7
    expected: int = 0  #: bytes, as the terminal's list says; 0 = not known
    purpose: str = ""
    who: str = ""
    serial: int | None = None
    reason: str = ""
    message: str = ""
    files: dict[str, StoredFile] = field(default_factory=dict)

    def dump(self) -> str:
        """As JSON."""
        values = {name: getattr(self, name) for name in ("conditions", "expected", "purpose", "who", "serial", "reason", "message")}
        criteria = {name: getattr(self.criteria, name) for name in Criteria.__slots__}
        files = [{name: getattr(each, name) for name in StoredFile.__slots__} for each in self.files.values()]
        return json.dumps({**values, "criteria": criteria, "files": files}, ensure_ascii=False)

    @classmethod
    def load(cls, text: str) -> Facts:
        """From JSON."""
        values = json.loads(text)
        files = {each["name"]: StoredFile(**each) for each in values.pop("files", [])}
        return cls(criteria=Criteria(**values.pop("criteria", {})), files=files, **values)
