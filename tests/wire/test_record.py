"""The declaration engine, with a protocol made up for it."""

from __future__ import annotations

import enum
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import DecodeError, UsageError
from relay.wire import (
    U8,
    U16,
    U32,
    Announced,
    Bcd,
    Bit,
    Blob,
    Bytes,
    Bytes16,
    BytesRest,
    Counted8,
    Counted16,
    Entries,
    Entry,
    Family,
    FieldError,
    Fixed,
    Int,
    Is,
    IsNot,
    ListOf,
    Message,
    RawEntry,
    RawText,
    Record,
    Registry,
    Str8,
    StrRest,
    Text,
    Time6,
    UntilEnd,
    Within,
    dump,
    editions_of,
    f,
    text_bytes,
)


class Kind(enum.IntEnum):
    FIRST_KIND = 1
    SECOND = 2


class Point(Record):
    latitude: U32 = f("纬度", unit="°", scale=1e-6)
    longitude: U32 = f("经度", unit="°", scale=1e-6)


THINGS = Family("things", "B", "B")


@THINGS.entry(1, "一", "one")
class One(Entry):
    value: U16 = f("值")


@THINGS.entry(2, "二", "two", name="second")
class Two(Entry):
    first: U8 = f()
    second: U8 | None = f(optional=True, default=None)


@THINGS.entry(3, "三", "three")
class Three(Entry):
    TAIL: ClassVar[bool] = True

    first: U8 = f()


MESSAGES: Registry[Message] = Registry("test")


@MESSAGES.message(0x10, "样本", "Sample", ref="clause 1", reply=0x11, direction="up", note="an example")
class Sample(Message):
    """Everything in one."""

    DEFAULT_EDITION: ClassVar[int] = 2013

    number: U16 = f("数", "number", unit="km/h", scale=0.1)
    kind: U8 = f("类", enum=Kind, default=1)
    flags: U8 = f("旗", bits={0: "zero", 1: ("down", "up"), (2, 3): {1: "one", 2: "two"}, (4, 5): "count"}, default=0)
    model: Annotated[str, Fixed(4, {2019: 8})] = f("型号", default="")
    digits: Time6 = f("时间", default="000000000000")
    extra: U16 | None = f("附加", when=Bit("flags", 0), default=None)
    new: U8 | None = f("新", since=2019, default=None)
    old: U8 | None = f("旧", until=2011, default=None)
    name: Str8 = f("名", default="")
    points: Counted8[Point] = f("点", default_factory=list)
    ids: Annotated[list[U16], ListOf("B", {2019: "H"})] = f("号", default_factory=list)
    tail: U8 | None = f("尾", optional=True, default=None)
    secret: Str8 | None = f("密", optional=True, default=None, secret=True)


def sample(**values: object) -> Sample:
    return Sample(**{"number": 600, **values})  # type: ignore[arg-type]


BODY_2013 = bytes.fromhex("0258 02 03 41420000 261120153045 0007 02d6d0 01 0000000100000002 02 0001 0002".replace(" ", ""))


def full_2013() -> Sample:
    return sample(
        kind=2, flags=3, model="AB", digits="261120153045", extra=7, name="中", points=[Point(latitude=1, longitude=2)], ids=[1, 2]
    )


def test_bytes_to_fields_and_back() -> None:
    message = Sample.decode(BODY_2013)
    assert message == full_2013()
    assert (message.edition, message.trailing, message.tail) == (2013, b"", None)
    assert message.encode() == BODY_2013
    assert full_2013().encode() == BODY_2013


def test_fields_are_jsons_types_and_leave_absent_ones_out() -> None:
    fields = Sample.decode(BODY_2013).fields()
    assert fields == {
        "number": 600,
        "kind": 2,
        "flags": 3,
        "model": "AB",
        "digits": "261120153045",
        "extra": 7,
        "name": "中",
        "points": [{"latitude": 1, "longitude": 2}],
        "ids": [1, 2],
    }
    assert Sample.from_fields(fields).encode() == BODY_2013


