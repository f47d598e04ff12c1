"""Every test of a table runs on both databases: ``url`` is an SQLite file's, then a PostgreSQL database's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from relay.store.connection import Connection
from relay.store.database import connect
from relay.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'relay.db'}"
    return str(request.getfixturevalue("postgres").fresh())


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    opened = connect(url)
    yield opened
    opened.close()


@pytest_twisted.async_yield_fixture
async def store(url: str) -> AsyncIterator[Store]:
    made = Store(url)
    call_from_thread: Any = reactor.callFromThread  # type: ignore[attr-defined]
    made.start(call_from_thread)
    yield made
    await made.stop()
