"""The migrations, one module each: ``m0004_positions.py`` brings the schema from 3 to 4.

A module has ``STATEMENTS``, the SQL that both databases run (``relay.store.connection`` says in which words), and may have ``SQLITE`` and
``POSTGRESQL``, what only one of them runs afterwards. The numbers follow each other without a hole; a new one takes the next.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import NamedTuple

from relay.errors import UsageError

_NAME = re.compile(r"m([0-9]{4})_([a-z0-9_]+)")


class Migration(NamedTuple):
    """One step of the schema."""

    name: str
    statements: tuple[str, ...]
    sqlite: tuple[str, ...] = ()
    postgresql: tuple[str, ...] = ()


def _load() -> tuple[Migration, ...]:
    found: dict[int, Migration] = {}
    for module in sorted(entry.name for entry in pkgutil.iter_modules(__path__)):
        match = _NAME.fullmatch(module)
        if match is None or int(match[1]) in found:
            raise UsageError(f"relay.store.migrations.{module}: must be named m0004_words, with a number of its own")
        content = importlib.import_module(f"{__name__}.{module}")
        statements = content.STATEMENTS
        found[int(match[1])] = Migration(match[2], statements, getattr(content, "SQLITE", ()), getattr(content, "POSTGRESQL", ()))
    if list(found) != list(range(1, len(found) + 1)):
        raise UsageError(f"relay.store.migrations: the numbers have a hole: {list(found)}")
    return tuple(found.values())


#: migration n (counted from 1) brings the schema from n-1 to n
MIGRATIONS: tuple[Migration, ...] = _load()
