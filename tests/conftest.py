"""Fixtures that every test gets: an error that Twisted logs, or a call left scheduled, fails the test."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.logger import globalLogPublisher

from tests.postgres import postgres as postgres


def pytest_collection_finish() -> None:
    """What is loaded now stays: the collections after each test then look only at what the test made."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait (for players, time-outs, programs) between files that compute: processes that share the tests then keep all processors busy."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [path for path in files if path.parent.name in ("e2e", "app")]
    computing = sorted((path for path in files if path not in waiting), key=lambda path: path.stat().st_size, reverse=True)
    ordered = sorted([(at / len(waiting), path) for at, path in enumerate(waiting)] + [(at / len(computing), path) for at, path in enumerate(computing)])
    items[:] = [item for _, path in ordered for item in files[path]]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes, long texts and keys name no test well, and some differ at every start, when processes that share the tests must call them the same."""
    long = isinstance(val, bytes) or (isinstance(val, str) and len(val) > 60) or (isinstance(val, int) and val.bit_length() > 64)
    return argname if long else None


class LoggedErrors(list[Any]):
    """The failures logged during a test; ``flush`` takes the expected ones out."""

    def flush(self, *kinds: type[BaseException]) -> list[Any]:
        taken = [f for f in self if not kinds or f.check(*kinds)]
        self[:] = [f for f in self if f not in taken]
        return taken


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[LoggedErrors]:
    """Collects failures that Twisted logs (unhandled Deferreds among them); a test that expects one flushes it."""
    errors = LoggedErrors()

    def observe(event: dict[str, Any]) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            errors.append(failure)

    globalLogPublisher.addObserver(observe)
    try:
        yield errors
        gc.collect()
        gc.freeze()  # what is left belongs to modules and longer fixtures: the next collection need not look at it
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not errors, "Twisted logged errors:\n" + "\n".join(f.getTraceback() for f in errors)


@pytest.fixture(autouse=True)
def no_pending_calls() -> Iterator[None]:
    """A delayed call that outlives its test would fire in another one."""
    yield
    pending: Callable[[], list[Any]] = reactor.getDelayedCalls  # type: ignore[attr-defined]
    left = [call for call in pending() if call.active()]
    for call in left:
        call.cancel()
    assert not left, f"delayed calls left behind: {left}"