def test_editions_have_their_own_fields_and_widths() -> None:
    assert editions_of(Sample) == [0, 2012, 2019]
    bare = sample(model="ABCDEF", new=9)
    assert bare.encode(2019) == bytes.fromhex("0258 01 00 4142434445460000 000000000000 09 00 00 0000".replace(" ", ""))
    again = Sample.decode(bare.encode(2019), 2019)
    assert (again.new, again.old, again.model) == (9, None, "ABCDEF")
    old = sample(old=5).encode(2011)
    assert Sample.decode(old, 2011).old == 5
    assert Sample.decode(old, 2011).new is None
    with pytest.raises(FieldError, match=r"Sample\.model: 'ABCDEF' needs 6 bytes, the field has 4"):
        bare.encode(2013)
    with pytest.raises(FieldError, match=r"Sample\.new: must be given"):
        sample().encode(2019)


def test_optional_fields_at_the_end() -> None:
    body = BODY_2013 + b"\x05"
    message = Sample.decode(body)
    assert (message.tail, message.secret) == (5, None)
    assert message.encode() == body
    assert Sample.decode(body + b"\x01x").secret == "x"
    with pytest.raises(FieldError, match=r"Sample\.secret: cannot be given without tail"):
        sample(secret="x").encode()


def test_bytes_behind_the_last_field_are_kept() -> None:
    body = BODY_2013 + b"\x05\x01x" + b"more"
    message = Sample.decode(body)
    assert message.trailing == b"more"
    assert message.encode() == body
    assert "trailing" not in message.fields()


@pytest.mark.parametrize("cut", range(len(BODY_2013)))
def test_a_cut_message_names_the_field_and_the_offset(cut: int) -> None:
    with pytest.raises(DecodeError) as caught:
        Sample.decode(BODY_2013[:cut])
    assert caught.value.where.startswith("Sample.")
    assert caught.value.offset <= cut
    assert str(caught.value).startswith(f"{caught.value.where} at offset {caught.value.offset}: needs ")


def test_the_words_of_an_error() -> None:
    with pytest.raises(DecodeError, match=r"^Sample\.kind at offset 2: needs 1 byte, 0 left$"):
        Sample.decode(BODY_2013[:2])
    with pytest.raises(DecodeError, match=r"^Sample\.points\[0\]\.longitude at offset 24: needs 4 bytes, 2 left$"):
        Sample.decode(BODY_2013[:26])
    with pytest.raises(DecodeError, match=r"^Sample\.ids\[1\] at offset 31: needs 2 bytes, 1 left$"):
        Sample.decode(BODY_2013[:-1])


def test_a_broken_message_is_explained_as_far_as_it_goes() -> None:
    taken = dump(Sample, BODY_2013[:26])
    assert taken.error is not None
    assert taken.error.where == "Sample.points[0].longitude"
    assert [row.name for row in taken.rows][-3:] == ["points[0]", "points[0].latitude", "points[0].longitude"]
    assert (taken.rows[-1].kind, taken.rows[-1].data, taken.rows[-1].offset) == ("error", b"\0\0", 24)
    assert taken.record.fields()["name"] == "中"


@pytest.mark.parametrize("cut", range(len(BODY_2013) + 1))
def test_rows_and_rest_cover_every_byte_once(cut: int) -> None:
    taken = dump(Sample, BODY_2013[:cut] + b"")
    at = 0
    for row in taken.rows:
        assert row.offset == at
        at += len(row.data)
    assert at == cut
    assert (taken.error is None) == (cut == len(BODY_2013))


