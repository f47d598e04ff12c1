"""Values of one JSON object that may be damaged or another program's: each is asked for by name, kind and bounds.

What does not fit is a ``StateError`` that names the place; nothing else comes out of here, whatever the object holds.
"""

from __future__ import annotations

from relay.errors import StateError

LARGEST = (1 << 63) - 1


class Plain:
    """One object."""

    __slots__ = ("_values", "where")

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise StateError(where, f"should be an object, not {type(values).__name__}")
        self._values = values
        self.where = where

    def has(self, name: str) -> bool:
        """Whether it is there, and not null."""
        return self._values.get(name) is not None

    def flag_or_none(self, name: str) -> bool | None:
        """True, false or null."""
        return self.flag(name) if self.has(name) else None

    def number(self, name: str, low: int = 0, high: int = LARGEST) -> int:
        """A whole number within bounds."""
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise StateError(f"{self.where}.{name}", f"should be a whole number from {low} to {high}")
        return value

    def number_or_none(self, name: str, low: int = 0, high: int = LARGEST) -> int | None:
        """The same, or null."""
        return self.number(name, low, high) if self.has(name) else None

    def real(self, name: str) -> float:
        """A finite number."""
        value = self._values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e18:
            raise StateError(f"{self.where}.{name}", "should be a number")
        return float(value)

    def real_or_none(self, name: str) -> float | None:
        """The same, or null."""
        return self.real(name) if self.has(name) else None

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise StateError(f"{self.where}.{name}", "should be true or false")
        return value

    def text(self, name: str, limit: int = 1024) -> str:
        """A text of so many characters at most."""
        value = self._values.get(name)
        if not isinstance(value, str) or len(value) > limit:
            raise StateError(f"{self.where}.{name}", f"should be a text of at most {limit} characters")
        return value

    def data(self, name: str, limit: int) -> bytes:
        """Bytes, written in hex."""
        value = self.text(name, 2 * limit)
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise StateError(f"{self.where}.{name}", "should be bytes in hex") from None

    def objects(self, name: str, limit: int) -> list[Plain]:
        """A list of so many objects at most."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > limit:
            raise StateError(f"{self.where}.{name}", f"should be a list of at most {limit}")
        return [Plain(one, f"{self.where}.{name}[{at}]") for at, one in enumerate(value)]

    def object(self, name: str) -> Plain:
        """An object in this one."""
        return Plain(self._values.get(name), f"{self.where}.{name}")

    def object_or_none(self, name: str) -> Plain | None:
        """The same, or null."""
        return self.object(name) if self.has(name) else None

    def names(self, limit: int) -> list[str]:
        """What is in it, so many at most."""
        if len(self._values) > limit:
            raise StateError(self.where, f"should have at most {limit} entries")
        return list(self._values)
