"""Times in queries, and the numbers of rows that pages go on from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from relay.core.events import BEIJING
from relay.web.problem import Problem

Time = Annotated[str, Meta(max_length=40, description="ISO 8601; without a zone it is GMT+8.")]


def unix_time(text: str, name: str) -> float | None:
    """A time of a query; None when it is empty."""
    if not text:
        return None
    text = text.strip()
    try:
        # a plus sign in a query is a space until it is escaped, and people forget that
        moment = datetime.fromisoformat(text.replace(" ", "+") if text.count(":") >= 3 else text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=BEIJING)).timestamp()
    except (ValueError, OverflowError):
        raise Problem(400, f"{name} is no time: {text}.", code="bad_query", hint="Write 2026-11-29T08:30:00+08:00.") from None


def row_number(after: str) -> int | None:
    """``next`` of a page as a row's number."""
    if not after:
        return None
    if not (after.isascii() and after.isdigit() and len(after) <= 18):
        raise Problem(400, "after is not the `next` of a page.", code="bad_query")
    return int(after)