def test_rows_say_what_values_mean() -> None:
    rows = {row.name: row for row in dump(Sample, bytes.fromhex("0258 02 2f 41420000 261120153045 0007 00 00 00".replace(" ", ""))).rows}
    assert (rows["number"].value, rows["number"].meaning) == ("600", "60.0 km/h")
    assert rows["kind"].meaning == "second"
    assert rows["flags"].meaning == "zero, up, count: 2"
    assert rows["digits"].meaning == "2026-11-20 15:30:45 GMT+8"
    assert (rows["model"].label, rows["model"].english, rows["model"].type) == ("型号", "model", "STRING[4]")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"number": 65536}, r"Sample\.number: 65536 does not fit into WORD"),
        ({"number": -1}, r"Sample\.number: -1 does not fit"),
        ({"number": "1"}, r"Sample\.number: '1' does not fit"),
        ({"digits": "2611201530"}, r"Sample\.digits: '2611201530' must have 12 digits"),
        ({"digits": "26112015304x"}, r"Sample\.digits: .* is not a string of digits"),
        ({"name": "x" * 256}, r"Sample\.name: 256 bytes are more than the length field can say \(255\)"),
        ({"extra": 7}, r"Sample\.extra: can be given only when flags bit 0 = 1"),
        ({"flags": 1}, r"Sample\.extra: must be given when flags bit 0 = 1"),
        ({"ids": [1] * 256}, r"Sample\.ids: 256 items are more than the count can say"),
        ({"ids": [1, 65536]}, r"Sample\.ids\[1\]: 65536 does not fit into WORD"),
        ({"points": [7]}, r"Sample\.points\[0\]: must be a Point, not 7"),
        ({"name": "\ud800"}, r"Sample\.name: .* is not text that GBK can carry"),
    ],
)
def test_a_value_that_does_not_fit_is_named(values: dict[str, object], problem: str) -> None:
    with pytest.raises(FieldError, match=problem) as caught:
        sample(**values).encode()
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ([], "must be an object"),
        ({}, "number: is missing"),
        ({"number": "600"}, "number: must be a whole number"),
        ({"number": True}, "number: must be a whole number"),
        ({"number": 70000}, "number: 70000 is outside 0..65535"),
        ({"number": 1, "nothing": 2}, "nothing: Sample has no such field"),
        ({"number": 1, "new": 2}, "new: does not exist in edition 2013"),
        ({"number": 1, "points": 7}, "points: must be a list"),
        ({"number": 1, "points": [{"latitude": 1}]}, r"points\[0\]\.longitude: is missing"),
        ({"number": 1, "model": 5}, "model: must be text"),
        ({"number": 1, "digits": 5}, "digits: 5 is not a string of digits"),
        ({"number": 1, "name": None, "ids": [None]}, r"ids\[0\]: must be a whole number"),
    ],
)
def test_fields_from_people_are_checked(fields: object, problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        Sample.from_fields(fields)  # type: ignore[arg-type]


def test_the_constructor_takes_known_names_only() -> None:
    with pytest.raises(TypeError, match="Sample needs number"):
        Sample()
    with pytest.raises(TypeError, match="Sample has no nothing"):
        sample(nothing=1)


def test_repr_keeps_secrets() -> None:
    assert "hush" not in repr(sample(tail=1, secret="hush"))
    assert "secret=***" in repr(sample(tail=1, secret="hush"))
    assert repr(Point(latitude=1, longitude=2)) == "Point(latitude=1, longitude=2)"


def test_the_register_knows_its_classes() -> None:
    assert MESSAGES.get(0x10) is Sample
    assert MESSAGES.get(0x11) is None
    assert 0x10 in MESSAGES
    assert (Sample.KEY, Sample.LABEL, Sample.ENGLISH, Sample.REPLY, Sample.DIRECTION) == (0x10, "样本", "Sample", (0x11,), "up")
    assert next(iter(MESSAGES)) is Sample
    with pytest.raises(TypeError, match="declared twice"):
        MESSAGES.message(0x10, "again")(Sample)


class Sized(Message):
    """Lengths that stand apart from what they measure, as in JT/T 809."""

    text_length: U32 = f(default=0)
    blob_length: U8 = f(default=0)
    count: U8 = f(default=0)
    text: Annotated[str, Text(by="text_length")] = f()
    blob: Annotated[bytes, Bytes(by="blob_length")] = f()
    points: Annotated[list[Point], ListOf(by="count")] = f(default_factory=list)


def test_lengths_in_other_fields_are_read_and_measured() -> None:
    message = Sized(text="中x", blob=b"\x01\x02", points=[Point(latitude=1, longitude=2)])
    body = bytes.fromhex("00000003 02 01 d6d078 0102 0000000100000002".replace(" ", ""))
    assert message.encode() == body
    assert Sized.decode(body) == message
    assert Sized.from_fields({"text": "中x", "blob": "0102", "points": [{"latitude": 1, "longitude": 2}]}).encode() == body
    for cut in range(len(body)):
        with pytest.raises(DecodeError):
            Sized.decode(body[:cut])


class Inner(Record):
    first: U8 = f()
    rest: UntilEnd[Point] = f(default_factory=list)


class Outer(Message):
    inner: Annotated[Inner, Within("H")] = f()
    raw: Annotated[bytes, Blob(2)] = f()
    long: Bytes16 = f(default=b"")
    wide: Counted16[U32] = f(default_factory=list)
    rest: BytesRest = f(default=b"")


def test_a_nested_record_with_a_length_of_its_own_keeps_its_rest() -> None:
    body = bytes.fromhex("000b 05 0000000100000002 aabb 1122 0001 33 0001 00000007 eeff".replace(" ", ""))
    with pytest.raises(DecodeError, match=r"Outer\.inner\.rest\[1\]\.latitude"):
        Outer.decode(body)
    body = bytes.fromhex("0009 05 0000000100000002 1122 0001 33 0001 00000007 eeff".replace(" ", ""))
    message = Outer.decode(body)
    assert (message.inner.rest, message.raw, message.long, message.wide, message.rest) == (
        [Point(latitude=1, longitude=2)],
        b"\x11\x22",
        b"\x33",
        [7],
        b"\xee\xff",
    )
    assert message.encode() == body
    assert message.fields() == {
        "inner": {"first": 5, "rest": [{"latitude": 1, "longitude": 2}]},
        "raw": "1122",
        "long": "33",
        "wide": [7],
        "rest": "eeff",
    }
    assert Outer.from_fields(message.fields()).encode() == body


class Choice(Message):
    """Conditions at the end of a body."""

    result: U8 = f()
    code: StrRest | None = f(when=Is("result", 0), optional=True, default=None)


class Tracking(Message):
    interval: U8 = f()
    duration: U8 | None = f(when=IsNot("interval", 0), default=None)


def test_a_condition_at_the_end_yields_to_bytes_that_are_there() -> None:
    assert Choice.decode(b"\x00").code == ""
    assert Choice.decode(b"\x01").code is None
    assert Choice.decode(b"\x01abc").code == "abc"
    assert Choice.decode(b"\x01abc").encode() == b"\x01abc"
    assert Choice(result=1).encode() == b"\x01"


def test_a_strict_condition_decides_alone() -> None:
    assert Tracking.decode(b"\x00\x05").duration is None
    assert Tracking.decode(b"\x00\x05").trailing == b"\x05"
    assert Tracking.decode(b"\x01\x05").duration == 5
    with pytest.raises(DecodeError):
        Tracking.decode(b"\x01")


class Reordered(Point):
    ORDERS: ClassVar[dict[int, tuple[str, ...]]] = {0: ("number", "latitude", "longitude"), 2011: ("longitude", "number")}

    number: U8 = f()


def test_an_order_of_its_own() -> None:
    body = bytes.fromhex("05 00000001 00000002".replace(" ", ""))
    assert Reordered.decode(body, 2019) == Reordered(number=5, latitude=1, longitude=2)
    assert Reordered.decode(bytes.fromhex("0000000205"), 2011) == Reordered(number=5, latitude=None, longitude=2)  # type: ignore[arg-type]


class Things(Message):
    before: U8 = f(default=0)
    things: Annotated[list[Entry], Entries(THINGS)] = f(default_factory=list)


class CountedThings(Message):
    things: Annotated[list[Entry], Entries(THINGS, "B")] = f(default_factory=list)


def test_known_unknown_and_wrongly_sized_entries() -> None:
    body = bytes.fromhex("00 01020007 0203010203 020105 02020506 030111 0302 1122 ff00".replace(" ", ""))
    message = Things.decode(body)
    assert message.things == [
        One(value=7),
        RawEntry(2, b"\x01\x02\x03"),
        Two(first=5),
        Two(first=5, second=6),
        Three(first=0x11),
        Three(first=0x11, trailing=b"\x22"),
        RawEntry(0xFF, b""),
    ]
    assert message.encode() == body
    assert message.fields()["things"][:3] == [{"id": 1, "value": 7}, {"id": 2, "raw": "010203"}, {"id": 2, "first": 5}]
    assert [entry.id for entry in message.things] == [1, 2, 2, 2, 3, 3, 255]


def test_an_entry_that_overruns_stays_behind_and_the_others_are_kept() -> None:
    message = Things.decode(bytes.fromhex("00 01020007 0205 01".replace(" ", "")))
    assert message.things == [One(value=7)]
    assert message.trailing == bytes.fromhex("020501")
    assert message.encode() == bytes.fromhex("0001020007020501")
    stray = Things.decode(bytes.fromhex("000102000799"))
    assert (stray.things, stray.trailing) == ([One(value=7)], b"\x99")


def test_counts_of_entries_are_not_trusted_but_given_back() -> None:
    few = CountedThings.decode(bytes.fromhex("05 01020007".replace(" ", "")))
    assert few.things == [One(value=7)]
    assert isinstance(few.things, Announced)
    assert few.encode() == bytes.fromhex("0501020007")
    more = CountedThings.decode(bytes.fromhex("01 01020007 01020008".replace(" ", "")))
    assert more.things == [One(value=7), One(value=8)]
    assert more.encode() == bytes.fromhex("010102000701020008")
    behind = CountedThings.decode(bytes.fromhex("01 01020007 01020008 ee".replace(" ", "")))
    assert (behind.things, behind.trailing) == ([One(value=7)], bytes.fromhex("01020008ee"))
    right = CountedThings.decode(bytes.fromhex("0101020007"))
    assert not isinstance(right.things, Announced)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": 1, "value": 7}, "01020007"),
        ({"id": "0x01", "value": 7}, "01020007"),
        ({"id": "second", "first": 5}, "020105"),
        ({"name": "second", "first": 5}, "020105"),
        ({"id": 1, "raw": "ff"}, "0101ff"),
        ({"id": 200, "raw": ""}, "c800"),
    ],
)
def test_entries_from_fields(fields: dict[str, object], expected: str) -> None:
    out = bytearray()
    THINGS.write(THINGS.from_fields(fields, 2013), out, 2013)
    assert out.hex() == expected


