"""Codecs that hold other fields: nested records, lists, and id-length-value items."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from relay.wire.codecs import Codec, Fault, FieldError, Int, _by_edition, from_hex, short
from relay.wire.record import Record, Step, codec_of

if TYPE_CHECKING:
    from relay.wire.dump import Walk
    from relay.wire.record import FieldInfo

E = TypeVar("E", bound="Entry")


class Announced(list[Any]):
    """A list whose count on the wire was another than its length: ``announced`` is written again."""

    announced: int

    @classmethod
    def of(cls, items: list[Any], announced: int) -> list[Any]:
        """``items`` themselves when the count was right."""
        if len(items) == announced:
            return items
        self = cls(items)
        self.announced = announced
        return self


class Nested(Codec):
    """A record inside a record."""

    takes_rest = True

    def __init__(self, cls: type[Record]) -> None:
        self.cls = cls

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        edition = record.edition
        inner = self.cls.__new__(self.cls)
        inner.edition = edition
        inner.trailing = b""
        return inner, self.cls.plan(edition).fill(inner, data, pos, end)

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        if not isinstance(value, self.cls):
            raise FieldError("", f"must be a {self.cls.__name__}, not {value!r}")
        value.edition = record.edition
        value.plan(record.edition).pack(value, out)
        out += value.trailing

    def to_fields(self, value: Any) -> Any:
        return value.fields()

    def to_exact(self, value: Any) -> Any:
        return value.exact_fields()

    def from_fields(self, value: Any, edition: int) -> Any:
        return self.cls.from_fields(value, edition)

    def describe(self) -> str:
        return self.cls.__name__

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        walk.heading(pos, b"", path, info, self)
        with walk.deeper():
            inner = self.cls.__new__(self.cls)
            inner.edition = record.edition
            inner.trailing = b""
            return inner, walk.fields(inner, data, pos, end, path)


class Within(Nested):
    """A nested record with a length of its own before it: ``Annotated[Location, Within("H")]``; bytes that it leaves are its ``trailing``."""

    takes_rest = False

    def __init__(self, prefix: str, cls: type[Record] = Record) -> None:
        super().__init__(cls)
        self.prefix = prefix
        self._prefix = struct.Struct(">" + prefix)

    def bind(self, inner: Any, edition: int) -> Codec:
        return type(self)(self.prefix, inner)

    def extent(self, data: bytes, pos: int, end: int) -> tuple[int, int]:
        """Where the record begins and ends."""
        start = pos + self._prefix.size
        if start > end:
            raise short(pos, self._prefix.size, end)
        (size,) = self._prefix.unpack_from(data, pos)
        if start + size > end:
            raise short(start, size, end)
        return start, start + size

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        start, stop = self.extent(data, pos, end)
        inner, pos = super().read(data, start, stop, record)
        if pos < stop:
            inner.trailing = data[pos:stop]
        return inner, stop

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        content = bytearray()
        super().write(value, content, record)
        if len(content) >= 1 << 8 * self._prefix.size:
            raise FieldError("", f"{len(content)} bytes are more than the length field can say")
        out += self._prefix.pack(len(content)) + content

    def describe(self) -> str:
        return f"{Int._NAMES[self.prefix]} n + {self.cls.__name__}[n]"

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        start, stop = self.extent(data, pos, end)
        walk.heading(pos, data[pos:start], path, info, self, f"{stop - start} bytes")
        with walk.deeper():
            inner = self.cls.__new__(self.cls)
            inner.edition = record.edition
            inner.trailing = b""
            pos = walk.fields(inner, data, start, stop, path)
        walk.rest(pos, data[pos:stop], path)
        return inner, stop


class ListOf(Codec):
    """A list with its count before it, with the count in another field (``by``), or to the end.

    :param prefix: struct letter of the count; ``later`` gives that of later editions: ``ListOf("B", {2019: "H"})``
    :param rest: read to the end whatever the count says (it may count what other packages hold)
    """

    def __init__(self, prefix: str = "", later: Mapping[int, str] | None = None, by: str = "", rest: bool = False) -> None:
        self.prefix = prefix
        self.later = later
        self.sized_by = by
        self.rest = rest
        self.takes_rest = not (prefix or by)
        self._prefix = struct.Struct(">" + prefix) if prefix else None
        self.element: Codec

    def at(self, edition: int) -> Codec:
        return ListOf(_by_edition(self.prefix, self.later, edition), None, self.sized_by, self.rest)

    def bind(self, inner: Any, edition: int) -> Codec:
        self.element = codec_of(get_args(inner)[0], edition)
        return self

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        count, pos = self.count(data, pos, end, record)
        element = self.element
        wanted = count if not (self.rest or self.takes_rest) else None
        items: list[Any] = []
        if isinstance(element, Int):
            width = element.width or 1
            wanted = (end - pos) // width if wanted is None else wanted
            if pos + wanted * width > end:
                at = (end - pos) // width
                raise short(pos + at * width, width, end).under(f"[{at}]")
            items = list(struct.unpack_from(f">{wanted}{element.format}", data, pos))
            pos += wanted * width
        else:
            try:
                while (pos < end) if wanted is None else (len(items) < wanted):
                    item, stop = element.read(data, pos, end, record)
                    if stop == pos:
                        raise Fault(pos, "an element of no bytes")
                    items.append(item)
                    pos = stop
            except Fault as fault:
                if not self.rest:
                    raise fault.under(f"[{len(items)}]") from None
        return (items if self.takes_rest or self.sized_by else Announced.of(items, count)), pos

    def count(self, data: bytes, pos: int, end: int, record: Record) -> tuple[int, int]:
        """The announced count (0 if there is none) and where the first element stands."""
        if self._prefix is None:
            return (getattr(record, self.sized_by) if self.sized_by else 0), pos
        if pos + self._prefix.size > end:
            raise short(pos, self._prefix.size, end)
        return self._prefix.unpack_from(data, pos)[0], pos + self._prefix.size

    def write_count(self, value: Any, out: bytearray) -> None:
        """Append the count: the announced one if the list remembers it."""
        if self._prefix is not None:
            count = value.announced if isinstance(value, Announced) else len(value)
            if count >= 1 << 8 * self._prefix.size:
                raise FieldError("", f"{count} items are more than the count can say")
            out += self._prefix.pack(count)

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        self.write_count(value, out)
        for place, item in enumerate(value):
            try:
                self.element.write(item, out, record)
            except FieldError as problem:
                raise problem.under(f"[{place}]") from None

    def to_fields(self, value: Any) -> Any:
        return [self.element.to_fields(item) for item in value]

    def to_exact(self, value: Any) -> Any:
        return [self.element.to_exact(item) for item in value]

    def memory(self, value: Any) -> Mapping[str, Any]:
        return {"count": value.announced} if isinstance(value, Announced) else {}

    def recall(self, given: Any, memory: Mapping[str, Any], edition: int) -> Any:
        value = self.from_fields(given, edition)
        count = memory.get("count", len(value))
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise FieldError("count", f"must be a whole number, not {count!r}")
        return Announced.of(value, count)

    def from_fields(self, value: Any, edition: int) -> Any:
        return self.items_from_fields(value, lambda item: self.element.from_fields(item, edition))

    @staticmethod
    def items_from_fields(value: Any, convert: Callable[[Any], Any]) -> list[Any]:
        """Convert each element; faults carry its place."""
        if not isinstance(value, (list, tuple)):
            raise FieldError("", f"must be a list, not {value!r}")
        items = []
        for place, item in enumerate(value):
            try:
                items.append(convert(item))
            except FieldError as problem:
                raise problem.under(f"[{place}]") from None
        return items

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        count, start = self.count(data, pos, end, record)
        walk.heading(pos, data[pos:start], path, info, self, str(count) if self.prefix else "")
        items: list[Any] = []
        pos = start
        with walk.deeper():
            wanted = None if self.rest or self.takes_rest else count
            while (pos < end) if wanted is None else (len(items) < wanted):
                shown = len(walk.rows)
                try:
                    item, stop = self.element.show(walk, info, f"{path}[{len(items)}]", data, pos, end, record)
                    if stop == pos:
                        raise Fault(pos, "an element of no bytes")
                except Fault as fault:
                    if not self.rest:
                        raise fault.under(f"[{len(items)}]") from None
                    del walk.rows[shown:]
                    walk.failed = None
                    break
                items.append(item)
                pos = stop
        return (items if self.takes_rest or self.sized_by else Announced.of(items, count)), pos

    def describe(self) -> str:
        what = self.element.describe()
        if self.prefix:
            return f"{Int._NAMES[self.prefix]} n + n × {what}" + (" (read to the end)" if self.rest else "")
        return f"{self.sized_by} × {what}" if self.sized_by else f"{what}, until end"


class Entry(Record):
    """One id-length-value entry (位置附加信息项, 参数项 …). Known ids are subclasses with ``ID``; ``RawEntry`` is for all others."""

    ID: ClassVar[int] = -1
    LABEL: ClassVar[str] = ""
    ENGLISH: ClassVar[str] = ""
    NAME: ClassVar[str] = ""
    SINCE: ClassVar[int] = 0
    NOTE: ClassVar[str] = ""
    #: bytes behind the layout are kept in ``trailing``; otherwise they make the entry raw
    TAIL: ClassVar[bool] = False

    @property
    def id(self) -> int:
        """The id on the wire."""
        return self.ID

    def fields(self) -> dict[str, Any]:
        return {"id": self.id, **super().fields()}

    def exact_fields(self) -> dict[str, Any]:
        return {"id": self.id, **super().exact_fields()}

    @classmethod
    def read_value(cls, data: bytes, pos: int, end: int, edition: int) -> Entry | None:
        """The entry if its layout fits these bytes exactly, else None (it is then kept raw)."""
        entry = cls.__new__(cls)
        entry.edition = edition
        entry.trailing = b""
        try:
            pos = cls.plan(edition).fill(entry, data, pos, end)
        except Fault:
            return None
        if pos == end:
            return entry
        if cls.TAIL:
            entry.trailing = data[pos:end]
            return entry
        return None

    def value_bytes(self, edition: int) -> bytes:
        """The value on the wire, without id and length."""
        out = bytearray()
        self.edition = edition
        self.plan(edition).pack(self, out)
        return bytes(out + self.trailing)


class RawEntry(Entry):
    """An entry whose id is not known, or whose length is not one its layout allows."""

    __slots__ = ("_id", "raw")

    def __init__(self, id: int, raw: bytes) -> None:
        self.edition = 0
        self.trailing = b""
        self._id = id
        self.raw = raw

    @property
    def id(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawEntry) and (self._id, self.raw) == (other._id, other.raw)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"RawEntry(0x{self._id:02X}, {self.raw.hex()})"

    def fields(self) -> dict[str, Any]:
        return {"id": self._id, "raw": self.raw.hex()}

    exact_fields = fields

    def value_bytes(self, edition: int) -> bytes:
        return self.raw


class Family:
    """The entries of one kind of list, by id: ``ITEMS = Family("items", "B", "B")`` says how id and length stand on the wire."""

    def __init__(self, name: str, id_format: str, length_format: str) -> None:
        self.name = name
        self.head = struct.Struct(">" + id_format + length_format)
        self.id_format = id_format
        self.length_format = length_format
        self.classes: dict[int, type[Entry]] = {}
        self.names: dict[str, type[Entry]] = {}
        self._fast: dict[int, dict[int, tuple[type[Entry], int, Step]]] = {}

    def entry(
        self, id: int, label: str, english: str = "", *, name: str = "", since: int = 0, note: str = ""
    ) -> Callable[[type[E]], type[E]]:
        """Decorator: the class is the entry with this id."""

        def register(cls: type[E]) -> type[E]:
            if id in self.classes:
                raise TypeError(f"{self.name}: 0x{id:X} is declared twice")
            cls.ID, cls.LABEL, cls.ENGLISH, cls.SINCE, cls.NOTE = id, label, english, since, note
            cls.NAME = name or english.lower().replace(" ", "_")
            self.classes[id] = self.names[cls.NAME] = cls
            self._fast.clear()
            return cls

        return register

    def fast(self, edition: int) -> dict[int, tuple[type[Entry], int, Step]]:
        """The entries that are one struct: id -> (class, width, step). A location has several of them, so they get a short way."""
        known = self._fast.get(edition)
        if known is None:
            known = self._fast[edition] = {}
            for id, cls in self.classes.items():
                plan = cls.plan(edition)
                plain = cls.read_value.__func__ is Entry.read_value.__func__  # type: ignore[attr-defined]
                if plan.width is not None and len(plan.steps) == 1 and not plan.absent and not cls.TAIL and plain:
                    known[id] = (cls, plan.width, plan.steps[0])
        return known

    def read(self, id: int, data: bytes, pos: int, end: int, edition: int) -> Entry:
        """The entry with this value, raw if need be."""
        cls = self.classes.get(id)
        if cls is not None:
            entry = cls.read_value(data, pos, end, edition)
            if entry is not None:
                return entry
        return RawEntry(id, data[pos:end])

    def decode(self, data: bytes, edition: int) -> Entry:
        """One whole entry (id, length, value); ``Fault`` if it is cut or bytes are left over."""
        if len(data) < self.head.size:
            raise short(0, self.head.size, len(data))
        id, size = self.head.unpack_from(data)
        if self.head.size + size != len(data):
            raise Fault(self.head.size, f"the length says {size} bytes, {len(data) - self.head.size} are there")
        return self.read(id, data, self.head.size, len(data), edition)

    def write(self, entry: Entry, out: bytearray, edition: int) -> None:
        """Append id, length and value."""
        if not isinstance(entry, Entry):
            raise FieldError("", f"must be an entry of {self.name}, not {entry!r}")
        try:
            value = entry.value_bytes(edition)
        except FieldError as problem:
            raise problem.under(f"0x{entry.id:02X}") from None
        try:
            out += self.head.pack(entry.id, len(value)) + value
        except struct.error as problem:
            raise FieldError("", f"id {entry.id} with {len(value)} bytes does not fit") from problem

    def from_fields(self, fields: Any, edition: int) -> Entry:
        """The entry with these fields: ``id`` (number, "0x…" or the entry's name) and either ``raw`` or the named ones."""
        if not isinstance(fields, Mapping):
            raise FieldError("", f"must be an object with an id, not {fields!r}")
        rest = dict(fields)
        id = rest.pop("id", None)
        if id is None and "name" in rest and isinstance(rest["name"], str) and rest["name"] in self.names:
            id = self.names[rest.pop("name")].ID
        if isinstance(id, str):
            try:
                id = self.names[id].ID if id in self.names else int(id, 0)
            except ValueError:
                raise FieldError("id", f"{id!r} is neither a number nor a name") from None
        if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < 1 << 8 * struct.calcsize(self.id_format):
            raise FieldError("id", f"{id!r} is no id")
        if "raw" in rest:
            return RawEntry(id, from_hex(rest["raw"]))
        cls = self.classes.get(id)
        if cls is None:
            raise FieldError("id", f"0x{id:02X} is not known: give its bytes as raw")
        return cls.from_fields(rest, edition)


class Entries(ListOf):
    """A list of a family's entries.

    Strictly by their lengths, unknown ids kept, ids may repeat. Neither count nor lengths are trusted: entries are read while they fit; what
    does not fit stays behind (``trailing`` of the message).
    """

    def __init__(self, family: Family, prefix: str = "") -> None:
        super().__init__(prefix)
        self.family = family

    def at(self, edition: int) -> Codec:
        return self

    def bind(self, inner: Any, edition: int) -> Codec:
        return self

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        family = self.family
        edition = record.edition
        count = 0
        if self.prefix:
            count, pos = self.count(data, pos, end, record)
        start = pos
        entries: list[Entry] = []
        unpack, head = family.head.unpack_from, family.head.size
        classes, fast = family.classes, family.fast(edition)
        while pos + head <= end:
            id, size = unpack(data, pos)
            value = pos + head
            stop = value + size
            if stop > end:
                break
            known = fast.get(id)
            if known is not None and known[1] == size:
                one = known[0].__new__(known[0])
                one.edition = edition
                one.trailing = b""
                known[2](one, data, value, stop)
                entries.append(one)
                pos = stop
                continue
            cls = classes.get(id)
            entry = cls.read_value(data, value, stop, edition) if cls is not None else None
            entries.append(RawEntry(id, data[value:stop]) if entry is None else entry)
            pos = stop
        if self.prefix:
            if pos < end and len(entries) > count:
                # more entries than announced, and not to the very end: what is behind the announced ones is something else
                del entries[count:]
                pos = start + sum(head + len(entry.value_bytes(edition)) for entry in entries)
            return Announced.of(entries, count), pos
        return entries, pos

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        self.write_count(value, out)
        for place, entry in enumerate(value):
            try:
                self.family.write(entry, out, record.edition)
            except FieldError as problem:
                raise problem.under(f"[{place}]") from None

    def to_fields(self, value: Any) -> Any:
        return [entry.fields() for entry in value]

    def to_exact(self, value: Any) -> Any:
        return [entry.exact_fields() for entry in value]

    def from_fields(self, value: Any, edition: int) -> Any:
        return self.items_from_fields(value, lambda item: self.family.from_fields(item, edition))

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        entries, stop = self.read(data, pos, end, record)
        if self.prefix:
            start = pos + struct.calcsize(self.prefix)
            count = entries.announced if isinstance(entries, Announced) else len(entries)
            walk.heading(pos, data[pos:start], path, info, self, str(count))
            pos = start
        with walk.deeper():
            for place, entry in enumerate(entries):
                walk.entry(self.family, entry, f"{path}[{place}]", data, pos)
                pos += self.family.head.size + self.family.head.unpack_from(data, pos)[1]
        return entries, stop

    def describe(self) -> str:
        names = f"{Int._NAMES[self.family.id_format]} id, {Int._NAMES[self.family.length_format]} n, BYTE[n]"
        return f"{Int._NAMES[self.prefix]} n + n × ({names})" if self.prefix else f"({names}), until end"
