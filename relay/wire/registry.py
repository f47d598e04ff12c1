"""Messages by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from relay.wire.record import Record


class Message(Record):
    """A record that is a whole message body. The decorator of its ``Registry`` fills the class attributes."""

    KEY: ClassVar[Any] = None  #: the id, or (id, sub id)
    LABEL: ClassVar[str] = ""  #: the standard's name
    ENGLISH: ClassVar[str] = ""
    NAME: ClassVar[str] = ""  #: a protocol's own constant for it (JT/T 809), else the class name
    REF: ClassVar[str] = ""  #: standard and clause
    REPLY: ClassVar[tuple[Any, ...]] = ()  #: keys of the messages that answer it, first one first
    DIRECTION: ClassVar[str] = ""  #: "up" (terminal or subordinate platform sends) or "down"
    SINCE: ClassVar[int] = 0
    UNTIL: ClassVar[int] = 9999
    NOTE: ClassVar[str] = ""


M = TypeVar("M", bound=Message)
B = TypeVar("B", bound=Message)


class Registry(Generic[B]):
    """All messages of one protocol."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self._classes: dict[Any, type[B]] = {}

    def message(
        self,
        key: Any,
        label: str,
        english: str = "",
        *,
        ref: str = "",
        reply: Any = (),
        direction: str = "",
        since: int = 0,
        until: int = 9999,
        name: str = "",
        note: str = "",
    ) -> Callable[[type[M]], type[M]]:
        """Decorator: the class is the body of the message with this key."""

        def register(cls: type[M]) -> type[M]:
            if key in self._classes:
                raise TypeError(f"{self.protocol}: {key!r} is declared twice")
            cls.KEY, cls.LABEL, cls.ENGLISH, cls.REF, cls.NOTE = key, label, english, ref, note
            cls.NAME = name or cls.__name__
            cls.REPLY = reply if isinstance(reply, tuple) else (reply,)
            cls.DIRECTION, cls.SINCE, cls.UNTIL = direction, since, until
            self._classes[key] = cls  # type: ignore[assignment]
            return cls

        return register

    def get(self, key: Any) -> type[B] | None:
        """The class with that key, or None."""
        return self._classes.get(key)

    def __iter__(self) -> Iterator[type[B]]:
        return iter(self._classes[key] for key in sorted(self._classes))

    def __len__(self) -> int:
        return len(self._classes)

    def __contains__(self, key: object) -> bool:
        return key in self._classes
