"""Every message in every edition: made-up values through bytes and through JSON, and bytes made up by the fuzzer."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from relay.errors import DecodeError, FrameError
from relay.jt808.header import decode_frame
from relay.jt808.items import ITEMS
from relay.jt808.messages import MESSAGES, decode_body, decode_message
from relay.jt808.params import PARAMETERS
from relay.jt808.safety import AlarmSign, SignCodec, Tire, WideAlarmSign, _TireList
from relay.wire import FieldError, RawEntry, Record, dump
from relay.wire.codecs import Bcd, Blob, Bytes, Codec, Fixed, Int, Text
from relay.wire.groups import Entries, ListOf, Nested, Within

EDITIONS = (2011, 2013, 2019)

#: no NUL and no space at the ends: those are padding
WORDS = st.text("Aa0 中粤;:", max_size=8).map(lambda text: text.strip(" "))


def values(codec: Codec, edition: int) -> st.SearchStrategy[Any]:
    """Values that a field of this kind can hold."""
    if isinstance(codec, Int):
        return st.sampled_from([codec.low, codec.high, 1]) | st.integers(codec.low, codec.high)
    if isinstance(codec, Bcd):
        return st.text("0123456789abcdef", min_size=2 * codec.size, max_size=2 * codec.size)
    if isinstance(codec, Blob):
        return st.binary(min_size=codec.size, max_size=codec.size)
    if isinstance(codec, Fixed):
        return WORDS.filter(lambda text: len(text.encode("gb18030")) <= codec.size)
    if isinstance(codec, Text):
        return WORDS
    if isinstance(codec, Bytes):
        return st.binary(max_size=2) | st.binary(max_size=12)
    if isinstance(codec, Entries):
        known = st.sampled_from(sorted(codec.family.classes)).flatmap(lambda id: records(codec.family.classes[id], edition))
        return st.lists(known | st.builds(RawEntry, st.integers(0xE1, 0xFF), st.binary(max_size=5)), max_size=4)
    if isinstance(codec, SignCodec):
        narrow = records(AlarmSign, edition).filter(lambda one: len(one.reserved or b"") == 1)  # type: ignore[attr-defined]
        wide = records(WideAlarmSign, edition).filter(lambda one: len(one.reserved or b"") <= 2)  # type: ignore[attr-defined]
        return narrow | wide
    if isinstance(codec, _TireList):
        return st.lists(records(Tire, edition), max_size=3)
    if isinstance(codec, ListOf):
        return st.lists(values(codec.element, edition), max_size=3)
    if isinstance(codec, (Nested, Within)):
        return records(codec.cls, edition)
    raise AssertionError(codec)


@st.composite
def records(draw: st.DrawFn, cls: type[Record], edition: int) -> Record:
    """A record with all its fields, as its conditions say."""
    record = cls.__new__(cls)
    record.edition, record.trailing = edition, b""
    for name in cls.wire_fields:
        setattr(record, name, None)
    missing = False
    for bound in cls.plan(edition).fields:
        if bound.info.optional and bound.when is None:
            missing = missing or draw(st.booleans())
        if missing and bound.info.optional:
            continue
        if bound.when is None or bound.when(record):
            value = draw(values(bound.codec, edition))
            # an empty rest that may be absent is absent
            setattr(record, bound.name, None if bound.info.optional and not bound.when and bound.codec.takes_rest and not value else value)
    return record


#: 0x1210 finds its widths by its whole length, which made-up values do not fit (test_safety)
CASES = [(cls, edition) for cls in MESSAGES for edition in EDITIONS if edition >= cls.SINCE and cls.KEY != 0x1210]

#: more in a long run: JT1078RELAY_EXAMPLES=1000
EXAMPLES = int(os.environ.get("JT1078RELAY_EXAMPLES", "10"))

QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _agrees(cls: Any, edition: int, record: Record) -> None:
    try:
        body = record.encode()
    except FieldError:
        # made-up entries may be longer than their length byte can say
        return
    if cls.layout(body, edition) != edition:
        # the values happen to look like another edition's layout
        return
    again = decode_body(cls.KEY, body, edition)
    assert again.encode() == body
    fields = json.loads(json.dumps(again.fields()))
    assert fields == again.fields()
    if not again.trailing and cls.KEY != 0x9208:
        assert again == record
        assert cls.from_fields(fields, edition).encode() == body
    assert b"".join(row.data for row in dump(cls, body, edition).rows) == body


@pytest.mark.parametrize("edition", EDITIONS)
def test_values_come_back_through_bytes_and_through_json(edition: int) -> None:
    for cls, its_edition in CASES:
        if its_edition == edition:
            _check(cls, edition)


def _check(cls: Any, edition: int) -> None:
    @QUICK
    @given(records(cls, edition))
    def check(record: Record) -> None:
        _agrees(cls, edition, record)

    check()


@pytest.mark.parametrize("family", [ITEMS, PARAMETERS], ids=lambda family: family.name)
def test_entries_come_back(family: Any) -> None:
    def check(entry: Any) -> None:
        out = bytearray()
        family.write(entry, out, 2013)
        again = family.decode(bytes(out), 2013)
        assert again.id == entry.id
        rewritten = bytearray()
        family.write(family.from_fields(json.loads(json.dumps(again.fields())), 2013), rewritten, 2013)
        assert rewritten == out

    for cls in family.classes.values():
        QUICK(given(records(cls, 2013))(check))()


def test_any_body_of_any_message_is_read_losslessly_or_refused() -> None:
    dice = random.Random(2019)
    seeds = [bytes(dice.randrange(256) for _ in range(dice.randrange(120))) for _ in range(8)]
    for cls, edition in CASES:
        for round in range(120):
            body = bytearray(dice.choice(seeds))
            for _ in range(dice.randrange(4)):
                if body:
                    body[dice.randrange(len(body))] = dice.choice((0, 1, 2, 0x7F, 0xFF, dice.randrange(256)))
            data = bytes(body[: dice.randrange(len(body) + 1)]) if round % 3 == 0 else bytes(body)
            try:
                message = decode_body(cls.KEY, data, edition)
            except DecodeError as problem:
                if not 0 <= problem.offset <= len(data):
                    pytest.fail(f"{problem} lies outside of {len(data)} bytes")
            else:
                assert message.encode() == data, (cls, edition, data.hex())
                json.dumps(message.fields())
            taken = dump(cls, data, edition)
            assert b"".join(row.data for row in taken.rows) == data, (cls, edition, data.hex())


def test_any_piece_is_a_frame_or_a_frame_error() -> None:
    dice = random.Random(7)
    for _ in range(3000):
        piece = bytes(dice.choice((0x02, 0x00, 0x40, 0x20, 0x7D, 0x01, dice.randrange(256))) for _ in range(dice.randrange(1, 40)))
        try:
            header, body = decode_frame(piece)
        except FrameError:
            continue
        try:
            decode_message(header, body)
        except DecodeError:
            continue
