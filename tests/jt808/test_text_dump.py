"""Setting lists whose items have no content, for people: found by fuzzing, where the explanation read them otherwise than the decoder."""

from __future__ import annotations

import pytest

from relay.jt808.messages.text import SetEvents
from relay.wire import dump


@pytest.mark.parametrize(
    ("body", "values", "whole"),
    [
        ("04020708", ["4", "2", "7", "8"], True),
        ("e703000000", ["231", "3", "0", "0", "0"], True),
        ("0102070161080162", ["1", "2", "7", "a", "8", "b"], True),
        ("0102070161", ["1", "2", "7", "a", ""], False),
    ],
)
def test_what_is_shown_is_what_is_decoded(body: str, values: list[str], whole: bool) -> None:
    taken = dump(SetEvents, bytes.fromhex(body), 2013)
    assert [row.value for row in taken.rows if row.value or row.kind == "error"] == values
    assert (taken.error is None) is whole
    if whole:
        assert taken.record.fields() == SetEvents.decode(bytes.fromhex(body), 2013).fields()
