"""Made-up numbers, plates and names for real ones: the same for the same, of the same length and look, so that a scrubbed recording behaves like the real one.

    13800138000         10000000001      digits: a 1, zeros, and a counter
    粤B12345            测A00001         plates: one look for all; letters where letters stood
    CODE-7788           AAAA-0002        secrets, names: letter for letter, digit for digit

Nothing of the original is in an alias but its length and, of numbers that are not decimal, where the letters stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from relay.identity import phone_key

#: what a plate looks like in running text: a province's character, a letter, five or six letters and digits, the last one perhaps a closing character
_PLATE = re.compile(r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼测][A-Z](?:[A-Z0-9]{4}[学警港澳挂领使试超临]|[A-Z0-9]{5,6})")
#: numbers in running text that can belong to somebody: telephones, identity cards, IMEIs
_NUMBER = re.compile(r"(?<![0-9])[0-9]{7,20}(?![0-9])")
#: aliases remembered; a recording of one terminal has a few dozen
_ALIASES_MAX = 100_000

Maker = Callable[[str, int], str]


class Aliases:
    """All aliases of one recording."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()
        self._counter = 0

    def set_phone(self, number: str, alias: str) -> None:
        """A number whose alias is chosen."""
        self._known["phone", phone_key(number).rjust(7, "0")] = phone_key(alias)

    def phone(self, digits: str) -> str:
        """For a number as it stands in a field: as wide, leading zeros where there are any."""
        key = phone_key(digits)
        if key == "0":
            return digits
        alias = self._alias("phone", key.rjust(min(7, len(digits)), "0"), self._digits)  # short numbers would soon run out of aliases
        return alias.rjust(len(digits), "0")[-len(digits) :]

    def plate(self, plate: str) -> str:
        """For a plate."""
        return self._alias("plate", plate, self._plate) if plate else plate

    def text(self, text: str) -> str:
        """For a name, a code, a secret: everything of it."""
        return self._alias("text", text, self._letters) if text else text

    def number(self, value: int, bits: int = 32) -> int:
        """For an account or access code: as many decimal digits, so it fits where the real one did."""
        if not value:
            return 0
        alias = int(self._alias("number", str(value), self._digits))
        return alias if alias < 1 << bits else value

    def prose(self, text: str) -> str:
        """For running text: the plates and long numbers in it."""
        text = _PLATE.sub(lambda found: self.plate(found[0]), text)
        return _NUMBER.sub(lambda found: self.phone(found[0]), text)

    def _alias(self, kind: str, original: str, make: Maker) -> str:
        known = self._known.get((kind, original))
        if known is not None:
            return known
        for _ in range(1000):
            self._counter += 1
            alias = make(original, self._counter)
            if alias not in self._taken and alias != original:
                break
        if len(self._known) < _ALIASES_MAX:
            self._known[kind, original] = alias
            self._taken.add(alias)
        return alias

    @staticmethod
    def _digits(original: str, count: int) -> str:
        made = list("1" + str(count).rjust(len(original) - 1, "0")[-(len(original) - 1) :] if len(original) > 1 else str(count % 10))
        for place, character in enumerate(original):
            if not character.isdigit():
                made[place] = character
        return "".join(made)

    @classmethod
    def _plate(cls, original: str, count: int) -> str:
        made = []
        letter = False
        digits = str(count).rjust(len(original), "0")[-len(original) :]
        for place, character in enumerate(original):
            if not character.isascii():
                made.append("测")
            elif character.isalpha() and not letter:
                made.append("A")
                letter = True
            elif character.isalnum():
                made.append(digits[place])
            else:
                made.append(character)
        return "".join(made)

    @staticmethod
    def _letters(original: str, count: int) -> str:
        """Letters become a counter of letters, digits one of digits, from the end on; other characters stay."""
        made = []
        left = count
        for character in reversed(original):
            if character.isdigit():
                made.append(str(left % 10))
                left //= 10
            elif character.isascii() and character.isalpha():
                made.append(chr(ord("A" if character.isupper() else "a") + left % 26))
                left //= 26
            elif not character.isascii():
                made.append("某")
            else:
                made.append(character)
        return "".join(reversed(made))
