"""What all JT/T 808 message bodies have in common, and the register of them by id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from relay.wire import Message, Registry

B = TypeVar("B", bound="Body")


class Body(Message):
    """A message body. ``edition`` is 2011, 2013 or 2019; when nobody knows it is 2013."""

    DEFAULT_EDITION: ClassVar[int] = 2013

    @property
    def msg_id(self) -> int:
        """The message id (消息ID)."""
        return int(type(self).KEY)


class OpaqueBody(Body):
    """A body that cannot be taken apart: an unknown id, one piece of a longer message, or cipher text."""

    __slots__ = ("_msg_id", "data")

    def __init__(self, msg_id: int, data: bytes) -> None:
        super().__init__()
        self._msg_id = msg_id
        self.data = data

    @property
    def msg_id(self) -> int:
        return self._msg_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueBody) and (self._msg_id, self.data) == (other._msg_id, other.data)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"OpaqueBody(0x{self._msg_id:04X}, {len(self.data)} bytes)"

    def encode(self, edition: int = 0) -> bytes:
        return self.data

    def fields(self) -> dict[str, Any]:
        return {"body": self.data.hex()}

    exact_fields = fields


MESSAGES: Registry[Body] = Registry("JT/T 808")


def message(
    msg_id: int, label: str, english: str, *, reply: int | tuple[int, ...] = (), since: int = 2011, ref: str = "JT/T 808", note: str = ""
) -> Callable[[type[B]], type[B]]:
    """Decorator: the class is the body of ``msg_id``. Ids below 0x8000 come from the terminal."""
    direction = "up" if msg_id < 0x8000 else "down"
    return MESSAGES.message(msg_id, label, english, ref=ref, reply=reply, direction=direction, since=since, note=note)