@pytest.mark.parametrize("fields", [7, {}, {"id": 300, "raw": ""}, {"id": "x"}, {"id": 1}, {"id": 9}, {"id": True}, {"id": 1, "raw": 5}])
def test_wrong_entries_are_field_errors(fields: object) -> None:
    with pytest.raises(FieldError):
        THINGS.from_fields(fields, 2013)


@pytest.mark.parametrize(
    ("raw", "text", "remembers"),
    [
        (b"AB\0\0", "AB", False),
        (b"\0\0AB", "AB", True),
        (b"AB  ", "AB", True),
        (b"A\0B\0", "A\0B", False),
        (b"\0\0\0\0", "", False),
        (b"\xd6\xd0\0\0", "中", False),
        (b"\xff\xfe\0\0", "��", True),
        (b"\xd6\xd0\xd6\0", "中�", True),
    ],
)
def test_fixed_text_is_stripped_and_still_lossless(raw: bytes, text: str, remembers: bool) -> None:
    class_value = Sample.decode(BODY_2013[:4] + raw + BODY_2013[8:])
    assert class_value.model == text
    assert isinstance(class_value.model, RawText) == remembers
    assert class_value.encode() == BODY_2013[:4] + raw + BODY_2013[8:]
    assert type(class_value.fields()["model"]) is str


def test_secrets_compare_by_their_bytes() -> None:
    code = Choice.decode(b"\x00abc\0").code
    assert code == "abc"
    assert text_bytes(code) == b"abc\0"
    assert text_bytes("中") == b"\xd6\xd0"


@given(st.binary(max_size=20))
def test_any_text_comes_back(raw: bytes) -> None:
    body = b"\0" + raw
    assert Choice.decode(body).encode() == body


@given(st.binary(max_size=60), st.sampled_from((2011, 2013, 2019)))
def test_any_bytes_decode_to_what_encodes_the_same_or_are_refused(data: bytes, edition: int) -> None:
    for cls in (Sample, Sized, Outer, Choice, Tracking, Things, CountedThings):
        try:
            message = cls.decode(data, edition)
        except DecodeError:
            continue
        assert message.encode() == data
        dump(cls, data, edition)


def test_bcd_takes_letters_in_either_case() -> None:
    out = bytearray()
    Bcd(2).write("aB01", out, sample())
    assert out == b"\xab\x01"


def test_integers_know_their_range() -> None:
    assert (Int("b").low, Int("b").high, Int("Q").high) == (-128, 127, 2**64 - 1)
