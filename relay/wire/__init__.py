"""The declaration engine: one class is a message's layout, and reading, writing, explaining, JSON and the reference page follow from it.

A declaration::

    from relay.wire import Message, Record, Registry, f, Bit, U8, U16, Str8, Counted8, Time6

    MESSAGES: Registry[Message] = Registry("JT/T 999")

    class Point(Record):                              # a group inside messages
        latitude: U32 = f("纬度", unit="°", scale=1e-6)
        longitude: U32 = f("经度", unit="°", scale=1e-6)

    @MESSAGES.message(0x9101, "实时音视频传输请求", "Real-time AV request", ref="…", reply=0x0001, direction="down")
    class RealtimeAvRequest(Message):
        server_ip: Str8 = f("服务器IP地址", "server address")
        tcp_port: U16 = f("服务器TCP端口号")
        data_type: U8 = f("数据类型", enum=AvDataType)
        night_speed: U16 | None = f("夜间最高速度", since=2019, when=Bit("attributes", 1), default=None)
        points: Counted8[Point] = f("拐点")

The constructor takes keywords only; type checkers see ``int``, ``str``, ``bytes``, ``list[Point]``.

What a class can do (all of ``Record``):

* ``decode(data, edition) -> Self`` raises ``DecodeError`` with ``RealtimeAvRequest.data_type``, the offset and the problem, nothing else.
  Bytes behind the known fields are in ``trailing``; the layout's edition in ``edition``.
* ``encode(edition=0) -> bytes`` gives back the very bytes that were read. ``FieldError`` (a ``UsageError``) names a value that does not fit.
* ``fields() -> dict`` and ``from_fields(dict, edition)``: JSON's types, absent fields left out; ``from_fields`` checks everything.
* ``relay.wire.dump(cls, data, edition) -> Dump``: rows for people, also for a message that is broken in the middle.
* ``layout(data, edition) -> edition``: the hook for peers that mix editions (``layout_for`` asks the same of JSON fields). ``ORDERS`` gives another
  order on the wire than that of the declarations. Anything odder is a ``Codec`` of one's own: ``read``, ``write``, ``to_fields``,
  ``from_fields``, ``describe`` and, if one row does not tell it, ``show``.

``relay.wire.reference.page`` writes a protocol's reference page from its declarations.

Types: ``U8 U16 U32 U64 I16 I32``; text ``Str8 Str16 Str32 StrRest`` and ``Annotated[str, Fixed(20, {2019: 30})]``; bytes ``Bytes8 … BytesRest``
and ``Annotated[bytes, Blob(4)]``; digits ``Annotated[str, Bcd(6)]``, ``Time6 Time2 Date4``; lists ``Counted8 Counted16 Counted32 UntilEnd`` and
``Annotated[list[U16], ListOf("B", {2019: "H"})]``; a length or count that stands in another field: ``Text(by="info_length")``,
``Bytes(by=…)``, ``ListOf(by="gnss_cnt")`` (written from the content, so the field itself need not be given); records by their class, with a length before
them ``Annotated[Location, Within("H")]``; id-length-value lists ``Annotated[list[Entry], Entries(FAMILY)]`` with ``Family("items", "B", "B")``.

Editions are years. ``since`` and ``until`` of a field, and the later widths of a type, choose the layout; plans are cached by (class,
edition). A field that an edition, a condition or a short body leaves out is ``None`` in the object, so its type says ``| None``.

Values stay what the wire says: integers unscaled, times and BCD as digit strings, text stripped of padding. A value whose bytes we
would have written otherwise remembers them (``RawText``, ``Announced``), so that reading and writing again gives the same message.
"""

from relay.wire.codecs import Bcd, Blob, Bytes, Codec, Fault, FieldError, Fixed, Int, Text
from relay.wire.dump import Dump, Row, dump
from relay.wire.groups import Announced, Entries, Entry, Family, ListOf, Nested, RawEntry, Within
from relay.wire.record import Bit, FieldInfo, Is, IsNot, Plan, Record, When, editions_of, f
from relay.wire.registry import Message, Registry
from relay.wire.text import RawText, read_padded, read_text, text_bytes
from relay.wire.types import (
    I16,
    I32,
    U8,
    U16,
    U32,
    U64,
    Bcd4,
    Bcd5,
    Bcd10,
    Bytes8,
    Bytes16,
    Bytes32,
    BytesRest,
    Counted8,
    Counted16,
    Counted32,
    Date4,
    Str8,
    Str16,
    Str32,
    StrRest,
    Time2,
    Time6,
    UntilEnd,
)

__all__ = [
    "I16",
    "I32",
    "U8",
    "U16",
    "U32",
    "U64",
    "Announced",
    "Bcd",
    "Bcd4",
    "Bcd5",
    "Bcd10",
    "Bit",
    "Blob",
    "Bytes",
    "Bytes8",
    "Bytes16",
    "Bytes32",
    "BytesRest",
    "Codec",
    "Counted8",
    "Counted16",
    "Counted32",
    "Date4",
    "Dump",
    "Entries",
    "Entry",
    "Family",
    "Fault",
    "FieldError",
    "FieldInfo",
    "Fixed",
    "Int",
    "Is",
    "IsNot",
    "ListOf",
    "Message",
    "Nested",
    "Plan",
    "RawEntry",
    "RawText",
    "Record",
    "Registry",
    "Row",
    "Str8",
    "Str16",
    "Str32",
    "StrRest",
    "Text",
    "Time2",
    "Time6",
    "UntilEnd",
    "When",
    "Within",
    "dump",
    "editions_of",
    "f",
    "read_padded",
    "read_text",
    "text_bytes",
]  # fmt: skip
